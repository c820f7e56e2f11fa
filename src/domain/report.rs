//! What people see at GitHub, as plain data: the status comment, check runs, deployments and answers to commands.
//!
//! Pure functions from [`ChangeFacts`] to finished Markdown and words. Nothing here reads, sends or decides what a
//! command does; the facts come from `worker/report`, which also sends what is made here. Markdown comes in two kinds:
//! finished (a step's detail, a run's summary, a gate's words: put in as it is) and foreign (logins, commands, paths,
//! logs: always through [`super::markdown`]). No clock: the same facts always give the same text, so that nothing is
//! sent again that GitHub has already.

pub mod answer;
mod checks;
mod comment;
mod deployment;
mod lock;
mod next;
mod stages;
mod words;

pub use checks::{
    CheckButton, CheckConclusion, CheckName, CheckNote, CheckState, CheckView, checks, todo, waiting_checks,
};
pub use comment::{ChangeView, HistoryRow, change_view, marker};
pub use deployment::{DeploymentState, DeploymentView, deployment};
pub use next::{NextCommand, next_commands};
pub use stages::{SectionView, StageRow};
pub use words::{Link, Mark, duration, time};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::gates::GateResult;
use super::ids::{CommitSha, PrNumber, ProjectName, RepoName, RunId};
use super::progress::{
    self, BakeProgress, BuildProgress, DeployProgress, DiffProgress, MergeProgress, RestoreProgress, RevertProgress,
    VerifyProgress,
};
use super::run::{Conclusion, RunKind, RunStatus, StepName, StepStatus};
use super::snapshot::{HaltFact, ProjectFact};
use super::verdict::Figures;

/// Everything that is shown of one change.
#[derive(Debug, Clone)]
pub struct ChangeFacts {
    /// The change's row id; the status comment carries it.
    pub id: i64,
    /// Where it is.
    pub repo: RepoName,
    /// The pull request.
    pub number: PrNumber,
    /// The head as last seen.
    pub head: Option<CommitSha>,
    /// The base branch as last seen; `None` while it is not known.
    pub base_ref: Option<String>,
    /// Whether the pull request was open when last seen.
    pub open: bool,
    /// Whether deployment is on for the repository.
    pub armed: bool,
    /// The halt in force, if there is one.
    pub halt: Option<HaltFact>,
    /// The answer to the latest command, finished Markdown; may be empty.
    pub answer: String,
    /// The repository's projects, by name.
    pub projects: Vec<ProjectFacts>,
    /// The change's runs, newest first, refused ones among them.
    pub runs: Vec<RunFacts>,
    /// The latest commands, newest first.
    pub commands: Vec<CommandFacts>,
    /// Where links lead.
    pub links: Links,
}

impl ChangeFacts {
    /// The base branch that a run was decided for, when the pull request goes to another one now.
    pub fn other_base<'r>(&self, run: &'r RunFacts) -> Option<&'r str> {
        let (now, then) = (self.base_ref.as_ref()?, run.base_ref.as_ref()?);
        (now != then).then_some(then)
    }
}

/// A project and what holds it.
#[derive(Debug, Clone)]
pub struct ProjectFacts {
    /// Its name, locks, active run and what is live.
    pub fact: ProjectFact,
    /// The canary service's address, when the policy has one.
    pub canary_url: Option<String>,
    /// The production service's address, when the policy has one.
    pub production_url: Option<String>,
    /// The run that brought what production runs now.
    pub production_run: Option<RunId>,
}

/// One run with its steps and what they remember.
#[derive(Debug, Clone)]
pub struct RunFacts {
    /// Its id.
    pub id: RunId,
    /// What it does.
    pub kind: RunKind,
    /// For which project.
    pub project: Option<ProjectName>,
    /// The head commit it is pinned to.
    pub head: CommitSha,
    /// Who asked.
    pub actor: String,
    /// The base branch that it was decided for; `None` when that was not noted down.
    pub base_ref: Option<String>,
    /// Hash of the policy that allowed it.
    pub policy_hash: Option<String>,
    /// Where it is.
    pub status: RunStatus,
    /// What came of it, one sentence, finished Markdown; may be empty.
    pub summary: String,
    /// What the gates answered when it was decided.
    pub gates: Vec<GateResult>,
    /// Who asked to stop it.
    pub cancel_by: Option<String>,
    /// Whether its command waited in line and it never began.
    pub waited: bool,
    /// The run that this one cleans up after.
    pub cause: Option<RunId>,
    /// When it was accepted or refused.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// Its steps, in order; empty for a refused run.
    pub steps: Vec<StepFacts>,
    /// What the steps remember.
    pub seen: Seen,
}

