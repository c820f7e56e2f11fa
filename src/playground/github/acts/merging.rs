//! Whether a pull request can be merged, and merging it.
//! The joining itself is git's; here stand GitHub's rules about it.

use serde_json::json;

use super::{Result, SimError};
use crate::playground::github::git::{MergeFailure, Signature};
use crate::playground::github::model::{Happening, Issue, Merged, Pull, Repository, Role, State, TrialMerge};
use crate::playground::github::views::pull::Mergeability;

/// How a pull request is to be merged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MergeRequest {
    /// `merge`, `squash` or `rebase`.
    pub method: String,
    /// The head that the caller expects.
    pub expected_head: Option<String>,
    /// First line of the commit.
    pub title: Option<String>,
    /// The rest.
    pub message: Option<String>,
}

impl State {
    /// What GitHub says about merging, after making the trial merge if base or head moved since the last one.
    pub fn mergeability(&mut self, full_name: &str, number: u64) -> Result<Mergeability> {
        if let Some(left) = self.mergeability_unknown.get_mut(&(full_name.to_owned(), number)).filter(|n| **n > 0) {
            *left -= 1;
            return Ok(Mergeability::UNKNOWN);
        }
        let git = self.repo(full_name)?.git.clone();
        let (issue, pull) = self.pull(full_name, number)?;
        if !issue.open {
            return Ok(Mergeability::UNKNOWN);
        }
        let Some(base) = git.branch(&pull.base_ref) else { return Ok(Mergeability::UNKNOWN) };
        let head = pull.head_sha.clone();
        let current = pull.trial.clone().filter(|trial| trial.base == base && trial.head == head);
        let trial = match current {
            Some(trial) => trial,
            None => {
                let who = Signature::github(crate::clock::now());
                let message = format!("Merge {head} into {base}");
                let sha = match git.merge(&base, &head, &who, &who, &message) {
                    Ok(sha) => Some(sha),
                    Err(MergeFailure::Conflict) => None,
                    Err(MergeFailure::Git(error)) => return Err(error.into()),
                };
                if let Some(sha) = &sha {
                    git.set_ref(&format!("refs/pull/{number}/merge"), sha)?;
                }
                let trial = TrialMerge { base, head, sha };
                let updated_at = self.issue(full_name, number)?.1.updated_at;
                self.pull_mut(full_name, number)?.trial = Some(trial.clone());
                // Looking is not a change that people see.
                self.issue_mut(full_name, number)?.updated_at = updated_at;
                trial
            }
        };
        let mergeable = trial.sha.is_some();
        let repository = self.repo(full_name)?;
        let (_, pull) = self.pull(full_name, number)?;
        let state = match mergeable {
            false => "dirty",
            true if pull.draft => "draft",
            true => self.standing(repository, pull, &trial),
        };
        Ok(Mergeability { mergeable: Some(mergeable), state })
    }

