//! What passed over the wire, and what is to go wrong next: shared by the playground's GitHub and Render.
//!
//! A simulator puts [`record`] around its router. Every request then leaves an [`Exchange`] in the [`CallLog`] and meets
//! the [`Faults`] that were asked for. This file knows no route and no model, and it never redacts: it holds what the
//! playground itself made up, and never a real account's traffic.

mod faults;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::watch;

use faults::{Dropped, MadeUp, answer, broken_connection, perform};
pub use faults::{Fault, FaultKind, Faults, Weather};

/// The largest body that is kept, in bytes; more is answered with 413. GitHub's own largest webhook is 25 MB.
pub const BODY_LIMIT: usize = 64 << 20;

/// One request and its answer, as the client saw them.
#[derive(Clone, PartialEq, Eq)]
pub struct Exchange {
    /// When the answer was ready.
    pub at: DateTime<Utc>,
    /// Upper case: `GET`, `POST`.
    pub method: String,
    /// The path as it was sent: percent-encoded, without the query.
    pub path: String,
    /// What stood after `?`, percent-encoded.
    pub query: Option<String>,
    /// Names in lower case, in the order they were sent; a name may stand more than once.
    pub request_headers: Vec<(String, String)>,
    /// Empty when there was none.
    pub request_body: Bytes,
    /// The answer's status; 0 when a fault broke the connection and there was no answer.
    pub status: u16,
    /// Like `request_headers`.
    pub response_headers: Vec<(String, String)>,
    /// Empty when there was none.
    pub response_body: Bytes,
    /// Whether a fault made the answer up, so that it says nothing about the simulated service.
    pub made_up: bool,
}

impl Exchange {
    /// The first request header of that name (lower case).
    pub fn request_header(&self, name: &str) -> Option<&str> {
        find_header(&self.request_headers, name)
    }

    /// The first response header of that name (lower case).
    pub fn response_header(&self, name: &str) -> Option<&str> {
        find_header(&self.response_headers, name)
    }

    /// The request's body read as JSON; `Null` when it is empty or is not JSON.
    pub fn request_json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.request_body).unwrap_or_default()
    }

    /// The answer's body read as JSON; `Null` when it is empty or is not JSON.
    pub fn response_json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.response_body).unwrap_or_default()
    }
}

/// Short on purpose: a failed test prints hundreds of these.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        if let Some(query) = &self.query {
            write!(f, "?{query}")?;
        }
        let (sent, received) = (self.request_body.len(), self.response_body.len());
        write!(f, " ({sent} B) -> {} ({received} B)", self.status)
    }
}

/// Every exchange so far, oldest first. A clone is the same log.
#[derive(Clone, Debug)]
pub struct CallLog {
    entries: Arc<Mutex<Vec<Exchange>>>,
    version: Arc<watch::Sender<u64>>,
}

impl Default for CallLog {
    fn default() -> Self {
        Self { entries: Arc::default(), version: Arc::new(watch::Sender::new(0)) }
    }
}

impl CallLog {
    /// Adds one and wakes who waits in [`CallLog::changed`].
    pub fn push(&self, exchange: Exchange) {
        lock(&self.entries).push(exchange);
        self.version.send_modify(|version| *version += 1);
    }

    /// A copy of everything, in the order the answers were ready.
    pub fn all(&self) -> Vec<Exchange> {
        lock(&self.entries).clone()
    }

    /// The exchanges of that method (`*` is any) whose path fits the pattern, see [`path_matches`].
    pub fn matching(&self, method: &str, path_pattern: &str) -> Vec<Exchange> {
        lock(&self.entries)
            .iter()
            .filter(|seen| method_matches(method, &seen.method) && path_matches(path_pattern, &seen.path))
            .cloned()
            .collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.entries).len()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        lock(&self.entries).clear();
        self.version.send_modify(|version| *version += 1);
    }

    /// Grows with every change; to be read before looking at the log, and handed to [`CallLog::changed`].
    pub fn version(&self) -> u64 {
        *self.version.borrow()
    }

    /// Waits until the log is no longer at version `seen`. False when `within` passed first.
    pub async fn changed(&self, seen: u64, within: Duration) -> bool {
        let mut versions = self.version.subscribe();
        let moved = versions.wait_for(|version| *version != seen);
        matches!(tokio::time::timeout(within, moved).await, Ok(Ok(_)))
    }

    /// Waits until `done` holds for the exchanges so far. False when `within` passed first.
    pub async fn until(&self, within: Duration, done: impl Fn(&[Exchange]) -> bool) -> bool {
        let mut versions = self.version.subscribe();
        let holds = versions.wait_for(|_| done(&lock(&self.entries)));
        matches!(tokio::time::timeout(within, holds).await, Ok(Ok(_)))
    }
}

