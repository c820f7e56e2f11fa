//! The web servers that are deployed: one port a service, behind which the live commit's own files answer.
//!
//! Routes: `/health`, `/version` (`{"commit", "service", "service_id", "deploy"}`), `/` and every other file of the
//! commit's web root. Knows nothing of phases and never changes a deploy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::behaviour::{Health, Identity};
use super::engine::Shared;
use super::model::{Instance, Service};

/// Where a commit keeps its web pages: the first of these folders that has an `index.html`.
const WEB_ROOTS: [&str; 4] = ["dist/", "public/", "src/", ""];

/// One service's door.
#[derive(Clone)]
struct Door {
    shared: Arc<Shared>,
    service: String,
}

/// What one request meets.
struct Met {
    instance: Arc<Instance>,
    name: String,
    /// Health imposed from outside, else the commit's own.
    health: Health,
    /// Which health answer this would be, from one.
    nth: u64,
}

/// The router of one service's port.
pub fn router(shared: Arc<Shared>, service: String) -> Router {
    Router::new().fallback(answer).with_state(Door { shared, service })
}

async fn answer(State(door): State<Door>, request: Request) -> Response {
    let is_health = request.uri().path() == "/health";
    let met = door.shared.services().get_mut(&door.service).and_then(|service| meet(service, is_health));
    let Some(met) = met else {
        return (StatusCode::SERVICE_UNAVAILABLE, "this service is suspended or was never deployed\n").into_response();
    };
    tokio::time::sleep(met.instance.artifact.behaviour.latency).await;
    let mut response = match request.uri().path() {
        "/health" => health(&met),
        "/version" => version(&met, &door.service),
        path => page(&met, path),
    };
    if met.instance.artifact.behaviour.identity == Identity::Told
        && let Ok(commit) = HeaderValue::from_str(&met.instance.commit)
    {
        response.headers_mut().insert("x-commit", commit);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The instance that gets this request: while the one before leaves, it gets every other request.
fn meet(service: &mut Service, is_health: bool) -> Option<Met> {
    if service.suspended {
        return None;
    }
    service.requests += 1;
    if service.leaving.as_ref().is_some_and(|(_, until)| Instant::now() >= *until) {
        service.leaving = None;
    }
    let leaving = service.leaving.as_ref().filter(|_| service.requests % 2 == 1).map(|(instance, _)| instance.clone());
    let instance = leaving.or_else(|| service.live.clone())?;
    service.health_requests += u64::from(is_health);
    let health = service.forced_health.clone().unwrap_or_else(|| instance.artifact.behaviour.health.clone());
    Some(Met { instance, name: service.name.clone(), health, nth: service.health_requests })
}

fn health(met: &Met) -> Response {
    let good = met.health.is_good(since(met.instance.live_since), met.nth);
    let (status, word) = if good { (StatusCode::OK, "ok") } else { (StatusCode::INTERNAL_SERVER_ERROR, "failing") };
    (status, axum::Json(serde_json::json!({"status": word}))).into_response()
}

fn since(start: Instant) -> Duration {
    Instant::now().saturating_duration_since(start)
}

fn version(met: &Met, service: &str) -> Response {
    if met.instance.artifact.behaviour.identity == Identity::Hidden {
        return StatusCode::NOT_FOUND.into_response();
    }
    let told = serde_json::json!({
        "commit": met.instance.commit,
        "service": met.name,
        "service_id": service,
        "deploy": met.instance.deploy,
    });
    axum::Json(told).into_response()
}

fn page(met: &Met, path: &str) -> Response {
    let files = &met.instance.artifact.files;
    let root = WEB_ROOTS.iter().find(|root| files.contains_key(&format!("{root}index.html")));
    let name = match path.trim_start_matches('/') {
        "" => "index.html",
        name => name,
    };
    let found = root.and_then(|root| files.get(&format!("{root}{name}")));
    match (found, name) {
        (Some(bytes), name) if name.ends_with(".html") => html(&fill_in(&String::from_utf8_lossy(bytes), met)),
        (Some(bytes), name) => ([(header::CONTENT_TYPE, content_type(name))], Bytes::clone(bytes)).into_response(),
        (None, "index.html") => {
            html(&fill_in("<!doctype html><title>{{service}}</title><h1>{{message}}</h1><p>{{commit}}</p>", met))
        }
        (None, _) => (StatusCode::NOT_FOUND, "not found\n").into_response(),
    }
}

fn html(text: &str) -> Response {
    axum::response::Html(text.to_owned()).into_response()
}

/// Writes message, commit and service name where the page asks for them.
fn fill_in(template: &str, met: &Met) -> String {
    template
        .replace("{{message}}", &escape(&met.instance.artifact.behaviour.message))
        .replace("{{commit}}", &escape(&met.instance.commit))
        .replace("{{service}}", &escape(&met.name))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
