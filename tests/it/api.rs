//! The API: runs, their live events and logs, projects and figures.

use std::time::Duration;

use futures::StreamExt;
use reqwest::StatusCode;
use serde_json::{Value, json};
use titan::domain::ids::{Environment, RunId};
use titan::domain::run::{Conclusion, RunKind, StepName, StepStatus};

use crate::support::scene::{Scene, sha};
use crate::support::web::WebApp;

/// One server-sent event.
#[derive(Debug, Clone, PartialEq)]
struct Sent {
    id: String,
    kind: String,
    data: Value,
}

/// A client of an event stream, as a browser would be one.
struct Listener {
    body: std::pin::Pin<Box<dyn futures::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
}

impl Listener {
    async fn connect(app: &WebApp, run: RunId, last: Option<&str>) -> Self {
        let mut request = app.client.get(format!("{}/api/runs/{run}/events", app.base));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.header("Accept-Encoding", "gzip").send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(!response.headers().contains_key("content-encoding"), "a compressor holds events back");
        Self { body: Box::pin(response.bytes_stream()), text: String::new() }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Sent> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block = self.text[..end].to_owned();
                self.text.drain(..end + 2);
                let field = |name: &str| {
                    let prefix = format!("{name}: ");
                    block.lines().find_map(|l| l.strip_prefix(&prefix)).map(str::to_owned)
                };
                if let (Some(id), Some(kind), Some(data)) = (field("id"), field("event"), field("data")) {
                    return Some(Sent { id, kind, data: serde_json::from_str(&data).expect("JSON") });
                }
            }
            let piece = tokio::time::timeout(Duration::from_secs(20), self.body.next()).await.expect("in time")?;
            self.text.push_str(std::str::from_utf8(&piece.expect("no break")).expect("UTF-8"));
        }
    }

    async fn rest(mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        while let Some(sent) = self.next().await {
            all.push(sent);
        }
        all
    }
}

/// A proposal that ended well, with a log of a few pieces.
async fn proposal(scene: &Scene) -> RunId {
    let active = scene.start(RunKind::Propose, "alice").await;
    scene.pass(&active, StepName::Diff, "4 files, none protected").await;
    scene.begin(&active, StepName::Build).await;
    for line in ["$ npm ci\n", "added 12 packages\n", "$ npm run build\n", "done\n"] {
        scene.log(&active, line).await;
    }
    scene.end(&active, StepName::Build, StepStatus::Succeeded, "`npm run build` in 41 s").await;
    scene.conclude(active, Conclusion::Success, "checked and built").await
}

#[tokio::test]
async fn runs_are_listed_newest_first_and_paged_by_key() {
    let app = WebApp::start().await;
    assert_eq!(app.json("/api/runs").await, json!({ "runs": [], "next": null }));
    let (shop, blog) = (Scene::new(&app.store, "acme/shop", 7).await, Scene::new(&app.store, "acme/blog", 8).await);
    let mut expected = Vec::new();
    for n in 0..5 {
        let scene = if n % 2 == 0 { &shop } else { &blog };
        expected.push(scene.refuse(RunKind::Propose, "mallory").await.to_string());
    }
    expected.reverse();

    let (mut seen, mut path) = (Vec::new(), Some("/api/runs?limit=2".to_owned()));
    while let Some(next) = path {
        let page = app.json(&next).await;
        seen.extend(page["runs"].as_array().expect("a list").iter().map(|r| r["id"].as_str().unwrap_or("").to_owned()));
        path = page["next"].as_str().map(str::to_owned);
        assert!(seen.len() <= 5, "paging comes to an end");
    }
    assert_eq!(seen, expected);

    let shops = app.json("/api/runs?repository=ACME/shop&limit=2").await;
    assert_eq!(shops["runs"].as_array().map(Vec::len), Some(2));
    let rest = app.json(shops["next"].as_str().expect("a third one")).await;
    assert_eq!(rest["runs"].as_array().map(Vec::len), Some(1));
    assert_eq!(rest["runs"][0]["repository"], "acme/shop");
    assert_eq!(rest["next"], Value::Null);
}

