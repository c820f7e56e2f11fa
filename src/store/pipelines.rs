//! Where projects stand: what has been live on them, and who holds them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Lease, Store, StoreError, jobs, runs};
use crate::domain::ids::{CommitSha, DeployId, Environment, PrNumber, RunId};
use crate::domain::run::RunKind;
use crate::domain::snapshot::{ActiveRun, LiveFact, ProjectFact};

/// What was or is live on an environment.
#[derive(Debug, Clone)]
pub struct Release {
    /// Row id; rises with time.
    pub id: i64,
    /// The commit that the service answered with.
    pub commit: CommitSha,
    /// Render's deploy, when it is known.
    pub deploy: Option<DeployId>,
    /// The run that brought it; `None` for a version that was found there.
    pub run: Option<RunId>,
    /// `unproven`, `good`, `bad`, or `withdrawn` when its change has gone.
    pub status: String,
    /// Whether it is what is live now.
    pub current: bool,
    /// Since when.
    pub since: DateTime<Utc>,
}

type ReleaseRow = (i64, String, Option<String>, Option<Uuid>, String, bool, DateTime<Utc>);

fn release(row: ReleaseRow) -> Result<Release, StoreError> {
    let (id, commit, deploy, run, status, current, since) = row;
    Ok(Release {
        id,
        commit: super::word(&commit)?,
        deploy: deploy.as_deref().map(super::word).transpose()?,
        run: run.map(RunId),
        status,
        current,
        since,
    })
}

impl Store {
    /// Notes what is live on an environment now, under the lease of the step that saw it.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job.
    #[expect(clippy::too_many_arguments, reason = "one row, each value of another kind")]
    pub async fn put_release(
        &self,
        lease: Lease,
        project_id: i64,
        environment: Environment,
        commit: &CommitSha,
        deploy: Option<&DeployId>,
        run: Option<RunId>,
        status: &'static str,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        jobs::hold(&mut tx, lease).await?;
        let same: Option<i64> = sqlx::query_scalar(
            "UPDATE release SET status = CASE WHEN status = 'unproven' THEN $5 ELSE status END,
                                deploy_id = COALESCE($4, deploy_id)
             WHERE project_id = $1 AND environment = $2 AND current AND commit = $3
               AND (run_id IS NOT DISTINCT FROM $6 OR $6 IS NULL)
             RETURNING id",
        )
        .bind(project_id)
        .bind(environment.as_str())
        .bind(commit.as_str())
        .bind(deploy.map(DeployId::as_str))
        .bind(status)
        .bind(run.map(|r| r.0))
        .fetch_optional(&mut *tx)
        .await?;
        if same.is_none() {
            sqlx::query("UPDATE release SET current = FALSE WHERE project_id = $1 AND environment = $2 AND current")
                .bind(project_id)
                .bind(environment.as_str())
                .execute(&mut *tx)
                .await?;
            sqlx::query(
                "INSERT INTO release (project_id, environment, commit, deploy_id, run_id, status, current)
                 VALUES ($1, $2, $3, $4, $5, $6, TRUE)",
            )
            .bind(project_id)
            .bind(environment.as_str())
            .bind(commit.as_str())
            .bind(deploy.map(DeployId::as_str))
            .bind(run.map(|r| r.0))
            .bind(status)
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }

    /// Judges what a run brought to an environment: `good` or `bad`.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another worker has the job.
    pub async fn judge_release(
        &self,
        lease: Lease,
        project_id: i64,
        environment: Environment,
        commit: &CommitSha,
        status: &'static str,
    ) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        jobs::hold(&mut tx, lease).await?;
        sqlx::query(
            "UPDATE release SET status = $4 WHERE id =
             (SELECT max(id) FROM release WHERE project_id = $1 AND environment = $2 AND commit = $3)",
        )
        .bind(project_id)
        .bind(environment.as_str())
        .bind(commit.as_str())
        .bind(status)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// What was live on an environment, newest first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_releases(
        &self,
        project_id: i64,
        environment: Environment,
        limit: i64,
    ) -> Result<Vec<Release>, StoreError> {
        let rows: Vec<ReleaseRow> = sqlx::query_as(
            "SELECT id, commit, deploy_id, run_id, status, current, since FROM release
             WHERE project_id = $1 AND environment = $2 ORDER BY id DESC LIMIT $3",
        )
        .bind(project_id)
        .bind(environment.as_str())
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(release).collect()
    }

