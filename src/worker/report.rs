//! Keeps GitHub's side of a change equal to what [`crate::domain::report`] makes of the store.
//!
//! Level-triggered: it reads how things stand now, works out everything that GitHub shall show, and writes only what
//! differs from what was sent last: what waits for longest first. What differs is noted with the time since when, so that
//! whatever is held back is a row with an age. It decides nothing and changes no run.
//! One thing that GitHub does not take never holds the others back.

mod desk;
mod wire;

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::{JobError, Services};
use crate::domain::report::Links;
use crate::github::{GitHub, GitHubError, RepoRef};
use crate::redact::Redactor;
use crate::store::{Lease, Store, StoreError};
use desk::{Desk, Item};

/// Commands that get their reactions in one report; of more the newest first.
const COMMANDS: i64 = 100;
/// After so many calls without a proper answer the rest is left for the next time: each may take a minute to fail.
const TROUBLES: usize = 3;
/// What GitHub says no to is tried so often, some seven minutes. Then it waits for the next time that something changes.
pub const REFUSALS: i32 = 12;

/// What reporting needs.
#[derive(Debug, Clone)]
pub struct Reporter {
    /// Where the facts are.
    pub store: Store,
    /// Where they are shown.
    pub github: GitHub,
    /// How people reach Titan.
    pub public_url: url::Url,
    /// How people reach GitHub.
    pub github_url: url::Url,
    /// Masks secrets in everything that leaves.
    pub redactor: Redactor,
    /// What was not found counts as not made when it is not found so much later either.
    pub doubt: Duration,
}

impl Services {
    /// The part of the services that reporting needs.
    pub fn reporter(&self) -> Reporter {
        Reporter {
            store: self.store.clone(),
            github: self.github.clone(),
            public_url: self.public_url.clone(),
            github_url: self.github_url.clone(),
            redactor: self.redactor.clone(),
            doubt: self.pace.doubt,
        }
    }
}

/// Brings everything that GitHub shows of a change up to date: reactions, check runs, deployments, the status comment.
/// May be called as often as one likes; it does nothing when nothing differs. `attempt` counts the tries in a row, from 1.
///
/// # Errors
/// [`JobError::Later`] when GitHub limits the calls (with the time when it takes calls again) or does not answer
/// properly; [`JobError::Refused`] when GitHub says no to something, until this was so a dozen times;
/// [`JobError::LeaseLost`]; and what the database says. What could be written was written.
pub async fn report(reporter: &Reporter, lease: Lease, change_id: i64, attempt: i32) -> Result<(), JobError> {
    let store = &reporter.store;
    let links = Links::new(reporter.public_url.as_str(), reporter.github_url.as_str());
    let Some(place) = store.find_change(change_id).await? else { return Ok(()) };
    let Some(facts) = store.find_change_facts(change_id, links).await? else { return Ok(()) };
    tracing::Span::current().record("repo", tracing::field::display(&place.repo));
    let repo = RepoRef { installation: place.installation, name: place.repo };
    let desk = Desk { reporter, lease, client: reporter.github.repo(&repo), facts: &facts };
    let commands = store.list_unanswered(change_id, COMMANDS).await?;
    let mut items = desk.items(&commands).await?;
    let known = store.list_feedback(change_id).await?;
    items.retain(|item| known.get(&item.key).and_then(|row| row.sent_hash.as_ref()) != Some(&item.hash));
    let keys: Vec<String> = items.iter().map(|item| item.key.clone()).collect();
    let since = store.want_feedback(lease, change_id, &keys).await?;
    // What GitHub did not take the last time does not keep the others from being shown: it comes after them, in turn. Those
    // that wait equally long stay in their order.
    let tried_at = |item: &Item| known.get(&item.key).and_then(|row| row.tried_at);
    items.sort_by_key(|item| (tried_at(item), since.get(&item.key).copied()));
    let mut unsent: HashSet<String> = items.iter().map(|item| item.key.clone()).collect();
    let mut trouble = Troubles::default();
    let (mut queue, mut put_back): (VecDeque<&Item>, usize) = (items.iter().collect(), 0);
    while let Some(item) = queue.pop_front() {
        let waits = item.after.as_ref().is_some_and(|earlier| unsent.contains(earlier));
        if waits && put_back <= queue.len() {
            queue.push_back(item);
            put_back += 1;
            continue;
        }
        let result = if waits { Err(Trouble::Doubt) } else { desk.keep(item).await };
        // What GitHub will not take at all keeps nothing waiting.
        let settled = match &result {
            Ok(()) => true,
            Err(Trouble::GitHub(error)) => error.did_nothing(),
            Err(Trouble::Store(_) | Trouble::Doubt) => false,
        };
        if settled {
            unsent.remove(&item.key);
            put_back = 0;
        }
        trouble.note(&desk, &item.key, result).await?;
    }
    trouble.into_result(attempt)
}

/// Why one thing could not be brought up to date.
#[derive(Debug)]
enum Trouble {
    Store(StoreError),
    GitHub(GitHubError),
    /// It may be on its way, or waits for something else.
    Doubt,
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<GitHubError> for Trouble {
    fn from(error: GitHubError) -> Self {
        Self::GitHub(error)
    }
}

/// What has to be tried again.
#[derive(Debug, Default)]
struct Troubles {
    /// Will pass by itself.
    passing: Vec<String>,
    /// Perhaps because GitHub does not know something yet, or because a person has to do something.
    refused: Vec<String>,
    /// Calls that got no proper answer.
    unanswered: usize,
}

impl Troubles {
    /// Goes on after one thing.
    ///
    /// # Errors
    /// When nothing more can be written now: the store is away, the lease is lost, or GitHub limits the calls.
    async fn note(&mut self, desk: &Desk<'_>, key: &str, result: Result<(), Trouble>) -> Result<(), JobError> {
        match result {
            Ok(()) => {}
            Err(Trouble::Store(error)) => return Err(error.into()),
            Err(Trouble::GitHub(error @ GitHubError::RateLimited { .. })) => return Err(error.into()),
            Err(Trouble::GitHub(error @ (GitHubError::Transient(_) | GitHubError::Unexpected(_)))) => {
                self.passing.push(format!("{key}: {error}"));
                self.unanswered += 1;
                if self.unanswered >= TROUBLES {
                    return Err(self.again());
                }
            }
            Err(Trouble::Doubt) => self.passing.push(format!("{key}: waits for what an earlier call may have done")),
            Err(Trouble::GitHub(error)) => {
                tracing::warn!(key, %error, "GitHub does not show this");
                desk.refused(key, &error).await?;
                self.refused.push(format!("{key}: {error}"));
            }
        }
        Ok(())
    }

    fn again(&self) -> JobError {
        JobError::Later { at: None, why: self.passing.join("; ") }
    }

    fn into_result(self, attempt: i32) -> Result<(), JobError> {
        if !self.passing.is_empty() {
            return Err(self.again());
        }
        if self.refused.is_empty() || attempt >= REFUSALS {
            return Ok(());
        }
        Err(JobError::Refused(self.refused.join("; ")))
    }
}
