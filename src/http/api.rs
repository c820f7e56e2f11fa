//! The read side of the API: runs, their live events and logs, and projects with their pipelines. JSON; errors are
//! [`Problem`]s.

mod events;
mod explain;
pub(super) mod params;
mod projects;
mod runs;

use axum::Router;
use axum::routing::get;

use super::WebState;
use super::problem::Problem;
use crate::domain::ids::RunId;
use crate::store::runs::Run;

/// Everything under `/api/runs` and `/api/projects`, and `/api/explain`.
pub fn routes() -> Router<WebState> {
    Router::new()
        .route("/api/runs", get(runs::list))
        .route("/api/runs/{id}", get(runs::show))
        .route("/api/runs/{id}/log", get(runs::log))
        .route("/api/runs/{id}/receipt", get(runs::receipt))
        .route("/api/explain", get(explain::show))
        .route("/api/projects", get(projects::list))
        .route("/api/projects/{id}", get(projects::show))
}

/// The event streams, which must not be compressed: a compressor would hold events back.
pub fn streams() -> Router<WebState> {
    Router::new().route("/api/runs/{id}/events", get(events::stream))
}

/// The run that a path names.
async fn find_run(state: &WebState, id: &str) -> Result<Run, Problem> {
    let missing = || Problem::not_found("there is no such run; /api/runs lists the runs");
    let id: RunId = id.parse().map_err(|_| missing())?;
    state.store.find_run(id).await?.ok_or_else(missing)
}
