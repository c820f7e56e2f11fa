//! `diff`: everything that the pinned head changes against the path rules, with a receipt of what was judged.

use super::{JobError, Outcome, StepContext};
use crate::clock;
use crate::domain::command::{Parsed, parse};
use crate::domain::markdown::escape;
use crate::domain::paths::{ChangedFile, Judged, Listed, PathRules, RepoPath, judge_and_write};
use crate::domain::policy::{Diagnostic, POLICY_PATH, Policy};
use crate::domain::progress::{CutOff, DiffProgress};
use crate::domain::replay::{self, Past, PolicyReview};
use crate::domain::snapshot::Snapshot;
use crate::github::reads::{FileList, PullRequest};
use crate::github::{GitHubError, RepoClient};
use crate::worker::files::{self, WholeChange};

/// So many past decisions are decided again under a new policy.
const REPLAYED: i64 = 50;

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
    if let Some(why) = context.retargeted(&pull) {
        return Ok(Outcome::stopped(why));
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
    let judged = judged(context, &pull, &list, &whole);
    let judgement = judge_and_write(&rules, &whole.files, &whole.links, &whole.collisions, &judged);
    let store = &context.services.store;
    store.put_receipt(context.lease, context.run.id, &judgement.sha256, &judgement.receipt).await?;
    let (count, bad) = (whole.files.len(), judgement.offences.len());
    let receipt = Some(judgement.sha256);
    let policy = review(context, &client, &whole.files).await?;
    context.save(&DiffProgress { files: count, offences: judgement.offences, receipt, policy, cut_off: None }).await?;
    let noun = if count == 1 { "file" } else { "files" };
    Ok(match bad {
        0 => Outcome::done(format!("{count} {noun}, none protected")),
        _ => Outcome::failed(format!("{bad} of {count} {noun} may not be touched")),
    })
}

/// The change's own policy file, when it touches it: its mistakes, or what it would have said to past commands.
async fn review(
    context: &StepContext<'_>,
    client: &RepoClient,
    files: &[ChangedFile],
) -> Result<Option<PolicyReview>, JobError> {
    let is_policy = |path: &RepoPath| path.as_bytes() == POLICY_PATH.as_bytes();
    if !files.iter().any(|file| is_policy(&file.path) || file.previous_path.as_ref().is_some_and(is_policy)) {
        return Ok(None);
    }
    let bytes = match client.get_file(POLICY_PATH, &context.run.head).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Some(PolicyReview { removed: true, ..PolicyReview::default() })),
        Err(GitHubError::Invalid(message)) => {
            let diagnostics = vec![Diagnostic { line: 1, column: 1, message, suggestion: None }];
            return Ok(Some(PolicyReview { diagnostics, ..PolicyReview::default() }));
        }
        Err(error) => return Err(error.into()),
    };
    let rows = context.services.store.list_decisions(context.run.repository_id, REPLAYED).await?;
    let past = rows.into_iter().filter_map(|row| {
        let Parsed::Command(command) = parse(&row.text) else { return None };
        let snapshot: Snapshot = serde_json::from_str(&row.facts).ok()?;
        Some(Past { command, snapshot, policy: Policy::parse(&row.policy).ok()?, at: row.created_at })
    });
    Ok(Some(replay::review(&bytes, past.collect())))
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
