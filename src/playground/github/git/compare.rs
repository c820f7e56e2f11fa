//! What lies between two commits: merge base, commits, and files with their patches, as GitHub shows them.
//! Changes nothing.

use std::sync::Arc;

use super::{Git, GitError, lock};

/// Patches longer than this many bytes are left out, as GitHub leaves out large ones.
const PATCH_LIMIT: usize = 400_000;

/// The three-dot comparison of two commits: what `head` brings beyond the merge base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The last commit both have; `None` for unrelated histories.
    pub merge_base: Option<String>,
    /// Commits of head that base has not, oldest first.
    pub ahead: Vec<String>,
    /// How many commits base has that head has not.
    pub behind_by: usize,
    /// By path. Renames are one entry.
    pub files: Vec<ChangedFile>,
}

impl Comparison {
    /// Lines added over all files.
    pub fn additions(&self) -> usize {
        self.files.iter().map(|file| file.additions).sum()
    }

    /// Lines removed over all files.
    pub fn deletions(&self) -> usize {
        self.files.iter().map(|file| file.deletions).sum()
    }
}

/// One changed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedFile {
    /// The new path; for a removed file its old one.
    pub path: String,
    /// The old path of a rename or copy.
    pub previous_path: Option<String>,
    /// GitHub's word: `added`, `removed`, `modified`, `renamed`, `copied` or `changed`.
    pub status: &'static str,
    /// The new blob's id; for a removed file the old one's.
    pub sha: String,
    /// Lines added; 0 for binary files.
    pub additions: usize,
    /// Lines removed; 0 for binary files.
    pub deletions: usize,
    /// From the first `@@` on; absent for binary files, pure renames, changes of mode and very large patches.
    pub patch: Option<String>,
}

impl Git {
    /// Compares two commits given by their full ids. The answer never changes, so it is remembered.
    pub fn compare(&self, base: &str, head: &str) -> Result<Arc<Comparison>, GitError> {
        let key = (base.to_owned(), head.to_owned());
        if let Some(known) = lock(&self.compared).get(&key) {
            return Ok(known.clone());
        }
        let merge_base = self.merge_base(base, head);
        let range = format!("{base}..{head}");
        let ahead = self.run(&["rev-list", "--reverse", "--topo-order", &range], None)?;
        let back = format!("{head}..{base}");
        let behind = self.run(&["rev-list", "--count", &back], None)?;
        let from = merge_base.clone().unwrap_or_else(|| base.to_owned());
        let comparison = Arc::new(Comparison {
            merge_base,
            ahead: String::from_utf8_lossy(&ahead).lines().map(str::to_owned).collect(),
            behind_by: String::from_utf8_lossy(&behind).trim().parse().unwrap_or(0),
            files: self.changed_files(Some(&from), head)?,
        });
        lock(&self.compared).insert(key, comparison.clone());
        Ok(comparison)
    }

    /// The last commit that both have.
    pub fn merge_base(&self, one: &str, other: &str) -> Option<String> {
        let found = self.run(&["merge-base", one, other], None).ok()?;
        Some(String::from_utf8_lossy(&found).lines().next()?.to_owned())
    }

    /// Whether `old` is an ancestor of `new` or the same.
    pub fn is_ancestor(&self, old: &str, new: &str) -> bool {
        self.run(&["merge-base", "--is-ancestor", old, new], None).is_ok()
    }

    /// The commits that `tip` has and none of the branches had before a push: `before..tip`, oldest first.
    pub fn commits_since(&self, before: Option<&str>, tip: &str) -> Result<Vec<String>, GitError> {
        let range = before.map_or_else(|| tip.to_owned(), |before| format!("{before}..{tip}"));
        let out = self.run(&["rev-list", "--reverse", "--topo-order", "--max-count=2048", &range], None)?;
        Ok(String::from_utf8_lossy(&out).lines().map(str::to_owned).collect())
    }

    /// The files that differ between two trees; without `from`, everything in `to` is added.
    pub fn changed_files(&self, from: Option<&str>, to: &str) -> Result<Vec<ChangedFile>, GitError> {
        const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        if from.is_none() {
            self.run(&["hash-object", "-t", "tree", "-w", "--stdin"], Some(b""))?;
        }
        let from = from.unwrap_or(EMPTY_TREE);
        let raw = self.run(&["diff", "--raw", "--numstat", "-z", "--no-abbrev", "-M", "-l0", from, to, "--"], None)?;
        let mut files = parse_raw(&raw).ok_or(GitError::Unreadable("diff"))?;
        if !files.is_empty() {
            let patch = self.run(&["diff", "-M", "-l0", "--no-color", "--no-ext-diff", from, to, "--"], None)?;
            attach_patches(&mut files, &String::from_utf8_lossy(&patch));
        }
        Ok(files)
    }
}

/// Reads `--raw --numstat -z`: first all raw records, then all numbers, both in the same order.
fn parse_raw(out: &[u8]) -> Option<Vec<ChangedFile>> {
    let text = String::from_utf8_lossy(out).into_owned();
    let mut fields = text.split_terminator('\0').peekable();
    let mut files = Vec::new();
    while let Some(record) = fields.next_if(|field| field.starts_with(':')) {
        let mut words = record.trim_start_matches(':').split(' ');
        let (_, _) = (words.next()?, words.next()?);
        let (old, new, status) = (words.next()?, words.next()?, words.next()?);
        let first = fields.next()?.to_owned();
        let (path, previous_path) = match status.chars().next()? {
            'R' | 'C' => (fields.next()?.to_owned(), Some(first)),
            _ => (first, None),
        };
        let word = match status.chars().next()? {
            'A' => "added",
            'D' => "removed",
            'R' => "renamed",
            'C' => "copied",
            'T' => "changed",
            _ => "modified",
        };
        let sha = if word == "removed" { old } else { new };
        files.push(ChangedFile {
            path,
            previous_path,
            status: word,
            sha: sha.to_owned(),
            additions: 0,
            deletions: 0,
            patch: None,
        });
    }
    for file in &mut files {
        let mut numbers = fields.next()?.splitn(3, '\t');
        file.additions = numbers.next()?.parse().unwrap_or(0);
        file.deletions = numbers.next()?.parse().unwrap_or(0);
        if numbers.next()?.is_empty() {
            // A rename: the two paths follow as fields of their own.
            fields.next()?;
            fields.next()?;
        }
    }
    Some(files)
}

/// Git writes the patches in the order of the raw records, each beginning with `diff --git`. A change of type is
/// written as two of them, a removal and an addition, for one raw record.
fn attach_patches(files: &mut [ChangedFile], patch: &str) {
    let mut sections: Vec<String> = Vec::new();
    for line in patch.split_inclusive('\n') {
        if line.starts_with("diff --git ") {
            sections.push(String::new());
        }
        if let Some(section) = sections.last_mut() {
            section.push_str(line);
        }
    }
    let mut sections = sections.into_iter();
    for file in files {
        let taken = if file.status == "changed" { 2 } else { 1 };
        let hunks: String = sections.by_ref().take(taken).filter_map(|section| hunks(&section)).collect();
        let hunks = hunks.trim_end_matches('\n');
        file.patch = (!hunks.is_empty() && hunks.len() <= PATCH_LIMIT).then(|| hunks.to_owned());
    }
}

fn hunks(section: &str) -> Option<String> {
    section.find("\n@@ ").map(|at| section[at + 1..].to_owned())
}
