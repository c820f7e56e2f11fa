//! `build`: the pinned commit checked out and built in a sandbox, the log stored while it grows.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{JobError, Outcome, StepContext};
use crate::checkout::{self, CheckoutError};
use crate::clock;
use crate::domain::markdown::{escape, inline_code};
use crate::domain::policy::Build;
use crate::domain::progress::BuildProgress;
use crate::sandbox::{self, BuildOutcome, BuildRequest, Isolation, OutputChunk, SandboxError};
use crate::worker::fetch;

/// A checkout takes at most so long.
const CHECKOUT_LIMIT: Duration = Duration::from_secs(300);
/// For figures that people read.
const MB: u64 = 1024 * 1024;
/// So much of the log's end is shown in the check.
const TAIL_BYTES: usize = 4_000;
/// For whom a build was refused.
const HOW_TO_GO_ON: &str = "this is for Titan's operator to mend; then comment `/titan propose` again";
/// Output is stored so often.
const FLUSH_EVERY: Duration = Duration::from_millis(300);
/// Or as soon as so much is waiting.
const FLUSH_BYTES: usize = 32 * 1024;
/// Whether somebody cancelled the build is looked at so often.
const CANCEL_POLL: Duration = Duration::from_secs(1);
/// When every build slot is taken, look again after this time.
const SLOT_POLL: chrono::TimeDelta = chrono::TimeDelta::seconds(1);

pub(super) async fn build(context: &StepContext<'_>) -> Result<Outcome, JobError> {
    let Ok(_slot) = context.services.build_slots.clone().try_acquire_owned() else {
        return Ok(Outcome::Wait(clock::now() + SLOT_POLL));
    };
    let folder = Folder::new(context)?;
    let result = build_in(context, &folder).await;
    folder.remove();
    result
}

/// A folder of this taking-up only, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new(context: &StepContext<'_>) -> Result<Self, JobError> {
        let name = format!("{}-{}", context.run.id, context.lease.fence);
        let path = context.services.scratch.builds().join(name);
        std::fs::create_dir_all(path.join("home")).map_err(|e| cannot("make the build folder", &e))?;
        let path = path.canonicalize().map_err(|e| cannot("find the build folder", &e))?;
        Ok(Self(path))
    }

    fn workspace(&self) -> PathBuf {
        self.0.join("workspace")
    }

    fn home(&self) -> PathBuf {
        self.0.join("home")
    }

    fn remove(&self) {
        if let Err(error) = sandbox::remove(&self.0) {
            tracing::warn!(%error, "could not remove a build folder");
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A taking-up that was aborted leaves nothing behind either.
        if self.0.exists() {
            self.remove();
        }
    }
}

fn cannot(what: &str, error: &std::io::Error) -> JobError {
    JobError::Later { at: None, why: format!("cannot {what}: {error}") }
}

async fn build_in(context: &StepContext<'_>, folder: &Folder) -> Result<Outcome, JobError> {
    let policy = context.policy().await?;
    if let Err(outcome) = check_out(context, &folder.workspace()).await? {
        return Ok(outcome);
    }
    let mut progress = BuildProgress::default();
    let commands = match sandbox::find_commands(&folder.workspace(), &policy.build) {
        Ok(commands) => commands,
        Err(why) => {
            progress.outcome = Some(why.clone());
            context.save(&progress).await?;
            return Ok(Outcome::failed(escape(&why)));
        }
    };
    progress.commands = commands.iter().map(|argv| argv.join(" ")).collect();
    let shown = progress.commands.join(" && ");
    context.save_and_show(&progress, &format!("running {}", inline_code(&shown))).await?;
    let started = Instant::now();
    let (outcome, log) = match run(context, folder, commands, &policy.build).await? {
        Ok(ended) => ended,
        Err(stopped) => return Ok(stopped),
    };
    progress.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    progress.log_bytes = log.bytes;
    progress.log_tail = log.tail;
    let (ok, mut seen) = told(&outcome, &shown, progress.duration_ms);
    if context.services.build_rules.isolation == Isolation::Off {
        seen.push_str(", **not isolated** (the operator set `BUILD_ISOLATION=off`)");
    }
    progress.outcome = Some(seen.clone());
    context.save(&progress).await?;
    Ok(if ok { Outcome::done(seen) } else { Outcome::failed(seen) })
}

/// The checkout; the inner error is the step's end.
async fn check_out(context: &StepContext<'_>, into: &Path) -> Result<Result<(), Outcome>, JobError> {
    let client = context.github();
    let deadline = tokio::time::Instant::now() + CHECKOUT_LIMIT;
    let url = client.git_url();
    let (url, head, limit) = (&url, &context.run.head, context.services.build_rules.disk_bytes);
    let fetched = fetch::with_token(&client, move |token| async move {
        checkout::checkout(url, Some(&token), head, into, limit, deadline).await
    });
    match fetched.await? {
        Ok(()) => Ok(Ok(())),
        Err(CheckoutError::NotFound(why)) => {
            Ok(Err(Outcome::failed(format!("`{}` could not be fetched: {}", context.run.head.short(), escape(&why)))))
        }
        // Trying again would fetch as much again.
        Err(error @ CheckoutError::TooLarge { .. }) => {
            Ok(Err(Outcome::failed(format!("`{}` was not checked out: {error}", context.run.head.short()))))
        }
        Err(error) => Err(JobError::Later { at: None, why: error.to_string() }),
    }
}

