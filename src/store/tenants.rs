//! Installations, their repositories, and the repositories' projects.

use sqlx::PgConnection;
use uuid::Uuid;

use super::jobs::NewJob;
use super::{Store, StoreError, storable};
use crate::domain::ids::{InstallationId, ProjectName, RepoName, RunId};
use crate::domain::policy::Project;
use crate::domain::run::{Conclusion, RunEvent};
use crate::domain::snapshot::HaltFact;

/// A repository with what concerns all its changes.
#[derive(Debug, Clone)]
pub struct Repository {
    /// Row id.
    pub id: i64,
    /// The tenant.
    pub installation: InstallationId,
    /// `owner/name`.
    pub name: RepoName,
    /// Whether deployment is on.
    pub armed: bool,
}

#[derive(sqlx::FromRow)]
struct RepositoryRow {
    id: i64,
    installation_id: i64,
    owner: String,
    name: String,
    armed: bool,
}

#[derive(sqlx::FromRow)]
struct HaltRow {
    armed: bool,
    halted_by: Option<String>,
    halt_reason: String,
    halted_in: Option<String>,
}

/// Ends everything that goes on in a repository which Titan can no longer reach, inside the caller's transaction: runs with
/// their jobs, places in line, locks. What is on a canary stays there: nobody could be told.
async fn give_up(conn: &mut PgConnection, repository: i64, why: &str) -> Result<(), StoreError> {
    // A halt that was called there could be lifted by nobody any more, and what is said there from now on is not said to
    // Titan, until an event shows that it is there again.
    let begin_anew = "UPDATE repository SET armed_at = NULL, armed_by = NULL, halted_at = NULL, halted_by = NULL,
                          halt_reason = '', halts_account = FALSE, watched_from = NULL, comments_read_at = NULL
                      WHERE id = $1";
    sqlx::query(begin_anew).bind(repository).execute(&mut *conn).await?;
    let runs: Vec<Uuid> = sqlx::query_scalar(
        "SELECT run.id FROM run JOIN change ON change.id = run.change_id
         WHERE change.repository_id = $1 AND run.status <> 'completed' ORDER BY run.id",
    )
    .bind(repository)
    .fetch_all(&mut *conn)
    .await?;
    for run in runs.into_iter().map(RunId) {
        // Its worker finds its job gone and writes nothing more.
        sqlx::query("DELETE FROM job WHERE key = $1").bind(NewJob::step(run).key).execute(&mut *conn).await?;
        sqlx::query("UPDATE step SET status = 'skipped' WHERE run_id = $1 AND status IN ('pending', 'running')")
            .bind(run.0)
            .execute(&mut *conn)
            .await?;
        super::runs::advance(conn, run, RunEvent::Concluded(Conclusion::Cancelled), Some(why)).await?;
    }
    sqlx::query(
        "WITH gone AS (DELETE FROM queue_entry q USING change c
                       WHERE c.id = q.change_id AND c.repository_id = $1 RETURNING q.command_id)
         UPDATE command SET conclusion = 'withdrawn', concluded_at = now() FROM gone WHERE command.id = gone.command_id",
    )
    .bind(repository)
    .execute(&mut *conn)
    .await?;
    sqlx::query("DELETE FROM environment_lock l USING project p WHERE p.id = l.project_id AND p.repository_id = $1")
        .bind(repository)
        .execute(conn)
        .await?;
    Ok(())
}

