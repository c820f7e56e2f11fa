//! Check runs: making, changing and finding them. What a check run may hold is for `acts` to say.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Call, Failure};
use crate::playground::github::acts::{CheckChange, NewCheck};
use crate::playground::github::model::{Annotation, CheckAction, CheckOutput, CheckRun, Repository, State};
use crate::playground::github::views::other_app_id;

#[derive(Deserialize)]
struct Wanted {
    name: Option<String>,
    head_sha: Option<String>,
    status: Option<String>,
    conclusion: Option<String>,
    external_id: Option<String>,
    details_url: Option<String>,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    output: Option<WantedOutput>,
    actions: Option<Vec<CheckAction>>,
}

#[derive(Deserialize)]
struct WantedOutput {
    title: Option<String>,
    summary: Option<String>,
    text: Option<String>,
    #[serde(default)]
    annotations: Vec<Annotation>,
}

impl From<Wanted> for CheckChange {
    fn from(wanted: Wanted) -> Self {
        let output = wanted.output.map(|output| CheckOutput {
            title: output.title,
            summary: output.summary,
            text: output.text,
            annotations: output.annotations,
        });
        Self {
            name: wanted.name,
            status: wanted.status,
            conclusion: wanted.conclusion,
            external_id: wanted.external_id,
            details_url: wanted.details_url,
            started_at: wanted.started_at,
            completed_at: wanted.completed_at,
            output,
            actions: wanted.actions,
        }
    }
}

fn missing(field: &str) -> Failure {
    Failure::invalid(format!("Invalid request.\n\n\"{field}\" wasn't supplied."))
}

fn find<'a>(state: &'a State, full_name: &str, id: u64) -> Result<(&'a Repository, &'a CheckRun), Failure> {
    let repository = state.repo(full_name)?;
    let run = repository.check_runs.iter().find(|run| run.id == id).ok_or_else(Failure::not_found)?;
    Ok((repository, run))
}

/// `POST /repos/{owner}/{repo}/check-runs`.
pub fn create(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let wanted: Wanted = call.body()?;
    let name = wanted.name.clone().ok_or_else(|| missing("name"))?;
    let head_sha = wanted.head_sha.clone().ok_or_else(|| missing("head_sha"))?;
    let new = NewCheck { name, head_sha, rest: wanted.into() };
    let (full_name, app) = (call.full_name(), state.app.slug.clone());
    let id = state.create_check(&full_name, &app, &new)?;
    let (repository, run) = find(state, &full_name, id)?;
    Ok(Answer::created(state.view().check_run(repository, run)))
}

/// `GET /repos/{owner}/{repo}/check-runs/{check_run_id}`.
pub fn get(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (repository, run) = find(state, &call.full_name(), call.number("check_run_id")?)?;
    Ok(Answer::ok(state.view().check_run(repository, run)))
}

/// `PATCH /repos/{owner}/{repo}/check-runs/{check_run_id}`.
pub fn update(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (full_name, id, app) = (call.full_name(), call.number("check_run_id")?, state.app.slug.clone());
    let wanted: Wanted = call.body()?;
    state.update_check(&full_name, &app, id, wanted.into())?;
    let (repository, run) = find(state, &full_name, id)?;
    Ok(Answer::ok(state.view().check_run(repository, run)))
}

/// `GET /repos/{owner}/{repo}/check-runs/{check_run_id}/annotations`.
pub fn annotations(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (repository, run) = find(state, &call.full_name(), call.number("check_run_id")?)?;
    Ok(call.paged(&run.output.annotations, |annotation| state.view().annotation(repository, run, annotation)))
}

/// `GET /repos/{owner}/{repo}/commits/{ref}/check-runs`: newest first; of each App and name the latest unless
/// `filter=all`.
pub fn list_for_ref(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let unknown = || Failure::invalid(format!("No commit found for SHA: {}", call.param("ref")));
    let sha = repository.git.resolve(call.param("ref")).ok_or_else(unknown)?;
    let app_id = |slug: &str| if slug == state.app.slug { state.app.id } else { other_app_id(slug) };
    let wanted_app = call.query("app_id").and_then(|text| text.parse::<u64>().ok());
    let mut seen = std::collections::BTreeSet::new();
    let found: Vec<&CheckRun> = repository
        .check_runs
        .iter()
        .rev()
        .filter(|run| run.head_sha == sha)
        .filter(|run| call.query("check_name").is_none_or(|name| name == run.name))
        .filter(|run| call.query("status").is_none_or(|status| status == run.status))
        .filter(|run| wanted_app.is_none_or(|wanted| wanted == app_id(&run.app)))
        .filter(|run| call.query("filter") == Some("all") || seen.insert((run.app.clone(), run.name.clone())))
        .collect();
    let (shown, link) = call.page(&found);
    let described: Vec<Value> = shown.iter().map(|run| state.view().check_run(repository, run)).collect();
    Ok(Answer::ok(json!({ "total_count": found.len(), "check_runs": described })).with_link(link))
}
