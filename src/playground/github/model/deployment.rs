//! Deployments and their statuses, as GitHub keeps them: a record, not the deploying itself.

use chrono::{DateTime, Utc};
use serde_json::Value;

/// A deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// Its id.
    pub id: u64,
    /// The commit that `reference` stood for.
    pub sha: String,
    /// As it was asked for: branch, tag or commit.
    pub reference: String,
    /// `deploy`, usually.
    pub task: String,
    /// As it was sent: an object or a text.
    pub payload: Value,
    /// `production`, `canary`, ...
    pub environment: String,
    /// For people.
    pub description: Option<String>,
    /// Login.
    pub creator: String,
    /// Whether the environment goes away again.
    pub transient: bool,
    /// Whether end users use it.
    pub production: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When a status was last added.
    pub updated_at: DateTime<Utc>,
    /// Oldest first.
    pub statuses: Vec<DeploymentStatus>,
}

impl Deployment {
    /// The newest status's state; `None` before the first.
    pub fn state(&self) -> Option<&str> {
        self.statuses.last().map(|status| status.state.as_str())
    }
}

/// Where a deployment stood at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentStatus {
    /// Its id.
    pub id: u64,
    /// `error`, `failure`, `inactive`, `in_progress`, `queued`, `pending` or `success`.
    pub state: String,
    /// May be empty.
    pub description: String,
    /// The environment's name then.
    pub environment: String,
    /// Where it can be seen; may be empty.
    pub environment_url: String,
    /// Where its log can be read; may be empty.
    pub log_url: String,
    /// Login.
    pub creator: String,
    /// When.
    pub created_at: DateTime<Utc>,
}
