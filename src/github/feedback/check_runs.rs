//! Check runs: finding, creating and updating them within GitHub's limits.
//!
//! Annotations go out 50 at a time. How many GitHub has is asked from GitHub, so an update after a crash sends only the
//! rest; the caller always gives the whole list, in the same order.

use chrono::{DateTime, SecondsFormat, Utc};
use http::Method;
use serde::{Deserialize, Serialize};

use super::{cut_bytes, cut_chars};
use crate::domain::ids::CommitSha;
use crate::github::call::Call;
use crate::github::reads::CheckRunFact;
use crate::github::wire::{Id, or_default};
use crate::github::{Access, GitHubError, RepoClient, reads};

/// The most buttons a check run may have.
pub const MAX_ACTIONS: usize = 3;
/// The most annotations in one request.
const BATCH: usize = 50;
/// The most bytes of title, summary and text (github/docs issue 35252: "exceeds a maximum bytesize of 65535").
const OUTPUT_BYTES: usize = 65_535;
/// The most bytes of an annotation's message: 64 KB.
const MESSAGE_BYTES: usize = 65_536;
/// The most characters of an annotation's title.
const ANNOTATION_TITLE: usize = 255;

/// A check run as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRunWrite {
    /// Its name, e.g. `titan/build`.
    pub name: String,
    /// The commit it is about. Cannot be changed by an update.
    pub head: CommitSha,
    /// What Titan knows it by.
    pub external_id: String,
    /// The page with everything; left out when empty.
    pub details_url: String,
    /// Where it is now.
    pub state: CheckState,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended; sent only with a conclusion.
    pub completed_at: Option<DateTime<Utc>>,
    /// One line.
    pub title: String,
    /// Markdown that stands alone.
    pub summary: String,
    /// Markdown with the details.
    pub text: Option<String>,
    /// Notes on lines of files: all of them, in an order that does not change.
    pub annotations: Vec<Annotation>,
    /// Buttons; those after the third are left out.
    pub actions: Vec<CheckAction>,
}

/// Where a check run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckState {
    /// Waits.
    Queued,
    /// Works.
    InProgress,
    /// Ended.
    Completed(CheckConclusion),
}

/// How a check run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckConclusion {
    /// Good.
    Success,
    /// Bad.
    Failure,
    /// Neither; does not block.
    Neutral,
    /// Stopped by a person or a newer run.
    Cancelled,
    /// Was not needed.
    Skipped,
    /// Took too long.
    TimedOut,
    /// A person has to do something.
    ActionRequired,
}

/// A note on lines of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// The file, from the repository's root.
    pub path: String,
    /// First line, from 1.
    pub start_line: u32,
    /// Last line, not before the first.
    pub end_line: u32,
    /// How bad it is.
    pub level: AnnotationLevel,
    /// What to know; up to 64 KB.
    pub message: String,
    /// A headline, up to 255 characters.
    pub title: Option<String>,
}

/// How bad a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AnnotationLevel {
    /// Good to know.
    Notice,
    /// Look at it.
    Warning,
    /// Wrong.
    Failure,
}

/// A button on a completed check run. Pressing it only asks; see `Trigger::CheckAction`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckAction {
    /// The words on it, up to 20 characters.
    pub label: String,
    /// What it does, up to 40 characters.
    pub description: String,
    /// What comes back when it is pressed, up to 20 characters.
    pub identifier: String,
}

#[derive(Serialize)]
struct Body<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    head_sha: Option<&'a CommitSha>,
    external_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details_url: Option<&'a str>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    conclusion: Option<CheckConclusion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<String>,
    output: Output<'a>,
    actions: Vec<ActionBody>,
}

#[derive(Serialize)]
struct Output<'a> {
    title: String,
    summary: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<AnnotationBody<'a>>,
}

#[derive(Serialize)]
struct AnnotationBody<'a> {
    path: &'a str,
    start_line: u32,
    end_line: u32,
    annotation_level: AnnotationLevel,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
}

