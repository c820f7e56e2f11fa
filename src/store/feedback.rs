//! What Titan has written at GitHub: intent first, then GitHub's id, then a hash of what was sent last; and since when
//! something else than that is to be shown.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Lease, Store, StoreError, jobs, storable};
use crate::domain::ids::{PrNumber, RepoName};

/// One thing that Titan keeps up to date at GitHub.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct FeedbackRow {
    /// What it is known by, see [`PendingUpdate::key`].
    pub key: String,
    /// GitHub's id, once it is known.
    pub external_id: Option<i64>,
    /// Hash of what was sent last.
    pub sent_hash: Option<String>,
    /// The last time at which it was tried to write it, when nobody knows what came of it.
    pub tried_at: Option<DateTime<Utc>>,
}

/// What was known of a thing when the intent to write it was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// GitHub's id, if it was known.
    pub external_id: Option<i64>,
    /// Whether a call for it may have gone out before: then it may exist without being known.
    pub tried: bool,
    /// Hash of what an earlier call was to bring, when nobody knows what came of it.
    pub unanswered: Option<String>,
}

/// Something that GitHub does not show yet as it should.
#[derive(Debug, Clone)]
pub struct PendingUpdate {
    /// Where.
    pub repo: RepoName,
    /// On which pull request.
    pub number: PrNumber,
    /// `comment`, `check:<run>:<name>`, `deployment:<run>` or `reaction:<comment>:<which>`.
    pub key: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// What GitHub said when it would not take it.
    pub refused: Option<String>,
}

/// Figures of what GitHub does not show yet.
#[derive(Debug, Clone, Copy, PartialEq, sqlx::FromRow)]
pub struct PendingFigures {
    /// Updates that wait.
    pub pending: i64,
    /// Updates that GitHub would not take.
    pub refused: i64,
    /// Age of the oldest that waits, or of the oldest report that waits to be looked into, in seconds.
    pub oldest_seconds: f64,
}

#[derive(sqlx::FromRow)]
struct PendingRow {
    owner: String,
    name: String,
    number: i64,
    key: String,
    pending_since: DateTime<Utc>,
    refused: Option<String>,
}

