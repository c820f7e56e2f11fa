//! `GET /api/explain`: the gates of a command as they stand now, the same as `/titan status` shows.
//!
//! A worker reads GitHub; this only asks and waits. Nobody signs in here, so it answers about pull requests that Titan has
//! met and people who have given commands there, as the pages show them, and a reading is shared for some seconds.

use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::params::Params;
use super::runs::GateJson;
use crate::domain::ids::{PrNumber, RepoName};
use crate::domain::run::RunKind;
use crate::http::WebState;
use crate::http::problem::Problem;
use crate::store::explanations::{Asked, Explanation};

/// A reading is shared for so long.
const FRESH: Duration = Duration::from_secs(10);
/// Readings for one installation in an hour: each costs a dozen calls of the five thousand that GitHub allows.
const PER_HOUR: i64 = 60;
/// How long a reading is waited for.
const PATIENCE: Duration = Duration::from_secs(12);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// `GET /api/explain?pull=owner/repo%23N&command=promote[&actor=login][&project=name]`; or `pull=N&repository=owner/repo`.
pub(super) async fn show(State(state): State<WebState>, query: RawQuery) -> Result<Response, Problem> {
    let params = Params::new(query);
    let (repo, number) = place(&params)?;
    let kind = command(&params)?;
    let actor = params.text("actor").unwrap_or_default();
    let change = find(&state, &repo, number, actor).await?;
    let explanation = wait(&state, change, actor).await?;
    let (head, mut tables) = explanation.outcome.map_err(Problem::unavailable)?;
    let project = params.text("project").unwrap_or_default();
    let known: Vec<String> = tables.keys().filter(|name| !name.is_empty()).cloned().collect();
    let gates = tables
        .remove(project)
        .and_then(|mut table| table.remove(kind.as_str()))
        .ok_or_else(|| Problem::not_found(format!("the policy has no such project; it has {}", known.join(", "))))?;
    let gates: Vec<GateJson> = gates.into_iter().map(GateJson::from).collect();
    Ok(Json(json!({
        "repository": repo,
        "pull_request": number,
        "command": kind,
        "project": Some(project).filter(|name| !name.is_empty()),
        "actor": Some(actor).filter(|login| !login.is_empty()),
        "head": head,
        "read_at": explanation.read_at,
        "open": gates.iter().all(GateJson::passed),
        "gates": serde_json::to_value(&gates).unwrap_or(Value::Null),
    }))
    .into_response())
}

fn place(params: &Params) -> Result<(RepoName, PrNumber), Problem> {
    let wanted = || {
        Problem::bad_parameter(
            "`pull` names the pull request: `pull=owner/repo%23N`, or `pull=N` with `repository=owner/repo`",
        )
    };
    let pull = params.text("pull").ok_or_else(wanted)?;
    let (repo, number) = match (pull.split_once('#'), params.text("repository")) {
        (Some((repo, number)), None) => (repo, number),
        (None, Some(repo)) => (repo, pull),
        _ => return Err(wanted()),
    };
    let repo: RepoName = repo.parse().map_err(|_| wanted())?;
    let number = number.parse::<i64>().ok().filter(|number| *number > 0).ok_or_else(wanted)?;
    Ok((repo, PrNumber(number)))
}

fn command(params: &Params) -> Result<RunKind, Problem> {
    let text = params.text("command").unwrap_or_default();
    let names = RunKind::ALL.map(RunKind::as_str).join(", ");
    let known = RunKind::ALL.into_iter().find(|kind| kind.as_str() == text);
    known.ok_or_else(|| Problem::bad_parameter(format!("`command` must be one of {names}")))
}

/// The change, when Titan has met it and the person.
async fn find(state: &WebState, repo: &RepoName, number: PrNumber, actor: &str) -> Result<i64, Problem> {
    let missing = || Problem::not_found(format!("Titan has not met {repo}{number}; comment `/titan status` there"));
    let (repository, ..) = state.store.find_repository(repo).await?.ok_or_else(missing)?;
    let change = state.store.find_known_change(repository, number).await?.ok_or_else(missing)?;
    if !actor.is_empty() && !state.store.has_commanded(change, actor).await? {
        let detail = "`actor` can be somebody who has given a command there; leave it out to see every other gate";
        return Err(Problem::not_found(detail));
    }
    Ok(change)
}

async fn wait(state: &WebState, change: i64, actor: &str) -> Result<Explanation, Problem> {
    let until = Instant::now() + PATIENCE;
    loop {
        match state.store.ask_explanation(change, actor, FRESH, PER_HOUR).await? {
            Asked::Ready(explanation) => return Ok(explanation),
            Asked::TooMany => {
                let detail = format!(
                    "GitHub was read {PER_HOUR} times in an hour for questions about this account; ask later, or comment \
                     `/titan status`"
                );
                return Err(Problem::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too-many-questions",
                    "Too many questions",
                    detail,
                ));
            }
            Asked::Waiting if Instant::now() >= until => {
                return Err(Problem::unavailable("the facts could not be read in time; ask again in a moment"));
            }
            Asked::Waiting => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}
