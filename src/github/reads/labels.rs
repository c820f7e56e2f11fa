//! Labels: which pull requests of a repository carry one, and who put it there.
//!
//! Other hosts that speak GitHub's API may not know these questions; they answer with `NotFound`.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::domain::budget::Lane;
use crate::domain::ids::PrNumber;
use crate::github::call::Call;
use crate::github::wire::{User, or_default, who};
use crate::github::{Access, GitHubError, RepoClient};

/// A pull request that carries a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelledFact {
    /// Its number.
    pub number: PrNumber,
    /// When anything about it last changed.
    pub updated_at: DateTime<Utc>,
}

/// Somebody put a label on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelEvent {
    /// The label's name.
    pub label: String,
    /// Who did.
    pub login: String,
    /// The number of who did; 0 for a deleted account.
    pub user_id: i64,
    /// Whether it was a program.
    pub is_bot: bool,
    /// When.
    pub at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct IssueWire {
    number: i64,
    #[serde(default)]
    pull_request: Option<serde_json::Value>,
    updated_at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct EventWire {
    #[serde(default, deserialize_with = "or_default")]
    event: String,
    #[serde(default)]
    actor: Option<User>,
    #[serde(default)]
    label: Option<NamedWire>,
    #[serde(default)]
    created_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct NamedWire {
    #[serde(default, deserialize_with = "or_default")]
    name: String,
}

impl EventWire {
    fn labelled(self) -> Option<LabelEvent> {
        let (label, at) = (self.label?.name, self.created_at.filter(|_| self.event == "labeled")?);
        let user_id = self.actor.as_ref().map_or(0, |actor| actor.id);
        let (login, is_bot) = who(self.actor);
        Some(LabelEvent { label, login, user_id, is_bot, at })
    }
}

impl RepoClient {
    /// The open pull requests that carry a label. A look, which lets everything else go first.
    ///
    /// # Errors
    /// `NotFound` when the host does not show them.
    pub async fn list_labelled(&self, label: &str) -> Result<Vec<LabelledFact>, GitHubError> {
        let call = Call::get(self.path("/issues")).query("state", "open").query("labels", label).lane(Lane::Update);
        let facts = |page: Vec<IssueWire>| page.into_iter().collect();
        let issues: Vec<IssueWire> = self.list_all(Access::Read, call, facts).await?;
        let pulls = issues.into_iter().filter(|issue| issue.pull_request.as_ref().is_some_and(|pull| !pull.is_null()));
        Ok(pulls.map(|pull| LabelledFact { number: PrNumber(pull.number), updated_at: pull.updated_at }).collect())
    }

    /// Which labels were put on a pull request, oldest first. A look, which lets everything else go first.
    ///
    /// # Errors
    /// `NotFound` when the host does not show it.
    pub async fn list_label_events(&self, number: PrNumber) -> Result<Vec<LabelEvent>, GitHubError> {
        let call = Call::get(self.path(&format!("/issues/{}/events", number.0))).lane(Lane::Update);
        let facts = |page: Vec<EventWire>| page.into_iter().map(EventWire::labelled).collect();
        let events: Vec<Option<LabelEvent>> = self.list_all(Access::Read, call, facts).await?;
        Ok(events.into_iter().flatten().collect())
    }
}
