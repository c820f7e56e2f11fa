//! What was missed: whose turn it is to look, deliveries that did not arrive, comments that were never delivered.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::jobs::{NewJob, enqueue};
use super::{Store, StoreError, storable};
use crate::domain::ids::{InstallationId, PrNumber, RepoName};
use crate::domain::recovery::{Asked, Attempt};

/// What can be looked through by one replica at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookout {
    /// The App's log of deliveries.
    Deliveries,
    /// The comments of changes that are under way.
    Comments,
    /// What is old enough to be removed.
    Retention,
}

impl Lookout {
    fn as_str(self) -> &'static str {
        match self {
            Self::Deliveries => "deliveries",
            Self::Comments => "comments",
            Self::Retention => "retention",
        }
    }
}

/// A turn at looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Up to when the last look saw everything; `None` before the first.
    pub read_to: Option<DateTime<Utc>>,
}

/// An attempt that GitHub's log shows of a delivery that is missing.
#[derive(Debug, Clone)]
pub struct Missing<'a> {
    /// The attempt.
    pub attempt: Attempt,
    /// `X-GitHub-Event`.
    pub event: &'a str,
    /// The payload's `action`.
    pub action: Option<&'a str>,
}

/// A change whose comments are read besides being delivered.
#[derive(Debug, Clone)]
pub struct WatchedChange {
    /// Row id.
    pub id: i64,
    /// Where.
    pub repository: WatchedRepository,
    /// The pull request.
    pub number: PrNumber,
    /// Comments from this time on are looked at.
    pub since: DateTime<Utc>,
    /// Whether it holds a lock, waits in line or has a run under way.
    pub unfinished: bool,
}

/// A repository whose comments are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedRepository {
    /// Row id.
    pub id: i64,
    /// GitHub's number.
    pub github_id: i64,
    /// Its name.
    pub repo: RepoName,
    /// Through which it is reached.
    pub installation: InstallationId,
}

/// Figures of recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct RecoveryFigures {
    /// Deliveries that were found to be missing and arrived since.
    pub arrived: i64,
    /// Deliveries that are missing now.
    pub missing: i64,
    /// How often GitHub was asked for one again.
    pub asked: i64,
    /// Commands that were found by reading comments.
    pub commands: i64,
}

#[derive(sqlx::FromRow)]
struct MissingRow {
    guid: String,
    attempt_id: i64,
    delivered_at: DateTime<Utc>,
    asked_at: Option<DateTime<Utc>>,
    times: i32,
}

#[derive(sqlx::FromRow)]
struct WatchedRow {
    id: i64,
    number: i64,
    repository_id: i64,
    owner: String,
    name: String,
    github_id: i64,
    installation_id: i64,
    since: DateTime<Utc>,
    unfinished: bool,
}

