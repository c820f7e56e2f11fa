//! `merge`: the pull request merged with the head guard, and the result compared with the tree that was judged.

use super::{JobError, Outcome, StepContext};
use crate::clock;
use crate::domain::ids::CommitSha;
use crate::domain::markdown::escape;
use crate::domain::progress::MergeProgress;
use crate::github::RepoClient;
use crate::github::git_data::MergeOutcome;

pub(super) async fn merge(context: &StepContext<'_>) -> Result<Outcome, JobError> {
    let client = context.github();
    let mut progress: MergeProgress = context.progress();
    let head = &context.run.head;
    let pull = client.get_pull_request(context.run.number).await?;
    let merged = match (&progress.merge_commit, pull.merged) {
        (Some(known), _) => known.clone(),
        (None, true) if pull.head == *head => pull
            .merge_commit
            .ok_or_else(|| JobError::Later { at: None, why: "GitHub does not name the merge commit yet".to_owned() })?,
        (None, true) => {
            return Ok(Outcome::failed(format!("it was merged at `{}` by somebody else", pull.head.short())));
        }
        (None, false) => {
            if let Some(why) = context.forbidden_at_head().await? {
                return Ok(Outcome::stopped(why));
            }
            let behind = client.compare(&pull.base_ref, head.as_str()).await?.behind_by;
            if behind > 0 {
                let base = crate::domain::markdown::inline_code(&pull.base_ref);
                return Ok(Outcome::stopped(format!("{base} got {behind} commits that were not on the canary")));
            }
            progress.intent_at = Some(clock::now());
            if let Some(why) = context.announce(&progress, "merging").await? {
                return Ok(Outcome::stopped(why));
            }
            let method = context.policy().await?.merge;
            match client.merge(context.run.number, head, method, None).await? {
                MergeOutcome::Merged(commit) => commit,
                MergeOutcome::HeadMoved => {
                    let head_now = client.get_pull_request(context.run.number).await?.head;
                    return Ok(Outcome::stopped(super::moved(head, &head_now)));
                }
                MergeOutcome::NotMergeable(why) => {
                    return Ok(Outcome::failed(format!("GitHub refused the merge: {}", escape(&why))));
                }
            }
        }
    };
    same_tree(context, &client, progress, merged).await
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
