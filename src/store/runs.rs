//! Runs: made with everything that belongs to them, moved only along the table of legal moves.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::jobs::{NewJob, enqueue};
use super::steps::Step;
use super::{Lease, Store, StoreError, events, locks, storable};
use crate::domain::consequence::Locks;
use crate::domain::gates::GateResult;
use crate::domain::ids::{CommitSha, InstallationId, PrNumber, ProjectName, RepoName, RunId};
use crate::domain::plan::Plan;
use crate::domain::run::{Conclusion, RunEvent, RunKind, RunStatus, StepStatus, next_status};

/// A run with the names of what it belongs to.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// The change's row id.
    pub change_id: i64,
    /// The repository's row id.
    pub repository_id: i64,
    /// The tenant.
    pub installation: InstallationId,
    /// `owner/name`.
    pub repo: RepoName,
    /// The pull request.
    pub number: PrNumber,
    /// The project's row id.
    pub project_id: Option<i64>,
    /// The project's name.
    pub project: Option<ProjectName>,
    /// What it does.
    pub kind: RunKind,
    /// The head commit it is pinned to.
    pub head: CommitSha,
    /// Who asked.
    pub actor: String,
    /// The base branch that it was decided for; `None` for what needs no gate and for runs of an earlier release.
    pub base_ref: Option<String>,
    /// Hash of the policy that allowed it.
    pub policy_hash: Option<String>,
    /// The base commit that the policy was read at.
    pub policy_commit: Option<CommitSha>,
    /// Where it is.
    pub status: RunStatus,
    /// What came of it, one sentence, Markdown; may be empty.
    pub summary: String,
    /// What the gates answered when it was decided.
    pub gates: Vec<GateResult>,
    /// Who asked to stop it.
    pub cancel_by: Option<String>,
    /// Whether its command waited in line and it never began.
    pub waited: bool,
    /// The run that this one cleans up after.
    pub cause: Option<RunId>,
    /// When it was accepted or refused.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
struct RunRow {
    id: Uuid,
    change_id: i64,
    repository_id: i64,
    installation_id: i64,
    owner: String,
    repo_name: String,
    number: i64,
    project_id: Option<i64>,
    project: Option<String>,
    kind: String,
    head: String,
    actor: String,
    base_ref: Option<String>,
    policy_hash: Option<String>,
    policy_commit: Option<String>,
    status: String,
    conclusion: Option<String>,
    summary: String,
    gates: Json<Vec<GateResult>>,
    cancel_by: Option<String>,
    waited: bool,
    cause_run_id: Option<Uuid>,
    created_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
}

/// The columns of [`RunRow`] and where they come from.
const SELECT_RUN: &str = "SELECT run.id, run.change_id, change.repository_id, repository.installation_id,
        repository.owner, repository.name AS repo_name, change.number, run.project_id, project.name AS project, run.kind,
        run.head, run.actor, run.base_ref, run.policy_hash, run.policy_commit, run.status, run.conclusion, run.summary, run.gates,
        run.cancel_by, run.waited, run.cause_run_id, run.created_at, run.completed_at
    FROM run JOIN change ON change.id = run.change_id JOIN repository ON repository.id = change.repository_id
        LEFT JOIN project ON project.id = run.project_id ";

impl TryFrom<RunRow> for Run {
    type Error = StoreError;

    fn try_from(row: RunRow) -> Result<Self, StoreError> {
        let corrupt = || StoreError::Corrupt(format!("run {}", row.id));
        Ok(Self {
            id: RunId(row.id),
            change_id: row.change_id,
            repository_id: row.repository_id,
            installation: InstallationId(row.installation_id),
            repo: RepoName::new(&row.owner, &row.repo_name).map_err(|_| corrupt())?,
            number: PrNumber(row.number),
            project_id: row.project_id,
            project: row.project.as_deref().map(super::word).transpose()?,
            kind: super::word(&row.kind)?,
            head: super::word(&row.head)?,
            actor: row.actor,
            base_ref: row.base_ref,
            policy_hash: row.policy_hash,
            policy_commit: row.policy_commit.as_deref().map(super::word).transpose()?,
            status: RunStatus::from_columns(&row.status, row.conclusion.as_deref()).ok_or_else(|| {
                StoreError::Corrupt(format!("run {} is {} with {:?}", row.id, row.status, row.conclusion))
            })?,
            summary: row.summary,
            gates: row.gates.0,
            cancel_by: row.cancel_by,
            waited: row.waited,
            cause: row.cause_run_id.map(RunId),
            created_at: row.created_at,
            completed_at: row.completed_at,
        })
    }
}

/// Which runs to list.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only of this repository.
    pub repository_id: Option<i64>,
    /// Only of this change.
    pub change_id: Option<i64>,
    /// Only older than this run.
    pub before: Option<RunId>,
    /// Only those that some head's work depends on: refused ones are left out.
    pub without_refused: bool,
}

