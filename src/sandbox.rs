//! Runs the build of a checkout: foreign commands, isolated, with limits on everything they use, and with nothing left
//! running at the end.
//!
//! Each command runs under a small supervisor, which is this same program started again (`titan sandbox-exec`, see
//! [`supervisor_main`]), because only a process apart with a single thread can make namespaces and end all that is in
//! them. `supervisor` reads its orders; `isolated` makes the namespaces; `init` is the first process in them and gives all
//! rights away; `root` is the file system there, `seccomp` the system calls, `cgroup` the kernel's limits, `proxy` the only
//! way out, `disk` what it writes; `watch` is what Titan sees of it.
//!
//! It never runs a command without isolation unless the operator asked for that ([`Isolation::Off`]).

mod cgroup;
mod commands;
mod disk;
mod init;
mod isolated;
mod orders;
mod output;
mod processes;
mod proxy;
mod root;
mod seccomp;
mod supervisor;
mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::domain::policy::BuildNetwork;

pub use self::commands::find_commands;
pub use self::disk::remove;
pub use self::orders::MemoryLimit;
pub use self::supervisor::supervisor_main;

use self::orders::{Orders, Report};
use self::proxy::Proxy;
use self::watch::{Budget, Ended};

/// The hidden subcommand that makes this program a supervisor.
pub const SUPERVISOR_COMMAND: &str = "sandbox-exec";

/// A namespace of every kind: what each command gets, and what no command may make for itself.
const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;
/// How long the look from inside may take.
const CHECK_LIMIT: Duration = Duration::from_secs(20);

/// Whether builds are isolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Always. Where it cannot be had, nothing is built.
    Required,
    /// Never: the operator trusts everybody who may propose with this machine. `network` is not enforced then.
    Off,
}

/// What the operator set for every build.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Whether builds are isolated.
    pub isolation: Isolation,
    /// Folders that builds see read-only, besides the system's; the `bin` in each is on their `PATH`.
    pub tools: Vec<PathBuf>,
    /// The memory of all processes together.
    pub memory_bytes: u64,
    /// Processes and threads together.
    pub processes: u32,
    /// Hundredths of a core; all cores when absent.
    pub cpu_percent: Option<u32>,
    /// What a build may write below its workspace and its home.
    pub disk_bytes: u64,
    /// The limit for the output of all commands together.
    pub output_bytes: u64,
    /// What no build may see, such as Titan's own folder: where one of these would be seen, nothing is built.
    pub hidden: Vec<PathBuf>,
}

/// What to run and within which limits.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The checkout; commands run in it. An absolute path without symbolic links. The build owns it from now on.
    pub workspace: PathBuf,
    /// `HOME` of the commands, outside of the workspace; made when missing. Caches go there too.
    pub home: PathBuf,
    /// The commands in order, each a program and its arguments. No shell takes part.
    pub commands: Vec<Vec<String>>,
    /// The limit for all commands together.
    pub timeout: Duration,
    /// What the commands may reach.
    pub network: BuildNetwork,
    /// The operator's rules.
    pub rules: Rules,
    /// This program's own file, for the supervisor.
    pub supervisor: PathBuf,
}

/// A piece of the log, in the order it was written; standard output and standard error are one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    /// Which command it belongs to, from 0.
    pub command: usize,
    /// UTF-8 with replacement characters where it was none; never contains a zero character, which Postgres refuses.
    pub text: String,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BuildOutcome {
    /// Every command ended with exit code 0.
    Succeeded {
        /// Milliseconds for all of them.
        ms: u64,
    },
    /// A command failed; the ones after it did not run.
    CommandFailed {
        /// The command as text.
        command: String,
        /// Its exit code; 127 when there is no such program.
        exit: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
    },
    /// The time was up.
    TimedOut {
        /// The command that ran then.
        command: String,
        /// The limit.
        after: Duration,
    },
    /// All processes together took more memory than allowed, and the kernel or Titan ended them.
    MemoryLimit {
        /// The command that ran then.
        command: String,
        /// The limit in bytes.
        limit_bytes: u64,
    },
    /// It wrote more than allowed, or the disk was nearly full.
    DiskLimit {
        /// The command that ran then.
        command: String,
        /// The limit in bytes; `None`: the disk was nearly full.
        limit_bytes: Option<u64>,
    },
    /// There was too much output.
    OutputLimit {
        /// The command that ran then.
        command: String,
        /// The limit in bytes.
        limit_bytes: u64,
    },
}

/// Why a build could not be run at all; says nothing about the change.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The home folder cannot be made.
    #[error("cannot make the build's home folder: {0}")]
    Home(io::Error),
    /// The supervisor cannot be started.
    #[error("cannot start the build's supervisor: {0}")]
    Start(io::Error),
    /// The isolation cannot be had here; nothing was run. It will not work by trying again.
    #[error("builds are refused on this machine, because they cannot be isolated: {0}")]
    NotIsolated(String),
    /// The supervisor vanished, e.g. killed by the system for want of memory. What it left was ended.
    #[error("the build's supervisor ended without a report ({0}); the machine may be out of memory")]
    Lost(String),
}

