//! Asks for the gates of a change as they stand now, and waits: the same as `/titan status` shows.
//!
//! A worker reads GitHub. Nobody signs in here, so only pull requests that Titan has met are asked about, and people who
//! have given commands there, as the pages show them; a reading is shared for some seconds, and their number is bounded.

use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::Instant;

use super::WebState;
use super::problem::Problem;
use crate::domain::ids::{PrNumber, RepoName};
use crate::store::explanations::{Asked, Explanation};

/// A reading is shared for so long.
const FRESH: Duration = Duration::from_secs(10);
/// Readings for one installation in an hour: each costs a dozen calls of the five thousand that GitHub allows.
const PER_HOUR: i64 = 60;
/// How long a reading is waited for.
const PATIENCE: Duration = Duration::from_secs(12);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A change that Titan has met.
///
/// # Errors
/// 404 when it has not.
pub(super) async fn known_change(state: &WebState, repo: &RepoName, number: PrNumber) -> Result<i64, Problem> {
    let missing = || Problem::not_found(format!("Titan has not met {repo}{number}; comment `/titan status` there"));
    let (repository, ..) = state.store.find_repository(repo).await?.ok_or_else(missing)?;
    state.store.find_known_change(repository, number).await?.ok_or_else(missing)
}

/// The gates of a change for somebody (`""`: for nobody in particular), read within the last seconds.
///
/// # Errors
/// 404 for somebody who has given no command there, 429 when too much was asked, 503 when nobody answered in time.
pub(super) async fn read_gates(state: &WebState, change: i64, actor: &str) -> Result<Explanation, Problem> {
    if !actor.is_empty() && !state.store.has_commanded(change, actor).await? {
        let detail = "`actor` can be somebody who has given a command there; leave it out to see every other gate";
        return Err(Problem::not_found(detail));
    }
    let until = Instant::now() + PATIENCE;
    loop {
        match state.store.ask_explanation(change, actor, FRESH, PER_HOUR).await? {
            Asked::Ready(explanation) => return Ok(explanation),
            Asked::TooMany => {
                let detail = format!(
                    "GitHub was read {PER_HOUR} times in an hour for questions about this account; ask later, or comment \
                     `/titan status`"
                );
                return Err(Problem::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too-many-questions",
                    "Too many questions",
                    detail,
                ));
            }
            Asked::Waiting if Instant::now() >= until => {
                return Err(Problem::unavailable("the facts could not be read in time; ask again in a moment"));
            }
            Asked::Waiting => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}
