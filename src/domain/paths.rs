//! Which rule hits which file: a change's files against the policy's protected and allowed paths.
//!
//! Patterns have gitignore's meaning, judged by `git check-ignore` in the tests. A file below a matched folder is
//! matched; a later `!pattern` takes an earlier match back unless a parent folder is matched, as in git.

use serde::{Deserialize, Serialize};

use super::policy::{Diagnostic, PathPolicy};

/// One file of a change, as GitHub lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFile {
    /// Path after the change.
    pub path: String,
    /// Path before the change, for a rename or copy.
    pub previous_path: Option<String>,
    /// What happened to it.
    pub status: FileStatus,
}

/// GitHub's word for what happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileStatus {
    /// New.
    Added,
    /// Gone.
    Removed,
    /// Other content or mode.
    Modified,
    /// Moved, perhaps changed.
    Renamed,
    /// Copied, perhaps changed.
    Copied,
    /// Mode changed.
    Changed,
    /// Listed without a change.
    Unchanged,
    /// A word that this version does not know; treated as a protected change.
    #[serde(other)]
    Unknown,
}

/// The compiled rules of one policy.
#[derive(Debug)]
pub struct PathRules {
    // private: compiled matchers
}

/// The answer for one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathAnswer {
    /// The path that was asked about.
    pub path: String,
    /// Whether a protected pattern hits it.
    pub protected: bool,
    /// Whether it is inside the allowed paths; true when the policy has none.
    pub allowed: bool,
    /// The pattern that decided, as written in the policy; `None` when no pattern hit.
    pub rule: Option<String>,
}

/// One file that a change may not touch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offence {
    /// The side of the file that was hit.
    pub path: String,
    /// The path to annotate: the file's path after the change.
    pub annotate: String,
    /// Why, one sentence that names the rule.
    pub reason: String,
    /// The pattern, when one hit.
    pub rule: Option<String>,
}

impl PathRules {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// A pattern that cannot be compiled, by its text.
    pub fn new(_policy: &PathPolicy) -> Result<Self, Vec<Diagnostic>> {
        todo!()
    }

    /// Asks about one path (no leading slash, `/` between folders).
    pub fn ask(&self, _path: &str) -> PathAnswer {
        todo!()
    }

    /// Every offence of a change, in the order of its files, both sides of a rename or copy; empty when it is clean.
    pub fn judge(&self, _files: &[ChangedFile]) -> Vec<Offence> {
        todo!()
    }
}

/// Whether a change's files concern a project whose policy has these `paths` patterns; a lone `/` means everything.
/// Both sides of a rename count.
pub fn concerns(_patterns: &[String], _files: &[ChangedFile]) -> bool {
    todo!()
}
