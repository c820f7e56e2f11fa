//! The inbox: a delivery is stored, with the job that acts on it, before GitHub gets its answer.

use super::jobs::{NewJob, enqueue};
use super::{Store, StoreError, storable};

/// A webhook POST whose signature was good.
#[derive(Debug, Clone)]
pub struct NewDelivery<'a> {
    /// `X-GitHub-Delivery`.
    pub id: &'a str,
    /// `X-GitHub-Event`.
    pub event: &'a str,
    /// The payload's `action`, when it has one.
    pub action: Option<&'a str>,
    /// The payload's repository, when it has one.
    pub repository: Option<&'a str>,
    /// Size of the body.
    pub body_bytes: usize,
    /// Why it is not acted on, if it is not.
    pub ignored: Option<&'a str>,
}

/// Whether a delivery was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// Stored now.
    New,
    /// Seen before; nothing was done.
    Duplicate,
}

impl Store {
    /// Stores a delivery and its job in one transaction, unless its id was seen before.
    ///
    /// # Errors
    /// When the database says no; then nothing was stored.
    pub async fn accept_delivery(
        &self,
        delivery: &NewDelivery<'_>,
        job: Option<&NewJob>,
    ) -> Result<Accepted, StoreError> {
        let mut tx = self.pool.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO delivery (id, event, action, repository, body_bytes, ignored) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(storable(delivery.id))
        .bind(storable(delivery.event))
        .bind(delivery.action.map(storable))
        .bind(delivery.repository.map(storable))
        .bind(delivery.body_bytes as i64)
        .bind(delivery.ignored)
        .execute(&mut *tx)
        .await?;
        if inserted.rows_affected() == 0 {
            return Ok(Accepted::Duplicate);
        }
        if let Some(job) = job {
            enqueue(&mut tx, job).await?;
        }
        tx.commit().await?;
        Ok(Accepted::New)
    }

    /// How many deliveries are stored: `(all, ignored)`.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn count_deliveries(&self) -> Result<(i64, i64), StoreError> {
        Ok(sqlx::query_as("SELECT count(*), count(ignored) FROM delivery").fetch_one(&self.pool).await?)
    }
}
