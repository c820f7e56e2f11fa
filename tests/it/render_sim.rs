//! The simulated Render, asked over HTTP as Titan asks the real one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use titan::playground::exchange::CallLog;
use titan::playground::render::behaviour::Health;
use titan::playground::render::model::{OverlapPolicy, Phase, Status};
use titan::playground::render::{Options, Render, ServiceOptions};

use crate::contracts;

const SERVICE: &str = "srv-shop";
const PATIENCE: Duration = Duration::from_secs(20);

/// A bare repository with a few commits on `main`, and a Render with one service that runs the first of them.
struct World {
    folder: tempfile::TempDir,
    render: Render,
    http: reqwest::Client,
    first: String,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Options)) -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "-q", "--bare", "-b", "main", "shop.git"]);
        git(folder.path(), &["init", "-q", "-b", "main", "work"]);
        let first = commit(folder.path(), "first", json!({"message": "the first"}));
        let mut options = Options::new("rnd_test").service(ServiceOptions::new(
            SERVICE,
            "shop",
            folder.path().join("shop.git"),
            "main",
        ));
        options.pace = Duration::from_millis(5);
        options.overlap = Duration::ZERO;
        change(&mut options);
        let render = Render::start(options).await.unwrap();
        Self { folder, render, http: reqwest::Client::new(), first }
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("shop.git")
    }

    fn commit(&self, message: &str, service: Value) -> String {
        commit(self.folder.path(), message, service)
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.render.api_url()));
        request = request.bearer_auth("rnd_test").header("accept", "application/json");
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::POST, path, Some(body)).await
    }

    /// For the operations that take no body.
    async fn ask(&self, path: &str) -> StatusCode {
        self.call(Method::POST, path, None).await.0
    }

    /// Deploys a commit, waits for its end, and gives it as the API shows it.
    async fn deploy(&self, commit: &str) -> Value {
        let (status, created) = self.post("/services/srv-shop/deploys", json!({"commitId": commit})).await;
        assert_eq!((status, &created["trigger"]), (StatusCode::CREATED, &json!("api")));
        self.finished(&created).await
    }

    async fn finished(&self, deploy: &Value) -> Value {
        assert!(self.render.settled(SERVICE, PATIENCE).await, "the deploy must come to an end");
        self.get(&format!("/services/srv-shop/deploys/{}", deploy["id"].as_str().unwrap())).await.1
    }

    async fn ask_service(&self, path: &str) -> (StatusCode, Option<String>, String) {
        let url = format!("{}{path}", self.render.service_url(SERVICE).unwrap());
        let response = self.http.get(url).send().await.unwrap();
        let commit = response.headers().get("x-commit").map(|value| value.to_str().unwrap().to_owned());
        (response.status(), commit, response.text().await.unwrap())
    }

    /// Holds every exchange so far against what Render publishes.
    fn assert_documented(&self) {
        contracts::assert_honest(&CallLog::default(), self.render.log(), &[]);
    }

    fn statuses(&self) -> Vec<Status> {
        self.render.deploys(SERVICE).iter().map(|deploy| deploy.status).collect()
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = std::process::Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Commits this `service.json` on `main`, pushes it, and gives the commit's id.
fn commit(folder: &Path, message: &str, service: Value) -> String {
    let work = folder.join("work");
    std::fs::create_dir_all(work.join("src")).unwrap();
    std::fs::write(work.join("service.json"), service.to_string()).unwrap();
    std::fs::write(work.join("src/index.html"), "<p>{{message}} {{commit}}</p>").unwrap();
    std::fs::write(work.join("src/style.css"), "p {}").unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "-q", "--allow-empty", "-m", message]);
    git(&work, &["push", "-q", "../shop.git", "HEAD:main"]);
    git(&work, &["rev-parse", "HEAD"])
}

