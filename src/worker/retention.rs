//! Removes what is old, in small batches, on one replica at a time; and the folders of Titans that were killed.
//!
//! What is removed is said in `store/retention`. Nothing here looks at what it removes.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;

use super::Services;
use crate::store::StoreError;
use crate::store::recovery::Lookout;
use crate::store::retention::Aged;

/// Rows in one transaction.
const BATCH: i64 = 500;
/// Between two batches, so that others get the database.
const PAUSE: Duration = Duration::from_millis(50);
/// A sweep ends after this time and goes on with the next; its turn lasts a little longer.
const SWEEP: Duration = Duration::from_secs(240);
const TURN: Duration = Duration::from_secs(300);
/// Answers over the API are good for seconds.
const KEEP_ANSWERS: Duration = Duration::from_secs(24 * 3600);

/// How long what grows is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Webhook deliveries.
    pub deliveries: Duration,
    /// What finished runs printed, probed and told.
    pub logs: Duration,
}

impl Retention {
    fn of(self, what: Aged) -> Duration {
        match what {
            Aged::Deliveries => self.deliveries,
            Aged::Logs | Aged::Samples | Aged::Events | Aged::Buttons => self.logs,
            Aged::Answers => KEEP_ANSWERS,
        }
    }
}

/// Sweeps now and then, until it is stopped.
pub async fn watch(services: Services, mut stopped: watch::Receiver<bool>) {
    let sweeping = async {
        services.scratch.remove_left_behind().await;
        tokio::time::sleep(services.pace.recovery.first).await;
        loop {
            match AssertUnwindSafe(sweep(&services)).catch_unwind().await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "cannot remove what is old; will try again"),
                Err(_) => tracing::error!("removing what is old panicked; will try again"),
            }
            tokio::time::sleep(services.pace.sweep_every).await;
            services.scratch.remove_left_behind().await;
        }
    };
    tokio::select! {
        () = sweeping => {}
        _ = stopped.wait_for(|stop| *stop) => {}
    }
}

async fn sweep(services: &Services) -> Result<(), StoreError> {
    let store = &services.store;
    let min_age = services.pace.sweep_every / 2;
    if store.take_turn(Lookout::Retention, min_age, TURN).await?.is_none() {
        return Ok(());
    }
    let until = tokio::time::Instant::now() + SWEEP;
    for what in Aged::ALL {
        while store.remove_aged(what, services.retention.of(what), BATCH).await? {
            if tokio::time::Instant::now() >= until {
                tracing::info!(what = what.as_str(), "there is more to remove; it goes on with the next sweep");
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    store.end_turn(Lookout::Retention, None).await
}
