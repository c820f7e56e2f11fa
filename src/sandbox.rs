//! Runs the build of a checkout: foreign commands in processes of their own, without Titan's environment, with a limit
//! on time and output, and with nothing left running at the end.
//!
//! Each command runs under a small supervisor, which is this same program started again (`titan sandbox-exec`, see
//! [`supervisor_main`]), because only a process apart can adopt and end everything that a command leaves behind.
//!
//! What this is not yet: an isolation. A build still runs as Titan's user, sees the machine's files and has the network.
//! Namespaces, a user of its own, resource limits and a closed network belong into the supervisor, between its start and
//! the start of the command (`supervisor::confine`); nothing else has to change for them.

mod commands;
mod output;
mod supervisor;

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

pub use self::commands::find_commands;
use self::output::Decoder;
use self::supervisor::Report;
pub use self::supervisor::supervisor_main;

/// The hidden subcommand that makes this program a supervisor.
pub const SUPERVISOR_COMMAND: &str = "sandbox-exec";

/// The system's programs; Titan's own `PATH` may lead anywhere.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Marks every process of one command, unless it hides; only for finding what a lost supervisor left.
const MARKER: &str = "TITAN_SANDBOX";
/// How long the supervisor may take to end everything.
const GRACE: Duration = Duration::from_secs(10);
/// How long what a gone supervisor left may keep the output open.
const DRAIN: Duration = Duration::from_secs(1);
/// How much of the supervisor's report is read; it is one short line.
const REPORT_LIMIT: u64 = 16 * 1024;

/// What to run and within which limits.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The checkout; commands run in it.
    pub workspace: PathBuf,
    /// `HOME` of the commands, outside of the workspace; made when missing. Caches go there too.
    pub home: PathBuf,
    /// The commands in order, each a program and its arguments. No shell takes part.
    pub commands: Vec<Vec<String>>,
    /// The limit for all commands together.
    pub timeout: Duration,
    /// The limit for the output of all commands together.
    pub output_limit_bytes: u64,
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
    let mut budget = Budget { deadline: started + request.timeout, bytes: request.output_limit_bytes, output };
    for (number, words) in request.commands.iter().enumerate() {
        let command = commands::shown(words);
        budget.send(number, format!("$ {command}\n")).await;
        let ended = run_one(&request, number, words, &mut budget).await?;
        match ended {
            Ended::TimeUp => return Ok(BuildOutcome::TimedOut { command, after: request.timeout }),
            Ended::TooMuchOutput => {
                return Ok(BuildOutcome::OutputLimit { command, limit_bytes: request.output_limit_bytes });
            }
            Ended::Itself(Report { exit: Some(0), .. }) => {}
            Ended::Itself(Report { exit, signal, error }) => {
                if let Some(error) = error {
                    budget.send(number, format!("titan: {error}\n")).await;
                }
                return Ok(BuildOutcome::CommandFailed { command, exit, signal });
            }
        }
    }
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(BuildOutcome::Succeeded { ms })
}

/// What is left of the limits, and where output goes.
struct Budget {
    deadline: Instant,
    bytes: u64,
    output: mpsc::Sender<OutputChunk>,
}

impl Budget {
    /// Waits for a slow receiver, but not longer than the build may run.
    async fn send(&self, command: usize, text: String) {
        if !text.is_empty() {
            let _ = timeout_at(self.deadline + GRACE, self.output.send(OutputChunk { command, text })).await;
        }
    }

    /// The part of these bytes that may still be shown, and whether that is not all of them.
    fn spend<'a>(&mut self, bytes: &'a [u8]) -> (&'a [u8], bool) {
        let room = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        let shown = &bytes[..bytes.len().min(room)];
        self.bytes -= shown.len() as u64;
        (shown, shown.len() < bytes.len())
    }
}

/// How one command ended.
enum Ended {
    Itself(Report),
    TimeUp,
    TooMuchOutput,
}

async fn run_one(
    request: &BuildRequest,
    number: usize,
    words: &[String],
    budget: &mut Budget,
) -> Result<Ended, SandboxError> {
    let marker = uuid::Uuid::new_v4().to_string();
    let supervisor = start(request, words, &marker).map_err(SandboxError::Start)?;
    let mut watch = Watch::new(supervisor);
    let cut = watch.follow(number, budget).await;
    match (watch.report().await, cut) {
        (Ok(_), Some(cut)) => Ok(cut),
        (Ok(report), None) => Ok(Ended::Itself(report)),
        (Err(why), cut) => {
            let sweep = tokio::task::spawn_blocking(move || supervisor::end_marked(MARKER, &marker));
            if sweep.await.is_err() {
                tracing::error!(command = number, "what a lost supervisor left could not be ended");
            }
            cut.ok_or(SandboxError::Lost(why))
        }
    }
}

