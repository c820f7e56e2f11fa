//! Deploy hooks alone, without a key for Render's API: only the services themselves can be asked what came of a call.

use titan::playground::exchange::{Fault, FaultKind};

use crate::support::world::{CANARY, PRODUCTION, World, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];
const BETTER: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 3</h1>\n")];
const HOOK: &str = "/deploy/*";

async fn hooks_only(bake: &str) -> World {
    world()
        .bake(bake)
        .armed()
        .without_render_key()
        .policy_line("{render: srv-web-canary,", "{hook: WEB_CANARY,")
        .policy_line("{render: srv-web-production,", "{hook: WEB_PRODUCTION,")
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_did_not_answer_is_called_again_before_the_canary_counts_as_put_back() {
    let world = hooks_only("4s").await;
    let turns_bad = [("service.json", r#"{"services": {"web-canary": {"health": {"failing_after_ms": 1500}}}}"#)];
    let pr = world.proposed(&turns_bad).await;
    world.comment(pr, "carol", "/titan canary");
    world.until("the canary is live", async |world| world.live(CANARY).await == world.head(pr)).await;
    let busy = FaultKind::Before(503, r#"{"message": "busy"}"#.to_owned(), Vec::new());
    world.render.faults().inject(Fault::once("POST", HOOK, busy));
    world.settle().await;
    assert_eq!(world.runs(pr).await[1..], ["canary failure"], "{}", world.status_comment(pr));
    assert_eq!(world.deployed(CANARY), [world.head(pr), world.before(CANARY)], "asked for in the end");
    world.until("the old canary is back", async |world| world.live(CANARY).await == world.before(CANARY)).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_never_says_who_it_is_goes_back_one_version_and_not_two() {
    let world = hooks_only("1s").await;
    world.shipped(GOOD).await;
    world.shipped(BETTER).await;
    let good = world.main();
    let silent = [("service.json", r#"{"services": {"web-production": {"identity": "hidden"}}}"#)];
    let pr = world.tried(&silent).await;
    world.say(pr, "bob", "/titan promote").await;
    assert_eq!(world.runs(pr).await[2..], ["promote failure", "rollback success"], "{}", world.status_comment(pr));
    assert_eq!(world.live(PRODUCTION).await, good);
    world.end().await;
}
