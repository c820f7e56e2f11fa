//! Finds what GitHub did not deliver: asks for missing deliveries again, and looks for comments, labels, pushes and closings
//! that were not told. What is found goes the way of every delivery; nothing is decided or carried out here.

mod comments;
mod labels;
mod pulls;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use tokio::sync::watch;

use super::report::REFUSALS;
use super::{JobError, Services};
use crate::clock;
use crate::domain::recovery::{Asking, Attempt, log_window, which_to_ask_again};
use crate::github::GitHubError;
use crate::github::deliveries::DeliveryAttempt;
use crate::github::webhook::may_concern;
use crate::store::recovery::{Lookout, Missing, Turn};

/// So much of the log is read again each time, because attempts need not appear in the order of their times.
const OVERLAP: TimeDelta = TimeDelta::minutes(10);
/// When another replica has the turn, or the log could not be read, it is tried again after this.
const BUSY_PAUSE: Duration = Duration::from_secs(20);
/// Pages of the log that are read at most: 20 000 attempts.
const PAGE_LIMIT: usize = 200;

/// After so many questions without a proper answer GitHub is taken to be away.
const FAILURES: usize = 3;

/// Looks again and again, until it is stopped.
pub async fn watch(services: Services, mut stopped: watch::Receiver<bool>) {
    let looking =
        async { tokio::join!(watch_deliveries(&services), watch_around(&services), watch_reports(&services)) };
    tokio::select! {
        _ = looking => {}
        // The sender is gone only when the pool is.
        _ = stopped.wait_for(|stop| *stop) => {}
    }
}

async fn watch_deliveries(services: &Services) {
    let pace = services.pace.recovery;
    tokio::time::sleep(pace.first).await;
    // At the start at once: Titan was down, so something may be missing. Then the replicas share the work.
    let mut min_age = Duration::ZERO;
    let mut missing_log_told = false;
    loop {
        match guarded(look_at_deliveries(services, min_age)).await {
            Ok(Log::Read) => min_age = pace.log_every / 2,
            Ok(Log::Busy) => {
                // A replica that died while it was looking holds its turn for a minute.
                tokio::time::sleep(pace.log_every.min(BUSY_PAUSE)).await;
                continue;
            }
            Ok(Log::Unsupported) if missing_log_told => {}
            Ok(Log::Unsupported) => {
                missing_log_told = true;
                tracing::info!(
                    "this GitHub shows no log of deliveries; what it does not deliver is looked for by reading"
                );
            }
            Err(why) => {
                tracing::warn!(why, "cannot look for missing deliveries; will try again");
                tokio::time::sleep(pace.log_every.min(BUSY_PAUSE)).await;
                continue;
            }
        }
        tokio::time::sleep(pace.log_every).await;
    }
}

