//! Issues, also as the other side of pull requests.
//! Knows which permission reaches a plain issue and which only a pull request.

use serde::Deserialize;
use serde_json::Value;

use super::{Answer, Call, Failure};
use crate::playground::github::auth::{Level, permits};
use crate::playground::github::model::State;

/// With permission for pull requests alone, plain issues are out of reach.
pub fn check_kind(state: &State, call: &Call, number: u64, level: Level) -> Result<(), Failure> {
    let (_, issue) = state.issue(&call.full_name(), number)?;
    let name = if issue.pull.is_some() { "pull_requests" } else { "issues" };
    let allowed = call.token.as_ref().is_some_and(|token| permits(token, &[("issues", level), (name, level)]));
    if allowed {
        return Ok(());
    }
    Err(Failure::new(http::StatusCode::FORBIDDEN, "Resource not accessible by integration"))
}

/// `GET /repos/{owner}/{repo}/issues`: pull requests among them, newest first.
pub fn list(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let wanted = call.query("state").unwrap_or("open");
    let labels: Vec<&str> = call.query("labels").unwrap_or_default().split(',').filter(|l| !l.is_empty()).collect();
    let found: Vec<_> = repository
        .issues
        .values()
        .rev()
        .filter(|issue| wanted == "all" || issue.open == (wanted == "open"))
        .filter(|issue| labels.iter().all(|label| issue.labels.iter().any(|l| l.eq_ignore_ascii_case(label))))
        .filter(|issue| call.query_time("since").is_none_or(|since| issue.updated_at >= since))
        .collect();
    Ok(call.paged(&found, |issue| state.view().issue(repository, issue)))
}

#[derive(Deserialize)]
struct Create {
    title: String,
    body: Option<String>,
    #[serde(default)]
    labels: Vec<Value>,
}

/// `POST /repos/{owner}/{repo}/issues`.
pub fn create(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    if !call.token.as_ref().is_some_and(|token| permits(token, &[("issues", Level::Write)])) {
        return Err(Failure::new(http::StatusCode::FORBIDDEN, "Resource not accessible by integration"));
    }
    let (full_name, wanted) = (call.full_name(), call.body::<Create>()?);
    let labels = label_names(&wanted.labels);
    let number = state.open_issue(&full_name, &call.actor, &wanted.title, wanted.body.as_deref(), &labels)?;
    let (repository, issue) = state.issue(&full_name, number)?;
    Ok(Answer::created(state.view().issue(repository, issue)))
}

/// Labels come as texts or as objects with a name.
pub fn label_names(labels: &[Value]) -> Vec<String> {
    let name = |label: &Value| label.as_str().or_else(|| label.get("name")?.as_str()).map(str::to_owned);
    labels.iter().filter_map(name).collect()
}

/// `GET /repos/{owner}/{repo}/issues/{issue_number}`.
pub fn get(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let number = call.number("issue_number")?;
    check_kind(state, call, number, Level::Read)?;
    let (repository, issue) = state.issue(&call.full_name(), number)?;
    Ok(Answer::ok(state.view().issue(repository, issue)))
}

#[derive(Deserialize)]
struct Update {
    title: Option<String>,
    body: Option<String>,
    state: Option<String>,
}

/// `PATCH /repos/{owner}/{repo}/issues/{issue_number}`: title, text and state.
pub fn update(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (full_name, number, wanted) = (call.full_name(), call.number("issue_number")?, call.body::<Update>()?);
    check_kind(state, call, number, Level::Write)?;
    let (title, body) = (wanted.title.as_deref(), wanted.body.as_deref());
    state.edit_issue(&full_name, number, &call.actor, title, body)?;
    match wanted.state.as_deref() {
        None => {}
        Some("open") => state.set_open(&full_name, number, &call.actor, true)?,
        Some("closed") => state.set_open(&full_name, number, &call.actor, false)?,
        Some(_) => return Err(Failure::invalid("Invalid request.\n\nstate must be one of: open, closed.")),
    }
    let (repository, issue) = state.issue(&full_name, number)?;
    Ok(Answer::ok(state.view().issue(repository, issue)))
}
