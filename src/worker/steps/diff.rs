//! `diff`: everything that the pinned head changes against the path rules, with a receipt of what was judged.

use super::{JobError, Outcome, StepContext};
use crate::clock;
use crate::domain::markdown::escape;
use crate::domain::paths::{Judged, Listed, PathRules, judge_and_write};
use crate::domain::progress::{CutOff, DiffProgress};
use crate::github::reads::{FileList, PullRequest};
use crate::worker::files::{self, WholeChange};

pub(super) async fn diff(context: &StepContext<'_>) -> Result<Outcome, JobError> {
    let client = context.github();
    let policy = context.policy().await?;
    let rules =
        PathRules::new(&policy.paths).map_err(|_| JobError::Never("a path pattern cannot be used".to_owned()))?;
    let (pull, list) = files::list(&client, context.run.number).await?;
    if pull.head != context.run.head {
        let (from, to) = (context.run.head.short(), pull.head.short());
        return Ok(Outcome::stopped(format!("the head moved from `{from}` to `{to}` before the files were judged")));
    }
    let whole = match files::whole(context.services, &client, &pull, &list).await? {
        Ok(whole) => whole,
        Err(why) => {
            let cut_off = Some(CutOff { listed: list.files.len(), expected: pull.changed_files });
            context.save(&DiffProgress { files: list.files.len(), cut_off, ..DiffProgress::default() }).await?;
            let why = escape(&why);
            return Ok(Outcome::failed(format!(
                "the changed files cannot be read from git, so they cannot be judged: {why}"
            )));
        }
    };
    let judgement = judge_and_write(&rules, &whole.files, &whole.links, &judged(context, &pull, &list, &whole));
    let store = &context.services.store;
    store.put_receipt(context.lease, context.run.id, &judgement.sha256, &judgement.receipt).await?;
    let (count, bad) = (whole.files.len(), judgement.offences.len());
    let receipt = Some(judgement.sha256);
    context.save(&DiffProgress { files: count, offences: judgement.offences, receipt, cut_off: None }).await?;
    let noun = if count == 1 { "file" } else { "files" };
    Ok(match bad {
        0 => Outcome::done(format!("{count} {noun}, none protected")),
        _ => Outcome::failed(format!("{bad} of {count} {noun} may not be touched")),
    })
}

/// What the receipt says beside the files.
fn judged(context: &StepContext<'_>, pull: &PullRequest, list: &FileList, whole: &WholeChange) -> Judged {
    Judged {
        run: context.run.id,
        repository: context.run.repo.clone(),
        pull_request: context.run.number,
        policy: context.run.policy_hash.clone().unwrap_or_default(),
        base_branch: pull.base_ref.clone(),
        base: whole.base.clone(),
        merge_base: whole.merge_base.clone(),
        head: pull.head.clone(),
        github: Listed {
            counted: pull.changed_files,
            listed: list.files.len(),
            complete: list.complete,
            agrees_with_git: whole.agrees,
        },
        judged_at: clock::now(),
    }
}
