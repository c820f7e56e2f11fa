//! GitHub's deployments and their statuses. They only tell; nothing is deployed by them.

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::cut_chars;
use crate::domain::ids::CommitSha;
use crate::github::call::Call;
use crate::github::wire::{Id, or_default};
use crate::github::{Access, GitHubError, RepoClient};

/// The task of all of Titan's deployments.
const TASK: &str = "deploy";
/// The most characters of a status's description.
const DESCRIPTION_CHARS: usize = 140;

/// A deployment to be told about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentWrite {
    /// What is deployed.
    pub commit: CommitSha,
    /// `canary` or `production`, perhaps with a project's name.
    pub environment: String,
    /// One line.
    pub description: String,
    /// The run's id, kept in the payload so that the deployment can be found again.
    pub run: String,
    /// Whether the users see it.
    pub production: bool,
}

/// What is told about a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentStatusWrite {
    /// Where it is now.
    pub state: DeploymentState,
    /// One line, up to 140 characters.
    pub description: String,
    /// The page with everything.
    pub log_url: Option<String>,
    /// Where the deployed version can be seen.
    pub environment_url: Option<String>,
    /// Whether GitHub sets earlier successful deployments of a non-production environment to inactive.
    pub auto_inactive: bool,
}

/// GitHub's words for where a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentState {
    /// Could not be tried.
    Error,
    /// Tried and failed.
    Failure,
    /// Replaced by another.
    Inactive,
    /// Going on.
    InProgress,
    /// Waits.
    Queued,
    /// Waits for something outside.
    Pending,
    /// Live.
    Success,
}

#[derive(Serialize)]
struct CreateBody<'a> {
    #[serde(rename = "ref")]
    commit: &'a CommitSha,
    task: &'static str,
    /// GitHub's default would merge the base branch into the ref.
    auto_merge: bool,
    /// GitHub's default would demand that every status is green, Titan's own included.
    required_contexts: [&'a str; 0],
    payload: Payload<'a>,
    environment: &'a str,
    description: &'a str,
    transient_environment: bool,
    production_environment: bool,
}

#[derive(Serialize)]
struct Payload<'a> {
    run: &'a str,
}

#[derive(Serialize)]
struct StatusBody<'a> {
    state: DeploymentState,
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment_url: Option<&'a str>,
    auto_inactive: bool,
}

#[derive(Deserialize)]
struct DeploymentWire {
    id: i64,
    #[serde(default, deserialize_with = "or_default")]
    sha: String,
    #[serde(default, deserialize_with = "or_default")]
    environment: String,
    #[serde(default)]
    payload: serde_json::Value,
}

#[derive(Deserialize)]
struct StatusWire {
    id: i64,
    #[serde(default)]
    state: serde_json::Value,
}

impl DeploymentWire {
    /// The run in the payload, which GitHub gives back as an object or as text with JSON in it.
    fn run(&self) -> Option<String> {
        let of = |value: &serde_json::Value| value.get("run").and_then(|run| run.as_str()).map(str::to_owned);
        match &self.payload {
            serde_json::Value::String(text) => of(&serde_json::from_str(text).ok()?),
            value => of(value),
        }
    }
}

impl RepoClient {
    /// The deployment of this run, the newest if there are several.
    ///
    /// # Errors
    /// Only when GitHub could not be asked.
    pub async fn find_deployment(
        &self,
        head: &CommitSha,
        environment: &str,
        run: &str,
    ) -> Result<Option<i64>, GitHubError> {
        let call = Call::get(self.path("/deployments"))
            .query("sha", head.as_str())
            .query("environment", environment)
            .query("task", TASK);
        let found = self.list_all(Access::Feedback, call, |page: Vec<DeploymentWire>| page).await?;
        let ours = |deployment: &&DeploymentWire| {
            deployment.sha.eq_ignore_ascii_case(head.as_str())
                && deployment.environment == environment
                && deployment.run().as_deref() == Some(run)
        };
        Ok(found.iter().filter(ours).map(|deployment| deployment.id).max())
    }

    /// Tells about a deployment and gives its number.
    ///
    /// # Errors
    /// `Conflict` when GitHub does something else instead (a 202 says that it merged a branch), `Invalid` when the
    /// repository has no such commit.
    pub async fn create_deployment(&self, deployment: &DeploymentWrite) -> Result<i64, GitHubError> {
        let body = CreateBody {
            commit: &deployment.commit,
            task: TASK,
            auto_merge: false,
            required_contexts: [],
            payload: Payload { run: &deployment.run },
            environment: &deployment.environment,
            description: &deployment.description,
            transient_environment: false,
            production_environment: deployment.production,
        };
        let call = Call::write(Method::POST, self.path("/deployments"), &body)?;
        let answer = self.send(Access::Feedback, &call).await?;
        if answer.status == StatusCode::ACCEPTED {
            return Err(GitHubError::Conflict(format!(
                "{}: GitHub answered 202, which means that it made no deployment",
                call.name()
            )));
        }
        Ok(answer.json::<Id>()?.id)
    }

    /// What was told about a deployment last; `None` when nothing was, or a word that Titan does not know.
    ///
    /// # Errors
    /// `NotFound` when there is no such deployment.
    pub async fn newest_deployment_state(&self, id: i64) -> Result<Option<DeploymentState>, GitHubError> {
        let call = Call::get(self.path(&format!("/deployments/{id}/statuses")));
        let statuses = self.list_all(Access::Feedback, call, |page: Vec<StatusWire>| page).await?;
        let newest = statuses.into_iter().max_by_key(|status| status.id);
        Ok(newest.and_then(|status| serde_json::from_value(status.state).ok()))
    }

    /// Adds a status to a deployment. Twice adds two equal ones: ask [`RepoClient::newest_deployment_state`] first.
    ///
    /// # Errors
    /// `NotFound` when there is no such deployment.
    pub async fn create_deployment_status(&self, id: i64, status: &DeploymentStatusWrite) -> Result<(), GitHubError> {
        let body = StatusBody {
            state: status.state,
            description: cut_chars(&status.description, DESCRIPTION_CHARS),
            log_url: status.log_url.as_deref(),
            environment_url: status.environment_url.as_deref(),
            auto_inactive: status.auto_inactive,
        };
        let path = format!("/deployments/{id}/statuses");
        self.tell(Access::Feedback, Method::POST, &path, &body).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_is_found_in_both_forms_of_a_payload() {
        let run = |payload: serde_json::Value| {
            let json = serde_json::json!({"id": 1, "payload": payload});
            serde_json::from_value::<DeploymentWire>(json).expect("a deployment").run()
        };
        assert_eq!(run(serde_json::json!({"run": "r1"})).as_deref(), Some("r1"));
        assert_eq!(run(serde_json::json!(r#"{"run":"r1"}"#)).as_deref(), Some("r1"));
        for other in [serde_json::json!(""), serde_json::json!(null), serde_json::json!({}), serde_json::json!("r1")] {
            assert_eq!(run(other), None);
        }
    }
}