#[tokio::test]
async fn wrong_parameters_are_answered_in_words() {
    let app = WebApp::start().await;
    for (path, status) in [
        ("/api/runs?limit=0", 400),
        ("/api/runs?limit=101", 400),
        ("/api/runs?limit=x", 400),
        ("/api/runs?before=yesterday", 400),
        ("/api/runs?repository=shop", 400),
        ("/api/runs?repository=no/such", 404),
        ("/api/runs/7", 404),
        ("/api/runs/018f0000-0000-7000-8000-000000000000", 404),
        ("/api/runs/018f0000-0000-7000-8000-000000000000/log", 404),
        ("/api/runs/018f0000-0000-7000-8000-000000000000/events", 404),
        ("/api/projects/x", 404),
        ("/api/projects/99999999999999999999", 404),
        ("/api/projects?repository=%ff", 400),
    ] {
        let response = app.get(path).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
        let problem: Value = response.json().await.expect("JSON");
        assert!(problem["detail"].as_str().is_some_and(|d| d.len() > 10), "{path}: {problem}");
    }
}

#[tokio::test]
async fn a_run_is_shown_with_everything_about_it() {
    let app = WebApp::start().await;
    let scene = Scene::new(&app.store, "acme/shop", 7).await;
    let run = proposal(&scene).await;
    let shown = app.json(&format!("/api/runs/{run}")).await;
    for (field, value) in [
        ("repository", json!("acme/shop")),
        ("pull_request", json!(7)),
        ("project", json!("web")),
        ("kind", json!("propose")),
        ("actor", json!("alice")),
        ("status", json!("completed")),
        ("conclusion", json!("success")),
        ("summary", json!("checked and built")),
        ("head", json!(scene.head)),
        ("bake", Value::Null),
        ("artifacts", json!([{ "kind": "build-log", "bytes": 48 }])),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    let steps: Vec<_> = shown["steps"].as_array().expect("a list").iter().map(|s| (&s["name"], &s["status"])).collect();
    assert_eq!(steps, [(&json!("diff"), &json!("succeeded")), (&json!("build"), &json!("succeeded"))]);
    assert!(shown["gates"].as_array().is_some_and(|g| !g.is_empty() && g.iter().all(|g| g["passed"] == true)));
    assert_eq!(shown["links"]["pull_request"], "https://github.test/acme/shop/pull/7");
    assert_eq!(shown["links"]["page"], format!("{}/runs/{run}", app.base));
    let log = shown["links"]["log"].as_str().and_then(|l| l.strip_prefix(&app.base)).expect("an own path").to_owned();
    assert_eq!(app.text(&log).await, "$ npm ci\nadded 12 packages\n$ npm run build\ndone\n");

    let refused = scene.refuse(RunKind::Propose, "mallory").await;
    let shown = app.json(&format!("/api/runs/{refused}")).await;
    assert_eq!(shown["conclusion"], "refused");
    let gates = shown["gates"].as_array().expect("a list");
    let no: Vec<_> = gates.iter().filter(|g| g["passed"] == false).map(|g| (&g["gate"], &g["reason"])).collect();
    assert_eq!(no, [(&json!("permission"), &json!("permission_denied"))]);
}

#[tokio::test]
async fn a_long_log_is_whole() {
    let app = WebApp::start().await;
    let scene = Scene::new(&app.store, "acme/shop", 7).await;
    let active = scene.start(RunKind::Propose, "alice").await;
    let mut expected = String::new();
    for n in 0..450 {
        let line = format!("line {n}\n");
        scene.log(&active, &line).await;
        expected.push_str(&line);
    }
    let response = app.get(&format!("/api/runs/{}/log", active.run.id)).await;
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(response.text().await.expect("text"), expected);
}

#[tokio::test]
async fn the_stream_of_a_finished_run_tells_everything_and_ends() {
    let app = WebApp::start().await;
    let scene = Scene::new(&app.store, "acme/shop", 7).await;
    let run = proposal(&scene).await;
    let all = Listener::connect(&app, run, None).await.rest().await;
    let kinds: Vec<&str> = all.iter().map(|s| s.kind.as_str()).filter(|k| *k != "log").collect();
    let expected =
        ["accepted", "started", "step_started", "step_ended", "step_started", "step_ended", "concluded", "end"];
    assert_eq!(kinds, expected);
    let log: String = all.iter().filter(|s| s.kind == "log").filter_map(|s| s.data["text"].as_str()).collect();
    assert_eq!(log, "$ npm ci\nadded 12 packages\n$ npm run build\ndone\n");
    assert_eq!(all.last().map(|s| &s.data), Some(&json!({ "status": "completed", "conclusion": "success" })));
}

#[tokio::test]
async fn a_client_that_comes_back_misses_nothing_wherever_it_stopped() {
    let app = WebApp::start().await;
    let scene = Scene::new(&app.store, "acme/shop", 7).await;
    let run = proposal(&scene).await;
    let all = Listener::connect(&app, run, None).await.rest().await;
    for (seen, sent) in all.iter().enumerate() {
        let rest = Listener::connect(&app, run, Some(&sent.id)).await.rest().await;
        // Who has seen the end is told of it again, because the place of the end is the place of what came before.
        let expected = if sent.kind == "end" { &all[seen..] } else { &all[seen + 1..] };
        assert_eq!(rest, expected, "after {}", sent.id);
    }
    let after = app.text(&format!("/api/runs/{run}/events?after={}", all[all.len() - 2].id)).await;
    assert!(after.contains("event: end") && !after.contains("event: log"), "{after}");
    let response = app.client.get(format!("{}/api/runs/{run}/events", app.base)).header("Last-Event-ID", "12");
    assert_eq!(response.send().await.expect("an answer").status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_happens_is_streamed_as_it_happens() {
    let app = WebApp::start().await;
    let scene = Scene::new(&app.store, "acme/shop", 7).await;
    let active = scene.start(RunKind::Propose, "alice").await;
    let mut listener = Listener::connect(&app, active.run.id, None).await;
    assert_eq!(listener.next().await.map(|s| s.kind).as_deref(), Some("accepted"));
    scene.begin(&active, StepName::Diff).await;
    assert_eq!(listener.next().await.map(|s| s.kind).as_deref(), Some("started"));
    assert_eq!(listener.next().await.map(|s| s.kind).as_deref(), Some("step_started"));
    for n in 0..30 {
        scene.log(&active, &format!("line {n}\n")).await;
    }
    let mut log = String::new();
    while log.lines().count() < 30 {
        let sent = listener.next().await.expect("more");
        log.push_str(sent.data["text"].as_str().expect("a log event"));
    }
    assert!(log.starts_with("line 0\n") && log.ends_with("line 29\n"), "{log}");
    scene.conclude(active, Conclusion::Cancelled, "stopped").await;
    let rest = listener.rest().await;
    assert_eq!(rest.iter().map(|s| s.kind.as_str()).collect::<Vec<_>>(), ["concluded", "end"]);
}

#[tokio::test]
async fn announcements_that_get_lost_only_make_it_slower() {
    let app = WebApp::start().await;
    let scene = Scene::new(&app.store, "acme/shop", 7).await;
    let active = scene.start(RunKind::Propose, "alice").await;
    let mut listener = Listener::connect(&app, active.run.id, None).await;
    assert_eq!(listener.next().await.map(|s| s.kind).as_deref(), Some("accepted"));
    // Every other connection is cut, the one that listens among them; nothing is announced meanwhile.
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE 'LISTEN%'",
    )
    .execute(app.store.pool())
    .await
    .expect("may terminate");
    sqlx::query("INSERT INTO run_event (run_id, kind) VALUES ($1, 'step_progress')")
        .bind(active.run.id.0)
        .execute(app.store.pool())
        .await
        .expect("an event without announcement");
    assert_eq!(listener.next().await.map(|s| s.kind).as_deref(), Some("step_progress"));
    // And announcements work again afterwards.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let begun = std::time::Instant::now();
    scene.begin(&active, StepName::Diff).await;
    assert_eq!(listener.next().await.map(|s| s.kind).as_deref(), Some("started"));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn shutting_down_ends_every_stream() {
    let app = WebApp::start().await;
    let scene = Scene::new(&app.store, "acme/shop", 7).await;
    let active = scene.start(RunKind::Propose, "alice").await;
    let listener = Listener::connect(&app, active.run.id, None).await;
    app.events.shutdown();
    let rest = listener.rest().await;
    assert!(rest.iter().all(|s| s.kind != "end"), "a run that goes on has no end: {rest:?}");
    tokio::time::timeout(Duration::from_secs(5), app.store.close()).await.expect("nobody holds a connection");
}

#[tokio::test]
async fn a_project_shows_its_pipeline() {
    let app = WebApp::start().await;
    assert_eq!(app.json("/api/projects").await, json!({ "projects": [] }));
    let scene = Scene::new(&app.store, "acme/shop", 7).await;
    let active = scene.start(RunKind::Rollback, "alice").await;
    scene.release(&active, Environment::Production, &sha("0ddba11"), "good").await;
    scene.release(&active, Environment::Production, &scene.head, "unproven").await;

    let listed = app.json("/api/projects?repository=acme/shop").await;
    let project = &listed["projects"][0];
    assert_eq!((&project["name"], &project["repository"]), (&json!("web"), &json!("acme/shop")));
    assert_eq!(project["active_run"]["id"], json!(active.run.id));
    let [canary, production] = project["environments"].as_array().expect("a list").as_slice() else {
        panic!("two environments")
    };
    assert_eq!((&canary["environment"], &canary["release"]), (&json!("canary"), &Value::Null));
    assert_eq!(canary["lock"], Value::Null, "a rollback leaves the canary to the change that tries it");
    assert_eq!(production["lock"]["pull_request"], 7);
    assert_eq!(production["release"]["commit"], json!(scene.head));
    assert_eq!(production["release"]["brought_by"]["pull_request"], 7);
    assert_eq!(production["url"], "https://web.example.com/");

    let shown = app.json(&format!("/api/projects/{}", project["id"])).await;
    assert_eq!(&shown["project"], project);
    let history: Vec<_> = shown["history"].as_array().expect("a list").iter().map(|r| &r["commit"]).collect();
    assert_eq!(history, [&json!(scene.head), &json!(sha("0ddba11"))]);
    assert_eq!(app.json("/api/projects?repository=acme/other").await, json!({ "projects": [] }));
}

#[tokio::test]
async fn figures_are_prometheus_text() {
    let app = WebApp::start().await;
    let scene = Scene::new(&app.store, "acme/shop", 7).await;
    proposal(&scene).await;
    scene.refuse(RunKind::Propose, "mallory").await;
    let response = app.get("/api/metrics").await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = response.text().await.expect("text");
    for line in [
        "titan_store_up 1",
        "titan_deliveries{handling=\"acted_on\"} 0",
        "titan_commands{conclusion=\"started\"} 1",
        "titan_commands{conclusion=\"refused\"} 1",
        "titan_runs{kind=\"propose\",conclusion=\"success\"} 1",
        "titan_runs{kind=\"propose\",conclusion=\"refused\"} 1",
        "titan_deliveries_duplicate_total 0",
        "titan_deliveries_redelivery_requested_total 0",
        "titan_deliveries_missing 0",
        "titan_commands_recovered_total 0",
        "titan_jobs{kind=\"report\",status=\"queued\"} 1",
        "titan_jobs{kind=\"step\",status=\"dead\"} 0",
        "# TYPE titan_job_oldest_age_seconds gauge",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        assert!(
            line.starts_with("titan_") && line.rsplit(' ').next().is_some_and(|n| n.parse::<f64>().is_ok()),
            "{line}"
        );
    }
}

#[tokio::test]
async fn without_a_database_the_api_says_so() {
    let app = WebApp::without_database().await;
    for path in ["/api/runs", "/api/projects", "/api/runs/018f0000-0000-7000-8000-000000000000"] {
        let response = app.get(path).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
    let figures = app.get("/api/metrics").await;
    assert_eq!(figures.status(), StatusCode::OK);
    assert!(figures.text().await.expect("text").contains("titan_store_up 0"));
}
