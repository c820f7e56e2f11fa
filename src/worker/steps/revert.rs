//! `revert`: a pull request that takes the change out of the base branch again, with Titan's label.

use super::{JobError, Outcome, StepContext};
use crate::domain::ids::{CommitSha, PrNumber};
use crate::domain::markdown::{escape, inert};
use crate::domain::policy::MergeMethod;
use crate::domain::progress::{RestoreProgress, RevertProgress};
use crate::domain::run::StepName;
use crate::github::reads::PullRequest;
use crate::github::{GitHubError, RepoClient};
use crate::worker::intake::LABEL;

pub(super) async fn revert(context: &StepContext<'_>) -> Result<Outcome, JobError> {
    let client = context.github();
    let mut progress: RevertProgress = context.progress();
    let restored: RestoreProgress = context.progress_of(StepName::Restore);
    let pull = client.get_pull_request(context.run.number).await?;
    let bad =
        restored.from.or(pull.merge_commit.clone()).ok_or_else(|| JobError::Never("no merge commit".to_owned()))?;
    let branch = branch(context);
    progress.branch = Some(branch.clone());
    context.save(&progress).await?;
    let at = match client.find_branch(&branch).await? {
        Some(at) => at,
        None => match make_branch(&client, context.policy().await?.merge, &branch, &bad, &pull).await {
            Ok(at) => at,
            Err(GitHubError::Conflict(why) | GitHubError::Invalid(why)) => {
                return Ok(Outcome::failed(format!(
                    "production is restored, but the revert could not be made: {}; revert {} by hand",
                    escape(&why),
                    context.run.number
                )));
            }
            Err(error) => return Err(error.into()),
        },
    };
    progress.commit = Some(at);
    context.save(&progress).await?;
    let number = match client.find_pull_request_by_head(&branch).await? {
        Some(number) => number,
        None => open(context, &client, &branch, &pull, &bad).await?,
    };
    progress.pull_request = Some(number);
    context.save(&progress).await?;
    client.add_label(number, LABEL).await?;
    Ok(Outcome::done(format!(
        "{number} takes the change out of {} again",
        crate::domain::markdown::inline_code(&pull.base_ref)
    )))
}

/// The same for every taking-up of one run.
fn branch(context: &StepContext<'_>) -> String {
    let run = context.run.id.0.simple().to_string();
    format!("titan/revert-{}-{}", context.run.number.0, &run[run.len() - 8..])
}

async fn make_branch(
    client: &RepoClient,
    method: MergeMethod,
    branch: &str,
    bad: &CommitSha,
    pull: &PullRequest,
) -> Result<CommitSha, GitHubError> {
    let message =
        format!("Revert \"{}\"\n\nThis reverts commit {bad}, which was rolled back on production.", inert(&pull.title));
    let commit = match method {
        MergeMethod::Merge | MergeMethod::Squash => client.create_revert_commit(bad, &pull.base_ref, &message).await?,
        // The merge commit is only the last of several; together they go back to where the head left the base.
        MergeMethod::Rebase => {
            let before = client.compare(bad.as_str(), pull.head.as_str()).await?.merge_base;
            client.create_restore_commit(&before, bad, &pull.base_ref, &message).await?
        }
    };
    match client.create_branch(branch, &commit).await {
        Ok(()) => Ok(commit),
        // It may be there by an earlier call that took its time.
        Err(error @ (GitHubError::Conflict(_) | GitHubError::Invalid(_))) => {
            client.find_branch(branch).await?.ok_or(error)
        }
        Err(error) => Err(error),
    }
}

async fn open(
    context: &StepContext<'_>,
    client: &RepoClient,
    branch: &str,
    pull: &PullRequest,
    bad: &CommitSha,
) -> Result<PrNumber, JobError> {
    let title: String = format!("Revert \"{}\"", inert(&pull.title)).chars().take(250).collect();
    let body = format!(
        "Production was rolled back from {bad}, which {} brought. This takes the change out of the branch again, so that \
         the next deploy does not bring it back.\n\n[The rollback]({}runs/{})",
        context.run.number,
        with_slash(&context.services.public_url),
        context.run.id,
    );
    Ok(client.create_pull_request(branch, &pull.base_ref, &title, &body).await?)
}

fn with_slash(url: &url::Url) -> String {
    format!("{}/", url.as_str().trim_end_matches('/'))
}
