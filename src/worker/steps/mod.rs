//! Carries a run's steps out, one job for a run: take the first step that has not ended, act, commit, go on.
//!
//! Every step can be killed at any instant and taken up again: it commits its intent before an effect, and when it is
//! taken up with an intent and without an outcome it looks outside for what the intent produced.

mod bake;
mod build;
mod deploy;
mod diff;
mod merge;
mod restore;
mod revert;
mod verify;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Done, JobError, Services, facts};
use crate::clock;
use crate::domain::consequence::{Consequence, Locks, StepEnd, after};
use crate::domain::ids::{CommitSha, Environment, RunId};
use crate::domain::markdown::inline_code;
use crate::domain::plan::automatic_rollback;
use crate::domain::policy::{Policy, Project, Target};
use crate::domain::progress::{self, DeployProgress, MergeProgress, RestoreProgress};
use crate::domain::run::{Conclusion, RunKind, RunStatus, StepName, StepStatus};
use crate::github::RepoClient;
use crate::github::reads::PullRequest;
use crate::store::jobs::Job;
use crate::store::runs::{Ending, Run};
use crate::store::steps::Step;
use crate::store::{Lease, StoreError};

/// What a step's taking-up gave.
#[derive(Debug)]
enum Outcome {
    /// The step ended; what was seen, one line of Markdown.
    End(StepEnd, String),
    /// The step waits until this time.
    Wait(DateTime<Utc>),
}

impl Outcome {
    fn done(seen: impl Into<String>) -> Self {
        Self::End(StepEnd::Done, seen.into())
    }

    fn failed(seen: impl Into<String>) -> Self {
        Self::End(StepEnd::Failed { touched: false }, seen.into())
    }

    fn failed_live(seen: impl Into<String>) -> Self {
        Self::End(StepEnd::Failed { touched: true }, seen.into())
    }

    fn stopped(seen: impl Into<String>) -> Self {
        Self::End(StepEnd::Stopped, seen.into())
    }
}

/// Everything that a step works with.
struct StepContext<'a> {
    services: &'a Services,
    lease: Lease,
    run: &'a Run,
    steps: &'a [Step],
    step: &'a Step,
}

