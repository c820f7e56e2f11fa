//! One changed file with both of its sides, and what kind of file each side is.
//!
//! Plain data from GitHub's list and from git's trees, and how the two are brought together. No rule is known here.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::name::RepoPath;

/// One file of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFile {
    /// Path after the change.
    pub path: RepoPath,
    /// Path before the change, for a rename or copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_path: Option<RepoPath>,
    /// What happened to it.
    pub status: FileStatus,
    /// What git has for it before the change; `None` when there is nothing, or only GitHub's list was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<TreeEntry>,
    /// What git has for it after the change; `None` when there is nothing, or only GitHub's list was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<TreeEntry>,
}

impl ChangedFile {
    /// A file as GitHub's list has it: names only.
    pub fn listed(path: impl Into<RepoPath>, status: FileStatus, previous_path: Option<RepoPath>) -> Self {
        Self { path: path.into(), previous_path, status, old: None, new: None }
    }

    /// Both names of the file, the new one first; true marks the old one.
    pub(super) fn sides(&self) -> impl Iterator<Item = (&RepoPath, bool)> {
        let old = self.previous_path.as_ref().filter(|old| **old != self.path);
        std::iter::once((&self.path, false)).chain(old.map(|old| (old, true)))
    }
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

/// What a tree has under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEntry {
    /// Its mode.
    pub mode: FileMode,
    /// The id of its content, hexadecimal; for a submodule the commit of the other repository.
    pub object: String,
    /// Where a symbolic link leads; `None` for other files, and for a link that could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<RepoPath>,
}

/// A mode of git, shown in octal digits as git shows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileMode(u32);

impl FileMode {
    /// Reads git's octal digits.
    pub fn parse(digits: &str) -> Option<Self> {
        u32::from_str_radix(digits, 8).ok().map(Self)
    }

    /// What the mode says the file is.
    pub fn kind(self) -> FileKind {
        match self.0 {
            // Old versions of git wrote the group's right to write as well.
            0o100_644 | 0o100_664 => FileKind::File,
            0o100_755 => FileKind::Executable,
            0o120_000 => FileKind::Symlink,
            0o160_000 => FileKind::Submodule,
            _ => FileKind::Unknown,
        }
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06o}", self.0)
    }
}

impl fmt::Debug for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for FileMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = String::deserialize(deserializer)?;
        Self::parse(&digits).ok_or_else(|| serde::de::Error::custom("a mode is octal digits"))
    }
}

/// The kinds of files that git knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A plain file.
    File,
    /// A file that can be run.
    Executable,
    /// A symbolic link.
    Symlink,
    /// Another repository at one of its commits.
    Submodule,
    /// A mode that this version does not know.
    Unknown,
}

impl FileKind {
    /// With its article.
    pub fn words(self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Executable => "an executable file",
            Self::Symlink => "a symbolic link",
            Self::Submodule => "a submodule",
            Self::Unknown => "a file of an unknown mode",
        }
    }
}

/// GitHub's list and git's trees brought together, and whether they tell of the same files.
///
/// `git` has every change with its modes, a rename as one file gone and one new; `listed` has GitHub's names, its order
/// and its renames, and may be cut off. Whatever either of them has is in the result, so that neither can hide a file.
pub fn unite(git: Vec<ChangedFile>, listed: &[ChangedFile]) -> (Vec<ChangedFile>, bool) {
    let mut by_path: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, file) in git.iter().enumerate() {
        // GitHub's JSON has U+FFFD for bytes that are no text, so that is what the two have in common.
        by_path.entry(file.path.lossy().into_owned()).or_default().push(at);
    }
    let find = |path: &RepoPath| by_path.get(path.lossy().as_ref()).map(Vec::as_slice).unwrap_or_default();
    let (mut taken, mut united, mut agree) = (HashSet::new(), Vec::with_capacity(git.len()), true);
    for file in listed {
        let places = find(&file.path);
        agree &= !places.is_empty();
        if places.is_empty() {
            united.push(file.clone());
        }
        for &at in places {
            if !taken.insert(at) {
                continue;
            }
            let mut whole = git[at].clone();
            whole.status = file.status;
            // Only what is surely the other side of the rename becomes one with it: with several that GitHub's JSON cannot
            // tell apart, or a file that git has an old side for already, each stays a change of its own.
            if let [from] = *file.previous_path.as_ref().map(&find).unwrap_or_default() {
                whole.previous_path = Some(git[from].path.clone());
                if git[from].status == FileStatus::Removed && whole.old.is_none() && taken.insert(from) {
                    whole.old = git[from].old.clone();
                }
            }
            whole.previous_path = whole.previous_path.or_else(|| file.previous_path.clone());
            united.push(whole);
        }
    }
    let left: Vec<ChangedFile> =
        git.into_iter().enumerate().filter(|(at, _)| !taken.contains(at)).map(|(_, file)| file).collect();
    agree &= left.is_empty();
    united.extend(left);
    (united, agree)
}
