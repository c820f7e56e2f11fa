//! Removes what is old, a batch at a time: each call is one short transaction. What a run under way needs is never
//! removed, whatever its age, and runs, releases, commands, decisions and the audit log are not touched at all.

use std::time::Duration;

use super::{Store, StoreError};

/// What grows with time and is removed when it is old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aged {
    /// Webhook deliveries, and what was missing among them.
    Deliveries,
    /// Build logs and other things that finished runs left.
    Logs,
    /// Probes of finished runs; the verdict with its numbers stays.
    Samples,
    /// Events of finished runs, which live pages follow; what came of each step stays.
    Events,
    /// Buttons that nobody can press any more.
    Buttons,
    /// Answers to questions over the API, which are good for seconds.
    Answers,
}

impl Aged {
    /// Everything that is removed, in the order in which it is.
    pub const ALL: [Self; 6] =
        [Self::Deliveries, Self::Logs, Self::Samples, Self::Events, Self::Buttons, Self::Answers];

    /// The name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deliveries => "deliveries",
            Self::Logs => "logs",
            Self::Samples => "samples",
            Self::Events => "events",
            Self::Buttons => "buttons",
            Self::Answers => "answers",
        }
    }

    /// Removes up to `$2` rows that are older than `$1` seconds.
    fn statements(self) -> &'static [&'static str] {
        match self {
            Self::Deliveries => &[
                "WITH gone AS (DELETE FROM delivery WHERE id IN
                     (SELECT id FROM delivery WHERE received_at < now() - $1 * interval '1 second'
                      ORDER BY received_at LIMIT $2) RETURNING duplicates)
                 INSERT INTO removed (counter, total)
                 SELECT 'duplicates', COALESCE(sum(duplicates), 0) FROM gone HAVING count(*) > 0
                 ON CONFLICT ON CONSTRAINT removed_key DO UPDATE SET total = removed.total + EXCLUDED.total",
                "WITH gone AS (DELETE FROM redelivery WHERE guid IN
                     (SELECT guid FROM redelivery WHERE delivered_at < now() - $1 * interval '1 second'
                      LIMIT $2) RETURNING times)
                 INSERT INTO removed (counter, total)
                 SELECT 'redeliveries', COALESCE(sum(times), 0) FROM gone HAVING count(*) > 0
                 ON CONFLICT ON CONSTRAINT removed_key DO UPDATE SET total = removed.total + EXCLUDED.total",
            ],
            Self::Logs => &[
                "DELETE FROM artifact_chunk WHERE (artifact_id, seq) IN
                     (SELECT k.artifact_id, k.seq FROM artifact a JOIN run r ON r.id = a.run_id
                      JOIN artifact_chunk k ON k.artifact_id = a.id
                      WHERE a.created_at < now() - $1 * interval '1 second' AND r.status = 'completed' LIMIT $2)",
                "DELETE FROM artifact WHERE id IN
                     (SELECT a.id FROM artifact a JOIN run r ON r.id = a.run_id
                      WHERE a.created_at < now() - $1 * interval '1 second' AND r.status = 'completed'
                        AND NOT EXISTS (SELECT 1 FROM artifact_chunk k WHERE k.artifact_id = a.id) LIMIT $2)",
            ],
            Self::Samples => &["DELETE FROM sample WHERE id IN
                     (SELECT s.id FROM sample s JOIN run r ON r.id = s.run_id
                      WHERE s.at < now() - $1 * interval '1 second' AND r.status = 'completed' LIMIT $2)"],
            Self::Events => &["DELETE FROM run_event WHERE id IN
                     (SELECT e.id FROM run_event e JOIN run r ON r.id = e.run_id
                      WHERE e.at < now() - $1 * interval '1 second' AND r.status = 'completed' LIMIT $2)"],
            Self::Buttons => &["DELETE FROM button WHERE nonce IN
                     (SELECT b.nonce FROM button b JOIN run r ON r.id = b.run_id
                      WHERE b.expires_at < now() - $1 * interval '1 second' AND r.status = 'completed' LIMIT $2)"],
            Self::Answers => &["DELETE FROM explanation WHERE (change_id, actor) IN
                     (SELECT change_id, actor FROM explanation
                      WHERE asked_at < now() - $1 * interval '1 second' LIMIT $2)"],
        }
    }
}

impl Store {
    /// Removes at most `batch` rows of a table that are older than `keep`. Gives whether there may be more.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn remove_aged(&self, what: Aged, keep: Duration, batch: i64) -> Result<bool, StoreError> {
        let mut more = false;
        for statement in what.statements() {
            let removed = sqlx::query(*statement).bind(keep.as_secs() as i64).bind(batch).execute(&self.pool).await?;
            // Of deliveries the number that is told is that of the counter's row.
            let full = if what == Aged::Deliveries { 1 } else { batch as u64 };
            more |= removed.rows_affected() >= full;
        }
        Ok(more)
    }
}
