//! Check runs, their buttons, and commit statuses. Keeps GitHub's limits; never judges a check.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Result, SimError};
use crate::playground::github::git::NO_COMMIT;
use crate::playground::github::model::{Annotation, CheckAction, CheckOutput, CheckRun, CommitStatus, State};
use crate::playground::github::views::{extend, node_id, time, without_client_id};

/// The largest summary and the largest text of a check run, in bytes.
const OUTPUT_LIMIT: usize = 65_535;
/// The most annotations in one request.
const ANNOTATIONS_LIMIT: usize = 50;
/// The largest message and raw details of an annotation, in bytes.
const ANNOTATION_LIMIT: usize = 64 << 10;

const CONCLUSIONS: [&str; 8] =
    ["action_required", "cancelled", "failure", "neutral", "success", "skipped", "stale", "timed_out"];

/// A check run to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewCheck {
    /// The name people see.
    pub name: String,
    /// A commit of the repository.
    pub head_sha: String,
    /// Everything else, as in a change.
    pub rest: CheckChange,
}

/// What is changed about a check run; `None` leaves a thing as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckChange {
    /// The name people see.
    pub name: Option<String>,
    /// `queued`, `in_progress` or `completed`.
    pub status: Option<String>,
    /// Makes it completed.
    pub conclusion: Option<String>,
    /// The App's own mark.
    pub external_id: Option<String>,
    /// Where details are shown.
    pub details_url: Option<String>,
    /// When the work began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// Replaces title, summary and text, and adds annotations.
    pub output: Option<CheckOutput>,
    /// Replaces the buttons.
    pub actions: Option<Vec<CheckAction>>,
}

/// A commit status to be reported.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewStatus {
    /// A commit of the repository.
    pub sha: String,
    /// `error`, `failure`, `pending` or `success`.
    pub state: String,
    /// The name people see.
    pub context: String,
    /// One line.
    pub description: Option<String>,
    /// Where details are shown.
    pub target_url: Option<String>,
}

impl State {
    /// Makes a check run of the App of that slug and returns its id.
    pub fn create_check(&mut self, full_name: &str, app: &str, new: &NewCheck) -> Result<u64> {
        if new.name.trim().is_empty() {
            return Err(SimError::field("CheckRun", "name", "missing_field"));
        }
        check_limits(&new.rest)?;
        let repository = self.repo(full_name)?;
        if repository.git.commit(&new.head_sha).is_none() {
            return Err(SimError::invalid(format!("No commit found for SHA: {}", new.head_sha)));
        }
        let suite = self.suite(full_name, app, &new.head_sha)?;
        let id = self.new_id();
        let mut run = CheckRun {
            id,
            suite,
            app: app.to_owned(),
            name: new.name.clone(),
            head_sha: new.head_sha.clone(),
            external_id: String::new(),
            details_url: None,
            status: "queued".into(),
            conclusion: None,
            started_at: Some(crate::clock::now()),
            completed_at: None,
            output: CheckOutput::default(),
            actions: Vec::new(),
        };
        apply(&mut run, new.rest.clone())?;
        let completed = run.status == "completed";
        self.repo_mut(full_name)?.check_runs.push(run);
        self.emit_check(full_name, id, "created", &self.check_sender(app), json!({}))?;
        if completed {
            self.emit_check(full_name, id, "completed", &self.check_sender(app), json!({}))?;
        }
        Ok(id)
    }

    /// The check suite of an App on a commit, made when there is none.
    fn suite(&mut self, full_name: &str, app: &str, sha: &str) -> Result<u64> {
        let id = self.new_id();
        Ok(*self.repo_mut(full_name)?.suites.entry((app.to_owned(), sha.to_owned())).or_insert(id))
    }

    /// A push makes a check suite for every App that may write checks, and tells it.
    pub(super) fn request_checks(
        &mut self,
        full_name: &str,
        branch: &str,
        before: Option<&str>,
        sha: &str,
        by: &str,
    ) -> Result<()> {
        let app = self.app.slug.clone();
        let known = self.repo(full_name)?.suites.contains_key(&(app.clone(), sha.to_owned()));
        if known || !self.listens(full_name, "check_suite") {
            return Ok(());
        }
        let id = self.suite(full_name, &app, sha)?;
        let repository = self.repo(full_name)?;
        let Some(commit) = repository.git.commit(sha) else { return Ok(()) };
        let view = self.view();
        let url = format!("{}/check-suites/{id}", view.repository_url(repository));
        let now = time(crate::clock::now());
        let suite = json!({
            "id": id,
            "node_id": node_id("CS", id),
            "head_branch": branch,
            "head_sha": sha,
            "status": "queued",
            "conclusion": null,
            "url": url,
            "before": before.unwrap_or(NO_COMMIT),
            "after": sha,
            "pull_requests": view.pulls_at(repository, sha),
            "app": without_client_id(view.app(&self.app)),
            "created_at": now,
            "updated_at": now,
            "latest_check_runs_count": 0,
            "check_runs_url": format!("{url}/check-runs"),
            "head_commit": view.simple_commit(&commit),
        });
        self.emit(full_name, "check_suite", Some("requested"), by, json!({ "check_suite": suite }));
        Ok(())
    }

