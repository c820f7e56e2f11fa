//! `diff`: the changed files of the pinned head against the path rules.

use super::{JobError, Outcome, StepContext};
use crate::domain::paths::PathRules;
use crate::domain::progress::{CutOff, DiffProgress};
use crate::domain::snapshot::FilesFact;
use crate::github::RepoClient;
use crate::github::reads::PullRequest;
use crate::worker::facts;

pub(super) async fn diff(context: &StepContext<'_>) -> Result<Outcome, JobError> {
    let client = context.github();
    let policy = context.policy().await?;
    let rules =
        PathRules::new(&policy.paths).map_err(|_| JobError::Never("a path pattern cannot be used".to_owned()))?;
    let pull = client.get_pull_request(context.run.number).await?;
    let list = client.list_files(context.run.number).await?;
    // GitHub lists the files of the head it has now; the list is this run's only if that head is this run's.
    let after = client.get_pull_request(context.run.number).await?;
    if pull.head != context.run.head || after.head != context.run.head {
        let (from, to) = (context.run.head.short(), after.head.short());
        return Ok(Outcome::stopped(format!("the head moved from `{from}` to `{to}` before the files were judged")));
    }
    match facts::files(list, pull.changed_files) {
        FilesFact::CutOff { listed, expected } => {
            let cut_off = Some(CutOff { listed, expected });
            context.save(&DiffProgress { files: listed, cut_off, ..DiffProgress::default() }).await?;
            let of = expected.map_or_else(String::new, |n| format!(" of {n}"));
            Ok(Outcome::failed(format!("GitHub listed only {listed}{of} changed files, so the rest cannot be judged")))
        }
        FilesFact::Complete(files) if files.is_empty() && !same_tree(&client, &pull).await? => {
            context.save(&DiffProgress { cut_off: Some(CutOff::default()), ..DiffProgress::default() }).await?;
            Ok(Outcome::failed("GitHub listed no changed files although the commits differ, so they cannot be judged"))
        }
        FilesFact::Complete(files) => {
            let offences = rules.judge(&files);
            let (count, bad) = (files.len(), offences.len());
            context.save(&DiffProgress { files: count, offences, cut_off: None }).await?;
            let noun = if count == 1 { "file" } else { "files" };
            Ok(match bad {
                0 => Outcome::done(format!("{count} {noun}, none protected")),
                _ => Outcome::failed(format!("{bad} of {count} {noun} may not be touched")),
            })
        }
    }
}

/// Whether a change without files really changes nothing: its head has the tree of the commit where it left the base.
async fn same_tree(client: &RepoClient, pull: &PullRequest) -> Result<bool, JobError> {
    let left_at = client.compare(&pull.base_ref, pull.head.as_str()).await?.merge_base;
    let (before, after) = tokio::try_join!(client.get_commit_tree(&left_at), client.get_commit_tree(&pull.head))?;
    Ok(before.tree == after.tree)
}
