//! One request to GitHub and its answer: building, sending, repeating reads, following pages.
//!
//! Knows HTTP and nothing of what is said. A write goes out once, except that a 401 (GitHub did nothing) is answered
//! with a fresh token. The [`Governor`](super::governor::Governor) is asked before each call and told of each answer.
//! Never puts a token or a request body into an error or a log line.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, IF_NONE_MATCH, LINK, LOCATION};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use url::Url;

use super::cache::Kept;
use super::governor::{Payer, Told};
use super::{Access, GitHub, GitHubError, RepoClient, RepoRef, status};
use crate::domain::budget::{Ask, Lane, Seen};
use crate::domain::ids::InstallationId;
use crate::redact::Redactor;

/// GitHub's own JSON.
const ACCEPT_JSON: &str = "application/vnd.github+json";
/// A file's bytes instead of JSON.
const ACCEPT_RAW: &str = "application/vnd.github.raw+json";
/// The largest answer that is read, above GitHub's own limit of 100 MB for a file.
const ANSWER_BYTES: usize = 110 << 20;
/// The largest page that GitHub gives.
pub(super) const PAGE_SIZE: usize = 100;
/// Pages after which a list is taken for endless: 10 000 entries.
const PAGE_LIMIT: usize = 100;
/// How long to wait before a read is sent again after a transient failure.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];
/// Redirects that are followed before the answer is taken for a loop.
const REDIRECT_LIMIT: usize = 3;

/// In whose name a request is sent.
#[derive(Clone, Copy)]
pub(super) enum Sender<'a> {
    /// The App itself, with its JWT.
    App,
    /// The App itself, for a token of the installation with this access; the installation's budget pays.
    Mint(&'a RepoRef, Access),
    /// The installation, with a token narrowed to one repository and this access.
    Repo(&'a RepoRef, Access),
}

impl Sender<'_> {
    fn payer(self) -> Payer {
        match self {
            Self::App => None,
            Self::Mint(repo, _) | Self::Repo(repo, _) => Some(repo.installation),
        }
    }

    fn lane(self) -> Lane {
        match self {
            Self::App => Lane::Decision,
            Self::Mint(_, access) | Self::Repo(_, access) => access.lane(),
        }
    }
}

/// A request before it has a token.
#[derive(Clone)]
pub(super) struct Call {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    /// Instead of `query`: as the host itself wrote it.
    whole_query: Option<String>,
    body: Option<Bytes>,
    accept: &'static str,
    /// When it is not the one of the token.
    lane: Option<Lane>,
    /// Whether it may be sent again after an answer that tells nothing.
    repeatable: bool,
}

impl Call {
    /// A read. `path` begins with `/` and is already encoded.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { repeatable: true, ..Self::bare(Method::GET, path) }
    }

    /// A write with a JSON body.
    pub(super) fn write(method: Method, path: impl Into<String>, body: &impl Serialize) -> Result<Self, GitHubError> {
        let path = path.into();
        let body = serde_json::to_vec(body)
            .map_err(|e| GitHubError::Invalid(format!("{method} {path}: the request cannot be written: {e}")))?;
        Ok(Self { body: Some(body.into()), ..Self::bare(method, path) })
    }

    /// A write without a body.
    pub(super) fn bare(method: Method, path: impl Into<String>) -> Self {
        let path = path.into();
        Self {
            method,
            path,
            query: Vec::new(),
            whole_query: None,
            body: None,
            accept: ACCEPT_JSON,
            lane: None,
            repeatable: false,
        }
    }

    /// More or less urgent than other calls with its token.
    pub(super) fn lane(mut self, lane: Lane) -> Self {
        self.lane = Some(lane);
        self
    }

    /// Harmless to be done twice, so that it is sent again when the answer tells nothing.
    pub(super) fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// With one more query parameter.
    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// With the query that the host itself named.
    pub(super) fn whole_query(mut self, query: &str) -> Self {
        self.whole_query = Some(query.to_owned());
        self
    }

    /// Asking for a file's bytes.
    pub(super) fn raw(mut self) -> Self {
        self.accept = ACCEPT_RAW;
        self
    }

    /// Method and path, as errors and log lines name the request.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn url(&self, api: &Url) -> Url {
        let mut url = api.clone();
        url.set_path(&format!("{}{}", api.path().trim_end_matches('/'), self.path));
        let query: Vec<String> = self.query.iter().map(|(k, v)| format!("{k}={}", encode(v))).collect();
        let query = Some(query.join("&")).filter(|query| !query.is_empty());
        url.set_query(self.whole_query.clone().or(query).as_deref());
        url
    }

    /// What a budget has to know of it. An App's own calls make no content.
    fn ask(&self, sender: Sender<'_>) -> Ask {
        let write = self.method != Method::GET && matches!(sender, Sender::Repo(..));
        Ask { lane: self.lane.unwrap_or(sender.lane()), write }
    }

    /// Whose kept answers may be used, and under which name: only for facts, which are read again and again.
    fn question(&self, sender: Sender<'_>, api: &Url) -> Option<(InstallationId, String)> {
        match sender {
            Sender::Repo(repo, Access::Read) if self.method == Method::GET => {
                Some((repo.installation, format!("{} {}", self.accept, self.url(api))))
            }
            _ => None,
        }
    }
}

