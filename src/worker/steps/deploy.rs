//! `deploy`: the pinned commit on the service, and waiting until Render says `live`.
//!
//! Before the first effect the version that is live is noted, because it is what a rollback brings back.

use chrono::{DateTime, Utc};

use super::{JobError, Outcome, StepContext, still_in_doubt};
use crate::clock;
use crate::domain::consequence::StepEnd;
use crate::domain::ids::{CommitSha, DeployId, Environment, ServiceId};
use crate::domain::policy::{DeployVia, Target};
use crate::domain::progress::{DeployProgress, Previous};
use crate::domain::run::RunKind;
use crate::probe::IdentityAnswer;
use crate::render::{DeployStatus, RenderError, Started};

pub(super) async fn deploy(context: &StepContext<'_>) -> Result<Outcome, JobError> {
    let target = context.target().await?;
    let commit = context.expected_commit()?;
    let mut progress: DeployProgress = context.progress();
    if progress.intent_at.is_none() {
        if let Some(why) = forbidden(context).await? {
            return Ok(Outcome::stopped(why));
        }
        progress.previous = note_previous(context, &target).await?;
        progress.service_url = Some(target.url.to_string());
        progress.commit = Some(commit.clone());
        progress.intent_at = Some(clock::now());
        let detail = format!("putting `{}` on `{}`", commit.short(), context.environment()?);
        if let Some(why) = context.announce(&progress, &detail).await? {
            return Ok(Outcome::stopped(why));
        }
        return begin(context, &target, &commit, progress).await;
    }
    if progress.deploy.is_none() {
        // Taken up again: the call may or may not have been made, so look before making it.
        if service_of(context, &target).is_none() {
            return take_up_hook(context, &target, &commit, progress).await;
        }
        return match find_earlier(context, &target, &commit, progress.intent_at).await? {
            Some(deploy) => note_deploy(context, progress, deploy).await,
            None if progress.queued => wait_to_be_listed(context, progress.intent_at),
            None => {
                let doubt = still_in_doubt(&mut progress.missed_at, context.services.pace.doubt);
                if let Some(until) = doubt {
                    context.save(&progress).await?;
                    return Ok(Outcome::Wait(until));
                }
                // The call was not made, or nothing came of it. What was asked before the intent may have changed since.
                begin_again(context, &target, &commit, progress).await
            }
        };
    }
    watch_until_live(context, &target, &commit, progress).await
}

/// The same where only the service can be asked.
async fn take_up_hook(
    context: &StepContext<'_>,
    target: &Target,
    commit: &CommitSha,
    mut progress: DeployProgress,
) -> Result<Outcome, JobError> {
    if progress.queued {
        return Ok(handed_over(commit));
    }
    match ask_witness(context, target, commit, progress.intent_at).await {
        Witness::Settled => Ok(handed_over(commit)),
        Witness::Doubt => wait(context, progress.intent_at),
        Witness::NeverCame => {
            progress.intent_at = Some(clock::now());
            begin_again(context, target, commit, progress).await
        }
    }
}

/// Makes the announced call after an interruption, unless it is forbidden by now.
async fn begin_again(
    context: &StepContext<'_>,
    target: &Target,
    commit: &CommitSha,
    progress: DeployProgress,
) -> Result<Outcome, JobError> {
    if let Some(why) = forbidden(context).await? {
        return Ok(Outcome::stopped(why));
    }
    let detail = format!("putting `{}` on `{}`", commit.short(), context.environment()?);
    match context.announce(&progress, &detail).await? {
        Some(why) => Ok(Outcome::stopped(why)),
        None => begin(context, target, commit, progress).await,
    }
}

/// What the service itself tells about a hook call whose answer was lost.
pub(super) enum Witness {
    /// It runs the commit, or it never says what it runs, so that nothing can be learned by waiting.
    Settled,
    /// It does not run the commit yet; the deploy may be on its way.
    Doubt,
    /// It has had time enough, so the call did not reach Render or came to nothing.
    NeverCame,
}

/// Asks the service. Two calls for one commit would be two deploys, none would be a lost command: nobody but the service
/// can tell which it would be.
pub(super) async fn ask_witness(
    context: &StepContext<'_>,
    target: &Target,
    commit: &CommitSha,
    intent_at: Option<DateTime<Utc>>,
) -> Witness {
    if target.identity.is_none() {
        return Witness::Settled;
    }
    let observation = context.services.prober.observe(target).await;
    if observation.identity.as_ref().is_some_and(|answer| answer.names(commit)) {
        return Witness::Settled;
    }
    let doubt = context.services.pace.hook_doubt;
    if intent_at.is_some_and(|at| clock::now() < at + doubt) { Witness::Doubt } else { Witness::NeverCame }
}

fn handed_over(commit: &CommitSha) -> Outcome {
    Outcome::done(format!("`{}` handed to the deploy hook", commit.short()))
}

