//! One request to Render and what its answer means. Repeats reads, never writes.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, Method};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::{RenderError, SettingsError};
use crate::outbound::explain;
use crate::redact::Redactor;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The largest answer that is read; a page of 100 deploys with long commit messages is some 100 KB.
const ANSWER_BYTES: usize = 4 << 20;
/// How long to wait before a read is sent again after a transient failure.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];
/// How much of Render's own sentence is kept, in characters.
const SENTENCE_LIMIT: usize = 200;
/// The wait when Render names none, and the longest one that is believed. Its longest window is an hour.
const DEFAULT_WAIT_SECONDS: i64 = 60;
const LONGEST_WAIT_SECONDS: i64 = 3600;

/// A request before it is sent.
#[derive(Clone)]
pub(super) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
}

impl Call {
    /// A read. `path` begins with `/`; ids are safe in it by type.
    pub(super) fn get(path: String) -> Self {
        Self { method: Method::GET, path, query: Vec::new(), body: None }
    }

    pub(super) fn post(path: String, body: Option<Value>) -> Self {
        Self { method: Method::POST, path, query: Vec::new(), body }
    }

    pub(super) fn patch(path: String, body: Value) -> Self {
        Self { method: Method::PATCH, path, query: Vec::new(), body: Some(body) }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Method and path, as errors name the request.
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// A successful answer with its whole body.
#[derive(Debug)]
pub(super) struct Answer {
    name: String,
    pub(super) status: u16,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, RenderError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| RenderError::Unexpected(format!("{}: the answer cannot be read: {error}", self.name)))
    }
}

/// The API with its key.
#[derive(Debug)]
pub(super) struct Api {
    base: Url,
    authorization: HeaderValue,
    client: reqwest::Client,
    redactor: Redactor,
}

impl Api {
    pub(super) fn new(base: &Url, key: &SecretString, redactor: Redactor) -> Result<Self, SettingsError> {
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", key.expose_secret().trim())).map_err(|_| SettingsError::Key)?;
        authorization.set_sensitive(true);
        let client = crate::outbound::operator_client(base, TIMEOUT)?;
        Ok(Self { base: base.clone(), authorization, client, redactor })
    }

    /// Sends and gives only successful answers. A read is repeated on transient failures.
    pub(super) async fn send(&self, call: Call) -> Result<Answer, RenderError> {
        let mut pauses = PAUSES.iter().filter(|_| call.method == Method::GET);
        loop {
            match (self.send_once(&call).await, pauses.next()) {
                (Err(RenderError::Transient(why)), Some(pause)) => {
                    tracing::debug!(why, "a read from Render is sent again");
                    tokio::time::sleep(*pause).await;
                }
                (result, _) => return result,
            }
        }
    }

    async fn send_once(&self, call: &Call) -> Result<Answer, RenderError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{}", self.base.path().trim_end_matches('/'), call.path));
        let mut request = self.client.request(call.method.clone(), url).query(&call.query);
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        if call.method != Method::GET {
            refuse_without_claim(&call.name())?;
        }
        let request = request.header(ACCEPT, "application/json").header(AUTHORIZATION, self.authorization.clone());
        receive(request, call.name(), &self.redactor).await
    }
}

/// Sends a hook's request, once. `name` stands for the URL in errors.
pub(super) async fn trigger(
    client: &reqwest::Client,
    url: SecretString,
    name: &str,
    redactor: &Redactor,
) -> Result<Answer, RenderError> {
    refuse_without_claim(name)?;
    receive(client.post(url.expose_secret()), name.to_owned(), redactor).await
}

/// The last moment at which a worker that was frozen meanwhile can learn that it was overtaken.
fn refuse_without_claim(name: &str) -> Result<(), RenderError> {
    match crate::claim::has_run_out() {
        true => Err(RenderError::Transient(format!("{name}: {}", crate::claim::RAN_OUT))),
        false => Ok(()),
    }
}