/// An answer with its whole body.
pub(super) struct Answer {
    name: String,
    /// Whether it was asked for as JSON.
    as_json: bool,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    redactor: Redactor,
}

impl Answer {
    #[cfg(test)]
    pub(super) fn new(name: String, status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        let redactor = Redactor::new([]).expect("no secrets");
        Self { name, as_json: true, status, headers, body, redactor }
    }

    /// Another answer to the same question.
    pub(super) fn with(&self, status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self { name: self.name.clone(), as_json: self.as_json, status, headers, body, redactor: self.redactor.clone() }
    }

    /// Reads the JSON body. One that is no JSON at all was cut off or is somebody else's: it tells nothing.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, GitHubError> {
        serde_json::from_slice(&self.body).map_err(|error| match error.classify() {
            Category::Data => self.unexpected(&format!("the body cannot be read: {error}")),
            Category::Io | Category::Syntax | Category::Eof => self.broken(&error),
        })
    }

    fn broken(&self, error: &serde_json::Error) -> GitHubError {
        GitHubError::Transient(format!("{}: {}: the body is not JSON: {error}", self.name, self.status))
    }

    /// That the body is JSON if it shall be, before anybody looks into it.
    fn whole(self) -> Result<Self, GitHubError> {
        if self.as_json && self.status != StatusCode::NO_CONTENT {
            let read: Result<IgnoredAny, _> = serde_json::from_slice(&self.body);
            read.map_err(|error| self.broken(&error))?;
        }
        Ok(self)
    }

    /// An answer that makes no sense, named by its request.
    pub(super) fn unexpected(&self, why: &str) -> GitHubError {
        GitHubError::Unexpected(format!("{}: {why}", self.name))
    }

    /// The answer when it is a success, else the error that its status stands for.
    pub(super) fn checked(self) -> Result<Self, GitHubError> {
        match status::problem(&self.name, self.status, &self.headers, &self.body, crate::clock::now(), &self.redactor) {
            None => Ok(self),
            Some(error) => Err(error),
        }
    }

    /// GitHub's sentence about an answer that is not a success.
    pub(super) fn message(&self) -> String {
        status::message(&self.body, &self.redactor)
    }
}

/// Whether the `Link` header names a next page; `None` without such a header.
pub(super) fn has_next(headers: &HeaderMap) -> Option<bool> {
    let link = headers.get(LINK)?.to_str().ok()?;
    Some(link.split(',').any(|part| part.contains("rel=\"next\"") || part.contains("rel=next")))
}

/// Whether a first page of so many entries may be followed by another one. Hosts that name no next page may give fewer
/// entries than were asked for, and then a round number of them.
fn may_be_cut(count: usize) -> bool {
    count >= 10 && count.is_multiple_of(5)
}

