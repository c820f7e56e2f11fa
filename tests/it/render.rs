//! Titan's way to Render, against the simulated one: what is asked, what comes back, and what is never sent twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use titan::clock;
use titan::domain::ids::{CommitSha, DeployId, ServiceId};
use titan::playground::exchange::{CallLog, Fault, FaultKind};
use titan::playground::render::{Options, Render as Simulated, ServiceOptions, rates};
use titan::redact::SecretUrl;
use titan::render::{Deploy, DeployStatus, HookStarted, Render, RenderError, RenderSettings, Service, Started};
use url::Url;

use crate::contracts;

const PATIENCE: Duration = Duration::from_secs(20);
const DEPLOYS: &str = "/v1/services/*/deploys";

/// One service that runs the first of two commits, and Titan's client for it with a hook named `SHOP`.
struct World {
    _folder: tempfile::TempDir,
    sim: Simulated,
    render: Render,
    commits: [CommitSha; 2],
}

impl World {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        git(folder.path(), &["init", "-q", "-b", "main", "."]);
        let commits: [CommitSha; 2] = ["first", "second"].map(|message| {
            std::fs::write(folder.path().join("service.json"), "{}").expect("a file");
            git(folder.path(), &["add", "."]);
            git(folder.path(), &["commit", "-q", "--allow-empty", "-m", message]);
            git(folder.path(), &["rev-parse", "HEAD"]).parse().expect("a commit")
        });
        let mut service = ServiceOptions::new("srv-shop", "shop", folder.path().join(".git"), "main");
        service.live_from_start = Some(commits[0].to_string());
        let mut options = Options::new("rnd_test_key").service(service);
        options.pace = Duration::from_millis(5);
        options.overlap = Duration::ZERO;
        change(&mut options);
        let sim = Simulated::start(options).await.expect("a Render");
        let render = Render::new(&settings(&sim, Some(sim.api_key())), &loopback()).expect("usable settings");
        Self { _folder: folder, sim, render, commits }
    }

    /// Waits until nothing deploys, and gives the deploy as the API shows it.
    async fn ended(&self, deploy: &DeployId) -> Deploy {
        assert!(self.sim.settled("srv-shop", PATIENCE).await, "the deploys come to an end");
        self.render.get_deploy(&shop(), deploy).await.expect("the deploy")
    }

    fn posts(&self) -> usize {
        self.sim.log().matching("POST", DEPLOYS).len()
    }

    /// Everything asked for went wrong, and everything said is as Render documents it.
    fn done(self) {
        assert_eq!(self.sim.faults().unconsumed(), []);
        contracts::assert_honest(&CallLog::default(), self.sim.log(), &[]);
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = std::process::Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

fn settings(sim: &Simulated, key: Option<&str>) -> RenderSettings {
    let hook = Url::parse(&sim.hook_url("srv-shop").expect("a hook")).expect("a url");
    RenderSettings {
        api_url: Url::parse(&sim.api_url()).expect("a url"),
        api_key: key.map(SecretString::from),
        hooks: BTreeMap::from([("SHOP".to_owned(), SecretUrl::new(&hook))]),
    }
}

fn loopback() -> Vec<ipnet::IpNet> {
    vec!["127.0.0.0/8".parse().expect("a network")]
}

fn shop() -> ServiceId {
    "srv-shop".parse().expect("an id")
}

#[tokio::test]
async fn a_commit_is_deployed_and_followed_to_live() {
    let world = World::new().await;
    let before = world.render.live_deploy(&shop()).await.expect("an answer").expect("one is live");
    assert!(before.is_of(&world.commits[0]));

    let Ok(Started::Deploy(started)) = world.render.start_deploy(&shop(), &world.commits[1]).await else {
        panic!("it starts")
    };
    assert!(started.is_of(&world.commits[1]) && started.was_asked_for() && !started.status.is_terminal());

    let ended = world.ended(&started.id).await;
    assert!(ended.status == DeployStatus::Live && ended.finished_at >= ended.created_at);
    let deploys = world.render.list_deploys(&shop(), None).await.expect("a list");
    let statuses: Vec<&DeployStatus> = deploys.iter().map(|deploy| &deploy.status).collect();
    assert_eq!(statuses, [&DeployStatus::Live, &DeployStatus::Deactivated]);
    world.done();
}

#[tokio::test]
async fn a_hook_deploys_the_commit_and_its_deploy_can_be_watched() {
    let world = World::new().await;
    let started = world.render.trigger_hook("SHOP", &world.commits[1]).await.expect("it starts");
    let HookStarted::Deploy(id) = started else { panic!("{started:?}") };
    let service = world.render.hook_service("SHOP").expect("there is a key");
    assert_eq!(service, shop());
    assert!(world.ended(&id).await.is_of(&world.commits[1]));
    assert_eq!(world.sim.log().matching("POST", "/deploy/srv-shop").len(), 1);

    let without_key = Render::new(&settings(&world.sim, None), &loopback()).expect("usable settings");
    assert_eq!(without_key.hook_service("SHOP"), None);
    let error = without_key.get_deploy(&shop(), &id).await.expect_err("there is no key");
    assert!(error.to_string().contains("RENDER_API_KEY is not set"), "{error}");
    let error = world.render.trigger_hook("OTHER", &world.commits[1]).await.expect_err("there is no such hook");
    assert!(error.to_string().contains("RENDER_DEPLOY_HOOK_OTHER is not set"), "{error}");
    world.done();
}

#[tokio::test]
async fn what_an_attempt_cut_off_produced_is_found_again() {
    let world = World::new().await;
    let intent_at = clock::now();
    assert_eq!(world.render.find_deploy(&shop(), &world.commits[1], intent_at).await, Ok(None));

    world.sim.faults().inject(Fault::once("POST", DEPLOYS, FaultKind::DropAfter));
    let error = world.render.start_deploy(&shop(), &world.commits[1]).await.expect_err("no answer came");
    assert!(matches!(error, RenderError::Transient(_)), "{error:?}");
    assert_eq!(world.posts(), 1, "a write is never sent again by itself");

    let found = world.render.find_deploy(&shop(), &world.commits[1], intent_at).await.expect("an answer");
    assert!(found.is_some_and(|deploy| deploy.is_of(&world.commits[1])));
    let other = world.render.find_deploy(&shop(), &world.commits[0], intent_at).await;
    assert_eq!(other, Ok(None), "the deploy that was live before the intent does not count");
    world.done();
}

#[tokio::test]
async fn a_read_is_sent_again_and_a_write_is_not() {
    let world = World::new().await;
    let unwell = || FaultKind::Before(503, r#"{"message":"try later"}"#.to_owned(), Vec::new());
    world.sim.faults().inject(Fault { times: 2, ..Fault::once("GET", "/v1/services/*", unwell()) });
    let service = world.render.get_service(&shop()).await.expect("the third time");
    assert_eq!(service, Service { suspended: false, auto_deploy: false });

    world.sim.faults().inject(Fault::once("POST", DEPLOYS, unwell()));
    let error = world.render.start_deploy(&shop(), &world.commits[1]).await.expect_err("once only");
    assert_eq!(error, RenderError::Transient("POST /services/srv-shop/deploys: 503: try later".to_owned()));
    assert_eq!(world.posts(), 1);
    world.done();
}

#[tokio::test]
async fn a_second_deploy_waits_without_an_id() {
    let world = World::with(|options| options.pace = Duration::from_millis(300)).await;
    let first = world.render.start_deploy(&shop(), &world.commits[0]).await.expect("it starts");
    assert!(matches!(first, Started::Deploy(_)));
    let intent_at = clock::now();
    assert_eq!(world.render.start_deploy(&shop(), &world.commits[1]).await, Ok(Started::Queued));
    world.sim.set_pace(Duration::from_millis(5));
    assert!(world.sim.settled("srv-shop", PATIENCE).await);
    let found = world.render.find_deploy(&shop(), &world.commits[1], intent_at).await.expect("an answer");
    assert!(found.is_some(), "it exists once its turn has come");
    world.done();
}

#[tokio::test]
async fn a_rollback_brings_the_deploy_before_back_until_render_has_lost_it() {
    let world = World::with(|options| options.services[0].auto_deploy = true).await;
    let good = world.render.live_deploy(&shop()).await.expect("an answer").expect("one is live");
    let Ok(Started::Deploy(bad)) = world.render.start_deploy(&shop(), &world.commits[1]).await else {
        panic!("it starts")
    };
    world.ended(&bad.id).await;
    assert!(world.sim.auto_deploys("srv-shop"), "the API leaves auto-deploy alone");

    world.render.disable_auto_deploy(&shop()).await.expect("it is switched off");
    assert!(!world.sim.auto_deploys("srv-shop"));
    let intent_at = clock::now();
    let back = world.render.rollback(&shop(), &good.id).await.expect("it rolls back");
    assert!(back.trigger.as_deref() == Some("rollback") && back.is_of(&world.commits[0]));
    assert_eq!(world.ended(&back.id).await.status, DeployStatus::Live);
    let found = world.render.find_rollback(&shop(), &world.commits[0], intent_at).await.expect("an answer");
    assert_eq!(found.map(|deploy| deploy.id), Some(back.id));
    let to_another = world.render.find_rollback(&shop(), &world.commits[1], intent_at).await;
    assert_eq!(to_another, Ok(None), "a rollback to something else is somebody else's");
    assert_eq!(world.render.find_deploy(&shop(), &world.commits[0], intent_at).await, Ok(None));

    assert!(world.sim.lose_artifact("srv-shop", good.id.as_str()));
    let error = world.render.rollback(&shop(), &good.id).await.expect_err("nothing to roll back to");
    assert!(matches!(error, RenderError::NotFound(_) | RenderError::Invalid(_)), "{error:?}");
    world.done();
}

#[tokio::test]
async fn a_deploy_can_be_cancelled() {
    let world = World::with(|options| options.pace = Duration::from_secs(30)).await;
    let Ok(Started::Deploy(deploy)) = world.render.start_deploy(&shop(), &world.commits[1]).await else {
        panic!("it starts")
    };
    let canceled = world.render.cancel(&shop(), &deploy.id).await.expect("it stops");
    assert!(canceled.status == DeployStatus::Canceled && canceled.status.has_failed());
    world.done();
}

#[tokio::test]
async fn errors_say_what_to_do_and_never_the_key() {
    let world = World::new().await;
    let nowhere = "srv-other".parse().expect("an id");
    let error = world.render.get_service(&nowhere).await.expect_err("unknown");
    assert!(matches!(error, RenderError::NotFound(_)), "{error:?}");
    let missing = "0123456789012345678901234567890123456789".parse().expect("a commit");
    for outcome in [
        world.render.start_deploy(&shop(), &missing).await.map(|_| ()),
        world.render.trigger_hook("SHOP", &missing).await.map(|_| ()),
    ] {
        assert!(matches!(outcome, Err(RenderError::NotFound(_) | RenderError::Invalid(_))), "{outcome:?}");
    }
    let stranger = Render::new(&settings(&world.sim, Some("rnd_wrong_key")), &loopback()).expect("usable settings");
    let error = stranger.get_service(&shop()).await.expect_err("the wrong key");
    assert!(matches!(error, RenderError::Unauthorized(_)), "{error:?}");
    let shown = format!("{error} {error:?} {stranger:?} {:?}", settings(&world.sim, Some("rnd_wrong_key")));
    assert!(!shown.contains("rnd_wrong_key") && !shown.contains("key-of-shop"), "{shown}");
    world.done();
}

#[tokio::test]
async fn too_many_requests_name_the_time_to_come_back() {
    let limits = rates::Limits { deploys: 1, ..rates::Limits::default() };
    let world = World::with(|options| options.limits = limits).await;
    world.render.start_deploy(&shop(), &world.commits[1]).await.expect("the first one is allowed");
    let error = world.render.start_deploy(&shop(), &world.commits[1]).await.expect_err("the second one is not");
    let RenderError::RateLimited { retry_at } = error else { panic!("{error:?}") };
    let wait = (retry_at - clock::now()).num_seconds();
    assert!((0..=60).contains(&wait), "{wait} s");
    world.done();
}

#[tokio::test]
async fn a_hook_that_leads_inwards_is_refused_before_anything_is_sent() {
    let world = World::new().await;
    let error = Render::new(&settings(&world.sim, None), &[]).expect_err("the loopback is not allowed");
    let text = error.to_string();
    assert!(text.contains("RENDER_DEPLOY_HOOK_SHOP") && text.contains("ALLOW_PRIVATE_TARGETS"), "{text}");
    assert!(!text.contains("key-of-shop"), "{text}");
    assert_eq!(world.sim.log().count(), 0);
}

#[tokio::test]
async fn a_long_list_is_read_to_its_end() {
    let limits = rates::Limits { deploys: 1000, ..rates::Limits::default() };
    let world = World::with(|options| options.limits = limits).await;
    world.sim.set_pace(Duration::ZERO);
    for _ in 0..101 {
        world.render.start_deploy(&shop(), &world.commits[1]).await.expect("accepted");
        assert!(world.sim.settled("srv-shop", PATIENCE).await);
    }
    let deploys = world.render.list_deploys(&shop(), None).await.expect("a list");
    assert_eq!(deploys.len(), 102);
    assert_eq!(world.sim.log().matching("GET", DEPLOYS).len(), 2, "two pages");
    assert!(deploys.is_sorted_by_key(|deploy| std::cmp::Reverse(deploy.created_at)));
    world.done();
}
