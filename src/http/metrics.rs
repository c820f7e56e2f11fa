//! `GET /api/metrics`: the process's own counters, and figures of the store at this moment, as Prometheus text.
//!
//! The store's figures are gauges although most only rise: they count rows, and rows may be tidied away one day. When the
//! database is away they are left out and `titan_store_up` is 0, so that the rest can still be read.

use std::fmt::Write;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::WebState;
use crate::domain::budget::Lane;
use crate::store::{Store, StoreError};

/// How long the store may take for its figures.
const STORE_LIMIT: Duration = Duration::from_secs(5);
/// Kinds and statuses of jobs; shown also when there are none, so that an alert has something to look at.
const JOB_KINDS: [&str; 3] = ["intake", "step", "report"];
const JOB_STATUSES: [&str; 3] = ["queued", "running", "dead"];

/// `/api/metrics`.
pub fn routes() -> Router<WebState> {
    Router::new().route("/api/metrics", get(scrape))
}

/// Says what the process's own counters mean.
pub fn describe() {
    ::metrics::describe_counter!("titan_http_requests_total", "HTTP requests by route, method and status");
    ::metrics::describe_counter!("titan_job_claims_total", "looks at the queue by what they found");
    ::metrics::describe_counter!("titan_webhook_requests_total", "webhook requests by what they were answered");
}

