//! `restore`: the last good version back on the service. In a rollback that is the newest good production release
//! before the current one; after a bad canary it is what was live before.

use chrono::{DateTime, Utc};

use super::deploy::{
    Watched, Witness, ask_witness, find_earlier, refused_by_render, refused_for_good, service_of, start,
    wait_to_be_listed, watch,
};
use super::{JobError, Outcome, StepContext, deployed, still_in_doubt};
use crate::clock;
use crate::domain::ids::{CommitSha, DeployId, Environment, ServiceId};
use crate::domain::policy::Target;
use crate::domain::progress::RestoreProgress;
use crate::domain::run::RunKind;
use crate::render::RenderError;

/// How a version came back, for people: Render put an earlier deploy back.
const BY_ROLLBACK: &str = "Render rollback";
/// Its commit was deployed again.
const BY_DEPLOY: &str = "deploy of the earlier commit";

pub(super) async fn restore(context: &StepContext<'_>) -> Result<Outcome, JobError> {
    let target = context.target().await?;
    let mut progress: RestoreProgress = context.progress();
    if progress.intent_at.is_none() {
        let forbidden = match context.run.kind {
            RunKind::Rollback => context.forbidden().await?,
            _ => context.deploys_forbidden().await?,
        };
        if let Some(why) = forbidden {
            return Ok(Outcome::failed_live(format!("not put back, because {why}")));
        }
        let Some((from, to, deploy)) = choose(context).await? else {
            return Ok(nothing_to_restore(context));
        };
        progress.from = Some(from);
        progress.to = Some(to.clone());
        progress.intent_at = Some(clock::now());
        if let Some(why) = context.announce(&progress, &format!("bringing `{}` back", to.short())).await? {
            return Ok(Outcome::failed_live(format!("not put back, because {why}")));
        }
        return begin(context, &target, &to, deploy.as_ref(), progress).await;
    }
    let to = progress.to.clone().ok_or_else(|| JobError::Never("no commit to restore".to_owned()))?;
    match (&progress.deploy, service_of(context, &target)) {
        (Some(deploy), Some(service)) => {
            let deploy = deploy.clone();
            follow(context, &service, &deploy, &to, progress).await
        }
        // Taken up again: the call may or may not have been made, so look before making it.
        (None, Some(service)) => match find_begun(context, &target, &service, &to, progress.intent_at).await? {
            Some((how, deploy)) => {
                progress.how = how.to_owned();
                note(context, progress, deploy).await
            }
            None if !progress.how.is_empty() => wait_to_be_listed(context, progress.intent_at),
            None => {
                let doubt = still_in_doubt(&mut progress.missed_at, context.services.pace.doubt);
                if let Some(until) = doubt {
                    context.save(&progress).await?;
                    return Ok(Outcome::Wait(until));
                }
                let chosen = choose(context).await?.filter(|(_, again, _)| *again == to);
                let deploy = chosen.and_then(|(_, _, deploy)| deploy);
                begin_again(context, &target, &to, deploy.as_ref(), progress).await
            }
        },
        // `how` is committed after the call; without it nobody knows whether the hook was ever reached.
        (None, None) if progress.how.is_empty() => take_up_hook(context, &target, &to, progress).await,
        (_, None) => finish(context, &to, progress).await,
    }
}

/// Makes the announced call after an interruption, unless the lock was taken away since.
async fn begin_again(
    context: &StepContext<'_>,
    target: &Target,
    to: &CommitSha,
    deploy: Option<&DeployId>,
    progress: RestoreProgress,
) -> Result<Outcome, JobError> {
    match context.announce(&progress, &format!("bringing `{}` back", to.short())).await? {
        Some(why) => Ok(Outcome::failed_live(format!("not put back, because {why}"))),
        None => begin(context, target, to, deploy, progress).await,
    }
}

/// A hook call whose answer was lost, where only the service can be asked.
async fn take_up_hook(
    context: &StepContext<'_>,
    target: &Target,
    to: &CommitSha,
    mut progress: RestoreProgress,
) -> Result<Outcome, JobError> {
    match ask_witness(context, target, to, progress.intent_at).await {
        Witness::Settled => {
            progress.how = BY_DEPLOY.to_owned();
            finish(context, to, progress).await
        }
        Witness::Doubt => Ok(Outcome::Wait(clock::now() + context.services.pace.poll_max)),
        Witness::NeverCame => {
            progress.intent_at = Some(clock::now());
            begin_again(context, target, to, None, progress).await
        }
    }
}