/// Inserts a run with its steps, locks, first event, first job and report.
#[expect(clippy::too_many_arguments, reason = "one row, each value of another kind")]
pub(super) async fn insert(
    conn: &mut PgConnection,
    change_id: i64,
    command_id: Option<i64>,
    cause: Option<RunId>,
    project_id: Option<i64>,
    id: RunId,
    actor: &str,
    plan: &Plan,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO run (id, change_id, project_id, command_id, cause_run_id, kind, head, actor, policy_hash,
                          policy_commit, base_ref, status, gates)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'queued', $12)",
    )
    .bind(id.0)
    .bind(change_id)
    .bind(project_id)
    .bind(command_id)
    .bind(cause.map(|c| c.0))
    .bind(plan.kind().as_str())
    .bind(plan.head().as_str())
    .bind(actor)
    .bind(plan.policy_hash())
    .bind(plan.policy_commit().map(CommitSha::as_str))
    .bind(plan.base_ref().map(storable))
    .bind(super::storable_json(plan.gates())?)
    .execute(&mut *conn)
    .await?;
    // After the insert, which waits for everybody who starts a run of this project at the same time.
    if let (Some(seen), Some(project_id)) = (plan.runs_begun().filter(|_| plan.kind() != RunKind::Propose), project_id)
        && count_begun(conn, project_id).await? != seen + 1
    {
        return Err(StoreError::Conflict { constraint: "facts_are_older".to_owned() });
    }
    for (position, name) in plan.steps().iter().enumerate() {
        sqlx::query("INSERT INTO step (run_id, position, name) VALUES ($1, $2, $3)")
            .bind(id.0)
            .bind(position as i32)
            .bind(name.as_str())
            .execute(&mut *conn)
            .await?;
    }
    if let Some(project_id) = project_id {
        for environment in plan.locks() {
            locks::take_for_run(conn, project_id, *environment, change_id, actor, id).await?;
        }
    }
    let data = serde_json::json!({ "kind": plan.kind(), "head": plan.head(), "actor": actor });
    events::append(conn, id, "accepted", &data).await?;
    enqueue(conn, &NewJob::step(id)).await?;
    enqueue(conn, &NewJob::report(change_id)).await
}

/// How many runs have changed an environment of a project so far; refused ones have not.
pub(super) async fn count_begun(conn: &mut PgConnection, project_id: i64) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) FROM run WHERE project_id = $1 AND kind <> 'propose' AND NOT waited
           AND conclusion IS DISTINCT FROM 'refused'",
    )
    .bind(project_id)
    .fetch_one(conn)
    .await?)
}

/// Asks the runs of a change to stop before their next effect, and wakes those that wait for a time. Gives how many there
/// were.
pub(super) async fn ask_to_stop(
    conn: &mut PgConnection,
    change_id: i64,
    project_id: Option<i64>,
    by: &str,
) -> Result<u64, StoreError> {
    let stopped = sqlx::query(
        // What puts a canary back is not what anybody wants to stop.
        "UPDATE run SET cancel_by = $2 WHERE change_id = $1 AND status <> 'completed' AND cancel_by IS NULL
           AND kind <> 'restore' AND ($3::bigint IS NULL OR project_id = $3)",
    )
    .bind(change_id)
    .bind(storable(by))
    .bind(project_id)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "UPDATE job SET run_at = now() WHERE status = 'queued' AND key IN
         (SELECT 'run:' || id FROM run WHERE change_id = $1 AND status <> 'completed')",
    )
    .bind(change_id)
    .execute(conn)
    .await?;
    Ok(stopped.rows_affected())
}

/// Moves a run along the table of legal moves, inside the caller's transaction.
pub(super) async fn advance(
    conn: &mut PgConnection,
    id: RunId,
    event: RunEvent,
    summary: Option<&str>,
) -> Result<RunStatus, StoreError> {
    let (status, conclusion): (String, Option<String>) =
        sqlx::query_as("SELECT status, conclusion FROM run WHERE id = $1 FOR UPDATE")
            .bind(id.0)
            .fetch_one(&mut *conn)
            .await?;
    let status = RunStatus::from_columns(&status, conclusion.as_deref())
        .ok_or_else(|| StoreError::Corrupt(format!("run {id} is {status} with {conclusion:?}")))?;
    let next = next_status(status, event).map_err(|illegal| StoreError::Corrupt(format!("run {id}: {illegal}")))?;
    sqlx::query(
        "UPDATE run SET status = $2, conclusion = $3, summary = COALESCE($4, summary),
                        completed_at = CASE WHEN $2 = 'completed' THEN now() END
         WHERE id = $1",
    )
    .bind(id.0)
    .bind(next.as_str())
    .bind(next.conclusion().map(Conclusion::as_str))
    .bind(summary.map(storable))
    .execute(&mut *conn)
    .await?;
    let name = match event {
        RunEvent::Started => "started",
        RunEvent::UndoStarted => "undo_started",
        RunEvent::Concluded(_) => "concluded",
    };
    let data = serde_json::json!({ "status": next.as_str(), "conclusion": next.conclusion(), "summary": summary });
    events::append(conn, id, name, &data).await?;
    Ok(next)
}

