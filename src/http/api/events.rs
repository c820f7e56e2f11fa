//! `GET /api/runs/{id}/events`: what happens to a run and what its build prints, as server-sent events.
//!
//! Both are read from the store, never from memory, so a client that comes back with the id of the last event it saw
//! (`Last-Event-ID`, or `?after=`) misses nothing and sees nothing twice. The id names a place in both logs: `e12.l40`.
//! The stream ends with `end` once the run is completed and everything was sent. Announcements only make it faster.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use serde_json::json;

use super::find_run;
use super::params::Params;
use crate::domain::ids::RunId;
use crate::http::WebState;
use crate::http::ansi::Painter;
use crate::http::live::{Place, Subscription, Wake};
use crate::http::problem::Problem;
use crate::store::artifacts::LogChunk;
use crate::store::events::EventRow;
use crate::store::{Store, StoreError};

/// How often the store is looked at when nothing was announced.
const POLL: Duration = Duration::from_secs(3);
/// How often something is sent at least, so that nothing on the way closes the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a client should wait before it comes back.
const RETRY: Duration = Duration::from_secs(2);
/// So many events are made ready at most before the client has to take them.
const BACKLOG: usize = 1000;
/// After so many failed looks in a row the stream ends; the client comes back where it was.
const PATIENCE: u32 = 20;

/// The handler.
pub(super) async fn stream(
    State(state): State<WebState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    query: RawQuery,
) -> Result<Response, Problem> {
    let run = find_run(&state, &id).await?.id;
    let params = Params::new(query);
    let expected = "the id of an event of this stream, such as e12.l40";
    let place: Place = match headers.get("last-event-id").map(HeaderValue::to_str) {
        Some(Ok(id)) if !id.is_empty() => {
            let wrong = |()| Problem::bad_parameter(format!("Last-Event-ID cannot be read; expected {expected}"));
            id.parse().map_err(wrong)?
        }
        _ => params.read("after", expected)?.unwrap_or_default(),
    };
    // A browser asks for the build log as HTML, so that colours are worked out in one place only.
    let painter = match params.text("log") {
        Some("html") => Some(repaint(&state.store, run, place.log).await?),
        _ => None,
    };
    let watch = Watch {
        news: state.events.subscribe(run),
        store: state.store,
        run,
        place,
        painter,
        ready: VecDeque::from([Event::default().retry(RETRY)]),
        phase: Phase::Following,
        failures: 0,
    };
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Proxies of the nginx family hold a stream back unless told not to.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Sse::new(events(watch)).keep_alive(keep_alive)).into_response())
}

/// The colours that are on at a place in a build log.
async fn repaint(store: &Store, run: RunId, until: i64) -> Result<Painter, StoreError> {
    let (mut painter, mut seen) = (Painter::default(), 0);
    while seen < until {
        let chunks = store.read_log_after(run, seen).await?;
        for chunk in chunks.iter().filter(|chunk| chunk.seq <= until) {
            painter.paint(&chunk.content);
        }
        match chunks.last() {
            Some(last) => seen = last.seq,
            None => break,
        }
    }
    Ok(painter)
}

/// How far a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// More may come.
    Following,
    /// Everything was read.
    Ended,
}

/// One client's stream.
struct Watch {
    store: Store,
    run: RunId,
    /// Up to where things are in `ready` or sent.
    place: Place,
    news: Subscription,
    painter: Option<Painter>,
    ready: VecDeque<Event>,
    phase: Phase,
    failures: u32,
}

fn events(watch: Watch) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        Some((Ok(event), watch))
    })
}

impl Watch {
    /// The next event to send; `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.phase == Phase::Ended {
                return None;
            }
            match self.look().await {
                Ok(()) => self.failures = 0,
                Err(error) => {
                    self.failures += 1;
                    tracing::warn!(run = %self.run, %error, "a stream of events cannot go on for the moment");
                    if self.failures >= PATIENCE {
                        return None;
                    }
                }
            }
            if self.ready.is_empty() && self.news.wait(POLL).await == Wake::Stop {
                return None;
            }
        }
    }

    /// Reads what is new. The status is read first: when the run was completed then, nothing can come after what is
    /// read now. The log is read last and told first: who is told that a step ended has everything that it printed.
    async fn look(&mut self) -> Result<(), StoreError> {
        let conclusion = self.store.find_run(self.run).await?.and_then(|run| run.status.conclusion());
        let events = self.store.list_events_after(self.run, self.place.event).await?;
        let nothing_new = self.look_at_log().await? == 0 && events.is_empty();
        if self.ready.len() >= BACKLOG {
            return Ok(());
        }
        for event in events {
            self.push_event(&event);
        }
        if let Some(conclusion) = conclusion.filter(|_| nothing_new) {
            let data = json!({ "status": "completed", "conclusion": conclusion });
            self.push("end", &data);
            self.phase = Phase::Ended;
        }
        Ok(())
    }

    /// Reads what is new in the log, to its end unless that is too far away; gives the number of pieces.
    async fn look_at_log(&mut self) -> Result<usize, StoreError> {
        let mut pieces = 0;
        loop {
            let chunks = self.store.read_log_after(self.run, self.place.log).await?;
            pieces += chunks.len();
            if chunks.is_empty() || self.ready.len() >= BACKLOG {
                return Ok(pieces);
            }
            for chunk in chunks {
                self.push_log(&chunk);
            }
        }
    }

    fn push_log(&mut self, chunk: &LogChunk) {
        self.place.log = chunk.seq;
        let data = match &mut self.painter {
            Some(painter) => json!({ "html": painter.paint(&chunk.content) }),
            None => json!({ "text": chunk.content }),
        };
        self.push("log", &data);
    }

    fn push_event(&mut self, event: &EventRow) {
        self.place.event = event.id;
        let data = json!({ "at": event.at, "data": event.data });
        self.push(&event.kind, &data);
    }

    fn push(&mut self, kind: &str, data: &serde_json::Value) {
        let event = Event::default().event(kind).id(self.place.to_string()).data(data.to_string());
        self.ready.push_back(event);
    }
}
