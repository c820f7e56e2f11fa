//! A repository with everything that hangs on it. Answers questions about itself; changes are made in `acts`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{CheckRun, Comment, CommitStatus, Deployment, Issue, Pull, Role};
use crate::playground::github::git::Git;

/// A label of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Its id.
    pub id: u64,
    /// Unique in the repository whatever the case.
    pub name: String,
    /// Six hex digits without `#`.
    pub color: String,
    /// For people.
    pub description: Option<String>,
}

/// What a branch asks for before something is merged into it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Protection {
    /// Names of check runs or status contexts that must have succeeded on the head.
    pub required_checks: Vec<String>,
    /// Approving reviews by people who may write.
    pub approvals: u32,
    /// Whether the head must contain the base's tip.
    pub up_to_date: bool,
}

/// A repository.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Its id.
    pub id: u64,
    /// Login of the owning account.
    pub owner: String,
    /// The part after the slash.
    pub name: String,
    /// Invisible to those without a role.
    pub private: bool,
    /// `main`, usually.
    pub default_branch: String,
    /// Full name of the repository it was forked from.
    pub fork_of: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// `merge`, `squash`, `rebase`: how pull requests may be merged.
    pub merge_methods: Vec<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When a branch last moved.
    pub pushed_at: DateTime<Utc>,
    /// By login.
    pub collaborators: BTreeMap<String, Role>,
    /// Names of custom roles by login; such a role is built on the one in `collaborators`.
    pub custom_roles: BTreeMap<String, String>,
    /// Read-only by an admin's will.
    pub archived: bool,
    /// By branch.
    pub protections: BTreeMap<String, Protection>,
    /// In the order they were made.
    pub labels: Vec<Label>,
    /// Issues and pull requests by number.
    pub issues: BTreeMap<u64, Issue>,
    /// Comments of all issues, oldest first.
    pub comments: Vec<Comment>,
    /// Check runs of all commits, oldest first.
    pub check_runs: Vec<CheckRun>,
    /// Ids of the check suites by the App's slug and the commit.
    pub suites: BTreeMap<(String, String), u64>,
    /// Commit statuses, oldest first.
    pub statuses: Vec<CommitStatus>,
    /// Oldest first.
    pub deployments: Vec<Deployment>,
    /// The objects.
    pub git: Git,
}

impl Repository {
    /// `owner/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// A pull request with its issue part.
    pub fn pull(&self, number: u64) -> Option<(&Issue, &Pull)> {
        let issue = self.issues.get(&number)?;
        Some((issue, issue.pull.as_ref()?))
    }

    /// Numbers of the open pull requests, lowest first.
    pub fn open_pulls(&self) -> Vec<u64> {
        self.issues.values().filter(|issue| issue.pull.is_some() && issue.open).map(|issue| issue.number).collect()
    }

    /// Comments of one issue, oldest first.
    pub fn comments_of(&self, number: u64) -> impl Iterator<Item = &Comment> {
        self.comments.iter().filter(move |comment| comment.issue == number)
    }

    /// A label by its name, upper and lower case alike.
    pub fn label(&self, name: &str) -> Option<&Label> {
        self.labels.iter().find(|label| label.name.eq_ignore_ascii_case(name))
    }

    /// Where a commit stands by name: of each check run or status context the newest result.
    /// `success`, `pending` or `failure`; neutral and skipped check runs count as success, as GitHub counts them.
    pub fn contexts(&self, sha: &str) -> BTreeMap<String, &'static str> {
        let mut found = BTreeMap::new();
        for status in self.statuses.iter().filter(|status| status.sha == sha) {
            let state = match status.state.as_str() {
                "success" => "success",
                "pending" => "pending",
                _ => "failure",
            };
            found.insert(status.context.clone(), state);
        }
        for run in self.check_runs.iter().filter(|run| run.head_sha == sha) {
            let state = match run.conclusion.as_deref() {
                Some("success" | "neutral" | "skipped") => "success",
                Some(_) => "failure",
                None => "pending",
            };
            found.insert(run.name.clone(), state);
        }
        found
    }
}
