//! The queue: claim with a lease and a fence, finish, sleep, retry, bury.
//!
//! Jobs with the same key run one at a time and in order; a job that waits for its time holds the later ones back. A key that
//! begins with `stop:` belongs to what stops deployments: it is taken before everything else and overtakes the commands that
//! came before it (`job_waits_for`), but not those that let deployments go on again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{JOB_CHANNEL, Lease, Store, StoreError, storable};
use crate::domain::ids::InstallationId;
use crate::domain::lock::fence_holds;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// Act on a webhook's trigger.
    Intake,
    /// Carry out one step of a run.
    Step,
    /// Bring what people see up to date for one change.
    Report,
    /// Read the gates of a change for somebody who asks over the API.
    Explain,
    /// Serve whoever is next in line for a project.
    Line,
}

impl JobKind {
    /// The word in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Step => "step",
            Self::Report => "report",
            Self::Explain => "explain",
            Self::Line => "line",
        }
    }
}

impl std::str::FromStr for JobKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Intake, Self::Step, Self::Report, Self::Explain, Self::Line]
            .into_iter()
            .find(|k| k.as_str() == text)
            .ok_or(())
    }
}

/// A job to be queued.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// What it does.
    pub kind: JobKind,
    /// Serial key.
    pub key: String,
    /// JSON text.
    pub payload: String,
    /// Not before this time; `None`: at once.
    pub run_at: Option<DateTime<Utc>>,
}

impl NewJob {
    /// The job that brings a change's feedback up to date.
    pub fn report(change_id: i64) -> Self {
        let payload = change_id.to_string();
        Self { kind: JobKind::Report, key: format!("report:{change_id}"), payload, run_at: None }
    }

    /// The job that carries a run's next step out.
    pub fn step(run: crate::domain::ids::RunId) -> Self {
        Self { kind: JobKind::Step, key: format!("run:{run}"), payload: run.to_string(), run_at: None }
    }
}

/// Which jobs a worker takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All of them.
    Any,
    /// Only those that stop deployments.
    Stops,
    /// All but reports: GitHub may be slow to take what is shown, and no decision waits for that.
    NoReports,
}

/// A claimed job.
#[derive(Debug, Clone)]
pub struct Job {
    /// The claim.
    pub lease: Lease,
    /// What it does.
    pub kind: JobKind,
    /// Serial key.
    pub key: String,
    /// JSON text.
    pub payload: String,
    /// How often it was claimed, this time included.
    pub attempts: i32,
    /// How often in a row it was refused before this time.
    pub refusals: i32,
    /// When it was queued: for an event, when it reached Titan.
    pub created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct ClaimedRow {
    id: i64,
    fence: i64,
    kind: String,
    key: String,
    payload: String,
    attempts: i32,
    refusals: i32,
    created_at: DateTime<Utc>,
}

/// A job that failed too often and waits for a person.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DeadJob {
    /// Its id.
    pub id: i64,
    /// What it does.
    pub kind: String,
    /// Serial key.
    pub key: String,
    /// How often it was tried.
    pub attempts: i32,
    /// The last error.
    pub last_error: Option<String>,
}

/// Queues a job inside the caller's transaction. A report that is queued already is enough; one that is to be tried again
/// keeps its time, because that may be when GitHub takes calls again.
pub(super) async fn enqueue(conn: &mut PgConnection, job: &NewJob) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO job (kind, key, payload, run_at) VALUES ($1, $2, $3, COALESCE($4, now()))
         ON CONFLICT (key) WHERE kind = 'report' AND status = 'queued' DO UPDATE
         SET run_at = CASE WHEN job.attempts > 0 THEN job.run_at ELSE LEAST(job.run_at, EXCLUDED.run_at) END",
    )
    .bind(job.kind.as_str())
    .bind(&job.key)
    .bind(storable(&job.payload))
    .bind(job.run_at)
    .execute(&mut *conn)
    .await?;
    sqlx::query("SELECT pg_notify($1, $2)").bind(JOB_CHANNEL).bind(job.kind.as_str()).execute(conn).await?;
    Ok(())
}

/// Makes sure that the lease still holds, and keeps it for the rest of the transaction.
pub(super) async fn hold(conn: &mut PgConnection, lease: Lease) -> Result<(), StoreError> {
    let standing: Option<Option<i64>> =
        sqlx::query_scalar("SELECT fence FROM job WHERE id = $1 AND status = 'running' FOR UPDATE")
            .bind(lease.job_id)
            .fetch_optional(conn)
            .await?;
    match fence_holds(lease.fence, standing.flatten()) {
        true => Ok(()),
        false => Err(StoreError::LeaseLost(lease.job_id)),
    }
}