async fn scrape(State(state): State<WebState>) -> Response {
    let mut text = state.metrics.render();
    let figures = tokio::time::timeout(STORE_LIMIT, store_figures(&state.store)).await;
    let figures = match figures {
        Ok(Ok(figures)) => Some(figures),
        Ok(Err(error)) => {
            tracing::warn!(%error, "no figures of the store");
            None
        }
        Err(_) => {
            tracing::warn!("no figures of the store in time");
            None
        }
    };
    let up = if figures.is_some() { 1.0 } else { 0.0 };
    text.push_str(&gauge("titan_store_up", "1 when the database answers, else 0", &[(vec![], up)]));
    text.push_str(&figures.unwrap_or_default());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn store_figures(store: &Store) -> Result<String, StoreError> {
    let inbox = store.count_deliveries().await?;
    let deliveries = [
        (vec![("handling", "acted_on")], (inbox.received - inbox.ignored) as f64),
        (vec![("handling", "ignored")], inbox.ignored as f64),
    ];
    let recovery = store.count_recovery().await?;
    let commands = store.count_commands().await?;
    let commands: Vec<_> = commands.iter().map(|(word, n)| (vec![("conclusion", word.as_str())], *n as f64)).collect();
    let runs = store.count_runs().await?;
    let runs: Vec<_> = runs
        .iter()
        .map(|(kind, state, n)| (vec![("kind", kind.as_str()), ("conclusion", state.as_str())], *n as f64))
        .collect();
    let github = github_figures(store).await?;
    let counted = store.count_jobs().await?;
    let (mut jobs, mut ages) = (Vec::new(), Vec::new());
    for kind in JOB_KINDS {
        for status in JOB_STATUSES {
            let found = counted.iter().find(|(k, s, ..)| k == kind && s == status);
            let labels = vec![("kind", kind), ("status", status)];
            jobs.push((labels.clone(), found.map_or(0.0, |f| f.2 as f64)));
            ages.push((labels, found.map_or(0.0, |f| f.3)));
        }
    }
    Ok([
        gauge("titan_deliveries", "webhook deliveries that are stored", &deliveries),
        counter(
            "titan_deliveries_duplicate_total",
            "how often a delivery came again after it was stored",
            inbox.duplicates as f64,
        ),
        counter(
            "titan_deliveries_redelivery_requested_total",
            "how often GitHub was asked for a missing delivery again",
            recovery.asked as f64,
        ),
        gauge(
            "titan_deliveries_missing",
            "deliveries in GitHub's log that have not arrived",
            &[(vec![], recovery.missing as f64)],
        ),
        counter(
            "titan_commands_recovered_total",
            "commands that were found by reading comments",
            recovery.commands as f64,
        ),
        gauge("titan_commands", "commands by how they ended; pending ones have not", &commands),
        gauge("titan_runs", "runs by kind and by conclusion, or by status until there is one", &runs),
        gauge("titan_jobs", "jobs by kind and status; dead ones wait for a person", &jobs),
        gauge("titan_job_oldest_age_seconds", "age of the oldest job of a kind and status", &ages),
        github,
    ]
    .concat())
}

/// Budgets of calls, and what GitHub does not show yet.
async fn github_figures(store: &Store) -> Result<String, StoreError> {
    let budgets = store.list_budgets().await?;
    let ids: Vec<String> =
        budgets.iter().map(|one| one.installation.map_or_else(|| "app".to_owned(), |id| id.0.to_string())).collect();
    let (mut calls, mut remaining, mut limits, mut paused) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (budget, id) in budgets.iter().zip(&ids) {
        let tally = &budget.tally;
        for (what, n) in [
            ("made", tally.calls),
            ("write", tally.writes),
            ("not_modified", tally.not_modified),
            ("throttled", tally.limited),
            ("held_back", tally.held_back),
        ] {
            calls.push((vec![("installation", id.as_str()), ("what", what)], n as f64));
        }
        if let Some(rate) = budget.budget.rate.filter(|rate| rate.reset_at > budget.now) {
            remaining.push((vec![("installation", id.as_str())], rate.remaining as f64));
            limits.push((vec![("installation", id.as_str())], rate.limit as f64));
        }
        for lane in Lane::ALL {
            let until = budget.budget.closed_until(lane, budget.now);
            let seconds = until.map_or(0.0, |until| (until - budget.now).num_milliseconds() as f64 / 1000.0);
            paused.push((vec![("installation", id.as_str()), ("lane", lane.as_str())], seconds));
        }
    }
    let pending = store.count_pending_updates().await?;
    let updates =
        [(vec![("state", "waiting")], pending.pending as f64), (vec![("state", "refused")], pending.refused as f64)];
    let oldest = [(vec![], pending.oldest_seconds)];
    Ok([
        gauge("titan_github_calls", "calls to GitHub by installation and by what came of them", &calls),
        gauge("titan_github_rate_remaining", "calls that an installation has left in its hour", &remaining),
        gauge("titan_github_rate_limit", "calls that an installation has in an hour", &limits),
        gauge("titan_github_paused_seconds", "for how long GitHub takes no calls of a lane", &paused),
        gauge("titan_github_updates", "things that GitHub does not show yet as it should", &updates),
        gauge("titan_github_update_oldest_age_seconds", "age of the oldest update that waits", &oldest),
    ]
    .concat())
}

type Sample<'a> = (Vec<(&'a str, &'a str)>, f64);

/// One counter without labels in the text format. The rows behind it are never tidied away.
fn counter(name: &str, help: &str, value: f64) -> String {
    format!("# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n")
}

/// One gauge in the text format (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
fn gauge(name: &str, help: &str, samples: &[Sample<'_>]) -> String {
    let mut text = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
    for (labels, value) in samples {
        let labels: Vec<String> = labels.iter().map(|(key, word)| format!("{key}=\"{}\"", escape(word))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}{labels} {value}");
    }
    text
}

fn escape(word: &str) -> String {
    word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_written_as_the_format_wants_it() {
        let samples = [(vec![("kind", "step"), ("status", "a\"b\\c\nd")], 2.0), (vec![], 0.5)];
        assert_eq!(
            gauge("titan_x", "an x", &samples),
            "# HELP titan_x an x\n# TYPE titan_x gauge\ntitan_x{kind=\"step\",status=\"a\\\"b\\\\c\\nd\"} 2\ntitan_x 0.5\n"
        );
    }
}
