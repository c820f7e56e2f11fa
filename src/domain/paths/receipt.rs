//! The receipt of a judgement: everything that was judged and what was said of it, in one form that never varies.
//!
//! Whoever doubts a `titan/paths` check can take the receipt, compare its files with `git diff-tree --raw` between the two
//! commits that it names, ask the rules about each of them again, and compare the SHA-256 with the one in the check.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{ChangedFile, Collisions, FileKind, FileStatus, Links, Offence, PathRules, RepoPath, TreeEntry};
use crate::domain::ids::{CommitSha, PrNumber, RepoName, RunId};

/// What a change was judged by, beside its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The run that asked.
    pub run: RunId,
    /// The repository.
    pub repository: RepoName,
    /// The pull request.
    pub pull_request: PrNumber,
    /// SHA-256 of the policy's text.
    pub policy: String,
    /// The branch that the change goes to.
    pub base_branch: String,
    /// Where that branch was.
    pub base: CommitSha,
    /// Where the change left it: the first of the two commits that were compared.
    pub merge_base: CommitSha,
    /// The commit that was judged: the second of the two.
    pub head: CommitSha,
    /// GitHub's own list.
    pub github: Listed,
    /// When it was judged.
    pub judged_at: DateTime<Utc>,
}

/// GitHub's list of the change's files, beside which git's trees were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// How many files GitHub counts.
    pub counted: Option<u64>,
    /// How many it listed.
    pub listed: usize,
    /// Whether the list was whole by GitHub's own rules.
    pub complete: bool,
    /// Whether the trees have exactly the files of the list. Whatever either has was judged.
    pub agrees_with_git: bool,
}

/// The receipt's form.
#[derive(Serialize)]
struct Receipt<'a> {
    version: u32,
    source: &'static str,
    #[serde(flatten)]
    judged: &'a Judged,
    files: Vec<Entry<'a>>,
    /// New names that some file systems take for another name of the tree.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    collisions: Vec<Offence>,
}

#[derive(Serialize)]
struct Entry<'a> {
    path: &'a RepoPath,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_path: Option<&'a RepoPath>,
    status: FileStatus,
    kind: Option<FileKind>,
    old: Option<&'a TreeEntry>,
    new: Option<&'a TreeEntry>,
    /// The rule that decided about the name, also when it let the file in.
    rule: Option<String>,
    offences: Vec<Offence>,
}

/// What came of judging a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Every offence, in the order of the files.
    pub offences: Vec<Offence>,
    /// The receipt's bytes: JSON with a line break at its end.
    pub receipt: String,
    /// Their SHA-256, hexadecimal.
    pub sha256: String,
}

/// Judges a change and writes the receipt.
pub fn judge_and_write(
    rules: &PathRules,
    files: &[ChangedFile],
    links: &[Links],
    collisions: &Collisions,
    judged: &Judged,
) -> Judgement {
    let mut offences = Vec::new();
    let entry = |file| {
        let found = rules.judge_file(file, links);
        offences.extend(found.iter().cloned());
        let ChangedFile { path, previous_path, status, old, new } = file;
        Entry {
            path,
            previous_path: previous_path.as_ref(),
            status: *status,
            kind: new.as_ref().or(old.as_ref()).map(|side| side.mode.kind()),
            old: old.as_ref(),
            new: new.as_ref(),
            rule: found.iter().find_map(|offence| offence.rule.clone()).or_else(|| rules.ask(path.as_bytes()).rule),
            offences: found,
        }
    };
    let mut files: Vec<Entry> = files.iter().map(entry).collect();
    files.sort_by(|one, other| one.path.cmp(other.path));
    let collisions = collisions.offences();
    offences.extend(collisions.iter().cloned());
    let receipt = Receipt { version: 1, source: "git", judged, files, collisions };
    let json = serde_json::to_string_pretty(&receipt).expect("invariant: plain data with text keys") + "\n";
    let sha256 = hex::encode(Sha256::digest(&json));
    Judgement { offences, receipt: json, sha256 }
}
