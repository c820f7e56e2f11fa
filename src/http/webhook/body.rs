//! Reads a body, with a limit for its size and its time.

use std::ops::Deref;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::http::problem::Problem;

/// How long a client may take to send everything. GitHub gives up after 10 s.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// A body that is too long is read on, and thrown away, up to this many times the limit: a client that is still sending
/// when the connection closes never sees the answer.
const DRAIN_FACTOR: usize = 3;

/// Anyone can send a body, because its signature is verified only when all of it is there. So that many at once cannot
/// use up the memory, only so many are read at a time, and what is beyond the first page of each comes out of one budget for
/// the process. Together that is at most 144 MB.
static BUDGET: Semaphore = Semaphore::const_new(BUDGET_PAGES);
/// 128 MB: five bodies of GitHub's greatest size at a time.
const BUDGET_PAGES: usize = (128 << 20) / PAGE;
const PAGE: usize = 64 << 10;
/// So many bodies are read at a time, each with a page that it need not ask for. Most payloads are smaller than that, so
/// that they come in also when others have used the budget up.
static SEATS: Semaphore = Semaphore::const_new(MOST_BODIES);
const MOST_BODIES: usize = 256;
/// Whoever finds no seat waits so long for one: a burst of deliveries is over much sooner.
const SEAT_LIMIT: Duration = Duration::from_secs(5);

/// A body in memory, with its seat and its share of the budget.
#[derive(Debug)]
pub(super) struct Held {
    bytes: Vec<u8>,
    share: Option<SemaphorePermit<'static>>,
    _seat: SemaphorePermit<'static>,
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Held {
    fn new(seat: SemaphorePermit<'static>) -> Self {
        Self { bytes: Vec::new(), share: None, _seat: seat }
    }

    /// Throws the bytes away and keeps the seat.
    fn let_go(&mut self) {
        (self.bytes, self.share) = (Vec::new(), None);
    }

    /// Whether there is room for so many bytes in all.
    fn make_room(&mut self, length: usize) -> bool {
        let pages = length.saturating_sub(PAGE).div_ceil(PAGE);
        let missing = pages.saturating_sub(self.share.as_ref().map_or(0, SemaphorePermit::num_permits));
        let Ok(missing) = u32::try_from(missing) else { return false };
        if missing == 0 {
            return true;
        }
        match (BUDGET.try_acquire_many(missing), &mut self.share) {
            (Ok(more), Some(share)) => share.merge(more),
            (Ok(more), none) => *none = Some(more),
            (Err(_), _) => return false,
        }
        true
    }
}

/// The whole body, at most `limit` bytes.
///
/// # Errors
/// 413 when it is longer, 408 when it does not come, 400 when it breaks off, 503 when too many come at once.
pub(super) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Held, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let waits_for_go_ahead = headers.contains_key(header::EXPECT);
    if waits_for_go_ahead && announced.is_some_and(|length: usize| length > limit) {
        return Err(too_large(limit));
    }
    let seat = match tokio::time::timeout(SEAT_LIMIT, SEATS.acquire()).await {
        Ok(Ok(seat)) => seat,
        Ok(Err(_)) | Err(_) => return Err(too_many()),
    };
    tokio::time::timeout(TIME_LIMIT, collect(body, limit, seat)).await.unwrap_or_else(|_| {
        let detail = format!("the body did not arrive within {} s", TIME_LIMIT.as_secs());
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", "The body did not arrive", detail))
    })
}

async fn collect(mut body: Body, limit: usize, seat: SemaphorePermit<'static>) -> Result<Held, Problem> {
    let mut held = Held::new(seat);
    let mut seen = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            let detail = "the body broke off before its end; deliver it again";
            Problem::new(StatusCode::BAD_REQUEST, "body-broken", "The body broke off", detail)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen <= limit {
            if !held.make_room(seen) {
                return Err(too_many());
            }
            held.bytes.extend_from_slice(&data);
        } else {
            held.let_go();
            if seen > limit.saturating_mul(DRAIN_FACTOR) {
                break;
            }
        }
    }
    if seen > limit { Err(too_large(limit)) } else { Ok(held) }
}

fn too_many() -> Problem {
    let detail = "too many bodies are coming in at once; Titan asks GitHub for this delivery again by itself";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-bodies", "Too many bodies at once", detail)
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is longer than {} MB, which is more than GitHub sends", limit >> 20);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_limit_is_exact() {
        for (length, fits) in [(0, true), (9, true), (10, true), (11, false), (100, false)] {
            let read = read(&HeaderMap::new(), Body::from(vec![b'x'; length]), 10).await;
            match fits {
                true => assert_eq!(read.map(|bytes| bytes.len()).ok(), Some(length)),
                false => assert_eq!(read.map_err(|p| p.status()).err(), Some(StatusCode::PAYLOAD_TOO_LARGE)),
            }
        }
    }

    #[tokio::test]
    async fn bodies_share_a_budget_and_small_ones_always_fit() {
        const LIMIT: usize = 25 << 20;
        let send = async |length: usize| read(&HeaderMap::new(), Body::from(vec![b'x'; length]), LIMIT).await;
        let mut held = Vec::new();
        let refused = loop {
            match send(LIMIT).await {
                Ok(body) => held.push(body),
                Err(problem) => break problem.status(),
            }
            assert!(held.len() < 10, "the budget never ends");
        };
        assert_eq!((refused, held.len()), (StatusCode::SERVICE_UNAVAILABLE, 5));
        assert!(send(PAGE).await.is_ok(), "an ordinary delivery does not wait");
        held.pop();
        assert!(send(LIMIT).await.is_ok(), "what was read and let go is room again");
        held.clear();

        // Two thousand of 1 MB that nobody has signed: each byte of them is counted.
        const FLOOD: usize = 1 << 20;
        while held.len() < 2_000 {
            let Ok(body) = send(FLOOD).await else { break };
            held.push(body);
        }
        assert!(held.len() * FLOOD <= (BUDGET_PAGES + MOST_BODIES) * PAGE, "{} at once", held.len());
        assert!(send(PAGE).await.is_ok(), "an ordinary delivery does not wait");
    }
}
