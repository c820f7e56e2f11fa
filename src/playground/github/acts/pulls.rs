//! Pull requests: opening, editing, reviewing, closing. Merging has a file of its own.

use serde_json::{Value, json};

use super::{Result, SimError};
use crate::playground::github::model::{Happening, Issue, Pull, Review, State};
use crate::playground::github::views::extend;
use crate::playground::github::views::pull::Mergeability;

/// What a pull request is opened with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewPull {
    /// One line.
    pub title: String,
    /// Markdown.
    pub body: Option<String>,
    /// Branch of this repository, or `owner:branch` of a fork.
    pub head: String,
    /// Branch of this repository.
    pub base: String,
    /// Not ready for review.
    pub draft: bool,
}

impl State {
    /// Opens a pull request and returns its number.
    pub fn open_pull(&mut self, full_name: &str, author: &str, new: &NewPull) -> Result<u64> {
        if new.title.trim().is_empty() {
            return Err(SimError::field("PullRequest", "title", "missing_field"));
        }
        let (head_repository, head_ref) = self.find_head(full_name, &new.head)?;
        let source = self.repo(&head_repository)?.git.clone();
        let head_sha = source.branch(&head_ref).ok_or_else(|| SimError::field("PullRequest", "head", "invalid"))?;
        let git = self.repo(full_name)?.git.clone();
        let base_sha = git.branch(&new.base).ok_or_else(|| SimError::field("PullRequest", "base", "invalid"))?;
        let number = self.next_number(full_name)?;
        self.check_only_one(full_name, &head_repository, &head_ref, &new.base)?;
        let head_name = format!("refs/pull/{number}/head");
        if head_repository == full_name {
            git.set_ref(&head_name, &head_sha)?;
        } else {
            git.fetch(&source, &head_sha, &head_name)?;
        }
        if git.compare(&base_sha, &head_sha)?.ahead.is_empty() {
            git.delete_ref(&head_name)?;
            let message = format!("No commits between {} and {head_ref}", new.base);
            return Err(SimError::custom("PullRequest", message));
        }
        let (id, pull_id, now) = (self.new_id(), self.new_id(), crate::clock::now());
        let pull = Pull {
            id: pull_id,
            head_repository,
            head_ref,
            head_sha: head_sha.clone(),
            base_ref: new.base.clone(),
            base_sha,
            draft: new.draft,
            merged: None,
            trial: None,
            reviews: Vec::new(),
        };
        let issue = Issue {
            id,
            number,
            title: new.title.clone(),
            body: new.body.clone(),
            author: author.to_owned(),
            via_app: author == self.app.bot_login(),
            open: true,
            locked: false,
            labels: Vec::new(),
            created_at: now,
            updated_at: now,
            closed_at: None,
            pull: Some(pull),
            timeline: Vec::new(),
        };
        self.repo_mut(full_name)?.issues.insert(number, issue);
        self.note(full_name, number, author, Happening::Opened(head_sha))?;
        self.emit_pull(full_name, number, "opened", author, json!({}))?;
        Ok(number)
    }

    /// There is at most one open pull request from one branch to another.
    fn check_only_one(&self, full_name: &str, head_repository: &str, head_ref: &str, base: &str) -> Result<()> {
        for (_, other) in self.pulls_from(head_repository, head_ref).into_iter().filter(|(name, _)| name == full_name) {
            if self.pull(full_name, other)?.1.base_ref == base {
                let owner = head_repository.split('/').next().unwrap_or_default();
                let message = format!("A pull request already exists for {owner}:{head_ref}.");
                return Err(SimError::custom("PullRequest", message));
            }
        }
        Ok(())
    }

    /// The repository and branch that `branch` or `owner:branch` means, seen from `full_name`.
    pub fn find_head(&self, full_name: &str, head: &str) -> Result<(String, String)> {
        let Some((owner, branch)) = head.split_once(':') else {
            return Ok((self.repo(full_name)?.full_name(), head.to_owned()));
        };
        let related = |name: &String, fork_of: Option<&String>| {
            let same_owner = name.split('/').next().is_some_and(|known| known.eq_ignore_ascii_case(owner));
            same_owner && (name == full_name || fork_of.is_some_and(|parent| parent == full_name))
        };
        let mut all = self.repositories.iter();
        let found = all.find(|(name, repository)| related(name, repository.fork_of.as_ref()));
        match found {
            Some((name, _)) => Ok((name.clone(), branch.to_owned())),
            None => Err(SimError::field("PullRequest", "head", "invalid")),
        }
    }

    /// The pull request's own part, to change it, or a 404. Also notes that it was changed now.
    pub fn pull_mut(&mut self, full_name: &str, number: u64) -> Result<&mut Pull> {
        let issue = self.issue_mut(full_name, number)?;
        issue.pull.as_mut().ok_or_else(|| SimError::NotFound(format!("pull request #{number}")))
    }

    /// The pull request's own part or a 404.
    pub fn pull(&self, full_name: &str, number: u64) -> Result<(&Issue, &Pull)> {
        let (_, issue) = self.issue(full_name, number)?;
        let pull = issue.pull.as_ref().ok_or_else(|| SimError::NotFound(format!("pull request #{number}")))?;
        Ok((issue, pull))
    }

