//! What Titan has written at GitHub: intent first, then GitHub's id, then a hash of what was sent last.

use std::collections::HashMap;

use super::{Lease, Store, StoreError, jobs};

/// One thing that Titan keeps up to date at GitHub.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct FeedbackRow {
    /// GitHub's id, once it is known.
    pub external_id: Option<i64>,
    /// Hash of what was sent last.
    pub sent_hash: Option<String>,
}

impl Store {
    /// Everything that was written, or intended to be written, for a change, by its key.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_feedback(&self, change_id: i64) -> Result<HashMap<String, FeedbackRow>, StoreError> {
        let rows: Vec<(String, Option<i64>, Option<String>)> =
            sqlx::query_as("SELECT key, external_id, sent_hash FROM feedback WHERE change_id = $1")
                .bind(change_id)
                .fetch_all(&self.pool)
                .await?;
        let row = |(key, external_id, sent_hash)| (key, FeedbackRow { external_id, sent_hash });
        Ok(rows.into_iter().map(row).collect())
    }

    /// Commits the intent to write something and gives what is known of it. Until [`Store::put_feedback`] says what was
    /// written nobody knows what GitHub shows. The second value tells whether something was intended before this call:
    /// then the thing may exist without being known.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job; then nothing may be written.
    pub async fn intend_feedback(
        &self,
        lease: Lease,
        change_id: i64,
        key: &str,
    ) -> Result<(FeedbackRow, bool), StoreError> {
        let mut tx = self.pool.begin().await?;
        jobs::hold(&mut tx, lease).await?;
        let doubted = sqlx::query_as(
            "UPDATE feedback SET sent_hash = NULL WHERE change_id = $1 AND key = $2 RETURNING external_id, sent_hash",
        )
        .bind(change_id)
        .bind(key)
        .fetch_optional(&mut *tx)
        .await?;
        let older = doubted.is_some();
        if !older {
            sqlx::query("INSERT INTO feedback (change_id, key) VALUES ($1, $2)")
                .bind(change_id)
                .bind(key)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok((doubted.unwrap_or(FeedbackRow { external_id: None, sent_hash: None }), older))
    }

    /// Commits what was written.
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
                                 sent_at = now()
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
        sqlx::query("UPDATE feedback SET sent_hash = NULL WHERE change_id = $1 AND key = $2")
            .bind(change_id)
            .bind(key)
            .execute(&mut *tx)
            .await?;
        jobs::enqueue(&mut tx, &jobs::NewJob::report(change_id)).await?;
        Ok(tx.commit().await?)
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
}
