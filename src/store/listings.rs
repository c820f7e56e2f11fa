//! Lists for the pages and the API that no decision reads.

mod change;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::artifacts::LogChunk;
use super::{Store, StoreError};
use crate::domain::ids::{CommitSha, Environment, PrNumber, ProjectName, RepoName, RunId};
use crate::domain::run::RunKind;
use crate::domain::snapshot::{ActiveRun, LockFact};

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
    pub installation: crate::domain::ids::InstallationId,
    /// The pull request.
    pub number: PrNumber,
    /// The answer to the latest command.
    pub answer: String,
    /// The head as last seen.
    pub head: Option<CommitSha>,
    /// Whether it was open when last seen.
    pub open: bool,
    /// Whether deployment is on.
    pub armed: bool,
}

/// A version that is or was live, with what brought it.
#[derive(Debug, Clone)]
pub struct ReleaseListing {
    /// The project's row id.
    pub project_id: i64,
    /// Where.
    pub environment: Environment,
    /// The commit that the service answered with.
    pub commit: CommitSha,
    /// `unproven`, `good` or `bad`.
    pub status: String,
    /// Whether it is what is live now.
    pub current: bool,
    /// Since when.
    pub since: DateTime<Utc>,
    /// What brought it; `None` for a version that was found there.
    pub brought: Option<Bringer>,
}

/// The run that brought a version.
#[derive(Debug, Clone)]
pub struct Bringer {
    /// The run.
    pub run: RunId,
    /// What it did.
    pub kind: RunKind,
    /// Who asked.
    pub actor: String,
    /// For which pull request.
    pub number: PrNumber,
}

#[derive(sqlx::FromRow)]
struct ReleaseRow {
    project_id: i64,
    environment: String,
    commit: String,
    status: String,
    current: bool,
    since: DateTime<Utc>,
    run_id: Option<Uuid>,
    kind: Option<String>,
    actor: Option<String>,
    number: Option<i64>,
}

/// The columns of [`ReleaseRow`] and where they come from.
const SELECT_RELEASE: &str = "SELECT release.project_id, release.environment, release.commit, release.status,
        release.current, release.since, release.run_id, run.kind, run.actor, change.number
    FROM release LEFT JOIN run ON run.id = release.run_id LEFT JOIN change ON change.id = run.change_id ";

impl TryFrom<ReleaseRow> for ReleaseListing {
    type Error = StoreError;

    fn try_from(row: ReleaseRow) -> Result<Self, StoreError> {
        let brought = match (row.run_id, row.kind, row.actor, row.number) {
            (Some(run), Some(kind), Some(actor), Some(number)) => {
                Some(Bringer { run: RunId(run), kind: super::word(&kind)?, actor, number: PrNumber(number) })
            }
            _ => None,
        };
        Ok(Self {
            project_id: row.project_id,
            environment: environment(&row.environment)?,
            commit: super::word(&row.commit)?,
            status: row.status,
            current: row.current,
            since: row.since,
            brought,
        })
    }
}

fn environment(word: &str) -> Result<Environment, StoreError> {
    [Environment::Canary, Environment::Production]
        .into_iter()
        .find(|e| e.as_str() == word)
        .ok_or_else(|| StoreError::Corrupt(format!("environment {word:?}")))
}

/// What a run left.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ArtifactListing {
    /// `build-log`, `patch`, `build-output` or `release-manifest`.
    pub kind: String,
    /// Size of its text.
    pub bytes: i64,
}

/// One probe of a bake, as much as a picture of it needs.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct SampleListing {
    /// Whether the health path answered 2xx.
    pub healthy: bool,
    /// Milliseconds until the answer, when there was one.
    pub latency_ms: Option<i32>,
    /// When.
    pub at: DateTime<Utc>,
}

