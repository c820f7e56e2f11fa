//! Buttons of check runs: each is good for one press. Made when a check is shown, used up by the press, never reused.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Store, StoreError, storable, word};
use crate::domain::command::CommandName;
use crate::domain::ids::{CommitSha, RunId};

/// A button and what became of it.
#[derive(Debug, Clone)]
pub struct Button {
    /// The run whose check shows it.
    pub run: RunId,
    /// The check's name.
    pub check_name: String,
    /// What a press asks for.
    pub command: CommandName,
    /// The commit that it is for.
    pub head: CommitSha,
    /// When it stops being good.
    pub expires_at: DateTime<Utc>,
    /// When it was pressed and by whom.
    pub used: Option<(DateTime<Utc>, String)>,
}

type ButtonRow = (uuid::Uuid, String, String, String, DateTime<Utc>, Option<DateTime<Utc>>, Option<String>);

fn button(row: ButtonRow) -> Result<Button, StoreError> {
    let (run, check_name, command, head, expires_at, used_at, used_by) = row;
    let known = CommandName::ALL.into_iter().find(|name| name.as_str() == command);
    Ok(Button {
        run: RunId(run),
        check_name,
        command: known.ok_or_else(|| StoreError::Corrupt(format!("a button of run {run}")))?,
        head: word(&head)?,
        expires_at,
        used: used_at.zip(used_by),
    })
}

impl Store {
    /// The nonce of the button that a run's check shows now for a command: the one that is still good, else a new one.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn ensure_button(
        &self,
        run: RunId,
        check_name: &str,
        command: CommandName,
        head: &CommitSha,
        life: Duration,
    ) -> Result<String, StoreError> {
        let mut tx = self.pool.begin().await?;
        let good: Option<String> = sqlx::query_scalar(
            "SELECT nonce FROM button
             WHERE run_id = $1 AND check_name = $2 AND command = $3 AND head = $4 AND used_at IS NULL
               AND expires_at > now()
             ORDER BY created_at DESC LIMIT 1",
        )
        .bind(run.0)
        .bind(check_name)
        .bind(command.as_str())
        .bind(head.as_str())
        .fetch_optional(&mut *tx)
        .await?;
        let nonce = match good {
            Some(nonce) => nonce,
            None => {
                // GitHub takes 20 characters.
                sqlx::query_scalar(
                    "INSERT INTO button (nonce, run_id, check_name, command, head, expires_at)
                     VALUES (left(replace(gen_random_uuid()::text, '-', ''), 20), $1, $2, $3, $4,
                             now() + $5 * interval '1 second')
                     RETURNING nonce",
                )
                .bind(run.0)
                .bind(check_name)
                .bind(command.as_str())
                .bind(head.as_str())
                .bind(life.as_secs() as i64)
                .fetch_one(&mut *tx)
                .await?
            }
        };
        tx.commit().await?;
        Ok(nonce)
    }

    /// The button of this nonce.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_button(&self, nonce: &str) -> Result<Option<Button>, StoreError> {
        let row: Option<ButtonRow> = sqlx::query_as(
            "SELECT run_id, check_name, command, head, expires_at, used_at, used_by FROM button WHERE nonce = $1",
        )
        .bind(storable(nonce))
        .fetch_optional(&self.pool)
        .await?;
        row.map(button).transpose()
    }

    /// Uses a button up, for the press that came with this delivery at that time. Gives whether the press counts: the
    /// button was good then and nobody else had pressed it. The same delivery may ask again.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn use_button(
        &self,
        nonce: &str,
        by: &str,
        delivery: &str,
        at: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let used = sqlx::query(
            "UPDATE button SET used_at = COALESCE(used_at, now()), used_by = $2, used_delivery = $3
             WHERE nonce = $1 AND (used_delivery = $3 OR (used_at IS NULL AND expires_at > $4))",
        )
        .bind(storable(nonce))
        .bind(storable(by))
        .bind(storable(delivery))
        .bind(at)
        .execute(&self.pool)
        .await?;
        Ok(used.rows_affected() > 0)
    }
}