async fn receive(request: reqwest::RequestBuilder, name: String, redactor: &Redactor) -> Result<Answer, RenderError> {
    let broken = |error: reqwest::Error| RenderError::Transient(format!("{name}: {}", explain(&error)));
    let mut response = request.send().await.map_err(broken)?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > ANSWER_BYTES {
            return Err(RenderError::Unexpected(format!("{name}: the answer is larger than {ANSWER_BYTES} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    match problem(&name, status, &headers, &body, crate::clock::now(), redactor) {
        Some(error) => Err(error),
        None => Ok(Answer { name, status, body }),
    }
}

/// The error that an answer stands for; `None` for a success.
fn problem(
    name: &str,
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    now: DateTime<Utc>,
    redactor: &Redactor,
) -> Option<RenderError> {
    if (200..300).contains(&status) {
        return None;
    }
    let said = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let said = said.get("message").and_then(Value::as_str).unwrap_or_default();
    // A secret that is cut off would not be known any more.
    let said: String = redactor.clean(said).chars().filter(|c| !c.is_control()).take(SENTENCE_LIMIT).collect();
    let text = match said.as_str() {
        "" => format!("{name}: {status}"),
        said => format!("{name}: {status}: {said}"),
    };
    Some(match status {
        429 => RenderError::RateLimited { retry_at: now + wait(headers, now) },
        404 | 410 => RenderError::NotFound(text),
        409 => RenderError::Conflict(text),
        400 | 405 | 406 | 422 => RenderError::Invalid(text),
        401..=403 => RenderError::Unauthorized(text),
        408 | 500.. => RenderError::Transient(text),
        _ => RenderError::Unexpected(text),
    })
}

/// How long to wait: `Retry-After` in seconds, else `Ratelimit-Reset`, which Render's recorded answers give as seconds
/// that remain; a number too large for that can only be a point in time.
fn wait(headers: &HeaderMap, now: DateTime<Utc>) -> TimeDelta {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let seconds = number(RETRY_AFTER.as_str())
        .or_else(|| number("ratelimit-reset"))
        .map(|value| if value > 1_000_000_000 { value - now.timestamp() } else { value });
    TimeDelta::seconds(seconds.unwrap_or(DEFAULT_WAIT_SECONDS).clamp(1, LONGEST_WAIT_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, body: &str) -> Option<RenderError> {
        let redactor = Redactor::new(["rnd_secretsecret"]).expect("a secret");
        problem("GET /x", status, &HeaderMap::new(), body.as_bytes(), DateTime::UNIX_EPOCH, &redactor)
    }

    #[test]
    fn a_status_says_what_the_caller_does() {
        let with = |make: fn(String) -> RenderError, status: u16| Some(make(format!("GET /x: {status}: no")));
        let body = r#"{"message":"no"}"#;
        assert_eq!(error(201, body), None);
        assert_eq!(error(404, body), with(RenderError::NotFound, 404));
        assert_eq!(error(409, body), with(RenderError::Conflict, 409));
        assert_eq!(error(400, body), with(RenderError::Invalid, 400));
        assert_eq!(error(401, body), with(RenderError::Unauthorized, 401));
        assert_eq!(error(503, body), with(RenderError::Transient, 503));
        assert_eq!(error(302, body), with(RenderError::Unexpected, 302));
    }

    #[test]
    fn an_error_never_repeats_a_secret_or_a_page_of_html() {
        let told = error(400, r#"{"message":"bad key rnd_secretsecret\u0007"}"#);
        assert_eq!(told, Some(RenderError::Invalid("GET /x: 400: bad key [redacted]".to_owned())));
        let cut = format!(r#"{{"message":"{} rnd_secretsecret"}}"#, "x".repeat(SENTENCE_LIMIT - 10));
        assert!(!error(400, &cut).expect("an error").to_string().contains("rnd_"), "not even its beginning");
        assert_eq!(error(502, "<html>…"), Some(RenderError::Transient("GET /x: 502".to_owned())));
    }

    #[test]
    fn the_wait_is_seconds_that_remain_unless_it_can_only_be_a_time() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).expect("a time");
        let wait = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a value"));
            super::wait(&headers, now).num_seconds()
        };
        assert_eq!(wait("ratelimit-reset", "42"), 42);
        assert_eq!(wait("ratelimit-reset", "1790000030"), 30);
        assert_eq!(wait("retry-after", "7"), 7);
        assert_eq!(wait("retry-after", "soon"), 60);
        assert_eq!(wait("ratelimit-reset", "-5"), 1);
        assert_eq!(wait("ratelimit-reset", "999999999"), 3600);
    }
}
