//! What is and was live on projects, who holds them and what changes them, for many projects at once.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::ids::{CommitSha, Environment, PrNumber, RunId};
use crate::domain::run::RunKind;
use crate::domain::snapshot::ActiveRun;
use crate::store::{Store, StoreError};

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
                Some(Bringer { run: RunId(run), kind: crate::store::word(&kind)?, actor, number: PrNumber(number) })
            }
            _ => None,
        };
        Ok(Self {
            project_id: row.project_id,
            environment: environment(&row.environment)?,
            commit: crate::store::word(&row.commit)?,
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

impl Store {
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
                Ok((
                    project_id,
                    ActiveRun { id: RunId(id), kind: crate::store::word(&kind)?, number: PrNumber(number) },
                ))
            })
            .collect()
    }
}
