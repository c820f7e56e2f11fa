//! The line in front of a project: who waits, who is served, who leaves. In which order is decided in `domain/lock`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::jobs::{self, JobKind, NewJob, enqueue};
use super::{Lease, Store, StoreError, commands, events, runs, storable};
use crate::domain::gates::GateResult;
use crate::domain::ids::{CommitSha, PrNumber, ProjectName, RunId};
use crate::domain::plan::{Plan, Waiting};
use crate::domain::reason::Reason;
use crate::domain::run::RunKind;
use crate::domain::snapshot::WaitingFact;

/// What joining the line came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// The command waits now.
    New,
    /// The same command of this change waits already, and keeps its place.
    Already,
}

/// A command that waits, with everything that is needed to decide about it again.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct WaitingCommand {
    /// Its place in line.
    pub id: i64,
    /// For which pull request.
    pub change_id: i64,
    /// The pull request's repository.
    pub repository_id: i64,
    /// Its row id as a command.
    pub command_id: i64,
    /// The project it waits for.
    pub project_id: i64,
    /// Who asked.
    pub actor: String,
    /// GitHub's number of who asked.
    pub actor_id: Option<i64>,
    /// GitHub's number of the repository.
    pub github_id: Option<i64>,
    /// The command as text.
    pub text: String,
    /// The head that the person meant.
    pub head: String,
    /// The id that its run will have.
    pub run_id: Uuid,
}

/// Why a command left the line without being carried out.
#[derive(Debug, Clone, Copy)]
pub struct Leaving<'a> {
    /// Only for this project.
    pub project_id: Option<i64>,
    /// Only commands for other heads than this one; a rollback is for no head.
    pub unless_head: Option<&'a CommitSha>,
    /// One sentence for people, Markdown.
    pub why: &'a str,
}

impl NewJob {
    /// The job that serves whoever is next in line for a project.
    pub fn line(project_id: i64) -> Self {
        let payload = project_id.to_string();
        Self { kind: JobKind::Line, key: format!("line:{project_id}"), payload, run_at: None }
    }
}

/// Something changed for those who wait for a project: they are served or told.
pub(super) async fn tell(conn: &mut PgConnection, project_id: i64) -> Result<(), StoreError> {
    let waiting: Vec<i64> = sqlx::query_scalar("SELECT change_id FROM queue_entry WHERE project_id = $1 ORDER BY id")
        .bind(project_id)
        .fetch_all(&mut *conn)
        .await?;
    if !waiting.is_empty() {
        enqueue(conn, &NewJob::line(project_id)).await?;
    }
    for change_id in waiting {
        enqueue(conn, &NewJob::report(change_id)).await?;
    }
    Ok(())
}

/// Takes commands of a change out of the line inside the caller's transaction. Each leaves a run that never began, so
/// that its check comes to an end. Gives how many there were.
pub(super) async fn leave(conn: &mut PgConnection, change_id: i64, leaving: Leaving<'_>) -> Result<u64, StoreError> {
    let left: Vec<(i64, i64, String, String, Uuid)> = sqlx::query_as(
        "DELETE FROM queue_entry WHERE change_id = $1 AND ($2::bigint IS NULL OR project_id = $2)
           AND ($3::text IS NULL OR head <> $3 AND kind <> 'rollback')
         RETURNING project_id, command_id, kind, head, run_id",
    )
    .bind(change_id)
    .bind(leaving.project_id)
    .bind(leaving.unless_head.map(CommitSha::as_str))
    .fetch_all(&mut *conn)
    .await?;
    let reason = leaving.unless_head.map(|_| Reason::HeadMoved);
    for (project_id, command_id, kind, head, run_id) in &left {
        let word = if reason.is_some() { "refused" } else { "withdrawn" };
        commands::conclude_waiting(conn, *command_id, word, reason.map(Reason::code)).await?;
        let never = NeverBegun {
            id: RunId(*run_id),
            change_id,
            project_id: *project_id,
            command_id: *command_id,
            kind,
            head,
            conclusion: if reason.is_some() { "refused" } else { "cancelled" },
            summary: leaving.why,
            gates: &[],
        };
        never.insert(conn).await?;
        tell(conn, *project_id).await?;
    }
    if !left.is_empty() {
        enqueue(conn, &NewJob::report(change_id)).await?;
    }
    Ok(left.len() as u64)
}

