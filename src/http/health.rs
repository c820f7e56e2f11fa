//! Is Titan alive, and can it do its work.
//!
//! `/api/health` looks at nothing outside the process, so that a database that is away never gets Titan restarted.
//! `/api/ready` also tells whether builds can be isolated here; a Titan that cannot build still deploys, so it is ready.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;

use super::WebState;
use super::problem::Problem;

/// How long the database may take to answer.
const DATABASE_LIMIT: Duration = Duration::from_secs(4);

/// `/api/health` and `/api/ready`.
pub fn routes() -> Router<WebState> {
    Router::new().route("/api/health", get(health)).route("/api/ready", get(ready))
}

/// What becomes of builds on this machine, as the look at the start found it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "isolation", rename_all = "lowercase")]
pub enum Builds {
    /// The look is not over.
    #[default]
    Unknown,
    /// Each is locked in.
    Works {
        /// What limits their memory.
        memory_is_limited_by: String,
    },
    /// None is run, because none can be locked in.
    Missing {
        /// What is missing, and what to do.
        why: String,
    },
    /// The operator wants none.
    Off,
}

async fn health() -> Json<serde_json::Value> {
    Json(json!({ "status": "ok" }))
}

async fn ready(State(state): State<WebState>) -> Response {
    let checked = tokio::time::timeout(DATABASE_LIMIT, state.store.count_missing_migrations()).await;
    let detail = match checked {
        Ok(Ok(0)) => {
            let builds = state.builds.borrow().clone();
            return Json(json!({ "status": "ready", "builds": builds })).into_response();
        }
        Ok(Ok(missing)) => {
            format!(
                "{missing} migrations are not applied to the database; run `titan migrate`, or restart `titan serve`"
            )
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            "the database does not answer; check that Postgres runs and that DATABASE_URL names it".to_owned()
        }
        Err(_) => format!("the database did not answer within {} s", DATABASE_LIMIT.as_secs()),
    };
    Problem::unavailable(detail).into_response()
}