/// A running supervisor as Titan sees it.
struct Watch {
    process: Child,
    /// The supervisor ends everything as soon as this closes, also when Titan is killed.
    lifeline: Option<ChildStdin>,
    status: Option<String>,
    /// When waiting for the output's end makes no sense any more; set by a stop and by the supervisor's end.
    give_up: Option<Instant>,
}

impl Watch {
    fn new(mut process: Child) -> Self {
        let lifeline = process.stdin.take();
        Self { process, lifeline, status: None, give_up: None }
    }

    /// Passes the output on until it ends; stops the command at a limit and tells which.
    async fn follow(&mut self, number: usize, budget: &mut Budget) -> Option<Ended> {
        let mut stream = self.process.stdout.take()?;
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; 16 * 1024];
        let mut cut = None;
        loop {
            let event = self.next(&mut stream, &mut buffer, budget.deadline).await;
            match event {
                Event::Output(0) => break,
                // what comes after the stop was too late or too much
                Event::Output(_) if cut.is_some() => {}
                Event::Output(length) => {
                    let (shown, too_much) = budget.spend(&buffer[..length]);
                    budget.send(number, decoder.push(shown)).await;
                    if too_much {
                        cut = Some(Ended::TooMuchOutput);
                        self.stop();
                    }
                }
                Event::Ended(status) => {
                    self.status = Some(status);
                    self.give_up = Some(Instant::now() + DRAIN);
                }
                Event::Time if self.give_up.is_none() => {
                    cut = Some(Ended::TimeUp);
                    self.stop();
                }
                Event::Time => break,
            }
        }
        budget.send(number, decoder.finish()).await;
        cut
    }

    /// What happens first: output, the supervisor's end, or the end of the time that there is for waiting.
    async fn next(&mut self, stream: &mut ChildStdout, buffer: &mut [u8], deadline: Instant) -> Event {
        tokio::select! {
            read = stream.read(buffer) => Event::Output(read.unwrap_or(0)),
            status = self.process.wait(), if self.status.is_none() => Event::Ended(match status {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            }),
            () = sleep_until(self.give_up.unwrap_or(deadline)) => Event::Time,
        }
    }

    fn stop(&mut self) {
        self.lifeline = None;
        self.give_up = Some(Instant::now() + GRACE);
    }

    /// The last line on the supervisor's standard error, when it ended in order; else what is known of its end. A
    /// supervisor that does not end is killed.
    async fn report(&mut self) -> Result<Report, String> {
        let limit = Instant::now() + DRAIN;
        let mut text = String::new();
        if let Some(stream) = self.process.stderr.take() {
            let _ = timeout_at(limit, stream.take(REPORT_LIMIT).read_to_string(&mut text)).await;
        }
        let _ = timeout_at(limit, self.process.wait()).await;
        // no effect on one that has ended
        let _ = self.process.start_kill();
        let status = self.status.take().unwrap_or_else(|| "it did not end".to_owned());
        text.lines().last().and_then(|line| serde_json::from_str(line).ok()).ok_or(status)
    }
}

/// See [`Watch::next`].
enum Event {
    /// So many bytes; 0 is the end.
    Output(usize),
    /// The supervisor has ended.
    Ended(String),
    /// The time is up.
    Time,
}

/// Starts the supervisor with the command's environment, which is none of Titan's.
fn start(request: &BuildRequest, words: &[String], marker: &str) -> io::Result<Child> {
    let home = &request.home;
    let mut command = Command::new(&request.supervisor);
    command.arg(SUPERVISOR_COMMAND).arg("--").args(words).current_dir(&request.workspace).env_clear();
    command
        .env("PATH", PATH)
        .env("HOME", home)
        .env("TMPDIR", home.join("tmp"))
        .env("LANG", "C.UTF-8")
        .env("TERM", "dumb")
        .env("CI", "true")
        .env("npm_config_cache", home.join(".npm"))
        .env("npm_config_audit", "false")
        .env("npm_config_fund", "false")
        .env("npm_config_progress", "false")
        .env("npm_config_update_notifier", "false")
        .env(MARKER, marker);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // a group of its own: Ctrl-C in the terminal is for Titan, which then decides what becomes of its builds
    command.process_group(0);
    command.spawn()
}
