//! Deployments and their statuses. Fills in GitHub's defaults; what follows from them is for `acts`.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Call, Failure};
use crate::playground::github::acts::{DeploymentAnswer, NewDeployment, NewDeploymentStatus};
use crate::playground::github::model::{Deployment, Repository, State};

fn find<'a>(state: &'a State, full_name: &str, id: u64) -> Result<(&'a Repository, &'a Deployment), Failure> {
    let repository = state.repo(full_name)?;
    let found = repository.deployments.iter().find(|known| known.id == id).ok_or_else(Failure::not_found)?;
    Ok((repository, found))
}

/// `GET /repos/{owner}/{repo}/deployments`: newest first.
pub fn list(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    // GitHub treats the word `none` like a filter that was not given.
    let fits = |name: &str, value: &str| call.query(name).is_none_or(|wanted| wanted == "none" || wanted == value);
    let found: Vec<&Deployment> = repository
        .deployments
        .iter()
        .rev()
        .filter(|known| fits("sha", &known.sha) && fits("ref", &known.reference))
        .filter(|known| fits("task", &known.task) && fits("environment", &known.environment))
        .collect();
    Ok(call.paged(&found, |known| state.view().deployment(repository, known)))
}

/// `GET /repos/{owner}/{repo}/deployments/{deployment_id}`.
pub fn get(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (repository, found) = find(state, &call.full_name(), call.number("deployment_id")?)?;
    Ok(Answer::ok(state.view().deployment(repository, found)))
}

#[derive(Deserialize)]
struct Create {
    #[serde(rename = "ref")]
    reference: String,
    task: Option<String>,
    auto_merge: Option<bool>,
    required_contexts: Option<Vec<String>>,
    payload: Option<Value>,
    environment: Option<String>,
    description: Option<String>,
    #[serde(default)]
    transient_environment: bool,
    production_environment: Option<bool>,
}

/// `POST /repos/{owner}/{repo}/deployments`: 201, or 202 when the default branch was merged instead.
pub fn create(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (full_name, wanted) = (call.full_name(), call.body::<Create>()?);
    let new = NewDeployment {
        reference: wanted.reference,
        task: wanted.task.unwrap_or_else(|| "deploy".into()),
        auto_merge: wanted.auto_merge.unwrap_or(true),
        required_contexts: wanted.required_contexts,
        payload: wanted.payload.unwrap_or_else(|| json!({})),
        environment: wanted.environment.unwrap_or_else(|| "production".into()),
        description: wanted.description.filter(|text| !text.is_empty()),
        transient: wanted.transient_environment,
        production: wanted.production_environment,
    };
    match state.create_deployment(&full_name, &call.actor, new)? {
        DeploymentAnswer::Created(id) => {
            let (repository, found) = find(state, &full_name, id)?;
            Ok(Answer::created(state.view().deployment(repository, found)))
        }
        DeploymentAnswer::Merged(message) => Ok(Answer::status(StatusCode::ACCEPTED, json!({ "message": message }))),
    }
}

/// `GET /repos/{owner}/{repo}/deployments/{deployment_id}/statuses`: newest first.
pub fn statuses(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (repository, found) = find(state, &call.full_name(), call.number("deployment_id")?)?;
    let newest: Vec<_> = found.statuses.iter().rev().collect();
    Ok(call.paged(&newest, |status| state.view().deployment_status(repository, found, status)))
}

#[derive(Deserialize)]
struct Add {
    state: String,
    description: Option<String>,
    log_url: Option<String>,
    target_url: Option<String>,
    environment: Option<String>,
    environment_url: Option<String>,
    auto_inactive: Option<bool>,
}

/// `POST /repos/{owner}/{repo}/deployments/{deployment_id}/statuses`.
pub fn add(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (full_name, id, wanted) = (call.full_name(), call.number("deployment_id")?, call.body::<Add>()?);
    let new = NewDeploymentStatus {
        state: wanted.state,
        description: wanted.description.unwrap_or_default(),
        log_url: wanted.log_url.or(wanted.target_url).unwrap_or_default(),
        environment_url: wanted.environment_url.unwrap_or_default(),
        environment: wanted.environment,
        auto_inactive: wanted.auto_inactive.unwrap_or(true),
    };
    let status = state.add_deployment_status(&full_name, id, &call.actor, new)?;
    let (repository, found) = find(state, &full_name, id)?;
    let status = found.statuses.iter().find(|known| known.id == status).ok_or_else(Failure::not_found)?;
    Ok(Answer::created(state.view().deployment_status(repository, found, status)))
}
