//! What GitHub did not deliver: it is asked for again, or found by reading, and acted on once or offered again.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use titan::domain::run::RunKind;
use titan::playground::exchange::{Fault, FaultKind};
use titan::playground::github::Tamper;

use crate::support::world::{CANARY, REPO, World, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];
const LOG: &str = "/app/hook/deliveries";
const ATTEMPTS: &str = "/app/hook/deliveries/*/attempts";

/// How often GitHub was asked to deliver something again.
fn asked(world: &World) -> usize {
    world.github.calls().matching("POST", ATTEMPTS).len()
}

/// Waits until Titan has read the log so many times more.
async fn log_read_again(world: &World, times: usize) {
    let reads = |world: &World| world.github.calls().matching("GET", LOG).len();
    let before = reads(world);
    world.until("it reads the log again", async |world| reads(world) >= before + times).await;
}

/// A comment that GitHub creates no delivery for.
async fn unheard(world: &World, pr: u64, login: &str, body: &str) -> u64 {
    world.unheard(|world| world.comment(pr, login, body)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_github_could_not_make_is_asked_for_again_and_acted_on_once() {
    let world = world().armed().watchful().start().await;
    let pr = world.proposed(GOOD).await;
    assert_eq!(asked(&world), 0, "what arrived is not asked for");
    world.github.hooks().tamper(Some("issue_comment"), Tamper::Lose);
    let lost = world.comment(pr, "carol", "/titan canary");
    world.until("the canary begins", async |world| world.find_run(pr, RunKind::Canary).await.is_some()).await;
    world.settle().await;
    log_read_again(&world, 3).await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"]);
    assert_eq!(world.reactions(lost), ["eyes", "rocket"]);
    assert_eq!(world.deployed(CANARY), [world.head(pr)], "one deploy");
    assert_eq!(asked(&world), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_cannot_be_asked_for_keeps_no_other_back() {
    let world = world().watchful().start().await;
    let [first, second] = [world.pull_request(GOOD), world.pull_request(&[("src/a.html", "a")])];
    world.settle().await;
    // What is found by reading would be found without the log.
    let unread = |_: &str, path: &str| {
        let refused = || FaultKind::Before(500, String::new(), Vec::new());
        path.ends_with("/issues/comments").then(refused)
    };
    world.github.faults().set_weather(Some(Arc::new(unread)));
    for pr in [first, second] {
        world.github.hooks().tamper(Some("issue_comment"), Tamper::Lose);
        world.comment(pr, "carol", "/titan propose");
    }
    let lost: Vec<u64> = world.github.deliveries().iter().filter(|d| !d.succeeded()).map(|d| d.id).collect();
    let path = format!("/app/hook/deliveries/{}/attempts", lost[0]);
    let refused = FaultKind::Before(502, String::new(), Vec::new());
    world.github.faults().inject(Fault { times: 2, ..Fault::once("POST", &path, refused) });
    world
        .until("both are proposed", async |world| {
            world.find_run(first, RunKind::Propose).await.is_some()
                && world.find_run(second, RunKind::Propose).await.is_some()
        })
        .await;
    world.settle().await;
    world.github.faults().set_weather(None);
    let asked = world.github.calls().matching("POST", ATTEMPTS);
    let other = asked.iter().position(|call| call.path != path).expect("the other one was asked for");
    assert!(asked[..other].len() < 2, "right after the first one failed: {asked:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_while_titan_was_down_is_asked_for_when_it_is_back() {
    let mut world = world().watchful().start().await;
    let pr = world.pull_request(GOOD);
    world.settle().await;
    world.stop_titan().await;
    let missed = world.comment(pr, "carol", "/titan propose");
    world.github.settle().await;
    world.start_titan().await;
    world.until("the proposal begins", async |world| world.find_run(pr, RunKind::Propose).await.is_some()).await;
    world.settle().await;
    log_read_again(&world, 3).await;
    assert_eq!(world.runs(pr).await, ["propose success"]);
    assert_eq!(world.reactions(missed), ["eyes", "rocket"]);
    let deliveries = world.github.deliveries();
    let missing: Vec<_> = deliveries.iter().filter(|one| one.event == "issue_comment" && !one.succeeded()).collect();
    assert_eq!(missing.len(), 1, "one attempt failed");
    assert_eq!(asked(&world), 1, "and it was asked for once");
    let figures = world.store.count_recovery().await.expect("the store answers");
    assert_eq!((figures.arrived, figures.missing, figures.asked), (1, 0, 1));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_is_held_is_never_asked_for_again() {
    let world = world().watchful().start().await;
    let pr = world.pull_request(GOOD);
    world.github.hooks().tamper(Some("issue_comment"), Tamper::Duplicate);
    world.say(pr, "carol", "/titan propose").await;
    world.say(pr, "carol", "not a command").await;
    world.github.edit_comment(REPO, world.comment(pr, "dave", "thanks"), "dave", "thank you").expect("edited");
    log_read_again(&world, 4).await;
    assert_eq!(asked(&world), 0);
    assert_eq!(world.runs(pr).await, ["propose success"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comment_that_was_never_delivered_is_found_by_reading_while_a_run_is_under_way() {
    let world = world().armed().watchful().bake("30s").start().await;
    let pr = world.proposed(GOOD).await;
    world.comment(pr, "carol", "/titan canary");
    world.until("it bakes", async |world| world.step_runs(pr, RunKind::Canary, "bake").await).await;
    let edited = unheard(&world, pr, "carol", "stop").await;
    world.github.date_comment(REPO, edited, titan::clock::now() - TimeDelta::seconds(5)).expect("a comment");
    world.github.edit_comment(REPO, edited, "carol", "/titan halt").expect("edited");
    let stop = unheard(&world, pr, "carol", "/titan cancel").await;
    world.until("it is found", async |world| world.reactions(stop) == ["eyes", "rocket"]).await;
    world.settle().await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary failure"], "stopped and put back");
    assert_eq!(world.live(CANARY).await, world.before(CANARY));
    assert_eq!(world.reactions(edited), Vec::<String>::new(), "an edited comment is no command");
    assert_eq!(world.store.count_recovery().await.expect("the store answers").commands, 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_comes_too_late_is_refused_and_offered_again() {
    let world = world().armed().watchful().start().await;
    let pr = world.proposed(GOOD).await;
    let late = unheard(&world, pr, "carol", "/titan canary").await;
    world.github.date_comment(REPO, late, titan::clock::now() - TimeDelta::minutes(9)).expect("a comment");
    world.long_known().await;
    world.until("it is found", async |world| world.reactions(late) == ["eyes", "confused"]).await;
    world.settle().await;
    let told = world.status_comment(pr);
    let head = world.head(pr);
    assert!(told.contains("`late`"), "{told}");
    assert!(told.contains(&format!("`/titan canary @{}`", &head[..7])), "ready to be given again: {told}");
    assert_eq!(world.runs(pr).await, ["propose success", "canary refused"]);
    world.assert_nothing_deployed();
    tokio::time::timeout(Duration::from_secs(60), world.say(pr, "carol", &format!("/titan canary @{}", &head[..7])))
        .await
        .expect("in time");
    assert_eq!(world.deployed(CANARY), [head], "the offered command is one");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_log_what_was_said_and_closed_unheard_is_found_by_reading() {
    let world = world().armed().watchful().start().await;
    world.github.faults().set_weather(Some(Arc::new(|_: &str, path: &str| {
        path.starts_with(LOG).then(|| FaultKind::Before(404, r#"{"message": "Not Found"}"#.to_owned(), Vec::new()))
    })));
    world.say(world.pull_request(GOOD), "carol", "/titan status").await;
    log_read_again(&world, 1).await;
    world.github.settle().await;
    let target = world.github.hooks().target();
    world.github.set_webhook_url(None);
    let pr = world.pull_request(&[("src/index.html", "<h1>Shop 3</h1>\n")]);
    let said = world.comment(pr, "carol", "/titan propose");
    world.until("the command is found", async |world| world.find_run(pr, RunKind::Propose).await.is_some()).await;
    world.settle().await;
    assert_eq!(world.reactions(said), ["eyes", "rocket"]);
    // Some hosts do not list the comments of a whole repository either.
    world.github.faults().set_weather(Some(Arc::new(|_: &str, path: &str| {
        let missing = path.starts_with(LOG) || path.ends_with("/issues/comments");
        missing.then(|| FaultKind::Before(404, r#"{"message": "Not Found"}"#.to_owned(), Vec::new()))
    })));
    let said = world.comment(pr, "carol", "/titan canary");
    world.until("it is found too", async |world| world.reactions(said) == ["eyes", "rocket"]).await;
    world.settle().await;
    assert_eq!(world.locks().await, [format!("canary #{pr}")]);
    world.github.close(REPO, pr, "carol").expect("closed");
    world.until("the closing is found", async |world| world.locks().await.is_empty()).await;
    world.github.set_webhook_url(target);
    world.end().await;
}
