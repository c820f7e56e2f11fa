//! `bake`: the new version watched for the policy's time, one probe a taking-up, and judged.

use super::{JobError, Outcome, StepContext};
use crate::clock;
use crate::domain::consequence::StepEnd;
use crate::domain::ids::CommitSha;
use crate::domain::progress::BakeProgress;
use crate::domain::verdict::{self, BakeSample, Judgement, SampleIdentity, Verdict};
use crate::probe::{IdentityAnswer, Observation};

pub(super) async fn bake(context: &StepContext<'_>) -> Result<Outcome, JobError> {
    let project = context.project().await?;
    let target = context.target().await?;
    let commit = context.expected_commit()?;
    let interval = verdict::probe_interval(project.bake);
    let mut progress: BakeProgress = context.progress();
    let until = match progress.until {
        Some(until) => until,
        None => {
            let now = clock::now();
            let until = now + project.bake;
            progress.started_at = Some(now);
            progress.until = Some(until);
            progress.expected = (project.bake.as_millis() / interval.as_millis().max(1)) as usize;
            context.save_and_show(&progress, "watching the new version").await?;
            until
        }
    };
    if let Some(why) = context.forbidden().await? {
        return Ok(Outcome::stopped(why));
    }
    if let Some(judgement) = progress.judgement.clone() {
        return settle(context, &commit, judgement).await;
    }
    let began = clock::now();
    let observation = context.services.prober.observe(&target).await;
    let sample = sample(observation, &commit);
    context.services.store.add_sample(context.lease, context.run.id, &sample).await?;
    let store = &context.services.store;
    let newest = store.list_newest_samples(context.run.id, verdict::FAILURES_IN_A_ROW as i64).await?;
    let hopeless = verdict::fail_fast(&newest).is_some();
    if !hopeless && clock::now() < until {
        return Ok(Outcome::Wait((began + interval).min(until)));
    }
    let samples = store.list_samples(context.run.id).await?;
    if !hopeless && !verdict::are_enough(samples.len(), progress.expected) {
        // Every look is a sample, a failed one too, so these are missing because Titan was away. It makes up for it.
        return Ok(Outcome::Wait(began + interval));
    }
    let judgement = verdict::judge(&samples, progress.expected);
    progress.judgement = Some(judgement.clone());
    context.save(&progress).await?;
    settle(context, &commit, judgement).await
}

fn sample(observation: Observation, commit: &CommitSha) -> BakeSample {
    let identity = match &observation.identity {
        Some(answer) if answer.names(commit) => SampleIdentity::Expected,
        Some(IdentityAnswer::Commit(_)) => SampleIdentity::Other,
        _ => SampleIdentity::Unknown,
    };
    let probe = observation.sample;
    BakeSample { healthy: probe.ok, latency_ms: probe.latency_ms.filter(|_| probe.ok), identity, error: probe.error }
}

async fn settle(context: &StepContext<'_>, commit: &CommitSha, judgement: Judgement) -> Result<Outcome, JobError> {
    let (project, environment) = (context.project_id()?, context.environment()?);
    let store = &context.services.store;
    let why = crate::domain::markdown::escape(&judgement.why);
    Ok(match judgement.verdict {
        Verdict::Pass => {
            store.judge_release(context.lease, project, environment, commit, "good").await?;
            Outcome::done(why)
        }
        Verdict::Fail => {
            store.judge_release(context.lease, project, environment, commit, "bad").await?;
            Outcome::failed_live(why)
        }
        Verdict::Inconclusive => Outcome::End(StepEnd::Inconclusive, format!("{why}; a person must decide")),
    })
}
