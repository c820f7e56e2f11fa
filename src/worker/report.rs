//! Keeps GitHub's side of a change equal to what [`crate::domain::report`] makes of the store.
//!
//! Level-triggered: it reads how things stand now, works out everything that GitHub shall show, and writes only what
//! differs from what was sent last. An intent is committed before each write; when an intent is older and no id is
//! known, GitHub is asked first whether the thing exists. It decides nothing and changes no run.
//! One thing that GitHub does not take never holds the others back.

mod wire;

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{JobError, Services};
use crate::domain::ids::{Environment, PrNumber, RunId};
use crate::domain::report::{
    ChangeFacts, CheckView, DeploymentState, DeploymentView, Links, change_view, checks, deployment, marker,
};
use crate::github::feedback::{DeploymentStatusWrite, Reaction};
use crate::github::{GitHub, GitHubError, RepoClient, RepoRef};
use crate::redact::Redactor;
use crate::store::commands::CommandRow;
use crate::store::feedback::FeedbackRow;
use crate::store::jobs::NewJob;
use crate::store::{Lease, Store, StoreError};

/// Newest commands that get their reaction; older ones have it, or nobody looks for it any more.
const COMMANDS: i64 = 30;
/// Newest releases of a service whose changes are told that they were replaced.
const RELEASES: i64 = 5;
/// After so many calls without a proper answer the rest is left for the next time: each may take a minute to fail.
const TROUBLES: usize = 3;
/// How long a button of a check is good. Whoever presses an older one is offered the command instead.
const BUTTON_LIFE: Duration = Duration::from_secs(72 * 60 * 60);
/// What stands for the content of a reaction, which never changes.
const SENT: &str = "sent";

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
        }
    }
}

/// Brings everything that GitHub shows of a change up to date: reactions, check runs, deployments, then the status
/// comment. May be called as often as one likes; it does nothing when nothing differs.
///
/// # Errors
/// [`JobError::Later`] when GitHub limits the calls (with the time when it takes calls again) or does not answer
/// properly; [`JobError::LeaseLost`]; and what the database says. What could be written was written.
pub async fn report(reporter: &Reporter, lease: Lease, change_id: i64) -> Result<(), JobError> {
    let store = &reporter.store;
    let links = Links::new(reporter.public_url.as_str(), reporter.github_url.as_str());
    let Some(place) = store.find_change(change_id).await? else { return Ok(()) };
    let Some(facts) = store.find_change_facts(change_id, links).await? else { return Ok(()) };
    tracing::Span::current().record("repo", tracing::field::display(&place.repo));
    let repo = RepoRef { installation: place.installation, name: place.repo };
    let desk = Desk {
        reporter,
        lease,
        client: reporter.github.repo(&repo),
        known: store.list_feedback(change_id).await?,
        facts: &facts,
    };
    let mut later = Later::default();
    for command in store.list_commands(change_id, COMMANDS).await? {
        later.note(&reaction_key(&command), desk.keep_reaction(&command).await)?;
    }
    for run in &facts.runs {
        for check in checks(run, &facts) {
            later.note(&check_key(run.id, &check), desk.keep_check(run.id, check).await)?;
        }
    }
    for run in &facts.runs {
        if let Some(view) = deployment(run, &facts) {
            later.note(&deployment_key(run.id), desk.keep_deployment(view).await)?;
        }
    }
    later.note("comment", desk.keep_comment().await)?;
    later.into_result()
}

/// Why one thing could not be brought up to date.
#[derive(Debug)]
enum Trouble {
    Store(StoreError),
    GitHub(GitHubError),
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

/// What has to be tried again later.
#[derive(Debug, Default)]
struct Later {
    why: Vec<String>,
}

impl Later {
    /// Goes on after one thing: trouble that will pass is remembered, trouble that stays is only logged.
    ///
    /// # Errors
    /// When nothing more can be written now: the store is away, the lease is lost, or GitHub limits the calls.
    fn note(&mut self, key: &str, result: Result<(), Trouble>) -> Result<(), JobError> {
        match result {
            Ok(()) => {}
            Err(Trouble::Store(error)) => return Err(error.into()),
            Err(Trouble::GitHub(error @ GitHubError::RateLimited { .. })) => return Err(error.into()),
            Err(Trouble::GitHub(error @ GitHubError::Transient(_))) => {
                self.why.push(format!("{key}: {error}"));
                if self.why.len() >= TROUBLES {
                    return Err(self.again());
                }
            }
            Err(Trouble::GitHub(error)) => tracing::warn!(key, %error, "GitHub does not show this"),
        }
        Ok(())
    }

    fn again(&self) -> JobError {
        JobError::Later { at: None, why: self.why.join("; ") }
    }

