//! What one run left, as much as its page shows: artifacts, the end of its log, its last samples, its check runs.

use chrono::{DateTime, Utc};

use crate::domain::ids::RunId;
use crate::store::artifacts::LogChunk;
use crate::store::{Store, StoreError};

/// What a run left.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ArtifactListing {
    /// `build-log`, `patch`, `build-output` or `release-manifest`.
    pub kind: String,
    /// Size of its text.
    pub bytes: i64,
}

/// One probe of a bake, as much as a picture of it needs.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct SampleListing {
    /// Whether the health path answered 2xx.
    pub healthy: bool,
    /// Milliseconds until the answer, when there was one.
    pub latency_ms: Option<i32>,
    /// When.
    pub at: DateTime<Utc>,
}

/// The end of a run's build log.
#[derive(Debug, Clone)]
pub struct LogTail {
    /// The last chunks, oldest first; may be empty.
    pub chunks: Vec<LogChunk>,
    /// Bytes of the log before them.
    pub omitted_bytes: i64,
}

impl Store {
    /// What a run left, by kind.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_artifacts(&self, run: RunId) -> Result<Vec<ArtifactListing>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT a.kind, COALESCE(sum(octet_length(c.content)), 0)::bigint AS bytes
             FROM artifact a LEFT JOIN artifact_chunk c ON c.artifact_id = a.id
             WHERE a.run_id = $1 GROUP BY a.kind ORDER BY a.kind",
        )
        .bind(run.0)
        .fetch_all(&self.pool)
        .await?)
    }

    /// The end of a run's build log: whole chunks, as many as fit into `max_bytes`, at least one.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn read_log_tail(&self, run: RunId, max_bytes: i64) -> Result<LogTail, StoreError> {
        let rows: Vec<(i64, String, i64)> = sqlx::query_as(
            "SELECT seq, content, before FROM (
                 SELECT c.seq, c.content,
                        sum(octet_length(c.content)) OVER (ORDER BY c.seq) - octet_length(c.content) AS before,
                        sum(octet_length(c.content)) OVER (ORDER BY c.seq DESC) AS from_here,
                        row_number() OVER (ORDER BY c.seq DESC) AS from_end
                 FROM artifact_chunk c JOIN artifact a ON a.id = c.artifact_id
                 WHERE a.run_id = $1 AND a.kind = 'build-log') AS chunk
             WHERE from_here <= $2 OR from_end = 1 ORDER BY seq",
        )
        .bind(run.0)
        .bind(max_bytes)
        .fetch_all(&self.pool)
        .await?;
        let omitted_bytes = rows.first().map_or(0, |row| row.2);
        Ok(LogTail {
            chunks: rows.into_iter().map(|(seq, content, _)| LogChunk { seq, content }).collect(),
            omitted_bytes,
        })
    }

    /// The check runs that GitHub has of a run: their names and GitHub's ids.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_check_runs(&self, run: RunId) -> Result<Vec<(String, i64)>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT split_part(feedback.key, ':', 3), feedback.external_id
             FROM feedback JOIN run ON run.change_id = feedback.change_id
             WHERE run.id = $1 AND feedback.external_id IS NOT NULL AND starts_with(feedback.key, 'check:' || $2 || ':')
             ORDER BY feedback.key",
        )
        .bind(run.0)
        .bind(run.to_string())
        .fetch_all(&self.pool)
        .await?)
    }

    /// The last samples of a run's bake, oldest first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_last_samples(&self, run: RunId, limit: i64) -> Result<Vec<SampleListing>, StoreError> {
        let mut samples: Vec<SampleListing> =
            sqlx::query_as("SELECT healthy, latency_ms, at FROM sample WHERE run_id = $1 ORDER BY id DESC LIMIT $2")
                .bind(run.0)
                .bind(limit)
                .fetch_all(&self.pool)
                .await?;
        samples.reverse();
        Ok(samples)
    }

    /// The newest event of a run, 0 when there is none.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn last_event_id(&self, run: RunId) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("SELECT COALESCE(max(id), 0) FROM run_event WHERE run_id = $1")
            .bind(run.0)
            .fetch_one(&self.pool)
            .await?)
    }
}
