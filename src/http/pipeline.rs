//! Where projects stand, put together for showing: one gathering for the API and the pages.

use crate::domain::ids::Environment;
use crate::domain::lock;
use crate::domain::snapshot::{ActiveRun, LockFact, WaitingFact};
use crate::store::listings::{ProjectListing, ReleaseListing};
use crate::store::{Store, StoreError};

/// A project and where it stands.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Which project.
    pub project: ProjectListing,
    /// Canary, then production; both are always there.
    pub places: Vec<Place>,
    /// The run that is changing it now.
    pub active: Option<ActiveRun>,
    /// Who waits for it, in the order in which they are served.
    pub line: Vec<WaitingFact>,
}

/// One environment of a project.
#[derive(Debug, Clone)]
pub struct Place {
    /// Which.
    pub environment: Environment,
    /// The service's address, when the policy gives one.
    pub url: Option<String>,
    /// What is live, as far as Titan knows.
    pub current: Option<ReleaseListing>,
    /// Who holds it.
    pub lock: Option<LockFact>,
}

/// The pipelines of these projects, in the same order, with four queries for all of them.
///
/// # Errors
/// When the database says no.
pub async fn gather(store: &Store, projects: Vec<ProjectListing>) -> Result<Vec<Pipeline>, StoreError> {
    let ids: Vec<i64> = projects.iter().map(|project| project.id).collect();
    let releases = store.list_current_releases(&ids).await?;
    let locks = store.list_locks_of(&ids).await?;
    let active = store.list_active_runs(&ids).await?;
    let waiting = store.list_waiting(&ids).await?;
    let line = |project: i64| {
        let queue: Vec<WaitingFact> =
            waiting.iter().filter(|(id, _)| *id == project).map(|(_, waiting)| waiting.clone()).collect();
        lock::in_order(&queue).into_iter().cloned().collect()
    };
    let place = |project: &ProjectListing, environment: Environment| Place {
        environment,
        url: match environment {
            Environment::Canary => project.canary_url.clone(),
            Environment::Production => project.production_url.clone(),
        },
        current: releases.iter().find(|r| r.project_id == project.id && r.environment == environment).cloned(),
        lock: locks.iter().find(|(id, l)| *id == project.id && l.environment == environment).map(|(_, l)| l.clone()),
    };
    let pipeline = |project: ProjectListing| Pipeline {
        line: line(project.id),
        places: vec![place(&project, Environment::Canary), place(&project, Environment::Production)],
        active: active.iter().find(|(id, _)| *id == project.id).map(|(_, run)| run.clone()),
        project,
    };
    Ok(projects.into_iter().map(pipeline).collect())
}