    fn into_result(self) -> Result<(), JobError> {
        if self.why.is_empty() { Ok(()) } else { Err(self.again()) }
    }
}

/// What is known of one thing at GitHub, after its intent was committed.
enum Standing {
    /// GitHub has exactly this.
    Same,
    /// GitHub has it under this id, perhaps with other content.
    There(i64),
    /// It may be there: an earlier call did not come back to tell.
    Unknown,
    /// It was never tried.
    New,
}

struct Desk<'a> {
    reporter: &'a Reporter,
    lease: Lease,
    client: RepoClient,
    known: HashMap<String, FeedbackRow>,
    facts: &'a ChangeFacts,
}

impl Desk<'_> {
    /// Commits the intent to write, unless nothing differs.
    async fn intend(&self, key: &str, hash: &str) -> Result<Standing, StoreError> {
        if self.known.get(key).is_some_and(|row| row.sent_hash.as_deref() == Some(hash)) {
            return Ok(Standing::Same);
        }
        let (row, older) = self.reporter.store.intend_feedback(self.lease, self.facts.id, key).await?;
        Ok(match row.external_id {
            Some(id) => Standing::There(id),
            None if older => Standing::Unknown,
            None => Standing::New,
        })
    }

    /// Begins anew, because what the id named is gone at GitHub.
    async fn intend_again(&self, key: &str) -> Result<(), StoreError> {
        tracing::info!(key, "it was deleted at GitHub; writes it again");
        self.reporter.store.intend_feedback_again(self.lease, self.facts.id, key).await
    }

    async fn put(&self, key: &str, id: Option<i64>, hash: Option<&str>) -> Result<(), StoreError> {
        self.reporter.store.put_feedback(self.lease, self.facts.id, key, id, hash).await
    }

    /// 🚀 for what was done or is on its way, 😕 for what was refused or not understood.
    async fn keep_reaction(&self, command: &CommandRow) -> Result<(), Trouble> {
        let (Some(comment), Some(reaction)) = (command.comment_id, reaction(command)) else { return Ok(()) };
        let key = reaction_key(command);
        if matches!(self.intend(&key, SENT).await?, Standing::Same) {
            return Ok(());
        }
        // GitHub keeps one reaction of each kind, so that a repeat needs no search.
        match self.client.react(comment, reaction).await {
            Ok(()) => {}
            Err(GitHubError::NotFound(_)) => tracing::info!(key, "the comment is gone"),
            Err(error) => return Err(error.into()),
        }
        Ok(self.put(&key, None, Some(SENT)).await?)
    }

    async fn keep_check(&self, run: RunId, view: CheckView) -> Result<(), Trouble> {
        let view = self.clean_check(view);
        let nonces = self.nonces(run, &view).await?;
        let (key, hash) = (check_key(run, &view), hash(&(&view, &nonces)));
        let write = wire::check_run(&view, &nonces);
        let id = match self.intend(&key, &hash).await? {
            Standing::Same => return Ok(()),
            Standing::There(id) => Some(id),
            Standing::Unknown => self.client.find_check_run(&write.head, &write.name, &write.external_id).await?,
            Standing::New => None,
        };
        if let Some(id) = id {
            self.put(&key, Some(id), None).await?;
            match self.client.update_check_run(id, &write).await {
                Ok(()) => return Ok(self.put(&key, None, Some(&hash)).await?),
                Err(GitHubError::NotFound(_)) => self.intend_again(&key).await?,
                Err(error) => return Err(error.into()),
            }
        }
        let id = self.client.create_check_run(&write).await?;
        Ok(self.put(&key, Some(id), Some(&hash)).await?)
    }

    /// What the buttons of a check are known by: a button that was pressed or is too old is followed by a fresh one.
    async fn nonces(&self, run: RunId, view: &CheckView) -> Result<Vec<String>, StoreError> {
        let mut nonces = Vec::new();
        for button in &view.buttons {
            let (store, check) = (&self.reporter.store, view.name.as_str());
            nonces.push(store.ensure_button(run, check, button.command, &view.head, BUTTON_LIFE).await?);
        }
        Ok(nonces)
    }

    /// A deployment is made once; afterwards each new state is one more status.
    async fn keep_deployment(&self, view: DeploymentView) -> Result<(), Trouble> {
        let key = deployment_key(view.run);
        let state = view.state.as_str();
        let write = wire::deployment(&view, |text| self.reporter.redactor.clean(text));
        let id = match self.intend(&key, state).await? {
            Standing::Same => return Ok(()),
            Standing::There(id) => Some(id),
            Standing::Unknown => self.client.find_deployment(&write.commit, &write.environment, &write.run).await?,
            Standing::New => None,
        };
        let status = wire::deployment_status(&view, |text| self.reporter.redactor.clean(text));
        if view.production && view.state == DeploymentState::Success {
            self.tell_replaced(view.run).await?;
        }
        if let Some(id) = id {
            self.put(&key, Some(id), None).await?;
            match self.say_once(id, &status).await {
                Ok(()) => return Ok(self.put(&key, None, Some(state)).await?),
                Err(GitHubError::NotFound(_)) => self.intend_again(&key).await?,
                Err(error) => return Err(error.into()),
            }
        }
        let id = self.client.create_deployment(&write).await?;
        self.put(&key, Some(id), None).await?;
        self.client.create_deployment_status(id, &status).await?;
        Ok(self.put(&key, None, Some(state)).await?)
    }

    /// A status whose answer was lost may be there already, and a second one would be shown and sent to people.
    async fn say_once(&self, deployment: i64, status: &DeploymentStatusWrite) -> Result<(), GitHubError> {
        if self.client.newest_deployment_state(deployment).await? == Some(status.state) {
            return Ok(());
        }
        self.client.create_deployment_status(deployment, status).await
    }

    /// GitHub leaves earlier production deployments as they are. Those of other changes are brought up to date by
    /// these changes' own reports.
    async fn tell_replaced(&self, run: RunId) -> Result<(), StoreError> {
        let store = &self.reporter.store;
        let project = self.facts.runs.iter().find(|known| known.id == run).and_then(|known| known.project.as_ref());
        let listed = store.list_projects(Some(&self.facts.repo)).await?;
        let Some(project) = listed.iter().find(|listed| Some(&listed.name) == project) else { return Ok(()) };
        let mut told = Vec::new();
        for release in store.list_releases(project.id, Environment::Production, RELEASES).await? {
            let Some(earlier) = release.run.filter(|earlier| *earlier != run) else { continue };
            let Some(earlier) = store.find_run(earlier).await? else { continue };
            if earlier.change_id != self.facts.id && !told.contains(&earlier.change_id) {
                store.enqueue(&NewJob::report(earlier.change_id)).await?;
                told.push(earlier.change_id);
            }
        }
        Ok(())
    }

    /// The one status comment. Written once there is something to say.
    async fn keep_comment(&self) -> Result<(), Trouble> {
        let concluded = self.facts.commands.iter().any(|command| command.conclusion.is_some());
        if self.facts.runs.is_empty() && !concluded {
            return Ok(());
        }
        let body = self.reporter.redactor.clean(&change_view(self.facts).markdown());
        let (key, hash, number) = ("comment", hash(&body), self.facts.number);
        let id = match self.intend(key, &hash).await? {
            Standing::Same => return Ok(()),
            Standing::There(id) => Some(id),
            Standing::Unknown => self.find_comment(number).await?,
            Standing::New => None,
        };
        if let Some(id) = id {
            self.put(key, Some(id), None).await?;
            match self.client.update_comment(id, &body).await {
                Ok(()) => return Ok(self.put(key, None, Some(&hash)).await?),
                Err(GitHubError::NotFound(_)) => self.intend_again(key).await?,
                Err(error) => return Err(error.into()),
            }
        }
        let id = self.client.create_comment(number, &body).await?;
        Ok(self.put(key, Some(id), Some(&hash)).await?)
    }

    async fn find_comment(&self, number: PrNumber) -> Result<Option<i64>, GitHubError> {
        self.client.find_comment(number, &marker(self.facts.id)).await
    }

    fn clean_check(&self, mut view: CheckView) -> CheckView {
        let redactor = &self.reporter.redactor;
        view.title = redactor.clean(&view.title);
        view.summary = redactor.clean(&view.summary);
        for note in &mut view.notes {
            note.message = redactor.clean(&note.message);
        }
        view
    }
}

fn reaction(command: &CommandRow) -> Option<Reaction> {
    match command.conclusion.as_deref()? {
        "refused" | "misunderstood" => Some(Reaction::Confused),
        _ => Some(Reaction::Rocket),
    }
}

fn reaction_key(command: &CommandRow) -> String {
    let comment = command.comment_id.unwrap_or_default();
    format!("reaction:{comment}:{}", reaction(command).map_or("none", Reaction::as_str))
}

fn check_key(run: RunId, check: &CheckView) -> String {
    format!("check:{run}:{}", check.name.as_str())
}

fn deployment_key(run: RunId) -> String {
    format!("deployment:{run}")
}

/// Hexadecimal SHA-256 of what is sent.
fn hash(content: &impl Serialize) -> String {
    let json = serde_json::to_vec(content).expect("invariant: views are plain data with text keys");
    hex::encode(Sha256::digest(json))
}
