//! A Render that runs on this machine: its API v1, its deploy hooks, and services that are really replaced.
//!
//! The API and the hooks share one address. Each service is a web server on a port of its own that serves files of the
//! deployed commit, read from a bare git repository, and that behaves as the commit's `service.json` says (see
//! `behaviour`). What is not simulated: builds with npm, several instances, disks, domains, and everything in Render's
//! API that Titan does not use.

mod api;
pub mod behaviour;
mod engine;
mod hook;
pub mod model;
pub mod rates;
mod service;
pub mod source;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;

use self::behaviour::Health;
use self::engine::Shared;
use self::model::{Deploy, OverlapPolicy, Phase, Service, Services, Trigger};
use self::rates::{Limits, Rates};
use self::source::{GitSource, SourceError};
use crate::clock;
use crate::playground::exchange::{CallLog, Faults, Recorder, record};

/// How to set a simulated Render up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The bearer key that the API asks for.
    pub api_key: String,
    /// Its services; ids must differ.
    pub services: Vec<ServiceOptions>,
    /// How long each phase of a deploy takes.
    pub pace: Duration,
    /// How long the instance before still gets every other request after a new one went live.
    pub overlap: Duration,
    /// What happens to a deploy that is asked for while another one works.
    pub overlap_policy: OverlapPolicy,
    /// Requests a minute.
    pub limits: Limits,
}

impl Options {
    /// No services, 150 ms a phase, 300 ms of overlap, Render's own rate limits.
    pub fn new(api_key: &str) -> Self {
        Self {
            api_key: api_key.to_owned(),
            services: Vec::new(),
            pace: Duration::from_millis(150),
            overlap: Duration::from_millis(300),
            overlap_policy: OverlapPolicy::Wait,
            limits: Limits::default(),
        }
    }

    /// With one more service.
    pub fn service(mut self, service: ServiceOptions) -> Self {
        self.services.push(service);
        self
    }
}

/// How to set one service up.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// `srv-…`.
    pub id: String,
    /// What the program knows as `RENDER_SERVICE_NAME`.
    pub name: String,
    /// The key of its deploy hook.
    pub hook_key: String,
    /// Where its code comes from.
    pub source: GitSource,
    /// A commit or ref that is live from the start, as if deployed long ago; `None` begins without any deploy.
    pub live_from_start: Option<String>,
    /// Whether [`Render::pushed`] deploys the branch.
    pub auto_deploy: bool,
    /// When set, a new instance whose health is bad from the start never goes live (`update_failed`).
    pub health_check_path: Option<String>,
    /// When set, deploys pass through `pre_deploy_in_progress`.
    pub pre_deploy_command: Option<String>,
}

impl ServiceOptions {
    /// A service of this repository's branch, live from the start, without auto-deploy, health check or pre-deploy.
    pub fn new(id: &str, name: &str, repository: impl Into<PathBuf>, branch: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            hook_key: format!("key-of-{name}"),
            source: GitSource { repository: repository.into(), branch: branch.to_owned() },
            live_from_start: Some(format!("refs/heads/{branch}")),
            auto_deploy: false,
            health_check_path: None,
            pre_deploy_command: None,
        }
    }
}

/// Why a simulated Render could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No port on the loopback could be had.
    #[error("could not listen on the loopback: {0}")]
    Listen(#[from] std::io::Error),
    /// The commit that a service should begin with could not be read.
    #[error("service {service} cannot begin with the commit it was given: {source}")]
    Source {
        /// The service's id.
        service: String,
        /// What git said.
        source: SourceError,
    },
}

/// A running simulated Render. Clones are the same one; it stops when the last is dropped.
#[derive(Clone)]
pub struct Render(Arc<Running>);

struct Running {
    shared: Arc<Shared>,
    url: String,
    recorder: Recorder,
    servers: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

impl Render {
    /// Starts the API and every service on free ports of the loopback.
    ///
    /// # Errors
    /// When no port can be had, or a service's first commit cannot be read.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let mut services = Services::new();
        let mut doors = Vec::new();
        for service in options.services {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let url = format!("http://{}", listener.local_addr()?);
            doors.push((service.id.clone(), service.live_from_start.clone(), listener));
            services.insert(service.id.clone(), quiet(service, url));
        }
        let shared = Arc::new(Shared::new(
            services,
            options.pace,
            options.overlap,
            options.overlap_policy,
            Rates::new(options.limits),
            &options.api_key,
        ));
        let mut servers = Vec::new();
        for (id, first, listener) in doors {
            if let Some(name) = first {
                let begun = engine::begin_with(&shared, &id, &name).await;
                begun.map_err(|source| StartError::Source { service: id.clone(), source })?;
            }
            servers.push(serve(listener, service::router(shared.clone(), id)));
        }
        let recorder = Recorder::new(&[]);
        let router = Router::new()
            .nest("/v1", api::router(shared.clone()))
            .merge(hook::router(shared.clone()))
            .layer(axum::middleware::from_fn_with_state(recorder.clone(), record));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        servers.push(serve(listener, router));
        Ok(Self(Arc::new(Running { shared, url, recorder, servers })))
    }

    /// The value for `RENDER_API_URL`.
    pub fn api_url(&self) -> String {
        format!("{}/v1", self.0.url)
    }

    /// The value for `RENDER_API_KEY`.
    pub fn api_key(&self) -> &str {
        &self.0.shared.api_key
    }