/// The run of a command that waited and was never carried out.
struct NeverBegun<'a> {
    id: RunId,
    change_id: i64,
    project_id: i64,
    command_id: i64,
    kind: &'a str,
    head: &'a str,
    conclusion: &'static str,
    summary: &'a str,
    gates: &'a [GateResult],
}

impl NeverBegun<'_> {
    async fn insert(&self, conn: &mut PgConnection) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO run (id, change_id, project_id, command_id, kind, head, actor, status, conclusion, summary,
                              gates, waited, completed_at)
             SELECT $1, $2, $3, $4, $5, $6, actor, 'completed', $7, $8, $9, TRUE, now() FROM command WHERE id = $4",
        )
        .bind(self.id.0)
        .bind(self.change_id)
        .bind(self.project_id)
        .bind(self.command_id)
        .bind(self.kind)
        .bind(self.head)
        .bind(self.conclusion)
        .bind(storable(self.summary))
        .bind(super::storable_json(&self.gates)?)
        .execute(&mut *conn)
        .await?;
        let data = serde_json::json!({ "conclusion": self.conclusion, "summary": storable(self.summary) });
        events::append(conn, self.id, "left_line", &data).await
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    project_id: i64,
    id: i64,
    number: i64,
    kind: String,
    head: String,
    actor: String,
    run_id: Uuid,
    since: DateTime<Utc>,
}

impl Row {
    fn fact(self) -> Result<(i64, WaitingFact), StoreError> {
        let fact = WaitingFact {
            id: self.id,
            number: PrNumber(self.number),
            kind: super::word(&self.kind)?,
            head: super::word(&self.head)?,
            by: self.actor,
            run: RunId(self.run_id),
            since: self.since,
        };
        Ok((self.project_id, fact))
    }
}

