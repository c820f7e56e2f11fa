//! Locks of environments: taken with a fence, compared before an intent, given back in the transaction that ends what
//! they were taken for. What they mean is in `domain/lock`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::jobs::{NewJob, enqueue};
use super::{Store, StoreError, line, storable};
use crate::domain::consequence::Locks;
use crate::domain::ids::{CommitSha, Environment, PrNumber, ProjectName, RunId};
use crate::domain::lock::{self, HeldFor, fence_holds};
use crate::domain::plan::put_back;
use crate::domain::snapshot::LockFact;

/// Takes an environment for a run inside the caller's transaction and gives the run the lock's new fence. A lock that
/// the change holds already becomes this run's; somebody else's says no with `environment_lock_key`.
pub(super) async fn take_for_run(
    conn: &mut PgConnection,
    project_id: i64,
    environment: Environment,
    change_id: i64,
    by: &str,
    run: RunId,
) -> Result<(), StoreError> {
    let fence: Option<i64> = sqlx::query_scalar(
        // A lock by hand stays one; what was held for a look was looked at by whoever gave this command.
        "INSERT INTO environment_lock AS l (project_id, environment, change_id, taken_by) VALUES ($1, $2, $3, $4)
         ON CONFLICT ON CONSTRAINT environment_lock_key DO UPDATE
         SET fence = EXCLUDED.fence, held_for = CASE WHEN l.held_for = 'look' THEN 'run' ELSE l.held_for END,
             expires_at = CASE WHEN l.held_for = 'hand' THEN l.expires_at END,
             remind_at = CASE WHEN l.held_for = 'hand' THEN l.remind_at END
         WHERE l.change_id = EXCLUDED.change_id
         RETURNING l.fence",
    )
    .bind(project_id)
    .bind(environment.as_str())
    .bind(change_id)
    .bind(by)
    .fetch_optional(&mut *conn)
    .await?;
    let fence = fence.ok_or_else(|| StoreError::Conflict { constraint: "environment_lock_key".to_owned() })?;
    sqlx::query("INSERT INTO run_lock (run_id, environment, fence) VALUES ($1, $2, $3)")
        .bind(run.0)
        .bind(environment.as_str())
        .bind(fence)
        .execute(conn)
        .await?;
    Ok(())
}

/// Makes sure, for the rest of the caller's transaction, that a run still has every lock that it was given.
pub(super) async fn hold(conn: &mut PgConnection, run: RunId) -> Result<(), StoreError> {
    let given: Vec<(String, i64)> =
        sqlx::query_as("SELECT environment, fence FROM run_lock WHERE run_id = $1 ORDER BY environment")
            .bind(run.0)
            .fetch_all(&mut *conn)
            .await?;
    let now: Vec<(String, i64)> = sqlx::query_as(
        "SELECT environment, fence FROM environment_lock
         WHERE project_id = (SELECT project_id FROM run WHERE id = $1) ORDER BY environment FOR SHARE",
    )
    .bind(run.0)
    .fetch_all(conn)
    .await?;
    for (environment, fence) in given {
        let standing = now.iter().find(|(known, _)| *known == environment).map(|(_, fence)| *fence);
        if !fence_holds(fence, standing) {
            return Err(StoreError::LockLost(environment));
        }
    }
    Ok(())
}

/// Takes both environments of a project for a change by hand.
pub(super) async fn take_by_hand(
    conn: &mut PgConnection,
    project_id: i64,
    change_id: i64,
    by: &str,
    reason: &str,
    lasts: Option<Duration>,
) -> Result<(), StoreError> {
    for environment in [Environment::Canary, Environment::Production] {
        // The fence stays: a run of this change that is under way keeps what it was given.
        let taken = sqlx::query(
            "INSERT INTO environment_lock AS l
                 (project_id, environment, change_id, taken_by, reason, held_for, expires_at, remind_at)
             VALUES ($1, $2, $3, $4, $5, 'hand', now() + $6 * interval '1 millisecond',
                     now() + $7 * interval '1 millisecond')
             ON CONFLICT ON CONSTRAINT environment_lock_key DO UPDATE
             SET taken_by = EXCLUDED.taken_by, reason = EXCLUDED.reason, held_for = 'hand', taken_at = now(),
                 expires_at = EXCLUDED.expires_at, remind_at = EXCLUDED.remind_at
             WHERE l.change_id = EXCLUDED.change_id",
        )
        .bind(project_id)
        .bind(environment.as_str())
        .bind(change_id)
        .bind(by)
        .bind(storable(reason))
        .bind(lasts.map(millis))
        .bind(lasts.map(|lasts| millis(remind_after(lasts))))
        .execute(&mut *conn)
        .await?;
        if taken.rows_affected() == 0 {
            return Err(StoreError::Conflict { constraint: "environment_lock_key".to_owned() });
        }
    }
    line::tell(conn, project_id).await
}