/// The state of [`record`]: where it writes, what it breaks, and what it leaves alone.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// Where exchanges go.
    pub log: CallLog,
    /// What goes wrong.
    pub faults: Faults,
    /// Path patterns (see [`path_matches`]) whose bodies are streamed and not logged, such as git's own protocol.
    /// Faults reach them too.
    pub unlogged: Arc<[&'static str]>,
}

impl Recorder {
    /// A recorder with a log and a list of faults of its own.
    pub fn new(unlogged: &[&'static str]) -> Self {
        Self { log: CallLog::default(), faults: Faults::default(), unlogged: unlogged.into() }
    }
}

/// Axum middleware: logs each exchange and lets the faults happen. Use it outermost, so that requests without a route
/// are seen too: `router.layer(axum::middleware::from_fn_with_state(recorder, record))`.
pub async fn record(State(recorder): State<Recorder>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().as_str().to_owned(), request.uri().path().to_owned());
    let fault = recorder.faults.take(&method, &path);
    if recorder.unlogged.iter().any(|pattern| path_matches(pattern, &path)) {
        return perform(&recorder.faults, fault, request, next).await;
    }

    let query = request.uri().query().map(str::to_owned);
    let request_headers = header_list(request.headers());
    let (parts, body) = request.into_parts();
    let Ok(request_body) = to_bytes(body, BODY_LIMIT).await else {
        return answer(StatusCode::PAYLOAD_TOO_LARGE, "the request's body could not be read, or is too large", &[]);
    };
    let request = Request::from_parts(parts, Body::from(request_body.clone()));

    let (parts, body) = perform(&recorder.faults, fault, request, next).await.into_parts();
    let dropped = parts.extensions.get::<Dropped>().is_some();
    let made_up = parts.extensions.get::<MadeUp>().is_some();
    // What breaks anyway is passed on as it is, so that it breaks where it shall.
    let (broken, response_body) =
        if dropped { (Some(body), None) } else { (None, to_bytes(body, BODY_LIMIT).await.ok()) };
    recorder.log.push(Exchange {
        at: crate::clock::now(),
        method,
        path,
        query,
        request_headers,
        request_body,
        status: if response_body.is_some() { parts.status.as_u16() } else { 0 },
        response_headers: if response_body.is_some() { header_list(&parts.headers) } else { Vec::new() },
        response_body: response_body.clone().unwrap_or_default(),
        made_up,
    });
    match (response_body, broken) {
        (Some(body), _) => Response::from_parts(parts, Body::from(body)),
        (None, Some(broken)) => Response::from_parts(parts, broken),
        (None, None) => broken_connection(),
    }
}

/// Whether a path fits a pattern: `*` stands for exactly one segment, a last `**` for one or more.
///
/// Segments are compared as they were sent, so a branch name with a slash that was sent as `%2F` is one segment.
pub fn path_matches(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut found) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some("**"), Some(segment)) => return !segment.is_empty() || found.next().is_some(),
            (Some("*"), Some(segment)) if !segment.is_empty() => {}
            (Some(wanted), Some(segment)) if wanted == segment => {}
            _ => return false,
        }
    }
}

