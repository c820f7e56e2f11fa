//! What a person asked for: the `/titan` line of a comment, parsed.
//!
//! Pure. It knows nothing of permissions or of the state of the change: it only reads text. Which text of a comment
//! can hold a command is decided in `lines`, what its words mean in `words`, what was probably meant in `guess`.
//! When a line could mean two things, nothing is run and the person gets a hint.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::{CommitPrefix, ProjectName};

mod guess;
mod lines;
#[cfg(test)]
mod tests;
mod words;

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
    /// Vouch for one commit of a fork.
    Trust,
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
    pub const ALL: [Self; 14] = [
        Self::Propose,
        Self::Canary,
        Self::Promote,
        Self::Rollback,
        Self::Trust,
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
            Self::Trust => "trust",
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

    /// Whether anything can be in its way; the others only answer, whoever asks.
    pub fn has_gates(self) -> bool {
        !matches!(self, Self::Status | Self::Help)
    }

    /// One sentence for help, without a full stop.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Propose => "check the change's paths and build its head commit",
            Self::Canary => "put the head commit on the canary service and judge it",
            Self::Promote => "merge the change and ship it to production",
            Self::Rollback => "bring the last good production version back and open a revert pull request",
            Self::Trust => "vouch for one commit of a fork, named with `@`, until the next push",
            Self::Status => "show where this change stands and every gate",
            Self::Lock => "hold the project for this pull request, with a duration and a reason",
            Self::Unlock => "give this pull request's lock back, or take another's away",
            Self::Cancel => "stop what is running for this pull request and leave the line",
            Self::Arm => "turn deployment on for this repository",
            Self::Disarm => "turn deployment off for this repository",
            Self::Halt => "stop every running and future deployment at once",
            Self::Resume => "lift a halt",
            Self::Help => "list what you may do here",
        }
    }
}

impl fmt::Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    /// The reason given with `rollback`, `lock`, `unlock`, `cancel` or `halt`: one line of at most
    /// [`Command::REASON_CHARS`] characters, without the quotes around it and without any `"` in it; empty when none was
    /// given, always empty for the other commands. It is the person's own text: escape it where it is shown.
    pub reason: String,
    /// Whether `--force` was written; only `unlock` knows it.
    #[serde(default)]
    pub force: bool,
}

impl Command {
    /// A longer reason is cut to this many characters.
    pub const REASON_CHARS: usize = 300;

    /// The bare command without project, commit or reason.
    pub fn bare(name: CommandName) -> Self {
        Self { name, project: None, commit: None, reason: String::new(), force: false }
    }

    /// The command as it is meant where these projects exist.
    ///
    /// The line alone does not tell whether `lock database upgrade` names a project or begins its reason. It is read
    /// as a project, and given back to the reason here when no such project is known. Only commands that take a reason
    /// are touched: for the others an unknown project stays, to be refused.
    pub fn settled<'a>(mut self, known: impl IntoIterator<Item = &'a ProjectName>) -> Self {
        if let Some(word) = self.project.take() {
            if !words::takes_reason(self.name) || known.into_iter().any(|project| *project == word) {
                self.project = Some(word);
            } else {
                self.reason = words::clean_reason(&format!("{word} {}", self.reason));
            }
        }
        self
    }
}

/// The line that parses to this command again; the reason stands in quotes.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/titan {}", self.name)?;
        if let Some(project) = &self.project {
            write!(f, " {project}")?;
        }
        if let Some(commit) = &self.commit {
            write!(f, " @{commit}")?;
        }
        if self.force {
            f.write_str(" --force")?;
        }
        match self.reason.as_str() {
            "" => Ok(()),
            reason => write!(f, " \"{reason}\""),
        }
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
    /// What was seen and what is wrong with it: one sentence of Markdown without a full stop, safe to stand in a
    /// comment. The person's own words in it stand in a code span, are cut to 40 characters and hold no back-tick, `@`,
    /// line break, control character or HTML.
    pub problem: String,
    /// The ready-made command that was probably meant, e.g. `/titan canary`; `None` when there is no good guess, then
    /// the answer points to `/titan help`.
    pub suggestion: Option<String>,
}

/// Whether a word without `@` looks like the beginning of a commit id. No project may be named so, because a person who
/// forgets the `@` means the commit.
pub(super) fn could_be_commit(word: &str) -> bool {
    (7..=64).contains(&word.len())
        && word.bytes().all(|b| b.is_ascii_hexdigit())
        && word.bytes().any(|b| b.is_ascii_digit())
}

/// Reads the command of a newly created comment.
///
/// - Only the first non-blank line counts. It must begin with `/titan`, in any case, indented by at most three columns.
///   Characters that cannot be seen are left out before reading.
/// - Back-ticks around the whole line are forgiven, however many, as long as they make inline code. A fenced or indented
///   code block, a quote, a list, a heading and an HTML comment hold no command.
/// - HTML comments behind the command are left out: nobody sees them.
/// - A further line that is addressed to Titan makes the whole comment a hint, and nothing is run. Lines in quotes,
///   code blocks, lists and HTML do not count.
/// - After the command come a project name and `@` with at least seven digits of a commit, in any order, each at most
///   once; `unlock` also knows `--force`; then, for `rollback`, `lock`, `unlock` and `cancel`, a reason. `arm`, `disarm` and `resume` concern the
///   whole repository and take no project. Everything after `halt` is its reason, so that nothing can keep it from
///   being understood; everything after `help` is dropped. Any other word gives a hint, never a guess.
/// - `/titan` alone means `/titan help`.
pub fn parse(body: &str) -> Parsed {
    let text = lines::visible_text(body);
    // Most comments are not for Titan; they are not looked at any further.
    if lines::first_address(&text).is_none() {
        return Parsed::Ignored;
    }
    let live = lines::live(&text);
    let first_end = text.find('\n').unwrap_or(text.len());
    if live.first().is_none_or(|(start, line)| *start > first_end || lines::address(line).is_none()) {
        return Parsed::Ignored;
    }
    let mut addressed = live.iter().filter_map(|(_, line)| lines::address(line));
    match (addressed.next(), addressed.next()) {
        (None, _) => Parsed::Ignored,
        (Some(_), Some(_)) => Parsed::Misunderstood(Hint {
            problem: "this comment has more than one command; only one in a comment is run, so none was".to_owned(),
            suggestion: None,
        }),
        (Some(lines::Address::Joined(name)), None) => Parsed::Misunderstood(Hint {
            problem: "there must be a space, and nothing else, between `/titan` and the command".to_owned(),
            suggestion: Some(Command::bare(name).to_string()),
        }),
        (Some(lines::Address::Words(words)), None) => words::understand(&words),
    }
}
