//! Builds everything once and runs it: the web server and the workers in one process, and the way they stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use secrecy::ExposeSecret;
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{BuildConfig, Config, DatabaseConfig};
use crate::github::{GitHub, GitHubSettings};
use crate::http::{Builds, EventHub, WebState, router};
use crate::postgres::{Binaries, Durability, OwnPostgres};
use crate::probe::Prober;
use crate::redact::{NoRedactor, Redactor, SecretUrl};
use crate::render::{Render, RenderSettings};
use crate::sandbox::{self, Isolation, Rules};
use crate::scratch::Scratch;
use crate::store::Store;
use crate::worker::Services;
use crate::worker::governor::SharedBudgets;
use crate::worker::pace::Pace;
use crate::worker::pool::Pool;
use crate::worker::retention::Retention;

/// A build gets at most so much memory when the operator says nothing.
const MOST_MEMORY: u64 = 4 << 30;
/// Builds that run at the same time.
const BUILD_SLOTS: usize = 2;
/// Trees that are fetched at the same time.
const TREE_SLOTS: usize = 2;
/// Open requests get so long to end at shutdown; a fly.toml `kill_timeout` of 30 s leaves room for the workers.
const HTTP_DRAIN: Duration = Duration::from_secs(5);
/// While the database is away at the start, it is tried so often.
const MIGRATE_AGAIN: Duration = Duration::from_secs(2);

