//! `/`: recent runs of all repositories; and the list of runs that other pages show too.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use url::form_urlencoded;

use super::words::{Badge, Moment, took};
use super::{Frame, PageError, page};
use crate::domain::gates::GateResult;
use crate::domain::ids::RunId;
use crate::domain::run::Conclusion;
use crate::http::WebState;
use crate::http::links::Links;
use crate::http::markdown::{self, Html};
use crate::http::problem::Problem;
use crate::store::runs::{Run, RunFilter};

/// Runs on one page.
const RUNS: i64 = 30;
/// Seconds between two looks while something is going on.
const REFRESH: u32 = 10;

/// One row of a list of runs.
pub struct RunRow {
    url: String,
    badge: Badge,
    kind: &'static str,
    project: String,
    summary: Html,
    repo: String,
    repo_url: String,
    number: String,
    pull_url: String,
    commit: String,
    commit_url: String,
    actor: String,
    at: Moment,
    took: String,
}

impl RunRow {
    /// How a run is shown in a list.
    pub fn new(links: &Links, run: &Run) -> Self {
        let refused = run.status.conclusion() == Some(Conclusion::Refused);
        Self {
            url: links.run(run.id),
            badge: Badge::of_run(run.status),
            kind: run.kind.as_str(),
            project: run.project.as_ref().map(ToString::to_string).unwrap_or_default(),
            summary: if refused { why_refused(&run.gates) } else { markdown::line(&run.summary) },
            repo: run.repo.to_string(),
            repo_url: links.repository(&run.repo),
            number: run.number.to_string(),
            pull_url: links.pull_request(&run.repo, run.number),
            commit: run.head.short().to_owned(),
            commit_url: links.commit(&run.repo, &run.head),
            actor: run.actor.clone(),
            at: Moment::new(run.created_at),
            took: if refused { String::new() } else { took(run.created_at, run.completed_at) },
        }
    }
}

/// The gates that said no, by what each saw.
pub fn why_refused(gates: &[GateResult]) -> Html {
    let failed: Vec<&str> = gates.iter().filter(|g| !g.passed()).map(|g| g.observed.as_str()).collect();
    markdown::line(&failed.join("; "))
}

/// Rows, and the column for the repository where it is not the same for all.
#[derive(Template)]
#[template(path = "pages/runs.html")]
pub struct RunTable {
    rows: Vec<RunRow>,
    scope: Scope,
}

/// Which runs a list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Of all repositories.
    Everywhere,
    /// Of one repository.
    Repository,
}

impl RunTable {
    /// The list as HTML; empty when there are no runs.
    pub fn html(scope: Scope, links: &Links, runs: &[Run]) -> Result<Html, PageError> {
        if runs.is_empty() {
            return Ok(Html::default());
        }
        let table = Self { rows: runs.iter().map(|run| RunRow::new(links, run)).collect(), scope };
        let html = table.render().map_err(|error| {
            tracing::error!(%error, "a list of runs could not be rendered");
            Problem::internal()
        })?;
        Ok(Html::trusted(html))
    }
}

/// Seconds until a list of runs should be looked at again, when one of them is under way.
pub fn refresh(runs: &[Run]) -> Option<u32> {
    runs.iter().any(|run| run.status.conclusion().is_none()).then_some(REFRESH)
}

#[derive(Template)]
#[template(path = "pages/index.html")]
struct IndexPage {
    frame: Frame,
    runs: Html,
    older: Option<String>,
    first: bool,
    webhook_url: String,
}

/// The handler. `?before=<run id>` turns the page.
pub async fn show(State(state): State<WebState>, RawQuery(query): RawQuery) -> Result<Response, PageError> {
    let query = query.unwrap_or_default();
    let before = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "before").map(|(_, value)| value);
    let before: Option<RunId> = match before {
        Some(id) => Some(id.parse().map_err(|_| Problem::bad_parameter("`before` is not the id of a run."))?),
        None => None,
    };
    let filter = RunFilter { before, ..RunFilter::default() };
    let mut runs = state.store.list_runs(&filter, RUNS + 1).await?;
    let more = runs.len() as i64 > RUNS;
    runs.truncate(RUNS as usize);
    let links = Links::of(&state);
    let under_way = runs.iter().filter(|run| run.status.conclusion().is_none()).count();
    let title = match under_way {
        0 => "Runs".to_owned(),
        n => format!("({n}) Runs"),
    };
    Ok(page(&IndexPage {
        frame: Frame::new(title, refresh(&runs)),
        older: runs.last().filter(|_| more).map(|last| format!("/?before={}", last.id)),
        runs: RunTable::html(Scope::Everywhere, &links, &runs)?,
        first: before.is_none(),
        webhook_url: links.absolute("/webhooks/github"),
    }))
}
