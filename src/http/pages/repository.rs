//! `/{owner}/{repo}`: where each project of a repository stands, what was live before, and its recent runs.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};

use super::index::{RunTable, Scope, refresh};
use super::words::{Badge, Moment};
use super::{Frame, PageError, page};
use crate::domain::ids::{Environment, RepoName};
use crate::domain::lock::ordinal;
use crate::domain::snapshot::WaitingFact;
use crate::http::WebState;
use crate::http::links::Links;
use crate::http::markdown::Html;
use crate::http::pipeline::{self, Pipeline, Place};
use crate::http::problem::Problem;
use crate::store::listings::ReleaseListing;
use crate::store::runs::RunFilter;

/// Runs on the page.
const RUNS: i64 = 20;
/// Pull requests on the page.
const CHANGES: i64 = 30;
/// Versions of a project on the page.
const HISTORY: i64 = 20;
/// First parts of paths that are not accounts.
const NOT_ACCOUNTS: [&str; 4] = ["api", "assets", "runs", "webhooks"];

#[derive(Template)]
#[template(path = "pages/repository.html")]
struct RepositoryPage {
    frame: Frame,
    repo: String,
    github_url: String,
    armed: bool,
    halt: Option<HaltView>,
    projects: Vec<ProjectView>,
    /// Open pull requests with commands, the latest first.
    changes: Vec<ChangeLink>,
    runs: Html,
    all_runs: String,
}

struct ChangeLink {
    number: String,
    url: String,
}

struct HaltView {
    by: String,
    reason: String,
    /// Where it was called; empty: here.
    elsewhere: String,
}

struct ProjectView {
    name: String,
    active: Option<ActiveView>,
    line: Vec<WaitingView>,
    places: Vec<PlaceView>,
    history: Vec<ReleaseView>,
}

struct ActiveView {
    kind: &'static str,
    number: String,
    url: String,
}

struct PlaceView {
    environment: &'static str,
    url: Option<String>,
    /// The address without its scheme.
    host: String,
    current: Option<ReleaseView>,
    lock: Option<LockView>,
}

/// One who waits.
struct WaitingView {
    place: String,
    kind: &'static str,
    number: String,
    pull_url: String,
    by: String,
    since: Moment,
}

struct LockView {
    number: String,
    pull_url: String,
    by: String,
    reason: String,
    since: Moment,
}

struct ReleaseView {
    environment: &'static str,
    badge: Badge,
    commit: String,
    commit_url: String,
    since: Moment,
    by: Option<BringerView>,
    /// `live now`, `rollback target`, or nothing.
    role: &'static str,
}

struct BringerView {
    run_url: String,
    kind: &'static str,
    actor: String,
    number: String,
    pull_url: String,
}

/// The handler.
pub async fn show(State(state): State<WebState>, Path((owner, name)): Path<(String, String)>) -> Response {
    if NOT_ACCOUNTS.contains(&owner.as_str()) {
        return Problem::not_found(format!("there is nothing at /{owner}/{name}")).into_response();
    }
    match repository(&state, &owner, &name).await {
        Ok(page) => page,
        Err(error) => error.into_response(),
    }
}

