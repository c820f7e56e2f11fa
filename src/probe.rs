//! Asks a running service whether it is healthy and which commit it is. Takes samples and does not judge them.
//!
//! Addresses come from policies, so every request goes through the guard of [`crate::outbound`].

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::domain::policy::{Identity, Target};
use crate::outbound::{Guard, NoClient, Scheme, explain};

/// How long one answer may take, from name resolution to the end of its body.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// How much of an answer is read.
const BODY_LIMIT: usize = 64 * 1024;

/// One look at a service's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSample {
    /// When the request was sent.
    pub at: DateTime<Utc>,
    /// Whether the health path answered 2xx.
    pub ok: bool,
    /// The status, when there was an answer.
    pub status: Option<u16>,
    /// Milliseconds until the answer was there, with a connection of its own; `None` without an answer.
    pub latency_ms: Option<u32>,
    /// What was wrong, short, for people; `None` when `ok`.
    pub error: Option<String>,
}

/// What a service says about its commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdentityAnswer {
    /// It names this commit: 7 to 64 lower-case hexadecimal digits, possibly shortened.
    Commit(String),
    /// It answers but does not name a commit there; why.
    Missing(String),
    /// It gives no usable answer at all; why.
    Unreachable(String),
}

impl IdentityAnswer {
    /// Whether the service names this commit, shortened or not.
    pub fn names(&self, commit: &crate::domain::ids::CommitSha) -> bool {
        matches!(self, Self::Commit(said) if commit.as_str().starts_with(said.as_str()))
    }
}

/// Health and identity, seen at the same moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The health.
    pub sample: ProbeSample,
    /// The identity; `None` when the policy names no place where the service tells.
    pub identity: Option<IdentityAnswer>,
}

/// Sends probes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Prober {
    guard: Guard,
    https: reqwest::Client,
    http: reqwest::Client,
}

impl Prober {
    /// Reaches public addresses over https, and the networks in `allow_private` over https and http.
    ///
    /// # Errors
    /// When TLS cannot be set up on this machine.
    pub fn new(allow_private: Vec<IpNet>) -> Result<Self, NoClient> {
        let guard = Guard::new(&allow_private);
        let https = guard.client(Scheme::Https, TIMEOUT)?;
        let http = guard.client(Scheme::Http, TIMEOUT)?;
        Ok(Self { guard, https, http })
    }

    /// Whether a service's address may be probed, as far as the URL itself tells.
    ///
    /// # Errors
    /// A sentence for people: what was seen and what to do.
    pub fn check_url(&self, url: &Url) -> Result<(), String> {
        self.guard.check_url(url)
    }

    /// One look at the health path.
    pub async fn health(&self, target: &Target) -> ProbeSample {
        sample(&self.fetch(target, &target.health).await)
    }

    /// Asks which commit the service runs.
    pub async fn identity(&self, target: &Target) -> IdentityAnswer {
        match &target.identity {
            None => IdentityAnswer::Missing("the policy names no place where the service tells its commit".to_owned()),
            Some(Identity::Json { path, json }) => from_json(&self.fetch(target, path).await, path, json),
            Some(Identity::Header { header }) => from_header(&self.fetch(target, &target.health).await, header),
        }
    }

    /// Health and identity at once; one request when one answer tells both.
    pub async fn observe(&self, target: &Target) -> Observation {
        let health = self.fetch(target, &target.health);
        match &target.identity {
            Some(Identity::Json { path, json }) if *path != target.health => {
                let (health, version) = tokio::join!(health, self.fetch(target, path));
                Observation { sample: sample(&health), identity: Some(from_json(&version, path, json)) }
            }
            Some(Identity::Json { path, json }) => {
                let health = health.await;
                Observation { sample: sample(&health), identity: Some(from_json(&health, path, json)) }
            }
            Some(Identity::Header { header }) => {
                let health = health.await;
                Observation { sample: sample(&health), identity: Some(from_header(&health, header)) }
            }
            None => Observation { sample: sample(&health.await), identity: None },
        }
    }

