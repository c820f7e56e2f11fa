//! A run's life: its status, its steps, and the one function that holds every legal move.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::command::CommandName;
use super::ids::Environment;

/// What a run does: the commands that become runs, and what Titan starts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// Check paths and build.
    Propose,
    /// Deploy the head commit to the canary and judge it.
    Canary,
    /// Merge and ship.
    Promote,
    /// Bring the last good version back.
    Rollback,
    /// Put the last good version back on the canary, because the change that was there has gone. No command starts it.
    Restore,
}

impl RunKind {
    /// Every kind that a command starts, in the order of a change's life.
    pub const ALL: [Self; 4] = [Self::Propose, Self::Canary, Self::Promote, Self::Rollback];

    /// The kind that a command starts, if it starts one.
    pub fn of(command: CommandName) -> Option<Self> {
        match command {
            CommandName::Propose => Some(Self::Propose),
            CommandName::Canary => Some(Self::Canary),
            CommandName::Promote => Some(Self::Promote),
            CommandName::Rollback => Some(Self::Rollback),
            _ => None,
        }
    }

    /// The command that starts it, or after which it cleans up.
    pub fn command(self) -> CommandName {
        match self {
            Self::Propose => CommandName::Propose,
            Self::Canary | Self::Restore => CommandName::Canary,
            Self::Promote => CommandName::Promote,
            Self::Rollback => CommandName::Rollback,
        }
    }

    /// The word in SQL, on pages and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            _ => self.command().as_str(),
        }
    }

    /// The environment that it changes, if it changes one.
    pub fn environment(self) -> Option<Environment> {
        match self {
            Self::Propose => None,
            Self::Canary | Self::Restore => Some(Environment::Canary),
            Self::Promote | Self::Rollback => Some(Environment::Production),
        }
    }

    /// The steps of an undisturbed run, in order.
    pub fn steps(self) -> &'static [StepName] {
        match self {
            Self::Propose => &[StepName::Diff, StepName::Build],
            Self::Canary => &[StepName::Deploy, StepName::Verify, StepName::Bake],
            Self::Promote => &[StepName::Merge, StepName::Deploy, StepName::Verify, StepName::Bake],
            Self::Rollback => &[StepName::Restore, StepName::Verify, StepName::Revert],
            Self::Restore => &[StepName::Restore],
        }
    }
}

impl fmt::Display for RunKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for RunKind {
    type Err = super::ids::InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().chain([Self::Restore]).find(|kind| kind.as_str() == text).ok_or(super::ids::InvalidId {
            what: "run kind",
            why: "expected propose, canary, promote, rollback or restore",
        })
    }
}

/// What a step does; each is durable, with intent and outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepName {
    /// Judge the changed files against the path rules.
    Diff,
    /// Check out the commit and build it.
    Build,
    /// Merge the pull request with the head guard.
    Merge,
    /// Put the commit on the service.
    Deploy,
    /// Ask the service which commit it is.
    Verify,
    /// Watch the new version for the bake time and judge it.
    Bake,
    /// Put the last good commit back on the service.
    Restore,
    /// Open the revert pull request.
    Revert,
}

impl StepName {
    /// Every step name.
    pub const ALL: [Self; 8] =
        [Self::Diff, Self::Build, Self::Merge, Self::Deploy, Self::Verify, Self::Bake, Self::Restore, Self::Revert];

