//! Render's deploy hooks: `GET` or `POST /deploy/srv-…?key=…[&ref=…]`, on the same address as the API.
//!
//! As with Render itself a `ref` switches auto-deploy off. Needs no bearer key: the URL is the secret.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use subtle::ConstantTimeEq;

use super::engine::Shared;
use super::model::{Asked, Trigger};
use super::source::{self, SourceError};
use super::wire::ApiError;

/// The route of all hooks. Other methods than GET and POST are 405.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new().route("/deploy/{service}", get(trigger).post(trigger)).with_state(shared)
}

async fn trigger(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, ApiError> {
    let facts = shared.services().get(&id).map(|service| {
        let key = query.get("key").map(String::as_bytes).unwrap_or_default();
        let right: bool = key.ct_eq(service.hook_key.as_bytes()).into();
        (right, service.suspended, service.source.clone())
    });
    let (right_key, suspended, source) = facts.ok_or_else(|| ApiError::not_found(&id))?;
    if !right_key {
        return Err(ApiError(StatusCode::UNAUTHORIZED, "the hook's key is missing or wrong".to_owned()));
    }
    if suspended {
        return Err(ApiError(StatusCode::CONFLICT, "the service is suspended".to_owned()));
    }
    if query.contains_key("imgURL") {
        return Err(ApiError::bad_request("imgURL is only for services that run an image"));
    }
    let name = match query.get("ref") {
        Some(commit) if source::looks_like_commit(commit) => commit.clone(),
        Some(_) => return Err(ApiError::bad_request("ref is not a commit id")),
        None => format!("refs/heads/{}", source.branch),
    };
    let commit = source::find_commit(&source.repository, &name).await.map_err(|error| match error {
        SourceError::NotFound(_) => ApiError(StatusCode::NOT_FOUND, error.to_string()),
        other => ApiError(StatusCode::INTERNAL_SERVER_ERROR, other.to_string()),
    })?;
    if query.contains_key("ref") {
        shared.change(&id, |service| service.auto_deploy = false);
    }
    match shared.deploy(&id, commit, Trigger::DeployHook) {
        Some(Asked::Started(deploy)) => Ok(Json(serde_json::json!({"deploy": {"id": deploy.id}})).into_response()),
        Some(Asked::Waits) => Ok(StatusCode::ACCEPTED.into_response()),
        None => Err(ApiError::not_found(&id)),
    }
}
