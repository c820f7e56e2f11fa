//! Render's REST API v1: reads a request, asks the model, writes the answer.
//!
//! Only what Titan uses is here; anything else is 404, so that a call outside the contract is noticed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, RawQuery, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq;

use super::engine::Shared;
use super::model::{Asked, Deploy, Service, Status, Trigger};
use super::source::{self, SourceError};
use super::wire::{self, ApiError};

type Answer = Result<Response, ApiError>;
type Api = State<Arc<Shared>>;

/// The routes under `/v1`.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/services", get(list_services))
        .route("/services/{service}", get(get_service).patch(update_service))
        .route("/services/{service}/deploys", get(list_deploys).post(create_deploy))
        .route("/services/{service}/deploys/{deploy}", get(get_deploy))
        .route("/services/{service}/deploys/{deploy}/cancel", post(cancel_deploy))
        .route("/services/{service}/rollback", post(roll_back))
        .route("/services/{service}/suspend", post(suspend))
        .route("/services/{service}/resume", post(resume))
        .fallback(async |request: Request| ApiError::not_found(request.uri().path()))
        .layer(axum::middleware::from_fn_with_state(shared.clone(), guard))
        .with_state(shared)
}

/// Counts the request, checks the key and what the client accepts, and tells the rate limit on every answer.
async fn guard(State(shared): Api, request: Request, next: Next) -> Response {
    let allowance = shared.rates.take(request.method().as_str(), request.uri().path(), Instant::now());
    let mut response = if !allowance.passes {
        let message = "rate limit exceeded; try again after the seconds in Retry-After".to_owned();
        let mut response = ApiError(StatusCode::TOO_MANY_REQUESTS, message).into_response();
        response.headers_mut().insert(header::RETRY_AFTER, allowance.reset_seconds.into());
        response
    } else if !has_key(&request, &shared.api_key) {
        ApiError(StatusCode::UNAUTHORIZED, "Unauthorized".to_owned()).into_response()
    } else if !accepts_json(&request) {
        ApiError(StatusCode::NOT_ACCEPTABLE, "only application/json can be answered".to_owned()).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    let numbers = [
        ("ratelimit-limit", u64::from(allowance.limit)),
        ("ratelimit-remaining", u64::from(allowance.remaining)),
        ("ratelimit-reset", allowance.reset_seconds),
    ];
    for (name, value) in numbers {
        headers.insert(HeaderName::from_static(name), value.into());
    }
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()) {
        headers.insert(HeaderName::from_static("render-request-id"), id);
    }
    response
}

fn has_key(request: &Request, key: &str) -> bool {
    let sent = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    sent.and_then(|value| value.strip_prefix("Bearer "))
        .is_some_and(|sent| sent.as_bytes().ct_eq(key.as_bytes()).into())
}

fn accepts_json(request: &Request) -> bool {
    let accepted = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_none_or(|list| ["application/json", "application/*", "*/*"].iter().any(|kind| list.contains(kind)))
}

/// Reads a service, or says 404.
fn read<T>(shared: &Shared, id: &str, read: impl FnOnce(&Service) -> T) -> Result<T, ApiError> {
    shared.services().get(id).map(read).ok_or_else(|| ApiError::not_found(id))
}

fn read_body<T: for<'a> Deserialize<'a>>(body: &Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request(format!("the body cannot be read: {error}")))
}

/// The parameters of a list request, each by name with all its values.
struct Query(HashMap<String, Vec<String>>);

impl Query {
    fn parse(raw: Option<&str>) -> Self {
        let mut values: HashMap<String, Vec<String>> = HashMap::new();
        for (name, value) in url::form_urlencoded::parse(raw.unwrap_or_default().as_bytes()) {
            values.entry(name.into_owned()).or_default().push(value.into_owned());
        }
        Self(values)
    }

    fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Values of a parameter that the specification writes as one list with commas.
    fn listed(&self, name: &str) -> Vec<&str> {
        self.all(name).iter().flat_map(|value| value.split(',')).collect()
    }

    fn time(&self, name: &str) -> Result<Option<DateTime<Utc>>, ApiError> {
        let Some(text) = self.all(name).first() else { return Ok(None) };
        let time = DateTime::parse_from_rfc3339(text);
        time.map(|time| Some(time.with_timezone(&Utc)))
            .map_err(|_| ApiError::bad_request(format!("{name} is not an ISO 8601 time")))
    }

