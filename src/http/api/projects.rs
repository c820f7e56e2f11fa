//! Projects with their pipelines: what is live where, who holds what, what runs now.

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};

use super::params::Params;
use crate::domain::ids::{CommitSha, Environment, PrNumber, ProjectName, RepoName};
use crate::domain::lock::HeldFor;
use crate::http::WebState;
use crate::http::links::Links;
use crate::http::pipeline::{self, Pipeline};
use crate::http::problem::Problem;
use crate::store::listings::ReleaseListing;

/// Versions in a project's history.
const HISTORY: i64 = 50;

#[derive(Serialize)]
struct ProjectJson {
    id: i64,
    name: ProjectName,
    repository: RepoName,
    /// Canary first.
    environments: Vec<EnvironmentJson>,
    active_run: Option<Value>,
    line: Vec<Value>,
    links: Value,
}

#[derive(Serialize)]
struct EnvironmentJson {
    environment: Environment,
    url: Option<String>,
    release: Option<ReleaseJson>,
    lock: Option<LockJson>,
}

#[derive(Serialize)]
struct ReleaseJson {
    environment: Environment,
    commit: CommitSha,
    status: String,
    current: bool,
    since: DateTime<Utc>,
    /// What brought it; `null` for a version that was found there.
    brought_by: Option<Value>,
}

impl ReleaseJson {
    fn new(links: &Links, release: ReleaseListing) -> Self {
        let by = |b: crate::store::listings::Bringer| {
            json!({
                "run": b.run, "kind": b.kind, "actor": b.actor, "pull_request": b.number,
                "link": links.absolute(&links.run(b.run)),
            })
        };
        Self {
            environment: release.environment,
            commit: release.commit,
            status: release.status,
            current: release.current,
            since: release.since,
            brought_by: release.brought.map(by),
        }
    }
}

#[derive(Serialize)]
struct LockJson {
    pull_request: PrNumber,
    by: String,
    reason: String,
    since: DateTime<Utc>,
    held_for: HeldFor,
    expires_at: Option<DateTime<Utc>>,
}

impl ProjectJson {
    fn new(links: &Links, pipeline: Pipeline) -> Self {
        let project = pipeline.project;
        let active_run = pipeline.active.map(|run| {
            let link = links.absolute(&links.run(run.id));
            json!({ "id": run.id, "kind": run.kind, "pull_request": run.number, "link": link })
        });
        let waits = |waiting: crate::domain::snapshot::WaitingFact| {
            json!({ "kind": waiting.kind, "pull_request": waiting.number, "by": waiting.by, "head": waiting.head,
                    "since": waiting.since })
        };
        let line = pipeline.line.into_iter().map(waits).collect();
        let environment = |place: pipeline::Place| EnvironmentJson {
            environment: place.environment,
            url: place.url,
            release: place.current.map(|release| ReleaseJson::new(links, release)),
            lock: place.lock.map(|l| LockJson {
                pull_request: l.owner,
                by: l.by,
                reason: l.reason,
                since: l.since,
                held_for: l.held_for,
                expires_at: l.expires_at,
            }),
        };
        Self {
            environments: pipeline.places.into_iter().map(environment).collect(),
            active_run,
            line,
            links: json!({
                "self": links.absolute(&format!("/api/projects/{}", project.id)),
                "page": links.absolute(&links.repository(&project.repo)),
                "repository": links.repository_at_github(&project.repo),
            }),
            id: project.id,
            name: project.name,
            repository: project.repo,
        }
    }
}

/// `GET /api/projects?repository=`: by repository and name.
pub(super) async fn list(State(state): State<WebState>, query: RawQuery) -> Result<Json<Value>, Problem> {
    let repository: Option<RepoName> = Params::new(query).read("repository", "owner/name")?;
    let projects = state.store.list_projects(repository.as_ref()).await?;
    let links = Links::of(&state);
    let pipelines = pipeline::gather(&state.store, projects).await?;
    let projects: Vec<ProjectJson> = pipelines.into_iter().map(|p| ProjectJson::new(&links, p)).collect();
    Ok(Json(json!({ "projects": projects })))
}

/// `GET /api/projects/{id}`: one project, with what was live on it, newest first.
pub(super) async fn show(State(state): State<WebState>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let missing = || Problem::not_found("there is no such project; /api/projects lists the projects");
    let id: i64 = id.parse().map_err(|_| missing())?;
    let project = state.store.find_project(id).await?.ok_or_else(missing)?;
    let links = Links::of(&state);
    let pipeline = pipeline::gather(&state.store, vec![project]).await?.into_iter().next().ok_or_else(missing)?;
    let history = state.store.list_release_history(id, HISTORY).await?;
    let history: Vec<ReleaseJson> = history.into_iter().map(|release| ReleaseJson::new(&links, release)).collect();
    Ok(Json(json!({ "project": ProjectJson::new(&links, pipeline), "history": history })))
}