impl StepContext<'_> {
    /// What this step remembers.
    fn progress<T: DeserializeOwned + Default>(&self) -> T {
        progress::read(&self.step.progress)
    }

    /// What another step of this run remembers.
    fn progress_of<T: DeserializeOwned + Default>(&self, name: StepName) -> T {
        self.steps.iter().find(|step| step.name == name).map(|step| progress::read(&step.progress)).unwrap_or_default()
    }

    /// Commits what this step remembers; must succeed before the effect that it announces.
    async fn save(&self, progress: &impl Serialize) -> Result<(), JobError> {
        self.save_with(progress, None).await
    }

    /// The same, with a line that people see at once.
    async fn save_and_show(&self, progress: &impl Serialize, detail: &str) -> Result<(), JobError> {
        self.save_with(progress, Some(detail)).await
    }

    async fn save_with(&self, progress: &impl Serialize, detail: Option<&str>) -> Result<(), JobError> {
        let store = &self.services.store;
        store.save_step(self.lease, self.run.id, self.step.position, progress, detail, self.run.change_id).await?;
        Ok(())
    }

    /// Commits an intent, right before its effect. `Some` says why there must be none: a lock was taken away, so whatever
    /// this run would do now could undo what somebody else does.
    async fn announce(&self, progress: &impl Serialize, detail: &str) -> Result<Option<String>, JobError> {
        let store = &self.services.store;
        let (run, position) = (self.run.id, self.step.position);
        match store.announce(self.lease, run, position, progress, detail, self.run.change_id).await {
            Ok(()) => Ok(None),
            Err(StoreError::LockLost(environment)) => Ok(Some(format!("its lock of `{environment}` was taken away"))),
            Err(error) => Err(error.into()),
        }
    }

    fn github(&self) -> RepoClient {
        facts::client_of(self.services, self.run)
    }

    /// The policy that this run was decided under.
    async fn policy(&self) -> Result<Policy, JobError> {
        let hash =
            self.run.policy_hash.as_deref().ok_or_else(|| JobError::Never("the run has no policy".to_owned()))?;
        let text = self.services.store.find_policy(hash).await?;
        let text = text.ok_or_else(|| JobError::Never(format!("policy {hash} is not stored")))?;
        Policy::parse(&text).map_err(|_| JobError::Never(format!("policy {hash} cannot be read any more")))
    }

    /// The run's project in its policy.
    async fn project(&self) -> Result<Project, JobError> {
        let mut policy = self.policy().await?;
        let name = self.run.project.as_ref().ok_or_else(|| JobError::Never("the run has no project".to_owned()))?;
        policy.projects.remove(name).ok_or_else(|| JobError::Never(format!("the policy has no project {name}")))
    }

    fn environment(&self) -> Result<Environment, JobError> {
        self.run.kind.environment().ok_or_else(|| JobError::Never(format!("{} has no environment", self.run.kind)))
    }

    /// The service that this run changes.
    async fn target(&self) -> Result<Target, JobError> {
        let environment = self.environment()?;
        let project = self.project().await?;
        let target = project.target(environment).cloned();
        target.ok_or_else(|| JobError::Never(format!("the policy has no {environment} service")))
    }

    fn project_id(&self) -> Result<i64, JobError> {
        self.run.project_id.ok_or_else(|| JobError::Never("the run has no project".to_owned()))
    }

    /// The commit that the service must answer with in this run.
    fn expected_commit(&self) -> Result<CommitSha, JobError> {
        let commit = match self.run.kind {
            RunKind::Propose | RunKind::Canary => Some(self.run.head.clone()),
            RunKind::Promote => self.progress_of::<MergeProgress>(StepName::Merge).merge_commit,
            RunKind::Rollback | RunKind::Restore => self.progress_of::<RestoreProgress>(StepName::Restore).to,
        };
        commit.ok_or_else(|| JobError::Never("the commit to be verified is not known".to_owned()))
    }

    /// Whether anything may be deployed here; `Some` says why not. Asked alone only for putting things back, which a
    /// cancelled run still does.
    async fn deploys_forbidden(&self) -> Result<Option<String>, JobError> {
        let (armed, halt) = self.services.store.may_deploy(self.run.repository_id).await?;
        if let Some(halt) = halt {
            return Ok(Some(format!("`{}` called a halt", halt.by)));
        }
        Ok((!armed).then(|| "deployment was turned off with `/titan disarm`".to_owned()))
    }

    /// Whether this run may still have an effect outside; `Some` says why not. Asked immediately before each one.
    async fn forbidden(&self) -> Result<Option<String>, JobError> {
        if let Some(why) = self.deploys_forbidden().await? {
            return Ok(Some(why));
        }
        let fresh = self.services.store.find_run(self.run.id).await?;
        Ok(fresh.and_then(|run| run.cancel_by).map(|by| format!("`{by}` cancelled it")))
    }

    /// Why this run has nothing to do with the pull request as it is now: it goes to another branch than the one whose
    /// policy and files were judged. A run of an earlier release did not note its base; it was for the default branch.
    fn retargeted(&self, pull: &PullRequest) -> Option<String> {
        let base = self.run.base_ref.as_ref().or(pull.default_branch.as_ref())?;
        (*base != pull.base_ref).then(|| {
            let (meant, now) = (inline_code(base), inline_code(&pull.base_ref));
            format!(
                "it was for the base branch {meant}, and the pull request goes to {now} now, so nothing more was done"
            )
        })
    }

    /// The same, and whether the pull request's head and base still are this run's.
    async fn forbidden_at_head(&self) -> Result<Option<String>, JobError> {
        if let Some(why) = self.forbidden().await? {
            return Ok(Some(why));
        }
        let pull = self.github().get_pull_request(self.run.number).await?;
        if pull.head != self.run.head {
            return Ok(Some(moved(&self.run.head, &pull.head)));
        }
        if let Some(why) = self.retargeted(&pull) {
            return Ok(Some(why));
        }
        Ok((!pull.open).then(|| "the pull request was closed".to_owned()))
    }
}

/// How long to wait before a look for something is believed that did not find it; `None`: it is believed, and forgotten,
/// because another call may follow.
fn still_in_doubt(missed_at: &mut Option<DateTime<Utc>>, doubt: Duration) -> Option<DateTime<Utc>> {
    let now = clock::now();
    let until = *missed_at.get_or_insert(now) + doubt;
    if now < until {
        return Some(until);
    }
    *missed_at = None;
    None
}

/// What a push means for a run that has not done its effect yet: which commit was meant, and how to go on.
fn moved(meant: &CommitSha, head: &CommitSha) -> String {
    format!(
        "it was for `{}`, and the head is `{}` now, so nothing more was done; look at the new commits, then \
         `/titan propose` and `/titan canary @{}`",
        meant.short(),
        head.short(),
        head.short()
    )
}

