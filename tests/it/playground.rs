//! The playground: its pages, used as a browser without JavaScript uses them, and its story.

use std::time::Duration;

use reqwest::{Client, StatusCode, header, redirect};
use titan::playground::sample::{CANARY, PRODUCTION, REPOSITORY, TALES};
use titan::playground::story::{self, Patience, StoryError};
use titan::playground::{Options, Playground};

/// A playground whose GitHub tells nobody, and a browser.
struct World {
    playground: Playground,
    browser: Client,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let folder = tempfile::tempdir().unwrap();
        let playground = Playground::start(Options::new(folder.path())).await.unwrap();
        // Nobody listens there; deliveries fail as they do at GitHub when an App is down.
        playground.set_webhook_target(&"http://127.0.0.1:9/webhooks/github".parse().unwrap()).await.unwrap();
        let browser = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
        Self { playground, browser, _folder: folder }
    }

    fn url(&self, path: &str) -> String {
        self.playground.url().join(path).unwrap().to_string()
    }

    /// A page that must be there.
    async fn page(&self, path: &str) -> String {
        let answer = self.browser.get(self.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.unwrap()
    }

    /// Sends a form as this person and gives where the browser is sent.
    async fn send(&self, person: &str, path: &str, form: &[(&str, &str)]) -> String {
        let request = self.browser.post(self.url(path)).header(header::COOKIE, format!("playground_person={person}"));
        let answer = request.form(form).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{path}");
        answer.headers()[header::LOCATION].to_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prepared_pull_requests_are_there_and_both_services_run_the_main_branch() {
    let world = World::new().await;
    let list = world.page("/acme/shop/pulls").await;
    for tale in &TALES {
        assert!(list.contains(tale.title), "{} is not in the list", tale.title);
        let page = world.page(&format!("/acme/shop/pull/{}", tale.number)).await;
        assert!(page.contains("How this tale goes"), "{}", tale.title);
        assert!(page.contains("Can be merged without conflicts"), "{}", tale.title);
        assert!(world.page(&format!("/acme/shop/pull/{}/files", tale.number)).await.contains("class=\"add\""));
    }
    let main = world.playground.github().branch(REPOSITORY, "main");
    assert!(main.is_some());
    for service in [CANARY, PRODUCTION] {
        assert_eq!(world.playground.render().live_commit(service), main);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_is_written_as_the_chosen_person_and_its_html_does_not_run() {
    let world = World::new().await;
    let form = [("person", "carol"), ("body", "| a |\n|---|\n| b |\n\n<script>alert(1)</script>\n\n**bold**")];
    let back = world.send("alice", "/playground/pull/1/comment", &form).await;
    assert_eq!(back, "/acme/shop/pull/1#checks");
    world
        .send("alice", "/playground/pull/1/comment", &[("person", "bob"), ("body", ""), ("quick", "/titan help")])
        .await;

    let comments = world.playground.github().comments(REPOSITORY, 1);
    let said: Vec<(&str, bool)> = comments.iter().map(|c| (c.author.as_str(), c.body == "/titan help")).collect();
    assert_eq!(said, [("carol", false), ("bob", true)]);
    let page = world.page("/acme/shop/pull/1").await;
    assert!(page.contains("<td>b</td>") && page.contains("<strong>bold</strong>"));
    assert!(!page.contains("<script>alert"), "raw HTML of a comment must not run");
}

#[tokio::test(flavor = "multi_thread")]
async fn githubs_own_rules_hold_for_who_may_do_what() {
    let world = World::new().await;
    let head = world.playground.github().head(REPOSITORY, 2);
    for what in ["label", "push", "close"] {
        let back = world.send("dave", &format!("/playground/pull/2/{what}"), &[]).await;
        assert!(back.contains("notice=dave+may+only+read"), "{what}: {back}");
    }
    let own = world.send("carol", "/playground/pull/2/approve", &[]).await;
    assert!(own.contains("notice="), "nobody approves their own pull request: {own}");
    assert_eq!(world.playground.github().head(REPOSITORY, 2), head);

    for what in ["label", "push", "approve", "close", "reopen"] {
        assert_eq!(world.send("bob", &format!("/playground/pull/2/{what}"), &[]).await, "/acme/shop/pull/2", "{what}");
    }
    let issue = world.playground.github().issue(REPOSITORY, 2).unwrap();
    assert!(issue.open && issue.labels == ["titan-ops"]);
    assert_ne!(world.playground.github().head(REPOSITORY, 2), head);
    assert!(world.page("/acme/shop/pull/2").await.contains("Remove titan-ops"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_can_be_made_ill_on_its_page() {
    let world = World::new().await;
    let health = format!("{}/health", world.playground.render().service_url(PRODUCTION).unwrap());
    assert_eq!(world.browser.get(&health).send().await.unwrap().status(), 200);
    world.send("alice", "/playground/service/srv-shop-production", &[("health", "failing")]).await;
    assert_eq!(world.browser.get(&health).send().await.unwrap().status(), 500);
    assert!(world.page("/services").await.contains("unhealthy"));
    world.send("alice", "/playground/service/srv-shop-production", &[("health", "own")]).await;
    assert_eq!(world.browser.get(&health).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_address_serves_git_too_and_shows_what_passed() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let cloned = std::process::Command::new("git")
        .args(["clone", "-q", &world.url("/acme/shop.git"), "shop"])
        .current_dir(folder.path())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(cloned.status.success(), "{}", String::from_utf8_lossy(&cloned.stderr));
    assert!(folder.path().join("shop/.github/titan.yml").is_file());
    world.playground.github().settle().await;
    let traffic = world.page("/traffic?show=webhooks").await;
    assert!(traffic.contains("pull_request.opened") && traffic.contains("installation.created"));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_sites_cannot_press_buttons_and_unknown_addresses_say_so() {
    let world = World::new().await;
    let foreign = world.browser.post(world.url("/playground/pull/1/close")).header("sec-fetch-site", "cross-site");
    assert_eq!(foreign.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    assert!(world.playground.github().issue(REPOSITORY, 1).unwrap().open);
    for path in ["/acme/shop/pull/99", "/acme/other/pulls", "/nothing", "/acme/shop/commit/0000000"] {
        let answer = world.browser.get(world.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let back = world.send("bob", "/playground/me", &[("person", "carol"), ("back", "//evil.example/")]).await;
    assert_eq!(back, "/");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_ends_with_an_error_when_titan_does_nothing() {
    let world = World::new().await;
    let short = Duration::from_secs(2);
    let patience = Patience { build: short, watch: short, soon: short };
    let mut told = Vec::new();
    let ended = story::play(&world.playground, patience, &mut |line| told.push(line.to_owned())).await;
    match ended {
        Err(StoryError::NotSeen { what, .. }) => assert!(what.contains("reaction"), "{what}"),
        other => panic!("nothing can have been seen of Titan: {other:?}"),
    }
    assert!(told.iter().any(|line| line.contains("alice › /titan arm")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_plays_the_whole_story_and_sees_all_of_it() {
    let mut titan = tokio::process::Command::new(env!("CARGO_BIN_EXE_titan"));
    titan.args(["playground", "--once"]).kill_on_drop(true);
    let ended = tokio::time::timeout(Duration::from_secs(600), titan.output()).await;
    let output = ended.expect("it ends in time").expect("it starts");
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{errors}");
    for tale in &TALES {
        assert!(told.contains(&format!("#{} {}", tale.number, tale.title)), "{told}");
    }
    assert!(told.contains("observations were made"), "{told}");
}
