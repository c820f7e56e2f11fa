//! The facts of past decisions, for deciding them again under another policy. Nothing else reads them.

use chrono::{DateTime, Utc};

use super::{Store, StoreError};

/// So many decisions of a repository are kept; older ones are forgotten.
const KEPT: i64 = 100;

/// One past decision as it is stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DecisionRow {
    /// The command as text.
    pub text: String,
    /// The policy's text that it was decided under.
    pub policy: String,
    /// The facts, as they were written.
    pub facts: String,
    /// When it was decided.
    pub created_at: DateTime<Utc>,
}

impl Store {
    /// Keeps the facts of a decision. The policy must be kept already.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn put_decision(
        &self,
        repository_id: i64,
        command_id: i64,
        policy_hash: &str,
        facts: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO decision (command_id, repository_id, policy_hash, facts) VALUES ($1, $2, $3, $4)
             ON CONFLICT (command_id) DO UPDATE SET policy_hash = EXCLUDED.policy_hash, facts = EXCLUDED.facts",
        )
        .bind(command_id)
        .bind(repository_id)
        .bind(policy_hash)
        .bind(facts)
        .execute(&self.pool)
        .await?;
        sqlx::query(
            "DELETE FROM decision WHERE repository_id = $1 AND command_id <=
                 (SELECT command_id FROM decision WHERE repository_id = $1 ORDER BY command_id DESC LIMIT 1 OFFSET $2)",
        )
        .bind(repository_id)
        .bind(KEPT)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The newest decisions of a repository that started or refused a run, newest first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_decisions(&self, repository_id: i64, limit: i64) -> Result<Vec<DecisionRow>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT c.text, p.body AS policy, d.facts, d.created_at FROM decision d
             JOIN command c ON c.id = d.command_id JOIN policy p ON p.hash = d.policy_hash
             WHERE d.repository_id = $1 AND c.conclusion IN ('started', 'refused')
             ORDER BY d.command_id DESC LIMIT $2",
        )
        .bind(repository_id)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?)
    }
}