impl Store {
    /// Puts a command into line and ends its intake job. Another command of this change for the same project gives its
    /// place up, unless it is the same: then it keeps the place, and this command is only answered.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`]; [`StoreError::Conflict`] with `queue_entry_once` when two came at the same time.
    #[expect(clippy::too_many_arguments, reason = "one transaction, each value of another kind")]
    pub async fn join_line(
        &self,
        lease: Lease,
        change_id: i64,
        command_id: i64,
        project_id: i64,
        run: RunId,
        waiting: &Waiting,
        answer: &str,
    ) -> Result<Joined, StoreError> {
        let mut tx = self.pool.begin().await?;
        let known: Option<(String, String)> =
            sqlx::query_as("SELECT kind, head FROM queue_entry WHERE project_id = $1 AND change_id = $2 FOR UPDATE")
                .bind(project_id)
                .bind(change_id)
                .fetch_optional(&mut *tx)
                .await?;
        let same = |(kind, head): &(String, String)| *kind == waiting.kind.as_str() && *head == waiting.head.as_str();
        if known.as_ref().is_some_and(same) {
            commands::end(&mut tx, lease, change_id, command_id, "answered", None, answer).await?;
            tx.commit().await?;
            return Ok(Joined::Already);
        }
        let project = Some(project_id);
        let why = "a later command took its place";
        leave(&mut tx, change_id, Leaving { project_id: project, unless_head: None, why }).await?;
        commands::end(&mut tx, lease, change_id, command_id, "queued", None, answer).await?;
        sqlx::query(
            "INSERT INTO queue_entry (project_id, change_id, command_id, kind, head, run_id)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(project_id)
        .bind(change_id)
        .bind(command_id)
        .bind(waiting.kind.as_str())
        .bind(waiting.head.as_str())
        .bind(run.0)
        .execute(&mut *tx)
        .await?;
        tell(&mut tx, project_id).await?;
        tx.commit().await?;
        Ok(Joined::New)
    }

    /// Who waits for these projects, with the project, oldest first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_waiting(&self, projects: &[i64]) -> Result<Vec<(i64, WaitingFact)>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT q.project_id, q.id, c.number, q.kind, q.head, command.actor, q.run_id, q.since
             FROM queue_entry q JOIN change c ON c.id = q.change_id JOIN command ON command.id = q.command_id
             WHERE q.project_id = ANY($1) ORDER BY q.project_id, q.id",
        )
        .bind(projects)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Row::fact).collect()
    }

    /// What of one change waits, for whatever project.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_waiting_of(&self, change_id: i64) -> Result<Vec<WaitingFact>, StoreError> {
        let projects: Vec<i64> = sqlx::query_scalar("SELECT project_id FROM queue_entry WHERE change_id = $1")
            .bind(change_id)
            .fetch_all(&self.pool)
            .await?;
        let number: i64 =
            sqlx::query_scalar("SELECT number FROM change WHERE id = $1").bind(change_id).fetch_one(&self.pool).await?;
        let waiting = self.list_waiting(&projects).await?;
        Ok(waiting.into_iter().map(|(_, fact)| fact).filter(|fact| fact.number.0 == number).collect())
    }

    /// One command that waits; `None` when it has left the line.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_waiting(&self, id: i64) -> Result<Option<WaitingCommand>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT q.id, q.change_id, change.repository_id, q.project_id, q.command_id, command.actor,
                    command.actor_id,
                    repository.github_id, command.text, q.head, q.run_id
             FROM queue_entry q JOIN change ON change.id = q.change_id
                 JOIN repository ON repository.id = change.repository_id JOIN command ON command.id = q.command_id
             WHERE q.id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?)
    }

    /// Starts the run of a command whose turn it is, all or nothing: it leaves the line, takes its locks and begins.
    /// Gives whether it still was in line.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`]; [`StoreError::Conflict`] as for every start of a run.
    pub async fn start_waiting(
        &self,
        lease: Lease,
        waiting: &WaitingCommand,
        plan: &Plan,
        answer: &str,
    ) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        jobs::hold(&mut tx, lease).await?;
        let Some(command_id) = take_out(&mut tx, waiting.id).await? else { return Ok(false) };
        commands::conclude_waiting(&mut tx, command_id, "started", None).await?;
        commands::put_answer(&mut tx, waiting.change_id, answer).await?;
        let (id, project) = (RunId(waiting.run_id), Some(waiting.project_id));
        runs::insert(&mut tx, waiting.change_id, Some(command_id), None, project, id, &waiting.actor, plan).await?;
        tell(&mut tx, waiting.project_id).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Refuses a command whose turn it is. Gives whether it still was in line.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job; then nothing was changed.
    #[expect(clippy::too_many_arguments, reason = "one transaction, each value of another kind")]
    pub async fn refuse_waiting(
        &self,
        lease: Lease,
        waiting: &WaitingCommand,
        kind: RunKind,
        gates: &[GateResult],
        reason: Option<Reason>,
        summary: &str,
        answer: &str,
    ) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        jobs::hold(&mut tx, lease).await?;
        let Some(command_id) = take_out(&mut tx, waiting.id).await? else { return Ok(false) };
        commands::conclude_waiting(&mut tx, command_id, "refused", reason.map(Reason::code)).await?;
        commands::put_answer(&mut tx, waiting.change_id, answer).await?;
        let never = NeverBegun {
            id: RunId(waiting.run_id),
            change_id: waiting.change_id,
            project_id: waiting.project_id,
            command_id,
            kind: kind.as_str(),
            head: &waiting.head,
            conclusion: "refused",
            summary,
            gates,
        };
        never.insert(&mut tx).await?;
        enqueue(&mut tx, &NewJob::report(waiting.change_id)).await?;
        tell(&mut tx, waiting.project_id).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Takes the commands for older heads out of the line, because the person did not mean this one. Gives whether there
    /// were any.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn drop_older_heads(
        &self,
        change_id: i64,
        head: &CommitSha,
        why: &str,
        answer: &str,
    ) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let leaving = Leaving { project_id: None, unless_head: Some(head), why };
        let left = leave(&mut tx, change_id, leaving).await?;
        if left > 0 {
            commands::put_answer(&mut tx, change_id, answer).await?;
        }
        tx.commit().await?;
        Ok(left > 0)
    }

    /// The projects for which somebody waits while no run changes them, with their names.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_quiet_lines(&self) -> Result<Vec<(i64, ProjectName)>, StoreError> {
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT p.id, p.name FROM project p WHERE EXISTS (SELECT 1 FROM queue_entry q WHERE q.project_id = p.id)
               AND NOT EXISTS (SELECT 1 FROM run WHERE run.project_id = p.id AND run.status <> 'completed'
                               AND run.kind <> 'propose')
               AND NOT EXISTS (SELECT 1 FROM job WHERE job.key = 'line:' || p.id AND job.status <> 'dead')
             ORDER BY p.id LIMIT 100",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(|(id, name)| Ok((id, super::word(&name)?))).collect()
    }
}

/// Takes one command out of the line; `None` when it has left already.
async fn take_out(conn: &mut PgConnection, id: i64) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar("DELETE FROM queue_entry WHERE id = $1 RETURNING command_id")
        .bind(id)
        .fetch_optional(conn)
        .await?)
}