#[derive(Serialize)]
struct ActionBody {
    label: String,
    description: String,
    identifier: String,
}

#[derive(Deserialize)]
struct CountWire {
    #[serde(default, deserialize_with = "or_default")]
    output: CountOutput,
}

#[derive(Deserialize, Default)]
struct CountOutput {
    #[serde(default, deserialize_with = "or_default")]
    annotations_count: usize,
}

impl CheckRunWrite {
    /// The body of a request that carries `annotations`. `head` is only for creating.
    fn body<'a>(&'a self, head: Option<&'a CommitSha>, annotations: &'a [Annotation]) -> Body<'a> {
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let (status, conclusion) = match self.state {
            CheckState::Queued => ("queued", None),
            CheckState::InProgress => ("in_progress", None),
            CheckState::Completed(conclusion) => ("completed", Some(conclusion)),
        };
        Body {
            name: &self.name,
            head_sha: head,
            external_id: &self.external_id,
            details_url: Some(self.details_url.as_str()).filter(|url| !url.is_empty()),
            status,
            conclusion,
            started_at: self.started_at.map(time),
            completed_at: self.completed_at.filter(|_| conclusion.is_some()).map(time),
            output: Output {
                title: cut_bytes(&self.title, OUTPUT_BYTES),
                summary: cut_bytes(&self.summary, OUTPUT_BYTES),
                text: self.text.as_deref().map(|text| cut_bytes(text, OUTPUT_BYTES)),
                annotations: annotations.iter().map(AnnotationBody::from).collect(),
            },
            actions: self.actions.iter().take(MAX_ACTIONS).map(ActionBody::from).collect(),
        }
    }
}

impl<'a> From<&'a Annotation> for AnnotationBody<'a> {
    fn from(note: &'a Annotation) -> Self {
        let start_line = note.start_line.max(1);
        Self {
            path: &note.path,
            start_line,
            end_line: note.end_line.max(start_line),
            annotation_level: note.level,
            message: cut_bytes(&note.message, MESSAGE_BYTES),
            title: note.title.as_deref().map(|title| cut_chars(title, ANNOTATION_TITLE)),
        }
    }
}

impl From<&CheckAction> for ActionBody {
    fn from(action: &CheckAction) -> Self {
        Self {
            label: cut_chars(&action.label, 20),
            description: cut_chars(&action.description, 40),
            identifier: action.identifier.chars().take(20).collect(),
        }
    }
}

impl RepoClient {
    /// The App's own check run of this name and external id on a commit, the newest if there are several.
    ///
    /// # Errors
    /// `NotFound` or `Invalid` when the repository has no such commit.
    pub async fn find_check_run(
        &self,
        head: &CommitSha,
        name: &str,
        external_id: &str,
    ) -> Result<Option<i64>, GitHubError> {
        let app = self.github.app().await?;
        let call = Call::get(self.path(&format!("/commits/{head}/check-runs")))
            .query("check_name", name)
            .query("filter", "all");
        let runs = self.list_all(Access::Feedback, call, reads::CheckRunsWire::facts).await?;
        let ours = |run: &&CheckRunFact| {
            run.name == name
                && run.external_id.as_deref() == Some(external_id)
                && run.app_id.is_none_or(|id| id == app.id)
        };
        Ok(runs.iter().filter(ours).map(|run| run.id).max())
    }

    /// Creates a check run and gives its number.
    ///
    /// With more than 50 annotations this takes several requests; when one fails the check run exists already, so the
    /// caller looks with [`RepoClient::find_check_run`] and goes on with [`RepoClient::update_check_run`].
    ///
    /// # Errors
    /// `Invalid` when the repository has no such commit.
    pub async fn create_check_run(&self, check: &CheckRunWrite) -> Result<i64, GitHubError> {
        let first = &check.annotations[..check.annotations.len().min(BATCH)];
        let body = check.body(Some(&check.head), first);
        let made: Id = self.write(Access::Feedback, Method::POST, "/check-runs", &body).await?;
        for batch in check.annotations[first.len()..].chunks(BATCH) {
            self.patch_check_run(made.id, check, batch).await?;
        }
        Ok(made.id)
    }