    fn limit(&self) -> Result<usize, ApiError> {
        let Some(text) = self.all("limit").first() else { return Ok(20) };
        let limit = text.parse().ok().filter(|limit| (1..=100).contains(limit));
        limit.ok_or_else(|| ApiError::bad_request("limit must be 1 to 100"))
    }

    /// One page of `items`: those after the cursor, up to the limit, each under its name beside its own cursor.
    fn page(&self, items: &[(String, Value)], name: &str) -> Result<Json<Value>, ApiError> {
        let start = match self.all("cursor").first() {
            None => 0,
            Some(cursor) => {
                let id = wire::read_cursor(cursor);
                let at = items.iter().position(|(known, _)| Some(known) == id.as_ref());
                at.map(|at| at + 1).ok_or_else(|| ApiError::bad_request("cursor is not one of this list"))?
            }
        };
        let page = items.iter().skip(start).take(self.limit()?);
        Ok(Json(page.map(|(id, item)| serde_json::json!({name: item, "cursor": wire::cursor(id)})).collect()))
    }
}

async fn list_services(State(shared): Api, RawQuery(query): RawQuery) -> Answer {
    let query = Query::parse(query.as_deref());
    let (names, kinds, suspended) = (query.listed("name"), query.listed("type"), query.listed("suspended"));
    let items: Vec<(String, Value)> = shared
        .services()
        .values()
        .filter(|service| names.is_empty() || names.contains(&service.name.as_str()))
        .filter(|_| kinds.is_empty() || kinds.contains(&"web_service"))
        .map(|service| (service.id.clone(), wire::service(service)))
        .filter(|(_, json)| suspended.is_empty() || suspended.iter().any(|wanted| json["suspended"] == **wanted))
        .collect();
    Ok(query.page(&items, "service")?.into_response())
}

