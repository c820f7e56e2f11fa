//! Writes to the repository itself: merging, branches, pull requests of Titan's own; undoing a merge is below.
//!
//! All with [`Access::Merge`]. Nothing is ever forced or deleted, and no author is sent, so that GitHub signs the
//! commits in the App's name.

mod revert;

use http::Method;
use serde::{Deserialize, Serialize};

use super::call::{Call, encode_segments};
use super::feedback::{BODY_BYTES, cut_bytes};
use super::wire::or_default;
use super::{Access, GitHubError, RepoClient};
use crate::domain::ids::{CommitSha, PrNumber, RepoName};
use crate::domain::policy::MergeMethod;

/// What came of an attempt to merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeOutcome {
    /// Merged; the commit on the base branch.
    Merged(CommitSha),
    /// The head is not the expected one any more.
    HeadMoved,
    /// GitHub's rules or a conflict stand against it; GitHub's own sentence.
    NotMergeable(String),
}

#[derive(Serialize)]
struct MergeBody<'a> {
    sha: &'a CommitSha,
    merge_method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit_title: Option<&'a str>,
}

#[derive(Deserialize)]
struct MergeWire {
    #[serde(default, deserialize_with = "or_default")]
    sha: String,
    #[serde(default)]
    merged: Option<bool>,
    #[serde(default, deserialize_with = "or_default")]
    message: String,
}

#[derive(Deserialize)]
struct RefWire {
    object: RefObject,
}

#[derive(Deserialize)]
struct RefObject {
    sha: CommitSha,
}

#[derive(Deserialize)]
struct PullWire {
    number: i64,
    #[serde(default, deserialize_with = "or_default")]
    state: String,
    #[serde(default)]
    head: Option<HeadWire>,
}

#[derive(Deserialize)]
struct HeadWire {
    #[serde(rename = "ref", default, deserialize_with = "or_default")]
    branch: String,
    #[serde(default)]
    repo: Option<HeadRepoWire>,
}

#[derive(Deserialize)]
struct HeadRepoWire {
    #[serde(default, deserialize_with = "or_default")]
    full_name: String,
}

impl PullWire {
    /// Whether it comes from this branch of this very repository and not from a fork's branch of the same name.
    fn comes_from(&self, repo: &RepoName, branch: &str) -> bool {
        self.head.as_ref().is_some_and(|head| {
            let name = head.repo.as_ref().and_then(|repo| repo.full_name.parse::<RepoName>().ok());
            head.branch == branch && name.is_some_and(|name| name.same(repo))
        })
    }
}

impl RepoClient {
    /// Merges a pull request when its head is still `expected_head`. Without a title GitHub makes one.
    ///
    /// # Errors
    /// All but a moved head (409) and a merge that GitHub refuses (405; other hosts say 422 to both), which are outcomes.
    /// After `Transient` the merge may have happened: read the pull request before trying again.
    pub async fn merge(
        &self,
        number: PrNumber,
        expected_head: &CommitSha,
        method: MergeMethod,
        title: Option<String>,
    ) -> Result<MergeOutcome, GitHubError> {
        let body = MergeBody { sha: expected_head, merge_method: method.as_str(), commit_title: title.as_deref() };
        let call = Call::write(Method::PUT, self.path(&format!("/pulls/{}/merge", number.0)), &body)?;
        let answer = self.answer(Access::Merge, &call).await?;
        match answer.status.as_u16() {
            405 | 422 => return Ok(MergeOutcome::NotMergeable(answer.message())),
            409 => return Ok(MergeOutcome::HeadMoved),
            _ => {}
        }
        let answer = answer.checked()?;
        let wire: MergeWire = answer.json()?;
        if wire.merged == Some(false) {
            return Ok(MergeOutcome::NotMergeable(wire.message));
        }
        match wire.sha.parse() {
            Ok(sha) => Ok(MergeOutcome::Merged(sha)),
            Err(_) => Err(answer.unexpected("GitHub says that it merged, but not to which commit")),
        }
    }