#[tokio::test]
async fn a_deployed_commit_really_replaces_the_one_before() {
    let world = World::new().await;
    let second = world.commit("second", json!({"message": "now <b>two</b>"}));
    assert_eq!(world.ask_service("/version").await.1.as_deref(), Some(world.first.as_str()));

    let deploy = world.deploy(&second).await;

    assert_eq!((&deploy["status"], &deploy["commit"]["message"]), (&json!("live"), &json!("second")));
    assert!(deploy["finishedAt"].as_str().unwrap() >= deploy["startedAt"].as_str().unwrap());
    assert_eq!(world.statuses(), [Status::Live, Status::Deactivated]);
    let (status, commit, body) = world.ask_service("/version").await;
    assert_eq!((status, commit.as_deref()), (StatusCode::OK, Some(second.as_str())));
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["commit"], json!(second));
    let page = world.ask_service("/").await.2;
    assert_eq!(page, format!("<p>now &lt;b&gt;two&lt;/b&gt; {second}</p>"));
    assert_eq!(world.ask_service("/style.css").await.2, "p {}");
    assert_eq!(world.ask_service("/health").await.0, StatusCode::OK);
    assert_eq!(world.ask_service("/none").await.0, StatusCode::NOT_FOUND);
    world.assert_documented();
}

#[tokio::test]
async fn statuses_come_in_the_documented_order() {
    let world = World::with(|options| options.services[0].pre_deploy_command = Some("migrate".into())).await;
    world.render.set_pace(Duration::from_millis(60));
    let (_, created) = world.post("/services/srv-shop/deploys", json!({})).await;
    assert_eq!((&created["status"], created.get("finishedAt")), (&json!("created"), None));
    let mut seen = vec![Status::Created];
    while seen.last() != Some(&Status::Live) {
        let last = seen[seen.len() - 1];
        assert!(world.render.until(PATIENCE, |render| render.deploys(SERVICE)[0].status != last).await);
        seen.push(world.render.deploys(SERVICE)[0].status);
    }
    let expected =
        [Status::Created, Status::BuildInProgress, Status::PreDeployInProgress, Status::UpdateInProgress, Status::Live];
    assert_eq!(seen, expected);
    world.assert_documented();
}

#[tokio::test]
async fn a_deploy_that_fails_leaves_the_old_version_serving() {
    let world = World::new().await;
    let cases = [
        (json!({"build": "fail"}), "build_failed"),
        (json!({"helth": "ok"}), "build_failed"),
        (json!({"start": "fail"}), "update_failed"),
        (json!({"services": {"shop": {"start": "fail"}}}), "update_failed"),
        (json!({"services": {"other": {"start": "fail"}}, "health": "failing"}), "live"),
    ];
    for (file, status) in cases {
        let commit = world.commit("case", file.clone());
        assert_eq!(world.deploy(&commit).await["status"], json!(status), "{file}");
        let serving = world.ask_service("/version").await.1.unwrap();
        assert_eq!(serving == commit, status == "live", "{file}");
    }
    assert_eq!(world.ask_service("/health").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    world.assert_documented();
}

#[tokio::test]
async fn with_a_health_check_a_sick_instance_never_goes_live() {
    let world = World::with(|options| options.services[0].health_check_path = Some("/health".into())).await;
    let sick = world.commit("sick", json!({"health": "failing"}));
    assert_eq!(world.deploy(&sick).await["status"], json!("update_failed"));
    let late = world.commit("late", json!({"health": {"failing_after_ms": 0}}));
    assert_eq!(world.deploy(&late).await["status"], json!("update_failed"));
    assert_eq!(world.render.live_commit(SERVICE).as_deref(), Some(world.first.as_str()));
}

#[tokio::test]
async fn health_turns_bad_after_its_time_and_can_be_forced() {
    let world = World::new().await;
    let turning = world.commit("turning", json!({"health": {"failing_after_ms": 400}}));
    world.deploy(&turning).await;
    assert_eq!(world.ask_service("/health").await.0, StatusCode::OK);
    world.render.force_health(SERVICE, Some(Health::Failing));
    assert_eq!(world.ask_service("/health").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    world.render.force_health(SERVICE, Some(Health::Ok));
    assert_eq!(world.ask_service("/health").await.0, StatusCode::OK);
    world.render.force_health(SERVICE, None);
    let turned = async {
        while world.ask_service("/health").await.0 == StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, turned).await.expect("the health must turn bad");
}

#[tokio::test]
async fn while_old_and_new_overlap_both_answer() {
    let world = World::with(|options| options.overlap = Duration::from_secs(600)).await;
    let second = world.commit("second", json!({}));
    world.deploy(&second).await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(world.ask_service("/version").await.1.unwrap());
    }
    assert_eq!(answers.iter().filter(|commit| **commit == second).count(), 2, "{answers:?}");
    assert_eq!(answers.iter().filter(|commit| **commit == world.first).count(), 2, "{answers:?}");
}

#[tokio::test]
async fn a_service_can_keep_its_commit_to_itself() {
    let world = World::new().await;
    let hidden = world.commit("hidden", json!({"identity": "hidden"}));
    world.deploy(&hidden).await;
    assert_eq!(world.ask_service("/version").await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.ask_service("/").await.1, None);
}

#[tokio::test]
async fn a_second_deploy_waits_without_an_id_and_then_gets_its_turn() {
    let world = World::new().await;
    world.render.set_pace(Duration::from_millis(100));
    let (second, third) = (world.commit("second", json!({})), world.commit("third", json!({})));
    let (status, _) = world.post("/services/srv-shop/deploys", json!({"commitId": second})).await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, body) = world.post("/services/srv-shop/deploys", json!({"commitId": third[..8]})).await;
    assert_eq!((status, body), (StatusCode::ACCEPTED, Value::Null));
    assert_eq!(world.render.deploys(SERVICE).len(), 2, "the one that waits is not listed yet");
    assert!(world.render.settled(SERVICE, PATIENCE).await);
    assert_eq!(world.render.live_commit(SERVICE), Some(third));
    assert_eq!(world.statuses(), [Status::Live, Status::Deactivated, Status::Deactivated]);
    world.assert_documented();
}

