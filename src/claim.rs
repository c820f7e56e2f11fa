//! How long the claim of the task that runs here surely lasts, asked immediately before something is written outside.
//!
//! The store refuses the commits of a worker that was overtaken, but GitHub and Render do not know about fences. A worker
//! that was frozen between its intent and its call would otherwise make the call when it wakes, although another has
//! taken over long since. This looks at clocks only; it asks nobody and renews nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock;

tokio::task_local! {
    static CLAIM: Claim;
}

/// What a write answers that was not sent because of this.
pub const RAN_OUT: &str = "the claim on this job may have run out, so nothing was sent";

/// A claim on a job. A clone is the same claim.
#[derive(Debug, Clone)]
pub struct Claim {
    ends: Arc<Mutex<Moment>>,
}

/// A point in time on both clocks: one does not run while the machine sleeps, the other may be set.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    steady: Instant,
    wall: DateTime<Utc>,
}

impl Moment {
    /// This moment. To be taken before the store is asked for a claim or for more of it: it counts from then at most.
    pub fn now() -> Self {
        Self { steady: Instant::now(), wall: clock::now() }
    }

    /// A tenth is left for the call itself to arrive.
    fn end_of(self, lasts: Duration) -> Self {
        let surely = lasts - lasts / 10;
        let wall = self.wall + TimeDelta::from_std(surely).unwrap_or(TimeDelta::zero());
        Self { steady: self.steady + surely, wall }
    }

    fn has_passed(self) -> bool {
        let now = Self::now();
        now.steady >= self.steady || now.wall >= self.wall
    }
}

impl Claim {
    /// A claim that was asked for at that moment and lasts so long.
    pub fn new(asked: Moment, lasts: Duration) -> Self {
        Self { ends: Arc::new(Mutex::new(asked.end_of(lasts))) }
    }

    /// It was made longer: asked for at that moment, and lasts so long from then.
    pub fn renew(&self, asked: Moment, lasts: Duration) {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = asked.end_of(lasts);
    }

    /// Does this under the claim.
    pub async fn hold<F: Future>(self, task: F) -> F::Output {
        CLAIM.scope(self, task).await
    }

    fn has_run_out(&self) -> bool {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).has_passed()
    }
}

/// Whether the claim of the task that asks may have run out; never for a task without one.
pub fn has_run_out() -> bool {
    CLAIM.try_with(Claim::has_run_out).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(10);

    fn ago(steady: u64, wall: i64) -> Moment {
        let now = Moment::now();
        Moment { steady: now.steady - Duration::from_secs(steady), wall: now.wall - TimeDelta::seconds(wall) }
    }

    #[tokio::test]
    async fn a_claim_has_run_out_when_either_clock_says_so() {
        for (steady, wall, expected) in
            [(0, 0, false), (8, 8, false), (11, 11, true), (0, 11, true), (11, 0, true), (0, -9, false)]
        {
            let seen = Claim::new(ago(steady, wall), LASTS).hold(async { has_run_out() }).await;
            assert_eq!(seen, expected, "{steady} s and {wall} s ago");
        }
    }

    #[tokio::test]
    async fn one_that_was_renewed_goes_on_and_a_task_without_one_is_free() {
        let claim = Claim::new(ago(60, 60), LASTS);
        claim.renew(Moment::now(), LASTS);
        assert!(!claim.hold(async { has_run_out() }).await);
        assert!(!has_run_out());
    }
}
