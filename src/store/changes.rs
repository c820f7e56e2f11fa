//! Changes (pull requests under Titan's care) and the ledger of their heads.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::jobs::{self, NewJob, enqueue};
use super::{Lease, Store, StoreError, line, locks, runs, storable};
use crate::domain::ids::{CommitSha, PrNumber};
use crate::domain::ledger::{self, Entry, Source};
use crate::domain::snapshot::{Person, TrustFact};

/// What an event told this shortly before a look is newer than what was seen, because GitHub's answers may be a little old.
const JUST_TOLD: TimeDelta = TimeDelta::seconds(5);
/// Who asked the runs of a closed pull request to stop.
const CLOSED: &str = "closing the pull request";

/// A change.
#[derive(Debug, Clone)]
pub struct Change {
    /// Row id.
    pub id: i64,
    /// Its repository's row id.
    pub repository_id: i64,
    /// The pull request's number.
    pub number: PrNumber,
    /// The head as last seen.
    pub head: Option<CommitSha>,
    /// Whether it was open when last seen.
    pub open: bool,
    /// The answer to the latest command, Markdown; may be empty.
    pub answer: String,
}

/// A head that an event told.
#[derive(Debug, Clone, Copy)]
pub struct NewHead<'a> {
    /// The head.
    pub head: &'a CommitSha,
    /// The head before, for a push.
    pub before: Option<&'a CommitSha>,
    /// Whether the pull request was opened with it.
    pub opened: bool,
    /// The delivery that told it.
    pub delivery_id: &'a str,
    /// Since when, by GitHub's time.
    pub at: DateTime<Utc>,
    /// Who brought it, when the event says.
    pub by: Option<&'a Person>,
}

#[derive(sqlx::FromRow)]
struct EntryRow {
    head: String,
    received_at: DateTime<Utc>,
    before: Option<String>,
    source: String,
}

impl Store {
    /// The change, noted now if it was unknown.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn ensure_change(&self, repository_id: i64, number: PrNumber) -> Result<Change, StoreError> {
        sqlx::query("INSERT INTO change (repository_id, number) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(repository_id)
            .bind(number.0)
            .execute(&self.pool)
            .await?;
        let row: (i64, Option<String>, bool, String) =
            sqlx::query_as("SELECT id, head, open, answer FROM change WHERE repository_id = $1 AND number = $2")
                .bind(repository_id)
                .bind(number.0)
                .fetch_one(&self.pool)
                .await?;
        let head = row.1.as_deref().map(super::word).transpose()?;
        Ok(Change { id: row.0, repository_id, number, head, open: row.2, answer: row.3 })
    }

    /// Notes the head, the base branch, and that the pull request is open, as GitHub shows them now. That it is not open any
    /// more is noted together with what follows: [`Store::close_change`]. When the base is another than before, what is
    /// shown of the change is brought up to date: its checks were about the old one.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn put_change_state(
        &self,
        change_id: i64,
        head: &CommitSha,
        base_ref: &str,
        open: bool,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let before: Option<String> = sqlx::query_scalar("SELECT base_ref FROM change WHERE id = $1 FOR UPDATE")
            .bind(change_id)
            .fetch_one(&mut *tx)
            .await?;
        sqlx::query(
            "UPDATE change SET head = $2, open = open OR $3, merged = merged AND NOT $3, base_ref = $4 WHERE id = $1",
        )
        .bind(change_id)
        .bind(head.as_str())
        .bind(open)
        .bind(storable(base_ref))
        .execute(&mut *tx)
        .await?;
        if before.is_some_and(|before| before != storable(base_ref)) {
            enqueue(&mut tx, &NewJob::report(change_id)).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Writes into the ledger what an event told. A delivery counts once. Trust in another commit of a fork ends. When Titan
    /// already shows something for the change, what it shows is brought up to date. Gives whether the newest head is
    /// certain; when it is not, GitHub has to be asked and [`Store::see_head`] told.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn record_head(&self, change_id: i64, new: &NewHead<'_>) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        lock_change(&mut tx, change_id).await?;
        let entry = Entry {
            head: new.head.clone(),
            at: new.at,
            before: new.before.cloned(),
            source: if new.opened { Source::Opened } else { Source::Event },
        };
        insert_entry(&mut tx, change_id, &entry, new.delivery_id, new.by).await?;
        let newest = ledger::newest(&list_entries(&mut tx, change_id).await?, new.head);
        if let Some(head) = &newest {
            show_head(&mut tx, change_id, head).await?;
        }
        tx.commit().await?;
        Ok(newest.is_some())
    }

