//! A job that failed too often: it is shown to people, holds nobody up, and is queued again when a person says so.

use std::process::Output;
use std::time::Duration;

use titan::store::jobs::{JobKind, NewJob};
use tokio::process::Command;

use crate::support::database::TestDb;
use crate::support::web::WebApp;

const LEASE: Duration = Duration::from_secs(60);

/// `titan jobs …` beside a database.
async fn jobs(url: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_titan"));
    command.arg("jobs").args(args).env_clear().env("DATABASE_URL", url).output().await.expect("titan ends")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_job_is_shown_and_queued_again_by_its_id() {
    let database = TestDb::new().await;
    let url = database.url();
    let app = WebApp::serve(database.options(), Some(database)).await;
    let store = &app.store;
    assert!(app.text("/jobs").await.contains("No job waits for a person"));
    let job = |key: &str| NewJob { kind: JobKind::Intake, key: key.to_owned(), payload: "?".to_owned(), run_at: None };
    store.enqueue(&job("pr:acme/shop#7")).await.unwrap();
    let first = store.claim_job(LEASE).await.unwrap().expect("a job");
    store.bury_job(first.lease, "cannot be read: <b>\nexpected value").await.unwrap();
    store.enqueue(&job("pr:acme/shop#7")).await.unwrap();
    let second = store.claim_job(LEASE).await.unwrap().expect("the dead one holds nobody up");
    store.finish_job(second.lease).await.unwrap();

    let id = first.lease.job_id.to_string();
    let page = app.text("/jobs").await;
    for part in ["pr:acme/shop#7", "cannot be read: &#60;b&#62;", &format!("<code>titan jobs retry {id}</code>")] {
        assert!(page.contains(part), "{part:?} is missing in\n{page}");
    }
    let list = jobs(&url, &["list"]).await;
    assert!(list.status.success());
    assert_eq!(told(&list), format!("{id}\tintake\tpr:acme/shop#7\t1 attempts\tcannot be read: <b> expected value\n"));

    let wrong = jobs(&url, &["retry", "4711"]).await;
    assert!(!wrong.status.success());
    assert!(told(&wrong).contains("there is no dead job 4711"), "{}", told(&wrong));
    let retried = jobs(&url, &["retry", &id]).await;
    assert!(retried.status.success(), "{}", told(&retried));
    let again = store.claim_job(LEASE).await.unwrap().expect("it is queued again");
    assert_eq!((again.lease.job_id, again.attempts), (first.lease.job_id, 1), "its attempts begin anew");
    assert!(told(&jobs(&url, &["list"]).await).contains("no job waits"));
    assert!(!jobs(&url, &["retry", &id]).await.status.success(), "only a dead one is queued again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_github_told_is_put_off_out_of_the_way_and_not_for_ever() {
    let app = WebApp::start().await;
    let store = &app.store;
    let key = "pr:acme/shop#7".to_owned();
    let job = || NewJob { kind: JobKind::Intake, key: key.clone(), payload: "{}".to_owned(), run_at: None };
    store.enqueue(&job()).await.unwrap();
    let told = store.claim_job(LEASE).await.unwrap().expect("a job");
    let put_off = async |lease| store.put_off_job(lease, LEASE, Duration::from_secs(3600), "403").await.unwrap();
    assert!(put_off(told.lease).await);
    store.enqueue(&job()).await.unwrap();
    let next = store.claim_job(LEASE).await.unwrap().expect("what came later does not wait for it");
    assert_ne!(next.lease.job_id, told.lease.job_id);
    sqlx::query("UPDATE job SET created_at = now() - interval '2 hours'").execute(store.pool()).await.unwrap();
    assert!(!put_off(next.lease).await, "a person has to look");
    store.bury_job(next.lease, "403").await.unwrap();
    assert_eq!(store.list_dead_jobs().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_report_gives_way_to_one_that_is_queued() {
    let app = WebApp::start().await;
    let store = &app.store;
    store.enqueue(&NewJob::report(1)).await.unwrap();
    let dead = store.claim_job(LEASE).await.unwrap().expect("a job");
    store.bury_job(dead.lease, "GitHub is away").await.unwrap();
    store.enqueue(&NewJob::report(1)).await.unwrap();
    assert!(store.retry_dead_job(dead.lease.job_id).await.unwrap());
    assert!(store.list_dead_jobs().await.unwrap().is_empty());
    let queued = store.claim_job(LEASE).await.unwrap().expect("a job");
    assert_ne!(queued.lease.job_id, dead.lease.job_id);
    store.finish_job(queued.lease).await.unwrap();
    assert!(store.claim_job(LEASE).await.unwrap().is_none(), "one report is enough");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_deliveries_shows_the_figures() {
    let app = WebApp::start().await;
    let page = app.text("/deliveries").await;
    assert!(page.contains("<dt>received</dt><dd>0</dd>") && page.contains("Nothing is missing"), "{page}");
    let statement = "INSERT INTO redelivery (guid, attempt_id, event, delivered_at, asked_at, times)
                     VALUES ('a', 1, 'issue_comment', now(), now(), 3)";
    sqlx::query(statement).execute(app.store.pool()).await.unwrap();
    let page = app.text("/deliveries").await;
    for part in
        ["<dt>times asked again</dt><dd>3</dd>", "<dt>missing</dt><dd>1</dd>", "Some deliveries have not arrived"]
    {
        assert!(page.contains(part), "{part:?} is missing in\n{page}");
    }
}
