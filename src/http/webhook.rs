//! `POST /webhooks/github`: from GitHub's POST to a stored delivery with its intake job.
//!
//! The order is fixed: limit the size, verify the signature over the raw bytes, read, store, answer. GitHub gets its 202
//! only after the commit. The handler acts on nothing, calls nobody and never logs a body. GitHub does not repeat a
//! delivery by itself, so every answer that is not 202 must be a reason for a person to look into its delivery log.

mod body;
mod payload;

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tracing::Instrument;

use super::WebState;
use super::problem::Problem;
use crate::github::webhook::{Trigger, job_key, trigger, verify};
use crate::store::deliveries::{Accepted, NewDelivery};
use crate::store::jobs::{JobKind, NewJob};

/// GitHub's own limit for a payload is 25 MB
/// (<https://docs.github.com/en/webhooks/webhook-events-and-payloads#payload-cap>).
const BODY_LIMIT: usize = 25 << 20;
/// GitHub waits 10 s for the answer; a store that needs longer counts as away.
const STORE_LIMIT: Duration = Duration::from_secs(8);
/// Longest delivery id; GitHub's own are 36 characters.
const ID_LIMIT: usize = 128;
/// Longest event name; GitHub's longest is 42 characters.
const EVENT_LIMIT: usize = 100;
/// Longest action and repository name that are kept for people to read, in bytes.
const NOTE_LIMIT: usize = 250;

/// `/webhooks/github`.
pub fn routes() -> Router<WebState> {
    Router::new().route("/webhooks/github", post(receive))
}

async fn receive(State(state): State<WebState>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let bytes = match body::read(&head.headers, body, BODY_LIMIT).await {
        Ok(bytes) => bytes,
        Err(problem) => return turned_away(&problem).into_response(),
    };
    // Header values come from anyone until the signature is verified.
    if !verify(&state.webhook_secrets, &bytes, text_of(&head.headers, "x-hub-signature-256")) {
        return turned_away(&unsigned(&head.headers)).into_response();
    }
    let (id, event) = match (delivery_id(&head.headers), event_name(&head.headers)) {
        (Ok(id), Ok(event)) => (id, event),
        (Err(problem), _) | (_, Err(problem)) => return turned_away(&problem).into_response(),
    };
    let span = tracing::info_span!("delivery", delivery = id, event);
    accept(&state, id, event, &bytes).instrument(span).await
}

/// Stores a delivery whose signature was good.
async fn accept(state: &WebState, id: &str, event: &str, bytes: &[u8]) -> Response {
    let payload = match payload::read(bytes) {
        Ok(payload) => payload,
        Err(why) => return turned_away(&unreadable(format!("the body is not a JSON object: {why}"))).into_response(),
    };
    let trigger = trigger(event, &payload);
    let ignored = match &trigger {
        Trigger::Ignored { reason } => Some(*reason),
        _ => None,
    };
    let mut delivery = NewDelivery {
        id,
        event,
        action: note(payload.get("action")),
        repository: note(payload.get("repository").and_then(|r| r.get("full_name"))),
        body_bytes: bytes.len(),
        ignored,
    };
    let own_id = format!("{id}~{}", hex::encode(&Sha256::digest(bytes)[..6]));
    match store(state, &delivery, &trigger).await {
        Ok(Accepted::IdTaken) => {
            delivery.id = &own_id;
            store(state, &delivery, &trigger).await
        }
        first => first,
    }
    .map_or_else(|problem| turned_away(&problem).into_response(), |accepted| answer(accepted, ignored))
}

/// Stores a delivery with the job that acts on it.
async fn store(state: &WebState, delivery: &NewDelivery<'_>, trigger: &Trigger) -> Result<Accepted, Problem> {
    let job = match delivery.ignored {
        Some(_) => None,
        None => Some(intake_job(delivery.id, trigger).map_err(|error| unreadable(error.to_string()))?),
    };
    match tokio::time::timeout(STORE_LIMIT, state.store.accept_delivery(delivery, job.as_ref())).await {
        Ok(Ok(accepted)) => Ok(accepted),
        Ok(Err(error)) => {
            tracing::error!(%error, "a delivery could not be stored");
            Err(not_stored())
        }
        Err(_) => {
            tracing::error!("a delivery could not be stored in time");
            Err(not_stored())
        }
    }
}