    /// One GET. Never fails: what went wrong is part of the answer.
    async fn fetch(&self, target: &Target, path: &str) -> Fetched {
        let url = address(&target.url, path);
        let at = crate::clock::now();
        let started = Instant::now();
        let outcome = match self.guard.check_url(&url) {
            Ok(()) => self.get(url).await,
            Err(why) => Err(why),
        };
        let latency_ms = u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX);
        Fetched { at, latency_ms, outcome }
    }

    async fn get(&self, url: Url) -> Result<Answer, String> {
        let client = if Scheme::of(&url) == Scheme::Http { &self.http } else { &self.https };
        let request = client.get(url).header(reqwest::header::CACHE_CONTROL, "no-cache");
        let mut response = request.send().await.map_err(|error| in_words(&error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        let mut complete = true;
        while let Some(chunk) = response.chunk().await.map_err(|error| in_words(&error))? {
            let room = BODY_LIMIT - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                complete = false;
                break;
            }
        }
        Ok(Answer { status, headers, body, complete })
    }
}

/// What one request came to.
struct Fetched {
    at: DateTime<Utc>,
    latency_ms: u32,
    outcome: Result<Answer, String>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    /// Whether `body` is all of it.
    complete: bool,
}

fn in_words(error: &reqwest::Error) -> String {
    if error.is_timeout() { format!("no answer within {} s", TIMEOUT.as_secs()) } else { explain(error) }
}

/// The service's address with a path of the policy added. The path can bring a query but never another host.
fn address(base: &Url, path: &str) -> Url {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    let mut url = base.clone();
    url.set_path(&format!("{}/{}", base.path().trim_end_matches('/'), path.trim_start_matches('/')));
    url.set_query(query);
    url.set_fragment(None);
    url
}

fn sample(fetched: &Fetched) -> ProbeSample {
    let at = fetched.at;
    match &fetched.outcome {
        Ok(answer) => {
            let ok = (200..300).contains(&answer.status);
            let error = (!ok).then(|| answered(answer.status));
            ProbeSample { at, ok, status: Some(answer.status), latency_ms: Some(fetched.latency_ms), error }
        }
        Err(why) => ProbeSample { at, ok: false, status: None, latency_ms: None, error: Some(why.clone()) },
    }
}

fn answered(status: u16) -> String {
    match status {
        300..400 => format!("answered {status}, a redirect, which is not followed"),
        _ => format!("answered {status}"),
    }
}

/// The commit in a JSON document, at a dot-separated path of keys.
fn from_json(fetched: &Fetched, path: &str, keys: &str) -> IdentityAnswer {
    let answer = match &fetched.outcome {
        Ok(answer) if answer.status >= 500 => return IdentityAnswer::Unreachable(answered(answer.status)),
        Ok(answer) => answer,
        Err(why) => return IdentityAnswer::Unreachable(why.clone()),
    };
    if !(200..300).contains(&answer.status) {
        return IdentityAnswer::Missing(format!("{path} {}", answered(answer.status)));
    }
    if !answer.complete {
        return IdentityAnswer::Missing(format!("{path} is larger than {} KB", BODY_LIMIT / 1024));
    }
    let Ok(document) = serde_json::from_slice::<serde_json::Value>(&answer.body) else {
        return IdentityAnswer::Missing(format!("{path} is not JSON"));
    };
    let value = keys.split('.').try_fold(&document, |value, key| value.get(key));
    match value.and_then(serde_json::Value::as_str) {
        Some(text) => commit(text),
        None => IdentityAnswer::Missing(format!("{path} has no text at {keys}")),
    }
}

