//! Everything that is shown of one change, read once for [`crate::domain::report`]: the status comment, the check runs
//! and the pages all start from these facts. Only reads; words and links are made elsewhere.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::ids::{Environment, RunId};
use crate::domain::report::{ChangeFacts, CommandFacts, Links, ProjectFacts, RunFacts, Seen, StepFacts};
use crate::domain::run::StepStatus;
use crate::domain::verdict;
use crate::store::runs::{Run, RunFilter};
use crate::store::{Store, StoreError};

/// Newest runs that are read; what is older is not shown.
const RUNS: i64 = 100;
/// Newest commands that are read; what is older is not shown.
const COMMANDS: i64 = 30;

type StepRow = (Uuid, String, String, String, Value, Option<DateTime<Utc>>, Option<DateTime<Utc>>);
type CommandRow = (String, String, Option<String>, Option<String>, DateTime<Utc>, Option<Uuid>);

impl Store {
    /// Everything that is shown of a change; `None` when there is no such change.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_change_facts(&self, change_id: i64, links: Links) -> Result<Option<ChangeFacts>, StoreError> {
        let Some(place) = self.find_change(change_id).await? else { return Ok(None) };
        let (armed, halt) = self.may_deploy(place.repository_id).await?;
        let filter = RunFilter { change_id: Some(change_id), ..RunFilter::default() };
        let runs = self.list_runs(&filter, RUNS).await?;
        Ok(Some(ChangeFacts {
            id: change_id,
            head: place.head,
            base_ref: place.base_ref,
            open: place.open,
            armed,
            halt,
            answer: place.answer,
            projects: self.list_project_facts(&place.repo).await?,
            runs: self.add_steps(runs).await?,
            commands: self.list_command_facts(change_id).await?,
            repo: place.repo,
            number: place.number,
            links,
        }))
    }

    /// One run as [`Self::find_change_facts`] would show it, however old it is.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_run_facts(&self, id: RunId) -> Result<Option<RunFacts>, StoreError> {
        let Some(run) = self.find_run(id).await? else { return Ok(None) };
        Ok(self.add_steps(vec![run]).await?.pop())
    }

    async fn list_project_facts(&self, repo: &crate::domain::ids::RepoName) -> Result<Vec<ProjectFacts>, StoreError> {
        let projects = self.list_projects(Some(repo)).await?;
        let ids: Vec<i64> = projects.iter().map(|project| project.id).collect();
        let current = self.list_current_releases(&ids).await?;
        let mut facts = Vec::with_capacity(projects.len());
        for project in projects {
            let live = current.iter().find(|r| r.project_id == project.id && r.environment == Environment::Production);
            facts.push(ProjectFacts {
                fact: self.project_fact(project.id, &project.name).await?,
                canary_url: project.canary_url,
                production_url: project.production_url,
                production_run: live.and_then(|release| release.brought.as_ref()).map(|brought| brought.run),
            });
        }
        Ok(facts)
    }

    /// The runs with their steps, what these remember, and the numbers of a bake that goes on.
    async fn add_steps(&self, runs: Vec<Run>) -> Result<Vec<RunFacts>, StoreError> {
        let ids: Vec<Uuid> = runs.iter().map(|run| run.id.0).collect();
        let rows: Vec<StepRow> = sqlx::query_as(
            "SELECT run_id, name, status, detail, progress, started_at, completed_at FROM step
             WHERE run_id = ANY($1) ORDER BY run_id, position",
        )
        .bind(&ids)
        .fetch_all(&self.pool)
        .await?;
        let mut facts: Vec<RunFacts> = runs.into_iter().map(bare).collect();
        for (run_id, name, status, detail, progress, started_at, completed_at) in rows {
            let Some(run) = facts.iter_mut().find(|run| run.id.0 == run_id) else { continue };
            let name = crate::store::word(&name)?;
            let status = StepStatus::ALL.into_iter().find(|s| s.as_str() == status);
            let status = status.ok_or_else(|| StoreError::Corrupt(format!("a step's status, run {run_id}")))?;
            run.seen.remember(name, &progress);
            run.steps.push(StepFacts { name, status, detail, started_at, completed_at });
        }
        let baking = |run: &&mut RunFacts| run.seen.bake.started_at.is_some() && run.seen.bake.judgement.is_none();
        for run in facts.iter_mut().filter(baking) {
            let samples = self.list_samples(run.id).await?;
            run.seen.figures = (!samples.is_empty()).then(|| verdict::figures(&samples));
        }
        Ok(facts)
    }

    async fn list_command_facts(&self, change_id: i64) -> Result<Vec<CommandFacts>, StoreError> {
        let rows: Vec<CommandRow> = sqlx::query_as(
            "SELECT command.actor, command.text, command.conclusion, command.reason, command.received_at, run.id
             FROM command LEFT JOIN run ON run.command_id = command.id
             WHERE command.change_id = $1 ORDER BY command.id DESC LIMIT $2",
        )
        .bind(change_id)
        .bind(COMMANDS)
        .fetch_all(&self.pool)
        .await?;
        let facts = |(actor, text, conclusion, reason, received_at, run): CommandRow| CommandFacts {
            actor,
            text,
            conclusion,
            reason,
            received_at,
            run: run.map(RunId),
        };
        Ok(rows.into_iter().map(facts).collect())
    }
}

/// A run without its steps.
fn bare(run: Run) -> RunFacts {
    RunFacts {
        id: run.id,
        kind: run.kind,
        project: run.project,
        head: run.head,
        actor: run.actor,
        base_ref: run.base_ref,
        policy_hash: run.policy_hash,
        status: run.status,
        summary: run.summary,
        gates: run.gates,
        cancel_by: run.cancel_by,
        waited: run.waited,
        cause: run.cause,
        created_at: run.created_at,
        completed_at: run.completed_at,
        steps: Vec::new(),
        seen: Seen::default(),
    }
}
