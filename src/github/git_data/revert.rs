//! Undoing a change on top of the base branch, without a checkout and without losing what came after it.
//!
//! Every path that the change touched gets back the content it had before, provided that nobody touched it since. What
//! to restore is found by [`plan`], which is pure. Makes a commit and no branch: nothing points to it until the caller
//! makes a branch.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde::{Deserialize, Serialize};

use crate::domain::ids::CommitSha;
use crate::github::call::Call;
use crate::github::wire::or_default;
use crate::github::{Access, GitHubError, RepoClient};

/// How many paths a message names.
const NAMED_PATHS: usize = 5;

/// A file, link or submodule of a tree; folders follow from the paths.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    mode: String,
    kind: String,
    sha: String,
}

/// Everything below a commit, by path.
type Tree = BTreeMap<String, Entry>;

#[derive(Deserialize)]
struct TreeWire {
    #[serde(default, deserialize_with = "or_default")]
    truncated: bool,
    tree: Vec<EntryWire>,
}

#[derive(Deserialize)]
struct EntryWire {
    path: String,
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    sha: String,
}

#[derive(Deserialize)]
struct ShaWire {
    sha: CommitSha,
}

/// One line of a new tree; a `sha` of null deletes.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct NewEntry {
    path: String,
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    sha: Option<String>,
}

/// What to change in `now` so that every path that differs between `before` and `after` is as in `before`.
///
/// # Errors
/// The paths that stand against it: changed since `after`, or now in the way of a file that comes back.
fn plan(before: &Tree, after: &Tree, now: &Tree) -> Result<Vec<NewEntry>, Vec<String>> {
    let touched: BTreeSet<&String> =
        before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)).collect();
    let mut against: BTreeSet<String> =
        touched.iter().filter(|path| now.get(**path) != after.get(**path)).map(|path| (*path).clone()).collect();
    for path in touched.iter().filter(|path| before.contains_key(**path)) {
        let below = format!("{path}/");
        let inside = now.range(below.clone()..).take_while(|(other, _)| other.starts_with(&below)).map(|(p, _)| p);
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]).filter_map(|dir| now.get_key_value(dir));
        let in_the_way = inside.chain(parents.map(|(p, _)| p)).filter(|other| !touched.contains(other));
        against.extend(in_the_way.cloned());
    }
    if !against.is_empty() {
        return Err(against.into_iter().collect());
    }
    let entry = |path: &String| {
        let from = before.get(path).or(after.get(path))?;
        Some(NewEntry {
            path: path.clone(),
            mode: from.mode.clone(),
            kind: from.kind.clone(),
            sha: before.get(path).map(|entry| entry.sha.clone()),
        })
    };
    Ok(touched.into_iter().filter_map(entry).collect())
}

