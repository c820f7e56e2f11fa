//! `/{owner}/{repo}/pull/{number}`: every gate of a pull request as it stands now, for each command, and its runs.
//!
//! The answer to "why can't I promote?". It asks as `GET /api/explain` does, and shows its runs when nobody answers.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;

use super::index::{RunTable, Scope, refresh};
use super::words::{Badge, GateView, Moment};
use super::{Frame, PageError, page};
use crate::domain::command::CommandName;
use crate::domain::gates::GateResult;
use crate::domain::ids::{PrNumber, RepoName};
use crate::http::WebState;
use crate::http::api::params::Params;
use crate::http::explain::{known_change, read_gates};
use crate::http::links::Links;
use crate::http::markdown::{self, Html};
use crate::http::problem::Problem;
use crate::store::explanations::Explanation;
use crate::store::runs::RunFilter;

/// Runs on the page.
const RUNS: i64 = 20;

#[derive(Template)]
#[template(path = "pages/change.html")]
struct ChangePage {
    frame: Frame,
    repo: String,
    repo_url: String,
    number: String,
    pull_url: String,
    answer: Result<AnswerView, Html>,
    people: Vec<Choice>,
    projects: Vec<Choice>,
    runs: Html,
}

struct AnswerView {
    commit: String,
    commit_url: String,
    read: Moment,
    /// Nobody in particular: without the permission.
    for_nobody: bool,
    commands: Vec<CommandView>,
}

struct CommandView {
    name: &'static str,
    summary: Html,
    badge: Badge,
    in_short: Html,
    gates: Vec<GateView>,
}

/// One of several, in a form.
struct Choice {
    name: String,
    is_chosen: bool,
}

/// The handler. `?actor=<login>` asks for somebody who has given a command there, `?project=<name>` for one project.
pub async fn show(
    State(state): State<WebState>,
    Path((owner, name, number)): Path<(String, String, String)>,
    query: RawQuery,
) -> Result<Response, PageError> {
    let missing = || Problem::not_found(format!("there is nothing at /{owner}/{name}/pull/{number}"));
    let repo = RepoName::new(&owner, &name).map_err(|_| missing())?;
    let number = number.parse().ok().filter(|number| *number > 0).map(PrNumber).ok_or_else(missing)?;
    let change = known_change(&state, &repo, number).await?;
    let params = Params::new(query);
    let chosen = |name: &str| params.text(name).unwrap_or_default().to_owned();
    let (actor, project) = (chosen("actor"), chosen("project"));
    let links = Links::of(&state);
    let people = state.store.list_commanders(change).await?;
    let choice = |chosen: &str, name: String| Choice { is_chosen: name.eq_ignore_ascii_case(chosen), name };
    let mut projects = Vec::new();
    let answer = match read_gates(&state, change, &actor).await {
        Ok(explanation) => {
            if let Ok((_, tables)) = &explanation.outcome {
                projects = tables.keys().filter(|name| !name.is_empty()).cloned().collect();
            }
            answer(&links, &repo, explanation, &project, actor.is_empty())
        }
        Err(problem) => Err(problem),
    };
    let filter = RunFilter { change_id: Some(change), ..RunFilter::default() };
    let runs = state.store.list_runs(&filter, RUNS).await?;
    Ok(page(&ChangePage {
        frame: Frame::new(format!("Gates of {repo} {number}"), refresh(&runs)),
        repo_url: links.repository(&repo),
        pull_url: links.pull_request(&repo, number),
        repo: repo.to_string(),
        number: number.to_string(),
        answer: answer.map_err(|problem| markdown::line(problem.detail())),
        people: people.into_iter().map(|login| choice(&actor, login)).collect(),
        // Of one project there is nothing to choose.
        projects: match projects.len() {
            0 | 1 => Vec::new(),
            _ => projects.into_iter().map(|name| choice(&project, name)).collect(),
        },
        runs: RunTable::html(Scope::Repository, &links, &runs)?,
    }))
}

fn answer(
    links: &Links,
    repo: &RepoName,
    explanation: Explanation,
    project: &str,
    for_nobody: bool,
) -> Result<AnswerView, Problem> {
    let (head, mut tables) = explanation.outcome.map_err(Problem::unavailable)?;
    let mut table = tables.remove(project).ok_or_else(|| Problem::not_found("the policy has no such project"))?;
    let view = |name: CommandName| Some(command(name, &table.remove(name.as_str())?));
    Ok(AnswerView {
        commit: head.short().to_owned(),
        commit_url: links.commit(repo, &head),
        read: Moment::new(explanation.read_at),
        for_nobody,
        commands: CommandName::ALL.into_iter().filter_map(view).collect(),
    })
}

fn command(name: CommandName, gates: &[GateResult]) -> CommandView {
    let closed: Vec<&GateResult> = gates.iter().filter(|gate| !gate.passed()).collect();
    let in_short = match closed.as_slice() {
        [] => Html::default(),
        [only] => markdown::line(&only.observed),
        [first, rest @ ..] => markdown::line(&format!("{} (and {} more)", first.observed, rest.len())),
    };
    CommandView {
        name: name.as_str(),
        summary: markdown::line(name.summary()),
        badge: Badge::of_gates(closed.is_empty()),
        in_short,
        // What is in the way first, as in the comment.
        gates: closed.into_iter().chain(gates.iter().filter(|gate| gate.passed())).map(GateView::from).collect(),
    }
}
