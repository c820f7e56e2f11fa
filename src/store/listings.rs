//! Lists for the pages and the API that no decision reads.

mod change;
mod pipelines;
mod runs;

pub use pipelines::{Bringer, ReleaseListing};
pub use runs::{ArtifactListing, LogTail, SampleListing};

use super::{Store, StoreError};
use crate::domain::ids::{CommitSha, InstallationId, PrNumber, ProjectName, RepoName};

/// A project with its place.
#[derive(Debug, Clone)]
pub struct ProjectListing {
    /// Row id.
    pub id: i64,
    /// `owner/name`.
    pub repo: RepoName,
    /// Its name.
    pub name: ProjectName,
    /// The canary service's address.
    pub canary_url: Option<String>,
    /// The production service's address.
    pub production_url: Option<String>,
}

/// A change with its place.
#[derive(Debug, Clone)]
pub struct ChangePlace {
    /// `owner/name`.
    pub repo: RepoName,
    /// The repository's row id.
    pub repository_id: i64,
    /// The tenant.
    pub installation: InstallationId,
    /// The pull request.
    pub number: PrNumber,
    /// The answer to the latest command.
    pub answer: String,
    /// The head as last seen.
    pub head: Option<CommitSha>,
    /// The base branch as last seen; `None` while it is not known.
    pub base_ref: Option<String>,
    /// Whether it was open when last seen.
    pub open: bool,
    /// Whether deployment is on.
    pub armed: bool,
}

type ChangeRow = (String, String, i64, i64, i64, String, Option<String>, Option<String>, bool, bool);
type ProjectRow = (i64, String, String, String, Option<String>, Option<String>);

impl TryFrom<ProjectRow> for ProjectListing {
    type Error = StoreError;

    fn try_from((id, owner, repo, name, canary_url, production_url): ProjectRow) -> Result<Self, StoreError> {
        let repo = RepoName::new(&owner, &repo).map_err(|e| StoreError::Corrupt(e.to_string()))?;
        Ok(Self { id, repo, name: super::word(&name)?, canary_url, production_url })
    }
}

impl Store {
    /// Projects of one repository or of all, by name.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_projects(&self, repo: Option<&RepoName>) -> Result<Vec<ProjectListing>, StoreError> {
        let rows: Vec<ProjectRow> = sqlx::query_as(
            "SELECT p.id, r.owner, r.name, p.name, p.canary_url, p.production_url
             FROM project p JOIN repository r ON r.id = p.repository_id
             WHERE $1::text IS NULL OR (lower(r.owner) = lower($1) AND lower(r.name) = lower($2))
             ORDER BY r.owner, r.name, p.name LIMIT 500",
        )
        .bind(repo.map(RepoName::owner))
        .bind(repo.map(RepoName::name))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(ProjectListing::try_from).collect()
    }

    /// The row id of a repository that Titan has met.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_repository(&self, repo: &RepoName) -> Result<Option<(i64, RepoName, bool)>, StoreError> {
        let row: Option<(i64, String, String, bool)> = sqlx::query_as(
            "SELECT id, owner, name, armed_at IS NOT NULL FROM repository
             WHERE lower(owner) = lower($1) AND lower(name) = lower($2)",
        )
        .bind(repo.owner())
        .bind(repo.name())
        .fetch_optional(&self.pool)
        .await?;
        row.map(|(id, owner, name, armed)| {
            let name = RepoName::new(&owner, &name).map_err(|e| StoreError::Corrupt(e.to_string()))?;
            Ok((id, name, armed))
        })
        .transpose()
    }

    /// Where a change belongs and what it shows.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_change(&self, change_id: i64) -> Result<Option<ChangePlace>, StoreError> {
        let row: Option<ChangeRow> = sqlx::query_as(
            "SELECT r.owner, r.name, r.id, r.installation_id, c.number, c.answer, c.head, c.base_ref, c.open, r.armed_at IS NOT NULL
             FROM change c JOIN repository r ON r.id = c.repository_id WHERE c.id = $1",
        )
        .bind(change_id)
        .fetch_optional(&self.pool)
        .await?;
        row.map(|(owner, name, repository_id, installation, number, answer, head, base_ref, open, armed)| {
            Ok(ChangePlace {
                repo: RepoName::new(&owner, &name).map_err(|e| StoreError::Corrupt(e.to_string()))?,
                repository_id,
                installation: InstallationId(installation),
                number: PrNumber(number),
                answer,
                head: head.as_deref().map(super::word).transpose()?,
                base_ref,
                open,
                armed,
            })
        })
        .transpose()
    }

    /// How many of the built-in migrations the database has not seen succeed.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn count_missing_migrations(&self) -> Result<usize, StoreError> {
        let known: bool =
            sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&self.pool).await?;
        let applied: Vec<i64> = match known {
            true => {
                sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success").fetch_all(&self.pool).await?
            }
            false => Vec::new(),
        };
        Ok(super::MIGRATOR.iter().filter(|m| !applied.contains(&m.version)).count())
    }

    /// One project.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_project(&self, id: i64) -> Result<Option<ProjectListing>, StoreError> {
        let row: Option<ProjectRow> = sqlx::query_as(
            "SELECT p.id, r.owner, r.name, p.name, p.canary_url, p.production_url
             FROM project p JOIN repository r ON r.id = p.repository_id WHERE p.id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.map(ProjectListing::try_from).transpose()
    }
}