/// A canary and a merge are for the head that people looked at; a deploy after the merge is for the merge commit, which
/// no push can change any more.
async fn forbidden(context: &StepContext<'_>) -> Result<Option<String>, JobError> {
    match context.environment()? {
        Environment::Canary => context.forbidden_at_head().await,
        Environment::Production => context.forbidden().await,
    }
}

/// The version that is live now, as Render and the service itself tell it; stored as a release, so that it can be
/// brought back. It counts as good only when it is healthy and answers as itself.
async fn note_previous(context: &StepContext<'_>, target: &Target) -> Result<Option<Previous>, JobError> {
    let observation = context.services.prober.observe(target).await;
    let live = match service_of(context, target) {
        Some(service) => match context.services.render.live_deploy(&service).await {
            Ok(live) => live,
            Err(RenderError::NotConfigured(_)) => None,
            Err(error) => return refused_by_render(error).map(|_| None),
        },
        None => None,
    };
    let deploy = live.as_ref().map(|live| live.id.clone());
    // Without Render's word only the whole id counts: a shortened one cannot be deployed again.
    let said = || match &observation.identity {
        Some(IdentityAnswer::Commit(said)) => said.parse::<CommitSha>().ok(),
        _ => None,
    };
    let Some(commit) = live.and_then(|live| live.commit).or_else(said) else { return Ok(None) };
    let good = observation.sample.ok && observation.identity.as_ref().is_some_and(|answer| answer.names(&commit));
    context
        .services
        .store
        .put_release(
            context.lease,
            context.project_id()?,
            context.environment()?,
            &commit,
            deploy.as_ref(),
            None,
            if good { "good" } else { "unproven" },
        )
        .await?;
    Ok(Some(Previous { commit, deploy }))
}

/// The Render service behind a target, when the API can be asked about it.
pub(super) fn service_of(context: &StepContext<'_>, target: &Target) -> Option<ServiceId> {
    match &target.deploy {
        DeployVia::Render(service) => Some(service.clone()),
        DeployVia::Hook(name) => context.services.render.hook_service(name),
    }
}

async fn begin(
    context: &StepContext<'_>,
    target: &Target,
    commit: &CommitSha,
    mut progress: DeployProgress,
) -> Result<Outcome, JobError> {
    let started = match start(context, target, commit).await {
        Ok(started) => started,
        Err(error) => {
            // Before anything is merged a person can simply ask again.
            let why = match context.run.kind {
                RunKind::Promote => refused_for_good(context, error, progress.intent_at)?,
                _ => refused_by_render(error)?,
            };
            return Ok(Outcome::failed(why));
        }
    };
    match started {
        Some(deploy) => note_deploy(context, progress, deploy).await,
        None if service_of(context, target).is_none() => {
            // A hook without the API: nobody can be asked but the service itself, which `verify` does.
            progress.queued = true;
            context.save(&progress).await?;
            Ok(handed_over(commit))
        }
        None => {
            progress.queued = true;
            context.save(&progress).await?;
            wait(context, progress.intent_at)
        }
    }
}

/// Waits for a deploy that Render took without naming it. It is not asked for again: that would be a second one.
pub(super) fn wait_to_be_listed(context: &StepContext<'_>, since: Option<DateTime<Utc>>) -> Result<Outcome, JobError> {
    let limit = context.services.pace.deploy_deadline;
    if since.is_none_or(|since| clock::now() < since + limit) {
        return wait(context, since);
    }
    let minutes = limit.as_secs().div_ceil(60);
    Ok(Outcome::failed_live(format!("Render took the deploy, but did not show it within {minutes} min")))
}

/// Starts a deploy; `None` when it was queued without an id.
pub(super) async fn start(
    context: &StepContext<'_>,
    target: &Target,
    commit: &CommitSha,
) -> Result<Option<DeployId>, RenderError> {
    let render = &context.services.render;
    let started = match &target.deploy {
        DeployVia::Render(service) => match render.start_deploy(service, commit).await? {
            Started::Deploy(deploy) => Some(deploy.id),
            Started::Queued => None,
        },
        DeployVia::Hook(name) => match render.trigger_hook(name, commit).await? {
            crate::render::HookStarted::Deploy(deploy) => Some(deploy),
            crate::render::HookStarted::Queued => None,
        },
    };
    Ok(started)
}

/// What a refusal by Render means for people; an error that may pass by itself stays an error.
pub(super) fn refused_by_render(error: RenderError) -> Result<String, JobError> {
    match error {
        RenderError::NotFound(_)
        | RenderError::Conflict(_)
        | RenderError::Invalid(_)
        | RenderError::Unauthorized(_)
        | RenderError::NotConfigured(_) => {
            Ok(format!("Render refused the deploy: {}", crate::domain::markdown::escape(&error.to_string())))
        }
        other => Err(other.into()),
    }
}

/// The same where nobody can ask again: Render is asked for a while before its word is taken.
pub(super) fn refused_for_good(
    context: &StepContext<'_>,
    error: RenderError,
    since: Option<DateTime<Utc>>,
) -> Result<String, JobError> {
    let why = refused_by_render(error)?;
    let patience = context.services.pace.refusal_patience;
    match since.is_some_and(|since| clock::now() < since + patience) {
        true => Err(JobError::Refused(why)),
        false => Ok(why),
    }
}