impl Store {
    /// Everything that was written, or intended to be written, for a change, by its key.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_feedback(&self, change_id: i64) -> Result<HashMap<String, FeedbackRow>, StoreError> {
        let rows: Vec<FeedbackRow> = sqlx::query_as(
            "SELECT key, external_id, sent_hash, CASE WHEN tried AND sent_hash IS NULL THEN intent_at END AS tried_at
             FROM feedback WHERE change_id = $1",
        )
        .bind(change_id)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (row.key.clone(), row)).collect())
    }

    /// Notes what of a change GitHub does not show as it should, and that it shows everything else. Gives since when
    /// each waits.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job.
    pub async fn want_feedback(
        &self,
        lease: Lease,
        change_id: i64,
        keys: &[String],
    ) -> Result<HashMap<String, DateTime<Utc>>, StoreError> {
        let mut tx = self.pool.begin().await?;
        jobs::hold(&mut tx, lease).await?;
        let waiting: Vec<(String, DateTime<Utc>)> = sqlx::query_as(
            "INSERT INTO feedback (change_id, key, tried, pending_since)
             SELECT $1, wanted.key, false, now() FROM unnest($2::text[]) AS wanted (key)
             ON CONFLICT ON CONSTRAINT feedback_key DO UPDATE
             SET pending_since = COALESCE(feedback.pending_since, now())
             RETURNING key, pending_since",
        )
        .bind(change_id)
        .bind(keys)
        .fetch_all(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE feedback SET pending_since = NULL, refused = NULL
             WHERE change_id = $1 AND pending_since IS NOT NULL AND NOT key = ANY($2)",
        )
        .bind(change_id)
        .bind(keys)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(waiting.into_iter().collect())
    }

    /// Commits the intent to write something, and gives what was known of it before. Until [`Store::put_feedback`] says
    /// what was written nobody knows what GitHub shows.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job; then nothing may be written.
    pub async fn intend_feedback(
        &self,
        lease: Lease,
        change_id: i64,
        key: &str,
        hash: &str,
    ) -> Result<Intent, StoreError> {
        let mut tx = self.pool.begin().await?;
        jobs::hold(&mut tx, lease).await?;
        sqlx::query("INSERT INTO feedback (change_id, key, tried) VALUES ($1, $2, false) ON CONFLICT DO NOTHING")
            .bind(change_id)
            .bind(key)
            .execute(&mut *tx)
            .await?;
        let (external_id, tried, unanswered): (Option<i64>, bool, Option<String>) = sqlx::query_as(
            "SELECT external_id, tried, CASE WHEN intent_hash IS DISTINCT FROM sent_hash THEN intent_hash END
             FROM feedback WHERE change_id = $1 AND key = $2 FOR UPDATE",
        )
        .bind(change_id)
        .bind(key)
        .fetch_one(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE feedback SET tried = true, intent_hash = $3, intent_at = now(), sent_hash = NULL
             WHERE change_id = $1 AND key = $2",
        )
        .bind(change_id)
        .bind(key)
        .bind(hash)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Intent { external_id, tried, unanswered })
    }

    /// Notes that something which may have been made was not found at GitHub. Gives whether that is to be believed: when
    /// it was not found `doubt` ago either. Then it is forgotten, because another call may follow.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job.
    pub async fn miss_feedback(
        &self,
        lease: Lease,
        change_id: i64,
        key: &str,
        doubt: Duration,
    ) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        jobs::hold(&mut tx, lease).await?;
        let sure: bool = sqlx::query_scalar(
            "SELECT COALESCE(missed_at + $3 * interval '1 millisecond' <= now(), false)
             FROM feedback WHERE change_id = $1 AND key = $2 FOR UPDATE",
        )
        .bind(change_id)
        .bind(key)
        .bind(doubt.as_millis() as i64)
        .fetch_one(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE feedback SET missed_at = CASE WHEN $3 THEN NULL ELSE COALESCE(missed_at, now()) END
             WHERE change_id = $1 AND key = $2",
        )
        .bind(change_id)
        .bind(key)
        .bind(sure)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(sure)
    }

    /// Notes that GitHub said no, so that the thing need not be looked for.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job.
    pub async fn unmake_feedback(&self, lease: Lease, change_id: i64, key: &str) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        jobs::hold(&mut tx, lease).await?;
        sqlx::query("UPDATE feedback SET tried = false WHERE change_id = $1 AND key = $2 AND external_id IS NULL")
            .bind(change_id)
            .bind(key)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Commits what was written. With a hash nothing of it waits any more.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job. Then what was written may stand where the other wrote
    /// something newer, so it is in doubt now, and a report is queued that writes it again.
    pub async fn put_feedback(
        &self,
        lease: Lease,
        change_id: i64,
        key: &str,
        external_id: Option<i64>,
        sent_hash: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        if let Err(error) = jobs::hold(&mut tx, lease).await {
            tx.rollback().await?;
            self.doubt_feedback(change_id, key).await?;
            return Err(error);
        }
        sqlx::query(
            "UPDATE feedback SET external_id = COALESCE($3, external_id), sent_hash = COALESCE($4, sent_hash),
                                 sent_at = now(),
                                 missed_at = CASE WHEN $4::text IS NULL AND external_id = $3 THEN missed_at END,
                                 pending_since = CASE WHEN $4::text IS NULL THEN pending_since END,
                                 refused = CASE WHEN $4::text IS NULL THEN refused END
             WHERE change_id = $1 AND key = $2",
        )
        .bind(change_id)
        .bind(key)
        .bind(external_id)
        .bind(sent_hash)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    async fn doubt_feedback(&self, change_id: i64, key: &str) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "UPDATE feedback SET sent_hash = NULL, pending_since = COALESCE(pending_since, now())
             WHERE change_id = $1 AND key = $2",
        )
        .bind(change_id)
        .bind(key)
        .execute(&mut *tx)
        .await?;
        jobs::enqueue(&mut tx, &jobs::NewJob::report(change_id)).await?;
        Ok(tx.commit().await?)
    }

    /// Notes that GitHub would not take something, in its own words.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn refuse_feedback(&self, change_id: i64, key: &str, why: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE feedback SET refused = $3 WHERE change_id = $1 AND key = $2 AND pending_since IS NOT NULL")
            .bind(change_id)
            .bind(key)
            .bind(storable(why))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Forgets GitHub's id, because what it named is gone there (a person deleted the comment), and commits the intent to
    /// write it again.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job; then nothing may be written.
    pub async fn intend_feedback_again(&self, lease: Lease, change_id: i64, key: &str) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        jobs::hold(&mut tx, lease).await?;
        sqlx::query("UPDATE feedback SET external_id = NULL, sent_hash = NULL WHERE change_id = $1 AND key = $2")
            .bind(change_id)
            .bind(key)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// What GitHub does not show yet as it should, the oldest first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_pending_updates(&self, limit: i64) -> Result<Vec<PendingUpdate>, StoreError> {
        let rows: Vec<PendingRow> = sqlx::query_as(
            "SELECT r.owner, r.name, c.number, f.key, f.pending_since, f.refused
             FROM feedback f JOIN change c ON c.id = f.change_id JOIN repository r ON r.id = c.repository_id
             WHERE f.pending_since IS NOT NULL ORDER BY f.pending_since, f.key LIMIT $1",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                let repo = super::word(&format!("{}/{}", row.owner, row.name))?;
                let number = PrNumber(row.number);
                Ok(PendingUpdate { repo, number, key: row.key, since: row.pending_since, refused: row.refused })
            })
            .collect()
    }

    /// How much waits to be shown, and for how long.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn count_pending_updates(&self) -> Result<PendingFigures, StoreError> {
        Ok(sqlx::query_as(
            "SELECT count(*) FILTER (WHERE refused IS NULL) AS pending, count(*) FILTER (WHERE refused IS NOT NULL) AS refused,
                    COALESCE(extract(epoch FROM now() - LEAST(
                        min(pending_since) FILTER (WHERE refused IS NULL),
                        (SELECT min(created_at) FROM job WHERE kind = 'report' AND status <> 'dead'))), 0)::float8
                    AS oldest_seconds
             FROM feedback WHERE pending_since IS NOT NULL",
        )
        .fetch_one(&self.pool)
        .await?)
    }
}