/// What the build printed.
#[derive(Default)]
struct Log {
    bytes: u64,
    tail: String,
}

/// The build; the inner error is the step's end when somebody cancelled it or it cannot be isolated.
async fn run(
    context: &StepContext<'_>,
    folder: &Folder,
    commands: Vec<Vec<String>>,
    build: &Build,
) -> Result<Result<(BuildOutcome, Log), Outcome>, JobError> {
    let request = BuildRequest {
        supervisor: context.services.supervisor.clone(),
        workspace: folder.workspace(),
        home: folder.home(),
        commands,
        timeout: build.timeout,
        network: build.network.clone(),
        rules: context.services.build_rules.clone(),
    };
    let (sender, receiver) = mpsc::channel(256);
    let (outcome, log) = tokio::select! {
        ended = async { tokio::join!(sandbox::run(request, sender), store_log(context, receiver)) } => ended,
        // Letting go of the sandbox ends everything in it.
        by = cancelled(context) => return Ok(Err(Outcome::stopped(format!("`{by}` cancelled it")))),
    };
    match outcome {
        Ok(outcome) => Ok(Ok((outcome, log?))),
        // Trying again would not help, and running it without isolation is not Titan's to decide.
        Err(error @ SandboxError::NotIsolated(_)) => {
            tracing::error!(%error, "a build was refused");
            Ok(Err(Outcome::failed(format!("{}; {HOW_TO_GO_ON}", escape(&error.to_string())))))
        }
        Err(error) => Err(JobError::Later { at: None, why: error.to_string() }),
    }
}

/// Returns only when somebody asked to stop the run: with the login.
async fn cancelled(context: &StepContext<'_>) -> String {
    loop {
        tokio::time::sleep(CANCEL_POLL).await;
        // A database that is away for a moment is no reason to stop.
        if let Ok(Some(by)) = context.services.store.find_run(context.run.id).await.map(|run| run?.cancel_by) {
            return by;
        }
    }
}

/// Stores whole lines as they come, a few times a second, without anything that looks like a secret.
async fn store_log(context: &StepContext<'_>, mut output: mpsc::Receiver<OutputChunk>) -> Result<Log, JobError> {
    let (store, run) = (&context.services.store, context.run.id);
    let mut log = Log::default();
    if !store.read_log_after(run, 0).await?.is_empty() {
        store.append_log(context.lease, run, "\n--- the build was interrupted and starts again ---\n").await?;
    }
    let mut pending = String::new();
    let mut flush = tokio::time::interval(FLUSH_EVERY);
    let mut open = true;
    while open {
        let due = tokio::select! {
            chunk = output.recv() => {
                match chunk {
                    Some(chunk) => pending.push_str(&chunk.text),
                    None => open = false,
                }
                !open || pending.len() > FLUSH_BYTES
            }
            _ = flush.tick() => true,
        };
        // A secret that is cut in two by a chunk's border would not be found, so only whole lines are let through, and
        // of a line that never ends so much as surely holds no half of one.
        let whole = match (due, open) {
            (false, _) => 0,
            (true, true) => context.services.redactor.settled(&pending),
            (true, false) => pending.len(),
        };
        if whole > 0 {
            let text = context.services.redactor.clean(&pending[..whole]);
            pending.drain(..whole);
            store.append_log(context.lease, run, &text).await?;
            log.bytes += text.len() as u64;
            log.tail.push_str(&text);
            keep_tail(&mut log.tail);
        }
    }
    Ok(log)
}

fn keep_tail(tail: &mut String) {
    if tail.len() > TAIL_BYTES {
        let mut from = tail.len() - TAIL_BYTES;
        while !tail.is_char_boundary(from) {
            from += 1;
        }
        tail.drain(..from);
    }
}

/// Whether the build is good, and one line of what was seen.
fn told(outcome: &BuildOutcome, shown: &str, duration_ms: u64) -> (bool, String) {
    let seconds = duration_ms.div_ceil(1000);
    match outcome {
        BuildOutcome::Succeeded { .. } => (true, format!("{} in {seconds} s", inline_code(shown))),
        BuildOutcome::CommandFailed { command, exit, signal } => {
            let how = match (exit, signal) {
                (Some(code), _) => format!("ended with exit code {code}"),
                (None, Some(signal)) => format!("was killed by signal {signal}"),
                (None, None) => "did not end properly".to_owned(),
            };
            (false, format!("{} {how} after {seconds} s", inline_code(command)))
        }
        BuildOutcome::TimedOut { after, .. } => {
            (false, format!("the build was stopped after its limit of {}", humantime::format_duration(*after)))
        }
        BuildOutcome::OutputLimit { limit_bytes, .. } => {
            (false, format!("the build was stopped because it printed more than {} MB", limit_bytes / MB))
        }
        BuildOutcome::MemoryLimit { command, limit_bytes } => {
            let command = inline_code(command);
            (false, format!("{command} was stopped because it took more than {} MB of memory", limit_bytes / MB))
        }
        BuildOutcome::DiskLimit { limit_bytes: Some(limit), .. } => {
            (false, format!("the build was stopped because it wrote more than {} MB", limit / MB))
        }
        BuildOutcome::DiskLimit { limit_bytes: None, .. } => {
            (false, "the build was stopped because Titan's disk is nearly full; its operator must make room".to_owned())
        }
    }
}