/// Removes a finished job inside the caller's transaction.
pub(super) async fn finish(conn: &mut PgConnection, lease: Lease) -> Result<(), StoreError> {
    let done = sqlx::query("DELETE FROM job WHERE id = $1 AND fence = $2 AND status = 'running'")
        .bind(lease.job_id)
        .bind(lease.fence)
        .execute(&mut *conn)
        .await?;
    if done.rows_affected() == 0 {
        return Err(StoreError::LeaseLost(lease.job_id));
    }
    // Others with this key may go on now.
    sqlx::query("SELECT pg_notify($1, 'next')").bind(JOB_CHANNEL).execute(conn).await?;
    Ok(())
}

impl Store {
    /// Queues a job.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn enqueue(&self, job: &NewJob) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        enqueue(&mut tx, job).await?;
        Ok(tx.commit().await?)
    }

    /// Claims the next due job whose key is free, for `lease`.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn claim_job(&self, lease: Duration) -> Result<Option<Job>, StoreError> {
        self.claim(lease, Wanted::Any).await
    }

    /// The same, for a worker that leaves jobs alone which others are to take.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn claim(&self, lease: Duration, wanted: Wanted) -> Result<Option<Job>, StoreError> {
        let row: Option<ClaimedRow> = sqlx::query_as(
            "WITH next AS (
                 SELECT j.id FROM job j
                 WHERE j.status = 'queued' AND j.run_at <= now() AND ($2 OR j.kind <> 'report')
                   AND (NOT $3 OR starts_with(j.key, 'stop:'))
                   AND NOT EXISTS (SELECT 1 FROM job e
                                   WHERE e.key = ANY(job_waits_for(j.key)) AND e.id < j.id AND e.status <> 'dead')
                   AND NOT EXISTS (SELECT 1 FROM job r WHERE r.key = j.key AND r.status = 'running')
                 ORDER BY starts_with(j.key, 'stop:') DESC, j.run_at, j.id LIMIT 1 FOR UPDATE SKIP LOCKED)
             UPDATE job SET status = 'running', attempts = attempts + 1, fence = nextval('job_fence'),
                            lease_until = now() + $1 * interval '1 millisecond'
             FROM next WHERE job.id = next.id
             RETURNING job.id, job.fence, job.kind, job.key, job.payload, job.attempts, job.refusals,
                       job.created_at",
        )
        .bind(lease.as_millis() as i64)
        .bind(wanted == Wanted::Any)
        .bind(wanted == Wanted::Stops)
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            Ok(Job {
                lease: Lease { job_id: row.id, fence: row.fence },
                kind: super::word(&row.kind)?,
                key: row.key,
                payload: row.payload,
                attempts: row.attempts,
                refusals: row.refusals,
                created_at: row.created_at,
            })
        })
        .transpose()
    }

    /// Makes the lease longer.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job.
    pub async fn heartbeat(&self, lease: Lease, by: Duration) -> Result<(), StoreError> {
        let done = sqlx::query(
            "UPDATE job SET lease_until = now() + $3 * interval '1 millisecond'
             WHERE id = $1 AND fence = $2 AND status = 'running'",
        )
        .bind(lease.job_id)
        .bind(lease.fence)
        .bind(by.as_millis() as i64)
        .execute(&self.pool)
        .await?;
        if done.rows_affected() == 0 { Err(StoreError::LeaseLost(lease.job_id)) } else { Ok(()) }
    }

    /// Removes a finished job.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has it.
    pub async fn finish_job(&self, lease: Lease) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        finish(&mut tx, lease).await?;
        Ok(tx.commit().await?)
    }

    /// Puts a job back until a time: it waits for something; its attempts begin anew.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has it.
    pub async fn sleep_job(&self, lease: Lease, until: DateTime<Utc>) -> Result<(), StoreError> {
        self.requeue(lease, until, None, false).await
    }

    /// Puts a job back after a failure; its attempts go on counting.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has it.
    pub async fn retry_job(&self, lease: Lease, at: DateTime<Utc>, error: &str) -> Result<(), StoreError> {
        self.requeue(lease, at, Some(error), false).await
    }

    /// The same after a refusal, which is counted.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has it.
    pub async fn refuse_job(&self, lease: Lease, at: DateTime<Utc>, error: &str) -> Result<(), StoreError> {
        self.requeue(lease, at, Some(error), true).await
    }

    /// Puts a job back until a time before which nothing can be done for it, because calls are limited. This was no
    /// attempt.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has it.
    pub async fn postpone_job(&self, lease: Lease, until: DateTime<Utc>, why: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE job SET attempts = GREATEST(attempts - 1, 0) WHERE id = $1 AND fence = $2")
            .bind(lease.job_id)
            .bind(lease.fence)
            .execute(&self.pool)
            .await?;
        self.requeue(lease, until, Some(why), false).await
    }

    async fn requeue(
        &self,
        lease: Lease,
        at: DateTime<Utc>,
        error: Option<&str>,
        refused: bool,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let done = sqlx::query(
            "UPDATE job SET status = 'queued', lease_until = NULL, run_at = $3, last_error = COALESCE($4, last_error),
                            attempts = CASE WHEN $4::text IS NULL THEN 0 ELSE attempts END,
                            refusals = CASE WHEN $5 THEN refusals + 1 ELSE 0 END
             WHERE id = $1 AND fence = $2 AND status = 'running'
               AND NOT (kind = 'report' AND EXISTS (SELECT 1 FROM job o WHERE o.key = job.key AND o.status = 'queued'))",
        )
        .bind(lease.job_id)
        .bind(lease.fence)
        .bind(at)
        .bind(error.map(storable))
        .bind(refused)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            // Either the lease is gone, or a newer report is queued and this one is not needed any more.
            finish(&mut tx, lease).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Gives a job back untouched, for a worker that shuts down.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has it.
    pub async fn release_job(&self, lease: Lease) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE job SET status = 'queued', lease_until = NULL, attempts = GREATEST(attempts - 1, 0)
             WHERE id = $1 AND fence = $2 AND status = 'running'",
        )
        .bind(lease.job_id)
        .bind(lease.fence)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Takes a job that failed too often out of the queue; it stays for a person to look at.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has it.
    pub async fn bury_job(&self, lease: Lease, error: &str) -> Result<(), StoreError> {
        let done = sqlx::query(
            "UPDATE job SET status = 'dead', lease_until = NULL, last_error = $3
             WHERE id = $1 AND fence = $2 AND status = 'running'",
        )
        .bind(lease.job_id)
        .bind(lease.fence)
        .bind(storable(error))
        .execute(&self.pool)
        .await?;
        if done.rows_affected() == 0 { Err(StoreError::LeaseLost(lease.job_id)) } else { Ok(()) }
    }

    /// Puts a job off that failed too often, with its attempts begun anew and under a key of its own, so that it holds nobody
    /// up. Gives whether it did: one that is older than `patience` stays as it is.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn put_off_job(
        &self,
        lease: Lease,
        by: Duration,
        patience: Duration,
        error: &str,
    ) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let done = sqlx::query(
            "UPDATE job SET status = 'queued', lease_until = NULL, attempts = 0, last_error = $5, key = 'again:' || id,
                            run_at = now() + $3 * interval '1 millisecond'
             WHERE id = $1 AND fence = $2 AND status = 'running' AND created_at > now() - $4 * interval '1 millisecond'",
        )
        .bind(lease.job_id)
        .bind(lease.fence)
        .bind(by.as_millis() as i64)
        .bind(patience.as_millis() as i64)
        .bind(storable(error))
        .execute(&mut *tx)
        .await?;
        // Others with its key may go on now.
        sqlx::query("SELECT pg_notify($1, 'next')").bind(JOB_CHANNEL).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Queues the step jobs of runs that are under way and have none: such a run would keep its project from everybody.
    /// One whose job waits for a person is tried again every hour. Gives how many there were.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn wake_runs(&self) -> Result<u64, StoreError> {
        let mut tx = self.pool.begin().await?;
        let dead = sqlx::query(
            "UPDATE job SET status = 'queued', attempts = 0, run_at = now()
             WHERE status = 'dead' AND kind = 'step' AND run_at < now() - interval '1 hour'
               AND key IN (SELECT 'run:' || id FROM run WHERE status <> 'completed')",
        )
        .execute(&mut *tx)
        .await?;
        let gone = sqlx::query(
            "INSERT INTO job (kind, key, payload) SELECT 'step', 'run:' || id, id::text FROM run
             WHERE status <> 'completed' AND NOT EXISTS (SELECT 1 FROM job WHERE job.key = 'run:' || run.id)",
        )
        .execute(&mut *tx)
        .await?;
        let woken = dead.rows_affected() + gone.rows_affected();
        if woken > 0 {
            sqlx::query("SELECT pg_notify($1, 'step')").bind(JOB_CHANNEL).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(woken)
    }

    /// Queues a report for every change of which GitHub did not take something for `age`, or of an installation for any time
    /// at all: whatever it said no to, it may take now. Each is tried as if it was the `attempt`th time. Gives how many.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn report_overdue(
        &self,
        of: Option<InstallationId>,
        age: Duration,
        attempt: i32,
    ) -> Result<u64, StoreError> {
        let mut tx = self.pool.begin().await?;
        let queued = sqlx::query(
            "INSERT INTO job (kind, key, payload, attempts)
             SELECT 'report', 'report:' || c.id, c.id::text, $3 - 1 FROM change c
                 JOIN repository r ON r.id = c.repository_id JOIN installation i ON i.id = r.installation_id
             WHERE i.status = 'active' AND ($1::bigint IS NULL OR i.id = $1)
               AND EXISTS (SELECT 1 FROM feedback f WHERE f.change_id = c.id
                           AND f.pending_since BETWEEN now() - interval '7 days' AND now() - $2 * interval '1 millisecond')
               AND NOT EXISTS (SELECT 1 FROM job WHERE job.key = 'report:' || c.id AND job.status <> 'dead')
             ORDER BY random() LIMIT 50
             ON CONFLICT (key) WHERE kind = 'report' AND status = 'queued' DO NOTHING",
        )
        .bind(of.map(|id| id.0))
        .bind(age.as_millis() as i64)
        .bind(attempt)
        .execute(&mut *tx)
        .await?;
        if queued.rows_affected() > 0 {
            sqlx::query("SELECT pg_notify($1, 'report')").bind(JOB_CHANNEL).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(queued.rows_affected())
    }

    /// Puts jobs whose worker did not come back into the queue again; gives their number. One that is held by a
    /// transaction is left for the next time: its worker may be about to commit, or be frozen in the middle of it.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn reap_jobs(&self) -> Result<u64, StoreError> {
        let mut tx = self.pool.begin().await?;
        let late: Vec<i64> = sqlx::query_scalar(
            "SELECT id FROM job WHERE status = 'running' AND lease_until < now() FOR UPDATE SKIP LOCKED",
        )
        .fetch_all(&mut *tx)
        .await?;
        if late.is_empty() {
            return Ok(0);
        }
        // A report says only "show the latest": when one is queued, the one of the lost worker has nothing to add.
        sqlx::query(
            "DELETE FROM job WHERE id = ANY($1) AND kind = 'report'
               AND EXISTS (SELECT 1 FROM job o WHERE o.key = job.key AND o.kind = 'report' AND o.status = 'queued')",
        )
        .bind(&late)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE job SET status = 'queued', lease_until = NULL, last_error = 'the worker did not come back'
             WHERE id = ANY($1)",
        )
        .bind(&late)
        .execute(&mut *tx)
        .await?;
        sqlx::query("SELECT pg_notify($1, 'again')").bind(JOB_CHANNEL).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(u64::try_from(late.len()).unwrap_or(u64::MAX))
    }

    /// When the next job becomes due that nothing holds back, if there is one. A job that waits for another of its key
    /// is announced when that one ends.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn next_job_at(&self, wanted: Wanted) -> Result<Option<DateTime<Utc>>, StoreError> {
        Ok(sqlx::query_scalar(
            "SELECT min(j.run_at) FROM job j WHERE j.status = 'queued' AND ($1 OR j.kind <> 'report')
               AND (NOT $2 OR starts_with(j.key, 'stop:'))
               AND NOT EXISTS (SELECT 1 FROM job e
                                   WHERE e.key = ANY(job_waits_for(j.key)) AND e.id < j.id AND e.status <> 'dead')
               AND NOT EXISTS (SELECT 1 FROM job r WHERE r.key = j.key AND r.status = 'running')",
        )
        .bind(wanted == Wanted::Any)
        .bind(wanted == Wanted::Stops)
        .fetch_one(&self.pool)
        .await?)
    }

    /// Jobs by status, for the metrics: `(kind, status, count, age of the oldest in seconds)`.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn count_jobs(&self) -> Result<Vec<(String, String, i64, f64)>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT kind, status, count(*), COALESCE(extract(epoch FROM now() - min(created_at)), 0)::float8
             FROM job GROUP BY kind, status",
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// The jobs that wait for a person, newest first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_dead_jobs(&self) -> Result<Vec<DeadJob>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT id, kind, key, attempts, last_error FROM job WHERE status = 'dead' ORDER BY id DESC LIMIT 100",
        )
        .fetch_all(&self.pool)
        .await?)
    }

    /// Queues a dead job again, with its attempts begun anew; it comes before later jobs of its key. Gives whether there
    /// was one of this id.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn retry_dead_job(&self, id: i64) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        // A report says only "show the latest": when one is queued, the dead one has nothing to add.
        let replaced = sqlx::query(
            "DELETE FROM job WHERE id = $1 AND status = 'dead' AND kind = 'report'
             AND EXISTS (SELECT 1 FROM job o WHERE o.key = job.key AND o.kind = 'report' AND o.status = 'queued')",
        )
        .bind(id)
        .execute(&mut *tx)
        .await?;
        let queued = sqlx::query(
            "UPDATE job SET status = 'queued', attempts = 0, run_at = now() WHERE id = $1 AND status = 'dead'",
        )
        .bind(id)
        .execute(&mut *tx)
        .await?;
        sqlx::query("SELECT pg_notify($1, 'again')").bind(JOB_CHANNEL).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(replaced.rows_affected() + queued.rows_affected() > 0)
    }
}