    /// The deploy hook of a service with its key: the value for `RENDER_DEPLOY_HOOK_<NAME>`.
    pub fn hook_url(&self, service: &str) -> Option<String> {
        self.read(service, |found| format!("{}/deploy/{}?key={}", self.0.url, found.id, found.hook_key))
    }

    /// Where a service answers, the same before and after every deploy.
    pub fn service_url(&self, service: &str) -> Option<String> {
        self.read(service, |found| found.url.clone())
    }

    /// Ids and names of all services, by id.
    pub fn services(&self) -> Vec<(String, String)> {
        self.0.shared.services().values().map(|service| (service.id.clone(), service.name.clone())).collect()
    }

    /// A service's deploys, newest first; empty when there is no such service.
    pub fn deploys(&self, service: &str) -> Vec<Deploy> {
        self.read(service, |found| found.deploys.iter().rev().cloned().collect()).unwrap_or_default()
    }

    /// The commit that gets the service's requests now.
    pub fn live_commit(&self, service: &str) -> Option<String> {
        self.read(service, |found| found.live.as_ref().map(|live| live.commit.clone())).flatten()
    }

    /// What the service would answer at its health path now; `None` when nothing runs. Does not count as a request.
    pub fn is_healthy(&self, service: &str) -> Option<bool> {
        self.read(service, Service::is_healthy).flatten()
    }

    /// Puts a commit live at once, without any phase: what was running before the story begins.
    ///
    /// # Errors
    /// When there is no such commit, or it cannot be read.
    pub async fn begin_with(&self, service: &str, name: &str) -> Result<(), SourceError> {
        engine::begin_with(&self.0.shared, service, name).await
    }

    /// Whether a push to the branch would deploy the service.
    pub fn auto_deploys(&self, service: &str) -> bool {
        self.read(service, |found| found.auto_deploy).unwrap_or(false)
    }

    /// Imposes a health on whatever the service runs, now and later; `None` gives it back to the commit.
    pub fn force_health(&self, service: &str, health: Option<Health>) {
        self.0.shared.change(service, |found| found.forced_health = health);
    }

    /// Makes the next deploy of the service fail at this phase, whatever its commit says.
    pub fn fail_next_deploy(&self, service: &str, phase: Phase) {
        self.0.shared.change(service, |found| found.fail_next = Some(phase));
    }

    /// Throws away what the build of a deploy left, as Render does after a time. False when there is no such deploy.
    pub fn lose_artifact(&self, service: &str, deploy: &str) -> bool {
        self.0.shared.change(service, |found| found.forget_artifact(deploy)).unwrap_or(false)
    }

    /// How long each phase takes from now on.
    pub fn set_pace(&self, pace: Duration) {
        self.0.shared.set_pace(pace);
    }

    /// Tells Render of a push: services of this repository and branch that auto-deploy begin to deploy its head.
    pub async fn pushed(&self, repository: &Path, branch: &str) -> Result<(), SourceError> {
        let concerned: Vec<String> = {
            let services = self.0.shared.services();
            let fits = |service: &&Service| {
                service.auto_deploy
                    && !service.suspended
                    && service.source.branch == branch
                    && service.source.repository == repository
            };
            services.values().filter(fits).map(|service| service.id.clone()).collect()
        };
        for service in concerned {
            let commit = source::find_commit(repository, &format!("refs/heads/{branch}")).await?;
            self.0.shared.deploy(&service, commit, Trigger::NewCommit);
        }
        Ok(())
    }

    /// Grows with every change of a service.
    pub fn version(&self) -> u64 {
        *self.0.shared.watch().borrow()
    }

    /// Waits until this holds; it is asked again after every change of a service. False when `within` passed first.
    pub async fn until(&self, within: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let mut changes = self.0.shared.watch();
        let wait = changes.wait_for(|_| holds(self));
        matches!(tokio::time::timeout(within, wait).await, Ok(Ok(_)))
    }

    /// Waits until no deploy of the service waits or works. False when `within` passed first.
    pub async fn settled(&self, service: &str, within: Duration) -> bool {
        let quiet = |found: &Service| found.waiting.is_none() && !found.deploys.iter().any(|d| d.status.is_open());
        self.until(within, |render| render.read(service, quiet).unwrap_or(true)).await
    }

    /// Every request to the API and the hooks, with its answer.
    pub fn log(&self) -> &CallLog {
        &self.0.recorder.log
    }

    /// What is to go wrong with coming requests.
    pub fn faults(&self) -> &Faults {
        &self.0.recorder.faults
    }

    fn read<T>(&self, service: &str, read: impl FnOnce(&Service) -> T) -> Option<T> {
        self.0.shared.services().get(service).map(read)
    }
}

/// A service as it is before anybody asked for anything.
fn quiet(options: ServiceOptions, url: String) -> Service {
    let now = clock::now();
    Service {
        id: options.id,
        name: options.name,
        hook_key: options.hook_key,
        source: options.source,
        health_check_path: options.health_check_path,
        pre_deploy_command: options.pre_deploy_command,
        url,
        auto_deploy: options.auto_deploy,
        suspended: false,
        created_at: now,
        updated_at: now,
        deploys: Vec::new(),
        waiting: None,
        live: None,
        leaving: None,
        forced_health: None,
        fail_next: None,
        requests: 0,
        health_requests: 0,
    }
}

fn serve(listener: TcpListener, router: Router) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        // Serving ends only with the task; a connection's own error stays with that connection.
        let _ = axum::serve(listener, router).await;
    })
}
