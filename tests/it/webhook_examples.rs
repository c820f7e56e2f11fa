//! GitHub's own example payloads, and thousands of broken ones: what GitHub signed is stored or refused with a reason,
//! what it did not sign is refused, and nothing makes Titan fail.

mod mutation;
mod post;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use titan::github::webhook::trigger;

use self::mutation::{Dice, Expected, mutation};
use self::post::{Post, signature};
use crate::contracts;
use crate::support::web::{SECRET, WebApp};

/// How many deliveries are broken.
const MUTATIONS: usize = 2_000;
/// How many are on their way at once.
const AT_ONCE: usize = 8;

/// All examples as `(event, payload)`; `None` when they are not installed.
fn examples() -> Option<Vec<(String, Value)>> {
    let published = contracts::webhook_examples()?;
    let of_event = |known: &Value| {
        let event = known["name"].as_str().expect("an event's name").to_owned();
        let payloads = known["examples"].as_array().expect("a list of payloads").clone();
        payloads.into_iter().map(move |payload| (event.clone(), payload))
    };
    let all: Vec<_> = published.as_array().expect("a list of events").iter().flat_map(of_event).collect();
    assert_eq!(all.len(), 329, "as many as the pinned package holds");
    Some(all)
}

/// Those that Titan acts on. GitHub publishes no comment on a pull request, so one on an issue becomes one.
fn acted_on(examples: &[(String, Value)]) -> Vec<(String, Value)> {
    let mut examples = examples.to_vec();
    for (event, payload) in &mut examples {
        if event == "issue_comment" {
            payload["issue"]["pull_request"] = json!({"url": "https://api.github.com/repos/acme/shop/pulls/1"});
        }
    }
    examples.retain(|(event, payload)| kind(event, payload) != "ignored");
    examples
}

fn kind(event: &str, payload: &Value) -> String {
    let found = serde_json::to_value(trigger(event, payload)).expect("a trigger can be stored");
    found["kind"].as_str().expect("a trigger's kind").to_owned()
}

async fn count(app: &WebApp, table: &'static str) -> i64 {
    let sql = match table {
        "delivery" => "SELECT count(*) FROM delivery",
        _ => "SELECT count(*) FROM job",
    };
    sqlx::query_scalar(sql).fetch_one(app.store.pool()).await.expect("the database answers")
}

/// Posts all of them, several at once, and gives the answers' statuses in order.
async fn post_all(app: &WebApp, posts: &[Post]) -> Vec<u16> {
    futures::stream::iter(posts).map(|post| post.send(app)).buffered(AT_ONCE).collect().await
}

#[test]
fn the_examples_that_concern_titan_have_triggers() {
    let Some(examples) = examples() else { return };
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for (event, payload) in &examples {
        *kinds.entry(kind(event, payload)).or_default() += 1;
    }
    let expected = [
        ("check_action", 1),
        ("closed", 2),
        ("head", 13),
        ("ignored", 301),
        ("installation", 7),
        ("labeled", 2),
        ("repositories", 3),
    ];
    assert_eq!(kinds.iter().map(|(kind, n)| (kind.as_str(), *n)).collect::<Vec<_>>(), expected);
    let comments = acted_on(&examples).iter().filter(|(event, _)| event == "issue_comment").count();
    assert_eq!(comments, 5, "created comments, once they are on a pull request");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_stored_once_however_often_it_comes() {
    let Some(examples) = examples() else { return };
    let app = WebApp::start().await;
    let to_post = |(number, (event, payload)): (usize, &(String, Value))| {
        Post::new(&format!("example-{number}"), event, payload.to_string().into_bytes())
    };
    let posts: Vec<Post> = examples.iter().enumerate().map(to_post).collect();
    for round in 1..=2 {
        let statuses = post_all(&app, &posts).await;
        for (post, status) in posts.iter().zip(statuses) {
            assert_eq!(status, 202, "round {round}: {}", post.what);
        }
        assert_eq!(count(&app, "delivery").await, 329, "round {round}");
        assert_eq!(count(&app, "job").await, 28, "round {round}: one for each example with a trigger");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_deliveries_never_make_titan_fail() {
    let Some(examples) = examples() else { return };
    let seed = std::env::var("WEBHOOK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    println!("to repeat: WEBHOOK_SEED={seed}");
    let (mut dice, acted_on) = (Dice(seed), acted_on(&examples));
    let broken: Vec<(Post, Expected)> = (0..MUTATIONS)
        .map(|number| {
            let source = if dice.roll(2) == 0 { &acted_on } else { &examples };
            let (event, payload) = dice.pick(source);
            mutation(&mut dice, &format!("broken-{number}"), event, payload)
        })
        .collect();
    let (posts, expected): (Vec<Post>, Vec<Expected>) = broken.into_iter().unzip();

    let app = WebApp::start().await;
    let statuses = post_all(&app, &posts).await;
    let mut told: BTreeMap<u16, usize> = BTreeMap::new();
    for ((post, expected), status) in posts.iter().zip(expected).zip(&statuses) {
        *told.entry(*status).or_default() += 1;
        match expected {
            Expected::Unauthorized => assert_eq!(*status, 401, "{}", post.what),
            Expected::NoServerError => assert!([202, 422].contains(status), "{status}: {}", post.what),
        }
    }
    println!("answers: {told:?}");
    assert!(told.values().all(|times| *times > 100), "every kind of answer is tried many times: {told:?}");
    let confirmed = told.get(&202).copied().unwrap_or_default() as i64;
    assert_eq!(count(&app, "delivery").await, confirmed, "what was confirmed is stored, and nothing else");
    assert!(app.get("/api/ready").await.status().is_success(), "Titan can still do its work");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whether_its_size_is_announced_or_not() {
    let app = WebApp::start().await;
    let body = vec![b' '; (25 << 20) + 1];
    let signature = signature(SECRET, &body);
    let chunks = body.chunks(1 << 20).map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk)));
    let chunks: Vec<_> = chunks.collect();
    let bodies = [reqwest::Body::from(body), reqwest::Body::wrap_stream(futures::stream::iter(chunks))];
    for body in bodies {
        let request = app.client.post(format!("{}/webhooks/github", app.base)).body(body);
        let request = request.header("x-github-event", "push").header("x-github-delivery", "large");
        let response = request.header("x-hub-signature-256", signature.as_slice()).send().await;
        assert_eq!(response.expect("an answer, not a broken connection").status().as_u16(), 413);
    }
    assert_eq!(count(&app, "delivery").await, 0);
}