    /// Changes a check run; only the App that made it may.
    pub fn update_check(&mut self, full_name: &str, app: &str, id: u64, change: CheckChange) -> Result<()> {
        check_limits(&change)?;
        let app_id = self.view().app_of_slug(app)["id"].clone();
        let run = self.check_mut(full_name, id)?;
        if run.app != app {
            return Err(SimError::Forbidden(format!(
                "Invalid app_id `{app_id}` - check run can only be modified by the GitHub App that created it."
            )));
        }
        let mut changed = run.clone();
        apply(&mut changed, change)?;
        let completed = run.status != "completed" && changed.status == "completed";
        *run = changed;
        if completed {
            self.emit_check(full_name, id, "completed", &self.check_sender(app), json!({}))?;
        }
        Ok(())
    }

    /// Presses a button of a completed check run.
    ///
    /// # Errors
    /// 422 when there is no such button or it is not shown yet.
    pub fn press_button(&mut self, full_name: &str, id: u64, identifier: &str, by: &str) -> Result<()> {
        let run = self.check_mut(full_name, id)?;
        let shown = run.status == "completed" && run.actions.iter().any(|action| action.identifier == identifier);
        if !shown {
            return Err(SimError::invalid(format!("check run {id} shows no button `{identifier}`")));
        }
        let more = json!({ "requested_action": { "identifier": identifier } });
        self.emit_check(full_name, id, "requested_action", by, more)
    }

    /// The press on a page that was opened before the check run got other buttons.
    pub fn press_old_button(&mut self, full_name: &str, id: u64, identifier: &str, by: &str) -> Result<()> {
        self.check_mut(full_name, id)?;
        let more = json!({ "requested_action": { "identifier": identifier } });
        self.emit_check(full_name, id, "requested_action", by, more)
    }

    /// Asks for a check run to be made again, as the "Re-run" link does.
    pub fn rerequest_check(&mut self, full_name: &str, id: u64, by: &str) -> Result<()> {
        self.check_mut(full_name, id)?;
        self.emit_check(full_name, id, "rerequested", by, json!({}))
    }

    /// Reports a commit status.
    pub fn set_status(&mut self, full_name: &str, by: &str, new: NewStatus) -> Result<CommitStatus> {
        if !["error", "failure", "pending", "success"].contains(&new.state.as_str()) {
            return Err(SimError::field("Status", "state", "invalid"));
        }
        let id = self.new_id();
        let repository = self.repo_mut(full_name)?;
        if repository.git.commit(&new.sha).is_none() {
            return Err(SimError::invalid(format!("No commit found for SHA: {}", new.sha)));
        }
        let status = CommitStatus {
            id,
            sha: new.sha,
            state: new.state,
            context: new.context,
            description: new.description,
            target_url: new.target_url,
            creator: by.to_owned(),
            created_at: crate::clock::now(),
        };
        repository.statuses.push(status.clone());
        Ok(status)
    }

    fn check_mut(&mut self, full_name: &str, id: u64) -> Result<&mut CheckRun> {
        let found = self.repo_mut(full_name)?.check_runs.iter_mut().find(|run| run.id == id);
        found.ok_or_else(|| SimError::NotFound(format!("check run {id}")))
    }

    fn check_sender(&self, app: &str) -> String {
        if app == self.app.slug { self.app.bot_login() } else { self.app.owner.clone() }
    }

    fn emit_check(&mut self, full_name: &str, id: u64, action: &str, sender: &str, more: Value) -> Result<()> {
        let repository = self.repo(full_name)?;
        let Some(run) = repository.check_runs.iter().find(|run| run.id == id) else { return Ok(()) };
        if run.app != self.app.slug && !matches!(action, "created" | "completed") {
            return Ok(());
        }
        let mut described = self.view().check_run(repository, run);
        described["check_suite"] = self.view().check_suite(repository, run);
        let mut body = json!({ "check_run": described });
        extend(&mut body, more);
        self.emit(full_name, "check_run", Some(action), sender, body);
        Ok(())
    }
}