    /// The newest good release of another commit than `not` that has not turned bad since; what a rollback restores.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_good_release(
        &self,
        project_id: i64,
        environment: Environment,
        not: &CommitSha,
    ) -> Result<Option<Release>, StoreError> {
        let row: Option<ReleaseRow> = sqlx::query_as(
            "SELECT id, commit, deploy_id, run_id, status, current, since FROM release
             WHERE project_id = $1 AND environment = $2 AND status = 'good' AND commit <> $3
               AND NOT EXISTS (SELECT 1 FROM release later WHERE later.project_id = $1 AND later.environment = $2
                               AND later.commit = release.commit AND later.id > release.id AND later.status IN ('bad', 'withdrawn'))
             ORDER BY id DESC LIMIT 1",
        )
        .bind(project_id)
        .bind(environment.as_str())
        .bind(not.as_str())
        .fetch_optional(&self.pool)
        .await?;
        row.map(release).transpose()
    }

    /// The newest good release that this change did not bring, nor another one that was never shipped; what is put back on
    /// the canary when the change goes.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_release_without(
        &self,
        project_id: i64,
        environment: Environment,
        change_id: i64,
    ) -> Result<Option<Release>, StoreError> {
        let row: Option<ReleaseRow> = sqlx::query_as(
            "SELECT r.id, r.commit, r.deploy_id, r.run_id, r.status, r.current, r.since
             FROM release r LEFT JOIN run ON run.id = r.run_id
             WHERE r.project_id = $1 AND r.environment = $2 AND r.status IN ('good', 'unproven')
               AND (run.id IS NULL OR run.kind = 'restore' OR run.change_id <> $3 AND EXISTS
                    (SELECT 1 FROM run shipped WHERE shipped.change_id = run.change_id
                     AND shipped.project_id = r.project_id AND shipped.kind = 'promote'
                     AND shipped.conclusion = 'success'))
               AND NOT EXISTS (SELECT 1 FROM run own WHERE own.change_id = $3 AND own.project_id = $1
                               AND own.kind = 'canary' AND own.head = r.commit)
               AND NOT EXISTS (SELECT 1 FROM release later WHERE later.project_id = $1 AND later.environment = $2
                               AND later.commit = r.commit AND later.id > r.id
                               AND later.status IN ('bad', 'withdrawn'))
             ORDER BY r.status = 'good' DESC, r.id DESC LIMIT 1",
        )
        .bind(project_id)
        .bind(environment.as_str())
        .bind(change_id)
        .fetch_optional(&self.pool)
        .await?;
        row.map(release).transpose()
    }

    /// What a decision needs to know of a project.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn project_fact(
        &self,
        project_id: i64,
        name: &crate::domain::ids::ProjectName,
    ) -> Result<ProjectFact, StoreError> {
        let active = self.find_active_run(project_id).await?;
        let releases = self.list_releases(project_id, Environment::Production, 20).await?;
        let (mut production, mut rollback_target) = (None, None);
        if let Some(live) = releases.iter().find(|release| release.current) {
            let number = self.shipped_by(&releases, &live.commit).await?;
            let target = self.find_good_release(project_id, Environment::Production, &live.commit).await?;
            rollback_target = target.map(|t| t.commit);
            production = Some(LiveFact { commit: live.commit.clone(), number });
        }
        Ok(ProjectFact {
            name: name.clone(),
            locks: self.list_locks(project_id).await?,
            queue: self.list_waiting(&[project_id]).await?.into_iter().map(|(_, waiting)| waiting).collect(),
            runs_begun: self.count_runs_begun(project_id).await?,
            active: active.map(|run| ActiveRun { id: run.id, kind: run.kind, number: run.number }),
            production,
            rollback_target,
        })
    }

    async fn count_runs_begun(&self, project_id: i64) -> Result<i64, StoreError> {
        let mut conn = self.pool.acquire().await?;
        runs::count_begun(&mut conn, project_id).await
    }

    /// The change that shipped a version. A rollback ships nothing: it only brings back what another change shipped.
    async fn shipped_by(&self, releases: &[Release], commit: &CommitSha) -> Result<Option<PrNumber>, StoreError> {
        for run in releases.iter().filter(|release| release.commit == *commit).filter_map(|release| release.run) {
            if let Some(run) = self.find_run(run).await?.filter(|run| run.kind == RunKind::Promote) {
                return Ok(Some(run.number));
            }
        }
        Ok(None)
    }
}
