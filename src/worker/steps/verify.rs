//! `verify`: the service itself must answer with the expected commit, several times in a row, and be healthy. A plain
//! 200 never counts, because the old version may still be answering.

use super::{JobError, Outcome, StepContext, deployed};
use crate::clock;
use crate::domain::ids::{CommitSha, Environment};
use crate::domain::markdown::inline_code;
use crate::domain::policy::Target;
use crate::domain::progress::{RestoreProgress, VerifyProgress};
use crate::domain::run::{RunKind, StepName};
use crate::probe::{IdentityAnswer, Observation};

pub(super) async fn verify(context: &StepContext<'_>) -> Result<Outcome, JobError> {
    let target = context.target().await?;
    let commit = context.expected_commit()?;
    if target.identity.is_none() {
        return Ok(Outcome::End(
            crate::domain::consequence::StepEnd::Inconclusive,
            "the policy names no `identity` for this service, so nobody can tell which commit answers; add it on the \
             base branch"
                .to_owned(),
        ));
    }
    // What a rollback brought back is asked to the end, because only then it is known what production runs.
    if context.run.kind != RunKind::Rollback
        && let Some(why) = context.forbidden().await?
    {
        note_what_serves(context, &target, &commit).await?;
        return Ok(Outcome::stopped(why));
    }
    let mut progress: VerifyProgress = context.progress();
    let since = *progress.since.get_or_insert_with(clock::now);
    let observation = context.services.prober.observe(&target).await;
    let (right, answer) = judge(&observation, &commit);
    progress.matches = if right { progress.matches + 1 } else { 0 };
    progress.last_answer = answer;
    context.save(&progress).await?;
    let pace = &context.services.pace;
    if progress.matches >= pace.verify_matches {
        settle(context, &commit).await?;
        return Ok(Outcome::done(format!("the service answered as `{}` {} times", commit.short(), progress.matches)));
    }
    // Right answers are counted to the end: Titan may have been away since the first question.
    if right || clock::now() < since + deadline(context, &target) {
        return Ok(Outcome::Wait(clock::now() + pace.verify_every));
    }
    let seen = format!("the service never answered steadily as `{}`: {}", commit.short(), progress.last_answer);
    if still_the_old_one(context, &observation) {
        return Ok(Outcome::failed(format!("{seen}; the old version still serves")));
    }
    condemn(context, &commit).await?;
    Ok(Outcome::failed_live(seen))
}

/// A run that stops between the call of a hook and the first look leaves no word of what is live; so it looks once. What
/// Render's API called live is noted already.
async fn note_what_serves(context: &StepContext<'_>, target: &Target, commit: &CommitSha) -> Result<(), JobError> {
    if deployed(context).went_live_at.is_some() {
        return Ok(());
    }
    let observation = context.services.prober.observe(target).await;
    if observation.identity.as_ref().is_some_and(|answer| answer.names(commit)) {
        settle(context, commit).await?;
    }
    Ok(())
}

/// What replaced the old version is noted as live and bad, so that a rollback leaves it and not the version before it.
/// After a hook nobody has noted it yet.
async fn condemn(context: &StepContext<'_>, commit: &CommitSha) -> Result<(), JobError> {
    if context.run.kind == RunKind::Rollback {
        return Ok(());
    }
    let (project, environment, run) = (context.project_id()?, context.environment()?, Some(context.run.id));
    let deploy = deployed(context).deploy;
    let store = &context.services.store;
    store.put_release(context.lease, project, environment, commit, deploy.as_ref(), run, "bad").await?;
    Ok(())
}

/// Whether one look at the service shows the expected commit, healthy; and what it showed, for people.
fn judge(observation: &Observation, commit: &CommitSha) -> (bool, String) {
    match &observation.identity {
        Some(answer) if answer.names(commit) => match (observation.sample.ok, &observation.sample.error) {
            (true, _) => (true, "healthy".to_owned()),
            (false, error) => (false, format!("right commit, but {}", error.as_deref().unwrap_or("not healthy"))),
        },
        Some(IdentityAnswer::Commit(said)) => (false, format!("it says {}", inline_code(said))),
        Some(IdentityAnswer::Missing(why) | IdentityAnswer::Unreachable(why)) => {
            (false, crate::domain::markdown::escape(why))
        }
        None => (false, "it does not say its commit".to_owned()),
    }
}

/// A deploy that Render calls live has little time left; one that was only handed to a hook still has to be built.
fn deadline(context: &StepContext<'_>, target: &Target) -> std::time::Duration {
    let pace = &context.services.pace;
    match super::deploy::service_of(context, target) {
        Some(_) => pace.verify_deadline,
        None => pace.deploy_deadline,
    }
}

/// After a hook nobody said `live`, so the old commit's answer means that nothing has changed.
fn still_the_old_one(context: &StepContext<'_>, observation: &Observation) -> bool {
    let deploy = deployed(context);
    let (None, Some(previous)) = (deploy.went_live_at, deploy.previous) else { return false };
    observation.identity.as_ref().is_some_and(|answer| answer.names(&previous.commit))
}

/// Notes what is live now. A restored version was good before and is good again; what it replaced is not.
async fn settle(context: &StepContext<'_>, commit: &CommitSha) -> Result<(), JobError> {
    let (project, environment) = (context.project_id()?, context.environment()?);
    let store = &context.services.store;
    let run = Some(context.run.id);
    if context.run.kind == RunKind::Rollback {
        let restored: RestoreProgress = context.progress_of(StepName::Restore);
        if let Some(bad) = &restored.from {
            store.judge_release(context.lease, project, Environment::Production, bad, "bad").await?;
        }
        let deploy = restored.deploy.as_ref();
        store.put_release(context.lease, project, environment, commit, deploy, run, "good").await?;
    } else {
        let deploy = deployed(context).deploy;
        store.put_release(context.lease, project, environment, commit, deploy.as_ref(), run, "unproven").await?;
    }
    Ok(())
}