/// Takes a run up: carries its current step out as far as it goes without waiting, then the next, until one waits or
/// the run ends.
///
/// # Errors
/// [`JobError`]; the step is taken up again unless its run cannot be read.
pub async fn advance(services: &Services, job: &Job) -> Result<Done, JobError> {
    let id: RunId = job.payload.parse().map_err(|_| JobError::Never(format!("payload {:?}", job.payload)))?;
    let Some(run) = services.store.find_run(id).await? else {
        return Err(JobError::Never(format!("there is no run {id}")));
    };
    let span = tracing::Span::current();
    span.record("run", tracing::field::display(id)).record("repo", tracing::field::display(&run.repo));
    if let Some(project) = &run.project {
        span.record("project", project.as_str());
    }
    if run.status.conclusion().is_some() {
        services.store.finish_job(job.lease).await?;
        return Ok(Done::Ended);
    }
    let steps = services.store.list_steps(id).await?;
    let current = steps.iter().find(|step| matches!(step.status, StepStatus::Pending | StepStatus::Running));
    // A run ends in the same transaction as its last step, so one that has not ended has a step to carry out.
    let step = current.ok_or_else(|| JobError::Never(format!("run {id} has not ended and has no step left")))?;
    let context = StepContext { services, lease: job.lease, run: &run, steps: &steps, step };
    if run.cancel_by.is_some() && step.status == StepStatus::Pending && run.status != RunStatus::Undoing {
        let seen = format!("`{}` cancelled it", run.cancel_by.as_deref().unwrap_or_default());
        return end_step(&context, StepEnd::Stopped, &seen).await;
    }
    services.store.begin_step(job.lease, id, run.status, step, run.change_id).await?;
    if step.status == StepStatus::Pending {
        tracing::info!(step = %step.name, "step begins");
    }
    match take_up(&context).await? {
        Outcome::Wait(at) => Ok(Done::Until(at)),
        Outcome::End(end, seen) => end_step(&context, end, &services.redactor.clean(&seen)).await,
    }
}

async fn take_up(context: &StepContext<'_>) -> Result<Outcome, JobError> {
    match context.step.name {
        StepName::Diff => diff::diff(context).await,
        StepName::Build => build::build(context).await,
        StepName::Merge => merge::merge(context).await,
        StepName::Deploy => deploy::deploy(context).await,
        StepName::Verify => verify::verify(context).await,
        StepName::Bake => bake::bake(context).await,
        StepName::Restore => restore::restore(context).await,
        StepName::Revert => revert::revert(context).await,
    }
}

async fn end_step(context: &StepContext<'_>, end: StepEnd, seen: &str) -> Result<Done, JobError> {
    let (store, run, step) = (&context.services.store, context.run, context.step);
    let last = context.steps.iter().all(|s| s.position <= step.position || s.status == StepStatus::Skipped);
    let undoing = run.status == RunStatus::Undoing;
    let status = match end {
        StepEnd::Done => StepStatus::Succeeded,
        StepEnd::Stopped => StepStatus::Skipped,
        StepEnd::Failed { .. } | StepEnd::Inconclusive => StepStatus::Failed,
    };
    match after(run.kind, step.name, end, last, undoing) {
        Consequence::Next => {
            store.end_step(context.lease, run.id, step, status, seen, None, run.change_id).await?;
            Ok(Done::Until(clock::now()))
        }
        Consequence::PutBack => {
            let append = Some(StepName::Restore);
            store.end_step(context.lease, run.id, step, status, seen, append, run.change_id).await?;
            Ok(Done::Until(clock::now()))
        }
        Consequence::End { conclusion, locks, rollback } => {
            let summary = match (undoing, run.summary.as_str()) {
                (true, why) => format!("{why}; {seen}"),
                (false, _) => seen.to_owned(),
            };
            let plan = run
                .project
                .as_ref()
                .filter(|_| rollback)
                .map(|project| automatic_rollback(project.clone(), run.head.clone(), run.policy_hash.clone()));
            let follow_up = plan.as_ref().map(|plan| (RunId(uuid::Uuid::now_v7()), plan));
            let step = Some((step, status, seen));
            tracing::info!(conclusion = conclusion.as_str(), %summary, "run ended");
            let lasts = match locks {
                Locks::Keep if run.kind != RunKind::Propose => context.policy().await?.lock_expiry,
                _ => None,
            };
            let ending = Ending { step, conclusion, summary: &summary, locks, lasts, follow_up };
            store.conclude_run(context.lease, run, &ending).await?;
            Ok(Done::Ended)
        }
    }
}

/// Ends a run whose step cannot be carried out, after all tries. Its locks stay, so that a person looks first.
///
/// # Errors
/// [`JobError`] when not even that can be committed.
pub async fn abandon(services: &Services, job: &Job, why: &str) -> Result<(), JobError> {
    let id: RunId = job.payload.parse().map_err(|_| JobError::Never("payload".to_owned()))?;
    let run = services.store.find_run(id).await?.ok_or_else(|| JobError::Never("no such run".to_owned()))?;
    let conclusion = Conclusion::Failure;
    let summary = format!("Titan gave up after many tries: {}", crate::domain::markdown::escape(why));
    let ending = Ending { step: None, conclusion, summary: &summary, locks: Locks::Hold, lasts: None, follow_up: None };
    services.store.conclude_run(job.lease, &run, &ending).await?;
    Ok(())
}

/// How the deploy of this run stands, for the steps that come after it.
fn deployed(context: &StepContext<'_>) -> DeployProgress {
    context.progress_of(StepName::Deploy)
}
