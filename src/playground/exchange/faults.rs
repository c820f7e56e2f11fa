//! What is to go wrong with requests, once or all the time, and how a request goes wrong.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderName, HeaderValue, StatusCode, header};
use tokio::sync::watch;

use super::{BODY_LIMIT, lock, method_matches, path_matches};

/// What was sent before a connection breaks has reached the client after this.
const SEEN_BY_THEN: Duration = Duration::from_millis(20);

/// Something that goes wrong on purpose, a limited number of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `POST`, or `*` for any.
    pub method: String,
    /// See [`path_matches`].
    pub path_pattern: String,
    /// What goes wrong.
    pub kind: FaultKind,
    /// How often; at least 1.
    pub times: u32,
}

impl Fault {
    /// A fault that happens to the next request that fits, and to no other.
    pub fn once(method: &str, path_pattern: &str, kind: FaultKind) -> Self {
        Self { method: method.to_owned(), path_pattern: path_pattern.to_owned(), kind, times: 1 }
    }
}

/// How a request goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Answers this status, body and headers without doing anything.
    Before(u16, String, Vec<(String, String)>),
    /// Does what was asked, then answers this status as if it had failed.
    After(u16),
    /// Breaks the connection without doing anything.
    DropBefore,
    /// Does what was asked, then breaks the connection instead of answering.
    DropAfter,
    /// Does what was asked, but starts that much later.
    Delay(Duration),
    /// Does what was asked, and answers that much later.
    Slow(Duration),
    /// Does what was asked, then answers its status with this body, which is not what was to be said.
    Says(String),
    /// Does what was asked, then answers with the first half of the body as if it were the whole.
    Half,
    /// Does what was asked, then breaks the connection in the middle of the body.
    CutOff,
    /// Does nothing and never answers; [`Faults::hanging`] tells when it has come to that.
    HangBefore,
    /// Does what was asked and never answers; [`Faults::hanging`] tells when it has come to that.
    HangAfter,
}

/// Chooses what goes wrong with a request of this method and path, besides what was asked for one by one.
pub type Weather = Arc<dyn Fn(&str, &str) -> Option<FaultKind> + Send + Sync>;

/// The faults still to come. A clone is the same list.
#[derive(Clone, Default)]
pub struct Faults {
    pending: Arc<Mutex<VecDeque<Fault>>>,
    weather: Arc<Mutex<Option<Weather>>>,
    hanging: Arc<watch::Sender<u64>>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(lock(&self.pending).iter()).finish()
    }
}

impl Faults {
    /// Asks for a fault. When several fit one request, the oldest happens and the others wait.
    pub fn inject(&self, fault: Fault) {
        lock(&self.pending).push_back(fault);
    }

    /// From now on every request is exposed to this; `None` ends it.
    pub fn set_weather(&self, weather: Option<Weather>) {
        *lock(&self.weather) = weather;
    }

    /// The fault that this request meets: one that was asked for, used up once, else what the weather brings.
    pub fn take(&self, method: &str, path: &str) -> Option<FaultKind> {
        self.take_pending(method, path).or_else(|| {
            let weather = lock(&self.weather).clone();
            weather.and_then(|weather| weather(method, path))
        })
    }

    fn take_pending(&self, method: &str, path: &str) -> Option<FaultKind> {
        let mut pending = lock(&self.pending);
        let fits = |fault: &Fault| method_matches(&fault.method, method) && path_matches(&fault.path_pattern, path);
        let index = pending.iter().position(fits)?;
        let fault = pending.get_mut(index)?;
        if fault.times > 1 {
            fault.times -= 1;
            return Some(fault.kind.clone());
        }
        pending.remove(index).map(|fault| fault.kind)
    }

    /// What was asked for and has not happened (`times` says how often not): a test that ends with one did not test
    /// what it says.
    pub fn unconsumed(&self) -> Vec<Fault> {
        lock(&self.pending).iter().cloned().collect()
    }

    /// Counts the requests that were left without an answer: what each asked for is done, or left undone, for good.
    pub fn hanging(&self) -> watch::Receiver<u64> {
        self.hanging.subscribe()
    }

    /// Until the client goes away, which ends this.
    async fn hang(&self) -> Response {
        self.hanging.send_modify(|count| *count += 1);
        std::future::pending().await
    }

    /// Gives up every fault that has not happened.
    pub fn clear(&self) {
        lock(&self.pending).clear();
    }
}

/// Marks an answer that a fault made up.
#[derive(Clone)]
pub(super) struct MadeUp;

/// Marks an answer that stands for a broken connection.
#[derive(Clone)]
pub(super) struct Dropped;

pub(super) async fn perform(faults: &Faults, fault: Option<FaultKind>, request: Request, next: Next) -> Response {
    match fault {
        None => next.run(request).await,
        Some(FaultKind::Before(status, body, headers)) => {
            let mut answer = answer(status_code(status), &body, &headers);
            answer.extensions_mut().insert(MadeUp);
            answer
        }
        Some(FaultKind::After(status)) => {
            next.run(request).await;
            answer(status_code(status), r#"{"message":"it was done, and a fault asked for this answer"}"#, &[])
        }
        Some(FaultKind::DropBefore) => broken_connection(),
        Some(FaultKind::DropAfter) => {
            next.run(request).await;
            broken_connection()
        }
        Some(FaultKind::Delay(wait)) => {
            tokio::time::sleep(wait).await;
            next.run(request).await
        }
        Some(FaultKind::Slow(wait)) => {
            let response = next.run(request).await;
            tokio::time::sleep(wait).await;
            response
        }
        Some(FaultKind::Says(body)) => {
            let done = next.run(request).await;
            let mut answer = answer(done.status(), &body, &[("content-type".to_owned(), "text/html".to_owned())]);
            answer.extensions_mut().insert(MadeUp);
            answer
        }
        Some(FaultKind::Half) => {
            let (mut parts, body) = next.run(request).await.into_parts();
            let body = to_bytes(body, BODY_LIMIT).await.unwrap_or_default();
            parts.headers.remove(header::CONTENT_LENGTH);
            parts.extensions.insert(MadeUp);
            Response::from_parts(parts, Body::from(body.slice(..body.len() / 2)))
        }
        Some(FaultKind::CutOff) => {
            let (parts, body) = next.run(request).await.into_parts();
            cut_off(parts, to_bytes(body, BODY_LIMIT).await.unwrap_or_default())
        }
        Some(FaultKind::HangBefore) => faults.hang().await,
        Some(FaultKind::HangAfter) => {
            next.run(request).await;
            faults.hang().await
        }
    }
}

/// An answer whose body fails at once: the server gives up the connection before it has sent anything.
pub(super) fn broken_connection() -> Response {
    let failure = futures::future::ready(Err::<Bytes, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
    let mut response = Response::new(Body::from_stream(futures::stream::once(failure)));
    response.extensions_mut().insert(Dropped);
    response
}

/// An answer that breaks in the middle, after the client has seen its beginning.
fn cut_off(mut parts: http::response::Parts, body: Bytes) -> Response {
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len().max(1)));
    parts.extensions.insert(Dropped);
    let half = futures::stream::once(futures::future::ready(Ok(body.slice(..body.len() / 2))));
    let reset = futures::stream::once(async {
        tokio::time::sleep(SEEN_BY_THEN).await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    });
    Response::from_parts(parts, Body::from_stream(half.chain(reset)))
}

pub(super) fn answer(status: StatusCode, body: &str, headers: &[(String, String)]) -> Response {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
