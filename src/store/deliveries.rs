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
    /// Seen before; it was counted and nothing else was done.
    Duplicate,
    /// Another delivery has this id; nothing was done.
    IdTaken,
}

/// Figures of the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct DeliveryFigures {
    /// Deliveries that are stored, each once.
    pub received: i64,
    /// Those of them that are not acted on.
    pub ignored: i64,
    /// How often one came again after it was stored.
    pub duplicates: i64,
}

impl Store {
    /// Stores a delivery and its job in one transaction, unless its id was seen before. GitHub's ids are unique; other
    /// hosts take the time for it, so what has the same id and is plainly something else is not taken for the same.
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
            let counted = sqlx::query(
                "UPDATE delivery SET duplicates = duplicates + 1
                 WHERE id = $1 AND event = $2 AND action IS NOT DISTINCT FROM $3 AND body_bytes = $4",
            )
            .bind(storable(delivery.id))
            .bind(storable(delivery.event))
            .bind(delivery.action.map(storable))
            .bind(delivery.body_bytes as i64)
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            return Ok(if counted.rows_affected() == 0 { Accepted::IdTaken } else { Accepted::Duplicate });
        }
        if let Some(job) = job {
            enqueue(&mut tx, job).await?;
        }
        tx.commit().await?;
        Ok(Accepted::New)
    }

    /// How many deliveries are stored.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn count_deliveries(&self) -> Result<DeliveryFigures, StoreError> {
        let figures = "SELECT count(*) AS received, count(ignored) AS ignored,
                              (COALESCE(sum(duplicates), 0) + COALESCE(
                                  (SELECT total FROM removed WHERE counter = 'duplicates'), 0))::bigint AS duplicates
                       FROM delivery";
        Ok(sqlx::query_as(figures).fetch_one(&self.pool).await?)
    }
}
