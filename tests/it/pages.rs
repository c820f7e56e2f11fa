//! The pages, as a browser without script gets them.

use reqwest::StatusCode;
use titan::domain::ids::{Environment, RunId};
use titan::domain::lock::hold;
use titan::domain::paths::Offence;
use titan::domain::progress::{BakeProgress, DeployProgress, DiffProgress};
use titan::domain::run::{Conclusion, RunKind, StepName, StepStatus};
use titan::store::commands::StateChange;

use crate::support::scene::{Active, Scene, sha};
use crate::support::web::WebApp;

const HOSTILE: &str = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>";

fn assert_has(html: &str, parts: &[&str]) {
    for part in parts {
        assert!(html.contains(part), "{part:?} is missing in\n{html}");
    }
}

fn assert_lacks(html: &str, parts: &[&str]) {
    for part in parts {
        assert!(!html.contains(part), "{part:?} is in\n{html}");
    }
}

/// The page's text between two marks.
fn between<'h>(html: &'h str, from: &str, to: &str) -> &'h str {
    let begin = html.find(from).unwrap_or_else(|| panic!("{from:?} is missing in\n{html}")) + from.len();
    let length = html[begin..].find(to).expect("the end");
    &html[begin..begin + length]
}

fn title(html: &str) -> &str {
    between(html, "<title>", "</title>")
}

/// A proposal whose build goes on.
async fn building(scene: &Scene, actor: &str) -> Active {
    let active = scene.start(RunKind::Propose, actor).await;
    scene.pass(&active, StepName::Diff, "4 files, none protected").await;
    scene.begin(&active, StepName::Build).await;
    scene.log(&active, "\x1b[1m$ npm ci\x1b[0m\n").await;
    active
}

async fn built(scene: &Scene) -> RunId {
    let active = building(scene, "alice").await;
    scene.end(&active, StepName::Build, StepStatus::Succeeded, "`npm ci` in 41 s").await;
    scene.conclude(active, Conclusion::Success, "checked and built").await
}

#[tokio::test]
async fn an_empty_titan_says_how_to_begin() {
    let app = WebApp::start().await;
    let html = app.text("/").await;
    assert_has(&html, &["No runs yet", "/webhooks/github", ".github/titan.yml", "/titan propose"]);
    assert_lacks(&html, &["<table", "http-equiv"]);
}

