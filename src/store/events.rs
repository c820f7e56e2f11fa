//! The event log of runs, append-only.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;

use super::{EVENT_CHANNEL, Store, StoreError};
use crate::domain::ids::RunId;

/// One thing that happened to a run.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct EventRow {
    /// Rises; a client that comes back gives the last one it saw.
    pub id: i64,
    /// What happened.
    pub kind: String,
    /// Details.
    pub data: Value,
    /// When.
    pub at: DateTime<Utc>,
}

/// Appends an event inside the caller's transaction and announces it.
pub(super) async fn append(conn: &mut PgConnection, run: RunId, kind: &str, data: &Value) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO run_event (run_id, kind, data) VALUES ($1, $2, $3)")
        .bind(run.0)
        .bind(kind)
        .bind(super::storable_json(data)?)
        .execute(&mut *conn)
        .await?;
    sqlx::query("SELECT pg_notify($1, $2)").bind(EVENT_CHANNEL).bind(run.to_string()).execute(conn).await?;
    Ok(())
}

impl Store {
    /// The events of a run after the given id, oldest first, at most 500.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_events_after(&self, run: RunId, after: i64) -> Result<Vec<EventRow>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT id, kind, data, at FROM run_event WHERE run_id = $1 AND id > $2 ORDER BY id LIMIT 500",
        )
        .bind(run.0)
        .bind(after)
        .fetch_all(&self.pool)
        .await?)
    }
}
