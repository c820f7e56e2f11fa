//! `titan playground`: the playground with a Titan of its own beside it, in one process and with nothing configured.
//!
//! Titan runs exactly as `titan serve` runs it, with settings that point at the playground; only its patience with
//! services is shorter. Everything is kept in a folder of its own that is removed at the end.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use url::Url;

use super::story::{self, Patience};
use super::{Options, Playground, sample};
use crate::app::{App, Database};
use crate::config::{Config, DatabaseConfig, environment};
use crate::postgres::Durability;
use crate::worker::pace::Pace;

/// So many ports after the playground's own are tried for Titan.
const PORTS: u16 = 50;

/// Starts everything; then plays the story and ends (`once`), or waits for a person and for Ctrl-C. `port` is where the
/// pages are; the story takes any free one. `supervisor` is this program, which supervises builds.
///
/// # Errors
/// When something cannot start, or the story was not seen as it should be.
pub async fn run(once: bool, port: u16, supervisor: PathBuf) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).init();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let folder = Folder::new()?;
    let port = if once { 0 } else { port };
    let running = tokio::select! {
        started = start(folder.path(), port, supervisor) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
        _ = hangup.recv() => return Ok(()),
    };
    let outcome = tokio::select! {
        played = running.play(once) => played,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
    };
    running.titan.shutdown().await;
    outcome
}

/// The playground and Titan.
struct Running {
    playground: Playground,
    titan: App,
    titan_url: Url,
}

impl Running {
    /// The story, or the addresses and then nothing until somebody ends it.
    async fn play(&self, once: bool) -> anyhow::Result<()> {
        if !once {
            let pages = self.playground.url().join(&format!("{}/pulls", sample::REPOSITORY))?;
            println!("Titan's playground: a GitHub, a Render and a Titan on this machine.\n");
            println!("  Open this      {pages}");
            println!("  Titan's pages  {}\n", self.titan_url);
            println!("Ctrl-C ends it, and nothing stays.");
            return std::future::pending().await;
        }
        println!("Titan's story: what people do, and what is then seen at GitHub, at Render and on the services.");
        let played = story::play(&self.playground, Patience::STANDARD, &mut |line| println!("{line}"))
            .await
            .context("the story ended early")?;
        println!("\nAll {} observations were made, in {} s.", played.observations, played.took.as_secs());
        Ok(())
    }
}

async fn start(folder: &Path, port: u16, supervisor: PathBuf) -> anyhow::Result<Running> {
    let playground = Playground::start(Options { port, ..Options::new(folder.join("github")) }).await?;
    let titan_port = free_port(playground.url().port().filter(|_| port != 0))?;
    let mut settings: BTreeMap<String, String> = playground.titan_settings();
    settings.insert("PORT".to_owned(), titan_port.to_string());
    settings.insert("OUTPUT_DIR".to_owned(), folder.join("titan").to_string_lossy().into_owned());
    let mut config = Config::read(&settings)?;
    isolate_if_possible(&mut config, &supervisor, folder).await;
    let pg_bin = DatabaseConfig::read(&environment()).pg_bin;
    let database = Database::own(folder.join("postgres"), pg_bin, Durability::Fast).await?;
    let titan = App::start(&config, database, crate::app::Options { pace: Pace::QUICK, supervisor }).await?;
    let titan_url = Url::parse(&format!("http://{}/", titan.address))?;
    playground.set_titan_url(&titan_url);
    playground.set_webhook_target(&titan_url.join("webhooks/github")?).await?;
    Ok(Running { playground, titan, titan_url })
}

/// The playground runs only its own sample, so it may build without isolation where this machine cannot give it; that is
/// said where nobody overlooks it.
async fn isolate_if_possible(config: &mut Config, supervisor: &Path, folder: &Path) {
    let rules = crate::app::build_rules(&config.build);
    if let Err(why) = crate::sandbox::check(supervisor, &rules, folder).await {
        config.build.isolated = false;
        println!("WARNING: this machine cannot isolate builds, so the sample's builds run as you, with your files.");
        println!("         `titan serve` would refuse to build here: {why}\n");
    }
}

/// The first free port after `after`, or any.
fn free_port(after: Option<u16>) -> anyhow::Result<u16> {
    let mut wanted = after.map_or(0..=0, |port| port.saturating_add(1)..=port.saturating_add(PORTS));
    let free = wanted.find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    let free =
        free.with_context(|| format!("no free port among the {PORTS} after the playground's; choose another --port"))?;
    Ok(free.local_addr()?.port())
}

/// A folder that goes when this goes.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("titan-{}", uuid::Uuid::new_v4().simple()));
        // Others may pass through but not look around: Postgres runs as another user when Titan runs as root.
        let made = std::fs::DirBuilder::new().mode(0o711).create(&path);
        made.with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's folder for passing things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
