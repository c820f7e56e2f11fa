//! Labels of the repository and on issues. What a label sets off is for `acts`.

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::issues::{check_kind, label_names};
use super::{Answer, Call, Failure};
use crate::playground::github::auth::Level;
use crate::playground::github::model::State;

/// `GET /repos/{owner}/{repo}/labels`.
pub fn list(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    Ok(call.paged(&repository.labels, |label| state.view().label(repository, label)))
}

/// `GET /repos/{owner}/{repo}/labels/{name}`.
pub fn get(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let label = repository.label(call.param("name")).ok_or_else(Failure::not_found)?;
    Ok(Answer::ok(state.view().label(repository, label)))
}

#[derive(Deserialize)]
struct Create {
    name: String,
    color: Option<String>,
    description: Option<String>,
}

/// `POST /repos/{owner}/{repo}/labels`.
pub fn create(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (full_name, wanted) = (call.full_name(), call.body::<Create>()?);
    let label = state.create_label(&full_name, &wanted.name, wanted.color.as_deref(), wanted.description.as_deref())?;
    let repository = state.repo(&full_name)?;
    Ok(Answer::created(state.view().label(repository, &label)))
}

/// `GET /repos/{owner}/{repo}/issues/{issue_number}/labels`.
pub fn of_issue(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let number = call.number("issue_number")?;
    check_kind(state, call, number, Level::Read)?;
    let (repository, issue) = state.issue(&call.full_name(), number)?;
    let set: Vec<_> = issue.labels.iter().filter_map(|name| repository.label(name)).collect();
    Ok(call.paged(&set, |label| state.view().label(repository, label)))
}

/// `GET /repos/{owner}/{repo}/issues/{issue_number}/events`: who set which label when, oldest first. Of everything else that
/// happened this GitHub tells nothing here.
pub fn events(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let number = call.number("issue_number")?;
    check_kind(state, call, number, Level::Read)?;
    let (repository, issue) = state.issue(&call.full_name(), number)?;
    let described: Vec<Value> = (issue.id * 1000..)
        .zip(&issue.timeline)
        .filter_map(|(id, event)| state.view().label_event(repository, id, event))
        .collect();
    Ok(call.paged(&described, Value::clone))
}

/// `POST /repos/{owner}/{repo}/issues/{issue_number}/labels`: answers all labels that are then set.
pub fn add(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let number = call.number("issue_number")?;
    check_kind(state, call, number, Level::Write)?;
    let list = call.raw_body().get("labels").unwrap_or(call.raw_body());
    let missing = || Failure::invalid("Invalid request.\n\n\"labels\" wasn't supplied.");
    let names = label_names(list.as_array().map(Vec::as_slice).ok_or_else(missing)?);
    state.add_labels(&call.full_name(), number, &call.actor, &names)?;
    Ok(Answer::ok(all_of(state, call, number)?))
}

/// `DELETE /repos/{owner}/{repo}/issues/{issue_number}/labels/{name}`: answers the labels that are left.
pub fn remove(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let number = call.number("issue_number")?;
    check_kind(state, call, number, Level::Write)?;
    let (_, issue) = state.issue(&call.full_name(), number)?;
    if !issue.labels.iter().any(|label| label.eq_ignore_ascii_case(call.param("name"))) {
        return Err(Failure::new(StatusCode::NOT_FOUND, "Label does not exist"));
    }
    state.remove_label(&call.full_name(), number, &call.actor, call.param("name"))?;
    Ok(Answer::ok(all_of(state, call, number)?))
}

fn all_of(state: &State, call: &Call, number: u64) -> Result<Value, Failure> {
    let (repository, issue) = state.issue(&call.full_name(), number)?;
    Ok(state.view().labels(repository, &issue.labels))
}
