//! Puts things in order: claims a job, carries it out under a lease, records what came of it.
//!
//! One file a concern: `intake` turns a trigger into a decision, `steps` carries a run's steps out, `report` keeps
//! GitHub's side equal to the store. Nothing waits in memory: whatever waits is a job with a time.

pub mod explain;
pub mod facts;
mod fetch;
pub mod files;
pub mod governor;
pub mod intake;
pub mod line;
mod look;
pub mod pace;
pub mod pool;
mod press;
pub mod reconcile;
pub mod report;
pub mod retention;
pub mod steps;

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;

use crate::domain::targets::Grants;
use crate::github::{GitHub, GitHubError};
use crate::probe::Prober;
use crate::redact::Redactor;
use crate::render::{Render, RenderError};
use crate::scratch::Scratch;
use crate::store::{Store, StoreError};

/// Everything that a worker uses. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// Postgres.
    pub store: Store,
    /// GitHub.
    pub github: GitHub,
    /// Render.
    pub render: Arc<Render>,
    /// Which repository may deploy where, when the operator keeps a list.
    pub grants: Option<Arc<Grants>>,
    /// Probes of services.
    pub prober: Prober,
    /// Masks secrets in what leaves.
    pub redactor: Redactor,
    /// Fetches of trees that go on: each takes a while, and others need the workers.
    pub tree_slots: Arc<Semaphore>,
    /// How people reach Titan.
    pub public_url: url::Url,
    /// GitHub's pages.
    pub github_url: url::Url,
    /// Builds and checkouts.
    pub scratch: Scratch,
    /// The program that supervises builds: Titan itself.
    pub supervisor: PathBuf,
    /// What the operator set for builds.
    pub build_rules: crate::sandbox::Rules,
    /// How often things are looked at.
    pub pace: pace::Pace,
    /// How long what grows is kept.
    pub retention: retention::Retention,
    /// So many builds at a time.
    pub build_slots: Arc<Semaphore>,
}

/// What becomes of a job that was carried out.
#[derive(Debug)]
pub enum Done {
    /// It was ended in the store together with its outcome.
    Ended,
    /// It goes on at this time.
    Until(DateTime<Utc>),
}

/// Why a job could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Another worker has it; nothing more may be done.
    #[error("the lease was lost")]
    LeaseLost,
    /// It may work later, at this time or after a while.
    #[error("{why}")]
    Later {
        /// Not before this time, when somebody named one.
        at: Option<DateTime<Utc>>,
        /// What went wrong.
        why: String,
    },
    /// The other side says no. That may be because it does not know something yet, so it is worth a few tries.
    #[error("{0}")]
    Refused(String),
    /// It will not work however often it is tried.
    #[error("{0}")]
    Never(String),
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LeaseLost(_) => Self::LeaseLost,
            StoreError::Corrupt(why) => Self::Never(why),
            other => Self::Later { at: None, why: other.to_string() },
        }
    }
}

impl From<GitHubError> for JobError {
    fn from(error: GitHubError) -> Self {
        let why = error.to_string();
        match error {
            GitHubError::RateLimited { retry_at } => Self::Later { at: Some(retry_at), why },
            GitHubError::Transient(_) => Self::Later { at: None, why },
            _ => Self::Refused(why),
        }
    }
}

impl From<RenderError> for JobError {
    fn from(error: RenderError) -> Self {
        let at = match &error {
            RenderError::RateLimited { retry_at } => Some(*retry_at),
            _ => None,
        };
        Self::Later { at, why: error.to_string() }
    }
}
