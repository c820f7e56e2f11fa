//! Runs: the list, one with everything about it, and its build log as plain text.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures::stream;
use serde::Serialize;
use serde_json::{Value, json};

use super::find_run;
use super::params::Params;
use crate::domain::gates::GateResult;
use crate::domain::ids::{CommitSha, Environment, PrNumber, ProjectName, RepoName, RunId};
use crate::domain::progress::{self, DiffProgress};
use crate::domain::run::{Conclusion, RunKind, StepName, StepStatus};
use crate::domain::verdict::{self, Figures};
use crate::http::WebState;
use crate::http::links::Links;
use crate::http::problem::Problem;
use crate::store::StoreError;
use crate::store::runs::{Run, RunFilter};
use crate::store::steps::Step;

/// Runs on one page of the list unless the client says otherwise.
const DEFAULT_LIMIT: i64 = 25;
/// Most runs on one page of the list.
const MAX_LIMIT: i64 = 100;

/// A run as the list shows it.
#[derive(Serialize)]
struct RunJson {
    id: RunId,
    repository: RepoName,
    pull_request: PrNumber,
    project: Option<ProjectName>,
    kind: RunKind,
    environment: Option<Environment>,
    head: CommitSha,
    actor: String,
    status: &'static str,
    conclusion: Option<Conclusion>,
    /// Markdown.
    summary: String,
    policy: Value,
    cancel_requested_by: Option<String>,
    cause: Option<RunId>,
    created_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
    links: Value,
}

impl RunJson {
    fn new(links: &Links, run: Run) -> Self {
        let log = (run.kind == RunKind::Propose).then(|| links.absolute(&format!("/api/runs/{}/log", run.id)));
        Self {
            links: json!({
                "self": links.absolute(&format!("/api/runs/{}", run.id)),
                "page": links.absolute(&links.run(run.id)),
                "events": links.absolute(&format!("/api/runs/{}/events", run.id)),
                "log": log,
                "pull_request": links.pull_request(&run.repo, run.number),
                "commit": links.commit(&run.repo, &run.head),
            }),
            id: run.id,
            repository: run.repo,
            pull_request: run.number,
            project: run.project,
            kind: run.kind,
            environment: run.kind.environment(),
            head: run.head,
            actor: run.actor,
            status: run.status.as_str(),
            conclusion: run.status.conclusion(),
            summary: run.summary,
            policy: json!({ "hash": run.policy_hash, "commit": run.policy_commit }),
            cancel_requested_by: run.cancel_by,
            cause: run.cause,
            created_at: run.created_at,
            completed_at: run.completed_at,
        }
    }
}

/// A run with everything about it.
#[derive(Serialize)]
struct RunDetailJson {
    #[serde(flatten)]
    run: RunJson,
    steps: Vec<StepJson>,
    gates: Vec<GateJson>,
    /// Numbers of the bake so far; absent when nothing was sampled.
    bake: Option<Figures>,
    artifacts: Vec<Value>,
    follow_up: Option<RunId>,
    /// The receipt of the path judgement: its address and its SHA-256; absent when nothing was judged.
    receipt: Option<Value>,
}

#[derive(Serialize)]
struct StepJson {
    position: i32,
    name: StepName,
    status: StepStatus,
    /// Markdown.
    detail: String,
    started_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
}

impl From<Step> for StepJson {
    fn from(step: Step) -> Self {
        Self {
            position: step.position,
            name: step.name,
            status: step.status,
            detail: step.detail,
            started_at: step.started_at,
            completed_at: step.completed_at,
        }
    }
}

/// What a gate answered.
#[derive(Serialize)]
pub(super) struct GateJson {
    passed: bool,
    #[serde(flatten)]
    result: GateResult,
}

impl GateJson {
    /// Whether the gate is met.
    pub(super) fn passed(&self) -> bool {
        self.passed
    }
}

impl From<GateResult> for GateJson {
    fn from(result: GateResult) -> Self {
        Self { passed: result.passed(), result }
    }
}

