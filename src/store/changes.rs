//! Changes (pull requests under Titan's care) and the ledger of their heads.

use chrono::{DateTime, Utc};

use super::jobs::{self, NewJob, enqueue};
use super::{Lease, Store, StoreError, line, locks, runs, storable};
use crate::domain::ids::{CommitSha, PrNumber};
use crate::domain::snapshot::{Person, TrustFact};

/// Who asked the runs of a closed pull request to stop.
const CLOSED: &str = "closing the pull request";

/// A change.
#[derive(Debug, Clone)]
pub struct Change {
    /// Row id.
    pub id: i64,
    /// Its repository's row id.
    pub repository_id: i64,
    /// The pull request's number.
    pub number: PrNumber,
    /// The head as last seen.
    pub head: Option<CommitSha>,
    /// Whether it was open when last seen.
    pub open: bool,
    /// The answer to the latest command, Markdown; may be empty.
    pub answer: String,
}

impl Store {
    /// The change, noted now if it was unknown.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn ensure_change(&self, repository_id: i64, number: PrNumber) -> Result<Change, StoreError> {
        sqlx::query("INSERT INTO change (repository_id, number) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(repository_id)
            .bind(number.0)
            .execute(&self.pool)
            .await?;
        let row: (i64, Option<String>, bool, String) =
            sqlx::query_as("SELECT id, head, open, answer FROM change WHERE repository_id = $1 AND number = $2")
                .bind(repository_id)
                .bind(number.0)
                .fetch_one(&self.pool)
                .await?;
        let head = row.1.as_deref().map(super::word).transpose()?;
        Ok(Change { id: row.0, repository_id, number, head, open: row.2, answer: row.3 })
    }

    /// Notes the head, the base branch and whether the pull request is open, as GitHub shows them now. When the base is
    /// another than before, what is shown of the change is brought up to date: its checks were about the old one.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn put_change_state(
        &self,
        change_id: i64,
        head: &CommitSha,
        base_ref: &str,
        open: bool,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let before: Option<String> = sqlx::query_scalar("SELECT base_ref FROM change WHERE id = $1 FOR UPDATE")
            .bind(change_id)
            .fetch_one(&mut *tx)
            .await?;
        sqlx::query("UPDATE change SET head = $2, open = $3, merged = merged AND NOT $3, base_ref = $4 WHERE id = $1")
            .bind(change_id)
            .bind(head.as_str())
            .bind(open)
            .bind(storable(base_ref))
            .execute(&mut *tx)
            .await?;
        if before.is_some_and(|before| before != storable(base_ref)) {
            enqueue(&mut tx, &NewJob::report(change_id)).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Writes the ledger: from `at` on the change had this head, brought by this person. A delivery counts once. Trust in
    /// another commit of a fork ends. When Titan already shows something for the change, what it shows is brought up to date.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn record_head(
        &self,
        change_id: i64,
        head: &CommitSha,
        delivery_id: &str,
        at: DateTime<Utc>,
        by: Option<&Person>,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO head_ledger (change_id, head, delivery_id, received_at, pusher, pusher_id)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT ON CONSTRAINT head_ledger_delivery_unique DO NOTHING",
        )
        .bind(change_id)
        .bind(head.as_str())
        .bind(storable(delivery_id))
        .bind(at)
        .bind(by.map(|by| storable(&by.login)))
        .bind(by.and_then(|by| by.id))
        .execute(&mut *tx)
        .await?;
        // An event that was delivered late tells of a push before the trust was given.
        sqlx::query(
            "UPDATE trusted_head SET voided_at = now()
             WHERE change_id = $1 AND head <> $2 AND voided_at IS NULL AND trusted_at <= $3 + interval '1 second'",
        )
        .bind(change_id)
        .bind(head.as_str())
        .bind(at)
        .execute(&mut *tx)
        .await?;
        let shown: Option<i64> = sqlx::query_scalar(
            // An event that was delivered late tells of a head that others have followed.
            "UPDATE change SET head = CASE WHEN EXISTS
                 (SELECT 1 FROM head_ledger WHERE change_id = $1 AND received_at > $3) THEN head ELSE $2 END
             WHERE id = $1
             RETURNING (SELECT change_id FROM feedback WHERE change_id = $1 AND key = 'comment')",
        )
        .bind(change_id)
        .bind(head.as_str())
        .bind(at)
        .fetch_one(&mut *tx)
        .await?;
        if shown.is_some() {
            enqueue(&mut tx, &NewJob::report(change_id)).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Everybody who pushed to the change, as far as GitHub's events told.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_pushers(&self, change_id: i64) -> Result<Vec<Person>, StoreError> {
        let rows: Vec<(String, Option<i64>)> = sqlx::query_as(
            "SELECT DISTINCT pusher, pusher_id FROM head_ledger WHERE change_id = $1 AND pusher IS NOT NULL",
        )
        .bind(change_id)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|(login, id)| Person { login, id }).collect())
    }

    /// Who trusts this head of a fork now.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_trust(&self, change_id: i64, head: &CommitSha) -> Result<Option<TrustFact>, StoreError> {
        let row: Option<(String, DateTime<Utc>)> = sqlx::query_as(
            "SELECT trusted_by, trusted_at FROM trusted_head
             WHERE change_id = $1 AND head = $2 AND voided_at IS NULL",
        )
        .bind(change_id)
        .bind(head.as_str())
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|(by, at)| TrustFact { by, at }))
    }

    /// The ledger of a change, oldest first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_heads(&self, change_id: i64) -> Result<Vec<(CommitSha, DateTime<Utc>)>, StoreError> {
        let rows: Vec<(String, DateTime<Utc>)> =
            sqlx::query_as("SELECT head, received_at FROM head_ledger WHERE change_id = $1 ORDER BY received_at, id")
                .bind(change_id)
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter().map(|(head, at)| Ok((super::word(&head)?, at))).collect()
    }

    /// The pull request is closed or merged: notes it, takes it out of every line, gives its locks back and ends the job
    /// that found out. When it was not merged its runs are asked to stop, and a canary that runs its version gets the
    /// version before back.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job; then nothing was changed.
    pub async fn close_change(&self, lease: Lease, change_id: i64, merged: bool) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        jobs::finish(&mut tx, lease).await?;
        sqlx::query("UPDATE change SET open = FALSE, merged = $2 WHERE id = $1")
            .bind(change_id)
            .bind(merged)
            .execute(&mut *tx)
            .await?;
        let why = "the pull request was closed";
        line::leave(&mut tx, change_id, line::Leaving { project_id: None, unless_head: None, why }).await?;
        if !merged {
            runs::ask_to_stop(&mut tx, change_id, None, CLOSED).await?;
        }
        // A run that is still under way keeps its locks; they are given back when it ends.
        let held: Vec<i64> = sqlx::query_scalar(
            "SELECT DISTINCT project_id FROM environment_lock WHERE change_id = $1 ORDER BY project_id",
        )
        .bind(change_id)
        .fetch_all(&mut *tx)
        .await?;
        for project_id in held {
            locks::leave(&mut tx, project_id, change_id).await?;
        }
        Ok(tx.commit().await?)
    }
}
