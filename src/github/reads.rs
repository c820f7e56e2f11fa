//! Facts read from GitHub: the pull request and its files here, the rest by what it is about.
//!
//! Only reads, with [`Access::Read`]. Nothing is cached and nothing is judged; a missing fact stays visible as `None` or
//! `complete: false`.

mod checks;
mod code;
mod labels;
mod people;
mod rules;

pub(in crate::github) use checks::CheckRunsWire;
pub use checks::{CheckRunFact, StatusFact};
pub use code::{CommitInfo, CommitPeople, Comparison};
pub use labels::{LabelEvent, LabelledFact};
pub use people::{CommentFact, Review, ReviewState, Standing};

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::call::Call;
use super::wire::{User, or_default, who};
use super::{Access, GitHubError, RepoClient};
use crate::domain::budget::Lane;
use crate::domain::ids::{CommitSha, PrNumber, RepoName};
use crate::domain::paths::{ChangedFile, FileStatus, RepoPath};

/// GitHub lists at most this many files of a pull request (REST, "List pull requests files").
pub const FILE_LIMIT: usize = 3000;

/// A pull request as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number.
    pub number: PrNumber,
    /// Its title.
    pub title: String,
    /// The author's login; `ghost` for a deleted account.
    pub author: String,
    /// The author's number; `None` for a deleted account.
    pub author_id: Option<i64>,
    /// Whether it is open.
    pub open: bool,
    /// Whether it is a draft.
    pub draft: bool,
    /// Whether it was merged.
    pub merged: bool,
    /// The commit on the base branch that the merge made; only for a merged one.
    pub merge_commit: Option<CommitSha>,
    /// The newest commit of the change.
    pub head: CommitSha,
    /// The branch of the change.
    pub head_ref: String,
    /// Where the branch is; `None` when that repository was deleted. Differs from the base for a fork.
    pub head_repo: Option<RepoName>,
    /// The branch it goes to.
    pub base_ref: String,
    /// The commit of the base branch that GitHub compares with; may be older than the branch's head.
    pub base: CommitSha,
    /// The repository as GitHub names it now: its number and name, when the host says them.
    pub base_repo: Option<(i64, RepoName)>,
    /// Whether that repository is archived.
    pub archived: bool,
    /// The repository's default branch, when the host says it.
    pub default_branch: Option<String>,
    /// When anything about it last changed, when the host says it.
    pub updated_at: Option<DateTime<Utc>>,
    /// Whether the conversation is locked.
    pub locked: bool,
    /// How many files GitHub counts.
    pub changed_files: Option<u64>,
    /// The names of its labels.
    pub labels: Vec<String>,
    /// Whether it merges cleanly; `None` while GitHub is still finding out.
    pub mergeable: Option<bool>,
    /// Its page.
    pub html_url: String,
}

/// The files of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileList {
    /// In GitHub's order.
    pub files: Vec<ChangedFile>,
    /// False when GitHub's limit was reached, so that files may be missing.
    pub complete: bool,
}

#[derive(Deserialize)]
struct PullWire {
    number: i64,
    #[serde(default, deserialize_with = "or_default")]
    title: String,
    #[serde(default)]
    user: Option<User>,
    state: String,
    #[serde(default, deserialize_with = "or_default")]
    draft: bool,
    #[serde(default, deserialize_with = "or_default")]
    locked: bool,
    #[serde(default)]
    merged: Option<bool>,
    #[serde(default)]
    merged_at: Option<String>,
    #[serde(default)]
    merge_commit_sha: Option<String>,
    #[serde(default)]
    updated_at: Option<DateTime<Utc>>,
    head: SideWire,
    base: SideWire,
    #[serde(default)]
    changed_files: Option<u64>,
    #[serde(default, deserialize_with = "or_default")]
    labels: Vec<LabelWire>,
    #[serde(default)]
    mergeable: Option<bool>,
    #[serde(default, deserialize_with = "or_default")]
    html_url: String,
}

#[derive(Deserialize)]
struct SideWire {
    sha: CommitSha,
    #[serde(rename = "ref")]
    branch: String,
    #[serde(default)]
    repo: Option<RepoWire>,
}

#[derive(Deserialize)]
struct RepoWire {
    #[serde(default)]
    id: Option<i64>,
    #[serde(default, deserialize_with = "or_default")]
    archived: bool,
    #[serde(default, deserialize_with = "or_default")]
    full_name: String,
    #[serde(default)]
    default_branch: Option<String>,
}

#[derive(Deserialize)]
struct LabelWire {
    #[serde(default, deserialize_with = "or_default")]
    name: String,
}

#[derive(Deserialize)]
struct FileWire {
    filename: String,
    #[serde(default)]
    previous_filename: Option<String>,
    status: FileStatus,
}

