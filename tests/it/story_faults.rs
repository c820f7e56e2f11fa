//! GitHub and Render on a bad day: what was done is not done again, and what was asked for is done in the end.

use std::time::Duration;

use titan::playground::exchange::{Fault, FaultKind};
use titan::playground::github::Tamper;

use crate::support::world::{CANARY, PRODUCTION, REPO, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];
const COMMENTS: &str = "/repos/*/*/issues/*/comments";
const DEPLOYS: &str = "/v1/services/*/deploys";
const TURNS_BAD: &[(&str, &str)] =
    &[("service.json", r#"{"services": {"web-production": {"health": {"failing_after_ms": 700}}}}"#)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comment_whose_answer_got_lost_is_not_written_twice() {
    for kind in [FaultKind::After(502), FaultKind::DropAfter, FaultKind::DropBefore] {
        let world = world().start().await;
        let pr = world.pull_request(GOOD);
        world.github.faults().inject(Fault::once("POST", COMMENTS, kind));
        world.say(pr, "carol", "/titan propose").await;
        assert!(world.status_comment(pr).contains("build"), "exactly one, and it is up to date");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_and_deployments_whose_answers_got_lost_are_not_made_twice() {
    let world = world().armed().start().await;
    let pr = world.pull_request(GOOD);
    world.github.faults().inject(Fault::once("POST", "/repos/*/*/check-runs", FaultKind::After(502)));
    world.say(pr, "carol", "/titan propose").await;
    world.github.faults().inject(Fault::once("POST", "/repos/*/*/deployments", FaultKind::DropAfter));
    world.say(pr, "carol", "/titan canary").await;
    world.github.faults().inject(Fault::once("POST", "/repos/*/*/check-runs", FaultKind::DropAfter));
    world.say(pr, "bob", "/titan promote").await;
    let mut names: Vec<String> = world.checks(pr).into_iter().map(|check| check.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["titan/build", "titan/canary", "titan/paths", "titan/production"]);
    assert_eq!(world.deployments("canary").len(), 1);
    assert_eq!(world.deployments("production").len(), 1);
    assert_eq!(world.conclusion(pr, "titan/production"), "success");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_whose_answer_got_lost_is_found_again() {
    for kind in [FaultKind::After(500), FaultKind::DropAfter] {
        let world = world().armed().start().await;
        let pr = world.proposed(GOOD).await;
        world.render.faults().inject(Fault::once("POST", DEPLOYS, kind.clone()));
        world.say(pr, "carol", "/titan canary").await;
        assert_eq!(world.deployed(CANARY), [world.head(pr)], "one deploy only, with {kind:?}");
        assert_eq!(world.runs(pr).await, ["propose success", "canary success"]);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_that_never_arrived_is_asked_for_again() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    let busy = FaultKind::Before(503, r#"{"message": "busy"}"#.to_owned(), Vec::new());
    world.render.faults().inject(Fault::once("POST", DEPLOYS, busy));
    world.say(pr, "carol", "/titan canary").await;
    assert_eq!(world.deployed(CANARY), [world.head(pr)]);
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_whose_answer_got_lost_is_seen_and_shipped_once() {
    let world = world().armed().start().await;
    let pr = world.tried(GOOD).await;
    world.github.faults().inject(Fault::once("PUT", "/repos/*/*/pulls/*/merge", FaultKind::DropAfter));
    world.say(pr, "bob", "/titan promote").await;
    assert_eq!(world.runs(pr).await[2..], ["promote success"], "{}", world.status_comment(pr));
    assert_eq!(world.deployed(PRODUCTION), [world.main()]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_with_every_answer_lost_once_is_still_one_rollback_and_one_revert() {
    let world = world().armed().start().await;
    let pr = world.tried(TURNS_BAD).await;
    world.render.faults().inject(Fault::once("POST", "/v1/services/*/rollback", FaultKind::DropAfter));
    for path in ["/repos/*/*/git/refs", "/repos/*/*/pulls"] {
        world.github.faults().inject(Fault::once("POST", path, FaultKind::After(502)));
    }
    world.say(pr, "bob", "/titan promote").await;
    assert_eq!(world.runs(pr).await[2..], ["promote failure", "rollback success"], "{}", world.status_comment(pr));
    assert_eq!(world.deployed(PRODUCTION), [world.main(), world.before(PRODUCTION)]);
    assert_eq!(world.github.pulls(REPO).len(), 2);
    assert_eq!(world.github.pulls(REPO)[1].labels, ["titan-ops"]);
    assert_eq!(world.github.refs(REPO, "refs/heads/titan/").len(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_is_waited_for() {
    let world = world().start().await;
    let pr = world.pull_request(GOOD);
    let headers = [("retry-after", "2"), ("x-ratelimit-remaining", "0")];
    let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let body = r#"{"message": "You have exceeded a secondary rate limit.",
        "documentation_url": "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api"}"#;
    let limited = FaultKind::Before(403, body.to_owned(), headers);
    world.github.faults().inject(Fault::once("GET", "/repos/*/*/pulls/*", limited.clone()));
    world.github.faults().inject(Fault::once("POST", COMMENTS, limited));
    let began = std::time::Instant::now();
    world.say(pr, "carol", "/titan propose").await;
    assert!(began.elapsed() >= Duration::from_secs(2), "it waited as long as GitHub asked for");
    assert_eq!(world.runs(pr).await, ["propose success"]);
    world.status_comment(pr);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_end_in_the_middle_are_made_again() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    world.github.expire_tokens();
    world.say(pr, "carol", "/titan canary").await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"], "{}", world.status_comment(pr));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_comment_that_somebody_deleted_is_written_again() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    let comment = world.github.bot_comments(REPO, pr)[0].id;
    world.github.delete_comment(REPO, comment, "alice").expect("deleted");
    world.say(pr, "carol", "/titan canary").await;
    assert!(world.status_comment(pr).contains("canary"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_overtake_each_other_change_nothing() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    world.github.hooks().tamper(Some("issue_comment"), Tamper::Delay(Duration::from_millis(800)));
    let canary = world.comment(pr, "carol", "/titan canary");
    let promote = world.say(pr, "bob", "/titan promote").await;
    assert_eq!(world.reactions(canary), ["eyes", "rocket"]);
    assert_eq!(world.reactions(promote), ["eyes", "confused"], "the canary had not passed when it arrived");
    assert!(!world.is_merged(pr));
    assert_eq!(world.live(CANARY).await, world.head(pr));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_github_gives_no_facts_for_gets_an_answer() {
    let world = world().armed().start().await;
    let pr = world.pull_request(GOOD);
    let body = r#"{"message": "Not Found", "documentation_url": "https://docs.github.com/rest", "status": "404"}"#;
    let gone = FaultKind::Before(404, body.to_owned(), Vec::new());
    world.github.faults().inject(Fault { times: 6, ..Fault::once("GET", "/repos/*/*/pulls/*", gone) });
    let asked = world.say(pr, "carol", "/titan propose").await;
    assert_eq!(world.reactions(asked), ["eyes", "confused"]);
    assert!(world.status_comment(pr).contains("could not be decided"), "{}", world.status_comment(pr));
    assert_eq!(world.runs(pr).await, Vec::<String>::new());
    world.say(pr, "carol", "/titan propose").await;
    assert_eq!(world.runs(pr).await, ["propose success"], "the next one is not held up by it");
    world.end().await;
}