#[tokio::test]
async fn under_the_override_policy_a_newer_deploy_cancels_the_running_one() {
    let world = World::with(|options| options.overlap_policy = OverlapPolicy::Override).await;
    world.render.set_pace(Duration::from_millis(100));
    let second = world.commit("second", json!({}));
    world.post("/services/srv-shop/deploys", json!({"commitId": world.first})).await;
    let (status, newer) = world.post("/services/srv-shop/deploys", json!({"commitId": second})).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(world.finished(&newer).await["status"], json!("live"));
    assert_eq!(world.statuses(), [Status::Live, Status::Canceled, Status::Deactivated]);
}

#[tokio::test]
async fn a_deploy_in_progress_can_be_cancelled_once() {
    let world = World::new().await;
    world.render.set_pace(Duration::from_secs(60));
    let (_, created) = world.post("/services/srv-shop/deploys", json!({})).await;
    let path = format!("/services/srv-shop/deploys/{}/cancel", created["id"].as_str().unwrap());
    let (status, canceled) = world.call(Method::POST, &path, None).await;
    assert_eq!((status, &canceled["status"]), (StatusCode::OK, &json!("canceled")));
    assert_eq!(world.ask(&path).await, StatusCode::BAD_REQUEST);
    assert_eq!(world.ask("/services/srv-shop/deploys/dep-0/cancel").await, StatusCode::NOT_FOUND);
    assert_eq!(world.render.live_commit(SERVICE).as_deref(), Some(world.first.as_str()));
    world.assert_documented();
}

#[tokio::test]
async fn a_rollback_brings_the_earlier_commit_back_without_a_build() {
    let world = World::new().await;
    let second = world.commit("second", json!({}));
    world.deploy(&second).await;
    let (_, listed) = world.get("/services/srv-shop/deploys?status=deactivated").await;
    let target = listed[0]["deploy"]["id"].as_str().unwrap().to_owned();

    let (status, created) = world.post("/services/srv-shop/rollback", json!({"deployId": target})).await;
    assert_eq!((status, &created["trigger"]), (StatusCode::CREATED, &json!("rollback")));
    assert_eq!(world.finished(&created).await["status"], json!("live"));

    assert_eq!(world.ask_service("/version").await.1.as_deref(), Some(world.first.as_str()));
    let log = &world.render.deploys(SERVICE)[0].log;
    assert!(!log.iter().any(|line| line.starts_with("Cloning")), "a rollback builds nothing: {log:?}");
    world.assert_documented();
}

