//! What a person asked for: the `/titan` line of a comment, parsed.
//!
//! Pure. It knows nothing of permissions or of the state of the change: it only reads text.

use serde::{Deserialize, Serialize};

use super::ids::{CommitPrefix, ProjectName};

/// The commands that Titan understands, in the order in which help lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandName {
    /// Check the change's paths and build it.
    Propose,
    /// Put the head commit on the canary service and judge it.
    Canary,
    /// Merge the change and ship it to production.
    Promote,
    /// Bring the last good production version back.
    Rollback,
    /// Show where the change stands and which gates are open.
    Status,
    /// Hold an environment by hand, with a reason.
    Lock,
    /// Give a lock back.
    Unlock,
    /// Stop what runs for this change.
    Cancel,
    /// Turn deployment on for this repository.
    Arm,
    /// Turn deployment off for this repository.
    Disarm,
    /// Stop every running and future deployment at once.
    Halt,
    /// Lift a halt.
    Resume,
    /// List what this person may do here.
    Help,
}

impl CommandName {
    /// Every command, in help's order.
    pub const ALL: [Self; 13] = [
        Self::Propose,
        Self::Canary,
        Self::Promote,
        Self::Rollback,
        Self::Status,
        Self::Lock,
        Self::Unlock,
        Self::Cancel,
        Self::Arm,
        Self::Disarm,
        Self::Halt,
        Self::Resume,
        Self::Help,
    ];

    /// The word as it is typed after `/titan`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Propose => "propose",
            Self::Canary => "canary",
            Self::Promote => "promote",
            Self::Rollback => "rollback",
            Self::Status => "status",
            Self::Lock => "lock",
            Self::Unlock => "unlock",
            Self::Cancel => "cancel",
            Self::Arm => "arm",
            Self::Disarm => "disarm",
            Self::Halt => "halt",
            Self::Resume => "resume",
            Self::Help => "help",
        }
    }

    /// One sentence for help, without a full stop.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Propose => "check the change's paths and build its head commit",
            Self::Canary => "put the head commit on the canary service and judge it",
            Self::Promote => "merge the change and ship it to production",
            Self::Rollback => "bring the last good production version back and open a revert pull request",
            Self::Status => "show where this change stands and every gate",
            Self::Lock => "hold the project for this pull request, with a reason",
            Self::Unlock => "give the project's lock back",
            Self::Cancel => "stop what is running for this pull request",
            Self::Arm => "turn deployment on for this repository",
            Self::Disarm => "turn deployment off for this repository",
            Self::Halt => "stop every running and future deployment at once",
            Self::Resume => "lift a halt",
            Self::Help => "list what you may do here",
        }
    }
}

impl std::fmt::Display for CommandName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One command with its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// What to do.
    pub name: CommandName,
    /// The project named after it, when one was.
    pub project: Option<ProjectName>,
    /// The commit named with `@`, when one was.
    pub commit: Option<CommitPrefix>,
    /// Everything else on the line (a reason for `lock`, `unlock`, `halt`, `rollback`), trimmed; may be empty.
    pub reason: String,
}

impl Command {
    /// The bare command without project, commit or reason.
    pub fn bare(name: CommandName) -> Self {
        Self { name, project: None, commit: None, reason: String::new() }
    }
}

/// What a comment holds for Titan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// Nothing for Titan; nobody gets an answer.
    Ignored,
    /// A command.
    Command(Command),
    /// Somebody meant Titan but it could not be understood; they get this hint.
    Misunderstood(Hint),
}

/// An answer to something close to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// What was seen and what is wrong with it, one sentence. User text in it is cut short and has no back-ticks,
    /// line breaks or control characters.
    pub problem: String,
    /// The ready-made command that was probably meant, e.g. `/titan canary`.
    pub suggestion: Option<String>,
}

/// Reads the command of a newly created comment, see the parser's rules in `DESIGN`: first non-blank line only,
/// case-insensitive, surrounding back-ticks forgiven; never inside quotes, code blocks or HTML comments.
pub fn parse(_body: &str) -> Parsed {
    todo!()
}