/// How a run ends and what that changes.
#[derive(Debug)]
pub struct Ending<'a> {
    /// Its last step with how that ended and what was seen; `None` when a step was given up.
    pub step: Option<(&'a Step, StepStatus, &'a str)>,
    /// Its conclusion.
    pub conclusion: Conclusion,
    /// One sentence, Markdown.
    pub summary: &'a str,
    /// What becomes of the change's locks on the project.
    pub locks: Locks,
    /// How long a lock that is kept lasts without being used; `None`: it does not end by itself.
    pub lasts: Option<Duration>,
    /// The run that cleans up after it, with its new id.
    pub follow_up: Option<(RunId, &'a Plan)>,
}

impl Store {
    /// Ends a run with its last step: the pending ones are skipped, its locks given back or kept as decided, its job ended, the report and
    /// the follow-up run queued; all or nothing.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job; then nothing was changed.
    pub async fn conclude_run(&self, lease: Lease, run: &Run, ending: &Ending<'_>) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        super::jobs::finish(&mut tx, lease).await?;
        if let Some((step, status, detail)) = ending.step {
            super::steps::end(&mut tx, run.id, step, status, detail).await?;
        }
        sqlx::query("UPDATE step SET status = 'skipped' WHERE run_id = $1 AND status IN ('pending', 'running')")
            .bind(run.id.0)
            .execute(&mut *tx)
            .await?;
        advance(&mut tx, run.id, RunEvent::Concluded(ending.conclusion), Some(ending.summary)).await?;
        let project_id = run.project_id.filter(|_| run.kind != RunKind::Propose);
        match (ending.follow_up, project_id) {
            // The run that cleans up goes on with the locks.
            (Some((id, plan)), _) => {
                insert(&mut tx, run.change_id, None, Some(run.id), run.project_id, id, "titan", plan).await?;
            }
            (None, Some(project)) => {
                locks::after_run(&mut tx, project, run.change_id, ending.locks, ending.lasts).await?;
            }
            (None, None) => {}
        }
        enqueue(&mut tx, &NewJob::report(run.change_id)).await?;
        Ok(tx.commit().await?)
    }

    /// One run.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        let row: Option<RunRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!("{SELECT_RUN} WHERE run.id = $1")))
            .bind(id.0)
            .fetch_optional(&self.pool)
            .await?;
        row.map(Run::try_from).transpose()
    }

    /// Runs, newest first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_runs(&self, filter: &RunFilter, limit: i64) -> Result<Vec<Run>, StoreError> {
        let rows: Vec<RunRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "{SELECT_RUN} WHERE ($1::bigint IS NULL OR change.repository_id = $1)
               AND ($2::bigint IS NULL OR run.change_id = $2) AND ($3::uuid IS NULL OR run.id < $3)
               AND NOT ($4 AND run.conclusion IS NOT DISTINCT FROM 'refused')
             ORDER BY run.id DESC LIMIT $5"
        )))
        .bind(filter.repository_id)
        .bind(filter.change_id)
        .bind(filter.before.map(|b| b.0))
        .bind(filter.without_refused)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Run::try_from).collect()
    }

    /// The run that changes a project now, if one does.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_active_run(&self, project_id: i64) -> Result<Option<Run>, StoreError> {
        let row: Option<RunRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "{SELECT_RUN} WHERE run.project_id = $1 AND run.status <> 'completed' AND run.kind <> 'propose' LIMIT 1"
        )))
        .bind(project_id)
        .fetch_optional(&self.pool)
        .await?;
        row.map(Run::try_from).transpose()
    }

    /// The run that was started to clean up after this one, if there is one.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_follow_up(&self, cause: RunId) -> Result<Option<Run>, StoreError> {
        let row: Option<RunRow> =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("{SELECT_RUN} WHERE run.cause_run_id = $1")))
                .bind(cause.0)
                .fetch_optional(&self.pool)
                .await?;
        row.map(Run::try_from).transpose()
    }

    /// Runs by kind, status and conclusion, for the metrics.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn count_runs(&self) -> Result<Vec<(String, String, i64)>, StoreError> {
        Ok(sqlx::query_as("SELECT kind, COALESCE(conclusion, status), count(*) FROM run GROUP BY 1, 2")
            .fetch_all(&self.pool)
            .await?)
    }
}
