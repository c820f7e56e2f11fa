//! Names in one tree that some file systems take for one: the file that is read there need not be the one that was judged.
//!
//! Only what a change brings is looked at. Two folders that fall together are merged, which hides nothing; a file or a link
//! that falls together with anything else is refused.

use std::collections::HashMap;

use super::name::RepoPath;
use super::{ChangedFile, Offence, fold};

/// More are not told of.
const MOST: usize = 50;

/// The names that a change brings, against every name of the tree after it.
#[derive(Debug, Default)]
pub struct Collisions {
    /// New files and the folders above them by their folded form, with whether it is a file.
    brought: HashMap<Vec<u8>, Vec<(Vec<u8>, bool)>>,
    found: Vec<(RepoPath, RepoPath)>,
}

impl Collisions {
    /// For the files that a change brings: those that git has a new side and no old one for.
    pub fn of(files: &[ChangedFile]) -> Self {
        let mut collisions = Self::default();
        for file in files.iter().filter(|file| file.new.is_some() && file.old.is_none()) {
            let path = file.path.as_bytes();
            for (name, is_file) in names(path) {
                let known = collisions.brought.entry(fold::fold(name)).or_default();
                if !known.iter().any(|(known, _)| known == name) {
                    known.push((name.to_vec(), is_file));
                }
            }
        }
        collisions
    }

    /// Takes one file of the tree after the change in.
    pub fn see(&mut self, path: &[u8]) {
        if self.brought.is_empty() {
            return;
        }
        for (name, is_file) in names(path) {
            let Some(brought) = self.brought.get(&fold::fold(name)) else { continue };
            for (other, other_is_file) in brought {
                let pair = || (RepoPath::new(other.clone()), RepoPath::new(name));
                if other != name
                    && (is_file || *other_is_file)
                    && self.found.len() < MOST
                    && !self.found.contains(&pair())
                {
                    self.found.push(pair());
                }
            }
        }
    }

    /// What is to be refused.
    pub fn offences(&self) -> Vec<Offence> {
        let offence = |(brought, other): &(RepoPath, RepoPath)| Offence {
            path: brought.shown(),
            annotate: if brought.is_plain() { brought.lossy().into_owned() } else { String::new() },
            reason: format!(
                "falls together with {} where upper and lower case or forms of Unicode are not told apart, so that one of \
                 them is read for the other",
                other.shown()
            ),
            rule: None,
        };
        self.found.iter().map(offence).collect()
    }
}

/// The folders above a file from the top, then the file, which is marked.
fn names(path: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let folders = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| (&path[..at], false));
    folders.chain(std::iter::once((path, true)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::paths::{FileMode, FileStatus, TreeEntry};

    fn collide(brought: &[&str], tree: &[&str]) -> Vec<String> {
        let mode = FileMode::parse("100644").expect("a mode");
        let side = TreeEntry { mode, object: "0".repeat(40), target: None };
        let file = |path: &&str| ChangedFile {
            new: Some(side.clone()),
            ..ChangedFile::listed(*path, FileStatus::Added, None)
        };
        let mut collisions = Collisions::of(&brought.iter().map(file).collect::<Vec<_>>());
        brought.iter().chain(tree).for_each(|path| collisions.see(path.as_bytes()));
        collisions.offences().into_iter().map(|offence| offence.path).collect()
    }

    #[test]
    fn a_new_file_must_not_fall_together_with_another_name() {
        for (brought, tree, told) in [
            (&["src/A.js"][..], &["src/a.js"][..], &["src/A.js"][..]),
            (&["caf\u{e9}"], &["cafe\u{301}"], &["caf\u{e9}"]),
            (&["SRC"], &["src/a.js"], &["SRC"]),
            (&["Lib/x"], &["lib"], &["Lib"]),
            (&["x", "X"], &[], &["X", "x"]),
            (&["Src/b.js"], &["src/a.js"], &[]),
            (&["src/b.js"], &["src/a.js", "src/c.js"], &[]),
            (&["b"], &["Old.txt", "old.txt"], &[]),
        ] {
            let mut seen = collide(brought, tree);
            seen.sort();
            assert_eq!(seen, told, "{brought:?} in {tree:?}");
        }
    }
}
