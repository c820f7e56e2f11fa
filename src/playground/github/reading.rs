//! Copies of what the simulated GitHub knows, for tests and the playground's pages. Nothing here changes anything.

use super::GitHub;
use super::git::{Comparison, GitError, Ref};
use super::model::{Account, App, CheckRun, Comment, Deployment, Installation, Issue, MintedToken, Repository, State};
use std::path::PathBuf;
use std::sync::Arc;

impl GitHub {
    /// Reads whatever is wanted from the state, under its lock; to be short.
    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.sim.with(|state| look(state))
    }

    /// The App under test.
    pub fn app(&self) -> App {
        self.read(|state| state.app.clone())
    }

    /// All accounts, by login.
    pub fn accounts(&self) -> Vec<Account> {
        self.read(|state| state.accounts.values().cloned().collect())
    }

    /// All installations, oldest first.
    pub fn installations(&self) -> Vec<Installation> {
        self.read(|state| state.installations.clone())
    }

    /// Full names of all repositories.
    pub fn repositories(&self) -> Vec<String> {
        self.read(|state| state.repositories.keys().cloned().collect())
    }

    /// A repository with everything that hangs on it.
    pub fn repository(&self, full_name: &str) -> Option<Repository> {
        self.read(|state| state.repository(full_name).cloned())
    }

    /// The bare repository's folder on disk.
    pub fn repository_dir(&self, full_name: &str) -> Option<PathBuf> {
        self.read(|state| state.repository(full_name).map(|repository| repository.git.dir().to_owned()))
    }

    /// An issue or pull request with its timeline.
    pub fn issue(&self, full_name: &str, number: u64) -> Option<Issue> {
        self.read(|state| state.repository(full_name)?.issues.get(&number).cloned())
    }

    /// All pull requests, lowest number first.
    pub fn pulls(&self, full_name: &str) -> Vec<Issue> {
        self.read(|state| {
            let issues = state.repository(full_name).map(|repository| repository.issues.values());
            issues.into_iter().flatten().filter(|issue| issue.pull.is_some()).cloned().collect()
        })
    }

    /// The head commit of a pull request.
    pub fn head(&self, full_name: &str, number: u64) -> Option<String> {
        self.read(|state| Some(state.repository(full_name)?.pull(number)?.1.head_sha.clone()))
    }

    /// What a pull request changes.
    pub fn changes(&self, full_name: &str, number: u64) -> Option<Result<Arc<Comparison>, GitError>> {
        self.read(|state| {
            let repository = state.repository(full_name)?;
            let (_, pull) = repository.pull(number)?;
            Some(repository.git.compare(&pull.base_sha, &pull.head_sha))
        })
    }

    /// Comments of an issue or pull request, oldest first, with reactions and past texts.
    pub fn comments(&self, full_name: &str, number: u64) -> Vec<Comment> {
        self.read(|state| {
            let repository = state.repository(full_name);
            repository.into_iter().flat_map(|repository| repository.comments_of(number)).cloned().collect()
        })
    }

    /// The comments that the App under test wrote on an issue or pull request.
    pub fn bot_comments(&self, full_name: &str, number: u64) -> Vec<Comment> {
        let bot = self.app().bot_login();
        self.comments(full_name, number).into_iter().filter(|comment| comment.author == bot).collect()
    }

    /// Check runs of a commit, oldest first.
    pub fn check_runs(&self, full_name: &str, sha: &str) -> Vec<CheckRun> {
        self.read(|state| {
            let runs = state.repository(full_name).map(|repository| repository.check_runs.iter());
            runs.into_iter().flatten().filter(|run| run.head_sha == sha).cloned().collect()
        })
    }

    /// The newest check run of that name on a commit.
    pub fn check_run(&self, full_name: &str, sha: &str, name: &str) -> Option<CheckRun> {
        self.check_runs(full_name, sha).into_iter().rev().find(|run| run.name == name)
    }

    /// Deployments with their statuses, oldest first.
    pub fn deployments(&self, full_name: &str) -> Vec<Deployment> {
        self.read(|state| {
            state.repository(full_name).map(|repository| repository.deployments.clone()).unwrap_or_default()
        })
    }

    /// Refs whose full name begins with `prefix`.
    pub fn refs(&self, full_name: &str, prefix: &str) -> Vec<Ref> {
        self.read(|state| {
            let found = state.repository(full_name).and_then(|repository| repository.git.refs(prefix).ok());
            found.unwrap_or_default()
        })
    }

    /// The commit at a branch's tip.
    pub fn branch(&self, full_name: &str, branch: &str) -> Option<String> {
        self.read(|state| state.repository(full_name)?.git.branch(branch))
    }

    /// A file's bytes at a commit or branch.
    pub fn file(&self, full_name: &str, reference: &str, path: &str) -> Option<Vec<u8>> {
        self.read(|state| {
            let git = &state.repository(full_name)?.git;
            let entry = git.entry(&git.resolve(reference)?, path)?;
            git.blob(&entry.sha)
        })
    }

    /// All tokens that were given out and are known still, oldest first.
    pub fn tokens(&self) -> Vec<MintedToken> {
        let mut tokens: Vec<MintedToken> = self.read(|state| state.tokens.values().cloned().collect());
        tokens.sort_by_key(|token| token.minted_at);
        tokens
    }

    /// Requests that no route knows, as `METHOD path`: a test should end with none.
    pub fn unknown_requests(&self) -> Vec<String> {
        self.read(|state| state.unknown_requests.clone())
    }

    /// Requests of git's own protocol so far, as `METHOD path`.
    pub fn git_requests(&self) -> Vec<String> {
        self.read(|state| state.git_requests.clone())
    }
}
