//! The facts of one decision, read once. Plain data; it is filled by `worker` and judged by `gates`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ids::{CommitSha, Environment, PrNumber, ProjectName, RepoName, RunId};
use super::lock::HeldFor;
use super::paths::ChangedFile;
use super::policy::{Diagnostic, Policy, Role, TeamName};
use super::run::{Conclusion, RunKind, RunStatus};
use super::targets::TargetFact;

/// Everything a decision may look at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    /// When it was read.
    pub read_at: DateTime<Utc>,
    /// Who asks.
    pub actor: ActorFact,
    /// The pull request as GitHub shows it now.
    pub change: ChangeFact,
    /// When the person asked.
    pub given_at: DateTime<Utc>,
    /// When Titan learned of it. Facts that an earlier release kept do not tell.
    #[serde(default)]
    pub reached_at: DateTime<Utc>,
    /// The head that the person saw when asking.
    pub binding: HeadBinding,
    /// The changed files.
    pub files: FilesFact,
    /// The base branch's policy. Not written with the other facts: it is kept by its hash.
    #[serde(skip, default = "no_policy")]
    pub policy: PolicyFact,
    /// Whether deployment is on for this repository.
    pub armed: bool,
    /// The halt in force, if there is one.
    pub halt: Option<HaltFact>,
    /// How many commits of the base branch the head does not contain; `None` when it could not be read.
    pub behind_by: Option<u64>,
    /// What people who may push said of the change, as far as the policy asks for approvals.
    pub reviews: ReviewsFact,
    /// What others reported about the head, and what must have been reported.
    pub checks: ChecksFact,
    /// Runs of this change, newest first.
    pub runs: Vec<RunFact>,
    /// What is known of each project of the policy.
    pub projects: Vec<ProjectFact>,
    /// Whose the services are that the policy names.
    pub targets: Vec<TargetFact>,
}

fn no_policy() -> PolicyFact {
    PolicyFact::Missing
}

/// Who asks, with the live permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorFact {
    /// GitHub login, as it is now.
    pub login: String,
    /// The login at the time of asking, when the person was renamed since.
    #[serde(default)]
    pub asked_as: Option<String>,
    /// The live role; `None` when GitHub could not be asked, which never counts as allowed.
    pub role: Option<Role>,
    /// Whether GitHub knows somebody else under this login now, and the one who asked is gone.
    pub is_other: bool,
    /// Of the teams that the policy names, whether the person is an active member now; `None` when GitHub did not tell.
    pub teams: Vec<(TeamName, Option<bool>)>,
}

impl ActorFact {
    /// Somebody with this role and in no team that a policy names.
    pub fn with_role(login: &str, role: Option<Role>) -> Self {
        Self { login: login.to_owned(), asked_as: None, role, is_other: false, teams: Vec::new() }
    }
}

/// The pull request now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Whether that repository is gone.
    pub fork_gone: bool,
    /// Who trusts exactly this head, when somebody does.
    pub trusted: Option<TrustFact>,
    /// Whether the conversation is locked.
    pub locked: bool,
    /// Whether the repository is archived, so that nothing can be merged.
    pub archived: bool,
    /// The repository's name as GitHub has it now, when it is not the one that the command was given under.
    pub moved_to: Option<RepoName>,
}

/// Somebody's word for one commit of a fork.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustFact {
    /// Who gave it.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Which head a command is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeadBinding {
    /// The head is the one that was there when the command was given.
    Current,
    /// The person named another commit, or the head moved after the command was given.
    Other {
        /// The commit that was meant, as far as it is known.
        meant: String,
    },
    /// The person named a commit by its first digits, and another head of the change begins with them as well.
    Collides {
        /// The other head.
        other: CommitSha,
    },
    /// A push and the command were too close together to tell which head the person saw.
    Ambiguous {
        /// The head before the push, when it is known.
        before: Option<CommitSha>,
    },
}

/// The list of changed files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltFact {
    /// Who called it.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
    /// The repository in which it was called, where alone it is lifted; `None`: it can be lifted here.
    #[serde(default)]
    pub elsewhere: Option<RepoName>,
}

/// What was said of the change in reviews. Empty when the policy asks for no approvals.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReviewsFact {
    /// The newest opinion of each person who may push and who approves.
    pub approvals: Vec<Approval>,
    /// Who of those who may push asks for changes.
    pub objections: Vec<String>,
    /// How many more ask for changes of whom nobody knows whether they may push: too many to ask about.
    #[serde(default)]
    pub unheard: usize,
    /// Who had a hand in the code: the author, those who pushed to the change, and those whose name the head carries.
    pub hands: Vec<Person>,
    /// Commits and their contents, as far as GitHub still has them: the head, and what was approved or proposed.
    pub trees: Vec<(CommitSha, CommitSha)>,
}

