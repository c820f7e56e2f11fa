//! GitHub has had enough of Titan's calls: nothing that was to be shown is lost or doubled, and no decision waits for what
//! is only shown.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use titan::playground::exchange::{Exchange, Fault, FaultKind};

use crate::support::world::{CANARY, PRODUCTION, REPO, World, world};

const GOOD: &[(&str, &str)] = &[("src/index.html", "<h1>Shop 2</h1>\n")];
const COMMENTS: &str = "/repos/*/*/issues/*/comments";
const COMMENT: &str = "/repos/*/*/issues/comments/*";
const CHECKS: &str = "/repos/*/*/check-runs";
const CHECK: &str = "/repos/*/*/check-runs/*";
const REACTIONS: &str = "/repos/*/*/issues/comments/*/reactions";

/// An answer as GitHub documents it for too many calls.
fn limited(status: u16, headers: &[(&str, &str)]) -> FaultKind {
    let body = r#"{"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
        "documentation_url": "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api"}"#;
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    FaultKind::Before(status, body.to_owned(), headers)
}

/// What changes something at GitHub in the installation's name.
fn writes(world: &World) -> Vec<Exchange> {
    let mut calls = world.github.calls().all();
    calls.retain(|call| call.method != "GET" && call.path.starts_with("/repos/"));
    calls
}

fn installation(world: &World) -> u64 {
    world.github.installations().first().expect("an installation").id
}

