//! The program: subcommands and exit codes, nothing else.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use titan::app::{App, Database, Options};
use titan::audit::{Selection, export, verify};
use titan::config::{Config, DatabaseConfig, environment};
use titan::domain::audit::Anchor;
use titan::store::Store;
use titan::worker::pace::Pace;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Run your operations from the pull request.
#[derive(Parser)]
#[command(name = "titan", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Take webhooks and carry commands out: web server and workers in one process.
    Serve,
    /// Bring the database schema up to date, then end.
    Migrate,
    /// Look at the jobs that failed too often and wait for a person.
    Jobs {
        #[command(subcommand)]
        command: JobsCommand,
    },
    /// Look at the audit log: every decision, refusal and effect, in a chain of hashes for each installation.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Check a policy file, or ask which of its rules hits a path.
    CheckPolicy {
        /// The policy file, e.g. .github/titan.yml.
        file: PathBuf,
        /// A file with one path a line (`-`: standard input); each path's answer is printed as a line of JSON.
        #[arg(long, value_name = "LIST")]
        paths: Option<String>,
    },
    /// Try Titan on this machine: with a GitHub, a Render and a Postgres of its own, nothing to configure.
    Playground {
        /// Play the whole story without a person, print what was seen, and end.
        #[arg(long)]
        once: bool,
        /// The port of the playground's pages; Titan's own pages are on the next free one.
        #[arg(long, default_value_t = 8090)]
        port: u16,
    },
}

#[derive(Subcommand)]
enum JobsCommand {
    /// List them, newest first: id, kind, key, attempts and the last error.
    List,
    /// Queue one again.
    Retry {
        /// Its id, as `titan jobs list` shows it.
        id: i64,
    },
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Find entries that were changed, removed or inserted; the exit code is 1 when there are any.
    Verify {
        /// Only this installation's chain.
        #[arg(long)]
        installation: Option<i64>,
        /// A chain's end as an earlier `verify` printed it, kept elsewhere: shows also a chain that was written anew.
        #[arg(long, value_name = "POSITION:HASH")]
        expect: Option<Anchor>,
    },
    /// Print the entries, a line of JSON each.
    Export {
        /// Only this installation's chain.
        #[arg(long)]
        installation: Option<i64>,
        /// Only entries after this position.
        #[arg(long, value_name = "POSITION", default_value_t = 0)]
        after: i64,
    },
}

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    if args.nth(1).is_some_and(|arg| arg == titan::sandbox::SUPERVISOR_COMMAND) {
        // Before any thread is started, because it forks.
        return titan::sandbox::supervisor_main(args);
    }
    let cli = Cli::parse();
    if let Command::CheckPolicy { file, paths } = &cli.command {
        return titan::check_policy::run(file, paths.as_deref());
    }
    // Fails only when a provider is installed already, which is what is wanted.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("titan: cannot start its threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("titan: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve => {
            log_as_json();
            hide_memory();
            serve().await
        }
        Command::Migrate => {
            log_as_json();
            migrate().await
        }
        Command::Jobs { command } => jobs(&command).await,
        Command::Audit { command } => audit(command).await,
        Command::Playground { once, port } => titan::playground::command::run(once, port, supervisor()?).await,
        Command::CheckPolicy { .. } => Ok(()),
    }
}

async fn serve() -> anyhow::Result<()> {
    let vars = environment();
    let config = Config::read(&vars)?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let database = Database::open(DatabaseConfig::read(&vars)).await?;
    let app = App::start(&config, database, Options { pace: Pace::STANDARD, supervisor: supervisor()? }).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    app.shutdown().await;
    Ok(())
}

async fn migrate() -> anyhow::Result<()> {
    let database = Database::open(DatabaseConfig::read(&environment())).await?;
    let store = Store::connect_lazy(database.options.clone());
    store.migrate().await.context("cannot bring the database schema up to date")?;
    store.close().await;
    tracing::info!("the database schema is up to date");
    Ok(())
}

async fn jobs(command: &JobsCommand) -> anyhow::Result<()> {
    let database = Database::open(DatabaseConfig::read(&environment())).await?;
    let store = Store::connect_lazy(database.options.clone());
    match command {
        JobsCommand::List => {
            let dead = store.list_dead_jobs().await.context("cannot read the jobs")?;
            if dead.is_empty() {
                println!("no job waits for a person");
            }
            for job in dead {
                let error = job.last_error.unwrap_or_default().replace(char::is_control, " ");
                println!("{}\t{}\t{}\t{} attempts\t{error}", job.id, job.kind, job.key, job.attempts);
            }
        }
        JobsCommand::Retry { id } => {
            let queued = store.retry_dead_job(*id).await.context("cannot queue the job")?;
            anyhow::ensure!(queued, "there is no dead job {id}; `titan jobs list` shows those that there are");
            println!("job {id} is queued again");
        }
    }
    store.close().await;
    Ok(())
}

async fn audit(command: AuditCommand) -> anyhow::Result<()> {
    let database = Database::open(DatabaseConfig::read(&environment())).await?;
    let store = Store::connect_lazy(database.options.clone());
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match command {
        AuditCommand::Verify { installation, expect } => {
            let good = verify(&store, &Selection { installation }, expect, &mut out).await?;
            out.flush().context("cannot print")?;
            anyhow::ensure!(good, "the audit log was tampered with; the lines above say where");
        }
        AuditCommand::Export { installation, after } => {
            export(&store, &Selection { installation }, after, &mut out).await?;
            out.flush().context("cannot print")?;
        }
    }
    store.close().await;
    Ok(())
}

/// Keeps other processes of the same user, builds among them, from reading this process's memory and environment. It
/// does not stop root.
fn hide_memory() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "cannot hide this process's memory from other processes of the same user");
    }
}

fn supervisor() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find the path of this program, which supervises builds")
}

fn log_as_json() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().flatten_event(true).with_span_list(false).with_env_filter(filter).init();
}
