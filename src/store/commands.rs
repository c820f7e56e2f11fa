//! Commands: received once each, concluded once each, together with what the conclusion changes.

use sqlx::PgConnection;

use super::jobs::{self, NewJob, enqueue};
use super::{Lease, Store, StoreError, line, locks, storable};
use crate::domain::ids::{CommitSha, RunId};
use crate::domain::lock::Hold;
use crate::domain::plan::{Plan, Refusal};
use crate::domain::reason::Reason;

/// A command as it came in.
#[derive(Debug, Clone)]
pub struct NewCommand<'a> {
    /// What it came from; the same key is the same command.
    pub key: &'a str,
    /// `comment`, `label`, `button`, `api` or `automatic`.
    pub source: &'static str,
    /// Who asked.
    pub actor: &'a str,
    /// GitHub's number of who asked, when it is known.
    pub actor_id: Option<i64>,
    /// The command as text, e.g. `/titan canary`.
    pub text: &'a str,
    /// The comment it stands in, if it stands in one.
    pub comment_id: Option<i64>,
}

/// A stored command.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct CommandRow {
    /// Row id.
    pub id: i64,
    /// Who asked.
    pub actor: String,
    /// The command as text.
    pub text: String,
    /// The comment it stands in.
    pub comment_id: Option<i64>,
    /// How it ended: `started`, `refused`, `done`, `answered` or `misunderstood`.
    pub conclusion: Option<String>,
    /// The reason code of a refusal.
    pub reason: Option<String>,
}

/// The run that a refused run command leaves.
#[derive(Debug, Clone, Copy)]
pub struct RefusedRun<'a> {
    /// Its id.
    pub id: RunId,
    /// The head when it was decided.
    pub head: &'a CommitSha,
    /// The project's row id, when the project is known.
    pub project_id: Option<i64>,
    /// Hash of the policy that it was decided under and the base commit it was read at; `None` without a valid policy.
    pub policy: Option<(&'a str, &'a CommitSha)>,
}

/// A change of Titan's own state, as the store carries it out.
#[derive(Debug, Clone)]
pub enum StateChange {
    /// Nothing changes.
    None,
    /// Deployment on or off for a repository.
    Arm {
        /// Which repository.
        repository_id: i64,
        /// On or off.
        on: bool,
    },
    /// Halt a repository, and its installation when something was deployed for the repository; or lift what was called
    /// there.
    Halt {
        /// Which repository.
        repository_id: i64,
        /// The reason of a new halt; `None` lifts it.
        reason: Option<String>,
    },
    /// Take both environments of a project for the change.
    Lock {
        /// Which project.
        project_id: i64,
        /// For how long and why.
        hold: Hold,
    },
    /// Give the change's locks of a project back.
    Unlock {
        /// Which project.
        project_id: i64,
        /// Those of all other changes too.
        force: bool,
    },
    /// Ask the change's runs to stop, and leave every line.
    Cancel,
    /// Vouch for one commit of a fork.
    Trust {
        /// The whole commit.
        head: CommitSha,
    },
}