/// Why Titan could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not this machine's.
    #[error("cannot listen on {address}: {source}; choose another BIND_ADDR or PORT")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// `DATABASE_URL` cannot be read.
    #[error("DATABASE_URL is not a Postgres address such as postgres://user:password@host/database")]
    DatabaseUrl,
    /// The own Postgres did not start.
    #[error(transparent)]
    Postgres(#[from] crate::postgres::PostgresError),
    /// The schema could not be brought up to date.
    #[error("cannot bring the database schema up to date: {0}")]
    Migrate(#[from] MigrateError),
    /// The App's credentials cannot be used.
    #[error("GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY cannot be used: {0}")]
    GitHub(#[from] crate::github::GitHubError),
    /// The settings for Render cannot be used.
    #[error("the settings for Render cannot be used: {0}")]
    Render(#[from] crate::render::SettingsError),
    /// The secrets cannot be kept out of texts.
    #[error(transparent)]
    Redactor(#[from] NoRedactor),
    /// The HTTP client for probes could not be made.
    #[error("cannot make the HTTP client for probes: {0}")]
    Probe(String),
    /// `OUTPUT_DIR` cannot be used.
    #[error("cannot use OUTPUT_DIR {}: {source}", .path.display())]
    OutputDir {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What differs between real use and trying out.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often things are looked at.
    pub pace: Pace,
    /// The program that supervises builds: Titan itself.
    pub supervisor: PathBuf,
}

/// A database that Titan may use, with the process behind it when it is Titan's own.
pub struct Database {
    /// How to connect.
    pub options: PgConnectOptions,
    own: Option<OwnPostgres>,
}

impl Database {
    /// A database that somebody else runs.
    pub fn at(options: PgConnectOptions) -> Self {
        Self { options, own: None }
    }

    /// The database of the settings, started if it is Titan's own.
    ///
    /// # Errors
    /// [`StartError::DatabaseUrl`] or [`StartError::Postgres`].
    pub async fn open(config: DatabaseConfig) -> Result<Self, StartError> {
        if let Some(url) = &config.url {
            let options = url.expose_secret().parse().map_err(|_| StartError::DatabaseUrl)?;
            return Ok(Self::at(options));
        }
        let folder = config.output_dir.join("postgres");
        Self::own(folder, config.pg_bin, Durability::Safe).await
    }

    /// An own Postgres in a folder.
    ///
    /// # Errors
    /// [`StartError::Postgres`].
    pub async fn own(folder: PathBuf, pg_bin: Option<PathBuf>, durability: Durability) -> Result<Self, StartError> {
        let path = crate::config::search_path();
        let start = move || {
            let binaries = Binaries::find(pg_bin.as_deref(), path.as_deref());
            OwnPostgres::start(&folder, durability, &binaries)
        };
        let own = tokio::task::spawn_blocking(start)
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        Ok(Self { options: own.options("postgres"), own: Some(own) })
    }
}

/// Titan, running.
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    /// Everything stored.
    pub store: Store,
    events: EventHub,
    stop: CancellationToken,
    server: JoinHandle<()>,
    workers: JoinHandle<()>,
    database: Database,
}

impl App {
    /// Starts the web server and the workers. When the database is away, webhooks are answered with 503 and the workers
    /// begin as soon as it is there.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(config: &Config, database: Database, options: Options) -> Result<Self, StartError> {
        let listener = TcpListener::bind(config.bind)
            .await
            .map_err(|source| StartError::Listen { address: config.bind, source })?;
        let address = listener.local_addr().map_err(|source| StartError::Listen { address: config.bind, source })?;
        let store = Store::connect_lazy(database.options.clone());
        let services = services(config, &store, options)?;
        let migrated = match store.migrate().await {
            Ok(()) => true,
            Err(error) if away(&error) => {
                tracing::warn!(%error, "the database is not available; trying again until it is");
                false
            }
            Err(error) => return Err(error.into()),
        };
        let events = EventHub::start(store.clone());
        let stop = CancellationToken::new();
        let (looked, builds) = watch::channel(Builds::default());
        let state = WebState {
            builds,
            store: store.clone(),
            webhook_secrets: Arc::from(config.github.webhook_secrets.clone()),
            public_url: config.public_url.clone(),
            github_url: config.github.web_url.clone(),
            events: events.clone(),
            metrics: metrics(),
        };
        let server = tokio::spawn(serve(listener, state, stop.clone()));
        tokio::spawn(look_at_isolation(services.clone(), looked));
        let workers = tokio::spawn(work(services, migrated, stop.clone()));
        tracing::info!(%address, public_url = %config.public_url, "titan is up");
        Ok(Self { address, store, events, stop, server, workers, database })
    }

    /// Stops taking requests and jobs, lets what is under way commit, gives the rest back; takes at most 30 s.
    pub async fn shutdown(self) {
        tracing::info!("shutting down");
        self.stop.cancel();
        self.events.shutdown();
        let (server, workers) = tokio::join!(tokio::time::timeout(HTTP_DRAIN, self.server), self.workers);
        if server.is_err() {
            tracing::warn!("some requests did not end in time");
        }
        if let Err(error) = workers {
            tracing::error!(%error, "a worker did not end properly");
        }
        self.store.close().await;
        let own = self.database.own;
        let _ = tokio::task::spawn_blocking(move || drop(own)).await;
        tracing::info!("bye");
    }
}

fn services(config: &Config, store: &Store, options: Options) -> Result<Services, StartError> {
    let output_dir = usable(&config.output_dir)?;
    let credentials = GitHubSettings {
        api_url: config.github.api_url.clone(),
        git_url: config.github.web_url.clone(),
        app_id: config.github.app_id.clone(),
        private_key_pem: config.github.private_key.clone(),
    };
    let redactor = redactor(config)?;
    let budgets = SharedBudgets::new(store.clone(), options.pace.calls);
    let github = GitHub::governed(&credentials, Arc::new(budgets), redactor.clone())?;
    let settings = RenderSettings {
        api_url: config.render.api_url.clone(),
        api_key: config.render.api_key.clone(),
        hooks: config.render.hooks.clone(),
    };
    Ok(Services {
        store: store.clone(),
        github,
        render: Arc::new(Render::new(&settings, &config.allow_private)?),
        grants: config.render.grants.clone().map(Arc::new),
        prober: Prober::new(config.allow_private.clone()).map_err(|e| StartError::Probe(e.to_string()))?,
        redactor,
        public_url: config.public_url.clone(),
        github_url: config.github.web_url.clone(),
        build_rules: Rules { hidden: hidden(config, &output_dir), ..build_rules(&config.build) },
        scratch: Scratch::new(&output_dir)
            .map_err(|source| StartError::OutputDir { path: output_dir.clone(), source })?,
        retention: Retention { deliveries: config.keep_deliveries, logs: config.keep_logs },
        supervisor: options.supervisor,
        pace: options.pace,
        build_slots: Arc::new(Semaphore::new(BUILD_SLOTS)),
        tree_slots: Arc::new(Semaphore::new(TREE_SLOTS)),
    })
}

/// The settings for builds as the sandbox wants them.
pub fn build_rules(config: &BuildConfig) -> Rules {
    Rules {
        isolation: if config.isolated { Isolation::Required } else { Isolation::Off },
        tools: config.tools.clone(),
        memory_bytes: config.memory_bytes.unwrap_or_else(usual_memory),
        processes: config.processes,
        cpu_percent: config.cpu_percent,
        disk_bytes: config.disk_bytes,
        output_bytes: config.output_bytes,
        hidden: Vec::new(),
    }
}

/// Where Titan's own things are.
fn hidden(config: &Config, output_dir: &Path) -> Vec<PathBuf> {
    let key = config.key_file.as_ref().and_then(|file| file.canonicalize().ok());
    std::iter::once(output_dir.to_owned()).chain(key).collect()
}

/// Half of the machine's memory, but no more than builds usually want.
fn usual_memory() -> u64 {
    let told = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = told.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    total.map_or(MOST_MEMORY, |kib: u64| (kib * 1024 / 2).min(MOST_MEMORY))
}

/// Tries the isolation of builds once and says loudly, and to `/api/ready`, what holds from now on. Each build is isolated anew whatever this
/// says; an operator should not learn from the first build that none can be.
async fn look_at_isolation(services: Services, looked: watch::Sender<Builds>) {
    let rules = &services.build_rules;
    if rules.isolation == Isolation::Off {
        tracing::warn!("BUILD_ISOLATION=off: builds are NOT isolated; whoever may propose can read what Titan can");
        looked.send_replace(Builds::Off);
        return;
    }
    let found = match sandbox::check(&services.supervisor, rules, &services.scratch.builds()).await {
        Ok(memory) => {
            tracing::info!(memory_is_limited_by = %memory, "builds are isolated");
            Builds::Works { memory_is_limited_by: memory.to_string() }
        }
        Err(why) => {
            tracing::error!(
                %why,
                "builds are REFUSED, because they cannot be isolated here; BUILD_ISOLATION=off would build without"
            );
            Builds::Missing { why }
        }
    };
    looked.send_replace(found);
}

fn usable(path: &Path) -> Result<PathBuf, StartError> {
    let error = |source| StartError::OutputDir { path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(error)?;
    path.canonicalize().map_err(error)
}

/// Knows every secret of the settings, each line of the private key, and of an address the part that is the secret: a
/// hook's key, the database's password.
fn redactor(config: &Config) -> Result<Redactor, NoRedactor> {
    let secrets = config.secrets();
    let addresses = config.render.hooks.values().map(SecretUrl::expose);
    let values: Vec<&str> = secrets.iter().map(|secret| secret.expose_secret()).chain(addresses).collect();
    let lines =
        values.iter().flat_map(|value| value.lines()).filter(|line| line.len() >= 16 && !line.starts_with("-----"));
    let inner: Vec<String> = values.iter().flat_map(|value| secrets_of_address(value)).collect();
    Redactor::new(values.iter().copied().chain(lines).chain(inner.iter().map(String::as_str)))
}

/// The password of an address and the key in its query, as written and as meant.
fn secrets_of_address(value: &str) -> Vec<String> {
    let Ok(url) = url::Url::parse(value) else { return Vec::new() };
    let secret = |name: &str| matches!(name, "key" | "password");
    let pairs = url.query().into_iter().flat_map(|query| query.split('&')).filter_map(|pair| pair.split_once('='));
    let written = pairs.filter(|(name, _)| secret(name)).map(|(_, value)| value.to_owned());
    let meant = |password: &str| {
        let form = format!("x={}", password.replace('+', "%2B"));
        url::form_urlencoded::parse(form.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    let mut secrets: Vec<String> = written.collect();
    secrets.extend(url.query_pairs().filter(|(name, _)| secret(name)).map(|(_, value)| value.into_owned()));
    secrets.extend(url.password().map(str::to_owned));
    secrets.extend(url.password().and_then(meant));
    secrets
}

fn away(error: &MigrateError) -> bool {
    matches!(error, MigrateError::Execute(cause) if crate::store::StoreError::means_unavailable(cause))
}

async fn serve(listener: TcpListener, state: WebState, stop: CancellationToken) {
    let stopped = stop.cancelled_owned();
    if let Err(error) = axum::serve(listener, router(state)).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "the web server ended");
    }
}

async fn work(services: Services, mut migrated: bool, stop: CancellationToken) {
    while !migrated {
        tokio::select! {
            () = tokio::time::sleep(MIGRATE_AGAIN) => {}
            () = stop.cancelled() => return,
        }
        match services.store.migrate().await {
            Ok(()) => migrated = true,
            Err(error) => tracing::warn!(%error, "the database is still not available"),
        }
    }
    let pool = Pool::start(services);
    stop.cancelled().await;
    pool.shutdown().await;
}

/// One recorder a process, however many Apps a test starts in it.
fn metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let builder = PrometheusBuilder::new();
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another metrics recorder is installed; counters go there");
            }
            handle
        })
        .clone()
}
