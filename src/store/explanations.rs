//! The gates of a change for those who ask over the API: asked for, read by a worker, kept for a moment.
//!
//! Who asks needs no sign-in, so the number of readings is bounded here, over all replicas.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::jobs::{self, JobKind};
use super::{JOB_CHANNEL, Lease, Store, StoreError, storable, storable_json, word};
use crate::domain::gates::GateResult;
use crate::domain::ids::{CommitSha, PrNumber};

/// The gates by project (empty: none named) and by command.
pub type Tables = BTreeMap<String, BTreeMap<String, Vec<GateResult>>>;

/// The gates of a change at one moment.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// When the facts were read.
    pub read_at: DateTime<Utc>,
    /// The head they are about, and the gates; why not, when the facts could not be read.
    pub outcome: Result<(CommitSha, Tables), String>,
}

/// What comes of a question.
#[derive(Debug, Clone)]
pub enum Asked {
    /// It was answered a moment ago.
    Ready(Explanation),
    /// A worker is about to read.
    Waiting,
    /// Too many questions about this account's repositories in the last hour.
    TooMany,
}

type Row = (DateTime<Utc>, Option<String>, Option<Json<Tables>>, Option<String>);

fn explanation((read_at, head, tables, trouble): Row) -> Result<Explanation, StoreError> {
    let outcome = match (head, tables, trouble) {
        (Some(head), Some(Json(tables)), None) => Ok((word(&head)?, tables)),
        (_, _, trouble) => Err(trouble.unwrap_or_default()),
    };
    Ok(Explanation { read_at, outcome })
}

impl Store {
    /// The change of a pull request that Titan has met; nobody is asked.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_known_change(&self, repository_id: i64, number: PrNumber) -> Result<Option<i64>, StoreError> {
        Ok(sqlx::query_scalar("SELECT id FROM change WHERE repository_id = $1 AND number = $2")
            .bind(repository_id)
            .bind(number.0)
            .fetch_optional(&self.pool)
            .await?)
    }

    /// Whether somebody has given a command on a change, as its pages show.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn has_commanded(&self, change_id: i64, login: &str) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM command WHERE change_id = $1 AND lower(actor) = lower($2))",
        )
        .bind(change_id)
        .bind(storable(login))
        .fetch_one(&self.pool)
        .await?)
    }

    /// Who has given commands on a change, in the order of the alphabet.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_commanders(&self, change_id: i64) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar(
            "SELECT DISTINCT ON (lower(actor)) actor FROM command WHERE change_id = $1 AND source <> 'automatic'
             ORDER BY lower(actor), id DESC LIMIT 200",
        )
        .bind(change_id)
        .fetch_all(&self.pool)
        .await?)
    }

    /// Open changes of a repository on which somebody has given a command, the latest command first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_open_changes(&self, repository_id: i64, limit: i64) -> Result<Vec<PrNumber>, StoreError> {
        let numbers: Vec<i64> = sqlx::query_scalar(
            "SELECT c.number FROM change c JOIN command ON command.change_id = c.id
             WHERE c.repository_id = $1 AND c.open GROUP BY c.id ORDER BY max(command.id) DESC LIMIT $2",
        )
        .bind(repository_id)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        Ok(numbers.into_iter().map(PrNumber).collect())
    }

    /// GitHub's number of whoever gave commands on a change under this login last; `None` when it is not known.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_commander_id(&self, change_id: i64, login: &str) -> Result<Option<i64>, StoreError> {
        let found: Option<Option<i64>> = sqlx::query_scalar(
            "SELECT actor_id FROM command WHERE change_id = $1 AND lower(actor) = lower($2) ORDER BY id DESC LIMIT 1",
        )
        .bind(change_id)
        .bind(storable(login))
        .fetch_optional(&self.pool)
        .await?;
        Ok(found.flatten())
    }

    /// Asks for the gates of a change as they stand for somebody (`""`: for nobody in particular). An answer that is
    /// younger than `fresh` is enough; at most `per_hour` new ones are read for an installation.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn ask_explanation(
        &self,
        change_id: i64,
        actor: &str,
        fresh: Duration,
        per_hour: i64,
    ) -> Result<Asked, StoreError> {
        let mut tx = self.pool.begin().await?;
        // One at a time for each installation, so that the count holds.
        let installation: i64 = sqlx::query_scalar(
            "SELECT i.id FROM installation i JOIN repository r ON r.installation_id = i.id
             JOIN change c ON c.repository_id = r.id WHERE c.id = $1 FOR UPDATE OF i",
        )
        .bind(change_id)
        .fetch_one(&mut *tx)
        .await?;
        let row: Option<Row> = sqlx::query_as(
            "SELECT read_at, head, tables, trouble FROM explanation
             WHERE change_id = $1 AND actor = $2 AND read_at > now() - $3 * interval '1 millisecond'",
        )
        .bind(change_id)
        .bind(storable(actor))
        .bind(fresh.as_millis() as i64)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(row) = row {
            return Ok(Asked::Ready(explanation(row)?));
        }
        let key = format!("explain:{change_id}:{}", storable(actor).to_lowercase());
        let queued: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM job WHERE key = $1 AND status <> 'dead')")
            .bind(&key)
            .fetch_one(&mut *tx)
            .await?;
        if queued {
            return Ok(Asked::Waiting);
        }
        sqlx::query("DELETE FROM explanation_read WHERE asked_at < now() - interval '1 hour'")
            .execute(&mut *tx)
            .await?;
        let reads: i64 = sqlx::query_scalar("SELECT count(*) FROM explanation_read WHERE installation_id = $1")
            .bind(installation)
            .fetch_one(&mut *tx)
            .await?;
        if reads >= per_hour {
            return Ok(Asked::TooMany);
        }
        sqlx::query("INSERT INTO explanation_read (installation_id) VALUES ($1)")
            .bind(installation)
            .execute(&mut *tx)
            .await?;
        let payload = serde_json::json!({ "change_id": change_id, "actor": storable(actor) }).to_string();
        sqlx::query(
            "INSERT INTO job (kind, key, payload) VALUES ($1, $2, $3)
             ON CONFLICT (key) WHERE kind = 'explain' AND status = 'queued' DO NOTHING",
        )
        .bind(JobKind::Explain.as_str())
        .bind(&key)
        .bind(payload)
        .execute(&mut *tx)
        .await?;
        sqlx::query("SELECT pg_notify($1, $2)")
            .bind(JOB_CHANNEL)
            .bind(JobKind::Explain.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Asked::Waiting)
    }

    /// Keeps an answer and ends the job that made it.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job; then nothing was changed.
    pub async fn put_explanation(
        &self,
        lease: Lease,
        change_id: i64,
        actor: &str,
        outcome: &Result<(CommitSha, Tables), String>,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        jobs::finish(&mut tx, lease).await?;
        let (head, tables, trouble) = match outcome {
            Ok((head, tables)) => (Some(head.as_str()), Some(storable_json(tables)?), None),
            Err(why) => (None, None, Some(storable(why))),
        };
        sqlx::query(
            "INSERT INTO explanation (change_id, actor, read_at, head, tables, trouble) VALUES ($1, $2, now(), $3, $4, $5)
             ON CONFLICT ON CONSTRAINT explanation_key DO UPDATE
             SET asked_at = now(), read_at = now(), head = EXCLUDED.head, tables = EXCLUDED.tables,
                 trouble = EXCLUDED.trouble",
        )
        .bind(change_id)
        .bind(storable(actor))
        .bind(head)
        .bind(tables)
        .bind(trouble)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }
}
