//! GitHub's deployment of a run: what GitHub's own pages show as deployed. It only tells; nothing is deployed by it.

use serde::Serialize;

use super::{ChangeFacts, ProjectFacts, RunFacts};
use crate::domain::ids::{CommitSha, Environment, RunId};
use crate::domain::run::{Conclusion, RunKind, RunStatus};

/// GitHub's words for where a deployment is, as far as Titan uses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentState {
    /// Going on.
    InProgress,
    /// Live and found good.
    Success,
    /// Found bad.
    Failure,
    /// Live, but nobody can say whether it is good.
    Error,
    /// Stopped, or replaced by a later one.
    Inactive,
}

impl DeploymentState {
    /// GitHub's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Inactive => "inactive",
        }
    }
}

/// A deployment as GitHub shall show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeploymentView {
    /// The run; the deployment's payload carries it.
    pub run: RunId,
    /// `canary` or `production`; with the project's name when the repository has several.
    pub environment: String,
    /// What is deployed: the head, the merge commit, or the commit that is put back.
    pub commit: CommitSha,
    /// Whether the users see it.
    pub production: bool,
    /// Where it is.
    pub state: DeploymentState,
    /// One line of plain text, at most 140 characters.
    pub description: String,
    /// The run's page.
    pub log_url: String,
    /// Where the deployed version answers.
    pub environment_url: Option<String>,
}

/// The deployment of a run; `None` while nothing outside was touched, and for runs that deploy nothing.
///
/// GitHub sets earlier deployments of the canary to inactive by itself, those of production it leaves: one that is not
/// what production runs any more is `Inactive` here.
pub fn deployment(run: &RunFacts, change: &ChangeFacts) -> Option<DeploymentView> {
    let environment = run.kind.environment()?;
    let seen = &run.seen;
    let (intent_at, commit) = match run.kind {
        RunKind::Rollback | RunKind::Restore => (seen.restore.intent_at, seen.restore.to.as_ref()),
        _ => (seen.deploy.intent_at, seen.deploy.commit.as_ref()),
    };
    intent_at?;
    let project = project_of(run, change);
    let later = project.and_then(|project| project.production_run).filter(|live| *live > run.id);
    let replaced = environment == Environment::Production && later.is_some();
    let (state, description) = state(run, replaced);
    let name = match &run.project {
        Some(project) if change.projects.len() > 1 => format!("{environment} {project}"),
        _ => environment.to_string(),
    };
    Some(DeploymentView {
        run: run.id,
        environment: name,
        commit: commit.cloned().unwrap_or_else(|| run.head.clone()),
        production: environment == Environment::Production,
        state,
        description,
        log_url: change.links.run(run.id),
        environment_url: service_url(run, change),
    })
}

/// Where the service of a run answers, when it is known.
pub(super) fn service_url(run: &RunFacts, change: &ChangeFacts) -> Option<String> {
    let project = project_of(run, change)?;
    let named = match run.kind.environment()? {
        Environment::Canary => &project.canary_url,
        Environment::Production => &project.production_url,
    };
    run.seen.deploy.service_url.clone().or_else(|| named.clone())
}

fn project_of<'c>(run: &RunFacts, change: &'c ChangeFacts) -> Option<&'c ProjectFacts> {
    change.projects.iter().find(|project| Some(&project.fact.name) == run.project.as_ref())
}

/// State and description. The descriptions are Titan's own words: nothing foreign is in them.
fn state(run: &RunFacts, replaced: bool) -> (DeploymentState, String) {
    let told = |text: &str| format!("{}: {text}", run.kind);
    match run.status {
        RunStatus::Queued | RunStatus::Running => (DeploymentState::InProgress, told("going on")),
        RunStatus::Undoing => (DeploymentState::Failure, told("failed, the version before is being put back")),
        RunStatus::Completed(Conclusion::Success) if replaced => {
            (DeploymentState::Inactive, told("replaced by a later version"))
        }
        RunStatus::Completed(Conclusion::Success) => (DeploymentState::Success, told("live and found good")),
        RunStatus::Completed(Conclusion::Failure) => (DeploymentState::Failure, told("failed")),
        // Not `success`: a repository may demand a successful deployment before a merge.
        RunStatus::Completed(Conclusion::Inconclusive) => {
            (DeploymentState::Error, told("could not be judged, a person decides"))
        }
        RunStatus::Completed(Conclusion::Cancelled | Conclusion::Refused) => {
            (DeploymentState::Inactive, told("stopped"))
        }
    }
}