fn header_list(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

fn find_header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn method_matches(wanted: &str, method: &str) -> bool {
    wanted == "*" || wanted.eq_ignore_ascii_case(method)
}

/// A panic elsewhere while the lock was held leaves a list that is still whole: every change is one push or remove.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::Router;
    use axum::routing::post;

    use super::*;

    /// A server that counts what was really done, and its address.
    async fn serve(recorder: Recorder) -> (String, Arc<AtomicU32>) {
        let done = Arc::new(AtomicU32::new(0));
        let counter = done.clone();
        let act = move |body: String| async move {
            counter.fetch_add(1, Ordering::SeqCst);
            format!("heard {body}")
        };
        let router = Router::new()
            .route("/things/{id}", post(act))
            .layer(axum::middleware::from_fn_with_state(recorder, record));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (format!("http://{address}"), done)
    }

    async fn send(base: &str, path: &str) -> Result<(u16, String), reqwest::Error> {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let response = reqwest::Client::new().post(format!("{base}{path}")).body("hello").send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }

    #[tokio::test]
    async fn an_exchange_is_kept_as_the_client_saw_it() {
        let recorder = Recorder::new(&["/git/**"]);
        let (base, _) = serve(recorder.clone()).await;
        assert_eq!(send(&base, "/things/7?x=1").await.unwrap(), (200, "heard hello".into()));
        assert_eq!(send(&base, "/unknown").await.unwrap().0, 404);
        assert_eq!(send(&base, "/git/a/b").await.unwrap().0, 404);
        let seen = recorder.log.all();
        assert_eq!(seen.len(), 2, "the path that is not logged is not there");
        assert_eq!(format!("{:?}", seen[0]), "POST /things/7?x=1 (5 B) -> 200 (11 B)");
        assert_eq!(seen[0].request_header("content-length"), Some("5"));
        assert_eq!(seen[0].response_header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(recorder.log.matching("POST", "/things/*").len(), 1);
        assert_eq!(recorder.log.matching("GET", "/things/*").len(), 0);
    }

    #[tokio::test]
    async fn faults_happen_as_often_as_asked_and_do_or_do_not_do_the_work() {
        let recorder = Recorder::default();
        let (base, done) = serve(recorder.clone()).await;
        let wait = FaultKind::Delay(Duration::from_millis(30));
        let busy = FaultKind::Before(429, "slow down".into(), vec![("retry-after".into(), "3".into())]);
        // what goes wrong, what the client sees (None: a broken connection), whether it was done
        let cases = [
            (busy, Some(429), 0),
            (FaultKind::After(502), Some(502), 1),
            (FaultKind::DropBefore, None, 0),
            (FaultKind::DropAfter, None, 1),
            (wait, Some(200), 1),
            (FaultKind::Slow(Duration::from_millis(30)), Some(200), 1),
            (FaultKind::Says("<html>".into()), Some(200), 1),
            (FaultKind::Half, Some(200), 1),
            (FaultKind::CutOff, None, 1),
        ];
        for (kind, expected, times_done) in cases {
            done.store(0, Ordering::SeqCst);
            recorder.log.clear();
            recorder.faults.inject(Fault::once("POST", "/things/*", kind.clone()));
            assert_eq!(recorder.faults.unconsumed().len(), 1);
            let answer = send(&base, "/things/1").await;
            let told = match kind {
                FaultKind::Says(_) => "<html>",
                FaultKind::Half => "heard",
                _ => "heard hello",
            };
            if let Ok((200, body)) = &answer {
                assert_eq!(body, told, "{kind:?}");
            }
            assert_eq!(answer.ok().map(|(status, _)| status), expected, "{kind:?}");
            assert_eq!(done.load(Ordering::SeqCst), times_done, "{kind:?}");
            assert_eq!(recorder.log.all()[0].status, expected.unwrap_or(0), "{kind:?}");
            assert_eq!(recorder.faults.unconsumed(), [], "{kind:?}");
            assert_eq!(send(&base, "/things/1").await.unwrap().0, 200, "the fault is used up: {kind:?}");
        }
        recorder.faults.inject(Fault { times: 2, ..Fault::once("*", "/**", FaultKind::After(500)) });
        let mut statuses = Vec::new();
        for _ in 0..3 {
            statuses.push(send(&base, "/things/1").await.unwrap().0);
        }
        assert_eq!(statuses, [500, 500, 200]);
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_the_next_exchange() {
        let recorder = Recorder::default();
        let (base, _) = serve(recorder.clone()).await;
        let seen = recorder.log.version();
        assert!(!recorder.log.changed(seen, Duration::from_millis(10)).await);
        let (woken, sent) = tokio::join!(recorder.log.changed(seen, Duration::from_secs(10)), send(&base, "/things/1"));
        assert!(woken && sent.is_ok());
        assert!(recorder.log.until(Duration::ZERO, |all| all.len() == 1).await);
        assert!(!recorder.log.until(Duration::from_millis(10), |all| all.len() == 2).await);
    }

    #[test]
    fn patterns_fit_whole_paths() {
        let cases = [
            ("/repos/*/*/pulls/*", "/repos/acme/shop/pulls/7", true),
            ("/repos/*/*/pulls/*", "/repos/acme/shop/pulls/7/files", false),
            ("/repos/*/*/pulls/*", "/repos/acme/shop/pulls/", false),
            ("/repos/**", "/repos/acme/shop", true),
            ("/repos/**", "/repos", false),
            ("/repos/**", "/repos/", false),
            ("/**", "/", false),
            ("/app", "/app", true),
            ("/app", "/apps", false),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(path_matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
