//! Webhooks: what GitHub posts, and what others post in its name.

use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use titan::store::jobs::{Job, JobKind};

use crate::support::web::{OLD_SECRET, SECRET, WebApp};

fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// A well-formed POST as GitHub sends it.
async fn post(app: &WebApp, id: &str, event: &str, body: impl Into<Vec<u8>>) -> Response {
    let body = body.into();
    let request = app
        .client
        .post(format!("{}/webhooks/github", app.base))
        .header("X-GitHub-Delivery", id)
        .header("X-GitHub-Event", event)
        .header("X-Hub-Signature-256", sign(SECRET, &body));
    request.body(body).send().await.expect("an answer")
}

fn comment(number: i64, text: &str) -> String {
    json!({
        "action": "created",
        "issue": { "number": number, "pull_request": { "url": "https://github.test/x" } },
        "comment": {
            "id": 9000 + number, "body": text, "created_at": "2026-11-20T10:00:00Z",
            "user": { "login": "alice", "id": 1, "type": "User" }
        },
        "repository": { "id": 5, "full_name": "acme/shop", "private": false, "default_branch": "main" },
        "sender": { "login": "alice", "id": 1, "type": "User" },
        "installation": { "id": 77 }
    })
    .to_string()
}

async fn take_jobs(app: &WebApp) -> Vec<Job> {
    let mut jobs = Vec::new();
    while let Some(job) = app.store.claim_job(std::time::Duration::from_secs(60)).await.expect("the store answers") {
        app.store.finish_job(job.lease).await.expect("the lease holds");
        jobs.push(job);
    }
    jobs
}

/// Deliveries received, those of them ignored, and how often one came again.
async fn figures(app: &WebApp) -> (i64, i64, i64) {
    let figures = app.store.count_deliveries().await.expect("a count");
    (figures.received, figures.ignored, figures.duplicates)
}

async fn problem(response: Response, status: StatusCode, code: &str) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.expect("JSON");
    assert_eq!(problem["type"], format!("urn:titan:problem:{code}"));
    assert_eq!(problem["status"], status.as_u16());
    problem
}

#[tokio::test]
async fn a_comment_is_stored_with_its_job_before_github_gets_its_answer() {
    let app = WebApp::start().await;
    let response = post(&app, "d-1", "issue_comment", comment(7, "/titan canary")).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(response.json::<Value>().await.expect("JSON"), json!({ "status": "accepted", "reason": null }));

    let jobs = take_jobs(&app).await;
    let [job] = jobs.as_slice() else { panic!("one job, not {}", jobs.len()) };
    assert_eq!((job.kind, job.key.as_str()), (JobKind::Intake, "pr:acme/shop#7"));
    let payload: Value = serde_json::from_str(&job.payload).expect("JSON");
    assert_eq!(payload["delivery"], "d-1");
    assert_eq!(payload["trigger"]["kind"], "comment");
    assert_eq!(payload["trigger"]["body"], "/titan canary");
    assert_eq!(figures(&app).await, (1, 0, 0));
}

#[tokio::test]
async fn a_delivery_that_comes_again_does_nothing() {
    let app = WebApp::start().await;
    for expected in ["accepted", "duplicate", "duplicate"] {
        let response = post(&app, "d-1", "issue_comment", comment(7, "/titan canary")).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert_eq!(response.json::<Value>().await.expect("JSON")["status"], expected);
    }
    assert_eq!(take_jobs(&app).await.len(), 1);
    // Also after its job was done.
    post(&app, "d-1", "issue_comment", comment(7, "/titan canary")).await;
    assert_eq!(take_jobs(&app).await.len(), 0);
    assert_eq!(figures(&app).await, (1, 0, 3));
    assert!(app.text("/deliveries").await.contains("<dt>duplicates</dt><dd>3</dd>"));
    assert!(app.text("/api/metrics").await.contains("\ntitan_deliveries_duplicate_total 3\n"));
}

