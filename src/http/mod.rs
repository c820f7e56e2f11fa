//! What Titan answers over HTTP: GitHub's webhooks, the API, live events and the pages.
//!
//! It verifies, stores and shows. It decides nothing, starts no run and makes no call to GitHub or Render: what is to be
//! done is queued in the same transaction as the delivery, and a worker does it.

mod ansi;
pub mod api;
pub mod health;
pub mod links;
pub mod live;
pub mod metrics;
pub mod pipeline;
pub mod problem;
pub mod webhook;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::Response;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use tower_http::catch_panic::CatchPanicLayer;
use url::Url;

use crate::store::Store;
pub use live::EventHub;
use problem::Problem;

/// What the handlers share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WebState {
    /// Everything stored.
    pub store: Store,
    /// A webhook signed with any of these is GitHub's. Two while one replaces the other.
    pub webhook_secrets: Arc<[SecretString]>,
    /// How people reach Titan, for links that leave the page.
    pub public_url: Url,
    /// GitHub's pages, for links to pull requests and commits.
    pub github_url: Url,
    /// The `X-OPS-TOKEN` of the ops API; without it that API is closed.
    pub ops_token: Option<SecretString>,
    /// Announces runs that have something new.
    pub events: EventHub,
    /// The process's own counters.
    pub metrics: PrometheusHandle,
}

/// Every route of Titan.
pub fn router(state: WebState) -> Router {
    metrics::describe();
    Router::new()
        .merge(webhook::routes())
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(api::routes())
        .merge(api::streams())
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::from_fn(observe))
        .layer(CatchPanicLayer::custom(|_| problem::after_panic()))
        .with_state(state)
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    Problem::wrong_method(&method, uri.path())
}

/// Counts a request and logs it: method, path and status, never a query, a header or a body.
async fn observe(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<axum::extract::MatchedPath>().map(|m| m.as_str().to_owned());
    let route = route.unwrap_or_else(|| "unmatched".to_owned());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let begun = std::time::Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let duration_ms = begun.elapsed().as_millis() as u64;
    let labels = [("route", route), ("method", method.to_string()), ("status", status.to_string())];
    ::metrics::counter!("titan_http_requests_total", &labels).increment(1);
    if response.status().is_server_error() {
        tracing::warn!(%method, path, status, duration_ms, "request failed");
    } else {
        tracing::debug!(%method, path, status, duration_ms, "request answered");
    }
    response
}
