//! What others say about a commit: check runs and commit statuses.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::domain::ids::CommitSha;
use crate::github::call::Call;
use crate::github::wire::{Id, or_default};
use crate::github::{Access, GitHubError, RepoClient};

/// One check run of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRunFact {
    /// Its number.
    pub id: i64,
    /// Its name, e.g. `titan/build`.
    pub name: String,
    /// The App that made it.
    pub app_id: Option<i64>,
    /// GitHub's word: `queued`, `in_progress`, `completed` and a few that only Actions uses.
    pub status: String,
    /// GitHub's word for how it ended; `None` until then.
    pub conclusion: Option<String>,
    /// What its maker knows it by.
    pub external_id: Option<String>,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
}

/// The newest commit status of one context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusFact {
    /// Its name.
    pub context: String,
    /// GitHub's word: `error`, `failure`, `pending` or `success`.
    pub state: String,
}

#[derive(Deserialize)]
pub(in crate::github) struct CheckRunsWire {
    #[serde(default, deserialize_with = "or_default")]
    check_runs: Vec<CheckRunWire>,
}

#[derive(Deserialize)]
struct CheckRunWire {
    id: i64,
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default)]
    app: Option<Id>,
    #[serde(default, deserialize_with = "or_default")]
    status: String,
    #[serde(default)]
    conclusion: Option<String>,
    #[serde(default)]
    external_id: Option<String>,
    #[serde(default)]
    started_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct StatusesWire {
    #[serde(default, deserialize_with = "or_default")]
    statuses: Vec<StatusWire>,
}

#[derive(Deserialize)]
struct StatusWire {
    #[serde(default, deserialize_with = "or_default")]
    context: String,
    #[serde(default, deserialize_with = "or_default")]
    state: String,
}

impl CheckRunsWire {
    /// The entries of one page.
    pub(in crate::github) fn facts(self) -> Vec<CheckRunFact> {
        let fact = |run: CheckRunWire| CheckRunFact {
            id: run.id,
            name: run.name,
            app_id: run.app.map(|app| app.id),
            status: run.status,
            conclusion: run.conclusion,
            external_id: run.external_id,
            started_at: run.started_at,
        };
        self.check_runs.into_iter().map(fact).collect()
    }
}

impl RepoClient {
    /// The newest check run of each name and App for a commit.
    ///
    /// # Errors
    /// `NotFound` or `Invalid` when the repository has no such commit.
    pub async fn list_check_runs(&self, sha: &CommitSha) -> Result<Vec<CheckRunFact>, GitHubError> {
        let call = Call::get(self.path(&format!("/commits/{sha}/check-runs"))).query("filter", "latest");
        self.list_all(Access::Read, call, CheckRunsWire::facts).await
    }

    /// The newest commit status of each context for a commit.
    ///
    /// # Errors
    /// `NotFound` when the repository has no such commit.
    pub async fn list_statuses(&self, sha: &CommitSha) -> Result<Vec<StatusFact>, GitHubError> {
        let call = Call::get(self.path(&format!("/commits/{sha}/status")));
        self.list_all(Access::Read, call, |page: StatusesWire| {
            page.statuses.into_iter().map(|s| StatusFact { context: s.context, state: s.state }).collect()
        })
        .await
    }
}