#[tokio::test]
async fn a_rollback_needs_a_deploy_that_was_live_and_is_still_kept() {
    let world = World::new().await;
    let born = world.render.deploys(SERVICE)[0].id.clone();
    world.render.fail_next_deploy(SERVICE, Phase::Update);
    let failed = world.deploy(&world.first).await["id"].clone();
    assert!(world.render.lose_artifact(SERVICE, &born));
    for (deploy, expected) in [
        (json!(born), StatusCode::BAD_REQUEST),
        (failed, StatusCode::BAD_REQUEST),
        (json!("dep-none"), StatusCode::NOT_FOUND),
    ] {
        let (status, body) = world.post("/services/srv-shop/rollback", json!({"deployId": deploy})).await;
        assert_eq!(status, expected, "{body}");
        assert!(body["message"].is_string());
    }
    world.assert_documented();
}

#[tokio::test]
async fn what_cannot_be_deployed_is_refused() {
    let world = World::new().await;
    let missing = "0123456789012345678901234567890123456789";
    for body in [
        json!({"commitId": missing}),
        json!({"commitId": "--upload-pack=x"}),
        json!({"commitId": world.first, "deployMode": "build_and_deploy"}),
        json!({"imageUrl": "docker.io/acme/shop"}),
        json!({"commit": world.first}),
    ] {
        let (status, answer) = world.post("/services/srv-shop/deploys", body.clone()).await;
        assert_eq!((status, answer["message"].is_string()), (StatusCode::BAD_REQUEST, true), "{body}");
    }
    assert_eq!(world.post("/services/srv-none/deploys", json!({})).await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.get("/services/srv-shop/unknown").await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.statuses(), [Status::Live], "nothing was deployed");
}

#[tokio::test]
async fn the_key_is_asked_for_and_every_answer_tells_the_rate_limit() {
    let world = World::with(|options| options.limits.deploys = 1).await;
    let url = format!("{}/services", world.render.api_url());
    for key in ["", "rnd_tes", "rnd_test2"] {
        let response = world.http.get(&url).bearer_auth(key).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(response.headers().contains_key("ratelimit-limit"));
    }
    let as_html = world.http.get(&url).bearer_auth("rnd_test").header("accept", "text/html").send().await.unwrap();
    assert_eq!(as_html.status(), StatusCode::NOT_ACCEPTABLE);
    world.deploy(&world.first).await;
    let deploys = format!("{url}/srv-shop/deploys");
    let refused = world.http.post(&deploys).bearer_auth("rnd_test").json(&json!({})).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let reset: u64 = refused.headers()["ratelimit-reset"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&reset), "seconds that remain, not a time: {reset}");
    assert_eq!(refused.headers()["retry-after"].to_str().unwrap(), reset.to_string());
    assert_eq!(world.render.log().matching("POST", "/v1/services/*/deploys").len(), 2);
}