/// A list read page by page.
pub(super) struct Listed<T> {
    pub(super) items: Vec<T>,
    /// False when the reading stopped at the page limit.
    pub(super) complete: bool,
}

impl GitHub {
    /// Sends and gives only successful answers. Reads are repeated on transient failures, writes never.
    pub(super) async fn send(&self, call: &Call, sender: Sender<'_>) -> Result<Answer, GitHubError> {
        let mut pauses = PAUSES.iter().filter(|_| call.repeatable);
        loop {
            let answer = self.send_conditionally(call, sender).await.and_then(Answer::checked);
            // What a write did is known by its status; only its caller knows what the body is needed for.
            let result = if call.repeatable { answer.and_then(Answer::whole) } else { answer };
            match (result, pauses.next()) {
                (Err(GitHubError::Transient(why)), Some(pause)) => {
                    tracing::debug!(why, "a call that can be repeated is sent again");
                    tokio::time::sleep(*pause).await;
                }
                (result, _) => return result,
            }
        }
    }

    /// Asks only whether something changed when the last answer is known.
    async fn send_conditionally(&self, call: &Call, sender: Sender<'_>) -> Result<Answer, GitHubError> {
        let Some((installation, question)) = call.question(sender, &self.inner.api_url) else {
            return self.send_authorized(call, sender, None).await;
        };
        let cache = &self.inner.answers;
        let kept = cache.find(installation, &question);
        let answer = self.send_authorized(call, sender, kept.as_deref()).await?;
        match (answer.status, kept) {
            (StatusCode::NOT_MODIFIED, Some(kept)) => return Ok(kept.confirmed(&answer)),
            (StatusCode::OK, _) if !answer.as_json || serde_json::from_slice::<IgnoredAny>(&answer.body).is_ok() => {
                cache.keep(installation, question, &answer);
            }
            _ => {}
        }
        Ok(answer)
    }

    /// Adds the token. A 401 means that GitHub did nothing, so a fresh token is tried once, for writes too.
    async fn send_authorized(
        &self,
        call: &Call,
        sender: Sender<'_>,
        kept: Option<&Kept>,
    ) -> Result<Answer, GitHubError> {
        let token = self.bearer(sender).await?;
        let answer = self.governed_exchange(call, sender, &token, kept).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        if let Sender::Repo(repo, access) = sender {
            self.forget_token(repo, access, &token).await;
        }
        let token = self.bearer(sender).await?;
        self.governed_exchange(call, sender, &token, kept).await
    }

    /// One exchange within the budget of who pays for it.
    async fn governed_exchange(
        &self,
        call: &Call,
        sender: Sender<'_>,
        token: &SecretString,
        kept: Option<&Kept>,
    ) -> Result<Answer, GitHubError> {
        let Some(governor) = &self.inner.governor.0 else { return self.exchange(call, token, kept).await };
        let (payer, ask) = (sender.payer(), call.ask(sender));
        governor.admit(payer, ask).await.map_err(|retry_at| GitHubError::RateLimited { retry_at })?;
        let answer = self.exchange(call, token, kept).await?;
        let limited = status::limited(answer.status, &answer.headers, &answer.body, crate::clock::now());
        let seen = Seen { lane: ask.lane, rate: status::rate(&answer.headers), limited };
        let not_modified = answer.status == StatusCode::NOT_MODIFIED;
        let closed = governor.learn(payer, Told { seen, write: ask.write, not_modified }).await;
        match (limited, closed) {
            // The budget knows more than this answer says.
            (Some(_), Some(retry_at)) => Err(GitHubError::RateLimited { retry_at }),
            _ => Ok(answer),
        }
    }

    async fn bearer(&self, sender: Sender<'_>) -> Result<SecretString, GitHubError> {
        match sender {
            Sender::App | Sender::Mint(..) => self.app_jwt(),
            Sender::Repo(repo, access) => self.installation_token(repo, access).await,
        }
    }