impl ReviewsFact {
    /// The content of a commit; `None` when GitHub does not have it any more.
    pub fn tree(&self, commit: &CommitSha) -> Option<&CommitSha> {
        self.trees.iter().find(|(known, _)| known == commit).map(|(_, tree)| tree)
    }
}

/// Somebody at GitHub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The login at that time.
    pub login: String,
    /// The number, which a rename does not change; `None` when it is not known.
    pub id: Option<i64>,
}

impl Person {
    /// Whether both are the same person: by number, or by login when a number is missing.
    pub fn same(&self, other: &Self) -> bool {
        match (self.id, other.id) {
            (Some(one), Some(two)) => one == two,
            _ => self.login.eq_ignore_ascii_case(&other.login),
        }
    }
}

/// One approving review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who approved.
    pub by: Person,
    /// The commit that was approved, when GitHub says.
    pub commit: Option<CommitSha>,
    /// When.
    pub at: Option<DateTime<Utc>>,
}

/// What others reported about the head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChecksFact {
    /// The command does not ask for it.
    NotAsked,
    /// GitHub did not tell; why, plain text.
    Unknown(String),
    /// All of it, without Titan's own.
    Read {
        /// What the base branch's rules require.
        required: Vec<RequiredCheck>,
        /// The newest report of each App and name.
        reported: Vec<ReportedCheck>,
    },
}

/// A check that the base branch's rules require.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequiredCheck {
    /// Its name.
    pub name: String,
    /// The only App whose report counts, when the rule names one.
    pub app: Option<i64>,
}

/// A check run or a commit status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedCheck {
    /// Its name.
    pub name: String,
    /// The App of a check run; `None` for a commit status, which anybody who may push can set.
    pub app: Option<i64>,
    /// How it stands.
    pub state: CheckStanding,
}

/// How somebody's check stands, with GitHub's own word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckStanding {
    /// Good, as GitHub counts it.
    Green(String),
    /// Not ended.
    Running(String),
    /// Anything else.
    Red(String),
}

/// A run of this change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFact {
    /// Its id.
    pub id: RunId,
    /// What it does.
    pub kind: RunKind,
    /// For which project.
    pub project: Option<ProjectName>,
    /// At which head.
    pub head: CommitSha,
    /// For which base branch; `None` for a run of an earlier release, which counts for none.
    #[serde(default)]
    pub base_ref: Option<String>,
    /// Under which policy.
    pub policy_hash: Option<String>,
    /// Where it is.
    pub status: RunStatus,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
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

    /// Whether it was decided for the branch that the pull request goes to now. What was judged against another base is
    /// another change, although its head is the same.
    pub fn is_for_base(&self, change: &ChangeFact) -> bool {
        self.base_ref.as_ref() == Some(&change.base_ref)
    }
}

/// What is known of one project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectFact {
    /// Its name.
    pub name: ProjectName,
    /// Who holds its environments.
    pub locks: Vec<LockFact>,
    /// Who waits for it, oldest first.
    #[serde(default)]
    pub queue: Vec<WaitingFact>,
    /// How many runs have changed one of its environments so far; a start is only good as long as that stays so.
    #[serde(default)]
    pub runs_begun: i64,
    /// A run that is changing one of its environments now.
    pub active: Option<ActiveRun>,
    /// What runs on production through Titan, when anything does.
    pub production: Option<LiveFact>,
    /// The newest good production release before that one.
    pub rollback_target: Option<CommitSha>,
}

impl ProjectFact {
    /// A project of which nothing is known but its name.
    pub fn new(name: ProjectName) -> Self {
        Self {
            name,
            locks: Vec::new(),
            queue: Vec::new(),
            runs_begun: 0,
            active: None,
            production: None,
            rollback_target: None,
        }
    }
}

/// A lock of one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// What it is held for.
    #[serde(default)]
    pub held_for: HeldFor,
    /// When it ends by itself; `None`: not by itself.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
    /// Whether the end is near and people have been told.
    #[serde(default)]
    pub ends_soon: bool,
}

/// A command that waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingFact {
    /// Rises: whoever joined later has a higher one.
    pub id: i64,
    /// For which pull request.
    pub number: PrNumber,
    /// What will run.
    pub kind: RunKind,
    /// The head that the person meant.
    pub head: CommitSha,
    /// Who asked.
    pub by: String,
    /// The id that its run will have.
    pub run: RunId,
    /// Since when it waits.
    pub since: DateTime<Utc>,
}

/// A run that is changing an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveRun {
    /// Its id.
    pub id: RunId,
    /// What it does.
    pub kind: RunKind,
    /// For which pull request.
    pub number: PrNumber,
}

/// What is live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveFact {
    /// The commit that the service answered with.
    pub commit: CommitSha,
    /// The pull request that brought it; `None` when it was found there.
    pub number: Option<PrNumber>,
}
