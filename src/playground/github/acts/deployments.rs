//! Deployments with GitHub's own rules, which by default are hostile to a bot: it merges the default branch into the
//! deployed one and wants every status to have succeeded.

use serde_json::{Value, json};

use super::{Result, SimError};
use crate::playground::github::git::{MergeFailure, Signature};
use crate::playground::github::model::{Deployment, DeploymentStatus, Happening, State};
use crate::playground::github::views::without_client_id;

/// The longest description in characters.
const DESCRIPTION_LIMIT: usize = 140;

/// A deployment to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDeployment {
    /// Branch, tag or commit.
    pub reference: String,
    /// `deploy` when nothing is said.
    pub task: String,
    /// Whether GitHub may merge the default branch into `reference` first.
    pub auto_merge: bool,
    /// Names that must have succeeded; `None` means all there are.
    pub required_contexts: Option<Vec<String>>,
    /// An object or a text.
    pub payload: Value,
    /// `production` when nothing is said.
    pub environment: String,
    /// For people.
    pub description: Option<String>,
    /// Whether the environment goes away again.
    pub transient: bool,
    /// `None` means: when the environment is called `production`.
    pub production: Option<bool>,
}

/// What came of asking for a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeploymentAnswer {
    /// A deployment of this id.
    Created(u64),
    /// No deployment: the default branch was merged into the deployed one (202).
    Merged(String),
}

/// A status to be added to a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewDeploymentStatus {
    /// `error`, `failure`, `inactive`, `in_progress`, `queued`, `pending` or `success`.
    pub state: String,
    /// For people.
    pub description: String,
    /// Where its log can be read.
    pub log_url: String,
    /// Where the environment can be seen.
    pub environment_url: String,
    /// Another name for the environment.
    pub environment: Option<String>,
    /// Whether earlier deployments of the environment become inactive.
    pub auto_inactive: bool,
}