impl From<PullWire> for PullRequest {
    fn from(wire: PullWire) -> Self {
        let merged = wire.merged.unwrap_or(wire.merged_at.is_some());
        Self {
            number: PrNumber(wire.number),
            title: wire.title,
            author_id: wire.user.as_ref().map(|user| user.id).filter(|id| *id > 0),
            author: who(wire.user).0,
            open: wire.state == "open",
            draft: wire.draft,
            merged,
            // Before the merge this field names GitHub's test merge, which is on no branch.
            merge_commit: wire.merge_commit_sha.filter(|_| merged).and_then(|sha| sha.parse().ok()),
            head: wire.head.sha,
            head_ref: wire.head.branch,
            head_repo: wire.head.repo.and_then(|repo| repo.full_name.parse().ok()),
            base_ref: wire.base.branch,
            base: wire.base.sha,
            base_repo: wire.base.repo.as_ref().and_then(|repo| Some((repo.id?, repo.full_name.parse().ok()?))),
            archived: wire.base.repo.as_ref().is_some_and(|repo| repo.archived),
            default_branch: wire.base.repo.and_then(|repo| repo.default_branch),
            updated_at: wire.updated_at,
            locked: wire.locked,
            changed_files: wire.changed_files,
            labels: wire.labels.into_iter().map(|label| label.name).collect(),
            mergeable: wire.mergeable,
            html_url: wire.html_url,
        }
    }
}

impl RepoClient {
    /// The pull request as it is now.
    ///
    /// # Errors
    /// `NotFound` when there is none of this number.
    pub async fn get_pull_request(&self, number: PrNumber) -> Result<PullRequest, GitHubError> {
        let wire: PullWire = self.read(Access::Read, &format!("/pulls/{}", number.0)).await?;
        Ok(wire.into())
    }

    /// The repository's default branch; `None` when the host does not say.
    ///
    /// # Errors
    /// Only when GitHub could not be asked.
    pub async fn find_default_branch(&self) -> Result<Option<String>, GitHubError> {
        match self.read::<RepoWire>(Access::Read, "").await {
            Ok(repo) => Ok(repo.default_branch),
            Err(GitHubError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same, as a look that lets everything else go first.
    ///
    /// # Errors
    /// `NotFound` when there is none of this number.
    pub async fn look_at_pull_request(&self, number: PrNumber) -> Result<PullRequest, GitHubError> {
        let call = Call::get(self.path(&format!("/pulls/{}", number.0))).lane(Lane::Update);
        let wire: PullWire = self.send(Access::Read, &call).await?.json()?;
        Ok(wire.into())
    }

    /// Every file that the pull request changes, up to GitHub's limit of 3000.
    ///
    /// # Errors
    /// `NotFound` when there is no such pull request.
    pub async fn list_files(&self, number: PrNumber) -> Result<FileList, GitHubError> {
        let call = Call::get(self.path(&format!("/pulls/{}/files", number.0)));
        let listed = self
            .list_up_to(Access::Read, call, FILE_LIMIT, |page: Vec<FileWire>| {
                page.into_iter()
                    .map(|file| {
                        ChangedFile::listed(file.filename, file.status, file.previous_filename.map(RepoPath::from))
                    })
                    .collect()
            })
            .await?;
        let complete = listed.complete && listed.items.len() < FILE_LIMIT;
        Ok(FileList { files: listed.items, complete })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "3f2c1ab000000000000000000000000000000000";

    fn pull(extra: serde_json::Value) -> PullRequest {
        let mut json = serde_json::json!({
            "number": 7, "state": "open",
            "head": {"sha": SHA, "ref": "topic", "repo": null}, "base": {"sha": SHA, "ref": "main"},
        });
        for (key, value) in extra.as_object().expect("an object") {
            json[key] = value.clone();
        }
        serde_json::from_value::<PullWire>(json).expect("a pull request").into()
    }

    #[test]
    fn a_pull_request_needs_only_its_essence() {
        let bare = pull(serde_json::json!({"user": null, "labels": null, "title": null}));
        assert_eq!((bare.author.as_str(), bare.open, bare.draft, bare.merged), ("ghost", true, false, false));
        assert_eq!((bare.head_repo, bare.changed_files, bare.mergeable), (None, None, None));
        let labels = pull(serde_json::json!({"labels": [{"name": "titan-ops", "color": 1}, {}]})).labels;
        assert_eq!(labels, ["titan-ops", ""]);
    }

    #[test]
    fn the_test_merge_is_not_taken_for_the_merge() {
        assert_eq!(pull(serde_json::json!({"merge_commit_sha": SHA, "merged": false})).merge_commit, None);
        let merged = pull(serde_json::json!({"merge_commit_sha": SHA, "merged_at": "2026-01-01T00:00:00Z"}));
        assert_eq!(merged.merge_commit.map(|sha| sha.to_string()).as_deref(), Some(SHA));
    }

    #[test]
    fn an_unknown_file_status_is_kept_as_unknown() {
        let file: FileWire =
            serde_json::from_value(serde_json::json!({"filename": "a", "status": "teleported"})).expect("a file");
        assert_eq!(file.status, FileStatus::Unknown);
    }
}
