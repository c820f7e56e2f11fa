//! The pages that are read. Each takes one look at the simulators and prints it.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::Ui;
use super::read::{self, pull as read_pull, services as read_services, traffic as read_traffic};
use super::view::{
    Actor, CommitPage, FilesPage, MissingPage, PullPage, PullsPage, ServicesPage, TrafficPage, When, short,
};
use crate::clock;
use crate::playground::github::model::{Repository, State as GitHubState};
use crate::playground::sample::{LABEL, REPOSITORY};

/// The commands that have a button under a pull request.
const COMMANDS: [&str; 9] = [
    "/titan propose",
    "/titan canary",
    "/titan promote",
    "/titan rollback",
    "/titan status",
    "/titan help",
    "/titan arm",
    "/titan halt",
    "/titan resume",
];

/// What a page's address can say after `?`.
#[derive(Deserialize)]
pub(super) struct Asked {
    notice: Option<String>,
    show: Option<String>,
}

/// The first page is the list of pull requests.
pub(super) async fn home() -> Redirect {
    Redirect::to(&format!("/{REPOSITORY}/pulls"))
}

/// All pull requests.
pub(super) async fn pulls(State(ui): State<Ui>, headers: HeaderMap, uri: Uri) -> Response {
    with_repository(ui, headers, uri, |ui, headers, uri, _, repository| {
        let page = PullsPage {
            frame: ui.frame(headers, "pulls", uri.path(), "Pull requests"),
            sections: read::pull_rows(repository, clock::now()),
            services: read_services::cards(&ui.render),
        };
        Some(page.render())
    })
    .await
}

/// One pull request.
pub(super) async fn pull(
    State(ui): State<Ui>,
    Path((_, _, number)): Path<(String, String, u64)>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    with_repository(ui, headers, uri, move |ui, headers, uri, state, repository| {
        let (issue, pull) = repository.pull(number)?;
        let now = clock::now();
        let (merge, behind) = read_pull::merge(repository, issue, pull);
        let mut frame = ui.frame(headers, "pulls", uri.path(), &format!("{} · #{number}", issue.title));
        frame.notice = asked.notice;
        let page = PullPage {
            frame,
            pull: read_pull::head(repository, issue, pull),
            timeline: read_pull::timeline(state, repository, issue, now),
            checks: read_pull::checks(repository, &pull.head_sha),
            deployments: read_pull::deployments(repository, issue, now),
            labels: read::labels(repository, &issue.labels),
            labelled: issue.labels.iter().any(|label| label == LABEL),
            approvals: read_pull::approvals(pull),
            merge,
            behind,
            open: issue.open,
            services: read_services::cards(&ui.render),
            commands: &COMMANDS,
        };
        Some(page.render())
    })
    .await
}

/// The files of a pull request.
pub(super) async fn files(
    State(ui): State<Ui>,
    Path((_, _, number)): Path<(String, String, u64)>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    with_repository(ui, headers, uri, move |ui, headers, uri, _, repository| {
        let (issue, pull) = repository.pull(number)?;
        let page = FilesPage {
            frame: ui.frame(headers, "pulls", uri.path(), &format!("Files of {}", issue.title)),
            pull: read_pull::head(repository, issue, pull),
            files: read_pull::files(&repository.git, Some(&pull.base_sha), &pull.head_sha),
        };
        Some(page.render())
    })
    .await
}

/// One commit.
pub(super) async fn commit(
    State(ui): State<Ui>,
    Path((_, _, sha)): Path<(String, String, String)>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    with_repository(ui, headers, uri, move |ui, headers, uri, _, repository| {
        let commit = repository.git.resolve(&sha).and_then(|sha| repository.git.commit(&sha))?;
        let (subject, body) = commit.message.split_once('\n').unwrap_or((&commit.message, ""));
        let page = CommitPage {
            frame: ui.frame(headers, "pulls", uri.path(), short(&commit.sha)),
            author: Actor::new(&commit.author.name),
            at: When::new(commit.committer.at, clock::now()),
            subject: subject.to_owned(),
            body: body.trim().to_owned(),
            files: read_pull::files(&repository.git, None, &commit.sha),
            checks: read_pull::checks(repository, &commit.sha),
            sha: commit.sha,
        };
        Some(page.render())
    })
    .await
}

