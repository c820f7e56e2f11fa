//! The policies that runs were decided under, by hash.

use super::{Store, StoreError, storable};

impl Store {
    /// Keeps a policy's text.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn put_policy(&self, hash: &str, body: &str) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO policy (hash, body) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(hash)
            .bind(storable(body))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The text of a policy.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_policy(&self, hash: &str) -> Result<Option<String>, StoreError> {
        Ok(sqlx::query_scalar("SELECT body FROM policy WHERE hash = $1").bind(hash).fetch_optional(&self.pool).await?)
    }
}
