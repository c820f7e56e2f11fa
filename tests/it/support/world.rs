//! A small world around the whole of Titan: a GitHub, a Render with two services, a Postgres database, four people.
//!
//! [`world`] describes it, [`Setup::start`] brings it up on free ports and folders of its own. What people do is in
//! `people`, what can be seen afterwards in `seen`, how Titan runs in `titan_process` and `replicas`. A story ends with [`World::end`], which
//! fails when anything is left over or anything was said that GitHub or Render do not document.

mod crash;
mod invariants;
mod people;
mod replicas;
mod seen;
mod titan_process;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use titan::domain::budget::Manners;
use titan::playground::github::keys::AppKey;
use titan::playground::github::model::Role;
use titan::playground::github::{Change, GitHub, Options as GitHubOptions};
use titan::playground::render::{Options as RenderOptions, Render, ServiceOptions};
use titan::store::Store;
use titan::worker::pace::Pace;

use super::database::{OwnCluster, TestDb};
use crate::contracts;
use titan_process::Titan;

/// The repository of every story.
pub const REPO: &str = "acme/shop";
/// The Render service of the environment `canary`.
pub const CANARY: &str = "srv-web-canary";
/// The Render service of the environment `production`.
pub const PRODUCTION: &str = "srv-web-production";
/// As a file's content: the file is deleted.
pub const DELETED: &str = "\0deleted";
/// How long anything may take before a story fails.
pub const PATIENCE: Duration = Duration::from_secs(90);

const WEBHOOK_SECRET: &str = "webhook-secret-of-the-stories";
const RENDER_KEY: &str = "rnd_key-of-the-stories";
/// Between two looks at whether something has happened.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
const PHASE: Duration = Duration::from_millis(40);

const POLICY: &str = r#"version: 1
paths:
  protected: [/infra/, "*.tf"]
build:
  run: ["node build.js"]
  timeout: 1m
projects:
  web:
    paths: [/]
    canary: {render: srv-web-canary, url: CANARY_URL, health: /health, identity: {path: /version, json: commit}}
    production: {render: srv-web-production, url: PRODUCTION_URL, health: /health, identity: {path: /version, json: commit}}
    bake: 1s
approvals: 0
"#;

const FILES: [(&str, &str); 5] = [
    ("README.md", "# Shop\n"),
    ("build.js", "console.log('built the shop');\n"),
    ("infra/main.tf", "resource \"shop\" {}\n"),
    ("service.json", "{}\n"),
    ("src/index.html", "<h1>Shop</h1>\n"),
];

/// What a world is like before its story begins.
pub struct Setup {
    policy: Option<String>,
    files: Vec<(String, String)>,
    armed: bool,
    with_render_key: bool,
    auto_deploy: bool,
    in_a_process: bool,
    replicas: usize,
    watchful: Option<Duration>,
    long_leases: bool,
    spacing: chrono::TimeDelta,
    own_postgres: bool,
    extra_settings: Vec<(&'static str, String)>,
}

/// A disarmed repository with one project, `web`, that nobody has to approve.
pub fn world() -> Setup {
    Setup {
        policy: Some(POLICY.to_owned()),
        files: FILES.map(|(path, content)| (path.to_owned(), content.to_owned())).into(),
        armed: false,
        with_render_key: true,
        auto_deploy: false,
        in_a_process: false,
        replicas: 0,
        watchful: None,
        long_leases: false,
        spacing: Pace::QUICK.calls.spacing,
        own_postgres: false,
        extra_settings: Vec::new(),
    }
}

impl Setup {
    /// With deployment turned on.
    pub fn armed(mut self) -> Self {
        self.armed = true;
        self
    }

    /// With this policy on the base branch; `CANARY_URL` and `PRODUCTION_URL` stand for the services' addresses.
    pub fn policy(mut self, text: &str) -> Self {
        self.policy = Some(text.to_owned());
        self
    }

    /// With the usual policy, one line of it replaced.
    pub fn policy_line(mut self, line: &str, by: &str) -> Self {
        let policy = self.policy.take().unwrap_or_default();
        assert!(policy.contains(line), "the policy has no line {line:?}");
        self.policy = Some(policy.replace(line, by));
        self
    }

    /// With another time for the bakes than the second that they take as a rule.
    pub fn bake(self, time: &str) -> Self {
        self.policy_line("bake: 1s", &format!("bake: {time}"))
    }

