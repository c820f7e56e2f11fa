//! The facts of one decision, read once. Plain data; it is filled by `worker` and judged by `gates`.

use chrono::{DateTime, Utc};

use super::ids::{CommitSha, Environment, PrNumber, ProjectName, RunId};
use super::paths::ChangedFile;
use super::policy::{Diagnostic, Policy, Role};
use super::run::{Conclusion, RunKind, RunStatus};
use super::targets::TargetFact;

/// Everything a decision may look at.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// When it was read.
    pub read_at: DateTime<Utc>,
    /// Who asks.
    pub actor: ActorFact,
    /// The pull request as GitHub shows it now.
    pub change: ChangeFact,
    /// When the person asked.
    pub given_at: DateTime<Utc>,
    /// The head that the person saw when asking.
    pub binding: HeadBinding,
    /// The changed files.
    pub files: FilesFact,
    /// The base branch's policy.
    pub policy: PolicyFact,
    /// Whether deployment is on for this repository.
    pub armed: bool,
    /// The halt in force, if there is one.
    pub halt: Option<HaltFact>,
    /// How many commits of the base branch the head does not contain; `None` when it could not be read.
    pub behind_by: Option<u64>,
    /// Approving reviews that count: newest of each person, from people who may push.
    pub approvals: Vec<Approval>,
    /// Runs of this change, newest first.
    pub runs: Vec<RunFact>,
    /// What is known of each project of the policy.
    pub projects: Vec<ProjectFact>,
    /// Whose the services are that the policy names.
    pub targets: Vec<TargetFact>,
}

/// Who asks, with the live permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorFact {
    /// GitHub login.
    pub login: String,
    /// The live role; `None` when GitHub could not be asked, which never counts as allowed.
    pub role: Option<Role>,
}

/// The pull request now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeFact {
    /// Its number.
    pub number: PrNumber,
    /// Who opened it.
    pub author: String,
    /// Open, closed or merged.
    pub open: bool,
    /// Merged.
    pub merged: bool,
    /// A draft.
    pub draft: bool,
    /// The head commit.
    pub head: CommitSha,
    /// The branch it goes to.
    pub base_ref: String,
    /// The repository's default branch; `None` when the host does not say it.
    pub default_branch: Option<String>,
    /// Whether the head lives in another repository.
    pub from_fork: bool,
}

/// Which head a command is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadBinding {
    /// The head is the one that was there when the command was given.
    Current,
    /// The person named another commit, or the head moved after the command was given.
    Other {
        /// The commit that was meant, as far as it is known.
        meant: String,
    },
    /// A push and the command were too close together to tell which head the person saw.
    Ambiguous {
        /// The head before the push, when it is known.
        before: Option<CommitSha>,
    },
}

/// The list of changed files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilesFact {
    /// All of them.
    Complete(Vec<ChangedFile>),
    /// GitHub's list was cut off, so nothing can be said about the rest.
    CutOff {
        /// How many were listed.
        listed: usize,
        /// How many GitHub says there are.
        expected: Option<u64>,
    },
}

/// The base branch's policy.
#[derive(Debug, Clone)]
pub enum PolicyFact {
    /// There is no policy file.
    Missing,
    /// The file has mistakes.
    Invalid(Vec<Diagnostic>),
    /// A valid policy and the base commit it was read at.
    Valid {
        /// The policy.
        policy: Box<Policy>,
        /// The commit of the base branch.
        commit: CommitSha,
    },
}

impl PolicyFact {
    /// The policy, when it is valid.
    pub fn policy(&self) -> Option<&Policy> {
        match self {
            Self::Valid { policy, .. } => Some(policy),
            _ => None,
        }
    }
}

/// A halt in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaltFact {
    /// Who called it.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
}

/// One approving review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Who approved.
    pub login: String,
    /// The commit that was approved, when GitHub says.
    pub commit: Option<CommitSha>,
}

/// A run of this change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFact {
    /// Its id.
    pub id: RunId,
    /// What it does.
    pub kind: RunKind,
    /// For which project.
    pub project: Option<ProjectName>,
    /// At which head.
    pub head: CommitSha,
    /// Under which policy.
    pub policy_hash: Option<String>,
    /// Where it is.
    pub status: RunStatus,
}

impl RunFact {
    /// Whether it has not ended yet.
    pub fn is_under_way(&self) -> bool {
        self.status.conclusion().is_none()
    }

    /// Whether it ended well.
    pub fn succeeded(&self) -> bool {
        self.status.conclusion() == Some(Conclusion::Success)
    }
}

/// What is known of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectFact {
    /// Its name.
    pub name: ProjectName,
    /// Who holds its environments.
    pub locks: Vec<LockFact>,
    /// A run that is changing one of its environments now.
    pub active: Option<ActiveRun>,
    /// What runs on production through Titan, when anything does.
    pub production: Option<LiveFact>,
    /// The newest good production release before that one.
    pub rollback_target: Option<CommitSha>,
}

/// A lock of one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFact {
    /// Which environment.
    pub environment: Environment,
    /// The pull request that owns it.
    pub owner: PrNumber,
    /// Who took it.
    pub by: String,
    /// Why, for a lock by hand.
    pub reason: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// A run that is changing an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveRun {
    /// Its id.
    pub id: RunId,
    /// What it does.
    pub kind: RunKind,
    /// For which pull request.
    pub number: PrNumber,
}

/// What is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveFact {
    /// The commit that the service answered with.
    pub commit: CommitSha,
    /// The pull request that brought it; `None` when it was found there.
    pub number: Option<PrNumber>,
}
