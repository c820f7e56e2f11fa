//! Merge, squash and rebase, really made in the bare repository without a work tree. Moves no ref.

use super::{Commit, Git, GitError, Signature, lock};

/// Why two commits cannot be joined.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MergeFailure {
    /// Both changed the same lines, or their histories are unrelated.
    #[error("the two sides conflict")]
    Conflict,
    /// Git itself failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl Git {
    /// The tree of merging `head` into `base`. The answer never changes, so it is remembered.
    ///
    /// # Errors
    /// [`MergeFailure::Conflict`] when a person would have to decide.
    pub fn merge_tree(&self, base: &str, head: &str) -> Result<String, MergeFailure> {
        let key = (base.to_owned(), head.to_owned());
        if let Some(known) = lock(&self.merged).get(&key) {
            return known.clone();
        }
        let result = self.merge_tree_now(base, head);
        if !matches!(result, Err(MergeFailure::Git(_))) {
            lock(&self.merged).insert(key, result.clone());
        }
        result
    }

    fn merge_tree_now(&self, base: &str, head: &str) -> Result<String, MergeFailure> {
        if self.merge_base(base, head).is_none() {
            return Err(MergeFailure::Conflict);
        }
        let output =
            super::spawn(self.command().args(["merge-tree", "--write-tree", "--no-messages", base, head]), None)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.code() {
            Some(0) => Ok(text.lines().next().unwrap_or_default().to_owned()),
            Some(1) => Err(MergeFailure::Conflict),
            _ => {
                let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(GitError::Failed { command: "merge-tree".into(), message }.into())
            }
        }
    }

    /// A merge commit of `base` and `head`, in this order. No ref moves.
    pub fn merge(
        &self,
        base: &str,
        head: &str,
        author: &Signature,
        committer: &Signature,
        message: &str,
    ) -> Result<String, MergeFailure> {
        let tree = self.merge_tree(base, head)?;
        Ok(self.write_commit(&tree, &[base, head], author, committer, message)?)
    }

    /// One commit on top of `base` with everything `head` brings. No ref moves.
    pub fn squash(
        &self,
        base: &str,
        head: &str,
        author: &Signature,
        committer: &Signature,
        message: &str,
    ) -> Result<String, MergeFailure> {
        let tree = self.merge_tree(base, head)?;
        Ok(self.write_commit(&tree, &[base], author, committer, message)?)
    }

    /// The commits of `head` that `base` has not, made again on top of `base`; the last one's id. No ref moves.
    /// Merge commits are left out, as `git rebase` does. Committer is always `committer`, so ids always change.
    pub fn rebase(&self, base: &str, head: &str, committer: &Signature) -> Result<String, MergeFailure> {
        let comparison = self.compare(base, head)?;
        let mut onto = base.to_owned();
        for commit in self.commits(&comparison.ahead)? {
            if let [parent] = commit.parents.as_slice() {
                onto = self.pick(&onto, parent, &commit, committer)?;
            }
        }
        Ok(onto)
    }

    /// Applies one commit on top of another.
    ///
    /// The three-way merge must start from the commit's own parent. Older gits cannot be told so; a helper commit with
    /// `onto`'s tree and that parent has it as its merge base, which comes to the same.
    fn pick(&self, onto: &str, parent: &str, commit: &Commit, committer: &Signature) -> Result<String, MergeFailure> {
        let tree = self.commit(onto).ok_or(GitError::Unreadable("cat-file"))?.tree;
        let helper = self.write_commit(&tree, &[parent], committer, committer, "where a commit is applied")?;
        let tree = self.merge_tree(&helper, &commit.sha)?;
        Ok(self.write_commit(&tree, &[onto], &commit.author, committer, &commit.message)?)
    }
}
