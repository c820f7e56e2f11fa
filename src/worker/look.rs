//! What GitHub shows of a pull request, against what its events told: a push or a closing that was not delivered is found by
//! whoever reads the pull request for whatever reason. It decides nothing; what was missed goes the way of its event.

use chrono::{DateTime, Utc};

use super::intake::{self, IntakePayload};
use super::{JobError, Services};
use crate::clock;
use crate::github::reads::PullRequest;
use crate::github::webhook::{RepoFact, Trigger, job_key};
use crate::store::changes::Change;
use crate::store::jobs::{JobKind, NewJob};
use crate::store::tenants::Repository;

/// Notes what GitHub showed since `asked`. `repo_id` is GitHub's number of the repository, when it is known.
///
/// # Errors
/// When the database says no.
pub async fn saw(
    services: &Services,
    repository: &Repository,
    repo_id: Option<i64>,
    change: &Change,
    pull: &PullRequest,
    asked: DateTime<Utc>,
) -> Result<(), JobError> {
    let store = &services.store;
    store.put_change_state(change.id, &pull.head, &pull.base_ref, pull.open).await?;
    if store.see_head(change.id, &pull.head, asked, clock::now()).await? {
        tracing::info!(repo = %repository.name, number = change.number.0, head = %pull.head, "found a head by looking");
        intake::leave_line(services, repository.id, change.number).await?;
    }
    if let Some(id) = repo_id.filter(|_| change.open && !pull.open) {
        tracing::info!(repo = %repository.name, number = change.number.0, "found a closing by looking");
        store.enqueue(&closing(repository, id, pull)?).await?;
    }
    Ok(())
}

/// The job that the event of this closing would have been; it asks GitHub again.
fn closing(repository: &Repository, id: i64, pull: &PullRequest) -> Result<NewJob, JobError> {
    let repo = RepoFact {
        id,
        name: repository.name.clone(),
        installation: Some(repository.installation),
        private: true,
        default_branch: None,
    };
    let trigger = Trigger::Closed {
        repo,
        number: pull.number,
        merged: pull.merged,
        merge_commit: pull.merge_commit.clone(),
        head: pull.head.clone(),
    };
    let delivery = format!("look:closed:{id}:{}", pull.number.0);
    let key = job_key(&trigger, &delivery);
    let payload = serde_json::to_string(&IntakePayload { delivery, trigger })
        .map_err(|error| JobError::Never(format!("the trigger cannot be written: {error}")))?;
    Ok(NewJob { kind: JobKind::Intake, key, payload, run_at: None })
}
