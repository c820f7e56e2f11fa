//! What the store must bear from outside, and what the queue must not forget.

use std::time::Duration;

use chrono::TimeDelta;
use titan::clock;
use titan::domain::ids::{InstallationId, RepoName};
use titan::domain::run::{RunKind, StepName};
use titan::store::Store;
use titan::store::jobs::{Job, JobKind, NewJob, Wanted};

use crate::support::database::TestDb;
use crate::support::scene::Scene;

#[tokio::test]
async fn nul_in_what_a_service_or_a_build_said_can_be_kept() {
    let db = TestDb::new().await;
    let store = Store::connect_lazy(db.options());
    let scene = Scene::new(&store, "acme/shop", 7).await;
    let active = scene.start(RunKind::Propose, "carol").await;
    scene.begin(&active, StepName::Diff).await;
    let said = serde_json::json!({ "last_answer": "it says `a\0b`", "deep": [{ "er": "\0" }] });
    scene.remember(&active, StepName::Diff, &said, "it says `a\0b`").await;
    let steps = store.list_steps(active.run.id).await.expect("the store answers");
    assert_eq!(steps[0].progress["last_answer"], "it says `a\u{fffd}b`");
    assert_eq!(steps[0].progress["deep"][0]["er"], "\u{fffd}");
    store.close().await;
}

#[tokio::test]
async fn a_report_that_waits_for_github_is_not_hurried_by_the_next_one() {
    let db = TestDb::new().await;
    let store = Store::connect_lazy(db.options());
    store.enqueue(&NewJob::report(7)).await.expect("the store answers");
    let job = store.claim_job(Duration::from_secs(60)).await.expect("the store answers").expect("a job");
    assert_eq!(job.kind, JobKind::Report);
    let limited_until = clock::now() + TimeDelta::hours(1);
    store.retry_job(job.lease, limited_until, "rate limited").await.expect("the lease holds");
    store.enqueue(&NewJob::report(7)).await.expect("the store answers");
    let again = store.claim_job(Duration::from_secs(60)).await.expect("the store answers");
    assert!(again.is_none(), "GitHub asked to be left alone: {again:?}");
    store.close().await;
}

#[tokio::test]
async fn a_repository_keeps_its_history_under_a_new_name_and_gives_none_to_a_stranger() {
    let db = TestDb::new().await;
    let store = Store::connect_lazy(db.options());
    let name = |text: &str| text.parse::<RepoName>().expect("owner/name");
    let installation = InstallationId(77);
    let old = store.ensure_repository(installation, &name("acme/shop")).await.expect("a repository");
    sqlx::query("UPDATE repository SET armed_at = now(), armed_by = 'alice'")
        .execute(store.pool())
        .await
        .expect("armed");
    store.put_github_id(old.id, 5).await.expect("the store answers");

    store.follow_repository(5, &name("Acme/store")).await.expect("the store answers");
    let renamed = store.ensure_repository(installation, &name("acme/store")).await.expect("a repository");
    assert_eq!((renamed.id, renamed.armed, renamed.name.to_string().as_str()), (old.id, true, "Acme/store"));
    let stranger = store.ensure_repository(installation, &name("acme/shop")).await.expect("a repository");
    assert!(stranger.id != old.id && !stranger.armed);
    store.follow_repository(5, &name("acme/shop")).await.expect("a name that is taken stays with who has it");

    store.put_github_id(renamed.id, 6).await.expect("the store answers");
    let made_again = store.ensure_repository(installation, &name("acme/store")).await.expect("a repository");
    assert!(!made_again.armed, "nobody armed the one that has the name now");
    store.close().await;
}

#[test]
fn every_migration_has_a_number_of_its_own() {
    let mut numbers: Vec<i64> = titan::store::MIGRATOR.iter().map(|migration| migration.version).collect();
    let all = numbers.len();
    numbers.dedup();
    assert_eq!(numbers.len(), all, "two files in migrations/ begin with the same number");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stops_deployments_is_taken_first_and_has_a_worker_of_its_own() {
    let database = TestDb::new().await;
    let store = Store::connect_lazy(database.options());
    let job = |key: &str| NewJob { kind: JobKind::Intake, key: key.to_owned(), payload: "{}".to_owned(), run_at: None };
    let queue = async |keys: &[&str]| {
        for key in keys {
            store.enqueue(&job(key)).await.expect("the store answers");
        }
    };
    let lease = Duration::from_secs(60);
    let claim = async |wanted| store.claim(lease, wanted).await.expect("the store answers");
    let end = async |job: Job| store.finish_job(job.lease).await.expect("the lease holds");
    queue(&["pr:acme/shop#7", "pr:acme/shop#8", "stop:acme/shop#7"]).await;
    let halt = claim(Wanted::Any).await.expect("it overtakes");
    assert_eq!(halt.key, "stop:acme/shop#7");
    assert!(claim(Wanted::Stops).await.is_none(), "the others are not for this worker");
    let canary = claim(Wanted::Any).await.expect("nothing was before it");
    assert_eq!(canary.key, "pr:acme/shop#7");

    // A resume keeps its place behind both, the next halt behind the resume, and a command behind all.
    queue(&["free:acme/shop#7", "stop:acme/shop#7", "pr:acme/shop#7"]).await;
    let other = claim(Wanted::Any).await.expect("another pull request waits for nobody");
    assert_eq!(other.key, "pr:acme/shop#8");
    assert!(claim(Wanted::Any).await.is_none() && claim(Wanted::Stops).await.is_none());
    end(canary).await;
    assert!(claim(Wanted::Any).await.is_none(), "the resume waits for the halt");
    end(halt).await;
    for key in ["free:acme/shop#7", "stop:acme/shop#7", "pr:acme/shop#7"] {
        let next = claim(Wanted::Any).await.expect("its turn has come");
        assert_eq!(next.key, key);
        assert!(claim(Wanted::Any).await.is_none(), "one after the other");
        end(next).await;
    }
    store.close().await;
}