    /// One exchange, with redirects to the same origin followed unchanged: a renamed repository answers with them.
    async fn exchange(&self, call: &Call, token: &SecretString, kept: Option<&Kept>) -> Result<Answer, GitHubError> {
        let mut url = call.url(&self.inner.api_url);
        for _ in 0..=REDIRECT_LIMIT {
            let answer = self.exchange_at(call, &url, token, kept).await?;
            if !matches!(answer.status.as_u16(), 301 | 302 | 307 | 308) {
                return Ok(answer);
            }
            let to = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| url.join(to).ok());
            let to = to.ok_or_else(|| answer.unexpected("GitHub redirects and does not say where to"))?;
            if to.origin() != self.inner.api_url.origin() {
                return Err(answer.unexpected("GitHub redirects to another host, where the token must not go"));
            }
            url = to;
        }
        Err(GitHubError::Unexpected(format!("{}: more than {REDIRECT_LIMIT} redirects", call.name())))
    }

    async fn exchange_at(
        &self,
        call: &Call,
        url: &Url,
        token: &SecretString,
        kept: Option<&Kept>,
    ) -> Result<Answer, GitHubError> {
        let transient = |why: String| GitHubError::Transient(format!("{}: {why}", call.name()));
        let invalid = |why: &str| GitHubError::Invalid(format!("{}: {why}", call.name()));
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
            .map_err(|_| invalid("the token has characters that a header cannot carry"))?;
        bearer.set_sensitive(true);
        let mut request = http::Request::builder()
            .method(call.method.clone())
            .uri(url.as_str())
            .header(ACCEPT, call.accept)
            .header(AUTHORIZATION, bearer);
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(kept) = kept {
            request = request.header(IF_NONE_MATCH, &kept.etag);
        }
        let request = request
            .body(call.body.clone().unwrap_or_default())
            .map_err(|_| invalid("the address cannot be written as a URL"))?;
        // The last moment at which a worker that was frozen meanwhile can learn that it was overtaken.
        if call.method != Method::GET && crate::claim::has_run_out() {
            return Err(transient(crate::claim::RAN_OUT.to_owned()));
        }
        let response = self.inner.http.execute(request).await.map_err(|e| transient(root_cause(&e)))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES)
            .collect()
            .await
            .map_err(|e| transient(format!("the answer broke off: {}", root_cause(e.as_ref()))))?
            .to_bytes();
        let as_json = call.accept == ACCEPT_JSON;
        let redactor = self.inner.redactor.clone();
        Ok(Answer { name: call.name(), as_json, status: parts.status, headers: parts.headers, body, redactor })
    }
}