#[tokio::test]
async fn recent_runs_of_all_repositories_are_listed_and_paged() {
    let app = WebApp::start().await;
    let shop = Scene::new(&app.store, "acme/shop", 7).await;
    let blog = Scene::new(&app.store, "acme/blog", 8).await;
    let first = blog.refuse(RunKind::Propose, "mallory").await;
    for _ in 0..30 {
        shop.refuse(RunKind::Propose, "mallory").await;
    }
    let html = app.text("/").await;
    assert_eq!(html.matches("class=\"cell-status\"").count(), 30);
    assert_has(&html, &["refused", "acme/shop", "https://github.test/acme/shop/pull/7", "mallory", "<time datetime="]);
    assert_lacks(&html, &["acme/blog", "Newest"]);

    let older = app.text(&format!("/{}", between(&html, "href=\"/?before", "\"").replacen('=', "?before=", 1))).await;
    assert_has(&older, &["acme/blog", &format!("/runs/{first}"), "Earlier runs", "Newest"]);
    assert_eq!(older.matches("class=\"cell-status\"").count(), 1);
    assert_eq!(app.get("/?before=x").await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_run_under_way_is_shown_as_far_as_it_is() {
    let app = WebApp::start().await;
    let scene = Scene::new(&app.store, "acme/shop", 7).await;
    let active = building(&scene, "alice").await;
    let html = app.text(&format!("/runs/{}", active.run.id)).await;
    assert_eq!(title(&html), "running: propose web · acme/shop #7 · Titan");
    assert_has(
        &html,
        &[
            "<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>",
            "https://github.test/acme/shop/pull/7",
            &format!("https://github.test/acme/shop/commit/{}", scene.head),
            "/blob/9a8b7c6",
            "4 files, none protected",
            "<span class=\"b\">$ npm ci</span>",
            "policy-valid",
            &format!("All {} passed", active.run.gates.len()),
            "href=\"/acme/shop\"",
        ],
    );

    // The stream that the page names goes on exactly where the page ends.
    let events = between(&html, "data-events=\"", "\"").replace("&#38;", "&").replace("&amp;", "&");
    scene.log(&active, "<i>second</i>\n").await;
    scene.end(&active, StepName::Build, StepStatus::Succeeded, "`npm ci` in 41 s").await;
    let run = scene.conclude(active, Conclusion::Success, "checked and built").await;
    let stream = app.text(&events).await;
    assert_has(&stream, &["event: log", "&lt;i&gt;second&lt;/i&gt;", "event: concluded", "event: end"]);
    assert_lacks(&stream, &["npm ci</span>", "event: accepted"]);

    let html = app.text(&format!("/runs/{run}")).await;
    assert_eq!(title(&html), "success: propose web · acme/shop #7 · Titan");
    assert_lacks(&html, &["http-equiv", "data-events"]);
    assert_has(&html, &["<span class=\"b\">$ npm ci</span>\n&lt;i&gt;second&lt;/i&gt;\n"]);
}

#[tokio::test]
async fn a_refusal_shows_what_was_asked_and_the_way_out() {
    let app = WebApp::start().await;
    let scene = Scene::new(&app.store, "acme/shop", 7).await;
    let run = scene.refuse(RunKind::Promote, "mallory").await;
    let gates = scene.store.find_run(run).await.expect("an answer").expect("the run").gates.len();
    let html = app.text(&format!("/runs/{run}")).await;
    assert_has(
        &html,
        &[
            "<title>refused: promote web",
            "<details open>",
            &format!("1 of {gates} failed"),
            "permission_denied",
            "<code>mallory</code> has <code>read</code>, needed <code>maintain</code>",
            "What to do:",
            "ask somebody with <code>maintain</code>",
        ],
    );
    assert_lacks(&html, &["Build log", "id=\"steps\""]);
}

#[tokio::test]
async fn files_that_may_not_be_touched_are_named() {
    let app = WebApp::start().await;
    let scene = Scene::new(&app.store, "acme/shop", 7).await;
    let active = scene.start(RunKind::Propose, "alice").await;
    scene.begin(&active, StepName::Diff).await;
    let offence = |n| Offence {
        path: format!("infra/{n}.tf"),
        annotate: format!("infra/{n}.tf"),
        reason: "the rule *.tf protects it".to_owned(),
        rule: Some("*.tf".to_owned()),
    };
    let progress = DiffProgress { files: 120, offences: (0..105).map(offence).collect(), ..DiffProgress::default() };
    scene.remember(&active, StepName::Diff, &progress, "").await;
    scene.end(&active, StepName::Diff, StepStatus::Failed, "105 of 120 files may not be touched").await;
    let run = scene.conclude(active, Conclusion::Failure, "105 of 120 files may not be touched").await;
    let html = app.text(&format!("/runs/{run}")).await;
    assert_has(&html, &["<code>infra/0.tf</code>", "<code>infra/99.tf</code>", "the rule *.tf", "and 5 more"]);
    assert_lacks(&html, &["infra/100.tf", "Build log"]);
}

#[tokio::test]
async fn a_bake_is_shown_with_its_numbers_and_a_rollback_with_its_cause() {
    let app = WebApp::start().await;
    let scene = Scene::new(&app.store, "acme/shop", 7).await;
    let active = scene.start(RunKind::Promote, "dana").await;
    scene.pass(&active, StepName::Merge, "merged as `ab12cd3`").await;
    scene.begin(&active, StepName::Deploy).await;
    let deploy = DeployProgress { commit: Some(sha("ab12cd3")), ..DeployProgress::default() };
    scene.remember(&active, StepName::Deploy, &deploy, "live").await;
    scene.begin(&active, StepName::Bake).await;
    scene.sample(&active, [20, 40, 30]).await;
    let bake = BakeProgress { started_at: Some(titan::clock::now()), expected: 150, ..BakeProgress::default() };
    scene.remember(&active, StepName::Bake, &bake, "live, 3 of 150 samples").await;
    let promote = active.run.id;
    let html = app.text(&format!("/runs/{promote}")).await;
    assert_has(&html, &["<dd>3<small> of 150</small></dd>", "40 ms", "the highest bar is 40 ms", "live, 3 of 150"]);
    assert_eq!(html.matches("<rect ").count(), 3);

    let rollback = scene.conclude_with_rollback(active, "production went bad").await;
    let html = app.text(&format!("/runs/{promote}")).await;
    assert_has(&html, &["<title>failure: promote web", "production went bad", &format!("/runs/{rollback}")]);
    let html = app.text(&format!("/runs/{rollback}")).await;
    assert_has(&html, &["started this run by itself", &format!("/runs/{promote}")]);
}

#[tokio::test]
async fn a_repository_shows_where_its_projects_stand() {
    let app = WebApp::start().await;
    let scene = Scene::new(&app.store, "acme/shop", 7).await;
    let html = app.text("/ACME/Shop").await;
    assert_has(&html, &["<h1>acme/shop</h1>", "Deployment is off", "Nothing through Titan yet", "not held by anybody"]);

    let project_id = scene.project_id;
    scene.control("root", &StateChange::Arm { repository_id: scene.repository.id, on: true }).await;
    scene.control("carol", &StateChange::Lock { project_id, hold: hold("the launch <b>") }).await;
    let active = scene.start(RunKind::Rollback, "alice").await;
    for (commit, status) in [("0dd", "good"), ("0ddba11", "good"), ("bad", "bad"), ("3f2c1ab7", "unproven")] {
        scene.release(&active, Environment::Production, &sha(commit), status).await;
    }
    let html = app.text("/acme/shop").await;
    assert_lacks(&html, &["Deployment is off", "<b>"]);
    assert_has(
        &html,
        &[
            "taken by carol",
            "the launch &#60;b&#62;",
            "is changing this project now",
            "https://web-canary.example.com/",
            "What was live (4)",
            "unproven",
            &format!("/runs/{}", active.run.id),
        ],
    );
    // The newest good version before the one that is live is what a rollback would restore.
    let row = html.split("<tr>").find(|row| row.contains("rollback target")).expect("a target");
    assert_has(row, &["0ddba11", "good"]);
    assert_eq!(html.matches("rollback target").count(), 1);
    assert_eq!(html.matches("live now").count(), 1);

    let repository_id = scene.repository.id;
    scene.control("carol", &StateChange::Halt { repository_id, reason: Some("fire".to_owned()) }).await;
    assert_has(&app.text("/acme/shop").await, &["Halted", "by carol: fire", "/titan resume"]);
}

#[tokio::test]
async fn hostile_text_stays_text() {
    let app = WebApp::start().await;
    let scene = Scene::new(&app.store, "acme/shop", 7).await;
    scene.control(HOSTILE, &StateChange::Lock { project_id: scene.project_id, hold: hold(HOSTILE) }).await;
    let refused = scene.refuse(RunKind::Propose, HOSTILE).await;
    let active = building(&scene, HOSTILE).await;
    let offence =
        Offence { path: HOSTILE.into(), annotate: HOSTILE.into(), reason: HOSTILE.into(), rule: Some(HOSTILE.into()) };
    let progress = DiffProgress { files: 1, offences: vec![offence], ..DiffProgress::default() };
    scene.remember(&active, StepName::Diff, &progress, HOSTILE).await;
    scene.log(&active, HOSTILE).await;
    scene.log(&active, &format!("\x1b[31m{HOSTILE}\x1b]8;;javascript:alert(1)\x1b\\x")).await;
    scene.end(&active, StepName::Build, StepStatus::Failed, &format!("[x](javascript:alert(1)) {HOSTILE}")).await;
    let repository_id = scene.repository.id;
    let run = scene.conclude(active, Conclusion::Failure, HOSTILE).await;
    scene.control(HOSTILE, &StateChange::Halt { repository_id, reason: Some(HOSTILE.to_owned()) }).await;
    let hostile_path = "/%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    for path in ["/", "/acme/shop", &format!("/runs/{run}"), &format!("/runs/{refused}"), hostile_path] {
        let html = app.text(path).await;
        assert_lacks(
            &html,
            &["<script>", "<img src=x", "href=\"javascript", "href=javascript", " onerror=alert(1)>\""],
        );
        assert_eq!(html.matches("<script").count(), 1, "only the page's own script: {path}");
    }
    let stream = app.text(&format!("/api/runs/{run}/events?log=html")).await;
    let log: Vec<&str> = stream.lines().filter(|line| line.contains("\"html\"")).collect();
    assert!(log.len() >= 3, "{stream}");
    assert_lacks(&log.join("\n"), &["<script>", "<img"]);
}

#[tokio::test]
async fn what_is_not_there_is_said_with_a_way_on() {
    let app = WebApp::start().await;
    for path in [
        "/runs/7",
        "/runs/018f0000-0000-7000-8000-000000000000",
        "/no/such",
        "/a%20b/c",
        "/nothing",
        "/a/b/c/d",
        "/favicon.ico",
    ] {
        let response = app.get(path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8", "{path}");
        let html = response.text().await.expect("text");
        assert_has(&html, &["404", "There is nothing here", "See recent runs", "<main"]);
    }
    let response = app.client.post(format!("{}/", app.base)).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_has(&response.text().await.expect("text"), &["can only be looked at"]);
}

#[tokio::test]
async fn without_a_database_pages_say_so() {
    let app = WebApp::without_database().await;
    for path in ["/", "/acme/shop", "/runs/018f0000-0000-7000-8000-000000000000"] {
        let response = app.get(path).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(response.headers().contains_key("retry-after"));
        assert_has(&response.text().await.expect("text"), &["Try again", "Nothing is lost"]);
    }
}

#[tokio::test]
async fn the_look_is_kept_by_browsers_and_never_stale() {
    let app = WebApp::start().await;
    let html = app.text("/").await;
    for (kind, mark) in [("text/css", "rel=\"stylesheet\" href=\""), ("text/javascript", "<script src=\"")] {
        let url = between(&html, mark, "\"").replace("&#38;", "&");
        let response = app.get(&url).await;
        assert!(response.headers()["content-type"].to_str().is_ok_and(|t| t.starts_with(kind)), "{url}");
        assert!(response.headers()["cache-control"].to_str().is_ok_and(|c| c.contains("immutable")), "{url}");
        let tag = response.headers()["etag"].clone();
        let bare = url.split('?').next().expect("a path");
        let again = app.client.get(format!("{}{bare}", app.base)).header("If-None-Match", &tag);
        let again = again.send().await.expect("an answer");
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.headers()["cache-control"], "no-cache");
        let other = app.client.get(format!("{}{bare}", app.base)).header("If-None-Match", "\"other\"");
        assert_eq!(other.send().await.expect("an answer").status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn every_answer_is_guarded() {
    let app = WebApp::start().await;
    let scene = Scene::new(&app.store, "acme/shop", 7).await;
    let run = built(&scene).await;
    for path in
        ["/", "/acme/shop", &format!("/runs/{run}"), "/no/such", "/api/runs", "/api/nothing", "/assets/titan.css"]
    {
        let response = app.get(path).await;
        let header = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
        let policy = header("content-security-policy");
        assert_has(&policy, &["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]);
        assert_lacks(&policy, &["unsafe", "*", "http"]);
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "same-origin", "{path}");
    }
    // What the policy forbids must not be needed.
    let html = app.text(&format!("/runs/{run}")).await;
    assert_lacks(&html, &["style=\"", "style='", "<style", " onclick", " onload", "src=\"http"]);
    let packed = app.client.get(format!("{}/", app.base)).header("Accept-Encoding", "gzip").send().await;
    assert_eq!(packed.expect("an answer").headers()["content-encoding"], "gzip");
}