/// The job that acts on a trigger. Triggers of one pull request are acted on in the order in which they came.
fn intake_job(id: &str, trigger: &Trigger) -> Result<NewJob, serde_json::Error> {
    let key = job_key(trigger, id);
    let payload = serde_json::to_string(&json!({ "delivery": id, "trigger": serde_json::to_value(trigger)? }))?;
    Ok(NewJob { kind: JobKind::Intake, key, payload, run_at: None })
}

fn answer(accepted: Accepted, ignored: Option<&'static str>) -> Response {
    let (status, reason) = match (accepted, ignored) {
        (Accepted::Duplicate | Accepted::IdTaken, _) => {
            ("duplicate", Some("a delivery with this id was received before"))
        }
        (Accepted::New, Some(reason)) => ("ignored", Some(reason)),
        (Accepted::New, None) => ("accepted", None),
    };
    tracing::info!(status, reason, "delivery received");
    count(status);
    (StatusCode::ACCEPTED, Json(json!({ "status": status, "reason": reason }))).into_response()
}

/// Counts and logs a delivery that gets no 202.
fn turned_away(problem: &Problem) -> Problem {
    tracing::warn!(status = problem.status().as_u16(), why = problem.detail(), "webhook turned away");
    count(match problem.status() {
        StatusCode::UNAUTHORIZED => "unsigned",
        StatusCode::SERVICE_UNAVAILABLE => "not_stored",
        _ => "unreadable",
    });
    problem.clone()
}

fn count(answer: &'static str) {
    metrics::counter!("titan_webhook_requests_total", "answer" => answer).increment(1);
}

fn unsigned(headers: &HeaderMap) -> Problem {
    let seen = match headers.contains_key("x-hub-signature-256") {
        true => "the signature in X-Hub-Signature-256 does not fit the body and the webhook secret",
        false => "the header X-Hub-Signature-256 is missing",
    };
    let detail = format!("{seen}; set the same secret in the App's webhook settings and in GITHUB_WEBHOOK_SECRET");
    Problem::new(StatusCode::UNAUTHORIZED, "bad-signature", "The signature is not GitHub's", detail)
}

fn unreadable(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unreadable-delivery", "The delivery cannot be read", detail)
}

fn not_stored() -> Problem {
    Problem::unavailable(
        "the delivery could not be stored because the database does not answer; deliver it again from the App's \
         delivery log when /api/ready answers 200",
    )
}

fn delivery_id(headers: &HeaderMap) -> Result<&str, Problem> {
    let fits = |id: &&str| {
        (1..=ID_LIMIT).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
    };
    text_of(headers, "x-github-delivery").filter(fits).ok_or_else(|| {
        unreadable(format!(
            "the header X-GitHub-Delivery is missing or is not an id of 1 to {ID_LIMIT} letters, digits and dashes; \
             without it a delivery cannot be told from a repeated one"
        ))
    })
}

fn event_name(headers: &HeaderMap) -> Result<&str, Problem> {
    let fits = |event: &&str| (1..=EVENT_LIMIT).contains(&event.len()) && event.bytes().all(|b| b.is_ascii_graphic());
    text_of(headers, "x-github-event").filter(fits).ok_or_else(|| {
        unreadable(format!("the header X-GitHub-Event is missing or is not a word of 1 to {EVENT_LIMIT} characters"))
    })
}

fn text_of<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Text of the payload that is kept beside the delivery, cut to a sensible length.
fn note(value: Option<&Value>) -> Option<&str> {
    let text = value?.as_str()?;
    let end = (0..=NOTE_LIMIT.min(text.len())).rev().find(|end| text.is_char_boundary(*end))?;
    text.get(..end)
}