/// What an earlier taking-up began, and how: a rollback or, when that was not possible, a deploy of the commit.
async fn find_begun(
    context: &StepContext<'_>,
    target: &Target,
    service: &ServiceId,
    to: &CommitSha,
    intent_at: Option<DateTime<Utc>>,
) -> Result<Option<(&'static str, DeployId)>, JobError> {
    if let Some(intent_at) = intent_at {
        match context.services.render.find_rollback(service, to, intent_at).await {
            Ok(Some(found)) => return Ok(Some((BY_ROLLBACK, found.id))),
            Ok(None) | Err(RenderError::NotConfigured(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(find_earlier(context, target, to, intent_at).await?.map(|deploy| (BY_DEPLOY, deploy)))
}

/// What is live, what is brought back, and that version's deploy when it is known.
async fn choose(context: &StepContext<'_>) -> Result<Option<(CommitSha, CommitSha, Option<DeployId>)>, JobError> {
    if context.run.kind == RunKind::Rollback {
        let (store, project) = (&context.services.store, context.project_id()?);
        let releases = store.list_releases(project, Environment::Production, 20).await?;
        let Some(live) = releases.into_iter().find(|release| release.current) else { return Ok(None) };
        let good = store.find_good_release(project, Environment::Production, &live.commit).await?;
        return Ok(good.map(|good| (live.commit, good.commit, good.deploy)));
    }
    let bad = &context.run.head;
    if context.run.kind == RunKind::Restore {
        // The change has gone, with every version that it had tried.
        let (store, project) = (&context.services.store, context.project_id()?);
        let good = store.find_release_without(project, Environment::Canary, context.run.change_id).await?;
        return Ok(good.map(|good| (bad.clone(), good.commit, good.deploy)));
    }
    if let Some(previous) = deployed(context).previous.filter(|previous| previous.commit != *bad) {
        return Ok(Some((bad.clone(), previous.commit, previous.deploy)));
    }
    // The same commit was there before already, so what is put back is the last good one before it.
    let good = context.services.store.find_good_release(context.project_id()?, Environment::Canary, bad).await?;
    Ok(good.map(|good| (bad.clone(), good.commit, good.deploy)))
}

fn nothing_to_restore(context: &StepContext<'_>) -> Outcome {
    match context.run.kind {
        RunKind::Rollback => Outcome::failed("no earlier good version is known; a person must restore production"),
        _ => Outcome::failed("nothing was on the canary before, so it stays as it is"),
    }
}

async fn begin(
    context: &StepContext<'_>,
    target: &Target,
    to: &CommitSha,
    deploy: Option<&DeployId>,
    mut progress: RestoreProgress,
) -> Result<Outcome, JobError> {
    let render = &context.services.render;
    if let (Some(service), Some(deploy)) = (service_of(context, target), deploy) {
        if context.run.kind == RunKind::Rollback && !progress.auto_deploy_off {
            // Else the next push to the branch, which still has the bad change, would bring it back by itself.
            match render.disable_auto_deploy(&service).await {
                Ok(()) => {
                    progress.auto_deploy_off = true;
                    context.save(&progress).await?;
                }
                Err(error) => {
                    let why = refused_by_render(error)?;
                    tracing::warn!(%why, "could not turn automatic deploys off");
                }
            }
        }
        match render.rollback(&service, deploy).await {
            Ok(started) => {
                progress.how = BY_ROLLBACK.to_owned();
                return note(context, progress, started.id).await;
            }
            // The artifact is gone: build the commit again.
            Err(RenderError::NotFound(_) | RenderError::Invalid(_) | RenderError::NotConfigured(_)) => {}
            Err(error) => return Ok(Outcome::failed_live(refused_for_good(context, error, progress.intent_at)?)),
        }
    }
    let intent_at = progress.intent_at;
    progress.how = BY_DEPLOY.to_owned();
    match start(context, target, to).await {
        Ok(Some(deploy)) => note(context, progress, deploy).await,
        Ok(None) => {
            context.save(&progress).await?;
            match service_of(context, target) {
                Some(_) => Ok(Outcome::Wait(clock::now() + context.services.pace.poll_min)),
                None => finish(context, to, progress).await,
            }
        }
        Err(error) => Ok(Outcome::failed_live(refused_for_good(context, error, intent_at)?)),
    }
}

async fn note(context: &StepContext<'_>, mut progress: RestoreProgress, deploy: DeployId) -> Result<Outcome, JobError> {
    progress.deploy = Some(deploy);
    context.save(&progress).await?;
    Ok(Outcome::Wait(clock::now() + context.services.pace.poll_min))
}

async fn follow(
    context: &StepContext<'_>,
    service: &ServiceId,
    deploy: &DeployId,
    to: &CommitSha,
    progress: RestoreProgress,
) -> Result<Outcome, JobError> {
    match watch(context, service, deploy, progress.intent_at).await? {
        Watched::Live => finish(context, to, progress).await,
        Watched::NotYet(outcome) => Ok(outcome),
        Watched::Replaced(why) | Watched::Ended(why) => {
            Ok(Outcome::failed_live(format!("`{}` could not be brought back: {why}", to.short())))
        }
    }
}

async fn finish(context: &StepContext<'_>, to: &CommitSha, mut progress: RestoreProgress) -> Result<Outcome, JobError> {
    progress.went_live_at = Some(clock::now());
    context.save(&progress).await?;
    let environment = context.environment()?;
    if context.run.kind != RunKind::Rollback {
        // In a rollback `verify` asks the service before the release counts; the canary has been judged already.
        let (project, deploy) = (context.project_id()?, progress.deploy.as_ref());
        let store = &context.services.store;
        // A version that was withdrawn may have been good, and is no more brought back than one that was bad.
        let was = if context.run.kind == RunKind::Restore { "withdrawn" } else { "bad" };
        store.judge_release(context.lease, project, environment, &context.run.head, was).await?;
        let run = Some(context.run.id);
        store.put_release(context.lease, project, environment, to, deploy, run, "unproven").await?;
    }
    Ok(Outcome::done(format!("`{}` is back on `{environment}` ({})", to.short(), progress.how)))
}