impl Store {
    /// Notes an installation and its state; `status` is `active`, `suspended` or `deleted`.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn put_installation(
        &self,
        id: InstallationId,
        account: &str,
        status: &'static str,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO installation (id, account, status) VALUES ($1, $2, $3)
             ON CONFLICT (id) DO UPDATE SET account = EXCLUDED.account, status = EXCLUDED.status",
        )
        .bind(id.0)
        .bind(storable(account))
        .bind(status)
        .execute(&mut *tx)
        .await?;
        if status == "deleted" {
            let theirs: Vec<i64> =
                sqlx::query_scalar("SELECT id FROM repository WHERE installation_id = $1 ORDER BY id")
                    .bind(id.0)
                    .fetch_all(&mut *tx)
                    .await?;
            for repository in theirs {
                give_up(&mut tx, repository, "the App was uninstalled").await?;
            }
        }
        Ok(tx.commit().await?)
    }

    /// Notes an installation, active if it was unknown; one that is known keeps its state.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn ensure_installation(&self, id: InstallationId, account: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO installation (id, account) VALUES ($1, $2)
             ON CONFLICT (id) DO UPDATE SET account = EXCLUDED.account",
        )
        .bind(id.0)
        .bind(storable(account))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The App was taken out of a repository: everything there ends, and it is disarmed. Whoever adds it again begins anew.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn remove_repository(&self, name: &RepoName) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let known: Option<i64> =
            sqlx::query_scalar("SELECT id FROM repository WHERE lower(owner) = lower($1) AND lower(name) = lower($2)")
                .bind(name.owner())
                .bind(name.name())
                .fetch_optional(&mut *tx)
                .await?;
        if let Some(repository) = known {
            give_up(&mut tx, repository, "the App was taken out of the repository").await?;
        }
        Ok(tx.commit().await?)
    }

    /// Follows a repository that got another name or owner, known by GitHub's number, so that its history goes with it.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn follow_repository(&self, github_id: i64, name: &RepoName) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE repository SET owner = $2, name = $3
             WHERE github_id = $1 AND (owner, name) IS DISTINCT FROM ($2, $3) AND NOT EXISTS
                 (SELECT 1 FROM repository o
                  WHERE lower(o.owner) = lower($2) AND lower(o.name) = lower($3) AND o.id <> repository.id)",
        )
        .bind(github_id)
        .bind(name.owner())
        .bind(name.name())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The repository, noted now if it was unknown. A repository that moved to another installation starts disarmed, and
    /// nothing that the old one began goes on.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn ensure_repository(
        &self,
        installation: InstallationId,
        name: &RepoName,
    ) -> Result<Repository, StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("INSERT INTO installation (id, account) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING")
            .bind(installation.0)
            .bind(name.owner())
            .execute(&mut *tx)
            .await?;
        let moved: Option<i64> = sqlx::query_scalar(
            "SELECT id FROM repository WHERE lower(owner) = lower($1) AND lower(name) = lower($2)
               AND installation_id <> $3 FOR UPDATE",
        )
        .bind(name.owner())
        .bind(name.name())
        .bind(installation.0)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(repository) = moved {
            give_up(&mut tx, repository, "the repository moved to another installation of the App").await?;
        }
        sqlx::query(
            "INSERT INTO repository (installation_id, owner, name) VALUES ($1, $2, $3)
             ON CONFLICT (lower(owner), lower(name)) DO UPDATE
             SET installation_id = EXCLUDED.installation_id, armed_at = NULL, armed_by = NULL
             WHERE repository.installation_id <> EXCLUDED.installation_id",
        )
        .bind(installation.0)
        .bind(name.owner())
        .bind(name.name())
        .execute(&mut *tx)
        .await?;
        let row: RepositoryRow = sqlx::query_as(
            "SELECT r.id, r.installation_id, r.owner, r.name, r.armed_at IS NOT NULL AS armed
             FROM repository r
             WHERE lower(r.owner) = lower($1) AND lower(r.name) = lower($2)",
        )
        .bind(name.owner())
        .bind(name.name())
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Repository {
            id: row.id,
            installation: InstallationId(row.installation_id),
            name: RepoName::new(&row.owner, &row.name).map_err(|e| StoreError::Corrupt(e.to_string()))?,
            armed: row.armed,
        })
    }

    /// The row id of a project that somebody has asked for before.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_project_id(&self, repository_id: i64, name: &ProjectName) -> Result<Option<i64>, StoreError> {
        Ok(sqlx::query_scalar("SELECT id FROM project WHERE repository_id = $1 AND name = $2")
            .bind(repository_id)
            .bind(name.as_str())
            .fetch_optional(&self.pool)
            .await?)
    }

    /// Notes what the policy says of a project and gives its row id.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn ensure_project(
        &self,
        repository_id: i64,
        name: &ProjectName,
        project: &Project,
    ) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar(
            "INSERT INTO project (repository_id, name, canary_url, production_url) VALUES ($1, $2, $3, $4)
             ON CONFLICT (repository_id, name) DO UPDATE
             SET canary_url = EXCLUDED.canary_url, production_url = EXCLUDED.production_url
             RETURNING id",
        )
        .bind(repository_id)
        .bind(name.as_str())
        .bind(project.canary.as_ref().map(|t| t.url.as_str()))
        .bind(project.production.as_ref().map(|t| t.url.as_str()))
        .fetch_one(&self.pool)
        .await?)
    }

    /// Whether deployment is on, read now, together with the halt: what is looked at before every effect.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn may_deploy(&self, repository_id: i64) -> Result<(bool, Option<HaltFact>), StoreError> {
        let row: HaltRow = sqlx::query_as(
            // Its own halt first, because that is the one that can be lifted there.
            "SELECT r.armed_at IS NOT NULL AS armed, COALESCE(h.halted_by, i.halted_by) AS halted_by,
                    COALESCE(h.halt_reason, i.halt_reason) AS halt_reason,
                    CASE WHEN h.id <> r.id THEN h.owner || '/' || h.name END AS halted_in
             FROM repository r JOIN installation i ON i.id = r.installation_id
                 LEFT JOIN repository h ON h.installation_id = r.installation_id AND h.halted_at IS NOT NULL
                     AND (h.id = r.id OR h.halts_account)
             WHERE r.id = $1 ORDER BY h.id = r.id DESC NULLS LAST, h.halted_at LIMIT 1",
        )
        .bind(repository_id)
        .fetch_one(&self.pool)
        .await?;
        let elsewhere = row.halted_in.as_deref().map(super::word).transpose()?;
        let reason = row.halt_reason;
        Ok((row.armed, row.halted_by.map(|by| HaltFact { by, reason, elsewhere })))
    }
}
