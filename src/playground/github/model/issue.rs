//! Issues, pull requests, and what people and bots say and do on them. Facts only; changes are made in `acts`.

use chrono::{DateTime, Utc};

/// An issue; with `pull` it is a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Its id as an issue; the pull request has one of its own.
    pub id: u64,
    /// Unique in the repository, shared by issues and pull requests.
    pub number: u64,
    /// One line.
    pub title: String,
    /// Markdown.
    pub body: Option<String>,
    /// Login.
    pub author: String,
    /// Whether an App made it.
    pub via_app: bool,
    /// Neither closed nor merged.
    pub open: bool,
    /// Whether only people who may push can comment.
    pub locked: bool,
    /// Names, in the order they were set.
    pub labels: Vec<String>,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
    /// When anything about it last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was closed or merged.
    pub closed_at: Option<DateTime<Utc>>,
    /// The pull request's own part.
    pub pull: Option<Pull>,
    /// What happened, oldest first.
    pub timeline: Vec<TimelineEvent>,
}

/// What a pull request has beyond an issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Its id as a pull request.
    pub id: u64,
    /// Full name of the repository that the head branch is in; a fork's for changes from outside.
    pub head_repository: String,
    /// Branch.
    pub head_ref: String,
    /// The commit that is proposed now.
    pub head_sha: String,
    /// Branch it is to be merged into.
    pub base_ref: String,
    /// That branch's tip when the head last moved, as GitHub reports it: it may lag behind the branch.
    pub base_sha: String,
    /// Not ready for review.
    pub draft: bool,
    /// Set once merged.
    pub merged: Option<Merged>,
    /// The last trial merge.
    pub trial: Option<TrialMerge>,
    /// Oldest first.
    pub reviews: Vec<Review>,
}

impl Pull {
    /// Of a merged pull request the commit on the base branch; of an open one the trial merge, when there is one.
    pub fn merge_commit(&self) -> Option<&str> {
        match (&self.merged, &self.trial) {
            (Some(merged), _) => Some(&merged.sha),
            (None, Some(trial)) => trial.sha.as_deref(),
            (None, None) => None,
        }
    }
}

/// What came out when GitHub tried to merge, to be able to say whether it can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialMerge {
    /// The base branch's tip.
    pub base: String,
    /// The head.
    pub head: String,
    /// The merge commit at `refs/pull/N/merge`; `None` when the two conflict.
    pub sha: Option<String>,
}

/// How a pull request was merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The commit on the base branch.
    pub sha: String,
    /// Login.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// A review of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Its id.
    pub id: u64,
    /// Login.
    pub author: String,
    /// `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED` or `DISMISSED`.
    pub state: String,
    /// Markdown; may be empty.
    pub body: String,
    /// The head when it was given.
    pub commit: String,
    /// When.
    pub submitted_at: DateTime<Utc>,
}

/// A comment on an issue or pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Its id.
    pub id: u64,
    /// Number of the issue.
    pub issue: u64,
    /// Login.
    pub author: String,
    /// Whether an App wrote it.
    pub via_app: bool,
    /// Markdown.
    pub body: String,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// When it was last edited, else like `created_at`.
    pub updated_at: DateTime<Utc>,
    /// What stood there before each edit, oldest first.
    pub edits: Vec<String>,
    /// Oldest first.
    pub reactions: Vec<Reaction>,
}

/// A reaction to a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// Its id.
    pub id: u64,
    /// Login.
    pub author: String,
    /// `+1`, `-1`, `laugh`, `confused`, `heart`, `hooray`, `rocket` or `eyes`.
    pub content: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// Something that happened on an issue or pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEvent {
    /// When.
    pub at: DateTime<Utc>,
    /// Login.
    pub actor: String,
    /// What.
    pub what: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// It was opened at this head (empty for a plain issue).
    Opened(String),
    /// A comment of this id was written.
    Commented(u64),
    /// The head moved.
    HeadMoved {
        /// Old head.
        before: String,
        /// New head.
        after: String,
    },
    /// A label was set.
    Labeled(String),
    /// A label was taken away.
    Unlabeled(String),
    /// A review of this id was given.
    Reviewed(u64),
    /// Title, text or base was changed.
    Edited,
    /// It was closed without merging.
    Closed,
    /// It was opened again.
    Reopened,
    /// It was merged as this commit.
    Merged(String),
    /// It was made a draft.
    MadeDraft,
    /// It was marked ready for review.
    MadeReady,
    /// A deployment of its head (or of its merge) was made: this id.
    Deployed(u64),
}
