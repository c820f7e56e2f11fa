//! What can happen at GitHub: every change of the state, whoever causes it.
//!
//! The REST API (for Titan) and the people of the playground go through the same functions, so both leave the same
//! traces and cause the same events. An act changes the state under its lock, writes git objects, and puts events into
//! the outbox; it checks what GitHub itself checks, but not the caller's permission.

mod branches;
mod checks;
mod deployments;
mod installations;
mod issues;
mod merging;
mod pulls;

use serde_json::{Value, json};

pub use checks::{CheckChange, NewCheck, NewStatus};
pub use deployments::{DeploymentAnswer, NewDeployment, NewDeploymentStatus};
pub use issues::COMMENT_LIMIT;
pub use merging::MergeRequest;
pub use pulls::NewPull;

use super::git::{GitError, MergeFailure};
use super::model::{AccountKind, Event, Happening, Issue, Repository, State, TimelineEvent};
use super::views::{View, extend, node_id};

/// Why something cannot be done, with the status that GitHub answers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SimError {
    /// 404.
    #[error("{0} was not found")]
    NotFound(String),
    /// 422 with GitHub's list of errors, which may be empty.
    #[error("{message}")]
    Unprocessable {
        /// One line.
        message: String,
        /// Objects with `resource`, `field`, `code`, `message`.
        errors: Vec<Value>,
    },
    /// 409.
    #[error("{0}")]
    Conflict(String),
    /// 405, only answered to a merge.
    #[error("{0}")]
    NotMergeable(String),
    /// 403.
    #[error("{0}")]
    Forbidden(String),
    /// 500: git did not do what it was asked.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl SimError {
    /// A 422 without a list of errors.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Unprocessable { message: message.into(), errors: Vec::new() }
    }

    /// A 422 "Validation Failed" about one field.
    pub fn field(resource: &str, field: &str, code: &str) -> Self {
        let error = json!({ "resource": resource, "field": field, "code": code });
        Self::Unprocessable { message: "Validation Failed".into(), errors: vec![error] }
    }

    /// A 422 "Validation Failed" in GitHub's own words.
    pub fn custom(resource: &str, message: impl Into<String>) -> Self {
        let error = json!({ "resource": resource, "code": "custom", "message": message.into() });
        Self::Unprocessable { message: "Validation Failed".into(), errors: vec![error] }
    }
}

impl From<MergeFailure> for SimError {
    fn from(failure: MergeFailure) -> Self {
        match failure {
            MergeFailure::Conflict => Self::Conflict("Merge conflict".into()),
            MergeFailure::Git(error) => Self::Git(error),
        }
    }
}

/// The outcome of an act.
pub type Result<T> = std::result::Result<T, SimError>;

impl State {
    /// What the state looks like on the wire.
    pub fn view(&self) -> View<'_> {
        View { state: self }
    }

    /// The repository or a 404.
    pub fn repo(&self, full_name: &str) -> Result<&Repository> {
        self.repository(full_name).ok_or_else(|| SimError::NotFound(format!("repository {full_name}")))
    }

    /// The repository, to change it, or a 404.
    pub fn repo_mut(&mut self, full_name: &str) -> Result<&mut Repository> {
        self.repository_mut(full_name).ok_or_else(|| SimError::NotFound(format!("repository {full_name}")))
    }

    /// The issue or pull request or a 404.
    pub fn issue(&self, full_name: &str, number: u64) -> Result<(&Repository, &Issue)> {
        let repository = self.repo(full_name)?;
        let issue = repository.issues.get(&number).ok_or_else(|| SimError::NotFound(format!("#{number}")))?;
        Ok((repository, issue))
    }

    /// The issue or pull request, to change it. Also notes that it was changed now.
    pub fn issue_mut(&mut self, full_name: &str, number: u64) -> Result<&mut Issue> {
        let repository = self.repo_mut(full_name)?;
        let issue = repository.issues.get_mut(&number).ok_or_else(|| SimError::NotFound(format!("#{number}")))?;
        issue.updated_at = crate::clock::now();
        Ok(issue)
    }

    /// Adds to an issue's timeline.
    fn note(&mut self, full_name: &str, number: u64, actor: &str, what: Happening) -> Result<()> {
        let event = TimelineEvent { at: crate::clock::now(), actor: actor.to_owned(), what };
        self.issue_mut(full_name, number)?.timeline.push(event);
        Ok(())
    }

    /// Whether the App is told about events of that name in a repository. Those about checks come to every App that may
    /// write checks, subscribed or not.
    fn listens(&self, full_name: &str, name: &str) -> bool {
        let Some(installation) = self.installation_of(full_name) else { return false };
        let writes_checks = installation.permissions.get("checks").is_some_and(|level| level == "write");
        let checks = writes_checks && (name == "check_run" || name == "check_suite");
        (checks || self.app.events.iter().any(|event| event == name)) && installation.suspended_at.is_none()
    }

    /// Tells the App about something in a repository, when it listens.
    ///
    /// `body` holds what is special to the event; repository, sender, installation and organization are added.
    fn emit(&mut self, full_name: &str, name: &str, action: Option<&str>, sender: &str, mut body: Value) {
        let Some((repository, installation)) = self.repository(full_name).zip(self.installation_of(full_name)) else {
            return;
        };
        if !self.listens(full_name, name) {
            return;
        }
        let mut payload = json!({});
        if let Some(action) = action {
            payload["action"] = action.into();
        }
        let view = self.view();
        extend(
            &mut payload,
            json!({
                "repository": view.repository(repository),
                "sender": view.user(sender),
                "installation": { "id": installation.id, "node_id": node_id("MDIzOkludGVncmF0aW9u", installation.id) },
            }),
        );
        let owner = self.account(&repository.owner).filter(|owner| owner.kind == AccountKind::Organization);
        if let Some(owner) = owner {
            payload["organization"] = view.organization(owner);
        }
        extend(&mut payload, body.take());
        self.outbox.push(Event {
            name: name.to_owned(),
            action: action.map(str::to_owned),
            repository: Some(repository.full_name()),
            repository_id: Some(repository.id),
            installation: installation.id,
            payload,
        });
    }
}
