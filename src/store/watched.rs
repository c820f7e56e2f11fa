//! What is looked at besides being delivered: comments and labels of repositories, the state of changes.

use chrono::{DateTime, Utc};

use super::jobs::{NewJob, enqueue};
use super::{Store, StoreError};
use crate::domain::ids::{InstallationId, PrNumber, RepoName};

/// A repository whose comments and labels are read.
#[derive(Debug, Clone)]
pub struct WatchedRepository {
    /// Row id.
    pub id: i64,
    /// GitHub's number.
    pub github_id: i64,
    /// Its name.
    pub name: RepoName,
    /// Through which it is reached.
    pub installation: InstallationId,
    /// Since when the App is in it, as far as is known.
    pub watched_from: DateTime<Utc>,
    /// Comments from this time on are looked at.
    pub since: DateTime<Utc>,
}

/// A change that is looked at.
#[derive(Debug, Clone)]
pub struct WatchedChange {
    /// Row id.
    pub id: i64,
    /// Row id of its repository.
    pub repository_id: i64,
    /// GitHub's number of the repository.
    pub github_id: i64,
    /// The repository.
    pub repo: RepoName,
    /// Through which it is reached.
    pub installation: InstallationId,
    /// The pull request.
    pub number: PrNumber,
}

/// What came of finding a command by looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It was not known, and is queued now.
    New,
    /// It is known, or was found before.
    Known,
    /// Deliveries of its pull request wait to be acted on; it may be among them.
    Busy,
}

#[derive(sqlx::FromRow)]
struct RepositoryRow {
    id: i64,
    owner: String,
    name: String,
    github_id: i64,
    installation_id: i64,
    watched_from: DateTime<Utc>,
    since: DateTime<Utc>,
}

impl RepositoryRow {
    fn fact(self) -> Result<WatchedRepository, StoreError> {
        Ok(WatchedRepository {
            id: self.id,
            github_id: self.github_id,
            name: name(&self.owner, &self.name)?,
            installation: InstallationId(self.installation_id),
            watched_from: self.watched_from,
            since: self.since,
        })
    }
}

#[derive(sqlx::FromRow)]
struct ChangeRow {
    id: i64,
    repository_id: i64,
    number: i64,
    owner: String,
    name: String,
    github_id: i64,
    installation_id: i64,
}

impl ChangeRow {
    fn fact(self) -> Result<WatchedChange, StoreError> {
        Ok(WatchedChange {
            id: self.id,
            repository_id: self.repository_id,
            github_id: self.github_id,
            repo: name(&self.owner, &self.name)?,
            installation: InstallationId(self.installation_id),
            number: PrNumber(self.number),
        })
    }
}

fn name(owner: &str, name: &str) -> Result<RepoName, StoreError> {
    RepoName::new(owner, name).map_err(|error| StoreError::Corrupt(error.to_string()))
}