/// The commit in a header of the health path's answer, whatever its status is: an unhealthy service can tell who it is.
fn from_header(fetched: &Fetched, name: &str) -> IdentityAnswer {
    match &fetched.outcome {
        Err(why) => IdentityAnswer::Unreachable(why.clone()),
        Ok(answer) => match answer.headers.get(name).and_then(|value| value.to_str().ok()) {
            Some(text) => commit(text),
            None if answer.status >= 500 => IdentityAnswer::Unreachable(answered(answer.status)),
            None => IdentityAnswer::Missing(format!("the answer has no header {name}")),
        },
    }
}

/// A service may say anything; only what can be a commit is taken for one.
fn commit(text: &str) -> IdentityAnswer {
    let text = text.trim();
    if (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return IdentityAnswer::Commit(text.to_ascii_lowercase());
    }
    let shown: String =
        text.chars().filter(|c| c.is_ascii_graphic() && !matches!(c, '`' | '<' | '>')).take(24).collect();
    IdentityAnswer::Missing(format!("the service says \"{shown}\", which is not a commit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(status: u16, body: &str) -> Fetched {
        let answer = Answer { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec(), complete: true };
        Fetched { at: DateTime::UNIX_EPOCH, latency_ms: 3, outcome: Ok(answer) }
    }

    #[test]
    fn a_path_of_the_policy_cannot_change_the_host() {
        let base = Url::parse("https://web.example.com/app/?x=1#y").expect("a url");
        for (path, expected) in [
            ("/", "https://web.example.com/app/"),
            ("/health", "https://web.example.com/app/health"),
            ("/health?full=1", "https://web.example.com/app/health?full=1"),
            ("//evil.example/x", "https://web.example.com/app/evil.example/x"),
            ("https://evil.example/", "https://web.example.com/app/https://evil.example/"),
            ("/a b#c", "https://web.example.com/app/a%20b%23c"),
        ] {
            assert_eq!(address(&base, path).as_str(), expected, "{path}");
        }
    }

    #[test]
    fn a_commit_is_found_along_the_keys_and_nothing_else_counts() {
        let sha = "3f2c1ab000000000000000000000000000000000";
        let found = |body: &str, keys: &str| from_json(&fetched(200, body), "/version", keys);
        assert_eq!(found(&format!(r#"{{"commit":"{sha}"}}"#), "commit"), IdentityAnswer::Commit(sha.to_owned()));
        let nested = r#"{"build":{"git":{"sha":"3F2C1AB\n"}}}"#;
        assert_eq!(found(nested, "build.git.sha"), IdentityAnswer::Commit("3f2c1ab".to_owned()));
        for (body, keys) in [
            ("{}", "commit"),
            (r#"{"commit":42}"#, "commit"),
            (r#"{"commit":"unknown"}"#, "commit"),
            (r#"{"commit":"3f2c1a"}"#, "commit"),
            (r#"{"commit":{"id":"x"}}"#, "commit"),
            ("<html>", "commit"),
            (r#""3f2c1ab""#, "commit"),
        ] {
            assert!(matches!(found(body, keys), IdentityAnswer::Missing(_)), "{body}");
        }
    }

    #[test]
    fn a_service_that_is_down_is_not_one_that_does_not_say() {
        assert!(matches!(from_json(&fetched(404, ""), "/version", "commit"), IdentityAnswer::Missing(_)));
        assert!(matches!(from_json(&fetched(503, ""), "/version", "commit"), IdentityAnswer::Unreachable(_)));
        assert!(matches!(from_header(&fetched(200, ""), "x-commit"), IdentityAnswer::Missing(_)));
        assert!(matches!(from_header(&fetched(502, ""), "x-commit"), IdentityAnswer::Unreachable(_)));
    }

    #[test]
    fn a_strange_answer_is_shown_without_what_could_harm_a_page() {
        let IdentityAnswer::Missing(why) = commit("<img src=x>`@everyone`\u{202e}") else { panic!("not a commit") };
        assert_eq!(why, "the service says \"imgsrc=x@everyone\", which is not a commit");
    }
}