impl Store {
    /// Notes a command, and queues what tells its author that it arrived. Gives its id and whether it was concluded before.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn receive_command(&self, change_id: i64, command: &NewCommand<'_>) -> Result<(i64, bool), StoreError> {
        let mut tx = self.pool.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO command (change_id, key, source, actor, text, comment_id, actor_id)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT ON CONSTRAINT command_key_unique DO NOTHING",
        )
        .bind(change_id)
        .bind(storable(command.key))
        .bind(command.source)
        .bind(storable(command.actor))
        .bind(storable(command.text))
        .bind(command.comment_id)
        .bind(command.actor_id)
        .execute(&mut *tx)
        .await?;
        let noted = sqlx::query_as("SELECT id, conclusion IS NOT NULL FROM command WHERE key = $1")
            .bind(storable(command.key))
            .fetch_one(&mut *tx)
            .await?;
        if inserted.rows_affected() > 0 && command.comment_id.is_some() {
            enqueue(&mut tx, &NewJob::report(change_id)).await?;
        }
        tx.commit().await?;
        Ok(noted)
    }

    /// The command of this key with its change, as long as it is not concluded.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_open_command(&self, key: &str) -> Result<Option<(i64, CommandRow)>, StoreError> {
        let change: Option<i64> =
            sqlx::query_scalar("SELECT change_id FROM command WHERE key = $1 AND conclusion IS NULL")
                .bind(storable(key))
                .fetch_optional(&self.pool)
                .await?;
        let Some(change) = change else { return Ok(None) };
        let command =
            sqlx::query_as("SELECT id, actor, text, comment_id, conclusion, reason FROM command WHERE key = $1")
                .bind(storable(key))
                .fetch_one(&self.pool)
                .await?;
        Ok(Some((change, command)))
    }

    /// Concludes a command that starts no run: carries its state change out, stores the answer, ends the intake job
    /// and queues the report. `conclusion` is `done`, `answered`, `misunderstood`, or `refused` when no gate was asked. Gives how many runs were asked to
    /// stop.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job; then nothing was changed.
    pub async fn conclude_command(
        &self,
        lease: Lease,
        change_id: i64,
        command_id: i64,
        conclusion: &'static str,
        answer: &str,
        change: &StateChange,
    ) -> Result<u64, StoreError> {
        let mut tx = self.pool.begin().await?;
        let actor = end(&mut tx, lease, change_id, command_id, conclusion, None, answer).await?;
        let stopped = apply(&mut tx, change_id, &actor, change).await?;
        tx.commit().await?;
        Ok(stopped)
    }

    /// Concludes a command as refused. A refused run command leaves a run that shows its gates.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job; then nothing was changed.
    #[expect(clippy::too_many_arguments, reason = "one transaction, each value of another kind")]
    pub async fn refuse_command(
        &self,
        lease: Lease,
        change_id: i64,
        command_id: i64,
        run: Option<RefusedRun<'_>>,
        refusal: &Refusal,
        reason: Option<Reason>,
        answer: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let actor = end(&mut tx, lease, change_id, command_id, "refused", reason.map(Reason::code), answer).await?;
        if let (Some(run), Some(kind)) = (run, crate::domain::run::RunKind::of(refusal.command)) {
            sqlx::query(
                "INSERT INTO run (id, change_id, project_id, command_id, kind, head, actor, status, conclusion, summary,
                                  gates, policy_hash, policy_commit, completed_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, 'completed', 'refused', $8, $9, $10, $11, now())",
            )
            .bind(run.id.0)
            .bind(change_id)
            .bind(run.project_id)
            .bind(command_id)
            .bind(kind.as_str())
            .bind(run.head.as_str())
            .bind(&actor)
            .bind(reason.map_or("", Reason::code))
            .bind(super::storable_json(&refusal.gates)?)
            .bind(run.policy.map(|(hash, _)| hash))
            .bind(run.policy.map(|(_, commit)| commit.as_str()))
            .execute(&mut *tx)
            .await?;
            super::events::append(&mut tx, run.id, "refused", &serde_json::json!({ "reason": reason })).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Starts the run of a plan: the run, its steps, its locks, its first event and job, the command's conclusion and
    /// the end of the intake job, all or nothing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] with `run_one_active_deployment`, `run_one_active_proposal` or `environment_lock_key`
    /// when somebody else was first; [`StoreError::LeaseLost`].
    pub async fn start_run(
        &self,
        lease: Lease,
        change_id: i64,
        command_id: i64,
        project_id: Option<i64>,
        id: RunId,
        plan: &Plan,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let actor = end(&mut tx, lease, change_id, command_id, "started", None, "").await?;
        super::runs::insert(&mut tx, change_id, Some(command_id), None, project_id, id, &actor, plan).await?;
        Ok(tx.commit().await?)
    }

    /// The commands in comments of a change for which GitHub does not show both that they were seen and what came of
    /// them, newest first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_unanswered(&self, change_id: i64, limit: i64) -> Result<Vec<CommandRow>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT id, actor, text, comment_id, conclusion, reason FROM command
             WHERE change_id = $1 AND comment_id IS NOT NULL
               AND (SELECT count(*) FROM feedback WHERE feedback.change_id = $1 AND sent_hash IS NOT NULL
                    AND feedback.key IN ('reaction:' || comment_id || ':eyes', 'reaction:' || comment_id || ':rocket',
                                         'reaction:' || comment_id || ':confused')) < 2
             ORDER BY id DESC LIMIT $2",
        )
        .bind(change_id)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?)
    }

    /// How commands ended, for the metrics.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn count_commands(&self) -> Result<Vec<(String, i64)>, StoreError> {
        Ok(sqlx::query_as("SELECT COALESCE(conclusion, 'pending'), count(*) FROM command GROUP BY 1")
            .fetch_all(&self.pool)
            .await?)
    }
}