/// Runs the commands until one fails or a limit is reached, and sends their output while they run. When a command has
/// ended, everything it started has ended as well. A receiver that is gone only means that nobody wants the output.
///
/// Dropping the future stops the build in the same thorough way, a moment later.
///
/// # Errors
/// When the build could not be run, each variant of [`SandboxError`].
pub async fn run(request: BuildRequest, output: mpsc::Sender<OutputChunk>) -> Result<BuildOutcome, SandboxError> {
    tokio::fs::create_dir_all(request.home.join("tmp")).await.map_err(SandboxError::Home)?;
    let started = Instant::now();
    let (notes, noted) = mpsc::channel(64);
    let mut budget = Budget::new(started + request.timeout, request.rules.output_bytes, output, noted);
    let proxy = match (request.rules.isolation, &request.network) {
        (Isolation::Off, network) => {
            warn(&mut budget, network).await;
            None
        }
        (Isolation::Required, BuildNetwork::None) => None,
        (Isolation::Required, network) => Some(Proxy::new(network.clone(), notes)),
    };
    for (number, words) in request.commands.iter().enumerate() {
        let command = commands::shown(words);
        budget.send(number, format!("$ {command}\n")).await;
        let ended = watch::run_one(&request, proxy.clone(), number, words, &mut budget).await?;
        if let Some(outcome) = judge(&request, command, number, ended, &mut budget).await? {
            return Ok(outcome);
        }
    }
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(BuildOutcome::Succeeded { ms })
}

/// Says at the top of the log what nobody should overlook.
async fn warn(budget: &mut Budget, network: &BuildNetwork) {
    let network = match network {
        BuildNetwork::Full => "".to_owned(),
        other => format!(" The policy's build.network ({other}) is not enforced."),
    };
    let text = format!(
        "titan: WARNING: this build is NOT isolated, because the operator set BUILD_ISOLATION=off. It runs as Titan's \
         own user and sees that user's files and network.{network}\n"
    );
    budget.send(0, text).await;
}

/// What a command's end means for the build; `None`: the next command.
async fn judge(
    request: &BuildRequest,
    command: String,
    number: usize,
    ended: Ended,
    budget: &mut Budget,
) -> Result<Option<BuildOutcome>, SandboxError> {
    let rules = &request.rules;
    Ok(Some(match ended {
        Ended::TimeUp => BuildOutcome::TimedOut { command, after: request.timeout },
        Ended::TooMuchOutput => BuildOutcome::OutputLimit { command, limit_bytes: rules.output_bytes },
        Ended::Full(full) => {
            let limit_bytes = (full == disk::Full::Build).then_some(rules.disk_bytes);
            BuildOutcome::DiskLimit { command, limit_bytes }
        }
        Ended::Itself(Report { not_isolated: Some(why), .. }) => return Err(SandboxError::NotIsolated(why)),
        Ended::Itself(Report { exit: Some(0), .. }) => return Ok(None),
        Ended::Itself(Report { out_of_memory: true, .. }) => {
            BuildOutcome::MemoryLimit { command, limit_bytes: rules.memory_bytes }
        }
        Ended::Itself(Report { exit, signal, error, .. }) => {
            if let Some(error) = error {
                budget.send(number, format!("titan: {error}\n")).await;
            }
            BuildOutcome::CommandFailed { command, exit, signal }
        }
    }))
}

/// Tries the isolation and looks at it from inside. `scratch` is a folder of Titan's. Tells how memory is limited.
///
/// # Errors
/// What is missing and what to do, as a sentence.
pub async fn check(supervisor: &Path, rules: &Rules, scratch: &Path) -> Result<MemoryLimit, String> {
    let folder = scratch.join(format!("check-{}", uuid::Uuid::new_v4().simple()));
    let request = BuildRequest {
        workspace: folder.join("workspace"),
        home: folder.join("home"),
        commands: Vec::new(),
        timeout: CHECK_LIMIT,
        network: BuildNetwork::None,
        rules: rules.clone(),
        supervisor: supervisor.to_owned(),
    };
    for path in [&request.workspace, &request.home] {
        tokio::fs::create_dir_all(path).await.map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    }
    let (sender, _) = mpsc::channel(1);
    let mut budget = Budget::new(Instant::now() + CHECK_LIMIT, rules.output_bytes, sender, mpsc::channel(1).1);
    let orders = Orders { check: true, ..watch::orders(&request, false) };
    let ended = watch::run_with(&request, Some(orders), None, 0, &["titan-check".to_owned()], &mut budget).await;
    if let Err(error) = remove(&folder) {
        tracing::warn!(%error, "could not remove the folder of the isolation's check");
    }
    match ended.map_err(|error| error.to_string())? {
        Ended::Itself(Report { exit: Some(0), memory_by: Some(memory_by), .. }) => Ok(memory_by),
        Ended::Itself(Report { not_isolated: Some(why), .. }) => Err(why),
        Ended::Itself(report) => Err(format!("the check of the isolation ended unexpectedly: {report:?}")),
        _ => Err(format!("the check of the isolation did not end within {} s", CHECK_LIMIT.as_secs())),
    }
}
