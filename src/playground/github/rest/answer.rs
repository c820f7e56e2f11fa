//! Answers and failures in GitHub's form, with its headers. Chooses no status by itself.

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::playground::github::acts::SimError;
use crate::playground::github::git::GitError;
use crate::playground::github::model::RateLimit;

/// What is sent back, before GitHub's general headers.
#[derive(Debug, Clone)]
pub struct Answer {
    status: StatusCode,
    body: Content,
    link: Option<String>,
    location: Option<String>,
}

#[derive(Debug, Clone)]
enum Content {
    Nothing,
    Json(Value),
    Raw(Vec<u8>, &'static str),
}

impl Content {
    fn into_bytes(self) -> (Vec<u8>, Option<&'static str>) {
        match self {
            Self::Nothing => (Vec::new(), None),
            Self::Json(value) => (value.to_string().into_bytes(), Some("application/json; charset=utf-8")),
            Self::Raw(bytes, content_type) => (bytes, Some(content_type)),
        }
    }
}

fn etag(bytes: &[u8]) -> String {
    format!("W/\"{}\"", hex::encode(Sha256::digest(bytes)))
}

impl Answer {
    /// 200 with JSON.
    pub fn ok(value: Value) -> Self {
        Self::status(StatusCode::OK, value)
    }

    /// 201 with JSON and the new object's address as `Location`.
    pub fn created(value: Value) -> Self {
        let location = value.get("url").and_then(Value::as_str).map(str::to_owned);
        Self { location, ..Self::status(StatusCode::CREATED, value) }
    }

    /// Any status with JSON.
    pub fn status(status: StatusCode, value: Value) -> Self {
        Self { status, body: Content::Json(value), link: None, location: None }
    }

    /// 204.
    pub fn nothing() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: Content::Nothing, link: None, location: None }
    }

    /// 200 with bytes that are not JSON.
    pub fn raw(bytes: Vec<u8>, content_type: &'static str) -> Self {
        Self { status: StatusCode::OK, body: Content::Raw(bytes, content_type), link: None, location: None }
    }

    /// Adds a `Link` header; an empty one is left out.
    pub fn with_link(mut self, link: String) -> Self {
        self.link = Some(link).filter(|link| !link.is_empty());
        self
    }

    /// Whether the client says that it has this very answer.
    pub fn is_known_to(&self, request: &HeaderMap) -> bool {
        let known = request.get("if-none-match").and_then(|value| value.to_str().ok());
        let Some(known) = known.filter(|_| self.status == StatusCode::OK) else { return false };
        let own = etag(&self.body.clone().into_bytes().0);
        known.split(',').any(|one| one.trim() == own)
    }

    /// The HTTP response with GitHub's headers; 304 when the client has this very answer already.
    pub fn into_response(
        self,
        request: &HeaderMap,
        head: bool,
        rate: Option<RateLimit>,
        accepted: Option<String>,
    ) -> Response<Body> {
        let known = self.is_known_to(request);
        let (bytes, content_type) = self.body.into_bytes();
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        let id = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
        set("x-github-request-id", format!("{}:{}:{}", &id[..4], &id[4..10], &id[10..16]));
        set("x-github-media-type", "github.v3; format=json".into());
        let version = request.get("x-github-api-version").and_then(|value| value.to_str().ok());
        set("x-github-api-version-selected", version.unwrap_or("2022-11-28").to_owned());
        set("server", "github.com".into());
        if let Some(content_type) = content_type {
            set("content-type", content_type.to_owned());
        }
        if let Some(link) = self.link {
            set("link", link);
        }
        if let Some(location) = self.location {
            set("location", location);
        }
        if let Some(accepted) = accepted {
            set("x-accepted-github-permissions", accepted);
        }
        if let Some(rate) = rate {
            set("x-ratelimit-limit", rate.limit.to_string());
            set("x-ratelimit-remaining", rate.limit.saturating_sub(rate.used).to_string());
            set("x-ratelimit-used", rate.used.to_string());
            set("x-ratelimit-reset", rate.reset_at.timestamp().to_string());
            set("x-ratelimit-resource", "core".into());
        }
        let mut status = self.status;
        let mut body = if head { Vec::new() } else { bytes.clone() };
        if status == StatusCode::OK {
            if known {
                status = StatusCode::NOT_MODIFIED;
                body.clear();
            }
            set("etag", etag(&bytes));
            set("cache-control", "private, max-age=60, s-maxage=60".into());
            set(
                "vary",
                "Accept, Authorization, Cookie, X-GitHub-OTP, Accept-Encoding, Accept, X-Requested-With".into(),
            );
        }
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// A refusal, in GitHub's form: message, documentation address, status and perhaps a list of errors.
#[derive(Debug, Clone)]
pub struct Failure {
    status: StatusCode,
    message: String,
    errors: Vec<Value>,
}

impl Failure {
    /// A failure with this message.
    pub fn new(status: StatusCode, message: &str) -> Self {
        Self { status, message: message.to_owned(), errors: Vec::new() }
    }

    /// 404, which also hides what the caller may not see.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    /// 422 with one line.
    pub fn invalid(message: impl Into<String>) -> Self {
        SimError::invalid(message).into()
    }

    /// The answer that says so.
    pub fn into_answer(self) -> Answer {
        let mut body = json!({
            "message": self.message,
            "documentation_url": "https://docs.github.com/rest",
            "status": self.status.as_u16().to_string(),
        });
        if !self.errors.is_empty() {
            body["errors"] = self.errors.into();
        }
        Answer::status(self.status, body)
    }
}

impl From<SimError> for Failure {
    fn from(error: SimError) -> Self {
        let status = match &error {
            SimError::NotFound(_) => return Self::not_found(),
            SimError::Unprocessable { message, errors } => {
                let (message, errors) = (message.clone(), errors.clone());
                return Self { status: StatusCode::UNPROCESSABLE_ENTITY, message, errors };
            }
            SimError::Conflict(_) => StatusCode::CONFLICT,
            SimError::NotMergeable(_) => StatusCode::METHOD_NOT_ALLOWED,
            SimError::Forbidden(_) => StatusCode::FORBIDDEN,
            SimError::Git(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, &error.to_string())
    }
}

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        SimError::from(error).into()
    }
}