async fn watch_around(services: &Services) {
    let pace = services.pace.recovery;
    tokio::time::sleep(pace.first).await;
    let mut min_age = pace.comments_every / 2;
    loop {
        let pause = match guarded(look_around(services, min_age)).await {
            Ok(()) => {
                min_age = pace.comments_every / 2;
                pace.comments_every
            }
            Err(why) => {
                tracing::warn!(why, "cannot look for what was not delivered; will try again");
                min_age = Duration::ZERO;
                pace.comments_every.min(BUSY_PAUSE)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// What GitHub would not take for some minutes is offered again, once each time.
async fn watch_reports(services: &Services) {
    let every = services.pace.recovery.reports_every;
    loop {
        tokio::time::sleep(every).await;
        let look = async { Ok(services.store.report_overdue(None, every, REFUSALS).await?) };
        match guarded(look).await {
            Ok(0) => {}
            Ok(queued) => tracing::info!(queued, "offers GitHub again what it would not take"),
            Err(why) => tracing::warn!(why, "cannot look for what GitHub would not take; will try again"),
        }
    }
}

/// A panic ends one look, not all later ones.
async fn guarded<T>(look: impl Future<Output = Result<T, JobError>>) -> Result<T, String> {
    match AssertUnwindSafe(look).catch_unwind().await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("it panicked".to_owned()),
    }
}

/// Whether there is a log.
enum Log {
    /// It was read.
    Read,
    /// It is another replica's turn, or it was a short while ago.
    Busy,
    /// There is none.
    Unsupported,
}

async fn look_at_deliveries(services: &Services, min_age: Duration) -> Result<Log, JobError> {
    let store = &services.store;
    let Some(turn) = store.take_turn(Lookout::Deliveries, min_age, services.pace.recovery.turn).await? else {
        return Ok(Log::Busy);
    };
    let result = ask_again(services, turn).await;
    let read_to = result.as_ref().ok().and_then(|seen| seen.as_ref().and_then(|log| log.newest));
    store.end_turn(Lookout::Deliveries, read_to).await?;
    Ok(if result?.is_some() { Log::Read } else { Log::Unsupported })
}

/// How far the log was read.
struct Seen {
    newest: Option<DateTime<Utc>>,
}

/// Reads the log back to where the last look ended and asks for what is missing.
async fn ask_again(services: &Services, turn: Turn) -> Result<Option<Seen>, JobError> {
    let store = &services.store;
    let window = log_window(services.github.is_github_com());
    let oldest = clock::now() - window;
    let until = turn.read_to.map_or(oldest, |read_to| oldest.max(read_to - OVERLAP));
    let Some(log) = read_back(services, until).await? else { return Ok(None) };
    let newest = log.iter().map(|attempt| attempt.delivered_at).max();
    let relevant: Vec<&DeliveryAttempt> =
        log.iter().filter(|one| may_concern(&one.event, one.action.as_deref())).collect();
    // What arrived is looked up after the log was read: an attempt in the log was answered before.
    let guids: Vec<String> = relevant.iter().map(|one| one.guid.clone()).collect();
    let held = store.list_held(&guids).await?;
    let missing = relevant.iter().filter(|one| !held.contains(&one.guid)).map(|one| Missing {
        attempt: Attempt { id: one.id, guid: one.guid.clone(), delivered_at: one.delivered_at },
        event: &one.event,
        action: one.action.as_deref(),
    });
    let missing: Vec<Missing<'_>> = missing.collect();
    store.note_missing(&missing).await?;
    let (known, asked) = store.list_missing().await?;
    let all: Vec<Attempt> = known.into_iter().chain(missing.into_iter().map(|one| one.attempt)).collect();
    let distance = TimeDelta::from_std(services.pace.recovery.ask_again).unwrap_or(TimeDelta::hours(1));
    let mut failures = Vec::new();
    for attempt in which_to_ask_again(&all, &held, &asked, clock::now(), Asking { window, distance }) {
        // After the effect: asking once too often is harmless, because a delivery is taken once.
        match services.github.redeliver(attempt.id).await {
            Ok(()) => tracing::info!(delivery = %attempt.guid, "asked GitHub for a missing delivery again"),
            Err(error @ GitHubError::RateLimited { .. }) => return Err(error.into()),
            // It is noted like one that was asked for, so that the next look begins with others.
            Err(error @ GitHubError::Transient(_)) => failures.push(error),
            Err(error) => tracing::warn!(delivery = %attempt.guid, %error, "a missing delivery cannot be asked for"),
        }
        store.note_asked(&attempt.guid).await?;
        if failures.len() >= FAILURES {
            break;
        }
    }
    if let Some(error) = failures.pop() {
        return Err(error.into());
    }
    Ok(Some(Seen { newest }))
}

/// The log's attempts from `until` on; `None` when there is no log.
async fn read_back(services: &Services, until: DateTime<Utc>) -> Result<Option<Vec<DeliveryAttempt>>, JobError> {
    let mut log = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..PAGE_LIMIT {
        let Some(page) = services.github.list_deliveries(cursor.as_deref()).await? else { return Ok(None) };
        let reached = page.attempts.iter().any(|attempt| attempt.delivered_at < until);
        log.extend(page.attempts.into_iter().filter(|attempt| attempt.delivered_at >= until));
        cursor = page.next;
        if reached || cursor.is_none() {
            break;
        }
    }
    Ok(Some(log))
}

/// Looks at what was said and at how pull requests stand. One that cannot be asked now keeps the others from nothing.
async fn look_around(services: &Services, min_age: Duration) -> Result<(), JobError> {
    let store = &services.store;
    let turn = services.pace.recovery.look_turn;
    if store.take_turn(Lookout::Comments, min_age, turn).await?.is_none() {
        return Ok(());
    }
    let (said, labelled, moved) =
        tokio::join!(comments::read_all(services), labels::read_all(services), pulls::look_at_all(services));
    store.end_turn(Lookout::Comments, None).await?;
    said.and(labelled).and(moved)
}