/// `GET /api/runs?limit=&before=&repository=`: newest first, paged by key.
pub(super) async fn list(State(state): State<WebState>, query: RawQuery) -> Result<Response, Problem> {
    let params = Params::new(query);
    let limit: i64 = params.read("limit", "a number from 1 to 100")?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::bad_parameter(format!("`limit` is {limit}; expected a number from 1 to {MAX_LIMIT}")));
    }
    let before: Option<RunId> = params.read("before", "the id of a run")?;
    let repository: Option<RepoName> = params.read("repository", "owner/name")?;
    let mut filter = RunFilter { before, ..RunFilter::default() };
    if let Some(name) = &repository {
        let found = state.store.find_repository(name).await?;
        let missing = || Problem::not_found(format!("Titan has not met the repository {name}; is the App installed?"));
        filter.repository_id = Some(found.ok_or_else(missing)?.0);
    }
    let mut runs = state.store.list_runs(&filter, limit + 1).await?;
    let more = runs.len() as i64 > limit;
    runs.truncate(limit as usize);
    let next = runs.last().filter(|_| more).map(|last| {
        let repository = repository.map(|name| format!("&repository={name}")).unwrap_or_default();
        format!("/api/runs?limit={limit}&before={}{repository}", last.id)
    });
    let links = Links::of(&state);
    let runs: Vec<RunJson> = runs.into_iter().map(|run| RunJson::new(&links, run)).collect();
    Ok(Json(json!({ "runs": runs, "next": next })).into_response())
}

/// `GET /api/runs/{id}`.
pub(super) async fn show(State(state): State<WebState>, Path(id): Path<String>) -> Result<Response, Problem> {
    let run = find_run(&state, &id).await?;
    let (id, gates) = (run.id, run.gates.clone());
    let links = Links::of(&state);
    let samples = state.store.list_samples(id).await?;
    let artifacts = state.store.list_artifacts(id).await?;
    let steps = state.store.list_steps(id).await?;
    let diff = steps.iter().find(|step| step.name == StepName::Diff);
    let sha256 = diff.and_then(|step| progress::read::<DiffProgress>(&step.progress).receipt);
    let address = links.absolute(&format!("/api/runs/{id}/receipt"));
    let detail = RunDetailJson {
        run: RunJson::new(&links, run),
        receipt: sha256.map(|sha256| json!({ "url": address, "sha256": sha256 })),
        steps: steps.into_iter().map(StepJson::from).collect(),
        gates: gates.into_iter().map(GateJson::from).collect(),
        bake: (!samples.is_empty()).then(|| verdict::figures(&samples)),
        artifacts: artifacts.iter().map(|a| json!({ "kind": a.kind, "bytes": a.bytes })).collect(),
        follow_up: state.store.find_follow_up(id).await?.map(|run| run.id),
    };
    Ok(Json(detail).into_response())
}

/// `GET /api/runs/{id}/receipt`: what the run's path judgement judged, byte for byte as it was written; its SHA-256 is
/// the entity tag.
pub(super) async fn receipt(State(state): State<WebState>, Path(id): Path<String>) -> Result<Response, Problem> {
    let run = find_run(&state, &id).await?.id;
    let found = state.store.find_receipt(run).await?;
    let (sha256, body) = found.ok_or_else(|| Problem::not_found("this run judged no files, so it has no receipt"))?;
    let kind = (header::CONTENT_TYPE, "application/json".to_owned());
    Ok(([kind, (header::ETAG, format!("\"{sha256}\""))], body).into_response())
}

/// `GET /api/runs/{id}/log`: the build log as it is so far, as plain text; empty when nothing was built.
pub(super) async fn log(State(state): State<WebState>, Path(id): Path<String>) -> Result<Response, Problem> {
    let run = find_run(&state, &id).await?.id;
    let chunks = stream::try_unfold(0_i64, move |after| {
        let store = state.store.clone();
        async move {
            let chunks = store.read_log_after(run, after).await?;
            let last = chunks.last().map(|chunk| chunk.seq);
            let text: String = chunks.into_iter().map(|chunk| chunk.content).collect();
            Ok::<_, StoreError>(last.map(|seq| (Bytes::from(text), seq)))
        }
    });
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], Body::from_stream(chunks)).into_response())
}