#[tokio::test]
async fn deploys_are_listed_newest_first_in_pages_and_by_time() {
    let world = World::new().await;
    for _ in 0..3 {
        world.deploy(&world.first).await;
    }
    let ids: Vec<String> = world.render.deploys(SERVICE).into_iter().map(|deploy| deploy.id).collect();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = world.get(&format!("/services/srv-shop/deploys?limit=3{cursor}")).await;
        assert_eq!(status, StatusCode::OK);
        let page = page.as_array().unwrap().clone();
        seen.extend(page.iter().map(|row| row["deploy"]["id"].as_str().unwrap().to_owned()));
        match page.last() {
            Some(last) => cursor = format!("&cursor={}", last["cursor"].as_str().unwrap()),
            None => break,
        }
    }
    assert_eq!(seen, ids);

    let (_, all) = world.get("/services/srv-shop/deploys").await;
    let second_newest = all[1]["deploy"]["createdAt"].as_str().unwrap();
    let (_, newer) = world.get(&format!("/services/srv-shop/deploys?createdAfter={second_newest}")).await;
    assert_eq!(newer.as_array().unwrap().len(), 1);
    let (_, open) = world.get("/services/srv-shop/deploys?status=created&status=queued").await;
    assert_eq!(open, json!([]));
    assert_eq!(world.get("/services/srv-shop/deploys?status=gone").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn settings_are_read_and_changed() {
    let world = World::with(|options| options.services[0].auto_deploy = true).await;
    let (_, service) = world.get("/services/srv-shop").await;
    assert_eq!((&service["autoDeploy"], &service["suspended"]), (&json!("yes"), &json!("not_suspended")));
    assert_eq!(service["serviceDetails"]["url"].as_str(), world.render.service_url(SERVICE).as_deref());
    let second = world.commit("second", json!({}));
    world.render.pushed(&world.repository(), "main").await.unwrap();
    assert!(world.render.settled(SERVICE, PATIENCE).await);
    assert_eq!(world.render.live_commit(SERVICE), Some(second));

    let (status, changed) = world.call(Method::PATCH, "/services/srv-shop", Some(json!({"autoDeploy": "no"}))).await;
    assert_eq!((status, &changed["autoDeploy"]), (StatusCode::OK, &json!("no")));
    world.commit("third", json!({}));
    world.render.pushed(&world.repository(), "main").await.unwrap();
    assert_eq!(world.render.deploys(SERVICE).len(), 2, "a push deploys nothing any more");
    let (_, listed) = world.get("/services?name=shop,other&limit=5").await;
    assert_eq!(listed[0]["service"]["id"], json!(SERVICE));
    world.assert_documented();
}

#[tokio::test]
async fn a_suspended_service_neither_answers_nor_deploys() {
    let world = World::new().await;
    assert_eq!(world.ask("/services/srv-shop/suspend").await, StatusCode::ACCEPTED);
    assert_eq!(world.ask_service("/health").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.post("/services/srv-shop/deploys", json!({})).await.0, StatusCode::CONFLICT);
    assert_eq!(world.http.get(world.render.hook_url(SERVICE).unwrap()).send().await.unwrap().status(), 409);
    assert_eq!(world.ask("/services/srv-shop/resume").await, StatusCode::ACCEPTED);
    assert!(world.render.settled(SERVICE, PATIENCE).await);
    assert_eq!(world.ask_service("/health").await.0, StatusCode::OK);
    world.assert_documented();
}

#[tokio::test]
async fn the_hook_deploys_a_commit_and_switches_auto_deploy_off() {
    let world = World::with(|options| options.services[0].auto_deploy = true).await;
    let hook = world.render.hook_url(SERVICE).unwrap();
    let second = world.commit("second", json!({}));
    let answer = world.http.post(&hook).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(world.render.settled(SERVICE, PATIENCE).await);
    assert_eq!((world.render.live_commit(SERVICE), world.render.auto_deploys(SERVICE)), (Some(second), true));

    world.render.set_pace(Duration::from_millis(100));
    let answer = world.http.get(format!("{hook}&ref={}", &world.first[..7])).send().await.unwrap();
    let body: Value = answer.json().await.unwrap();
    assert!(body["deploy"]["id"].as_str().unwrap().starts_with("dep-"));
    assert!(!world.render.auto_deploys(SERVICE));
    let waiting = world.http.get(&hook).send().await.unwrap();
    assert_eq!((waiting.status(), waiting.bytes().await.unwrap().len()), (StatusCode::ACCEPTED, 0));

    let base = hook.split("/deploy/").next().unwrap().to_owned();
    for (url, expected) in [
        (format!("{base}/deploy/srv-shop"), 401),
        (format!("{base}/deploy/srv-shop?key=wrong"), 401),
        (format!("{base}/deploy/srv-none?key=wrong"), 404),
        (format!("{hook}&ref=0123456789012345678901234567890123456789"), 404),
        (format!("{hook}&ref=main"), 400),
        (format!("{hook}&imgURL=docker.io"), 400),
    ] {
        assert_eq!(world.http.get(&url).send().await.unwrap().status(), expected, "{url}");
    }
    assert_eq!(world.http.put(&hook).send().await.unwrap().status(), 405);
    world.assert_documented();
}