/// A check run's address leads to the pull request it belongs to, or to its commit.
pub(super) async fn check(
    State(ui): State<Ui>,
    Path((_, _, id)): Path<(String, String, u64)>,
    headers: HeaderMap,
) -> Response {
    let target = ui.github.read(|state| {
        let repository = state.repository(REPOSITORY)?;
        let run = repository.check_runs.iter().find(|run| run.id == id)?;
        let at_head = |number: &u64| repository.pull(*number).is_some_and(|(_, pull)| pull.head_sha == run.head_sha);
        Some(match repository.issues.keys().find(|number| at_head(number)) {
            Some(number) => format!("/{REPOSITORY}/pull/{number}#check-{id}"),
            None => format!("/{REPOSITORY}/commit/{}#check-{id}", run.head_sha),
        })
    });
    match target {
        Some(target) => Redirect::to(&target).into_response(),
        None => not_here(&ui, &headers, "/", "There is no such check run."),
    }
}

/// All services and their deploys.
pub(super) async fn services(State(ui): State<Ui>, headers: HeaderMap) -> Response {
    let page = ServicesPage {
        frame: ui.frame(&headers, "services", "/services", "Services"),
        services: read_services::panels(&ui.render, clock::now()),
    };
    show(page.render())
}

/// All requests that passed.
pub(super) async fn traffic(State(ui): State<Ui>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    let shown = match asked.show.as_deref() {
        Some("github") => "github",
        Some("render") => "render",
        Some("webhooks") => "webhooks",
        _ => "all",
    };
    let mut passed = Vec::new();
    if matches!(shown, "all" | "github") {
        passed.extend(read_traffic::asked("Titan → GitHub", ui.github.calls().all()));
    }
    if matches!(shown, "all" | "render") {
        passed.extend(read_traffic::asked("Titan → Render", ui.render.log().all()));
    }
    if matches!(shown, "all" | "webhooks") {
        passed.extend(read_traffic::told(ui.github.deliveries()));
    }
    let (calls, older) = read_traffic::calls(passed, clock::now());
    let page = TrafficPage { frame: ui.frame(&headers, "traffic", "/traffic", "Traffic"), calls, older, shown };
    show(page.render())
}

/// Everything else.
pub(super) async fn missing(State(ui): State<Ui>, headers: HeaderMap, uri: Uri) -> Response {
    not_here(&ui, &headers, uri.path(), "There is nothing at this address.")
}

/// Prints a page about the sample repository, away from the async threads because git is asked for differences.
async fn with_repository<F>(ui: Ui, headers: HeaderMap, uri: Uri, print: F) -> Response
where
    F: FnOnce(&Ui, &HeaderMap, &Uri, &GitHubState, &Repository) -> Option<askama::Result<String>> + Send + 'static,
{
    let printed = tokio::task::spawn_blocking(move || {
        let wanted = uri.path().trim_start_matches('/').splitn(3, '/').take(2).collect::<Vec<_>>().join("/");
        let page = ui.github.read(|state| {
            let repository = state.repository(&wanted)?;
            print(&ui, &headers, &uri, state, repository)
        });
        match page {
            Some(page) => show(page),
            None => not_here(&ui, &headers, uri.path(), "There is no such pull request or commit."),
        }
    });
    printed.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

fn show(page: askama::Result<String>) -> Response {
    match page {
        Ok(page) => Html(page).into_response(),
        Err(error) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("the page cannot be printed: {error}\n")).into_response()
        }
    }
}

fn not_here(ui: &Ui, headers: &HeaderMap, path: &str, what: &str) -> Response {
    let page = MissingPage { frame: ui.frame(headers, "", path, "Not here"), what: what.to_owned() };
    (StatusCode::NOT_FOUND, show(page.render())).into_response()
}
