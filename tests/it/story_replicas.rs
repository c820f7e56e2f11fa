//! Several Titans on one database: they share the work, and one that is killed or frozen is replaced by another.

use std::time::Duration;

use titan::domain::run::RunKind;

use crate::support::world::{CANARY, PRODUCTION, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_replica_finishes_the_canary_of_one_that_was_killed() {
    let mut world = world().armed().replicas(2).start().await;
    let pr = world.proposed(GOOD).await;
    world.render.set_pace(Duration::from_millis(500));
    world.comment(pr, "carol", "/titan canary");
    world.until("it deploys", async |world| world.step_runs(pr, RunKind::Canary, "deploy").await).await;
    world.kill_replica(0).await;
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"]);
    assert_eq!(world.deployed(CANARY), [world.head(pr)], "one deploy only");
    assert_eq!(world.replica_url(0), None, "it is down");
    world.start_replica(0).await;
    world.stop_replica(1).await;
    let comment = world.say(pr, "carol", "/titan status").await;
    assert_eq!(world.reactions(comment), ["eyes", "rocket"], "the one that is left answers");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_frozen_and_overtaken_does_nothing_twice() {
    let mut world = world().armed().replicas(2).start().await;
    let pr = world.tried(GOOD).await;
    world.render.set_pace(Duration::from_millis(500));
    world.comment(pr, "bob", "/titan promote");
    world.until("it deploys", async |world| world.step_runs(pr, RunKind::Promote, "deploy").await).await;
    world.pause_replica(0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.resume_replica(0);
    world.prefer_replica(1);
    world.settle().await;
    assert_eq!(world.runs(pr).await[2..], ["promote success"], "{}", world.status_comment(pr));
    assert_eq!(world.deployed(PRODUCTION), [world.main()], "one deploy only");
    assert_eq!(world.deployments("production").len(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_away_webhooks_get_503_and_everything_goes_on_when_it_is_back() {
    let mut world = world().armed().watchful().replicas(2).own_postgres().start().await;
    let pr = world.proposed(GOOD).await;
    world.render.set_pace(Duration::from_millis(700));
    world.comment(pr, "carol", "/titan canary");
    world.until("it deploys", async |world| world.step_runs(pr, RunKind::Canary, "deploy").await).await;
    world.stop_postgres().await;
    let missed = world.comment(pr, "carol", "/titan status");
    world.github.settle().await;
    let newest = world.github.deliveries().pop().expect("a delivery");
    assert_eq!((newest.event.as_str(), newest.status_code), ("issue_comment", 503), "{}", newest.response_body);
    tokio::time::sleep(Duration::from_secs(2)).await; // longer than a lease
    assert!(world.replica_url(0).is_some() && world.replica_url(1).is_some());
    world.start_postgres().await;
    world.until("it is found", async |world| world.reactions(missed) == ["eyes", "rocket"]).await;
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"], "{}", world.status_comment(pr));
    assert_eq!(world.deployed(CANARY), [world.head(pr)], "one deploy only");
    assert_eq!(world.deployments("canary").len(), 1);
    world.end().await;
}
