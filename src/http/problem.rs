//! Errors of the API as `application/problem+json` (RFC 9457): what was seen and what to do.
//!
//! It never carries text of the database, of an upstream or of a panic; those go to the log.

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::store::StoreError;

/// How long a client should wait before it tries again when Titan cannot work, in seconds.
const RETRY_AFTER_SECONDS: u64 = 10;

/// How long a client should wait that has asked too much, in seconds.
const RETRY_LATER_SECONDS: u64 = 600;

/// One error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    /// Stable; the end of the `type` URN.
    code: &'static str,
    title: &'static str,
    detail: String,
}

impl Problem {
    /// A problem of this status and stable code. `detail` says what was seen and what to do, for people.
    pub fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, title, detail: detail.into() }
    }

    /// 404: `detail` names what is not there.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// 400: a parameter that cannot be read.
    pub fn bad_parameter(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-parameter", "A parameter cannot be read", detail)
    }

    /// 405 for a path that exists.
    pub fn wrong_method(method: &Method, path: &str) -> Self {
        let detail = format!("{path} does not take {method}; the Allow header lists what it takes");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", "Method not allowed", detail)
    }

    /// 503: Titan cannot do its work now; the same request may succeed later.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available now", detail)
    }

    /// 500: a mistake of Titan's own, which the log tells more about.
    pub fn internal() -> Self {
        let detail = "Titan made a mistake; nothing was changed by this request, and the log says more";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What was seen and what to do.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Seconds after which the same request may succeed.
    pub fn retry_after(&self) -> Option<u64> {
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => Some(RETRY_AFTER_SECONDS),
            StatusCode::TOO_MANY_REQUESTS => Some(RETRY_LATER_SECONDS),
            _ => None,
        }
    }
}

impl From<StoreError> for Problem {
    /// Logs the error, here and only here, and tells the client no more than whether to try again.
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            tracing::warn!(%error, "a request could not be answered");
            return Self::unavailable("the database does not answer; try again in a moment");
        }
        tracing::error!(%error, "a request could not be answered");
        Self::internal()
    }
}

/// The answer to a request whose handler panicked.
pub fn after_panic() -> Response {
    tracing::error!("a request handler panicked");
    Problem::internal().into_response()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": format!("urn:titan:problem:{}", self.code),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
        let mut response = (self.status, kind, body.to_string()).into_response();
        if let Some(after) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, after.into());
        }
        response
    }
}