#[tokio::test]
async fn two_deliveries_with_one_id_are_both_taken_and_each_once() {
    let app = WebApp::start().await;
    for (number, expected) in [(7, "accepted"), (1234, "accepted"), (7, "duplicate"), (1234, "duplicate")] {
        let response = post(&app, "1763750400123", "issue_comment", comment(number, "/titan canary")).await;
        assert_eq!(response.json::<Value>().await.expect("JSON")["status"], expected, "{number}");
    }
    assert_eq!(take_jobs(&app).await.len(), 2);
}

#[tokio::test]
async fn the_same_delivery_many_times_at_once_is_one_job() {
    let app = WebApp::start().await;
    let posts = (0..20).map(|_| post(&app, "d-1", "issue_comment", comment(7, "/titan canary")));
    let answers = futures::future::join_all(posts).await;
    assert!(answers.iter().all(|a| a.status() == StatusCode::ACCEPTED));
    assert_eq!(take_jobs(&app).await.len(), 1);
}

#[tokio::test]
async fn what_titan_has_no_use_for_is_noted_and_answered() {
    let app = WebApp::start().await;
    for (n, event, body) in [
        (1, "ping", json!({ "zen": "Keep it logically awesome.", "hook_id": 1 })),
        (2, "star", json!({ "action": "created" })),
        (3, "an_event_of_next_year", json!({})),
        (4, "issue_comment", json!({ "action": "created", "issue": "odd", "comment": 3, "repository": [] })),
        (5, "pull_request", json!({ "action": 5, "repository": { "full_name": "a\u{0}b".repeat(3000) } })),
    ] {
        let response = post(&app, &format!("d-{n}"), event, body.to_string()).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED, "{event}");
        let answer: Value = response.json().await.expect("JSON");
        assert_eq!(answer["status"], "ignored", "{event}");
        assert!(answer["reason"].as_str().is_some_and(|r| !r.is_empty()), "{event}");
    }
    assert_eq!(take_jobs(&app).await.len(), 0);
    assert_eq!(figures(&app).await, (5, 5, 0));
}

#[tokio::test]
async fn only_github_can_post() {
    let app = WebApp::start().await;
    let body = comment(7, "/titan promote");
    let good = sign(SECRET, body.as_bytes());
    let upper = format!("sha256={}", good["sha256=".len()..].to_uppercase());
    let cases = [
        (None, 401),
        (Some(String::new()), 401),
        (Some("sha256=".to_owned()), 401),
        (Some("sha256=zz".to_owned()), 401),
        (Some(good.replace("sha256", "sha1")), 401),
        (Some(good[..good.len() - 2].to_owned()), 401),
        (Some(sign("another secret", body.as_bytes())), 401),
        (Some(sign("", body.as_bytes())), 401),
        (Some(sign(SECRET, b"another body")), 401),
        (Some(sign(OLD_SECRET, body.as_bytes())), 202),
        (Some(good), 202),
        (Some(upper), 202),
    ];
    for (n, (signature, expected)) in cases.into_iter().enumerate() {
        let mut request = app.client.post(format!("{}/webhooks/github", app.base));
        request = request.header("X-GitHub-Delivery", format!("d-{n}")).header("X-GitHub-Event", "issue_comment");
        if let Some(signature) = &signature {
            request = request.header("X-Hub-Signature-256", signature);
        }
        let response = request.body(body.clone()).send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), expected, "{signature:?}");
        if expected == 401 {
            let problem = problem(response, StatusCode::UNAUTHORIZED, "bad-signature").await;
            assert!(problem["detail"].as_str().is_some_and(|d| d.contains("GITHUB_WEBHOOK_SECRET")));
        }
    }
    assert_eq!(figures(&app).await.0, 3);
}