/// Says what became of a command that waited in line.
pub(super) async fn conclude_waiting(
    conn: &mut PgConnection,
    command_id: i64,
    conclusion: &str,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE command SET conclusion = $2, reason = $3, concluded_at = now() WHERE id = $1")
        .bind(command_id)
        .bind(conclusion)
        .bind(reason)
        .execute(conn)
        .await?;
    Ok(())
}

/// Stores what the status comment answers.
pub(super) async fn put_answer(conn: &mut PgConnection, change_id: i64, answer: &str) -> Result<(), StoreError> {
    sqlx::query("UPDATE change SET answer = $2 WHERE id = $1")
        .bind(change_id)
        .bind(storable(answer))
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends a command and its intake job, and queues the report. Gives the command's actor.
pub(super) async fn end(
    conn: &mut PgConnection,
    lease: Lease,
    change_id: i64,
    command_id: i64,
    conclusion: &str,
    reason: Option<&str>,
    answer: &str,
) -> Result<String, StoreError> {
    jobs::finish(conn, lease).await?;
    let actor: String = sqlx::query_scalar(
        "UPDATE command SET conclusion = $2, reason = $3, concluded_at = now() WHERE id = $1 RETURNING actor",
    )
    .bind(command_id)
    .bind(conclusion)
    .bind(reason)
    .fetch_one(&mut *conn)
    .await?;
    put_answer(conn, change_id, answer).await?;
    enqueue(conn, &NewJob::report(change_id)).await?;
    Ok(actor)
}

async fn apply(conn: &mut PgConnection, change_id: i64, actor: &str, change: &StateChange) -> Result<u64, StoreError> {
    match change {
        StateChange::None => {}
        StateChange::Arm { repository_id, on } => {
            sqlx::query(
                "UPDATE repository SET armed_at = CASE WHEN $2 THEN now() END, armed_by = CASE WHEN $2 THEN $3 END
                 WHERE id = $1",
            )
            .bind(repository_id)
            .bind(on)
            .bind(actor)
            .execute(conn)
            .await?;
        }
        StateChange::Halt { repository_id, reason: Some(reason) } => {
            // A repository for which nothing was ever deployed has only itself to stop: whoever may make a repository must
            // not stop those of others with it.
            sqlx::query(
                "UPDATE repository SET halted_at = now(), halted_by = $3, halt_reason = $2, halts_account = EXISTS
                     (SELECT 1 FROM release JOIN project p ON p.id = release.project_id
                      WHERE p.repository_id = $1 AND release.run_id IS NOT NULL)
                 WHERE id = $1",
            )
            .bind(repository_id)
            .bind(storable(reason))
            .bind(actor)
            .execute(conn)
            .await?;
        }
        StateChange::Halt { repository_id, reason: None } => {
            sqlx::query(
                "UPDATE repository SET halted_at = NULL, halted_by = NULL, halt_reason = '', halts_account = FALSE WHERE id = $1",
            )
            .bind(repository_id)
            .execute(&mut *conn)
            .await?;
            // A halt of an earlier release does not know where it was called.
            sqlx::query(
                "UPDATE installation i SET halted_at = NULL, halted_by = NULL, halt_reason = ''
                 FROM repository r WHERE r.id = $1 AND i.id = r.installation_id AND i.halted_at IS NOT NULL",
            )
            .bind(repository_id)
            .execute(conn)
            .await?;
        }
        StateChange::Lock { project_id, hold } => {
            locks::take_by_hand(conn, *project_id, change_id, actor, &hold.reason, hold.lasts).await?;
        }
        StateChange::Unlock { project_id, force } => {
            locks::unlock(conn, *project_id, change_id, actor, *force).await?;
        }
        StateChange::Trust { head } => {
            sqlx::query(
                "INSERT INTO trusted_head (change_id, head, trusted_by) VALUES ($1, $2, $3)
                 ON CONFLICT (change_id, head) WHERE voided_at IS NULL DO NOTHING",
            )
            .bind(change_id)
            .bind(head.as_str())
            .bind(actor)
            .execute(conn)
            .await?;
        }
        StateChange::Cancel => {
            let stopped = super::runs::ask_to_stop(conn, change_id, None, actor).await?;
            let why = format!("{} gave the place up", crate::domain::markdown::inline_code(actor));
            let leaving = line::Leaving { project_id: None, unless_head: None, why: &why };
            return Ok(stopped + line::leave(conn, change_id, leaving).await?);
        }
    }
    Ok(0)
}