async fn get_service(State(shared): Api, Path(id): Path<String>) -> Answer {
    Ok(Json(read(&shared, &id, wire::service)?).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ServiceChange {
    auto_deploy: Option<YesNo>,
    name: Option<String>,
    branch: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum YesNo {
    Yes,
    No,
}

async fn update_service(State(shared): Api, Path(id): Path<String>, body: Bytes) -> Answer {
    read(&shared, &id, |_| ())?;
    let wanted: ServiceChange = read_body(&body)?;
    let changed = shared.change(&id, |service| {
        if let Some(auto_deploy) = wanted.auto_deploy {
            service.auto_deploy = auto_deploy == YesNo::Yes;
        }
        if let Some(name) = wanted.name {
            service.name = name;
        }
        if let Some(branch) = wanted.branch {
            service.source.branch = branch;
        }
        service.updated_at = crate::clock::now();
        wire::service(service)
    });
    changed.map(|json| Json(json).into_response()).ok_or_else(|| ApiError::not_found(&id))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DeployRequest {
    clear_cache: Option<ClearCache>,
    commit_id: Option<String>,
    image_url: Option<String>,
    deploy_mode: Option<DeployMode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ClearCache {
    Clear,
    DoNotClear,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum DeployMode {
    DeployOnly,
    BuildAndDeploy,
}

async fn create_deploy(State(shared): Api, Path(id): Path<String>, body: Bytes) -> Answer {
    let (source, suspended) = read(&shared, &id, |service| (service.source.clone(), service.suspended))?;
    let wanted: DeployRequest = read_body(&body)?;
    let excluded = wanted.clear_cache.is_some() || wanted.commit_id.is_some() || wanted.image_url.is_some();
    if wanted.deploy_mode.is_some() && excluded {
        return Err(ApiError::bad_request("deployMode excludes clearCache, commitId and imageUrl"));
    }
    if wanted.deploy_mode == Some(DeployMode::DeployOnly) {
        return Err(ApiError::bad_request("the simulated Render always builds; leave deployMode out"));
    }
    if wanted.image_url.is_some() {
        return Err(ApiError::bad_request("imageUrl is only for services that run an image"));
    }
    if suspended {
        return Err(ApiError(StatusCode::CONFLICT, "the service is suspended".to_owned()));
    }
    let name = match wanted.commit_id {
        Some(commit) if source::looks_like_commit(&commit) => commit,
        Some(_) => return Err(ApiError::bad_request("commitId is not a commit id")),
        None => format!("refs/heads/{}", source.branch),
    };
    let commit = source::find_commit(&source.repository, &name).await.map_err(|error| match error {
        SourceError::NotFound(_) => ApiError::bad_request(error.to_string()),
        other => ApiError(StatusCode::INTERNAL_SERVER_ERROR, other.to_string()),
    })?;
    match shared.deploy(&id, commit, Trigger::Api) {
        Some(Asked::Started(deploy)) => Ok((StatusCode::CREATED, Json(wire::deploy(&deploy))).into_response()),
        Some(Asked::Waits) => Ok(StatusCode::ACCEPTED.into_response()),
        None => Err(ApiError::not_found(&id)),
    }
}

async fn list_deploys(State(shared): Api, Path(id): Path<String>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::parse(query.as_deref());
    let mut statuses = Vec::new();
    for word in query.all("status") {
        let status = Status::parse(word);
        statuses.push(status.ok_or_else(|| ApiError::bad_request(format!("unknown status {word}")))?);
    }
    let mut bounds = Vec::new();
    for (field, time_of) in TIMES {
        bounds.push((time_of, query.time(&format!("{field}After"))?, query.time(&format!("{field}Before"))?));
    }
    let fits = |deploy: &&Deploy| {
        let in_time = bounds.iter().all(|(time_of, after, before)| {
            let time = time_of(deploy);
            after.is_none_or(|after| time.is_some_and(|time| time > after))
                && before.is_none_or(|before| time.is_some_and(|time| time < before))
        });
        in_time && (statuses.is_empty() || statuses.contains(&deploy.status))
    };
    let items: Vec<(String, Value)> = read(&shared, &id, |service| {
        let fitting = service.deploys.iter().rev().filter(fits);
        fitting.map(|deploy| (deploy.id.clone(), wire::deploy(deploy))).collect()
    })?;
    Ok(query.page(&items, "deploy")?.into_response())
}

type TimeOf = fn(&Deploy) -> Option<DateTime<Utc>>;

/// The times by which deploys can be listed.
const TIMES: [(&str, TimeOf); 3] = [
    ("created", |deploy| Some(deploy.created_at)),
    ("updated", |deploy| Some(deploy.updated_at)),
    ("finished", |deploy| deploy.finished_at),
];

async fn get_deploy(State(shared): Api, Path((id, deploy)): Path<(String, String)>) -> Answer {
    let found = read(&shared, &id, |service| service.deploy(&deploy).map(wire::deploy))?;
    found.map(|json| Json(json).into_response()).ok_or_else(|| ApiError::not_found(&deploy))
}

async fn cancel_deploy(State(shared): Api, Path((id, deploy)): Path<(String, String)>) -> Answer {
    if !read(&shared, &id, |service| service.deploy(&deploy).is_some())? {
        return Err(ApiError::not_found(&deploy));
    }
    let canceled = shared.cancel(&id, &deploy);
    canceled
        .map(|deploy| Json(wire::deploy(&deploy)).into_response())
        .ok_or_else(|| ApiError::bad_request("the deploy is not in progress and cannot be cancelled"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RollbackRequest {
    deploy_id: String,
}

async fn roll_back(State(shared): Api, Path(id): Path<String>, body: Bytes) -> Answer {
    read(&shared, &id, |_| ())?;
    let wanted: RollbackRequest = read_body(&body)?;
    let target = read(&shared, &id, |service| service.deploy(&wanted.deploy_id).cloned())?;
    let target = target.ok_or_else(|| ApiError::not_found(&wanted.deploy_id))?;
    if !target.went_live {
        return Err(ApiError::bad_request("the deploy was never live, so there is nothing to roll back to"));
    }
    if target.artifact.is_none() {
        return Err(ApiError::bad_request("the deploy's build is no longer kept, so it cannot be rolled back to"));
    }
    let deploy = shared.roll_back(&id, &target).ok_or_else(|| ApiError::not_found(&id))?;
    Ok((StatusCode::CREATED, Json(wire::deploy(&deploy))).into_response())
}

async fn suspend(State(shared): Api, Path(id): Path<String>) -> Answer {
    let done = shared.change(&id, |service| service.suspended = true);
    done.map(|()| StatusCode::ACCEPTED.into_response()).ok_or_else(|| ApiError::not_found(&id))
}

async fn resume(State(shared): Api, Path(id): Path<String>) -> Answer {
    let last = shared.change(&id, |service| {
        service.suspended = false;
        service.deploys.iter().find(|deploy| deploy.status == Status::Live).map(|deploy| deploy.commit.clone())
    });
    let last = last.ok_or_else(|| ApiError::not_found(&id))?;
    if let Some(commit) = last {
        shared.deploy(&id, commit, Trigger::ServiceResumed);
    }
    Ok(StatusCode::ACCEPTED.into_response())
}
