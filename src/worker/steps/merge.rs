//! `merge`: the pull request merged with the head guard, and the result compared with the tree that was judged.

use super::{JobError, Outcome, StepContext, still_in_doubt};
use crate::clock;
use crate::domain::ids::CommitSha;
use crate::domain::markdown::escape;
use crate::domain::progress::MergeProgress;
use crate::github::RepoClient;
use crate::github::git_data::MergeOutcome;
use crate::github::reads::PullRequest;

pub(super) async fn merge(context: &StepContext<'_>) -> Result<Outcome, JobError> {
    let client = context.github();
    let mut progress: MergeProgress = context.progress();
    let head = &context.run.head;
    let pull = client.get_pull_request(context.run.number).await?;
    let merged = match (&progress.merge_commit, pull.merged) {
        (Some(known), _) => known.clone(),
        (None, true) if pull.head == *head => commit_of(&pull)?,
        (None, true) => {
            return Ok(Outcome::failed(format!("it was merged at `{}` by somebody else", pull.head.short())));
        }
        (None, false) => {
            if progress.intent_at.is_some()
                && let Some(until) = still_in_doubt(&mut progress.missed_at, context.services.pace.doubt)
            {
                context.save(&progress).await?;
                return Ok(Outcome::Wait(until));
            }
            match attempt(context, &client, &mut progress, &pull).await? {
                Attempt::Merged(commit) => commit,
                Attempt::Ended(outcome) if progress.intent_at.is_none() => return Ok(outcome),
                // What stands in the way may be the merge itself, by a call whose answer never came.
                Attempt::Ended(outcome) => {
                    let now = client.get_pull_request(context.run.number).await?;
                    if !now.merged || now.head != *head {
                        return Ok(outcome);
                    }
                    commit_of(&now)?
                }
            }
        }
    };
    same_tree(context, &client, progress, merged).await
}

/// What came of trying to merge.
enum Attempt {
    Merged(CommitSha),
    Ended(Outcome),
}

async fn attempt(
    context: &StepContext<'_>,
    client: &RepoClient,
    progress: &mut MergeProgress,
    pull: &PullRequest,
) -> Result<Attempt, JobError> {
    let stopped = |why| Ok(Attempt::Ended(Outcome::stopped(why)));
    let head = &context.run.head;
    if let Some(why) = context.forbidden_at_head().await? {
        return stopped(why);
    }
    let behind = client.compare(&pull.base_ref, head.as_str()).await?.behind_by;
    if behind > 0 {
        let base = crate::domain::markdown::inline_code(&pull.base_ref);
        return stopped(format!("{base} got {behind} commits that were not on the canary"));
    }
    progress.intent_at = Some(clock::now());
    if let Some(why) = context.announce(progress, "merging").await? {
        return stopped(why);
    }
    let method = context.policy().await?.merge;
    match client.merge(context.run.number, head, method, None).await? {
        MergeOutcome::Merged(commit) => Ok(Attempt::Merged(commit)),
        MergeOutcome::HeadMoved => {
            let head_now = client.get_pull_request(context.run.number).await?.head;
            if head_now == *head {
                return Err(JobError::Refused("GitHub says that the head moved, and shows the same one".to_owned()));
            }
            stopped(super::moved(head, &head_now))
        }
        // Its own word for something that passes.
        MergeOutcome::NotMergeable(why) if why.contains("Base branch was modified") => Err(JobError::Refused(why)),
        MergeOutcome::NotMergeable(why) => {
            Ok(Attempt::Ended(Outcome::failed(format!("GitHub refused the merge: {}", escape(&why)))))
        }
    }
}

fn commit_of(pull: &PullRequest) -> Result<CommitSha, JobError> {
    let later = || JobError::Later { at: None, why: "GitHub does not name the merge commit yet".to_owned() };
    pull.merge_commit.clone().ok_or_else(later)
}

/// What was judged must be, tree for tree, what is shipped.
async fn same_tree(
    context: &StepContext<'_>,
    client: &RepoClient,
    mut progress: MergeProgress,
    merged: CommitSha,
) -> Result<Outcome, JobError> {
    progress.merge_commit = Some(merged.clone());
    context.save(&progress).await?;
    // The base may have been changed in the instant before the merge; a merged pull request keeps the one it went into.
    if let Some(why) = context.retargeted(&client.get_pull_request(context.run.number).await?) {
        let seen = format!("merged as `{}`, but {why}", merged.short());
        return Ok(Outcome::End(crate::domain::consequence::StepEnd::Inconclusive, seen));
    }
    let judged = client.get_commit_tree(&context.run.head).await?;
    let shipped = client.get_commit_tree(&merged).await?;
    if judged.tree != shipped.tree {
        return Ok(Outcome::End(
            crate::domain::consequence::StepEnd::Inconclusive,
            format!(
                "merged as `{}`, but its tree is not the one that was on the canary, so it is not deployed; propose and \
                 canary the base branch's state in a new pull request",
                merged.short()
            ),
        ));
    }
    progress.tree = Some(shipped.tree.to_string());
    context.save(&progress).await?;
    Ok(Outcome::done(format!("merged as `{}`", merged.short())))
}
