//! `GET /api/explain`: the gates of a command as they stand now, the same as `/titan status` shows.
//!
//! It answers about the same pull requests and people as the page of a change does.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::params::Params;
use super::runs::GateJson;
use crate::domain::command::CommandName;
use crate::domain::ids::{PrNumber, RepoName};
use crate::http::WebState;
use crate::http::explain::{known_change, read_gates};
use crate::http::problem::Problem;

/// `GET /api/explain?pull=owner/repo%23N&command=promote[&actor=login][&project=name]`; or `pull=N&repository=owner/repo`.
pub(super) async fn show(State(state): State<WebState>, query: RawQuery) -> Result<Response, Problem> {
    let params = Params::new(query);
    let (repo, number) = place(&params)?;
    let name = command(&params)?;
    let actor = params.text("actor").unwrap_or_default();
    let change = known_change(&state, &repo, number).await?;
    let explanation = read_gates(&state, change, actor).await?;
    let (head, mut tables) = explanation.outcome.map_err(Problem::unavailable)?;
    let project = params.text("project").unwrap_or_default();
    let known: Vec<String> = tables.keys().filter(|name| !name.is_empty()).cloned().collect();
    let gates = tables
        .remove(project)
        .and_then(|mut table| table.remove(name.as_str()))
        .ok_or_else(|| Problem::not_found(format!("the policy has no such project; it has {}", known.join(", "))))?;
    let gates: Vec<GateJson> = gates.into_iter().map(GateJson::from).collect();
    Ok(Json(json!({
        "repository": repo,
        "pull_request": number,
        "command": name,
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

fn command(params: &Params) -> Result<CommandName, Problem> {
    let text = params.text("command").unwrap_or_default();
    let mut with_gates = CommandName::ALL.into_iter().filter(|name| name.has_gates());
    with_gates.clone().find(|name| name.as_str() == text).ok_or_else(|| {
        let first = with_gates.next().map_or_else(String::new, |name| name.to_string());
        let names = with_gates.fold(first, |names, name| format!("{names}, {name}"));
        Problem::bad_parameter(format!("`command` must be one of {names}"))
    })
}
