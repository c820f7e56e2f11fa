//! Canaries that turn bad, that cannot be judged, that are stopped: what stays on the service, and who is told.

use std::time::Duration;

use titan::domain::run::RunKind;
use titan::playground::exchange::{Fault, FaultKind};
use titan::playground::render::behaviour::Health;
use titan::playground::render::model::Phase;

use crate::support::world::{CANARY, PRODUCTION, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];
const OTHER: &[(&str, &str)] = &[("src/other.html", "<h1>Other</h1>\n")];
/// Healthy when it goes live, and not for long.
const TURNS_BAD: &[(&str, &str)] =
    &[("service.json", r#"{"services": {"web-canary": {"health": {"failing_after_ms": 700}}}}"#)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_turns_bad_is_put_back_and_cannot_be_promoted() {
    let world = world().armed().start().await;
    let pr = world.proposed(TURNS_BAD).await;
    let (head, good) = (world.head(pr), world.before(CANARY));
    world.say(pr, "carol", "/titan canary").await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary failure"]);
    assert_eq!(world.conclusion(pr, "titan/canary"), "failure");
    assert_eq!(world.deployed(CANARY), [head, good.clone()]);
    assert_eq!(world.live(CANARY).await, good);
    assert_eq!(world.render.log().matching("POST", "/v1/services/*/rollback").len(), 1, "by Render's rollback");
    assert_eq!(world.locks().await, Vec::<String>::new(), "others may use the canary");
    let states: Vec<_> = world.deployments("canary").iter().map(|one| one.state().map(str::to_owned)).collect();
    assert_eq!(states, [Some("failure".to_owned())]);
    world.refused(pr, "bob", "/titan promote", "canary_failed").await;
    assert_eq!(world.deployed(PRODUCTION), Vec::<String>::new());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_does_not_start_never_goes_live_and_nothing_is_put_back() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    world.render.fail_next_deploy(CANARY, Phase::Update);
    world.say(pr, "carol", "/titan canary").await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary failure"]);
    assert_eq!(world.deployed(CANARY), [world.head(pr)], "one try, no rollback");
    assert_eq!(world.live(CANARY).await, world.before(CANARY));
    assert!(world.status_comment(pr).contains("did not start"), "{}", world.status_comment(pr));
    assert_eq!(world.locks().await, Vec::<String>::new());

    world.say(pr, "carol", "/titan canary").await;
    assert_eq!(world.runs(pr).await[2..], ["canary success"], "it may be tried again");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_hides_its_commit_is_never_taken_for_good() {
    let world = world().armed().start().await;
    let pr = world.proposed(&[("service.json", r#"{"identity": "hidden"}"#)]).await;
    world.say(pr, "carol", "/titan canary").await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary failure"]);
    assert_eq!(world.live(CANARY).await, world.before(CANARY), "put back");
    world.refused(pr, "bob", "/titan promote", "canary_failed").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_identity_in_the_policy_a_person_decides() {
    let identity = "url: CANARY_URL, health: /health, identity: {path: /version, json: commit}}";
    let world = world().armed().policy_line(identity, "url: CANARY_URL, health: /health}").start().await;
    let pr = world.proposed(GOOD).await;
    world.say(pr, "carol", "/titan canary").await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary inconclusive"]);
    assert_eq!(world.conclusion(pr, "titan/canary"), "action_required");
    world.refused(pr, "bob", "/titan promote", "canary_failed").await;
    assert_eq!(world.live(PRODUCTION).await, world.before(PRODUCTION));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_was_sick_before_is_judged_by_the_new_version_alone() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    world.render.force_health(CANARY, Some(Health::Failing));
    world.comment(pr, "carol", "/titan canary");
    let wanted = world.head(pr);
    world.until("it is live", async |world| world.live(CANARY).await == wanted).await;
    world.render.force_health(CANARY, None);
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_during_a_canary_leaves_the_new_head_untried() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    let old = world.head(pr);
    world.comment(pr, "carol", "/titan canary");
    world.until("the canary is live", async |world| world.live(CANARY).await == old).await;
    let head = world.push(pr, &[("src/index.html", "<h1>Shop 2, and more</h1>\n")]);
    world.settle().await;
    assert_eq!(world.deployed(CANARY)[0], old);
    assert!(!world.deployed(CANARY).contains(&head), "nobody asked for the new head");
    world.refused(pr, "bob", &format!("/titan promote @{head}"), "build_missing").await;
    world.refused(pr, "bob", &format!("/titan promote @{old}"), "head_moved").await;
    assert!(!world.is_merged(pr));
    assert_eq!(world.deployed(PRODUCTION), Vec::<String>::new());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_between_the_decision_and_the_deploy_stops_the_deploy() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    // An undisturbed canary shows how often the pull request is looked at: the last look before a deploy is the deploy's.
    let undisturbed = world.proposed(OTHER).await;
    let began = titan::clock::now();
    world.say(undisturbed, "carol", "/titan canary").await;
    world.say(undisturbed, "carol", "/titan unlock").await;
    let deploy = world.render.log().matching("POST", "/v1/services/*/deploys")[0].at;
    let looks = world.github.calls().matching("GET", &format!("/repos/*/*/pulls/{undisturbed}"));
    let looks = looks.iter().filter(|look| look.at > began && look.at < deploy).count();
    for look in 1..=looks {
        let wait = if look == looks { 1500 } else { 1 };
        let slow = FaultKind::Delay(Duration::from_millis(wait));
        world.github.faults().inject(Fault::once("GET", &format!("/repos/*/*/pulls/{pr}"), slow));
    }
    let asked = world.comment(pr, "carol", "/titan canary");
    world.until("the deploy looks at the head", async |world| world.github.faults().unconsumed().is_empty()).await;
    world.push(pr, &[("src/index.html", "<h1>Shop 2, and more</h1>\n")]);
    world.settle().await;
    assert_eq!(world.reactions(asked), ["eyes", "rocket"]);
    assert_eq!(world.runs(pr).await, ["propose success", "canary cancelled"]);
    assert_eq!(world.deployed(CANARY), [world.head(undisturbed)], "only the undisturbed one");
    assert_eq!(world.locks().await, Vec::<String>::new(), "nothing of it is on the canary");
    assert_eq!(world.deployments("canary").len(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_can_be_cancelled_and_is_put_back() {
    let world = world().armed().bake("1h").start().await;
    let pr = world.proposed(GOOD).await;
    let (head, good) = (world.head(pr), world.before(CANARY));
    world.comment(pr, "carol", "/titan canary");
    world.until("it bakes", async |world| world.step_runs(pr, RunKind::Canary, "bake").await).await;
    let cancel = world.say(pr, "carol", "/titan cancel").await;
    assert_eq!(world.reactions(cancel), ["eyes", "rocket"]);
    assert_ne!(world.runs(pr).await[1], "canary success");
    assert_eq!(world.deployed(CANARY), [head, good.clone()]);
    assert_eq!(world.live(CANARY).await, good);
    assert_eq!(world.locks().await, Vec::<String>::new());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_the_pull_request_during_a_canary_lets_nobody_in_before_it_is_over() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    let other = world.proposed(&[("src/other.html", "<h1>Other</h1>\n")]).await;
    let head = world.head(pr);
    world.comment(pr, "carol", "/titan canary");
    world.until("the canary is live", async |world| world.live(CANARY).await == head).await;
    world.github.close(crate::support::world::REPO, pr, "carol").expect("closed");
    let early = world.comment(other, "carol", "/titan canary");
    world.settle().await;
    assert_eq!(world.reactions(early), ["eyes", "rocket"], "it waited, and started by itself");
    assert_eq!(world.live(CANARY).await, world.head(other), "{}", world.status_comment(other));
    world.end().await;
}