/// When the last call of this kind was answered.
fn last(world: &World, method: &str, path: &str) -> chrono::DateTime<chrono::Utc> {
    world.github.calls().matching(method, path).last().expect("such a call").at
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_limits_on_what_is_shown_loses_nothing_and_delays_no_decision() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    for (path, status, headers) in [
        (REACTIONS, 429, &[][..]),
        (COMMENT, 403, &[][..]),
        (CHECKS, 429, &[("retry-after", "2")][..]),
        (CHECK, 403, &[("retry-after", "1")][..]),
    ] {
        let method = if path == COMMENT || path == CHECK { "PATCH" } else { "POST" };
        world.github.faults().inject(Fault { times: 2, ..Fault::once(method, path, limited(status, headers)) });
    }
    let canary = world.comment(pr, "carol", "/titan canary");
    world.settle().await;
    let deployed = world.render.log().matching("POST", "/v1/services/*/deploys").pop().expect("a deploy").at;
    let shown = world.github.calls().matching("POST", &format!("/repos/*/*/issues/comments/{canary}/reactions"));
    let shown = shown.iter().find(|call| call.status < 300).expect("the eyes").at;
    assert!(deployed < shown, "the deploy waited for what is only shown; not even the eyes were by then");
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"]);
    assert_eq!(world.conclusion(pr, "titan/canary"), "success");
    assert!(world.status_comment(pr).contains("/titan promote"), "{}", world.status_comment(pr));
    assert_eq!(world.reactions(canary), ["eyes", "rocket"]);
    assert_eq!(world.deployments("canary").len(), 1);
    world.github.faults().clear();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_its_kind_is_sent_before_the_time_that_a_limit_names() {
    let world = world().start().await;
    let pr = world.pull_request(GOOD);
    let soon = chrono::Utc::now() + TimeDelta::seconds(3);
    let http_date = soon.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    world.github.faults().inject(Fault::once("POST", REACTIONS, limited(403, &[("retry-after", &http_date)])));
    world.say(pr, "carol", "/titan propose").await;
    assert_eq!(world.runs(pr).await, ["propose success"]);
    let all = writes(&world);
    let at = all.iter().position(|call| call.status == 403).expect("the limit");
    let until = soon - TimeDelta::milliseconds(soon.timestamp_subsec_millis().into());
    assert!(all[at + 1..].iter().all(|call| call.at >= until), "{until}: {:?}", &all[at..]);
    assert!(all.len() > at + 3, "and then everything is: {all:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_no_call_is_left_everything_waits_for_the_new_hour() {
    let world = world().start().await;
    let pr = world.pull_request(GOOD);
    world.github.set_calls_left_for(installation(&world), 3, TimeDelta::seconds(4));
    let began = Instant::now();
    world.say(pr, "carol", "/titan propose").await;
    assert!(began.elapsed() >= Duration::from_secs(3), "GitHub answered before its hour was over");
    assert_eq!(world.runs(pr).await, ["propose success"]);
    assert!(world.status_comment(pr).contains("build"));
    let refused = world.github.calls().all().iter().filter(|call| call.status == 403).count();
    assert!(refused <= 4, "{refused} calls were made although none was left; only those on their way may be");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_few_calls_are_left_updates_are_merged_and_the_last_one_is_right() {
    let world = world().armed().start().await;
    let pr = world.tried(GOOD).await;
    let before = writes(&world).len();
    // More than decisions need, and less than is kept for them alone.
    world.github.set_calls_left_for(installation(&world), 240, TimeDelta::seconds(9));
    let new_hour = chrono::Utc::now() + TimeDelta::seconds(9);
    world.comment(pr, "bob", "/titan promote");
    world.until("production is deployed", async |world| !world.deployed(PRODUCTION).is_empty()).await;
    let deployed = world.render.log().matching("POST", "/v1/services/*/deploys").pop().expect("a deploy").at;
    assert!(deployed < new_hour, "merging and deploying went on");
    assert!(world.is_merged(pr));
    let shown = |world: &World| writes(world)[before..].iter().filter(|call| call.method != "PUT").count();
    assert!(shown(&world) <= 1, "only what was sent before the budget was known: {:?}", &writes(&world)[before..]);
    let pending = world.store.count_pending_updates().await.expect("the store answers");
    assert!(pending.pending >= 2 && pending.oldest_seconds > 0.0, "{pending:?}");
    let metrics = world.get("/api/metrics").await;
    assert!(metrics.contains("titan_github_rate_limit{installation="), "{metrics}");
    assert!(!metrics.contains("titan_github_updates{state=\"waiting\"} 0\n"), "{metrics}");
    let page = world.get("/deliveries").await;
    assert!(page.contains("updates are spread") && page.contains("Waits since"), "{page}");
    world.settle().await;
    assert_eq!(world.conclusion(pr, "titan/production"), "success");
    assert!(world.status_comment(pr).contains("production"), "{}", world.status_comment(pr));
    let events = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM run_event").fetch_one(world.store.pool()).await;
    let events = events.expect("the store answers");
    let updates = world.github.calls().matching("PATCH", COMMENT).len();
    assert!((updates as i64) < events / 2, "{updates} updates of the comment for {events} events");
    let pending = world.store.count_pending_updates().await.expect("the store answers");
    assert_eq!((pending.pending, pending.refused), (0, 0), "nothing waits any more");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_an_installation_keep_their_distance_across_pull_requests() {
    let spacing = TimeDelta::milliseconds(250);
    let world = world().spaced(spacing).start().await;
    let pulls: Vec<u64> = (0..3).map(|_| world.pull_request(GOOD)).collect();
    for pr in &pulls {
        world.comment(*pr, "carol", "/titan propose");
    }
    world.settle().await;
    let times: Vec<_> = writes(&world).iter().map(|call| call.at).collect();
    assert!(times.len() >= 15, "{} writes", times.len());
    let close: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap < spacing / 2).collect();
    // What is seen is when an answer was ready, and a machine that is busy is late with some.
    assert!(close.len() <= times.len() / 6, "{close:?} between {} writes", times.len());
    let whole = times[times.len() - 1] - times[0];
    let least = spacing * i32::try_from(times.len() - 1).expect("few") * 9 / 10;
    assert!(whole >= least, "{} writes in {whole}", times.len());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_that_did_not_change_are_not_sent_again() {
    let world = world().armed().start().await;
    let pr = world.proposed(GOOD).await;
    world.say(pr, "carol", "/titan status").await;
    world.say(pr, "carol", "/titan status").await;
    let known = world.github.calls().all().into_iter().filter(|call| call.status == 304).collect::<Vec<_>>();
    assert!(known.len() >= 5, "{known:?}");
    assert!(known.iter().all(|call| call.request_header("if-none-match").is_some()));
    world.push(pr, &[("src/index.html", "<h1>Shop 3</h1>\n")]);
    world.refused(pr, "carol", "/titan canary", "build_missing").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let metrics = world.get("/api/metrics").await;
    let counted = metrics.lines().find(|line| line.contains("not_modified") && !line.contains("\"app\""));
    let counted = counted.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default();
    assert!(counted >= known.len() as f64, "{counted} of {}", known.len());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_are_revoked_again_and_again_stop_nothing() {
    let world = world().armed().start().await;
    let pr = world.pull_request(GOOD);
    // Also for git, whose token was made with the others.
    world.say(pr, "carol", "/titan propose").await;
    world.github.expire_tokens();
    world.push(pr, &[("src/index.html", "<h1>Shop 3</h1>\n")]);
    world.say(pr, "carol", "/titan propose").await;
    assert_eq!(world.runs(pr).await, ["propose success", "propose success"], "{}", world.status_comment(pr));
    world.comment(pr, "carol", &format!("/titan canary @{}", world.head(pr)));
    for _ in 0..10 {
        world.github.expire_tokens();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    world.settle().await;
    assert_eq!(world.runs(pr).await[2..], ["canary success"], "{}", world.status_comment(pr));
    assert_eq!(world.deployed(CANARY), [world.head(pr)]);
    assert!(world.github.calls().all().iter().any(|call| call.status == 401), "a token was refused");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_none_end_in_one_of_everything() {
    let world = world().armed().start().await;
    let pr = world.pull_request(GOOD);
    let odd = |status: u16, body: &str| FaultKind::Before(status, body.to_owned(), Vec::new());
    for (method, path, kind) in [
        ("GET", "/repos/*/*/pulls/*", odd(200, "{\"number\": 1, \"sta")),
        ("GET", "/repos/*/*/pulls/*", odd(304, "")),
        ("GET", "/repos/*/*/pulls/*/files", odd(200, "")),
        ("GET", "/repos/*/*/collaborators/*/permission", odd(502, "<html>Bad gateway</html>")),
        ("POST", "/app/installations/*/access_tokens", odd(502, "")),
        ("POST", COMMENTS, odd(304, "")),
        ("POST", CHECKS, odd(200, "<html>")),
        ("PATCH", CHECK, odd(404, r#"{"message": "Not Found"}"#)),
        ("PATCH", COMMENT, odd(404, r#"{"message": "Not Found"}"#)),
        ("POST", "/repos/*/*/deployments/*/statuses", FaultKind::After(502)),
    ] {
        world.github.faults().inject(Fault::once(method, path, kind));
    }
    world.say(pr, "carol", "/titan propose").await;
    world.say(pr, "carol", "/titan canary").await;
    assert_eq!(world.runs(pr).await, ["propose success", "canary success"], "{}", world.status_comment(pr));
    let mut names: Vec<String> = world.checks(pr).into_iter().map(|check| check.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["titan/build", "titan/canary", "titan/paths"]);
    let deployments = world.deployments("canary");
    assert_eq!(deployments.len(), 1);
    let states: Vec<_> = deployments[0].statuses.iter().map(|status| status.state.clone()).collect();
    // While calls fail the canary may end before its beginning is told.
    let told_once = states == ["in_progress", "success"] || states == ["success"];
    assert!(told_once, "each state is told once: {states:?}");
    assert!(last(&world, "PATCH", COMMENT) >= last(&world, "POST", COMMENTS));
    assert_eq!(world.github.bot_comments(REPO, pr).len(), 1);
    world.end().await;
}