/// The first paths and how many more there are.
fn named(paths: &[String]) -> String {
    let first = paths.iter().take(NAMED_PATHS).cloned().collect::<Vec<_>>().join(", ");
    match paths.len().saturating_sub(NAMED_PATHS) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

impl RepoClient {
    /// Makes a commit on top of `base_ref` that undoes what `merge` brought, against its first parent.
    ///
    /// For a merge commit and a squash that is the whole pull request. A rebase puts several commits on the branch, and
    /// `merge` names only the last: use [`RepoClient::create_restore_commit`] with the commit before the first of them.
    ///
    /// # Errors
    /// `Conflict` when paths were changed since, naming them; `Invalid` when there is nothing to undo or GitHub cannot
    /// list the whole tree.
    pub async fn create_revert_commit(
        &self,
        merge: &CommitSha,
        base_ref: &str,
        message: &str,
    ) -> Result<CommitSha, GitHubError> {
        let parents = self.get_commit_tree(merge).await?.parents;
        let Some(before) = parents.first() else {
            return Err(GitHubError::Invalid(format!(
                "{} has no parent, so there is nothing to go back to",
                merge.short()
            )));
        };
        self.create_restore_commit(before, merge, base_ref, message).await
    }

    /// Makes a commit on top of `base_ref` in which every path that differs between `before` and `after` is as in
    /// `before`. All else stays as it is on the branch.
    ///
    /// # Errors
    /// As [`RepoClient::create_revert_commit`].
    pub async fn create_restore_commit(
        &self,
        before: &CommitSha,
        after: &CommitSha,
        base_ref: &str,
        message: &str,
    ) -> Result<CommitSha, GitHubError> {
        let head = self.get_branch_head(base_ref).await?;
        let before_tree = self.get_commit_tree(before).await?.tree;
        let after_tree = self.get_commit_tree(after).await?.tree;
        let head_tree = self.get_commit_tree(&head).await?.tree;
        if before_tree == after_tree {
            return Err(GitHubError::Invalid(format!(
                "{} changed no file, so there is nothing to undo",
                after.short()
            )));
        }
        let tree = if head_tree == after_tree {
            before_tree
        } else {
            let (old, new) = (self.whole_tree(&before_tree).await?, self.whole_tree(&after_tree).await?);
            let entries = plan(&old, &new, &self.whole_tree(&head_tree).await?).map_err(|paths| {
                GitHubError::Conflict(format!(
                    "{base_ref} was changed after {} where it would have to be undone: {}; revert by hand",
                    after.short(),
                    named(&paths)
                ))
            })?;
            let body = serde_json::json!({"base_tree": head_tree, "tree": entries});
            self.write::<ShaWire>(Access::Merge, Method::POST, "/git/trees", &body).await?.sha
        };
        let body = serde_json::json!({"message": message, "tree": tree, "parents": [head]});
        Ok(self.write::<ShaWire>(Access::Merge, Method::POST, "/git/commits", &body).await?.sha)
    }

    async fn whole_tree(&self, tree: &CommitSha) -> Result<Tree, GitHubError> {
        let call = Call::get(self.path(&format!("/git/trees/{tree}"))).query("recursive", "1");
        let wire: TreeWire = self.send(Access::Read, &call).await?.json()?;
        if wire.truncated {
            return Err(GitHubError::Invalid(format!(
                "the repository has more files than GitHub lists at once (tree {}), so it cannot be told whether \
                 undoing is safe; revert by hand",
                tree.short()
            )));
        }
        let files = wire.tree.into_iter().filter(|entry| entry.kind != "tree");
        Ok(files.map(|e| (e.path, Entry { mode: e.mode, kind: e.kind, sha: e.sha })).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `path:content` words; a content that begins with `+` is executable.
    fn tree(words: &str) -> Tree {
        words
            .split_whitespace()
            .map(|word| {
                let (path, content) = word.split_once(':').expect("path:content");
                let mode = if content.starts_with('+') { "100755" } else { "100644" };
                let entry = Entry { mode: mode.to_owned(), kind: "blob".to_owned(), sha: content.to_owned() };
                (path.to_owned(), entry)
            })
            .collect()
    }

    /// `path=content` for a restore, `path-` for a deletion, `!path` for what stands against it.
    fn planned(before: &str, after: &str, now: &str) -> String {
        match plan(&tree(before), &tree(after), &tree(now)) {
            Ok(entries) => entries
                .iter()
                .map(|e| e.sha.as_ref().map_or(format!("{}-", e.path), |sha| format!("{}={sha}", e.path)))
                .collect::<Vec<_>>()
                .join(" "),
            Err(paths) => paths.iter().map(|path| format!("!{path}")).collect::<Vec<_>>().join(" "),
        }
    }

    #[test]
    fn only_what_the_change_touched_comes_back() {
        for (before, after, now, expected) in [
            ("a:1 b:1", "a:2 b:1", "a:2 b:9 c:1", "a=1"),
            ("a:1", "a:1 n/x:1", "a:7 n/x:1", "n/x-"),
            ("a:1 d:1", "a:1", "a:1 z:1", "d=1"),
            ("a:1", "a:+1", "a:+1 z:1", "a=1"),
            ("a:1 b:1", "a:2 b:1", "a:3 b:1", "!a"),
            ("a:1 b:1", "b:1", "a:1 b:1", "!a"),
            ("a:1", "a:1 n:1", "a:1", "!n"),
            ("a:1 q:1", "a/x:1 q:1", "a/x:1 q:2", "a=1 a/x-"),
            ("a:1 q:1", "a/x:1 q:1", "a/x:1 a/y:1 q:1", "!a/y"),
            ("a/x:1 q:1", "q:1", "a:5 q:1", "!a"),
            ("a.b:1 a:1", "a.b:2 a:1", "a.b:2 a:4", "a.b=1"),
        ] {
            assert_eq!(planned(before, after, now), expected, "{before} | {after} | {now}");
        }
    }

    #[test]
    fn many_paths_are_counted() {
        let paths: Vec<String> = (0..7).map(|n| format!("f{n}")).collect();
        assert_eq!(named(&paths), "f0, f1, f2, f3, f4 and 2 more");
        assert_eq!(named(&paths[..1]), "f0");
    }

    fn any_tree() -> impl Strategy<Value = Tree> {
        proptest::collection::btree_map(0u8..8, 0u8..3, 0..8).prop_map(|files| {
            let words: Vec<String> = files.iter().map(|(path, content)| format!("f{path}:{content}")).collect();
            tree(&words.join(" "))
        })
    }

    proptest! {
        #[test]
        fn applying_the_plan_restores_touched_paths_and_keeps_the_rest(
            before in any_tree(), after in any_tree(), now in any_tree()
        ) {
            let Ok(entries) = plan(&before, &after, &now) else { return Ok(()) };
            let mut result = now.clone();
            for entry in entries {
                match entry.sha {
                    Some(sha) => result.insert(entry.path, Entry { mode: entry.mode, kind: entry.kind, sha }),
                    None => result.remove(&entry.path),
                };
            }
            for path in before.keys().chain(after.keys()).chain(now.keys()) {
                let expected = if before.get(path) == after.get(path) { now.get(path) } else { before.get(path) };
                prop_assert_eq!(result.get(path), expected);
            }
        }
    }
}