    /// With no policy on the base branch.
    pub fn without_policy(mut self) -> Self {
        self.policy = None;
        self
    }

    /// With this file on the base branch.
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.retain(|(known, _)| known != path);
        self.files.push((path.to_owned(), content.to_owned()));
        self
    }

    /// With deploy hooks only: Titan knows no key for Render's API.
    pub fn without_render_key(mut self) -> Self {
        self.with_render_key = false;
        self
    }

    /// With a production service that Render deploys by itself at every push.
    pub fn auto_deploy(mut self) -> Self {
        self.auto_deploy = true;
        self
    }

    /// With so much time between two writes of an installation.
    pub fn spaced(mut self, spacing: chrono::TimeDelta) -> Self {
        self.spacing = spacing;
        self
    }

    /// With a Titan that looks for missed deliveries and comments all the time.
    pub fn watchful(self) -> Self {
        self.looking_every(Duration::from_millis(300))
    }

    /// The same, but only so often: the log of deliveries grows, and reading it takes ever longer.
    pub fn looking_every(mut self, often: Duration) -> Self {
        self.watchful = Some(often);
        self
    }

    /// With one more setting.
    pub fn setting(mut self, name: &'static str, value: &str) -> Self {
        self.extra_settings.push((name, value.to_owned()));
        self
    }

    /// With Titan as a process of its own, `titan serve`, at the pace of real services.
    pub fn in_a_process(mut self) -> Self {
        self.in_a_process = true;
        self
    }

    /// With so many Titans as processes of their own on one database, at a quick pace and with short leases, to be
    /// killed and paused one by one; see `replicas`.
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// With replicas whose claims last as long as in real use, so that a busy machine takes none from them. A story that
    /// kills them ends their claims with [`World::crash`].
    pub fn long_leases(mut self) -> Self {
        self.long_leases = true;
        self
    }

    /// With a Postgres of its own, which can be stopped and started: [`World::stop_postgres`].
    pub fn own_postgres(mut self) -> Self {
        self.own_postgres = true;
        self
    }

    /// Brings it up.
    pub async fn start(self) -> World {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let folder = tempfile::tempdir().expect("a folder");
        let github = self.github(&folder).await;
        let render = self.render(&github).await;
        if let Some(policy) = &self.policy {
            let url = |service| render.service_url(service).expect("a service");
            let text = policy.replace("CANARY_URL", &url(CANARY)).replace("PRODUCTION_URL", &url(PRODUCTION));
            let change = Change::new("Let Titan operate the shop").file(".github/titan.yml", text);
            github.commit(REPO, "main", "alice", &change).expect("a commit");
        }
        let database = Db::new(self.own_postgres).await;
        let settings = self.settings(&github, &render, &database, &folder);
        let mut world = World {
            store: Store::connect_lazy(database.options()),
            // without certificate authorities, which take long to read and which plain HTTP needs none of
            http: reqwest::Client::builder().tls_certs_only([]).no_proxy().build().expect("an HTTP client"),
            titan: Titan::Down,
            in_a_process: self.in_a_process,
            pace: self.pace(),
            replicas: self.replicas,
            preferred: 0,
            watchful: self.watchful,
            long_leases: self.long_leases,
            database,
            github,
            render,
            settings,
            _folder: folder,
            was_down: false,
            ended: false,
        };
        if self.armed {
            world.arm().await;
        }
        world.start_titan().await;
        world
    }

    fn pace(&self) -> Pace {
        let recovery = self.watchful.map_or(Pace::QUICK.recovery, replicas::watchful);
        let calls = Manners { spacing: self.spacing, ..Pace::QUICK.calls };
        let sweep_every = if self.watchful.is_some() { recovery.log_every } else { Pace::QUICK.sweep_every };
        Pace { recovery, calls, sweep_every, ..Pace::QUICK }
    }

    async fn github(&self, folder: &TempDir) -> GitHub {
        let options = GitHubOptions::new(folder.path().join("github"), &key().public_pem, WEBHOOK_SECRET);
        let github = GitHub::start(options).await.expect("a GitHub");
        github.create_repository(REPO, false).expect("a repository");
        let roles = [("alice", Role::Admin), ("bob", Role::Maintain), ("carol", Role::Write), ("dave", Role::Read)];
        for (login, role) in roles {
            github.set_role(REPO, login, role).expect("a role");
        }
        let first = self.files.iter().fold(Change::new("A shop"), |change, (path, text)| change.file(path, text));
        github.commit(REPO, "main", "alice", &first).expect("a first commit");
        github.install(&[REPO]).expect("an installation");
        github
    }