fn apply(run: &mut CheckRun, change: CheckChange) -> Result<()> {
    if let Some(name) = change.name {
        run.name = name;
    }
    if let Some(external_id) = change.external_id {
        run.external_id = external_id;
    }
    run.details_url = change.details_url.or(run.details_url.take());
    run.started_at = change.started_at.or(run.started_at);
    match (change.status.as_deref(), change.conclusion) {
        (_, Some(conclusion)) => {
            if !CONCLUSIONS.contains(&conclusion.as_str()) || conclusion == "stale" {
                return Err(SimError::field("CheckRun", "conclusion", "invalid"));
            }
            run.status = "completed".into();
            run.conclusion = Some(conclusion);
            run.completed_at = change.completed_at.or_else(|| Some(crate::clock::now()));
        }
        (Some("completed"), None) if run.conclusion.is_none() => {
            return Err(SimError::field("CheckRun", "conclusion", "missing_field"));
        }
        (Some("completed"), None) | (None, None) => run.completed_at = change.completed_at.or(run.completed_at),
        (Some(status @ ("queued" | "in_progress")), None) => {
            run.status = status.to_owned();
            run.conclusion = None;
            run.completed_at = None;
        }
        (Some(_), None) => return Err(SimError::field("CheckRun", "status", "invalid")),
    }
    if let Some(output) = change.output {
        run.output.title = output.title;
        run.output.summary = output.summary;
        run.output.text = output.text;
        run.output.annotations.extend(output.annotations);
    }
    if let Some(actions) = change.actions {
        run.actions = actions;
    }
    Ok(())
}

fn check_limits(change: &CheckChange) -> Result<()> {
    let too_long = |field: &str, limit: usize| {
        let message = format!("{field} exceeds a maximum bytesize of {limit}");
        SimError::Unprocessable {
            message: "Validation Failed".into(),
            errors: vec![json!({ "resource": "CheckRun", "code": "custom", "field": field, "message": message })],
        }
    };
    if let Some(output) = &change.output {
        for (field, text) in [("summary", &output.summary), ("text", &output.text)] {
            if text.as_ref().is_some_and(|text| text.len() > OUTPUT_LIMIT) {
                return Err(too_long(field, OUTPUT_LIMIT));
            }
        }
        if output.title.is_none() || output.summary.is_none() {
            return Err(SimError::field("CheckRun", "output", "missing_field"));
        }
        if output.annotations.len() > ANNOTATIONS_LIMIT {
            let message = format!("No more than {ANNOTATIONS_LIMIT} annotations can be sent in one request.");
            return Err(SimError::invalid(format!("Invalid request.\n\n{message}")));
        }
        output.annotations.iter().try_for_each(check_annotation)?;
    }
    let actions = change.actions.as_deref().unwrap_or_default();
    if actions.len() > 3 {
        return Err(SimError::invalid(
            "Invalid request.\n\nNo more than 3 items are allowed; 4 or more were supplied.",
        ));
    }
    for action in actions {
        for (field, text, limit) in [
            ("label", &action.label, 20),
            ("description", &action.description, 40),
            ("identifier", &action.identifier, 20),
        ] {
            if text.is_empty() || text.chars().count() > limit {
                let message = format!("Invalid request.\n\nOnly {limit} characters are allowed in `actions.{field}`.");
                return Err(SimError::invalid(message));
            }
        }
    }
    Ok(())
}

fn check_annotation(annotation: &Annotation) -> Result<()> {
    let wrong = |field: &str| Err(SimError::field("CheckRunAnnotation", field, "invalid"));
    let columns = annotation.start_column.is_some() || annotation.end_column.is_some();
    let level = annotation.annotation_level.as_str();
    match annotation {
        _ if !["notice", "warning", "failure"].contains(&level) => wrong("annotation_level"),
        a if a.end_line < a.start_line => wrong("end_line"),
        a if columns && a.start_line != a.end_line => wrong("start_column"),
        a if a.message.is_empty() || a.message.len() > ANNOTATION_LIMIT => wrong("message"),
        a if a.raw_details.as_ref().is_some_and(|text| text.len() > ANNOTATION_LIMIT) => wrong("raw_details"),
        a if a.title.as_ref().is_some_and(|title| title.chars().count() > 255) => wrong("title"),
        _ => Ok(()),
    }
}
