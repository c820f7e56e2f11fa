//! What runs leave: build logs in chunks, and the samples of a bake.

use super::{EVENT_CHANNEL, Lease, Store, StoreError, jobs, storable};
use crate::domain::ids::RunId;
use crate::domain::verdict::{BakeSample, SampleIdentity};

/// A piece of a run's build log.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct LogChunk {
    /// Rises within the log, with gaps.
    pub seq: i64,
    /// The text.
    pub content: String,
}

impl Store {
    /// Adds text to a run's build log.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job.
    pub async fn append_log(&self, lease: Lease, run: RunId, text: &str) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        jobs::hold(&mut tx, lease).await?;
        sqlx::query("INSERT INTO artifact (run_id, kind) VALUES ($1, 'build-log') ON CONFLICT DO NOTHING")
            .bind(run.0)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO artifact_chunk (artifact_id, content)
             SELECT id, $2 FROM artifact WHERE run_id = $1 AND kind = 'build-log'",
        )
        .bind(run.0)
        .bind(storable(text))
        .execute(&mut *tx)
        .await?;
        sqlx::query("SELECT pg_notify($1, $2)").bind(EVENT_CHANNEL).bind(run.to_string()).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// A run's build log after the given place, oldest first, at most 200 chunks; empty when there is none.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn read_log_after(&self, run: RunId, after: i64) -> Result<Vec<LogChunk>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT c.seq, c.content FROM artifact_chunk c JOIN artifact a ON a.id = c.artifact_id
             WHERE a.run_id = $1 AND a.kind = 'build-log' AND c.seq > $2 ORDER BY c.seq LIMIT 200",
        )
        .bind(run.0)
        .bind(after)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Adds one sample to a run's bake.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job.
    pub async fn add_sample(&self, lease: Lease, run: RunId, sample: &BakeSample) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        jobs::hold(&mut tx, lease).await?;
        let identity = match sample.identity {
            SampleIdentity::Expected => "expected",
            SampleIdentity::Other => "other",
            SampleIdentity::Unknown => "unknown",
        };
        sqlx::query("INSERT INTO sample (run_id, healthy, latency_ms, identity, error) VALUES ($1, $2, $3, $4, $5)")
            .bind(run.0)
            .bind(sample.healthy)
            .bind(sample.latency_ms.map(|ms| i32::try_from(ms).unwrap_or(i32::MAX)))
            .bind(identity)
            .bind(sample.error.as_deref().map(storable))
            .execute(&mut *tx)
            .await?;
        sqlx::query("SELECT pg_notify($1, $2)").bind(EVENT_CHANNEL).bind(run.to_string()).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// The samples of a run's bake, oldest first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_samples(&self, run: RunId) -> Result<Vec<BakeSample>, StoreError> {
        self.list_newest_samples(run, i64::MAX).await
    }

    /// The newest samples of a run's bake, at most so many, oldest first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_newest_samples(&self, run: RunId, limit: i64) -> Result<Vec<BakeSample>, StoreError> {
        let mut rows: Vec<(bool, Option<i32>, String, Option<String>)> = sqlx::query_as(
            "SELECT healthy, latency_ms, identity, error FROM sample WHERE run_id = $1 ORDER BY id DESC LIMIT $2",
        )
        .bind(run.0)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.reverse();
        let sample = |(healthy, latency_ms, identity, error): (bool, Option<i32>, String, Option<String>)| BakeSample {
            healthy,
            latency_ms: latency_ms.and_then(|ms| u32::try_from(ms).ok()),
            identity: match identity.as_str() {
                "expected" => SampleIdentity::Expected,
                "other" => SampleIdentity::Other,
                _ => SampleIdentity::Unknown,
            },
            error,
        };
        Ok(rows.into_iter().map(sample).collect())
    }
}
