//! Which repository was the first to deploy to a service.

use super::{Store, StoreError};
use crate::domain::targets::TargetNames;

/// The conflict when another repository was first.
pub const BOUND_ELSEWHERE: &str = "target_binding_pkey";

impl Store {
    /// Whether another repository deployed to a target first, under any of its names. One whose installation is gone
    /// does not count.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn is_bound_elsewhere(&self, repository_id: i64, target: &TargetNames) -> Result<bool, StoreError> {
        let names: Vec<&str> = target.all().collect();
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM target_binding b JOIN repository r ON r.id = b.repository_id
             JOIN installation i ON i.id = r.installation_id
             WHERE b.target = ANY($1) AND b.repository_id <> $2 AND i.status <> 'deleted')",
        )
        .bind(names)
        .bind(repository_id)
        .fetch_one(&self.pool)
        .await?)
    }

    /// Notes that a repository deploys to a target, under all of its names. `by_order` is for an operator's list, which
    /// moves a target; otherwise the first repository keeps it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] with [`BOUND_ELSEWHERE`] when another repository was first.
    pub async fn bind_target(
        &self,
        repository_id: i64,
        target: &TargetNames,
        by_order: bool,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        for name in target.all() {
            let bound: Option<i64> = sqlx::query_scalar(
                "INSERT INTO target_binding (target, repository_id) VALUES ($1, $2)
                 ON CONFLICT (target) DO UPDATE SET repository_id = EXCLUDED.repository_id, bound_at = now()
                 WHERE target_binding.repository_id <> EXCLUDED.repository_id AND ($3 OR EXISTS
                     (SELECT 1 FROM repository r JOIN installation i ON i.id = r.installation_id
                      WHERE r.id = target_binding.repository_id AND i.status = 'deleted'))
                 RETURNING repository_id",
            )
            .bind(name)
            .bind(repository_id)
            .bind(by_order)
            .fetch_optional(&mut *tx)
            .await?;
            let owner = match bound {
                Some(owner) => owner,
                None => {
                    sqlx::query_scalar("SELECT repository_id FROM target_binding WHERE target = $1")
                        .bind(name)
                        .fetch_one(&mut *tx)
                        .await?
                }
            };
            if owner != repository_id {
                return Err(StoreError::Conflict { constraint: BOUND_ELSEWHERE.to_owned() });
            }
        }
        Ok(tx.commit().await?)
    }
}