/// Gives locks of a project back by hand: the change's own, or with `force` everybody's. A run under way that loses its
/// lock is asked to stop. Gives who lost something.
pub(super) async fn unlock(
    conn: &mut PgConnection,
    project_id: i64,
    change_id: i64,
    by: &str,
    force: bool,
) -> Result<(), StoreError> {
    let mut losers: Vec<i64> = sqlx::query_scalar(
        "DELETE FROM environment_lock WHERE project_id = $1 AND ($3 OR change_id = $2) RETURNING change_id",
    )
    .bind(project_id)
    .bind(change_id)
    .bind(force)
    .fetch_all(&mut *conn)
    .await?;
    losers.sort_unstable();
    losers.dedup();
    for loser in losers.into_iter().filter(|loser| *loser != change_id) {
        super::runs::ask_to_stop(conn, loser, Some(project_id), by).await?;
        enqueue(conn, &NewJob::report(loser)).await?;
    }
    if force {
        super::runs::ask_to_stop(conn, change_id, Some(project_id), by).await?;
    }
    line::tell(conn, project_id).await
}

/// The environments of the project that the change holds, with what for. Nobody else changes these locks until the
/// transaction ends.
async fn lock_rows(
    conn: &mut PgConnection,
    project_id: i64,
    change_id: i64,
) -> Result<Vec<(String, String)>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT environment, held_for FROM environment_lock WHERE project_id = $1 AND change_id = $2
         ORDER BY environment FOR UPDATE",
    )
    .bind(project_id)
    .bind(change_id)
    .fetch_all(conn)
    .await?)
}

/// What the end of a run does to its change's locks on the project.
pub(super) async fn after_run(
    conn: &mut PgConnection,
    project_id: i64,
    change_id: i64,
    locks: Locks,
    lasts: Option<Duration>,
) -> Result<(), StoreError> {
    let held = lock_rows(conn, project_id, change_id).await?;
    for (word, held_for) in held {
        let environment = environment(&word);
        let left = lock::left(locks, environment, super::word(&held_for)?);
        let lasts = lasts.filter(|_| left == Some(HeldFor::Run));
        match left {
            // It ends when the person said.
            Some(HeldFor::Hand) => {}
            None => {
                sqlx::query("DELETE FROM environment_lock WHERE project_id = $1 AND environment = $2")
                    .bind(project_id)
                    .bind(environment.as_str())
                    .execute(&mut *conn)
                    .await?;
            }
            Some(held_for) => {
                sqlx::query(
                    "UPDATE environment_lock SET held_for = $3, expires_at = now() + $4 * interval '1 millisecond',
                                                 remind_at = now() + $5 * interval '1 millisecond'
                     WHERE project_id = $1 AND environment = $2",
                )
                .bind(project_id)
                .bind(environment.as_str())
                .bind(held_for.as_str())
                .bind(lasts.map(millis))
                .bind(lasts.map(|lasts| millis(remind_after(lasts))))
                .execute(&mut *conn)
                .await?;
            }
        }
    }
    let gone: bool =
        sqlx::query_scalar("SELECT NOT open FROM change WHERE id = $1").bind(change_id).fetch_one(&mut *conn).await?;
    if gone {
        leave(conn, project_id, change_id).await?;
    }
    line::tell(conn, project_id).await
}

/// A change gives a project up, because it was closed or had it for too long: its locks are given back, except what
/// waits for a look; and when the canary runs its version, a run puts the version before back first, which then gives
/// the lock back. While a run changes the project nothing happens; the end of that run comes back to it.
pub(super) async fn leave(conn: &mut PgConnection, project_id: i64, change_id: i64) -> Result<(), StoreError> {
    let held = lock_rows(conn, project_id, change_id).await?;
    let busy: Option<i64> = sqlx::query_scalar(
        "SELECT change_id FROM run WHERE project_id = $1 AND status <> 'completed' AND kind <> 'propose'",
    )
    .bind(project_id)
    .fetch_optional(&mut *conn)
    .await?;
    match busy {
        Some(own) if own == change_id => return Ok(()),
        Some(_) => {
            // Somebody else's run: whoever looks for locks that are over time takes this up again.
            sqlx::query(
                "UPDATE environment_lock SET expires_at = now(), remind_at = NULL
                 WHERE project_id = $1 AND change_id = $2 AND held_for <> 'look'",
            )
            .bind(project_id)
            .bind(change_id)
            .execute(conn)
            .await?;
            return Ok(());
        }
        None => {}
    }
    let canary = held.iter().any(|(env, held_for)| env == "canary" && held_for != HeldFor::Look.as_str());
    let tried = if canary { tried_there(conn, project_id, change_id).await? } else { None };
    sqlx::query(
        "DELETE FROM environment_lock WHERE project_id = $1 AND change_id = $2 AND held_for <> 'look'
         AND (environment = 'production' OR NOT $3)",
    )
    .bind(project_id)
    .bind(change_id)
    .bind(tried.is_some())
    .execute(&mut *conn)
    .await?;
    if let Some(canary) = tried {
        let plan = put_back(super::word::<ProjectName>(&canary.project)?, canary.head()?, canary.policy_hash.clone());
        let (id, cause) = (RunId(Uuid::now_v7()), Some(RunId(canary.id)));
        sqlx::query(
            "UPDATE environment_lock SET held_for = 'run'
             WHERE project_id = $1 AND change_id = $2 AND environment = 'canary'",
        )
        .bind(project_id)
        .bind(change_id)
        .execute(&mut *conn)
        .await?;
        super::runs::insert(conn, change_id, None, cause, Some(project_id), id, "titan", &plan).await?;
    }
    line::tell(conn, project_id).await?;
    enqueue(conn, &NewJob::report(change_id)).await
}

