//! Writes one thing at GitHub so that it is there once and as it shall be.
//!
//! An intent is committed before each write. When an earlier call for a thing may have gone out and no id is known, GitHub
//! is asked first whether it exists; when GitHub says that a known one is gone, it is looked for before it is made anew.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Reporter, Trouble, wire};
use crate::domain::ids::{Environment, RunId};
use crate::domain::report::{
    ChangeFacts, CheckView, DeploymentState, DeploymentView, change_view, checks, deployment, marker, waiting_checks,
};
use crate::github::feedback::{CheckRunWrite, Reaction};
use crate::github::{GitHubError, RepoClient};
use crate::store::commands::CommandRow;
use crate::store::feedback::Intent;
use crate::store::jobs::NewJob;
use crate::store::{Lease, StoreError};

/// Newest releases of a service whose changes are told that they were replaced.
const RELEASES: i64 = 5;
/// How long a button of a check is good. Whoever presses an older one is offered the command instead.
const BUTTON_LIFE: Duration = Duration::from_secs(72 * 60 * 60);
/// What stands for the content of a reaction, which never changes.
const SENT: &str = "sent";

/// One thing that GitHub shall show.
pub(super) struct Item {
    /// What Titan knows it by.
    pub(super) key: String,
    /// Stands for its content.
    pub(super) hash: String,
    /// The key of what GitHub must show before it.
    pub(super) after: Option<String>,
    what: What,
}

enum What {
    Reaction(i64, Reaction),
    Check(Box<CheckRunWrite>),
    Deployment(Box<DeploymentView>),
    Comment(String),
}

/// What has an id of its own at GitHub and is edited in place.
#[derive(Clone, Copy)]
enum Document<'a> {
    Check(&'a CheckRunWrite),
    Comment(&'a str),
}

/// Everything that writing for one change needs.
pub(super) struct Desk<'a> {
    pub(super) reporter: &'a Reporter,
    pub(super) lease: Lease,
    pub(super) client: RepoClient,
    pub(super) facts: &'a ChangeFacts,
}