    /// Makes a branch at a commit that the repository has.
    ///
    /// # Errors
    /// `Conflict` when the branch exists, `Invalid` when the name or the commit is not acceptable.
    pub async fn create_branch(&self, name: &str, at: &CommitSha) -> Result<(), GitHubError> {
        let body = serde_json::json!({"ref": format!("refs/heads/{name}"), "sha": at});
        let call = Call::write(Method::POST, self.path("/git/refs"), &body)?;
        self.send(Access::Merge, &call).await.map_err(exists_is_conflict)?;
        Ok(())
    }

    /// The newest commit of a branch; `None` when there is no such branch.
    ///
    /// # Errors
    /// `Invalid` when the name cannot be a branch's.
    pub async fn find_branch(&self, name: &str) -> Result<Option<CommitSha>, GitHubError> {
        let Some(encoded) = encode_segments(name) else {
            return Err(GitHubError::Invalid(format!("{name:?} cannot be the name of a branch")));
        };
        match self.read::<RefWire>(Access::Merge, &format!("/git/ref/heads/{encoded}")).await {
            Ok(found) => Ok(Some(found.object.sha)),
            Err(GitHubError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens a pull request from a branch of this repository and gives its number.
    ///
    /// # Errors
    /// `Conflict` when there is an open one from this branch, `Invalid` when the branches do not differ.
    pub async fn create_pull_request(
        &self,
        head: &str,
        base: &str,
        title: &str,
        body: &str,
    ) -> Result<PrNumber, GitHubError> {
        let body = serde_json::json!({"title": title, "head": head, "base": base, "body": cut_bytes(body, BODY_BYTES)});
        let call = Call::write(Method::POST, self.path("/pulls"), &body)?;
        let made: PullWire = self.send(Access::Merge, &call).await.map_err(exists_is_conflict)?.json()?;
        Ok(PrNumber(made.number))
    }

    /// The pull request from this branch of this repository: an open one first, else the newest closed one.
    ///
    /// # Errors
    /// Only when GitHub could not be asked.
    pub async fn find_pull_request_by_head(&self, branch: &str) -> Result<Option<PrNumber>, GitHubError> {
        let call = Call::get(self.path("/pulls"))
            .query("head", format!("{}:{branch}", self.repo.name.owner()))
            .query("state", "all");
        let found = self.list_all(Access::Merge, call, |page: Vec<PullWire>| page).await?;
        Ok(found
            .iter()
            .filter(|pull| pull.comes_from(&self.repo.name, branch))
            .max_by_key(|pull| (pull.state == "open", pull.number))
            .map(|pull| PrNumber(pull.number)))
    }
}

/// GitHub answers 422 when the thing to be made exists already; to the caller that is a conflict it can look up.
fn exists_is_conflict(error: GitHubError) -> GitHubError {
    match error {
        GitHubError::Invalid(why) if why.to_ascii_lowercase().contains("already exists") => GitHubError::Conflict(why),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forks_branch_of_the_same_name_is_not_ours() {
        let repo: RepoName = "acme/shop".parse().expect("a name");
        let from = |head: serde_json::Value| {
            let pull = serde_json::json!({"number": 1, "head": head});
            serde_json::from_value::<PullWire>(pull).expect("a pull request").comes_from(&repo, "titan/x")
        };
        assert!(from(serde_json::json!({"ref": "titan/x", "repo": {"full_name": "Acme/Shop"}})));
        assert!(!from(serde_json::json!({"ref": "titan/x", "repo": {"full_name": "mallory/shop"}})));
        assert!(!from(serde_json::json!({"ref": "titan/y", "repo": {"full_name": "acme/shop"}})));
        assert!(!from(serde_json::json!({"ref": "titan/x", "repo": null})));
        assert!(!from(serde_json::Value::Null));
    }
}