#[tokio::test]
async fn signed_but_unreadable_is_said_so() {
    let app = WebApp::start().await;
    for body in ["", "[]", "3", "{", "{\"a\":1} x", "payload=%7B%7D", "\u{feff}{}"] {
        let response = post(&app, "d-1", "issue_comment", body).await;
        problem(response, StatusCode::UNPROCESSABLE_ENTITY, "unreadable-delivery").await;
    }
    let long = "x".repeat(129);
    for (id, event) in
        [("", "star"), ("a b", "star"), ("<x>", "star"), (long.as_str(), "star"), ("d-1", ""), ("d-1", long.as_str())]
    {
        let response = post(&app, id, event, "{}").await;
        problem(response, StatusCode::UNPROCESSABLE_ENTITY, "unreadable-delivery").await;
    }
    for name in ["X-GitHub-Delivery", "X-GitHub-Event"] {
        let other = ["X-GitHub-Delivery", "X-GitHub-Event"].into_iter().find(|n| *n != name).expect("the other");
        let request = app.client.post(format!("{}/webhooks/github", app.base)).header(other, "star");
        let response = request.header("X-Hub-Signature-256", sign(SECRET, b"{}")).body("{}").send().await;
        let problem = problem(response.expect("an answer"), StatusCode::UNPROCESSABLE_ENTITY, "unreadable-delivery");
        assert!(problem.await["detail"].as_str().is_some_and(|d| d.contains(name)));
    }
    assert_eq!(figures(&app).await.0, 0);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_anything_else() {
    let app = WebApp::start().await;
    let response = post(&app, "d-1", "star", vec![b' '; (25 << 20) + 1]).await;
    problem(response, StatusCode::PAYLOAD_TOO_LARGE, "body-too-large").await;
    let mut largest = b"{\"action\":\"created\"}".to_vec();
    largest.resize(25 << 20, b' ');
    assert_eq!(post(&app, "d-1", "star", largest).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn odd_but_signed_text_is_not_lost() {
    let app = WebApp::start().await;
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for (n, (from, to)) in [
        ("\"installation\"", format!("\"deep\": {deep}, \"installation\"")),
        ("/titan canary", "/titan canary \\ud800".to_owned()),
        ("/titan canary", "/titan canary \\u0000 \\ud83d\\ude00 '; DROP TABLE delivery; --".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let body = comment(7, "/titan canary").replacen(from, &to, 1);
        let response = post(&app, &format!("d-{n}"), "issue_comment", body).await;
        assert_eq!(response.json::<Value>().await.expect("JSON")["status"], "accepted", "case {n}");
    }
    let jobs = take_jobs(&app).await;
    assert_eq!(jobs.len(), 3);
    for job in jobs {
        let payload: Value = serde_json::from_str(&job.payload).expect("a stored payload is JSON");
        assert!(payload["trigger"]["body"].as_str().is_some_and(|b| b.starts_with("/titan canary")));
    }
}

#[tokio::test]
async fn without_a_database_nothing_is_confirmed() {
    let app = WebApp::without_database().await;
    let response = post(&app, "d-1", "issue_comment", comment(7, "/titan canary")).await;
    assert!(response.headers().contains_key("retry-after"));
    problem(response, StatusCode::SERVICE_UNAVAILABLE, "unavailable").await;
    assert_eq!(app.get("/api/health").await.status(), StatusCode::OK);
    problem(app.get("/api/ready").await, StatusCode::SERVICE_UNAVAILABLE, "unavailable").await;
}

#[tokio::test]
async fn titan_is_ready_once_the_migrations_are_applied() {
    let app = WebApp::start().await;
    assert_eq!(app.json("/api/ready").await, json!({ "status": "ready", "builds": { "isolation": "off" } }));
    let forget = "DELETE FROM _sqlx_migrations";
    sqlx::query(forget).execute(app.store.pool()).await.expect("the table is there");
    let problem = problem(app.get("/api/ready").await, StatusCode::SERVICE_UNAVAILABLE, "unavailable").await;
    assert!(problem["detail"].as_str().is_some_and(|d| d.contains("titan migrate")));
}

#[tokio::test]
async fn other_methods_and_paths_get_a_problem() {
    let app = WebApp::start().await;
    let response = app.get("/webhooks/github").await;
    assert_eq!(response.headers()["allow"], "POST");
    problem(response, StatusCode::METHOD_NOT_ALLOWED, "wrong-method").await;
    problem(app.get("/api/nothing").await, StatusCode::NOT_FOUND, "not-found").await;
}