    /// Both services run the first commit, as if deployed long ago.
    async fn render(&self, github: &GitHub) -> Render {
        let repository = github.repository_dir(REPO).expect("a repository");
        let service = |id: &str, name: &str| ServiceOptions::new(id, name, &repository, "main");
        let mut production = service(PRODUCTION, "web-production");
        production.auto_deploy = self.auto_deploy;
        let mut options = RenderOptions::new(RENDER_KEY).service(service(CANARY, "web-canary")).service(production);
        options.pace = PHASE;
        options.overlap = PHASE;
        Render::start(options).await.expect("a Render")
    }

    /// Titan's environment, the same for a process and for the App in this one.
    fn settings(&self, github: &GitHub, render: &Render, database: &Db, folder: &TempDir) -> BTreeMap<String, String> {
        let port = if self.in_a_process { free_port() } else { 0 };
        let hook = |service| render.hook_url(service).expect("a service");
        let mut settings = vec![
            ("DATABASE_URL", database.url()),
            ("PORT", port.to_string()),
            ("PUBLIC_URL", "https://titan.example.com".to_owned()),
            ("GITHUB_APP_ID", github.app().id.to_string()),
            ("GITHUB_APP_PRIVATE_KEY", key().private_pem.expose_secret().to_owned()),
            ("GITHUB_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
            ("GITHUB_API_URL", github.url()),
            ("GITHUB_URL", github.url()),
            ("RENDER_API_URL", render.api_url()),
            ("RENDER_DEPLOY_HOOK_WEB_CANARY", hook(CANARY)),
            ("RENDER_DEPLOY_HOOK_WEB_PRODUCTION", hook(PRODUCTION)),
            ("OUTPUT_DIR", folder.path().join("titan").display().to_string()),
            ("ALLOW_PRIVATE_TARGETS", "127.0.0.0/8".to_owned()),
        ];
        if self.with_render_key {
            settings.push(("RENDER_API_KEY", render.api_key().to_owned()));
        }
        if !super::place::can_isolate() {
            // the stories are about what is built, and the other tests about how
            settings.push(("BUILD_ISOLATION", "off".to_owned()));
        }
        settings.extend(self.extra_settings.iter().cloned());
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// Where a story's database is.
enum Db {
    Shared(TestDb),
    Own(Box<OwnCluster>),
}

impl Db {
    async fn new(own: bool) -> Self {
        if own { Self::Own(Box::new(OwnCluster::new().await)) } else { Self::Shared(TestDb::new().await) }
    }

    fn options(&self) -> PgConnectOptions {
        match self {
            Self::Shared(database) => database.options(),
            Self::Own(cluster) => cluster.options(),
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Shared(database) => database.url(),
            Self::Own(cluster) => cluster.url(),
        }
    }

    fn cluster(&mut self) -> &mut OwnCluster {
        match self {
            Self::Own(cluster) => cluster,
            Self::Shared(_) => panic!("the story has no Postgres of its own"),
        }
    }
}

/// A world in which a story happens.
pub struct World {
    /// The simulated GitHub.
    pub github: GitHub,
    /// The simulated Render.
    pub render: Render,
    /// What Titan remembers.
    pub store: Store,
    http: reqwest::Client,
    titan: Titan,
    in_a_process: bool,
    pace: Pace,
    /// How many replicas the story has; 0 when Titan runs otherwise.
    replicas: usize,
    /// The replica that webhooks go to while it works.
    preferred: usize,
    watchful: Option<Duration>,
    long_leases: bool,
    database: Db,
    settings: BTreeMap<String, String>,
    _folder: TempDir,
    /// What GitHub sent meanwhile could not be delivered.
    was_down: bool,
    ended: bool,
}

impl World {
    /// Waits until every webhook was answered, no job waits and no run is under way.
    pub async fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.github.settle().await;
            let before = self.github.count_deliveries();
            if !self.is_busy().await {
                // What Titan did last may have caused events that are on their way only now.
                self.github.settle().await;
                if self.github.count_deliveries() == before {
                    return;
                }
            }
            if Instant::now() > deadline {
                panic!("not settled after {PATIENCE:?}:\n{}", self.open_work().await.join("\n"));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether Titan has anything left to do; asked again and again, so it is one short question.
    async fn is_busy(&self) -> bool {
        let (dead, busy): (bool, bool) = sqlx::query_as(
            "SELECT EXISTS (SELECT FROM job WHERE status = 'dead'),
                    EXISTS (SELECT FROM job WHERE status <> 'dead')
                    OR EXISTS (SELECT FROM run WHERE status <> 'completed')",
        )
        .fetch_one(self.store.pool())
        .await
        .expect("the store answers");
        if dead {
            panic!("Titan gave up: {:#?}", self.store.list_dead_jobs().await);
        }
        busy
    }

    /// Titan's `OUTPUT_DIR`.
    pub fn output_dir(&self) -> std::path::PathBuf {
        self.settings["OUTPUT_DIR"].clone().into()
    }

    /// Stops the story's own Postgres; what Titan is sent meanwhile it cannot take.
    pub async fn stop_postgres(&mut self) {
        self.was_down = true;
        self.database.cluster().stop().await;
    }

    /// Starts it again, with everything that was committed.
    pub async fn start_postgres(&mut self) {
        self.database.cluster().start().await;
    }

    /// Waits until this holds.
    pub async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self).await {
            assert!(Instant::now() < deadline, "after {PATIENCE:?} still not: {what}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Ends the story: nothing may be left over, and everything that was said must be documented.
    pub async fn end(mut self) {
        self.settle().await;
        let was_down = self.was_down;
        self.stop_titan().await;
        self.ended = true;
        assert_eq!(self.github.faults().unconsumed(), [], "a fault at GitHub did not happen");
        assert_eq!(self.render.faults().unconsumed(), [], "a fault at Render did not happen");
        assert_eq!(self.github.hooks().unused_tampers(), 0, "a webhook was not tampered with");
        assert_eq!(self.github.unknown_requests(), Vec::<String>::new(), "requests that GitHub does not know");
        let deliveries = self.github.deliveries();
        let arrived = |guid: &str| deliveries.iter().any(|d| d.guid == guid && d.succeeded());
        let refused: Vec<_> = deliveries.iter().filter(|d| !arrived(&d.guid)).map(|d| (&d.event, &d.status)).collect();
        assert!(was_down || refused.is_empty(), "webhooks that Titan did not take: {refused:?}");
        self.assert_no_secret_left();
        let payloads: Vec<(String, Value)> = deliveries.iter().map(|d| (d.event.clone(), d.json())).collect();
        contracts::assert_honest(self.github.calls(), self.render.log(), &payloads);
        self.store.close().await;
    }

    /// No secret may stand in what Titan wrote at GitHub.
    fn assert_no_secret_left(&self) {
        let names = ["GITHUB_WEBHOOK_SECRET", "RENDER_API_KEY", "RENDER_DEPLOY_HOOK_WEB_CANARY", "DATABASE_URL"];
        let secrets = names.iter().filter_map(|name| self.settings.get(*name).map(|value| (*name, value)));
        for (name, value) in secrets {
            let leak = |body: &[u8]| String::from_utf8_lossy(body).contains(value.as_str());
            let leaked = self.github.calls().all().into_iter().find(|call| leak(&call.request_body));
            assert!(leaked.is_none(), "{name} left with {leaked:?}");
        }
    }

    /// As `/titan arm` would leave it; the command has a story of its own.
    async fn arm(&self) {
        let installation = self.github.installations().first().expect("an installation").id;
        let installation = titan::domain::ids::InstallationId(i64::try_from(installation).expect("a small id"));
        let repo = REPO.parse().expect("a name");
        self.store.ensure_repository(installation, &repo).await.expect("a repository");
        sqlx::query("UPDATE repository SET armed_at = now(), armed_by = 'alice'")
            .execute(self.store.pool())
            .await
            .expect("the store answers");
    }

    /// What Titan still has to do, a line each.
    pub async fn open_work(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT concat_ws(' ', 'job', kind, key, status, 'attempt', attempts, 'at', run_at, last_error)
             FROM job WHERE status <> 'dead'
             UNION ALL SELECT concat_ws(' ', 'run', kind, status, head) FROM run WHERE status <> 'completed'",
        )
        .fetch_all(self.store.pool())
        .await
        .expect("the store answers")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        assert!(self.ended || std::thread::panicking(), "a story must end with `world.end().await`");
    }
}

/// The App's key: making one takes long, and nothing can be stored in it.
fn key() -> &'static AppKey {
    static KEY: OnceLock<AppKey> = OnceLock::new();
    KEY.get_or_init(|| AppKey::generate().expect("a key"))
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