    fn standing(&self, repository: &Repository, pull: &Pull, trial: &TrialMerge) -> &'static str {
        if self.missing(repository, pull).is_some() {
            return "blocked";
        }
        let rules = repository.protections.get(&pull.base_ref);
        if rules.is_some_and(|rules| rules.up_to_date) && !repository.git.is_ancestor(&trial.base, &trial.head) {
            return "behind";
        }
        let contexts = repository.contexts(&pull.head_sha);
        if contexts.values().all(|state| *state == "success") { "clean" } else { "unstable" }
    }

    /// What the protection of the base branch still asks for, in GitHub's words.
    fn missing(&self, repository: &Repository, pull: &Pull) -> Option<String> {
        let rules = repository.protections.get(&pull.base_ref)?;
        let mut latest = std::collections::BTreeMap::new();
        for review in pull.reviews.iter().filter(|review| review.state != "COMMENTED") {
            if self.role(repository, &review.author) >= Role::Write {
                latest.insert(review.author.as_str(), review.state.as_str());
            }
        }
        if latest.values().any(|state| *state == "CHANGES_REQUESTED") {
            return Some("Changes have been requested.".into());
        }
        let approvals = u32::try_from(latest.values().filter(|state| **state == "APPROVED").count()).unwrap_or(0);
        if approvals < rules.approvals {
            let count = rules.approvals;
            let plural = if count == 1 { "review is" } else { "reviews are" };
            return Some(format!("At least {count} approving {plural} required by reviewers with write access."));
        }
        let contexts = repository.contexts(&pull.head_sha);
        let open: Vec<&String> =
            rules.required_checks.iter().filter(|name| contexts.get(*name) != Some(&"success")).collect();
        match open.as_slice() {
            [] => None,
            [name] => Some(match contexts.get(*name) {
                None => format!("Required status check \"{name}\" is expected."),
                Some(&"pending") => format!("Required status check \"{name}\" is pending."),
                Some(_) => format!("Required status check \"{name}\" is failing."),
            }),
            several => Some(format!(
                "{} of {} required status checks have not succeeded.",
                several.len(),
                rules.required_checks.len()
            )),
        }
    }

    /// Merges a pull request and returns the commit that the base branch then points to.
    ///
    /// # Errors
    /// 409 when the head is not the expected one or the base moved; 405 when it cannot or may not be merged.
    pub fn merge_pull(&mut self, full_name: &str, number: u64, by: &str, request: &MergeRequest) -> Result<String> {
        let not_mergeable = || SimError::NotMergeable("Pull Request is not mergeable".into());
        let (repository, issue) = self.issue(full_name, number)?;
        let full_name = &repository.full_name();
        let pull = issue.pull.as_ref().ok_or_else(|| SimError::NotFound(format!("pull request #{number}")))?;
        if !issue.open {
            return Err(not_mergeable());
        }
        if request.expected_head.as_ref().is_some_and(|expected| *expected != pull.head_sha) {
            return Err(SimError::Conflict("Head branch was modified. Review and try the merge again.".into()));
        }
        if pull.draft {
            return Err(SimError::NotMergeable("Pull Request is still a draft".into()));
        }
        if !repository.merge_methods.contains(&request.method) {
            let method = match request.method.as_str() {
                "squash" => "Squash merges are",
                "rebase" => "Rebase merges are",
                _ => "Merge commits are",
            };
            return Err(SimError::NotMergeable(format!("{method} not allowed on this repository.")));
        }
        if let Some(missing) = self.missing(repository, pull) {
            return Err(SimError::NotMergeable(missing));
        }
        let base = repository.git.branch(&pull.base_ref).ok_or_else(not_mergeable)?;
        let rules = repository.protections.get(&pull.base_ref);
        if rules.is_some_and(|rules| rules.up_to_date) && !repository.git.is_ancestor(&base, &pull.head_sha) {
            return Err(SimError::NotMergeable("Head branch is out of date with the base branch.".into()));
        }
        let sha = self.merged_commit(repository, issue, pull, &base, by, request).map_err(|failure| match failure {
            MergeFailure::Conflict => not_mergeable(),
            MergeFailure::Git(error) => error.into(),
        })?;
        let base_ref = pull.base_ref.clone();
        let merged = Merged { sha: sha.clone(), by: by.to_owned(), at: crate::clock::now() };
        self.mark_merged(full_name, number, merged)?;
        self.move_branch(full_name, &base_ref, &sha, by, false)?;
        Ok(sha)
    }

    fn merged_commit(
        &self,
        repository: &Repository,
        issue: &Issue,
        pull: &Pull,
        base: &str,
        by: &str,
        request: &MergeRequest,
    ) -> std::result::Result<String, MergeFailure> {
        let now = crate::clock::now();
        let (git, head, number) = (&repository.git, &pull.head_sha, issue.number);
        let github = Signature::github(now);
        let signature = |login: &str| self.account(login).map_or_else(|| github.clone(), |a| a.signature(now));
        let message = |title: String, text: String| {
            let title = request.title.clone().unwrap_or(title);
            let text = request.message.clone().unwrap_or(text);
            if text.is_empty() { title } else { format!("{title}\n\n{text}") }
        };
        match request.method.as_str() {
            "squash" => {
                let commits = git.commits(&git.compare(base, head)?.ahead)?;
                let message = match commits.as_slice() {
                    [only] => {
                        let (first, rest) = only.message.split_once('\n').unwrap_or((&only.message, ""));
                        message(format!("{first} (#{number})"), rest.trim().to_owned())
                    }
                    several => {
                        let list: Vec<String> = several.iter().map(|commit| format!("* {}", commit.message)).collect();
                        message(format!("{} (#{number})", issue.title), list.join("\n\n"))
                    }
                };
                git.squash(base, head, &signature(&issue.author), &github, &message)
            }
            "rebase" => git.rebase(base, head, &signature(by)),
            _ => {
                let owner = pull.head_repository.split('/').next().unwrap_or_default();
                let title = format!("Merge pull request #{number} from {owner}/{}", pull.head_ref);
                git.merge(base, head, &signature(by), &github, &message(title, issue.title.clone()))
            }
        }
    }

    pub(super) fn mark_merged(&mut self, full_name: &str, number: u64, merged: Merged) -> Result<()> {
        let issue = self.issue_mut(full_name, number)?;
        issue.open = false;
        issue.closed_at = Some(merged.at);
        let (by, sha) = (merged.by.clone(), merged.sha.clone());
        self.pull_mut(full_name, number)?.merged = Some(merged);
        self.note(full_name, number, &by, Happening::Merged(sha))?;
        self.emit_pull(full_name, number, "closed", &by, json!({}))
    }

    /// Merges the base branch into the head branch.
    pub fn update_branch(&mut self, full_name: &str, number: u64, by: &str, expected: Option<&str>) -> Result<()> {
        let (_, pull) = self.pull(full_name, number)?;
        let (head, base_ref) = (pull.head_sha.clone(), pull.base_ref.clone());
        let (head_repository, head_ref) = (pull.head_repository.clone(), pull.head_ref.clone());
        if expected.is_some_and(|expected| expected != head) {
            return Err(SimError::invalid("expected head sha didn’t match current head ref."));
        }
        let base = self.repo(full_name)?.git.branch(&base_ref).ok_or_else(|| SimError::invalid("no base branch"))?;
        let source = self.repo(full_name)?.git.clone();
        let git = self.repo(&head_repository)?.git.clone();
        if source.is_ancestor(&base, &head) {
            return Err(SimError::invalid("There are no new commits on the base branch."));
        }
        if head_repository != full_name {
            git.fetch(&source, &base, &format!("refs/titan-playground/{base}"))?;
        }
        let now = crate::clock::now();
        let author = self.account(by).map_or_else(|| Signature::github(now), |account| account.signature(now));
        let message = format!("Merge branch '{base_ref}' into {head_ref}");
        let merged = git.merge(&head, &base, &author, &Signature::github(now), &message).map_err(|f| match f {
            MergeFailure::Conflict => SimError::invalid("merge conflict between base and head"),
            MergeFailure::Git(error) => error.into(),
        })?;
        self.move_branch(&head_repository, &head_ref, &merged, by, false)
    }
}
