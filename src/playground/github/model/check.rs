//! Check runs and commit statuses. Facts only; limits and events are in `acts`.

use chrono::{DateTime, Utc};
use serde::Deserialize;

/// A check run of one App on one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRun {
    /// Its id.
    pub id: u64,
    /// One suite for each App and commit.
    pub suite: u64,
    /// Slug of the App it belongs to.
    pub app: String,
    /// The name people see.
    pub name: String,
    /// The commit.
    pub head_sha: String,
    /// The App's own mark; empty when it set none.
    pub external_id: String,
    /// Where details are shown.
    pub details_url: Option<String>,
    /// `queued`, `in_progress` or `completed`.
    pub status: String,
    /// Only when completed.
    pub conclusion: Option<String>,
    /// When the work began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// What it found.
    pub output: CheckOutput,
    /// Buttons; people see them only once the run is completed.
    pub actions: Vec<CheckAction>,
}

/// What a check run found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckOutput {
    /// One line.
    pub title: Option<String>,
    /// Markdown.
    pub summary: Option<String>,
    /// Markdown, longer.
    pub text: Option<String>,
    /// All that were ever sent; requests add to them.
    pub annotations: Vec<Annotation>,
}

/// A remark at lines of a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Annotation {
    /// The file.
    pub path: String,
    /// From 1.
    pub start_line: u64,
    /// Not before `start_line`.
    pub end_line: u64,
    /// Only when both lines are the same.
    pub start_column: Option<u64>,
    /// Only when both lines are the same.
    pub end_column: Option<u64>,
    /// `notice`, `warning` or `failure`.
    pub annotation_level: String,
    /// What is remarked.
    pub message: String,
    /// One line.
    pub title: Option<String>,
    /// Plain text.
    pub raw_details: Option<String>,
}

/// A button on a check run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CheckAction {
    /// On the button; at most 20 characters.
    pub label: String,
    /// Beside it; at most 40 characters.
    pub description: String,
    /// What the App gets when it is pressed; at most 20 characters.
    pub identifier: String,
}

/// A commit status, the older kind of check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus {
    /// Its id.
    pub id: u64,
    /// The commit.
    pub sha: String,
    /// `error`, `failure`, `pending` or `success`.
    pub state: String,
    /// The name people see; the newest of a name counts.
    pub context: String,
    /// One line.
    pub description: Option<String>,
    /// Where details are shown.
    pub target_url: Option<String>,
    /// Login.
    pub creator: String,
    /// When.
    pub created_at: DateTime<Utc>,
}
