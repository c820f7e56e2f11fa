//! The audit log: read only. Triggers write it (migration `add_audit`), so nothing here can forget to.

use super::{Store, StoreError};
use crate::domain::audit::Entry;
use crate::domain::ids::InstallationId;

/// One installation's chain, as its own row tells.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The tenant.
    pub installation: InstallationId,
    /// Its account's name.
    pub account: String,
    /// How many entries were written and the hash of the last; `None` when the row is gone.
    pub told: Option<(i64, String)>,
}

type EntryRow = (i64, Option<i64>, Option<String>, Option<String>, String);

impl Store {
    /// Every installation's chain.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_audit_chains(&self) -> Result<Vec<Chain>, StoreError> {
        let rows: Vec<(i64, String, Option<i64>, Option<String>)> = sqlx::query_as(
            "SELECT i.id, i.account, c.entries, c.head FROM installation i
             LEFT JOIN audit_chain c ON c.installation_id = i.id ORDER BY i.id",
        )
        .fetch_all(&self.pool)
        .await?;
        let chain = |(id, account, entries, head): (i64, String, Option<i64>, Option<String>)| Chain {
            installation: InstallationId(id),
            account,
            told: entries.zip(head),
        };
        Ok(rows.into_iter().map(chain).collect())
    }

    /// Entries after a position, in the order of the chain.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_audit_after(
        &self,
        installation: InstallationId,
        position: i64,
        limit: i64,
    ) -> Result<Vec<Entry>, StoreError> {
        let rows: Vec<EntryRow> = sqlx::query_as(
            "SELECT id, position, previous, hash, body FROM audit
             WHERE installation_id = $1 AND position > $2 ORDER BY position LIMIT $3",
        )
        .bind(installation.0)
        .bind(position)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(entry).collect())
    }

    /// Entries that cannot be part of the chain: without a position, or with one before the first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_audit_beside(&self, installation: InstallationId) -> Result<Vec<Entry>, StoreError> {
        let rows: Vec<EntryRow> = sqlx::query_as(
            "SELECT id, NULL::bigint, previous, hash, body FROM audit
             WHERE installation_id = $1 AND (position IS NULL OR position < 1) ORDER BY id LIMIT 1000",
        )
        .bind(installation.0)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(entry).collect())
    }
}

fn entry((id, position, previous, hash, body): EntryRow) -> Entry {
    Entry { id, position, previous, hash, body }
}
