//! What a story needs to kill Titan again and again without waiting for real leases to end.

use std::collections::BTreeSet;

use titan::github::webhook::concerns;

use super::World;

impl World {
    /// Ends replica 0 as a crash would, lets the time pass that its leases would last, and starts it again.
    pub async fn crash(&mut self) {
        self.kill_replica(0).await;
        sqlx::query("UPDATE job SET lease_until = now() - interval '1 second' WHERE status = 'running'")
            .execute(self.store.pool())
            .await
            .expect("the store answers");
        self.start_replica(0).await;
    }

    /// Whether everything that was begun has ended, at this very moment. Events that Titan acts on and that found it
    /// down are delivered again, as Titan itself would ask for them a little later.
    pub async fn is_calm(&self) -> bool {
        if self.github.hooks().on_their_way() > 0 || self.is_busy().await {
            return false;
        }
        let before = self.github.count_deliveries();
        let lost = self.lost_deliveries();
        for attempt in &lost {
            assert!(self.github.hooks().redeliver(*attempt), "the log knows its own attempts");
        }
        // What Titan did last may have caused events that are on their way only now.
        lost.is_empty() && self.github.hooks().on_their_way() == 0 && self.github.count_deliveries() == before
    }

    /// The newest attempt of each event that matters and never arrived.
    fn lost_deliveries(&self) -> Vec<u64> {
        let log = self.github.deliveries();
        let arrived: BTreeSet<&str> = log.iter().filter(|d| d.succeeded()).map(|d| d.guid.as_str()).collect();
        let mut seen = BTreeSet::new();
        log.iter()
            .rev()
            .filter(|d| concerns(&d.event, d.action.as_deref().unwrap_or_default()))
            .filter(|d| !arrived.contains(d.guid.as_str()) && seen.insert(d.guid.as_str()))
            .map(|d| d.id)
            .collect()
    }
}