impl RepoClient {
    /// `/repos/owner/name` and the rest, which begins with `/` and is already encoded.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/repos/{}/{}{rest}", self.repo.name.owner(), self.repo.name.name())
    }

    /// Sends in the installation's name.
    pub(super) async fn send(&self, access: Access, call: &Call) -> Result<Answer, GitHubError> {
        self.github.send(call, Sender::Repo(&self.repo, access)).await
    }

    /// Sends once in the installation's name and gives the answer whatever its status.
    pub(super) async fn answer(&self, access: Access, call: &Call) -> Result<Answer, GitHubError> {
        self.github.send_authorized(call, Sender::Repo(&self.repo, access), None).await
    }

    /// Reads one JSON object.
    pub(super) async fn read<T: DeserializeOwned>(&self, access: Access, rest: &str) -> Result<T, GitHubError> {
        self.send(access, &Call::get(self.path(rest))).await?.json()
    }

    /// Writes a JSON body and reads one JSON object.
    pub(super) async fn write<T: DeserializeOwned>(
        &self,
        access: Access,
        method: Method,
        rest: &str,
        body: &impl Serialize,
    ) -> Result<T, GitHubError> {
        self.send(access, &Call::write(method, self.path(rest), body)?).await?.json()
    }

    /// Writes a JSON body where nothing of the answer but its status is needed.
    pub(super) async fn tell(
        &self,
        access: Access,
        method: Method,
        rest: &str,
        body: &impl Serialize,
    ) -> Result<(), GitHubError> {
        self.send(access, &Call::write(method, self.path(rest), body)?).await.map(|_| ())
    }

    /// Reads page after page until there is none, or up to `limit` entries. `items` takes a page's entries out.
    pub(super) async fn list_up_to<W: DeserializeOwned, T>(
        &self,
        access: Access,
        call: Call,
        limit: usize,
        items: impl Fn(W) -> Vec<T>,
    ) -> Result<Listed<T>, GitHubError> {
        let mut all = Vec::new();
        let (mut first, mut before) = (0, Bytes::new());
        for page in 1..=PAGE_LIMIT {
            let call = call.clone().query("per_page", PAGE_SIZE.to_string()).query("page", page.to_string());
            let answer = self.send(access, &call).await?;
            let found = items(answer.json()?);
            let count = found.len();
            let next = has_next(&answer.headers);
            if page > 1 && next.is_none() && answer.body == before {
                // The host gives the same whatever page is asked for: that is all there is, unless it was cut at a full page.
                return Ok(Listed { items: all, complete: count != PAGE_SIZE });
            }
            all.extend(found);
            if page == 1 {
                first = count;
            }
            if count == 0 || !next.unwrap_or(count >= first && may_be_cut(first)) {
                return Ok(Listed { items: all, complete: true });
            }
            if all.len() >= limit {
                break;
            }
            before = answer.body;
        }
        Ok(Listed { items: all, complete: false })
    }

    /// Reads every page; a list that does not end is an error, because part of a list must not pass for the whole.
    pub(super) async fn list_all<W: DeserializeOwned, T>(
        &self,
        access: Access,
        call: Call,
        items: impl Fn(W) -> Vec<T>,
    ) -> Result<Vec<T>, GitHubError> {
        let name = call.name();
        let listed = self.list_up_to(access, call, PAGE_LIMIT * PAGE_SIZE, items).await?;
        if listed.complete {
            Ok(listed.items)
        } else {
            Err(GitHubError::Unexpected(format!("{name}: the list goes on after {PAGE_LIMIT} pages of {PAGE_SIZE}")))
        }
    }
}

/// Percent-encodes everything but unreserved characters, for one path segment or one query value.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Encodes the segments of a path of several; `None` when one is empty or a dot segment, which a URL would swallow.
pub(super) fn encode_segments(path: &str) -> Option<String> {
    let segments: Vec<&str> = path.split('/').collect();
    let odd = segments.iter().any(|s| matches!(*s, "" | "." | ".."));
    (!odd).then(|| segments.into_iter().map(encode).collect::<Vec<_>>().join("/"))
}

/// The last error of the chain: the ones above repeat the URL and add nothing a person can use.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_may_have_a_path() {
        let call = Call::get("/repos/acme/shop/pulls/7").query("since", "2026-01-01T00:00:00Z").query("x", "a b&c");
        for (base, expected) in [
            ("https://api.github.com", "https://api.github.com/repos/acme/shop/pulls/7"),
            ("https://api.github.com/", "https://api.github.com/repos/acme/shop/pulls/7"),
            ("https://ghe.example.com/api/v3", "https://ghe.example.com/api/v3/repos/acme/shop/pulls/7"),
            ("http://127.0.0.1:3000/api/v3/", "http://127.0.0.1:3000/api/v3/repos/acme/shop/pulls/7"),
        ] {
            let url = call.url(&Url::parse(base).expect("a base URL"));
            assert_eq!(url.as_str(), format!("{expected}?since=2026-01-01T00%3A00%3A00Z&x=a%20b%26c"));
        }
    }

    #[test]
    fn segments_cannot_leave_their_place() {
        assert_eq!(encode_segments(".github/titan.yml").as_deref(), Some(".github/titan.yml"));
        assert_eq!(encode_segments("a b/ü?#%2e").as_deref(), Some("a%20b/%C3%BC%3F%23%252e"));
        for bad in ["", "/a", "a/", "a//b", "../a", "a/./b"] {
            assert_eq!(encode_segments(bad), None, "{bad:?}");
        }
    }
}