/// The canary run whose version is on the canary now.
#[derive(sqlx::FromRow)]
struct Tried {
    id: Uuid,
    head: String,
    policy_hash: Option<String>,
    project: String,
}

impl Tried {
    fn head(&self) -> Result<CommitSha, StoreError> {
        super::word(&self.head)
    }
}

/// `None` as well when the change was merged, because then its version belongs there, and when it was put back before.
async fn tried_there(conn: &mut PgConnection, project_id: i64, change_id: i64) -> Result<Option<Tried>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT run.id, run.head, run.policy_hash, project.name AS project
         FROM release JOIN run ON run.id = release.run_id JOIN project ON project.id = release.project_id
         WHERE release.project_id = $1 AND release.environment = 'canary' AND release.current
           AND run.change_id = $2 AND run.kind = 'canary'
           AND NOT (SELECT merged FROM change WHERE id = $2)
           AND NOT EXISTS (SELECT 1 FROM run later WHERE later.cause_run_id = run.id)",
    )
    .bind(project_id)
    .bind(change_id)
    .fetch_optional(conn)
    .await?)
}

/// The tables hold no other words.
fn environment(word: &str) -> Environment {
    if word == Environment::Canary.as_str() { Environment::Canary } else { Environment::Production }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// People are told in the last quarter, at most an hour before.
fn remind_after(lasts: Duration) -> Duration {
    lasts - (lasts / 4).min(Duration::from_secs(3600))
}

#[derive(sqlx::FromRow)]
struct LockRow {
    project_id: i64,
    environment: String,
    number: i64,
    taken_by: String,
    reason: String,
    taken_at: DateTime<Utc>,
    held_for: String,
    expires_at: Option<DateTime<Utc>>,
    remind_at: Option<DateTime<Utc>>,
}

impl LockRow {
    fn fact(self) -> Result<(i64, LockFact), StoreError> {
        let fact = LockFact {
            environment: environment(&self.environment),
            owner: PrNumber(self.number),
            by: self.taken_by,
            reason: self.reason,
            since: self.taken_at,
            held_for: super::word(&self.held_for)?,
            expires_at: self.expires_at,
            ends_soon: self.expires_at.is_some() && self.remind_at.is_none(),
        };
        Ok((self.project_id, fact))
    }
}

impl Store {
    /// The locks of a project, canary first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_locks(&self, project_id: i64) -> Result<Vec<LockFact>, StoreError> {
        Ok(self.list_locks_of(&[project_id]).await?.into_iter().map(|(_, lock)| lock).collect())
    }

    /// The locks of these projects with their project, canary first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_locks_of(&self, projects: &[i64]) -> Result<Vec<(i64, LockFact)>, StoreError> {
        let rows: Vec<LockRow> = sqlx::query_as(
            "SELECT l.project_id, l.environment, c.number, l.taken_by, l.reason, l.taken_at, l.held_for, l.expires_at,
                    l.remind_at
             FROM environment_lock l JOIN change c ON c.id = l.change_id
             WHERE l.project_id = ANY($1) ORDER BY l.project_id, l.environment",
        )
        .bind(projects)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(LockRow::fact).collect()
    }

    /// Takes locks that are over time back and says of others that they soon will be; every replica may ask, one does
    /// it. Gives how many locks ended.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn look_after_locks(&self) -> Result<usize, StoreError> {
        let mut tx = self.pool.begin().await?;
        let over: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT project_id, change_id FROM environment_lock l
             WHERE expires_at <= now() AND held_for <> 'look' AND NOT EXISTS
                 (SELECT 1 FROM run WHERE run.project_id = l.project_id AND run.status <> 'completed'
                  AND run.kind <> 'propose')
             ORDER BY project_id, environment LIMIT 20 FOR UPDATE SKIP LOCKED",
        )
        .fetch_all(&mut *tx)
        .await?;
        let mut ended = over;
        ended.dedup();
        for (project_id, change_id) in &ended {
            leave(&mut tx, *project_id, *change_id).await?;
        }
        let soon: Vec<i64> = sqlx::query_scalar(
            "UPDATE environment_lock SET remind_at = NULL WHERE (project_id, environment) IN
                 (SELECT project_id, environment FROM environment_lock WHERE remind_at <= now()
                  ORDER BY project_id, environment LIMIT 20 FOR UPDATE SKIP LOCKED)
             RETURNING change_id",
        )
        .fetch_all(&mut *tx)
        .await?;
        for change_id in soon {
            enqueue(&mut tx, &NewJob::report(change_id)).await?;
        }
        tx.commit().await?;
        Ok(ended.len())
    }
}