async fn repository(state: &WebState, owner: &str, name: &str) -> Result<Response, PageError> {
    let missing = || {
        Problem::not_found(format!(
            "Titan has not met a repository {owner}/{name}. Install the App on it, then comment /titan help on a pull request."
        ))
    };
    let repo = RepoName::new(owner, name).map_err(|_| missing())?;
    let (id, repo, _) = state.store.find_repository(&repo).await?.ok_or_else(missing)?;
    let (armed, halt) = state.store.may_deploy(id).await?;
    let links = Links::of(state);
    let projects = state.store.list_projects(Some(&repo)).await?;
    let mut views = Vec::with_capacity(projects.len());
    for pipeline in pipeline::gather(&state.store, projects).await? {
        let history = state.store.list_release_history(pipeline.project.id, HISTORY).await?;
        views.push(project(&links, &repo, pipeline, history));
    }
    let change = |number| ChangeLink { number: format!("{number}"), url: links.change(&repo, number) };
    let changes = state.store.list_open_changes(id, CHANGES).await?.into_iter().map(change).collect();
    let filter = RunFilter { repository_id: Some(id), ..RunFilter::default() };
    let runs = state.store.list_runs(&filter, RUNS).await?;
    Ok(page(&RepositoryPage {
        frame: Frame::new(repo.to_string(), refresh(&runs)),
        github_url: links.repository_at_github(&repo),
        armed,
        halt: halt.map(|halt| HaltView {
            by: halt.by,
            reason: halt.reason,
            elsewhere: halt.elsewhere.map(|repo| repo.to_string()).unwrap_or_default(),
        }),
        projects: views,
        changes,
        runs: RunTable::html(Scope::Repository, &links, &runs)?,
        all_runs: format!("/api/runs?repository={repo}"),
        repo: repo.to_string(),
    }))
}

fn project(links: &Links, repo: &RepoName, pipeline: Pipeline, history: Vec<ReleaseListing>) -> ProjectView {
    let live = history.iter().find(|r| r.environment == Environment::Production && r.current);
    // The newest good version of another commit is what a rollback restores.
    let target = history.iter().find(|r| {
        r.environment == Environment::Production
            && r.status == "good"
            && live.is_some_and(|live| live.commit != r.commit)
    });
    let view = |release: &ReleaseListing| {
        let role = match (release.current, target) {
            (true, _) => "live now",
            (false, Some(target)) if std::ptr::eq(target, release) => "rollback target",
            _ => "",
        };
        release_view(links, repo, release, role)
    };
    ProjectView {
        name: pipeline.project.name.to_string(),
        line: pipeline
            .line
            .into_iter()
            .enumerate()
            .map(|(at, waiting)| waiting_view(links, repo, at, waiting))
            .collect(),
        active: pipeline.active.map(|run| ActiveView {
            kind: run.kind.as_str(),
            number: run.number.to_string(),
            url: links.run(run.id),
        }),
        history: history.iter().map(view).collect(),
        places: pipeline.places.into_iter().map(|place| place_view(links, repo, place)).collect(),
    }
}

fn waiting_view(links: &Links, repo: &RepoName, at: usize, waiting: WaitingFact) -> WaitingView {
    WaitingView {
        place: ordinal(at + 1),
        kind: waiting.kind.as_str(),
        number: waiting.number.to_string(),
        pull_url: links.pull_request(repo, waiting.number),
        by: waiting.by,
        since: Moment::new(waiting.since),
    }
}

fn place_view(links: &Links, repo: &RepoName, place: Place) -> PlaceView {
    let host = place.url.as_deref().unwrap_or_default();
    let host = host.split_once("://").map_or(host, |(_, rest)| rest).trim_end_matches('/').to_owned();
    PlaceView {
        environment: place.environment.as_str(),
        host,
        // Foreign text in a link's address: a policy is checked when it is read, and a link to anything else is none.
        url: place.url.filter(|url| url.starts_with("https://") || url.starts_with("http://")),
        current: place.current.map(|release| release_view(links, repo, &release, "")),
        lock: place.lock.map(|lock| LockView {
            number: lock.owner.to_string(),
            pull_url: links.pull_request(repo, lock.owner),
            by: lock.by,
            reason: lock.reason,
            since: Moment::new(lock.since),
        }),
    }
}

fn release_view(links: &Links, repo: &RepoName, release: &ReleaseListing, role: &'static str) -> ReleaseView {
    ReleaseView {
        environment: release.environment.as_str(),
        badge: Badge::of_release(&release.status),
        commit: release.commit.short().to_owned(),
        commit_url: links.commit(repo, &release.commit),
        since: Moment::new(release.since),
        by: release.brought.as_ref().map(|by| BringerView {
            run_url: links.run(by.run),
            kind: by.kind.as_str(),
            actor: by.actor.clone(),
            number: by.number.to_string(),
            pull_url: links.pull_request(repo, by.number),
        }),
        role,
    }
}
