//! The requests that passed between Titan, GitHub and Render.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::playground::exchange::Exchange;
use crate::playground::github::Delivery;
use crate::playground::ui::view::{Call, Mark, When};

/// How many requests are shown.
pub const SHOWN: usize = 150;
/// A body longer than this many characters is cut.
const BODY: usize = 6_000;

/// Requests of Titan, as calls; `route` says from whom to whom.
pub fn asked(route: &'static str, exchanges: Vec<Exchange>) -> Vec<Passed> {
    exchanges.into_iter().map(|exchange| Passed::Exchange(route, exchange)).collect()
}

/// Webhooks of GitHub.
pub fn told(deliveries: Vec<Delivery>) -> Vec<Passed> {
    deliveries.into_iter().map(Passed::Delivery).collect()
}

/// Something that passed.
pub enum Passed {
    /// A request to GitHub or Render.
    Exchange(&'static str, Exchange),
    /// A webhook.
    Delivery(Delivery),
}

/// The newest of all that passed, and how many older ones there are.
pub fn calls(mut all: Vec<Passed>, now: DateTime<Utc>) -> (Vec<Call>, usize) {
    let at = |passed: &Passed| match passed {
        Passed::Exchange(_, exchange) => exchange.at,
        Passed::Delivery(delivery) => delivery.delivered_at,
    };
    all.sort_by_key(|passed| std::cmp::Reverse(at(passed)));
    let older = all.len().saturating_sub(SHOWN);
    (all.iter().take(SHOWN).map(|passed| call(passed, now)).collect(), older)
}

fn call(passed: &Passed, now: DateTime<Utc>) -> Call {
    match passed {
        Passed::Exchange(route, exchange) => {
            let query = exchange.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
            Call {
                at: When::new(exchange.at, now),
                route,
                method: exchange.method.clone(),
                path: format!("{}{query}", exchange.path),
                mark: mark(exchange.status),
                request: readable(&exchange.request_body),
                response: readable(&exchange.response_body),
            }
        }
        Passed::Delivery(delivery) => {
            let action = delivery.action.as_ref().map(|action| format!(".{action}")).unwrap_or_default();
            Call {
                at: When::new(delivery.delivered_at, now),
                route: "GitHub → Titan",
                method: "HOOK".to_owned(),
                path: format!("{}{action}", delivery.event),
                mark: mark(delivery.status_code),
                request: readable(&delivery.payload),
                response: delivery.response_body.clone(),
            }
        }
    }
}

fn mark(status: u16) -> Mark {
    match status {
        0 => Mark::new("bad", "no answer"),
        200..=399 => Mark::new("good", status.to_string()),
        _ => Mark::new("bad", status.to_string()),
    }
}

/// A body as people can read it: JSON with line breaks, other text as it is.
fn readable(body: &Bytes) -> String {
    let pretty = serde_json::from_slice::<serde_json::Value>(body).and_then(|json| serde_json::to_string_pretty(&json));
    let text = pretty.unwrap_or_else(|_| match std::str::from_utf8(body) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("{} bytes", body.len()),
    });
    match text.char_indices().nth(BODY) {
        Some((at, _)) => format!("{}\n… cut here", &text[..at]),
        None => text,
    }
}