impl Desk<'_> {
    /// Everything that GitHub shall show of the change.
    pub(super) async fn items(&self, commands: &[CommandRow]) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::new();
        for command in commands {
            let Some(comment) = command.comment_id else { continue };
            let key = |reaction: Reaction| format!("reaction:{comment}:{}", reaction.as_str());
            for reaction in reactions(command.conclusion.as_deref()) {
                let after = (reaction != Reaction::Eyes).then(|| key(Reaction::Eyes));
                let what = What::Reaction(comment, reaction);
                items.push(Item { key: key(reaction), hash: SENT.to_owned(), after, what });
            }
        }
        for (run, check) in waiting_checks(self.facts) {
            items.push(self.check(run, check).await?);
        }
        for run in &self.facts.runs {
            for check in checks(run, self.facts) {
                items.push(self.check(run.id, check).await?);
            }
        }
        for view in self.facts.runs.iter().filter_map(|run| deployment(run, self.facts)) {
            let (key, hash) = (format!("deployment:{}", view.run), view.state.as_str().to_owned());
            items.push(Item { key, hash, after: None, what: What::Deployment(Box::new(view)) });
        }
        // The one status comment, once there is something to say.
        let concluded = self.facts.commands.iter().any(|command| command.conclusion.is_some());
        if concluded || !self.facts.runs.is_empty() {
            let body = self.reporter.redactor.clean(&change_view(self.facts).markdown());
            let (key, hash) = ("comment".to_owned(), hash(&body));
            items.push(Item { key, hash, after: None, what: What::Comment(body) });
        }
        in_order(&mut items);
        Ok(items)
    }

    async fn check(&self, run: RunId, view: CheckView) -> Result<Item, StoreError> {
        let view = self.clean_check(view);
        let nonces = self.nonces(run, &view).await?;
        let (key, hash) = (format!("check:{run}:{}", view.name.as_str()), hash(&(&view, &nonces)));
        Ok(Item { key, hash, after: None, what: What::Check(Box::new(wire::check_run(&view, &nonces))) })
    }

    /// Brings one thing up to date.
    pub(super) async fn keep(&self, item: &Item) -> Result<(), Trouble> {
        // Before the intent, so that what is only held back is not looked for later.
        self.client.may_update().await?;
        match &item.what {
            What::Reaction(comment, reaction) => self.keep_reaction(item, *comment, *reaction).await,
            What::Check(write) => self.keep_document(item, Document::Check(write)).await,
            What::Deployment(view) => self.keep_deployment(item, view).await,
            What::Comment(body) => self.keep_document(item, Document::Comment(body)).await,
        }
    }

    /// Notes that GitHub said no.
    pub(super) async fn refused(&self, key: &str, error: &GitHubError) -> Result<(), StoreError> {
        let why = self.reporter.redactor.clean(&error.to_string());
        self.reporter.store.refuse_feedback(self.facts.id, key, &why).await
    }

    async fn intend(&self, item: &Item) -> Result<Intent, StoreError> {
        self.reporter.store.intend_feedback(self.lease, self.facts.id, &item.key, &item.hash).await
    }

    /// Notes GitHub's id of what was just made, or that it was not made.
    async fn made(&self, item: &Item, result: Result<i64, GitHubError>) -> Result<i64, Trouble> {
        match result {
            Ok(id) => {
                self.found(item, id).await?;
                Ok(id)
            }
            Err(error) => {
                if error.did_nothing() {
                    self.reporter.store.unmake_feedback(self.lease, self.facts.id, &item.key).await?;
                }
                Err(error.into())
            }
        }
    }

    /// Notes GitHub's id of it.
    async fn found(&self, item: &Item, id: i64) -> Result<(), StoreError> {
        self.reporter.store.put_feedback(self.lease, self.facts.id, &item.key, Some(id), None).await
    }

    /// Notes that GitHub shows it as it shall be.
    async fn done(&self, item: &Item) -> Result<(), StoreError> {
        self.reporter.store.put_feedback(self.lease, self.facts.id, &item.key, None, Some(&item.hash)).await
    }

    /// Begins anew, because what the id named is gone at GitHub.
    ///
    /// # Errors
    /// When GitHub shows it after all, or may yet: then making another would double it.
    async fn gone(&self, item: &Item, id: i64, found: Option<i64>) -> Result<(), Trouble> {
        if let Some(found) = self.believe(item, found).await? {
            let why = format!("{}: GitHub says that {id} is gone and lists {found}", item.key);
            self.found(item, found).await?;
            return Err(GitHubError::Transient(why).into());
        }
        tracing::info!(key = item.key, "it was deleted at GitHub; writes it again");
        Ok(self.reporter.store.intend_feedback_again(self.lease, self.facts.id, &item.key).await?)
    }

    /// What a look for something found that an earlier call may have made.
    ///
    /// # Errors
    /// [`Trouble::Doubt`] when it found nothing and may have come too early.
    async fn believe(&self, item: &Item, found: Option<i64>) -> Result<Option<i64>, Trouble> {
        let Reporter { store, doubt, .. } = self.reporter;
        match found {
            Some(id) => Ok(Some(id)),
            None if store.miss_feedback(self.lease, self.facts.id, &item.key, *doubt).await? => Ok(None),
            None => Err(Trouble::Doubt),
        }
    }

    async fn keep_reaction(&self, item: &Item, comment: i64, reaction: Reaction) -> Result<(), Trouble> {
        self.intend(item).await?;
        // GitHub keeps one reaction of each kind, so that a repeat needs no search.
        match self.client.react(comment, reaction).await {
            Ok(()) => {}
            Err(GitHubError::NotFound(_)) => tracing::info!(key = item.key, "the comment is gone"),
            Err(error) => return Err(error.into()),
        }
        Ok(self.done(item).await?)
    }

    /// Something that is known by an id once it was made, and changed from then on.
    async fn keep_document(&self, item: &Item, document: Document<'_>) -> Result<(), Trouble> {
        let id = match self.intend(item).await? {
            Intent { external_id: Some(id), .. } => Some(id),
            Intent { tried: true, .. } => self.believe(item, self.find(document).await?).await?,
            Intent { tried: false, .. } => None,
        };
        if let Some(id) = id {
            self.found(item, id).await?;
            match self.update(document, id).await {
                Ok(()) => return Ok(self.done(item).await?),
                Err(GitHubError::NotFound(_)) => self.gone(item, id, self.find(document).await?).await?,
                Err(error) => return Err(error.into()),
            }
        }
        self.made(item, self.create(document).await).await?;
        Ok(self.done(item).await?)
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
    async fn keep_deployment(&self, item: &Item, view: &DeploymentView) -> Result<(), Trouble> {
        let clean = |text: &str| self.reporter.redactor.clean(text);
        let write = wire::deployment(view, clean);
        let status = wire::deployment_status(view, clean);
        let find = || self.client.find_deployment(&write.commit, &write.environment, &write.run);
        let (id, unanswered) = match self.intend(item).await? {
            Intent { external_id: Some(id), unanswered, .. } => (Some(id), unanswered),
            Intent { tried: true, unanswered, .. } => (self.believe(item, find().await?).await?, unanswered),
            Intent { tried: false, .. } => (None, None),
        };
        if view.production && view.state == DeploymentState::Success {
            self.tell_replaced(view.run).await?;
        }
        if let Some(id) = id {
            self.found(item, id).await?;
            // Whether an earlier call with the same state did what it did not come back to tell.
            let told = match unanswered.filter(|hash| *hash == item.hash) {
                Some(_) => self.client.newest_deployment_state(id).await,
                None => Ok(None),
            };
            let result = match told {
                Ok(Some(state)) if state == status.state => return Ok(self.done(item).await?),
                Ok(_) => self.client.create_deployment_status(id, &status).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(()) => return Ok(self.done(item).await?),
                Err(GitHubError::NotFound(_)) => self.gone(item, id, find().await?).await?,
                Err(error) => return Err(error.into()),
            }
        }
        let id = self.made(item, self.client.create_deployment(&write).await).await?;
        self.client.create_deployment_status(id, &status).await?;
        Ok(self.done(item).await?)
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

    /// The id of what an earlier call made.
    async fn find(&self, document: Document<'_>) -> Result<Option<i64>, GitHubError> {
        match document {
            Document::Check(write) => self.client.find_check_run(&write.head, &write.name, &write.external_id).await,
            Document::Comment(_) => self.client.find_comment(self.facts.number, &marker(self.facts.id)).await,
        }
    }

    async fn create(&self, document: Document<'_>) -> Result<i64, GitHubError> {
        match document {
            Document::Check(write) => self.client.create_check_run(write).await,
            Document::Comment(body) => self.client.create_comment(self.facts.number, body).await,
        }
    }

    async fn update(&self, document: Document<'_>, id: i64) -> Result<(), GitHubError> {
        match document {
            Document::Check(write) => self.client.update_check_run(id, write).await,
            Document::Comment(body) => self.client.update_comment(id, body).await,
        }
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

/// Of the checks of one name and of the deployments to one environment GitHub takes the one that was made last for what
/// holds, so each is made after those of earlier runs. The items are of the newest run first.
fn in_order(items: &mut [Item]) {
    let mut made: HashMap<String, String> = HashMap::new();
    for item in items.iter_mut().rev() {
        let place = match &item.what {
            What::Check(write) => format!("check {} {}", write.name, write.head),
            What::Deployment(view) => format!("deployment {}", view.environment),
            What::Reaction(..) | What::Comment(_) => continue,
        };
        item.after = made.insert(place, item.key.clone());
    }
}

/// 👀 that it arrived, then 🚀 for what was done or is on its way, 😕 for what was refused, not understood, or left the
/// line before its turn came.
fn reactions(conclusion: Option<&str>) -> Vec<Reaction> {
    let outcome = conclusion.and_then(|conclusion| match conclusion {
        "refused" | "misunderstood" | "withdrawn" => Some(Reaction::Confused),
        // It has the eyes, until its turn comes.
        "queued" => None,
        _ => Some(Reaction::Rocket),
    });
    std::iter::once(Reaction::Eyes).chain(outcome).collect()
}

/// Hexadecimal SHA-256 of what is sent.
fn hash(content: &impl Serialize) -> String {
    let json = serde_json::to_vec(content).expect("invariant: views are plain data with text keys");
    hex::encode(Sha256::digest(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_seen_and_then_answered_however_late_that_is() {
        let told = |conclusion: Option<&str>| -> Vec<&'static str> {
            reactions(conclusion).into_iter().map(Reaction::as_str).collect()
        };
        assert_eq!(told(None), ["eyes"]);
        assert_eq!(told(Some("queued")), ["eyes"], "it still waits");
        assert_eq!(told(Some("started")), ["eyes", "rocket"]);
        for no in ["refused", "misunderstood", "withdrawn"] {
            assert_eq!(told(Some(no)), ["eyes", "confused"], "{no}");
        }
    }
}