impl Store {
    /// Notes that the App was in a repository at this time.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn note_reach(&self, repository_id: i64, at: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE repository SET watched_from = $2 WHERE id = $1 AND (watched_from IS NULL OR watched_from > $2)",
        )
        .bind(repository_id)
        .bind(at)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The repositories whose comments are to be read now, `limit` at most: those first that were not read for longest.
    /// One in which nothing happened for an hour lets the others go first for five minutes.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_watched_repositories(&self, limit: i64) -> Result<Vec<WatchedRepository>, StoreError> {
        let rows: Vec<RepositoryRow> = sqlx::query_as(
            "SELECT r.id, r.owner, r.name, r.github_id, r.installation_id, r.watched_from,
                    GREATEST(r.watched_from, now() - interval '3 days',
                             COALESCE(r.comments_read_at - interval '10 minutes', now() - interval '1 hour')) AS since
             FROM repository r JOIN installation i ON i.id = r.installation_id
             WHERE r.github_id IS NOT NULL AND r.watched_from IS NOT NULL AND i.status = 'active'
             ORDER BY COALESCE(r.comments_read_at, '-infinity') + CASE WHEN
                 EXISTS (SELECT 1 FROM command JOIN change c ON c.id = command.change_id
                         WHERE c.repository_id = r.id AND command.received_at > now() - interval '1 hour')
                 OR EXISTS (SELECT 1 FROM head_ledger h JOIN change c ON c.id = h.change_id
                            WHERE c.repository_id = r.id AND h.received_at > now() - interval '1 hour')
                 THEN interval '0' ELSE interval '5 minutes' END, r.id
             LIMIT $1",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(RepositoryRow::fact).collect()
    }

    /// Takes the repositories whose labels were not looked at for `min_age`, those first that were not for longest.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn take_repositories_for_labels(
        &self,
        min_age: std::time::Duration,
        limit: i64,
    ) -> Result<Vec<WatchedRepository>, StoreError> {
        let rows: Vec<RepositoryRow> = sqlx::query_as(
            "UPDATE repository SET labels_read_at = now() WHERE id IN
                 (SELECT r.id FROM repository r JOIN installation i ON i.id = r.installation_id
                  WHERE r.github_id IS NOT NULL AND r.watched_from IS NOT NULL AND i.status = 'active'
                    AND (r.labels_read_at IS NULL OR r.labels_read_at < now() - $1 * interval '1 millisecond')
                  ORDER BY r.labels_read_at NULLS FIRST, r.id LIMIT $2 FOR UPDATE OF r SKIP LOCKED)
             RETURNING id, owner, name, github_id, installation_id, watched_from,
                       GREATEST(watched_from, now() - interval '3 days') AS since",
        )
        .bind(i64::try_from(min_age.as_millis()).unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(RepositoryRow::fact).collect()
    }

    /// Notes up to when the comments of a repository were looked at.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn put_comments_read(&self, repository_id: i64, at: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query("UPDATE repository SET comments_read_at = GREATEST(comments_read_at, $2) WHERE id = $1")
            .bind(repository_id)
            .bind(at)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The changes of a repository whose comments are read one by one, for a GitHub that does not show all comments at once:
    /// the newest 50 that are open or had a command in the last hour.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_changes_to_read(&self, repository_id: i64) -> Result<Vec<PrNumber>, StoreError> {
        let numbers: Vec<i64> = sqlx::query_scalar(
            "SELECT number FROM change WHERE repository_id = $1
               AND (open OR EXISTS (SELECT 1 FROM command
                                    WHERE change_id = change.id AND received_at > now() - interval '1 hour'))
             ORDER BY id DESC LIMIT 50",
        )
        .bind(repository_id)
        .fetch_all(&self.pool)
        .await?;
        Ok(numbers.into_iter().map(PrNumber).collect())
    }

    /// Takes the changes whose pull request is to be looked at now, `limit` at most, those first that were not looked at for
    /// longest: what holds a lock, waits in line, has a run under way, or had anything happen in the last hour. A change
    /// whose deliveries wait to be acted on is left out: they come first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn take_changes_to_look_at(&self, limit: i64) -> Result<Vec<WatchedChange>, StoreError> {
        let rows: Vec<ChangeRow> = sqlx::query_as(
            "WITH next AS (
                 SELECT c.id FROM change c JOIN repository r ON r.id = c.repository_id
                                           JOIN installation i ON i.id = r.installation_id
                 WHERE r.github_id IS NOT NULL AND r.watched_from IS NOT NULL AND i.status = 'active' AND c.open
                   AND (EXISTS (SELECT 1 FROM environment_lock WHERE change_id = c.id)
                        OR EXISTS (SELECT 1 FROM queue_entry WHERE change_id = c.id)
                        OR EXISTS (SELECT 1 FROM run WHERE run.change_id = c.id
                                   AND (run.status <> 'completed' OR run.completed_at > now() - interval '1 hour'))
                        OR EXISTS (SELECT 1 FROM command
                                   WHERE command.change_id = c.id AND command.received_at > now() - interval '1 hour')
                        OR EXISTS (SELECT 1 FROM head_ledger h
                                   WHERE h.change_id = c.id AND h.received_at > now() - interval '1 hour'))
                   AND NOT EXISTS (SELECT 1 FROM job j WHERE j.kind = 'intake' AND j.status <> 'dead'
                                   AND j.key = ANY(job_waits_for('pr:' || lower(r.owner || '/' || r.name || '#' || c.number))))
                 ORDER BY c.looked_at NULLS FIRST, c.id LIMIT $1)
             UPDATE change SET looked_at = now() FROM next, repository r
             WHERE change.id = next.id AND r.id = change.repository_id
             RETURNING change.id, change.repository_id, change.number, r.owner, r.name, r.github_id, r.installation_id",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(ChangeRow::fact).collect()
    }

    /// Queues the job of a command that was found by looking, unless it is known.
    ///
    /// # Errors
    /// When the database says no; then nothing was queued.
    pub async fn recover_command(&self, key: &str, job: &NewJob) -> Result<Found, StoreError> {
        let mut tx = self.pool.begin().await?;
        let known: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM command WHERE key = $1) OR EXISTS (SELECT 1 FROM recovered_comment WHERE key = $1)",
        )
        .bind(key)
        .fetch_one(&mut *tx)
        .await?;
        if known {
            return Ok(Found::Known);
        }
        let busy: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM job WHERE kind = 'intake' AND key = $1 AND status <> 'dead')",
        )
        .bind(&job.key)
        .fetch_one(&mut *tx)
        .await?;
        if busy {
            return Ok(Found::Busy);
        }
        let found = sqlx::query("INSERT INTO recovered_comment (key) VALUES ($1) ON CONFLICT (key) DO NOTHING")
            .bind(key)
            .execute(&mut *tx)
            .await?;
        if found.rows_affected() == 0 {
            return Ok(Found::Known);
        }
        enqueue(&mut tx, job).await?;
        tx.commit().await?;
        Ok(Found::New)
    }

    /// As how GitHub dated the pull request when its labels were looked at last.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_labels_seen(&self, change_id: i64) -> Result<Option<DateTime<Utc>>, StoreError> {
        Ok(sqlx::query_scalar("SELECT labels_seen FROM change WHERE id = $1")
            .bind(change_id)
            .fetch_one(&self.pool)
            .await?)
    }

    /// Notes that the labels of the pull request were looked at.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn put_labels_seen(&self, change_id: i64, dated: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query("UPDATE change SET labels_seen = $2 WHERE id = $1")
            .bind(change_id)
            .bind(dated)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Whether a label's command reached Titan from this time on.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn has_label_command(&self, change_id: i64, since: DateTime<Utc>) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM command WHERE change_id = $1 AND source = 'label' AND received_at >= $2)",
        )
        .bind(change_id)
        .bind(since)
        .fetch_one(&self.pool)
        .await?)
    }

    /// Whether one of these commands was found by looking.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn was_found(&self, keys: &[String]) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM recovered_comment WHERE key = ANY($1))")
            .bind(keys)
            .fetch_one(&self.pool)
            .await?)
    }
}
