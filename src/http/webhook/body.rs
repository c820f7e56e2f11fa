//! Reads a body, with a limit for its size and its time.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;

use crate::http::problem::Problem;

/// How long a client may take to send everything. GitHub gives up after 10 s.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// A body that is too long is read on, and thrown away, up to this many times the limit: a client that is still sending
/// when the connection closes never sees the answer.
const DRAIN_FACTOR: usize = 3;

/// The whole body, at most `limit` bytes.
///
/// # Errors
/// 413 when it is longer, 408 when it does not come, 400 when it breaks off.
pub(super) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let waits_for_go_ahead = headers.contains_key(header::EXPECT);
    if waits_for_go_ahead && announced.is_some_and(|length: usize| length > limit) {
        return Err(too_large(limit));
    }
    tokio::time::timeout(TIME_LIMIT, collect(body, limit)).await.unwrap_or_else(|_| {
        let detail = format!("the body did not arrive within {} s", TIME_LIMIT.as_secs());
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", "The body did not arrive", detail))
    })
}

async fn collect(mut body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut seen = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            let detail = "the body broke off before its end; deliver it again";
            Problem::new(StatusCode::BAD_REQUEST, "body-broken", "The body broke off", detail)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        seen = seen.saturating_add(data.len());
        if seen <= limit {
            bytes.extend_from_slice(&data);
        } else {
            bytes = Vec::new();
            if seen > limit.saturating_mul(DRAIN_FACTOR) {
                break;
            }
        }
    }
    if seen > limit { Err(too_large(limit)) } else { Ok(bytes) }
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
                true => assert_eq!(read.map(|bytes| bytes.len()), Ok(length)),
                false => assert_eq!(read.map_err(|p| p.status()), Err(StatusCode::PAYLOAD_TOO_LARGE)),
            }
        }
    }
}