    /// Notes the head that GitHub showed between `asked` and `answered`, and writes it into the ledger when that ends with
    /// another one: a push was not told of. Gives whether it did.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn see_head(
        &self,
        change_id: i64,
        head: &CommitSha,
        asked: DateTime<Utc>,
        answered: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        lock_change(&mut tx, change_id).await?;
        let entries = list_entries(&mut tx, change_id).await?;
        let untold = match entries.last() {
            Some(last) => last.head != *head && last.at < asked - JUST_TOLD,
            None => true,
        };
        if untold {
            let entry = Entry { head: head.clone(), at: answered, before: None, source: Source::Look };
            let id = format!("look:{}:{head}", answered.timestamp_millis());
            insert_entry(&mut tx, change_id, &entry, &id, None).await?;
            show_head(&mut tx, change_id, head).await?;
        }
        tx.commit().await?;
        Ok(untold)
    }

    /// Everybody who pushed to the change, as far as GitHub's events told.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_pushers(&self, change_id: i64) -> Result<Vec<Person>, StoreError> {
        let rows: Vec<(String, Option<i64>)> = sqlx::query_as(
            "SELECT DISTINCT pusher, pusher_id FROM head_ledger WHERE change_id = $1 AND pusher IS NOT NULL",
        )
        .bind(change_id)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|(login, id)| Person { login, id }).collect())
    }

    /// Who trusts this head of a fork now.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_trust(&self, change_id: i64, head: &CommitSha) -> Result<Option<TrustFact>, StoreError> {
        let row: Option<(String, DateTime<Utc>)> = sqlx::query_as(
            "SELECT trusted_by, trusted_at FROM trusted_head
             WHERE change_id = $1 AND head = $2 AND voided_at IS NULL",
        )
        .bind(change_id)
        .bind(head.as_str())
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|(by, at)| TrustFact { by, at }))
    }

    /// The ledger of a change, in its order.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_heads(&self, change_id: i64) -> Result<Vec<Entry>, StoreError> {
        let mut conn = self.pool.acquire().await?;
        list_entries(&mut conn, change_id).await
    }

    /// The pull request is closed or merged: notes it, takes it out of every line, gives its locks back and ends the job
    /// that found out. When it was not merged its runs are asked to stop, and a canary that runs its version gets the
    /// version before back.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job; then nothing was changed.
    pub async fn close_change(&self, lease: Lease, change_id: i64, merged: bool) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        jobs::finish(&mut tx, lease).await?;
        // Whatever was told: what Titan itself has merged was not closed to stop it.
        let merged: bool = sqlx::query_scalar(
            "UPDATE change SET open = FALSE, merged = $2 OR EXISTS
                 (SELECT 1 FROM run JOIN step ON step.run_id = run.id
                  WHERE run.change_id = change.id AND run.kind = 'promote' AND run.status <> 'completed'
                    AND step.name = 'merge' AND step.status = 'succeeded')
             WHERE id = $1 RETURNING merged",
        )
        .bind(change_id)
        .bind(merged)
        .fetch_one(&mut *tx)
        .await?;
        let why = "the pull request was closed";
        line::leave(&mut tx, change_id, line::Leaving { project_id: None, unless_head: None, why }).await?;
        if !merged {
            runs::ask_to_stop(&mut tx, change_id, None, CLOSED).await?;
        }
        // A run that is still under way keeps its locks; they are given back when it ends.
        let held: Vec<i64> = sqlx::query_scalar(
            "SELECT DISTINCT project_id FROM environment_lock WHERE change_id = $1 ORDER BY project_id",
        )
        .bind(change_id)
        .fetch_all(&mut *tx)
        .await?;
        for project_id in held {
            locks::leave(&mut tx, project_id, change_id).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// Events, looks and closings of a change are written one after the other.
async fn lock_change(conn: &mut PgConnection, change_id: i64) -> Result<(), StoreError> {
    sqlx::query("SELECT 1 FROM change WHERE id = $1 FOR UPDATE").bind(change_id).execute(conn).await?;
    Ok(())
}

async fn list_entries(conn: &mut PgConnection, change_id: i64) -> Result<Vec<Entry>, StoreError> {
    let rows: Vec<EntryRow> =
        sqlx::query_as("SELECT head, received_at, before, source FROM head_ledger WHERE change_id = $1 ORDER BY id")
            .bind(change_id)
            .fetch_all(conn)
            .await?;
    let entry = |row: EntryRow| {
        let before = row.before.as_deref().map(super::word).transpose()?;
        Ok(Entry { head: super::word(&row.head)?, at: row.received_at, before, source: super::word(&row.source)? })
    };
    Ok(ledger::in_order(rows.into_iter().map(entry).collect::<Result<_, StoreError>>()?))
}

async fn insert_entry(
    conn: &mut PgConnection,
    change_id: i64,
    entry: &Entry,
    delivery_id: &str,
    by: Option<&Person>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO head_ledger (change_id, head, delivery_id, received_at, pusher, pusher_id, before, source)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT ON CONSTRAINT head_ledger_delivery_unique DO NOTHING",
    )
    .bind(change_id)
    .bind(entry.head.as_str())
    .bind(storable(delivery_id))
    .bind(entry.at)
    .bind(by.map(|by| storable(&by.login)))
    .bind(by.and_then(|by| by.id))
    .bind(entry.before.as_ref().map(CommitSha::as_str))
    .bind(entry.source.as_str())
    .execute(&mut *conn)
    .await?;
    // An event that was delivered late tells of a push before the trust was given.
    sqlx::query(
        "UPDATE trusted_head SET voided_at = now()
         WHERE change_id = $1 AND head <> $2 AND voided_at IS NULL AND trusted_at <= $3 + interval '1 second'",
    )
    .bind(change_id)
    .bind(entry.head.as_str())
    .bind(entry.at)
    .execute(conn)
    .await?;
    Ok(())
}

/// This is the change's head now, for everybody to see who sees anything of it.
async fn show_head(conn: &mut PgConnection, change_id: i64, head: &CommitSha) -> Result<(), StoreError> {
    let shown: Option<i64> = sqlx::query_scalar(
        "UPDATE change SET head = $2 WHERE id = $1
         RETURNING (SELECT change_id FROM feedback WHERE change_id = $1 AND key = 'comment')",
    )
    .bind(change_id)
    .bind(head.as_str())
    .fetch_one(&mut *conn)
    .await?;
    if shown.is_some() {
        enqueue(conn, &NewJob::report(change_id)).await?;
    }
    Ok(())
}
