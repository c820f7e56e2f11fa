//! What happened at GitHub and was never told, not even in its log of deliveries: it is found by looking.

use std::sync::Arc;

use chrono::TimeDelta;
use titan::domain::run::RunKind;
use titan::playground::exchange::FaultKind;
use titan::playground::github::Tamper;

use crate::support::world::{CANARY, REPO, World, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];
const BETTER: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 3</h1>\n")];

/// The heads of a pull request that Titan knows, in the order in which it learned of them, and from what.
async fn ledger(world: &World, pr: u64) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT h.source || ' ' || left(h.head, 7) FROM head_ledger h JOIN change c ON c.id = h.change_id
         WHERE c.number = $1 ORDER BY h.id",
    )
    .bind(i64::try_from(pr).expect("a small number"))
    .fetch_all(world.store.pool())
    .await
    .expect("the store answers")
}

/// Lets some seconds pass between what Titan saw of the pull requests and what comes next.
async fn a_moment_later(world: &World) {
    sqlx::query("UPDATE head_ledger SET received_at = received_at - interval '20 seconds'")
        .execute(world.store.pool())
        .await
        .expect("the store answers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_nobody_told_of_is_found_and_the_next_command_is_for_it() {
    let world = world().armed().watchful().start().await;
    let pr = world.proposed(GOOD).await;
    let head = world.unheard(|world| world.push(pr, BETTER)).await;
    let seen = format!("look {}", &head[..7]);
    world.until("it is seen", async |world| ledger(world, pr).await.contains(&seen)).await;
    a_moment_later(&world).await;
    world.say(pr, "carol", "/titan propose").await;
    world.say(pr, "carol", "/titan canary").await;
    assert_eq!(world.runs(pr).await[1..], ["propose success", "canary success"], "{}", world.status_comment(pr));
    assert_eq!(world.deployed(CANARY), [head]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_after_an_untold_push_is_answered_with_the_commit_and_the_next_one_works() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    a_moment_later(&world).await;
    let head = world.unheard(|world| world.push(pr, BETTER)).await;
    world.refused(pr, "carol", "/titan canary", "head_ambiguous").await;
    assert!(world.status_comment(pr).contains(&format!("/titan canary @{}", &head[..7])));
    assert_eq!(ledger(&world, pr).await.last(), Some(&format!("look {}", &head[..7])), "the decision looked");
    a_moment_later(&world).await;
    world.say(pr, "carol", "/titan propose").await;
    world.say(pr, "carol", "/titan canary").await;
    assert_eq!(world.runs(pr).await[2..], ["propose success", "canary success"], "{}", world.status_comment(pr));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closing_that_nobody_told_of_puts_the_canary_back_and_lets_the_next_one_in() {
    let world = world().armed().watchful().start().await;
    let pr = world.tried(GOOD).await;
    let next = world.proposed(BETTER).await;
    world.say(next, "carol", "/titan canary").await;
    assert_eq!(world.runs(next).await, ["propose success"], "it waits in line");
    world.unheard(|world| world.github.close(REPO, pr, "carol").expect("closed")).await;
    world.until("its turn comes", async |world| world.find_run(next, RunKind::Canary).await.is_some()).await;
    world.settle().await;
    assert_eq!(world.runs(pr).await[2..], ["restore success"]);
    assert_eq!(world.runs(next).await[1..], ["canary success"]);
    assert_eq!(world.locks().await, [format!("canary #{next}")]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_on_a_pull_request_that_nobody_told_of_is_found() {
    let world = world().watchful().start().await;
    let known = world.pull_request(GOOD);
    world.settle().await;
    let pr = world.unheard(|world| world.pull_request(BETTER)).await;
    let old = world.unheard(|world| world.comment(known, "carol", "/titan propose")).await;
    world.github.date_comment(REPO, old, titan::clock::now() - TimeDelta::minutes(3)).expect("a comment");
    let first = world.unheard(|world| world.comment(pr, "carol", "/titan propose")).await;
    world.until("it is found", async |world| world.reactions(first) == ["eyes", "rocket"]).await;
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success"]);
    world.assert_silent(known);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_label_that_was_not_told_in_time_proposes_once() {
    let world = world().watchful().start().await;
    let pr = world.pull_request(GOOD);
    world.settle().await;
    world.github.hooks().tamper(Some("pull_request"), Tamper::Hold);
    world.label(pr, "carol", "titan-ops");
    world.until("it is found", async |world| world.find_run(pr, RunKind::Propose).await.is_some()).await;
    world.settle().await;
    world.github.hooks().release();
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success"]);
    assert_eq!(world.run(pr, RunKind::Propose).await.actor, "carol");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_is_shown_at_once_a_command_on_a_quiet_pull_request_is_found_too() {
    let world = world().watchful().start().await;
    let pr = world.pull_request(GOOD);
    world.settle().await;
    let absent = |path: &str| path == format!("/repos/{REPO}/issues/comments") || path.starts_with("/app/hook/");
    let gone = || FaultKind::Before(404, r#"{"message": "Not Found"}"#.to_owned(), Vec::new());
    let weather = move |_: &str, path: &str| absent(path).then(gone);
    world.github.faults().set_weather(Some(Arc::new(weather)));
    for table in ["head_ledger", "command"] {
        let quiet = format!("UPDATE {table} SET received_at = received_at - interval '2 hours'");
        sqlx::query(sqlx::AssertSqlSafe(quiet)).execute(world.store.pool()).await.expect("the store answers");
    }
    let unheard = world.unheard(|world| world.comment(pr, "carol", "/titan propose")).await;
    world.until("it is found", async |world| world.reactions(unheard) == ["eyes", "rocket"]).await;
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success"]);
    world.github.faults().set_weather(None);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_nobody_carries_out_and_a_report_that_was_given_up_are_taken_up_again() {
    let world = world().armed().watchful().start().await;
    let pr = world.proposed(GOOD).await;
    let forgotten = "UPDATE feedback SET sent_hash = NULL, refused = 'no', pending_since = now() - interval '1 hour'";
    sqlx::query(forgotten).execute(world.store.pool()).await.expect("the store answers");
    world.comment(pr, "carol", "/titan canary");
    world.until("it bakes", async |world| world.step_runs(pr, RunKind::Canary, "bake").await).await;
    sqlx::query("DELETE FROM job WHERE kind = 'step'").execute(world.store.pool()).await.expect("the store answers");
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"]);
    world
        .until("GitHub shows everything", async |world| {
            world.store.count_pending_updates().await.is_ok_and(|figures| figures.pending + figures.refused == 0)
        })
        .await;
    world.end().await;
}