async fn note_deploy(
    context: &StepContext<'_>,
    mut progress: DeployProgress,
    deploy: DeployId,
) -> Result<Outcome, JobError> {
    let intent_at = progress.intent_at;
    progress.deploy = Some(deploy);
    context.save(&progress).await?;
    wait(context, intent_at)
}

fn wait(context: &StepContext<'_>, since: Option<DateTime<Utc>>) -> Result<Outcome, JobError> {
    let now = clock::now();
    let elapsed = since.and_then(|since| (now - since).to_std().ok()).unwrap_or_default();
    Ok(Outcome::Wait(now + context.services.pace.poll_after(elapsed)))
}

/// A deploy that an earlier taking-up started for this commit.
pub(super) async fn find_earlier(
    context: &StepContext<'_>,
    target: &Target,
    commit: &CommitSha,
    intent_at: Option<DateTime<Utc>>,
) -> Result<Option<DeployId>, JobError> {
    let (Some(service), Some(intent_at)) = (service_of(context, target), intent_at) else { return Ok(None) };
    match context.services.render.find_deploy(&service, commit, intent_at).await {
        Ok(found) => Ok(found.map(|deploy| deploy.id)),
        Err(RenderError::NotConfigured(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn watch_until_live(
    context: &StepContext<'_>,
    target: &Target,
    commit: &CommitSha,
    mut progress: DeployProgress,
) -> Result<Outcome, JobError> {
    let Some(service) = service_of(context, target) else {
        return Ok(handed_over(commit));
    };
    let deploy = progress.deploy.clone().ok_or_else(|| JobError::Never("no deploy to watch".to_owned()))?;
    match watch(context, &service, &deploy, progress.intent_at).await? {
        Watched::Live => {
            progress.went_live_at = Some(clock::now());
            context.save(&progress).await?;
            let (project, environment) = (context.project_id()?, context.environment()?);
            let run = Some(context.run.id);
            let store = &context.services.store;
            store.put_release(context.lease, project, environment, commit, Some(&deploy), run, "unproven").await?;
            Ok(Outcome::done(format!("Render says `live` for `{}`", commit.short())))
        }
        Watched::NotYet(outcome) => {
            if context.forbidden().await?.is_some()
                && let Err(error) = context.services.render.cancel(&service, &deploy).await
            {
                // It may have gone live just now; the next look shows it, and the next step stops.
                tracing::warn!(%error, "could not cancel a deploy that must not go on");
            }
            Ok(outcome)
        }
        // It did go live, and what serves now is nobody's of this run: neither to be put back nor to be rolled back.
        Watched::Replaced(why) => {
            Ok(Outcome::End(StepEnd::Inconclusive, format!("{why}; a person must look at what serves now")))
        }
        Watched::Ended(why) => Ok(match context.forbidden().await? {
            Some(stopped) => Outcome::stopped(format!("{stopped}; {why}; the old version still serves")),
            None => Outcome::failed(format!("{why}; the old version still serves")),
        }),
    }
}

/// What a look at a deploy showed.
pub(super) enum Watched {
    /// It is live.
    Live,
    /// It is on its way.
    NotYet(Outcome),
    /// It was live, and another deploy is now.
    Replaced(String),
    /// It ended otherwise, and never was live.
    Ended(String),
}

/// Looks at a deploy once.
pub(super) async fn watch(
    context: &StepContext<'_>,
    service: &ServiceId,
    deploy: &DeployId,
    since: Option<DateTime<Utc>>,
) -> Result<Watched, JobError> {
    let seen = context.services.render.get_deploy(service, deploy).await?;
    let ended = match seen.status {
        DeployStatus::Live => return Ok(Watched::Live),
        DeployStatus::BuildFailed => "Render's build failed",
        DeployStatus::PreDeployFailed => "the pre-deploy command failed",
        DeployStatus::UpdateFailed => "the new version did not start",
        DeployStatus::Canceled => "the deploy was canceled at Render",
        DeployStatus::Deactivated => {
            return Ok(Watched::Replaced(format!("`{deploy}` was live, but another deploy has replaced it")));
        }
        _ => {
            let deadline = since.unwrap_or_else(clock::now) + context.services.pace.deploy_deadline;
            if clock::now() < deadline {
                return Ok(Watched::NotYet(wait(context, since)?));
            }
            // Nobody waits for it any more, so it must not go live later and unseen.
            if let Err(error) = context.services.render.cancel(service, deploy).await {
                tracing::warn!(%error, "could not cancel a deploy that takes too long");
            }
            let minutes = context.services.pace.deploy_deadline.as_secs().div_ceil(60);
            return Ok(Watched::Ended(format!("`{deploy}` was not live after {minutes} min and was canceled")));
        }
    };
    Ok(Watched::Ended(format!("{ended} (`{deploy}`)")))
}
