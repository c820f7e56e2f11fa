//! What was missed: whose turn it is to look, and deliveries that did not arrive.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Store, StoreError, storable};
use crate::domain::recovery::{Asked, Attempt};

/// What can be looked through by one replica at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookout {
    /// The App's log of deliveries.
    Deliveries,
    /// Comments, labels and pull requests.
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

/// Figures of recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct RecoveryFigures {
    /// Deliveries that were found to be missing and arrived since.
    pub arrived: i64,
    /// Deliveries that are missing now.
    pub missing: i64,
    /// How often GitHub was asked for one again.
    pub asked: i64,
    /// Commands that were found by reading comments and labels.
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
                    (SELECT count(*) FROM recovered_comment) AS commands
             FROM redelivery r LEFT JOIN delivery d ON d.id = r.guid",
        )
        .fetch_one(&self.pool)
        .await?)
    }
}