impl RunFacts {
    /// The last step of this name.
    pub fn step(&self, name: StepName) -> Option<&StepFacts> {
        self.steps.iter().rev().find(|step| step.name == name)
    }

    /// How it ended, once it has.
    pub fn conclusion(&self) -> Option<Conclusion> {
        self.status.conclusion()
    }

    /// Whether it has not ended yet.
    pub fn is_under_way(&self) -> bool {
        self.conclusion().is_none()
    }

    /// Whether a gate said no.
    pub fn is_refused(&self) -> bool {
        self.conclusion() == Some(Conclusion::Refused)
    }
}

/// One step as shown.
#[derive(Debug, Clone)]
pub struct StepFacts {
    /// What it does.
    pub name: StepName,
    /// Where it is.
    pub status: StepStatus,
    /// What was seen, one line, finished Markdown; may be empty.
    pub detail: String,
    /// When it was first taken up.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
}

/// What a run's steps remember; the defaults stand for steps that have not begun.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The changed files.
    pub diff: DiffProgress,
    /// The build.
    pub build: BuildProgress,
    /// The merge.
    pub merge: MergeProgress,
    /// The deploy.
    pub deploy: DeployProgress,
    /// The question for the commit.
    pub verify: VerifyProgress,
    /// The watching.
    pub bake: BakeProgress,
    /// The putting back.
    pub restore: RestoreProgress,
    /// The revert pull request.
    pub revert: RevertProgress,
    /// The samples so far, while there is no judgement.
    pub figures: Option<Figures>,
}

impl Seen {
    /// Takes a step's stored progress in. Of two steps with the same name the later one counts.
    pub fn remember(&mut self, step: StepName, stored: &Value) {
        match step {
            StepName::Diff => self.diff = progress::read(stored),
            StepName::Build => self.build = progress::read(stored),
            StepName::Merge => self.merge = progress::read(stored),
            StepName::Deploy => self.deploy = progress::read(stored),
            StepName::Verify => self.verify = progress::read(stored),
            StepName::Bake => self.bake = progress::read(stored),
            StepName::Restore => self.restore = progress::read(stored),
            StepName::Revert => self.revert = progress::read(stored),
        }
    }

    /// The numbers of the bake: the judgement's, else the samples so far.
    pub fn bake_figures(&self) -> Option<&Figures> {
        self.bake.judgement.as_ref().map(|judgement| &judgement.figures).or(self.figures.as_ref())
    }
}

/// One command as it came in.
#[derive(Debug, Clone)]
pub struct CommandFacts {
    /// Who asked.
    pub actor: String,
    /// The command as text; foreign.
    pub text: String,
    /// How it ended: `started`, `refused`, `done`, `answered`, `misunderstood`, `withdrawn`, or `queued` while it waits.
    pub conclusion: Option<String>,
    /// The reason code of a refusal.
    pub reason: Option<String>,
    /// When it came in.
    pub received_at: DateTime<Utc>,
    /// The run that it left, started or refused.
    pub run: Option<RunId>,
}

/// Where links lead.
#[derive(Debug, Clone)]
pub struct Links {
    /// Titan's own address, without a slash at the end.
    pub titan: String,
    /// GitHub's address for people, without a slash at the end.
    pub github: String,
}

impl Links {
    /// From addresses with or without a slash at the end.
    pub fn new(titan: &str, github: &str) -> Self {
        Self { titan: titan.trim_end_matches('/').to_owned(), github: github.trim_end_matches('/').to_owned() }
    }

    /// A run's page.
    pub fn run(&self, id: RunId) -> String {
        format!("{}/runs/{id}", self.titan)
    }

    /// The receipt of a run's path judgement.
    pub fn receipt(&self, id: RunId) -> String {
        format!("{}/api/runs/{id}/receipt", self.titan)
    }

    /// Titan's page of a pull request, with every gate as it stands when it is opened.
    pub fn gates(&self, repo: &RepoName, number: PrNumber) -> String {
        format!("{}/{repo}/pull/{}", self.titan, number.0)
    }

    /// A pull request's page.
    pub fn pull_request(&self, repo: &RepoName, number: PrNumber) -> String {
        format!("{}/{repo}/pull/{}", self.github, number.0)
    }
}

#[cfg(test)]
mod tests;
