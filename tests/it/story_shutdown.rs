//! The real program, `titan serve`: stopped by its operator, killed by a crash, started again. Crashes at every point are in
//! `crash_matrix`.

use std::time::Duration;

use titan::domain::run::RunKind;

use crate::support::world::{CANARY, PATIENCE, PRODUCTION, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_the_middle_of_a_canary_gives_it_back_and_the_next_start_finishes_it() {
    let mut world = world().armed().in_a_process().bake("4s").start().await;
    let pr = world.proposed(GOOD).await;
    world.comment(pr, "carol", "/titan canary");
    world.until("it bakes", async |world| world.step_runs(pr, RunKind::Canary, "bake").await).await;
    let took = world.stop_titan().await;
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(world.runs(pr).await, ["propose success", "canary running"], "nobody lies about it");
    world.start_titan().await;
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"]);
    assert_eq!(world.deployed(CANARY), [world.head(pr)]);
    world.status_comment(pr);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_in_the_middle_of_a_build_does_not_wait_for_it_and_the_next_start_builds_again() {
    let slow = "console.log('begun');\nsetTimeout(() => console.log('done'), 4000);\n";
    let mut world = world().armed().in_a_process().file("build.js", slow).start().await;
    let pr = world.pull_request(GOOD);
    world.comment(pr, "carol", "/titan propose");
    world.until("it builds", async |world| world.step_runs(pr, RunKind::Propose, "build").await).await;
    let took = world.stop_titan().await;
    assert!(took < Duration::from_secs(30), "{took:?}");
    world.start_titan().await;
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success"]);
    assert_eq!(world.conclusion(pr, "titan/build"), "success");
    assert_eq!(world.checks(pr).len(), 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_while_render_deploys_leads_to_one_deploy_and_one_end() {
    let mut world = world().armed().replicas(1).start().await;
    let pr = world.proposed(GOOD).await;
    world.render.set_pace(Duration::from_secs(1));
    world.comment(pr, "carol", "/titan canary");
    assert!(world.render.until(PATIENCE, |render| render.deploys(CANARY).len() == 2).await);
    world.kill_titan().await;
    world.start_titan().await;
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"]);
    assert_eq!(world.deployed(CANARY), [world.head(pr)], "one deploy only");
    assert_eq!(world.deployments("canary").len(), 1);
    assert_eq!(world.checks(pr).len(), 3, "each check once");
    world.status_comment(pr);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_after_the_merge_ships_what_was_merged_once() {
    let mut world = world().armed().in_a_process().start().await;
    let pr = world.tried(GOOD).await;
    world.comment(pr, "bob", "/titan promote");
    world.until("it is merged", async |world| world.is_merged(pr)).await;
    world.kill_titan().await;
    world.start_titan().await;
    world.settle().await;
    assert_eq!(world.runs(pr).await[2..], ["promote success"], "{}", world.status_comment(pr));
    assert_eq!(world.deployed(PRODUCTION), [world.main()]);
    assert_eq!(world.live(PRODUCTION).await, world.main());
    world.end().await;
}