impl Store {
    /// Takes a turn, unless another replica has it now or had it less than `min_age` ago. It ends by itself
    /// after `lasts`.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn take_turn(
        &self,
        lookout: Lookout,
        min_age: Duration,
        lasts: Duration,
    ) -> Result<Option<Turn>, StoreError> {
        let turn: Option<(Option<DateTime<Utc>>,)> = sqlx::query_as(
            "UPDATE recovery SET busy_until = now() + $3 * interval '1 millisecond', begun_at = now()
             WHERE name = $1 AND (busy_until IS NULL OR busy_until < now())
               AND (begun_at IS NULL OR begun_at <= now() - $2 * interval '1 millisecond')
             RETURNING read_to",
        )
        .bind(lookout.as_str())
        .bind(min_age.as_millis() as i64)
        .bind(lasts.as_millis() as i64)
        .fetch_optional(&self.pool)
        .await?;
        Ok(turn.map(|(read_to,)| Turn { read_to }))
    }

    /// Ends a turn; `read_to` when everything up to then was seen.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn end_turn(&self, lookout: Lookout, read_to: Option<DateTime<Utc>>) -> Result<(), StoreError> {
        sqlx::query("UPDATE recovery SET busy_until = NULL, read_to = GREATEST(read_to, $2) WHERE name = $1")
            .bind(lookout.as_str())
            .bind(read_to)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Which of these deliveries arrived.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_held(&self, guids: &[String]) -> Result<HashSet<String>, StoreError> {
        let held: Vec<String> =
            sqlx::query_scalar("SELECT id FROM delivery WHERE id = ANY($1)").bind(guids).fetch_all(&self.pool).await?;
        Ok(held.into_iter().collect())
    }

    /// Notes attempts of deliveries that are missing.
    ///
    /// # Errors
    /// When the database says no; some may be noted then.
    pub async fn note_missing(&self, missing: &[Missing<'_>]) -> Result<(), StoreError> {
        for one in missing {
            sqlx::query(
                "INSERT INTO redelivery (guid, attempt_id, event, action, delivered_at) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (guid) DO UPDATE
                 SET attempt_id = GREATEST(redelivery.attempt_id, EXCLUDED.attempt_id),
                     delivered_at = LEAST(redelivery.delivered_at, EXCLUDED.delivered_at)",
            )
            .bind(storable(&one.attempt.guid))
            .bind(one.attempt.id)
            .bind(storable(one.event))
            .bind(one.action.map(storable))
            .bind(one.attempt.delivered_at)
            .execute(&self.pool)
            .await?;
        }
        Ok(())
    }

    /// The deliveries that were noted as missing and are still, and how often each was asked for.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_missing(&self) -> Result<(Vec<Attempt>, HashMap<String, Asked>), StoreError> {
        let rows: Vec<MissingRow> = sqlx::query_as(
            "SELECT guid, attempt_id, delivered_at, asked_at, times FROM redelivery r
             WHERE delivered_at > now() - interval '7 days' AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.id = r.guid)",
        )
        .fetch_all(&self.pool)
        .await?;
        let (mut missing, mut asked) = (Vec::new(), HashMap::new());
        for row in rows {
            if let Some(at) = row.asked_at {
                asked.insert(row.guid.clone(), Asked { at, times: row.times.unsigned_abs() });
            }
            missing.push(Attempt { id: row.attempt_id, guid: row.guid, delivered_at: row.delivered_at });
        }
        Ok((missing, asked))
    }

    /// Notes that a delivery was asked for again.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn note_asked(&self, guid: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE redelivery SET asked_at = now(), times = times + 1 WHERE guid = $1")
            .bind(guid)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// When GitHub first tried to deliver what arrived later; `None` for a delivery that was never missing.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_first_attempt(&self, guid: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        Ok(sqlx::query_scalar("SELECT delivered_at FROM redelivery WHERE guid = $1")
            .bind(storable(guid))
            .fetch_optional(&self.pool)
            .await?)
    }

    /// Notes GitHub's number of a repository. Another number under the same name is another repository, which nobody has
    /// armed.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn put_github_id(&self, repository_id: i64, github_id: i64) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE repository SET github_id = $2, armed_at = CASE WHEN github_id IS NULL THEN armed_at END,
                                   armed_by = CASE WHEN github_id IS NULL THEN armed_by END
             WHERE id = $1 AND github_id IS DISTINCT FROM $2",
        )
        .bind(repository_id)
        .bind(github_id)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The changes that have a run under way or had something happen in the last hour, those first whose comments were
    /// not read for longest. A change whose deliveries wait to be acted on is left out: they come first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_watched_changes(&self) -> Result<Vec<WatchedChange>, StoreError> {
        let rows: Vec<WatchedRow> = sqlx::query_as(
            "SELECT c.id, c.number, r.id AS repository_id, r.owner, r.name, r.github_id, r.installation_id,
                    CASE WHEN c.comments_read_at IS NULL THEN GREATEST(now() - interval '1 hour', r.created_at)
                         ELSE GREATEST(c.comments_read_at - interval '1 minute', now() - interval '3 days')
                    END AS since,
                    EXISTS (SELECT 1 FROM environment_lock l WHERE l.change_id = c.id)
                    OR EXISTS (SELECT 1 FROM queue_entry q WHERE q.change_id = c.id)
                    OR EXISTS (SELECT 1 FROM run WHERE run.change_id = c.id AND run.status <> 'completed') AS unfinished
             FROM change c JOIN repository r ON r.id = c.repository_id
                           JOIN installation i ON i.id = r.installation_id
             WHERE r.github_id IS NOT NULL AND i.status = 'active'
               AND (EXISTS (SELECT 1 FROM run WHERE run.change_id = c.id
                            AND (run.status <> 'completed' OR run.completed_at > now() - interval '1 hour'))
                    OR EXISTS (SELECT 1 FROM command
                               WHERE command.change_id = c.id AND command.received_at > now() - interval '1 hour')
                    OR EXISTS (SELECT 1 FROM head_ledger h
                               WHERE h.change_id = c.id AND h.received_at > now() - interval '1 hour'))
               AND NOT EXISTS (SELECT 1 FROM job j WHERE j.kind = 'intake' AND j.status <> 'dead'
                               AND j.key = 'pr:' || lower(r.owner || '/' || r.name || '#' || c.number))
             ORDER BY c.comments_read_at NULLS FIRST, c.id LIMIT 100",
        )
        .fetch_all(&self.pool)
        .await?;
        let watched = |row: WatchedRow| {
            Ok(WatchedChange {
                id: row.id,
                repository: WatchedRepository {
                    id: row.repository_id,
                    github_id: row.github_id,
                    repo: RepoName::new(&row.owner, &row.name).map_err(|e| StoreError::Corrupt(e.to_string()))?,
                    installation: InstallationId(row.installation_id),
                },
                number: PrNumber(row.number),
                since: row.since,
                unfinished: row.unfinished,
            })
        };
        rows.into_iter().map(watched).collect()
    }

    /// The repositories that are reached, those first in which something happened last, at most 10.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_watched_repositories(&self) -> Result<Vec<WatchedRepository>, StoreError> {
        let rows: Vec<(i64, i64, String, String, i64)> = sqlx::query_as(
            "SELECT r.id, r.github_id, r.owner, r.name, r.installation_id
             FROM repository r JOIN installation i ON i.id = r.installation_id
             WHERE r.github_id IS NOT NULL AND i.status = 'active'
             ORDER BY (SELECT max(c.id) FROM change c WHERE c.repository_id = r.id) DESC NULLS LAST LIMIT 10",
        )
        .fetch_all(&self.pool)
        .await?;
        let watched = |(id, github_id, owner, name, installation): (i64, i64, String, String, i64)| {
            let repo = RepoName::new(&owner, &name).map_err(|e| StoreError::Corrupt(e.to_string()))?;
            Ok(WatchedRepository { id, github_id, repo, installation: InstallationId(installation) })
        };
        rows.into_iter().map(watched).collect()
    }

    /// The numbers of a repository's pull requests that are known.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_known_numbers(&self, repository_id: i64) -> Result<HashSet<PrNumber>, StoreError> {
        let numbers: Vec<i64> = sqlx::query_scalar("SELECT number FROM change WHERE repository_id = $1")
            .bind(repository_id)
            .fetch_all(&self.pool)
            .await?;
        Ok(numbers.into_iter().map(PrNumber).collect())
    }

    /// Queues the job of what was found by reading, unless its command is known or it was found before. Gives
    /// whether it was queued.
    ///
    /// # Errors
    /// When the database says no; then nothing was queued.
    pub async fn recover_found(&self, key: &str, job: &NewJob) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let found = sqlx::query(
            "INSERT INTO recovered_comment (key) SELECT $1::text
             WHERE NOT EXISTS (SELECT 1 FROM command WHERE key = $1) ON CONFLICT (key) DO NOTHING",
        )
        .bind(key)
        .execute(&mut *tx)
        .await?;
        if found.rows_affected() == 0 {
            return Ok(false);
        }
        enqueue(&mut tx, job).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Notes up to when the comments of these changes were looked at.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn put_comments_read(&self, changes: &[i64], at: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query("UPDATE change SET comments_read_at = GREATEST(comments_read_at, $2) WHERE id = ANY($1)")
            .bind(changes)
            .bind(at)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The figures of recovery.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn count_recovery(&self) -> Result<RecoveryFigures, StoreError> {
        Ok(sqlx::query_as(
            "SELECT count(*) FILTER (WHERE d.id IS NOT NULL) AS arrived,
                    count(*) FILTER (WHERE d.id IS NULL) AS missing,
                    (COALESCE(sum(r.times), 0) + COALESCE(
                        (SELECT total FROM removed WHERE counter = 'redeliveries'), 0))::bigint AS asked,
                    (SELECT count(*) FROM recovered_comment WHERE key LIKE 'comment:%') AS commands
             FROM redelivery r LEFT JOIN delivery d ON d.id = r.guid",
        )
        .fetch_one(&self.pool)
        .await?)
    }
}
