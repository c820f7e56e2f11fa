//! What Titan answers over HTTP: GitHub's webhooks, the API, live events and the pages.
//!
//! It verifies, stores and shows. It decides nothing, starts no run and makes no call to GitHub or Render: what is to be
//! done is queued in the same transaction as the delivery, and a worker does it.

mod ansi;
pub mod api;
pub mod assets;
mod explain;
pub mod health;
pub mod links;
pub mod live;
pub mod markdown;
pub mod metrics;
pub mod pages;
pub mod pipeline;
pub mod problem;
pub mod schema;
pub mod webhook;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use url::Url;

use crate::store::Store;
pub use health::Builds;
pub use live::EventHub;
use problem::Problem;

/// How long reading for one answer may take; a stream of events may take as long as it likes.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Headers of every answer. Pages run one script and take nothing from elsewhere; nobody may put them into a frame.
const SECURITY_HEADERS: [(&str, &str); 4] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("x-frame-options", "DENY"),
];

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
    /// Announces runs that have something new.
    pub events: EventHub,
    /// What becomes of builds on this machine.
    pub builds: watch::Receiver<Builds>,
    /// The process's own counters.
    pub metrics: PrometheusHandle,
}

/// Every route of Titan. A server that drains its connections calls [`EventHub::shutdown`] first, because a stream of
/// events ends only with its run.
pub fn router(state: WebState) -> Router {
    metrics::describe();
    let pages = Router::new()
        .merge(pages::routes())
        .layer(CatchPanicLayer::custom(|_| pages::after_panic()))
        .layer(middleware::from_fn(limit_time_of_page));
    let data = Router::new()
        .merge(health::routes())
        .merge(metrics::routes())
        .merge(api::routes())
        .merge(schema::routes())
        .layer(middleware::from_fn(limit_time));
    Router::new()
        .merge(pages)
        .merge(data)
        .merge(assets::routes())
        .layer(CompressionLayer::new())
        .merge(api::streams())
        .merge(webhook::routes())
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(|_| problem::after_panic()))
        .layer(middleware::from_fn(secure))
        .layer(middleware::from_fn(observe))
        .with_state(state)
}

/// Whether programs, not people, look at this path.
fn is_for_programs(path: &str) -> bool {
    ["/api", "/webhooks", "/assets", "/schema"]
        .iter()
        .any(|area| path == *area || path.starts_with(&format!("{area}/")))
}

async fn no_such_path(uri: Uri) -> Response {
    match is_for_programs(uri.path()) {
        true => Problem::not_found(format!("there is nothing at {}", uri.path())).into_response(),
        false => pages::no_such_page(uri.path()).into_response(),
    }
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let problem = Problem::wrong_method(&method, uri.path());
    match is_for_programs(uri.path()) {
        true => problem.into_response(),
        false => pages::PageError::from(problem).into_response(),
    }
}

fn too_slow() -> Problem {
    Problem::unavailable(format!("the answer took longer than {} s; try again in a moment", TIME_LIMIT.as_secs()))
}

async fn limit_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(TIME_LIMIT, next.run(request)).await.unwrap_or_else(|_| too_slow().into_response())
}

async fn limit_time_of_page(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(TIME_LIMIT, next.run(request)).await;
    answer.unwrap_or_else(|_| pages::PageError::from(too_slow()).into_response())
}

async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// Counts a request and logs it: method, path and status, never a query, a header or a body.
async fn observe(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", |matched| matched.as_str()).to_owned();
    // Anybody can make methods up; each would be a counter of its own.
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let path = request.uri().path().to_owned();
    let begun = std::time::Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let duration_ms = begun.elapsed().as_millis() as u64;
    if response.status().is_server_error() {
        tracing::warn!(method, path, status, duration_ms, "request failed");
    } else {
        tracing::debug!(method, path, status, duration_ms, "request answered");
    }
    let labels = [("route", route), ("method", method), ("status", status.to_string())];
    ::metrics::counter!("titan_http_requests_total", &labels).increment(1);
    response
}