    /// Brings a check run to what it shall be. May be called twice: annotations that GitHub has are not sent again.
    ///
    /// # Errors
    /// `NotFound` when there is no such check run of this App.
    pub async fn update_check_run(&self, id: i64, check: &CheckRunWrite) -> Result<(), GitHubError> {
        let sent = if check.annotations.is_empty() {
            0
        } else {
            let has: CountWire = self.read(Access::Feedback, &format!("/check-runs/{id}")).await?;
            has.output.annotations_count
        };
        let rest = check.annotations.get(sent..).unwrap_or_default();
        if rest.is_empty() {
            return self.patch_check_run(id, check, &[]).await;
        }
        for batch in rest.chunks(BATCH) {
            self.patch_check_run(id, check, batch).await?;
        }
        Ok(())
    }

    async fn patch_check_run(&self, id: i64, check: &CheckRunWrite, batch: &[Annotation]) -> Result<(), GitHubError> {
        let body = check.body(None, batch);
        self.tell(Access::Feedback, Method::PATCH, &format!("/check-runs/{id}"), &body).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(state: CheckState) -> CheckRunWrite {
        let at = DateTime::from_timestamp(1_800_000_000, 123_456_789);
        CheckRunWrite {
            name: "titan/build".to_owned(),
            head: "3f2c1ab000000000000000000000000000000000".parse().expect("a commit"),
            external_id: "run-1".to_owned(),
            details_url: String::new(),
            state,
            started_at: at,
            completed_at: at,
            title: "t".repeat(70_000),
            summary: "ü".repeat(40_000),
            text: None,
            annotations: Vec::new(),
            actions: (0..4)
                .map(|n| CheckAction {
                    label: "Deploy the canary for everyone".to_owned(),
                    description: "d".repeat(41),
                    identifier: format!("{n}-identifier-that-is-long"),
                })
                .collect(),
        }
    }

    #[test]
    fn a_body_keeps_githubs_limits() {
        let write = check(CheckState::Completed(CheckConclusion::TimedOut));
        let json = serde_json::to_value(write.body(Some(&write.head), &[])).expect("json");
        let text = |pointer: &str| json.pointer(pointer).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        assert_eq!(text("/output/title").len(), 65_535);
        assert!(text("/output/summary").len() <= 65_535);
        assert_eq!(text("/conclusion"), "timed_out");
        assert_eq!(text("/completed_at"), "2027-01-15T08:00:00Z");
        assert_eq!(json["actions"].as_array().map(Vec::len), Some(3));
        assert_eq!(text("/actions/0/label"), "Deploy the canary f…");
        assert_eq!(text("/actions/0/description").chars().count(), 40);
        assert_eq!(text("/actions/0/identifier"), "0-identifier-that-is");
        assert_eq!(json.get("details_url"), None);
        assert_eq!(json.pointer("/output/annotations"), None);
    }

    #[test]
    fn only_an_ended_run_has_a_conclusion_and_an_end() {
        for (state, word) in [(CheckState::Queued, "queued"), (CheckState::InProgress, "in_progress")] {
            let write = check(state);
            let json = serde_json::to_value(write.body(None, &[])).expect("json");
            assert_eq!(json["status"], word);
            assert_eq!((json.get("conclusion"), json.get("completed_at"), json.get("head_sha")), (None, None, None));
        }
    }

    #[test]
    fn lines_of_an_annotation_are_put_in_order() {
        let note = Annotation {
            path: "a".to_owned(),
            start_line: 0,
            end_line: 0,
            level: AnnotationLevel::Failure,
            message: "m".to_owned(),
            title: Some("t".repeat(300)),
        };
        let body = AnnotationBody::from(&note);
        assert_eq!((body.start_line, body.end_line), (1, 1));
        assert_eq!(body.title.map(|t| t.chars().count()), Some(255));
    }
}