    /// Tells the App about a pull request. GitHub has not computed mergeability at that moment, so it is null.
    pub(super) fn emit_pull(
        &mut self,
        full_name: &str,
        number: u64,
        action: &str,
        sender: &str,
        more: Value,
    ) -> Result<()> {
        let repository = self.repo(full_name)?;
        let (issue, pull) = self.pull(full_name, number)?;
        let mut described = self.view().pull(repository, issue, pull, Mergeability::UNKNOWN)?;
        let settings = self.view().repository(repository);
        for name in ["allow_auto_merge", "allow_update_branch", "delete_branch_on_merge"] {
            described["base"]["repo"][name] = settings[name].clone();
        }
        let mut body = json!({ "number": number, "pull_request": described });
        extend(&mut body, more);
        self.emit(full_name, "pull_request", Some(action), sender, body);
        Ok(())
    }

    /// Changes title, text or base.
    pub fn edit_pull(
        &mut self,
        full_name: &str,
        number: u64,
        by: &str,
        title: Option<&str>,
        body: Option<&str>,
        base: Option<&str>,
    ) -> Result<()> {
        let mut changes = json!({});
        let tip = match base {
            Some(base) => {
                let tip = self.repo(full_name)?.git.branch(base);
                Some(tip.ok_or_else(|| SimError::field("PullRequest", "base", "invalid"))?)
            }
            None => None,
        };
        let issue = self.issue_mut(full_name, number)?;
        if let Some(title) = title.filter(|title| *title != issue.title) {
            changes["title"] = json!({ "from": std::mem::replace(&mut issue.title, title.to_owned()) });
        }
        if let Some(body) = body.filter(|body| Some(*body) != issue.body.as_deref()) {
            changes["body"] = json!({ "from": issue.body.replace(body.to_owned()).unwrap_or_default() });
        }
        let pull = self.pull_mut(full_name, number)?;
        if let Some((base, tip)) = base.zip(tip).filter(|(base, _)| *base != pull.base_ref) {
            let from = std::mem::replace(&mut pull.base_ref, base.to_owned());
            let sha = std::mem::replace(&mut pull.base_sha, tip);
            changes["base"] = json!({ "ref": { "from": from }, "sha": { "from": sha } });
        }
        if changes.as_object().is_some_and(|changes| !changes.is_empty()) {
            self.note(full_name, number, by, Happening::Edited)?;
            self.emit_pull(full_name, number, "edited", by, json!({ "changes": changes }))?;
        }
        Ok(())
    }

    /// Closes or opens an issue or pull request; one that is already so stays as it is.
    pub fn set_open(&mut self, full_name: &str, number: u64, by: &str, open: bool) -> Result<()> {
        let (repository, issue) = self.issue(full_name, number)?;
        if issue.open == open {
            return Ok(());
        }
        if open && let Some(pull) = &issue.pull {
            let source = self.repo(&pull.head_repository)?;
            if pull.merged.is_some() || source.git.branch(&pull.head_ref).is_none() {
                return Err(SimError::custom("PullRequest", "state cannot be changed"));
            }
        }
        let is_pull = issue.pull.is_some();
        let (git, full_name) = (repository.git.clone(), &repository.full_name());
        let issue = self.issue_mut(full_name, number)?;
        issue.open = open;
        issue.closed_at = (!open).then(crate::clock::now);
        if let Some(tip) = issue.pull.as_ref().and_then(|pull| git.branch(&pull.base_ref)).filter(|_| open) {
            self.pull_mut(full_name, number)?.base_sha = tip;
        }
        let (what, action) = if open { (Happening::Reopened, "reopened") } else { (Happening::Closed, "closed") };
        self.note(full_name, number, by, what)?;
        if is_pull {
            self.emit_pull(full_name, number, action, by, json!({}))
        } else {
            self.emit_issue(full_name, number, action, by)
        }
    }

    /// Makes a pull request a draft or marks it ready.
    pub fn set_draft(&mut self, full_name: &str, number: u64, by: &str, draft: bool) -> Result<()> {
        let pull = self.pull_mut(full_name, number)?;
        if std::mem::replace(&mut pull.draft, draft) == draft {
            return Ok(());
        }
        let (what, action) = if draft {
            (Happening::MadeDraft, "converted_to_draft")
        } else {
            (Happening::MadeReady, "ready_for_review")
        };
        self.note(full_name, number, by, what)?;
        self.emit_pull(full_name, number, action, by, json!({}))
    }

    /// Gives a review of the head as it is now. `state`: `APPROVED`, `CHANGES_REQUESTED` or `COMMENTED`.
    pub fn review(&mut self, full_name: &str, number: u64, author: &str, state: &str, body: &str) -> Result<u64> {
        if !["APPROVED", "CHANGES_REQUESTED", "COMMENTED"].contains(&state) {
            return Err(SimError::field("PullRequestReview", "event", "invalid"));
        }
        let own = self.issue(full_name, number)?.1.author == author;
        if own && state == "APPROVED" {
            return Err(SimError::invalid("Can not approve your own pull request"));
        }
        let id = self.new_id();
        let pull = self.pull_mut(full_name, number)?;
        let review = Review {
            id,
            author: author.to_owned(),
            state: state.to_owned(),
            body: body.to_owned(),
            commit: pull.head_sha.clone(),
            submitted_at: crate::clock::now(),
        };
        pull.reviews.push(review.clone());
        self.note(full_name, number, author, Happening::Reviewed(id))?;
        let repository = self.repo(full_name)?;
        let (issue, pull) = self.pull(full_name, number)?;
        let mut described = self.view().review(repository, issue, &review);
        described["state"] = state.to_lowercase().into();
        let body = json!({ "review": described, "pull_request": self.view().pull_simple(repository, issue, pull) });
        self.emit(full_name, "pull_request_review", Some("submitted"), author, body);
        Ok(id)
    }
}
