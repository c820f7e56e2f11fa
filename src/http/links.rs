//! Where things are: Titan's own paths, and GitHub's pages.

use url::Url;

use super::WebState;
use crate::domain::ids::{CommitSha, PrNumber, RepoName, RunId};
use crate::domain::policy::POLICY_PATH;

/// Makes links. What goes into them was checked where it entered, so nothing needs escaping.
#[derive(Debug, Clone)]
pub struct Links {
    public: String,
    github: String,
}

impl Links {
    /// The links of this process.
    pub fn of(state: &WebState) -> Self {
        Self { public: base(&state.public_url), github: base(&state.github_url) }
    }

    /// The whole address of one of Titan's paths.
    pub fn absolute(&self, path: &str) -> String {
        format!("{}{path}", self.public)
    }

    /// The path of a run's page.
    pub fn run(&self, run: RunId) -> String {
        format!("/runs/{run}")
    }

    /// The path of a repository's page.
    pub fn repository(&self, repo: &RepoName) -> String {
        format!("/{repo}")
    }

    /// The path of a change's page, which is named as the pull request is at GitHub.
    pub fn change(&self, repo: &RepoName, number: PrNumber) -> String {
        format!("/{repo}/pull/{}", number.0)
    }

    /// A pull request at GitHub.
    pub fn pull_request(&self, repo: &RepoName, number: PrNumber) -> String {
        format!("{}/{repo}/pull/{}", self.github, number.0)
    }

    /// A commit at GitHub.
    pub fn commit(&self, repo: &RepoName, commit: &CommitSha) -> String {
        format!("{}/{repo}/commit/{commit}", self.github)
    }

    /// The policy as it was at a commit.
    pub fn policy(&self, repo: &RepoName, commit: &CommitSha) -> String {
        format!("{}/{repo}/blob/{commit}/{POLICY_PATH}", self.github)
    }

    /// A check run at GitHub, by GitHub's id.
    pub fn check_run(&self, repo: &RepoName, id: i64) -> String {
        format!("{}/{repo}/runs/{id}", self.github)
    }

    /// A repository at GitHub.
    pub fn repository_at_github(&self, repo: &RepoName) -> String {
        format!("{}/{repo}", self.github)
    }
}

fn base(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}