    /// The word in SQL, on pages and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Diff => "diff",
            Self::Build => "build",
            Self::Merge => "merge",
            Self::Deploy => "deploy",
            Self::Verify => "verify",
            Self::Bake => "bake",
            Self::Restore => "restore",
            Self::Revert => "revert",
        }
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for StepName {
    type Err = super::ids::InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or(super::ids::InvalidId { what: "step name", why: "not a step of any run" })
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conclusion {
    /// Everything was done and seen to be done.
    Success,
    /// Something went wrong or was judged bad.
    Failure,
    /// The canary could not be judged; a person decides.
    Inconclusive,
    /// A gate said no; nothing was done.
    Refused,
    /// Somebody stopped it, or a newer head made it pointless.
    Cancelled,
}

impl Conclusion {
    /// Every conclusion.
    pub const ALL: [Self; 5] = [Self::Success, Self::Failure, Self::Inconclusive, Self::Refused, Self::Cancelled];

    /// The word in SQL, on pages and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Inconclusive => "inconclusive",
            Self::Refused => "refused",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Where a run is. `Undoing` is a run that failed and is putting things back before it concludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Accepted; its first step is queued.
    Queued,
    /// A step is being carried out or waits for its time.
    Running,
    /// It failed and is putting the last good version back.
    Undoing,
    /// Ended, see the conclusion.
    Completed(Conclusion),
}

impl RunStatus {
    /// The word in SQL: `queued`, `running`, `undoing` or `completed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Undoing => "undoing",
            Self::Completed(_) => "completed",
        }
    }

    /// The conclusion, once there is one.
    pub fn conclusion(self) -> Option<Conclusion> {
        match self {
            Self::Completed(conclusion) => Some(conclusion),
            _ => None,
        }
    }

    /// From the two SQL columns; `None` when they do not fit together.
    pub fn from_columns(status: &str, conclusion: Option<&str>) -> Option<Self> {
        match (status, conclusion) {
            ("queued", None) => Some(Self::Queued),
            ("running", None) => Some(Self::Running),
            ("undoing", None) => Some(Self::Undoing),
            ("completed", Some(word)) => Conclusion::ALL.into_iter().find(|c| c.as_str() == word).map(Self::Completed),
            _ => None,
        }
    }
}

/// What happened to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEvent {
    /// Its first step was taken up.
    Started,
    /// A step failed after something outside had changed; it will be put back before the run ends.
    UndoStarted,
    /// It ended.
    Concluded(Conclusion),
}

/// A move that is not in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a run that is {status:?} cannot take {event:?}")]
pub struct IllegalMove {
    /// Where the run was.
    pub status: RunStatus,
    /// What should have happened to it.
    pub event: RunEvent,
}

/// Every legal move of a run; anything else is an error that names both sides.
///
/// # Errors
/// [`IllegalMove`] for a move that is not in the table.
pub fn next_status(status: RunStatus, event: RunEvent) -> Result<RunStatus, IllegalMove> {
    use Conclusion::{Cancelled, Failure, Inconclusive, Refused, Success};
    match (status, event) {
        (RunStatus::Queued, RunEvent::Started) => Ok(RunStatus::Running),
        (RunStatus::Queued, RunEvent::Concluded(c @ (Cancelled | Failure))) => Ok(RunStatus::Completed(c)),
        (RunStatus::Running, RunEvent::UndoStarted) => Ok(RunStatus::Undoing),
        (RunStatus::Running, RunEvent::Concluded(c @ (Success | Failure | Inconclusive | Cancelled | Refused))) => {
            Ok(RunStatus::Completed(c))
        }
        (RunStatus::Undoing, RunEvent::Concluded(c @ (Failure | Inconclusive | Cancelled))) => {
            Ok(RunStatus::Completed(c))
        }
        (status, event) => Err(IllegalMove { status, event }),
    }
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepStatus {
    /// Not begun.
    Pending,
    /// Being carried out, or waiting for its time.
    Running,
    /// Done and seen to be done.
    Succeeded,
    /// Went wrong.
    Failed,
    /// Not needed any more.
    Skipped,
}

impl StepStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Running, Self::Succeeded, Self::Failed, Self::Skipped];

    /// The word in SQL, on pages and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_status_and_event_is_either_legal_or_refused_by_name() {
        let statuses = [RunStatus::Queued, RunStatus::Running, RunStatus::Undoing]
            .into_iter()
            .chain(Conclusion::ALL.map(RunStatus::Completed));
        let events =
            [RunEvent::Started, RunEvent::UndoStarted].into_iter().chain(Conclusion::ALL.map(RunEvent::Concluded));
        let events: Vec<_> = events.collect();
        let mut legal = Vec::new();
        for status in statuses {
            for event in &events {
                match next_status(status, *event) {
                    Ok(next) => legal.push(format!("{} {event:?} {}", status.as_str(), next.as_str())),
                    Err(error) => assert_eq!((error.status, error.event), (status, *event)),
                }
            }
        }
        assert_eq!(legal.len(), 12, "{legal:#?}");
        assert!(!legal.iter().any(|l| l.starts_with("completed")), "a run that ended never moves again");
    }

    #[test]
    fn columns_and_status_round_trip() {
        for status in [RunStatus::Queued, RunStatus::Undoing, RunStatus::Completed(Conclusion::Inconclusive)] {
            let conclusion = status.conclusion().map(Conclusion::as_str);
            assert_eq!(RunStatus::from_columns(status.as_str(), conclusion), Some(status));
        }
        assert_eq!(RunStatus::from_columns("running", Some("success")), None);
    }
}
