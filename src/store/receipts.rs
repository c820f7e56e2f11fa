//! The receipts of path judgements: written once for a run, never changed in their meaning, read by their run.

use super::{Lease, Store, StoreError, jobs};
use crate::domain::ids::RunId;

impl Store {
    /// Keeps a run's receipt. A step that was begun again judges again, and its last receipt counts.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job.
    pub async fn put_receipt(&self, lease: Lease, run: RunId, sha256: &str, body: &str) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        jobs::hold(&mut tx, lease).await?;
        sqlx::query(
            "INSERT INTO path_receipt (run_id, sha256, body) VALUES ($1, $2, $3)
             ON CONFLICT (run_id) DO UPDATE SET sha256 = EXCLUDED.sha256, body = EXCLUDED.body, created_at = now()",
        )
        .bind(run.0)
        .bind(sha256)
        .bind(body)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// A run's receipt with its SHA-256; `None` when nothing was judged.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_receipt(&self, run: RunId) -> Result<Option<(String, String)>, StoreError> {
        let row = sqlx::query_as("SELECT sha256, body FROM path_receipt WHERE run_id = $1").bind(run.0);
        Ok(row.fetch_optional(&self.pool).await?)
    }
}
