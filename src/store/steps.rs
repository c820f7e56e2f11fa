//! Steps: begun, remembered and ended under the lease of the job that carries them out.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;

use super::jobs::{self, NewJob, enqueue};
use super::{Lease, Store, StoreError, events, locks, runs, storable};
use crate::domain::ids::RunId;
use crate::domain::run::{RunEvent, RunStatus, StepName, StepStatus};

/// One step of a run.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its place in the run, from 0.
    pub position: i32,
    /// What it does.
    pub name: StepName,
    /// Where it is.
    pub status: StepStatus,
    /// What was seen, one line, Markdown; may be empty.
    pub detail: String,
    /// What the step itself remembers.
    pub progress: Value,
    /// When it was first taken up.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
}

type StepRow = (i32, String, String, String, Value, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// Ends a step inside the caller's transaction.
pub(super) async fn end(
    conn: &mut PgConnection,
    run: RunId,
    step: &Step,
    status: StepStatus,
    detail: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE step SET status = $3, detail = $4, completed_at = now() WHERE run_id = $1 AND position = $2")
        .bind(run.0)
        .bind(step.position)
        .bind(status.as_str())
        .bind(storable(detail))
        .execute(&mut *conn)
        .await?;
    let data = serde_json::json!({ "step": step.name, "status": status, "detail": storable(detail) });
    events::append(conn, run, "step_ended", &data).await
}

async fn put_progress(
    conn: &mut PgConnection,
    run: RunId,
    position: i32,
    progress: &Value,
    detail: Option<&str>,
    change_id: i64,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE step SET progress = $3, detail = COALESCE($4, detail) WHERE run_id = $1 AND position = $2")
        .bind(run.0)
        .bind(position)
        .bind(progress)
        .bind(detail.map(storable))
        .execute(&mut *conn)
        .await?;
    if let Some(detail) = detail {
        let data = serde_json::json!({ "position": position, "detail": storable(detail) });
        events::append(conn, run, "step_progress", &data).await?;
        enqueue(conn, &NewJob::report(change_id)).await?;
    }
    Ok(())
}

impl Store {
    /// The steps of a run, in order.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_steps(&self, run: RunId) -> Result<Vec<Step>, StoreError> {
        let rows: Vec<StepRow> = sqlx::query_as(
            "SELECT position, name, status, detail, progress, started_at, completed_at FROM step
             WHERE run_id = $1 ORDER BY position",
        )
        .bind(run.0)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(position, name, status, detail, progress, started_at, completed_at)| {
                let status = StepStatus::ALL
                    .into_iter()
                    .find(|s| s.as_str() == status)
                    .ok_or_else(|| StoreError::Corrupt(format!("step status {status:?}")))?;
                Ok(Step { position, name: super::word(&name)?, status, detail, progress, started_at, completed_at })
            })
            .collect()
    }

    /// Takes a step up; the first one also starts the run. Taking it up again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job.
    pub async fn begin_step(
        &self,
        lease: Lease,
        run: RunId,
        status: RunStatus,
        step: &Step,
        change_id: i64,
    ) -> Result<(), StoreError> {
        if step.status == StepStatus::Running && status != RunStatus::Queued {
            return Ok(());
        }
        let mut tx = self.pool.begin().await?;
        jobs::hold(&mut tx, lease).await?;
        if status == RunStatus::Queued {
            runs::advance(&mut tx, run, RunEvent::Started, None).await?;
        }
        sqlx::query(
            "UPDATE step SET status = 'running', started_at = COALESCE(started_at, now())
             WHERE run_id = $1 AND position = $2 AND status = 'pending'",
        )
        .bind(run.0)
        .bind(step.position)
        .execute(&mut *tx)
        .await?;
        events::append(&mut tx, run, "step_started", &serde_json::json!({ "step": step.name })).await?;
        enqueue(&mut tx, &NewJob::report(change_id)).await?;
        Ok(tx.commit().await?)
    }

    /// Commits what a step remembers before an effect, together with the proof that the run still has its locks.
    ///
    /// # Errors
    /// [`StoreError::LockLost`] when a lock was taken away from the run, [`StoreError::LeaseLost`] when another worker has
    /// the job; then nothing was written and the effect must not happen.
    pub async fn announce(
        &self,
        lease: Lease,
        run: RunId,
        position: i32,
        progress: &impl Serialize,
        detail: &str,
        change_id: i64,
    ) -> Result<(), StoreError> {
        let progress = super::storable_json(progress)?;
        let mut tx = self.pool.begin().await?;
        jobs::hold(&mut tx, lease).await?;
        locks::hold(&mut tx, run).await?;
        put_progress(&mut tx, run, position, &progress, Some(detail), change_id).await?;
        Ok(tx.commit().await?)
    }

    /// Commits what a step remembers after an effect or between two, and what people may see of it.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job; then the effect must not happen.
    pub async fn save_step(
        &self,
        lease: Lease,
        run: RunId,
        position: i32,
        progress: &impl Serialize,
        detail: Option<&str>,
        change_id: i64,
    ) -> Result<(), StoreError> {
        let progress = super::storable_json(progress)?;
        let mut tx = self.pool.begin().await?;
        jobs::hold(&mut tx, lease).await?;
        put_progress(&mut tx, run, position, &progress, detail, change_id).await?;
        Ok(tx.commit().await?)
    }

    /// Ends a step well or badly and keeps the job for what comes next. `append` adds a step at the end of the run,
    /// for putting things back; the run then is `undoing`.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job.
    #[expect(clippy::too_many_arguments, reason = "one transaction, each value of another kind")]
    pub async fn end_step(
        &self,
        lease: Lease,
        run: RunId,
        step: &Step,
        status: StepStatus,
        detail: &str,
        append: Option<StepName>,
        change_id: i64,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        jobs::hold(&mut tx, lease).await?;
        end(&mut tx, run, step, status, detail).await?;
        if let Some(name) = append {
            sqlx::query("UPDATE step SET status = 'skipped' WHERE run_id = $1 AND status = 'pending'")
                .bind(run.0)
                .execute(&mut *tx)
                .await?;
            sqlx::query(
                "INSERT INTO step (run_id, position, name)
                 SELECT $1, max(position) + 1, $2 FROM step WHERE run_id = $1",
            )
            .bind(run.0)
            .bind(name.as_str())
            .execute(&mut *tx)
            .await?;
            runs::advance(&mut tx, run, RunEvent::UndoStarted, Some(detail)).await?;
        }
        // A job that gets on is not a broken one, however often its worker died.
        sqlx::query("UPDATE job SET attempts = 0 WHERE id = $1").bind(lease.job_id).execute(&mut *tx).await?;
        enqueue(&mut tx, &NewJob::report(change_id)).await?;
        Ok(tx.commit().await?)
    }
}