/// The end of a run's build log.
#[derive(Debug, Clone)]
pub struct LogTail {
    /// The last chunks, oldest first; may be empty.
    pub chunks: Vec<LogChunk>,
    /// Bytes of the log before them.
    pub omitted_bytes: i64,
}

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
        let row: Option<(String, String, i64, i64, i64, String, Option<String>, bool, bool)> = sqlx::query_as(
            "SELECT r.owner, r.name, r.id, r.installation_id, c.number, c.answer, c.head, c.open, r.armed_at IS NOT NULL
             FROM change c JOIN repository r ON r.id = c.repository_id WHERE c.id = $1",
        )
        .bind(change_id)
        .fetch_optional(&self.pool)
        .await?;
        row.map(|(owner, name, repository_id, installation, number, answer, head, open, armed)| {
            Ok(ChangePlace {
                repo: RepoName::new(&owner, &name).map_err(|e| StoreError::Corrupt(e.to_string()))?,
                repository_id,
                installation: crate::domain::ids::InstallationId(installation),
                number: PrNumber(number),
                answer,
                head: head.as_deref().map(super::word).transpose()?,
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

    /// What is live on the environments of these projects, in no order.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_current_releases(&self, projects: &[i64]) -> Result<Vec<ReleaseListing>, StoreError> {
        let rows: Vec<ReleaseRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "{SELECT_RELEASE} WHERE release.current AND release.project_id = ANY($1)"
        )))
        .bind(projects)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(ReleaseListing::try_from).collect()
    }

    /// What was live on both environments of a project, newest first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_release_history(&self, project_id: i64, limit: i64) -> Result<Vec<ReleaseListing>, StoreError> {
        let rows: Vec<ReleaseRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "{SELECT_RELEASE} WHERE release.project_id = $1 ORDER BY release.id DESC LIMIT $2"
        )))
        .bind(project_id)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(ReleaseListing::try_from).collect()
    }

    /// The locks of these projects with their project, canary first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_locks_of(&self, projects: &[i64]) -> Result<Vec<(i64, LockFact)>, StoreError> {
        let rows: Vec<(i64, String, i64, String, String, DateTime<Utc>)> = sqlx::query_as(
            "SELECT l.project_id, l.environment, c.number, l.taken_by, l.reason, l.taken_at
             FROM environment_lock l JOIN change c ON c.id = l.change_id
             WHERE l.project_id = ANY($1) ORDER BY l.project_id, l.environment",
        )
        .bind(projects)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(project_id, word, number, by, reason, since)| {
                let environment = environment(&word)?;
                Ok((project_id, LockFact { environment, owner: PrNumber(number), by, reason, since }))
            })
            .collect()
    }

    /// The runs that are changing these projects now, with their project.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_active_runs(&self, projects: &[i64]) -> Result<Vec<(i64, ActiveRun)>, StoreError> {
        let rows: Vec<(i64, Uuid, String, i64)> = sqlx::query_as(
            "SELECT run.project_id, run.id, run.kind, change.number FROM run JOIN change ON change.id = run.change_id
             WHERE run.project_id = ANY($1) AND run.status <> 'completed' AND run.kind <> 'propose'",
        )
        .bind(projects)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(project_id, id, kind, number)| {
                Ok((project_id, ActiveRun { id: RunId(id), kind: super::word(&kind)?, number: PrNumber(number) }))
            })
            .collect()
    }

    /// What a run left, by kind.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_artifacts(&self, run: RunId) -> Result<Vec<ArtifactListing>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT a.kind, COALESCE(sum(octet_length(c.content)), 0)::bigint AS bytes
             FROM artifact a LEFT JOIN artifact_chunk c ON c.artifact_id = a.id
             WHERE a.run_id = $1 GROUP BY a.kind ORDER BY a.kind",
        )
        .bind(run.0)
        .fetch_all(&self.pool)
        .await?)
    }

    /// The end of a run's build log: whole chunks, as many as fit into `max_bytes`, at least one.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn read_log_tail(&self, run: RunId, max_bytes: i64) -> Result<LogTail, StoreError> {
        let rows: Vec<(i64, String, i64)> = sqlx::query_as(
            "SELECT seq, content, before FROM (
                 SELECT c.seq, c.content,
                        sum(octet_length(c.content)) OVER (ORDER BY c.seq) - octet_length(c.content) AS before,
                        sum(octet_length(c.content)) OVER (ORDER BY c.seq DESC) AS from_here,
                        row_number() OVER (ORDER BY c.seq DESC) AS from_end
                 FROM artifact_chunk c JOIN artifact a ON a.id = c.artifact_id
                 WHERE a.run_id = $1 AND a.kind = 'build-log') AS chunk
             WHERE from_here <= $2 OR from_end = 1 ORDER BY seq",
        )
        .bind(run.0)
        .bind(max_bytes)
        .fetch_all(&self.pool)
        .await?;
        let omitted_bytes = rows.first().map_or(0, |row| row.2);
        Ok(LogTail {
            chunks: rows.into_iter().map(|(seq, content, _)| LogChunk { seq, content }).collect(),
            omitted_bytes,
        })
    }

    /// The check runs that GitHub has of a run: their names and GitHub's ids.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_check_runs(&self, run: RunId) -> Result<Vec<(String, i64)>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT split_part(feedback.key, ':', 3), feedback.external_id
             FROM feedback JOIN run ON run.change_id = feedback.change_id
             WHERE run.id = $1 AND feedback.external_id IS NOT NULL AND starts_with(feedback.key, 'check:' || $2 || ':')
             ORDER BY feedback.key",
        )
        .bind(run.0)
        .bind(run.to_string())
        .fetch_all(&self.pool)
        .await?)
    }

    /// The last samples of a run's bake, oldest first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_last_samples(&self, run: RunId, limit: i64) -> Result<Vec<SampleListing>, StoreError> {
        let mut samples: Vec<SampleListing> =
            sqlx::query_as("SELECT healthy, latency_ms, at FROM sample WHERE run_id = $1 ORDER BY id DESC LIMIT $2")
                .bind(run.0)
                .bind(limit)
                .fetch_all(&self.pool)
                .await?;
        samples.reverse();
        Ok(samples)
    }
}
