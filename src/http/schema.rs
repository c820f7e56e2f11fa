//! `/schema/titan.yml.json`: the policy file's JSON Schema, for editors.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header;
use axum::routing::get;

use super::WebState;
use crate::domain::policy::schema::policy_schema;

static SCHEMA: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", policy_schema()));

/// The one route.
pub fn routes() -> Router<WebState> {
    Router::new().route("/schema/titan.yml.json", get(show))
}

async fn show() -> ([(header::HeaderName, &'static str); 2], &'static str) {
    let kind = (header::CONTENT_TYPE, "application/schema+json");
    // Editors of other origins read it too.
    ([kind, (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")], SCHEMA.as_str())
}