impl State {
    /// Makes a deployment, or merges instead, as GitHub does.
    ///
    /// # Errors
    /// 409 for contexts that have not succeeded and for conflicts; 422 for a ref that does not exist.
    pub fn create_deployment(&mut self, full_name: &str, by: &str, new: NewDeployment) -> Result<DeploymentAnswer> {
        let repository = self.repo(full_name)?;
        let git = repository.git.clone();
        let missing = || SimError::invalid(format!("No ref found for: {}", new.reference));
        let sha = git.resolve(&new.reference).ok_or_else(missing)?;
        if new.description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION_LIMIT) {
            return Err(SimError::field("Deployment", "description", "invalid"));
        }
        if new.auto_merge && git.branch(&new.reference).is_some() {
            let default = repository.default_branch.clone();
            if let Some(merged) = self.merge_default(full_name, &default, &new.reference, &sha, by)? {
                return Ok(DeploymentAnswer::Merged(merged));
            }
        }
        self.check_contexts(full_name, &sha, &new)?;
        let (id, now) = (self.new_id(), crate::clock::now());
        let deployment = Deployment {
            id,
            sha: sha.clone(),
            reference: new.reference,
            task: new.task,
            payload: new.payload,
            production: new.production.unwrap_or(new.environment == "production"),
            environment: new.environment,
            description: new.description,
            creator: by.to_owned(),
            transient: new.transient,
            created_at: now,
            updated_at: now,
            statuses: Vec::new(),
        };
        let repository = self.repo_mut(full_name)?;
        repository.deployments.push(deployment);
        let concerned: Vec<u64> = repository
            .issues
            .values()
            .filter(|issue| {
                let pull = issue.pull.as_ref();
                pull.is_some_and(|pull| pull.head_sha == sha || pull.merged.as_ref().is_some_and(|m| m.sha == sha))
            })
            .map(|issue| issue.number)
            .collect();
        for number in concerned {
            self.note(full_name, number, by, Happening::Deployed(id))?;
        }
        self.emit_deployment(full_name, id, by);
        Ok(DeploymentAnswer::Created(id))
    }

    /// Merges the default branch into the deployed one when it is behind; the message that GitHub answers then.
    fn merge_default(
        &mut self,
        full_name: &str,
        default: &str,
        branch: &str,
        sha: &str,
        by: &str,
    ) -> Result<Option<String>> {
        let git = self.repo(full_name)?.git.clone();
        let Some(tip) = git.branch(default).filter(|tip| branch != default && !git.is_ancestor(tip, sha)) else {
            return Ok(None);
        };
        let who = Signature::github(crate::clock::now());
        let message = format!("Merge branch '{default}' into {branch}");
        let merged = git.merge(sha, &tip, &who, &who, &message).map_err(|failure| match failure {
            MergeFailure::Conflict => SimError::Conflict(format!("Conflict merging {default} into {branch}.")),
            MergeFailure::Git(error) => error.into(),
        })?;
        self.move_branch(full_name, branch, &merged, by, false)?;
        Ok(Some(format!("Auto-merged {default} into {branch} on deployment.")))
    }

    fn check_contexts(&self, full_name: &str, sha: &str, new: &NewDeployment) -> Result<()> {
        let known = self.repo(full_name)?.contexts(sha);
        let bad = match &new.required_contexts {
            None => known.values().any(|state| *state != "success"),
            Some(names) => names.iter().any(|name| known.get(name) != Some(&"success")),
        };
        if bad {
            let message = format!("Conflict: Commit status checks failed for {}.", new.reference);
            return Err(SimError::Conflict(message));
        }
        Ok(())
    }

    /// Adds a status to a deployment and returns its id.
    pub fn add_deployment_status(
        &mut self,
        full_name: &str,
        deployment: u64,
        by: &str,
        new: NewDeploymentStatus,
    ) -> Result<u64> {
        if !["error", "failure", "inactive", "in_progress", "queued", "pending", "success"]
            .contains(&new.state.as_str())
        {
            return Err(SimError::field("DeploymentStatus", "state", "invalid"));
        }
        if new.description.chars().count() > DESCRIPTION_LIMIT {
            let message = format!("Description is too long (maximum is {DESCRIPTION_LIMIT} characters)");
            return Err(SimError::custom("DeploymentStatus", message));
        }
        let (success, auto_inactive) = (new.state == "success", new.auto_inactive);
        let id = self.append_status(full_name, deployment, by, new)?;
        if success && auto_inactive {
            self.retire_others(full_name, deployment, by)?;
        }
        Ok(id)
    }

    fn append_status(&mut self, full_name: &str, deployment: u64, by: &str, new: NewDeploymentStatus) -> Result<u64> {
        let (id, now) = (self.new_id(), crate::clock::now());
        let found = self.repo_mut(full_name)?.deployments.iter_mut().find(|known| known.id == deployment);
        let found = found.ok_or_else(|| SimError::NotFound(format!("deployment {deployment}")))?;
        if let Some(environment) = new.environment {
            found.environment = environment;
        }
        found.updated_at = now;
        found.statuses.push(DeploymentStatus {
            id,
            state: new.state.clone(),
            description: new.description,
            environment: found.environment.clone(),
            environment_url: new.environment_url,
            log_url: new.log_url,
            creator: by.to_owned(),
            created_at: now,
        });
        if new.state != "inactive" {
            self.emit_deployment_status(full_name, deployment, by);
        }
        Ok(id)
    }

    /// Earlier successful deployments of the same environment become inactive, but only non-transient ones outside
    /// production: https://docs.github.com/rest/deployments/statuses, `auto_inactive`.
    fn retire_others(&mut self, full_name: &str, deployment: u64, by: &str) -> Result<()> {
        let repository = self.repo(full_name)?;
        let environment = repository.deployments.iter().find(|known| known.id == deployment).map(|d| &d.environment);
        let retired: Vec<u64> = repository
            .deployments
            .iter()
            .filter(|other| other.id < deployment && Some(&other.environment) == environment)
            .filter(|other| !other.transient && !other.production && other.state() == Some("success"))
            .map(|other| other.id)
            .collect();
        for other in retired {
            let inactive = NewDeploymentStatus { state: "inactive".into(), ..NewDeploymentStatus::default() };
            self.append_status(full_name, other, by, inactive)?;
        }
        Ok(())
    }

    fn emit_deployment(&mut self, full_name: &str, id: u64, by: &str) {
        let Some(repository) = self.repository(full_name) else { return };
        let Some(deployment) = repository.deployments.iter().find(|known| known.id == id) else { return };
        let body = json!({
            "deployment": without_client_id(self.view().deployment(repository, deployment)),
            "workflow": null,
            "workflow_run": null,
        });
        self.emit(full_name, "deployment", Some("created"), by, body);
    }

    fn emit_deployment_status(&mut self, full_name: &str, id: u64, by: &str) {
        let Some(repository) = self.repository(full_name) else { return };
        let Some(deployment) = repository.deployments.iter().find(|known| known.id == id) else { return };
        let Some(status) = deployment.statuses.last() else { return };
        let mut described = without_client_id(self.view().deployment_status(repository, deployment, status));
        if let Some(fields) = described.as_object_mut() {
            let absent = |name: &str, value: &Value| ["environment_url", "log_url"].contains(&name) && value == "";
            fields.retain(|name, value| !absent(name, value));
        }
        let body = json!({
            "deployment": without_client_id(self.view().deployment(repository, deployment)),
            "deployment_status": described,
            "check_run": null,
            "workflow": null,
            "workflow_run": null,
        });
        self.emit(full_name, "deployment_status", Some("created"), by, body);
    }
}
