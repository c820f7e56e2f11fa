//! Events that come late, twice or in another order than they happened: what counts is how things stand at GitHub now.

use titan::domain::run::RunKind;
use titan::playground::github::Tamper;

use crate::support::world::{CANARY, REPO, World, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];

/// Whether Titan takes the pull request for open.
async fn known_open(world: &World, pr: u64) -> bool {
    let number = i64::try_from(pr).expect("a small number");
    sqlx::query_scalar("SELECT open FROM change WHERE number = $1")
        .bind(number)
        .fetch_one(world.store.pool())
        .await
        .expect("the store answers")
}

/// The head that Titan shows for the pull request.
async fn known_head(world: &World, pr: u64) -> String {
    let number = i64::try_from(pr).expect("a small number");
    sqlx::query_scalar("SELECT head FROM change WHERE number = $1")
        .bind(number)
        .fetch_one(world.store.pool())
        .await
        .expect("the store answers")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closing_that_is_heard_of_after_the_reopening_closes_nothing() {
    let world = world().armed().start().await;
    let pr = world.tried(GOOD).await;
    let held = world.locks().await;
    assert!(!held.is_empty());
    world.github.hooks().tamper(Some("pull_request"), Tamper::Hold);
    world.github.close(REPO, pr, "carol").expect("closed");
    world.github.reopen(REPO, pr, "carol").expect("open again");
    world.settle().await;
    world.github.hooks().release();
    world.settle().await;
    assert!(known_open(&world, pr).await);
    assert_eq!(world.locks().await, held, "it keeps its locks");
    world.say(pr, "bob", "/titan promote").await;
    assert_eq!(world.runs(pr).await[2..], ["promote success"], "{}", world.status_comment(pr));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closing_that_is_heard_of_after_the_merge_stops_no_promote() {
    let world = world().armed().start().await;
    let pr = world.tried(GOOD).await;
    world.github.hooks().tamper(Some("pull_request"), Tamper::Hold);
    world.github.close(REPO, pr, "carol").expect("closed by accident");
    world.github.reopen(REPO, pr, "carol").expect("open again");
    world.settle().await;
    world.comment(pr, "bob", "/titan promote");
    world.until("it deploys", async |world| world.step_has_begun(pr, RunKind::Promote, "deploy").await).await;
    world.github.hooks().release();
    world.settle().await;
    assert_eq!(world.runs(pr).await[2..], ["promote success"], "{}", world.status_comment(pr));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_that_are_heard_of_in_the_wrong_order_leave_the_last_one() {
    let world = world().start().await;
    let pr = world.proposed(GOOD).await;
    world.github.hooks().tamper(Some("pull_request"), Tamper::Hold);
    // GitHub's times have seconds, so that these two have mostly the same one.
    world.push(pr, &[("src/index.html", "<h1>Shop 3</h1>\n")]);
    let last = world.push(pr, &[("src/index.html", "<h1>Shop 4</h1>\n")]);
    world.settle().await;
    world.github.hooks().release();
    world.settle().await;
    assert_eq!(known_head(&world, pr).await, last);
    assert!(world.status_comment(pr).contains(&last[..7]), "{}", world.status_comment(pr));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_comes_twice_is_acted_on_once_and_counted() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    world.github.hooks().tamper(Some("issue_comment"), Tamper::Duplicate);
    let canary = world.say(pr, "carol", "/titan canary").await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"]);
    assert_eq!(world.reactions(canary), ["eyes", "rocket"]);
    assert_eq!(world.deployed(CANARY), [world.head(pr)]);
    assert!(world.get("/deliveries").await.contains("<dt>duplicates</dt><dd>1</dd>"));
    assert!(world.get("/api/metrics").await.contains("\ntitan_deliveries_duplicate_total 1\n"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspension_that_is_heard_of_after_its_end_suspends_nothing() {
    let world = world().start().await;
    world.proposed(GOOD).await;
    let status = || async {
        let known = sqlx::query_scalar("SELECT status FROM installation").fetch_one(world.store.pool());
        let status: String = known.await.expect("the store answers");
        status
    };
    let installation = world.github.installations()[0].id;
    world.github.suspend(installation, true).expect("suspended");
    world.settle().await;
    assert_eq!(status().await, "suspended");
    world.github.suspend(installation, false).expect("back");
    world.settle().await;
    world.github.hooks().tamper(Some("installation"), Tamper::Hold);
    world.github.suspend(installation, true).expect("suspended");
    world.github.suspend(installation, false).expect("back");
    world.settle().await;
    world.github.hooks().release();
    world.settle().await;
    assert_eq!(status().await, "active");
    world.end().await;
}
