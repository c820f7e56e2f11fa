//! Commands that change what Titan may do: arm and disarm, halt and resume, lock and unlock, cancel.

use titan::domain::run::RunKind;

use crate::support::world::{CANARY, PRODUCTION, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];
const OTHER: &[(&str, &str)] = &[("src/other.html", "<h1>Other</h1>\n")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_arms_and_disarms_a_repository() {
    let world = world().start().await;
    let pr = world.proposed(GOOD).await;
    world.refused(pr, "bob", "/titan arm", "permission_denied").await;
    world.refused(pr, "carol", "/titan canary", "not_armed").await;
    let comment = world.status_comment(pr);
    let would =
        ["Armed, Titan would:", "1. deploy `", "service `srv-web-canary` at `http", "watch it for 1s and judge it"];
    for part in would {
        assert!(comment.contains(part), "{part:?} is missing in\n{comment}");
    }
    world.refused(pr, "bob", "/titan promote", "not_armed").await;
    assert!(world.status_comment(pr).contains("1. merge `"), "{}", world.status_comment(pr));
    assert_eq!((world.deployed(CANARY), world.is_merged(pr)), (Vec::new(), false), "it only tells");
    let armed = world.say(pr, "alice", "/titan arm").await;
    assert_eq!(world.reactions(armed), ["eyes", "rocket"]);
    assert!(world.status_comment(pr).contains("Deployment is on"), "{}", world.status_comment(pr));
    world.say(pr, "carol", "/titan canary").await;
    assert_eq!(world.live(CANARY).await, world.head(pr));
    world.refused(pr, "carol", "/titan disarm", "permission_denied").await;
    world.say(pr, "alice", "/titan disarm").await;
    world.refused(pr, "bob", "/titan promote", "not_armed").await;
    assert_eq!(world.live(PRODUCTION).await, world.before(PRODUCTION));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halt_stops_what_runs_and_everything_after_it_until_it_is_lifted() {
    let world = world().armed().bake("20s").start().await;
    let pr = world.proposed(GOOD).await;
    let other = world.proposed(OTHER).await;
    world.comment(pr, "carol", "/titan canary");
    world.until("it bakes", async |world| world.step_runs(pr, RunKind::Canary, "bake").await).await;
    world.say(other, "alice", "/titan halt the database is down").await;
    assert!(world.status_comment(other).contains("the database is down"), "{}", world.status_comment(other));
    let ended = &world.runs(pr).await[1];
    assert!(!ended.ends_with("success") && !ended.ends_with("running"), "{ended}");
    assert_eq!(world.deployed(CANARY), [world.head(pr)], "nothing more is deployed, not even to put it back");
    world.refused(pr, "carol", "/titan canary", "halted").await;
    world.refused(other, "carol", "/titan canary", "halted").await;
    world.refused(other, "carol", "/titan resume", "permission_denied").await;
    world.say(other, "alice", "/titan resume").await;
    let told = world.say(other, "carol", "/titan status").await;
    assert_eq!(world.reactions(told), ["eyes", "rocket"]);
    assert!(world.status_comment(other).contains("no halt in force"), "{}", world.status_comment(other));
    assert_eq!(world.locks().await, [format!("canary #{pr}")], "held until a person has looked at what is there");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_by_hand_keeps_the_others_out_with_its_reason() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    let other = world.proposed(OTHER).await;
    world.say(pr, "carol", "/titan lock waiting for the campaign").await;
    assert_eq!(world.locks().await, [format!("canary #{pr}"), format!("production #{pr}")]);
    world.refused(other, "carol", "/titan lock", "lock_held").await;
    assert!(world.status_comment(other).contains("waiting for the campaign"), "{}", world.status_comment(other));
    world.say(pr, "carol", "/titan canary").await;
    assert_eq!(world.live(CANARY).await, world.head(pr), "its own pull request may go on");
    world.refused(other, "carol", "/titan unlock web", "not_holder").await;
    world.refused(other, "carol", "/titan unlock web --force it blocks us", "permission_denied").await;
    world.refused(other, "bob", "/titan unlock web --force", "not_holder").await;
    world.say(other, "bob", "/titan unlock web --force it blocks us").await;
    assert!(world.status_comment(other).contains("it blocks us"), "{}", world.status_comment(other));
    assert_eq!(world.locks().await, Vec::<String>::new());
    world.say(other, "carol", "/titan canary").await;
    assert_eq!(world.live(CANARY).await, world.head(other));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_stops_a_build_and_says_when_there_is_nothing_to_stop() {
    let forever = "console.log('waiting');\nsetInterval(() => {}, 1000);\n";
    let world = world().armed().file("build.js", forever).start().await;
    let pr = world.pull_request(GOOD);
    world.say(pr, "carol", "/titan cancel").await;
    assert!(world.status_comment(pr).contains("Nothing is running"), "{}", world.status_comment(pr));
    world.comment(pr, "carol", "/titan propose");
    world.until("it builds", async |world| world.step_runs(pr, RunKind::Propose, "build").await).await;
    let began = std::time::Instant::now();
    world.say(pr, "carol", "/titan cancel").await;
    assert!(began.elapsed().as_secs() < 30, "the build does not run to its limit");
    assert_eq!(world.runs(pr).await, ["propose cancelled"]);
    assert_eq!(world.conclusion(pr, "titan/build"), "cancelled");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_that_is_on_its_way_is_cancelled_at_render() {
    for (login, stop) in [("carol", "/titan cancel"), ("alice", "/titan halt the database is down")] {
        let world = world().armed().start().await;
        let pr = world.proposed(GOOD).await;
        world.render.set_pace(std::time::Duration::from_millis(1500));
        world.comment(pr, "carol", "/titan canary");
        world.until("it is on its way", async |world| !world.deployed(CANARY).is_empty()).await;
        world.say(pr, login, stop).await;
        assert_eq!(world.runs(pr).await[1..], ["canary cancelled"], "{stop}: {}", world.status_comment(pr));
        assert_eq!(world.deployed(CANARY), [world.head(pr)], "nothing had to be put back");
        assert_eq!(world.live(CANARY).await, world.before(CANARY));
        assert_eq!(world.locks().await, Vec::<String>::new());
        world.end().await;
    }
}
