//! What is in the repository: files at a commit, branches, commits and how they relate.

use base64::Engine;
use serde::Deserialize;

use crate::domain::ids::CommitSha;
use crate::domain::snapshot::Person;
use crate::github::call::{Call, encode, encode_segments};
use crate::github::wire::or_default;
use crate::github::{Access, GitHubError, RepoClient};

/// How two commits relate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Commits that the head has and the base has not.
    pub ahead_by: u64,
    /// Commits that the base has and the head has not.
    pub behind_by: u64,
    /// Their newest common ancestor.
    pub merge_base: CommitSha,
}

/// A commit without its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    /// Its id.
    pub sha: CommitSha,
    /// The id of its tree; equal trees have equal content.
    pub tree: CommitSha,
    /// Its parents, the first being the branch it was made on.
    pub parents: Vec<CommitSha>,
}

/// A commit's tree and the people whose names it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitPeople {
    /// The id of its tree.
    pub tree: CommitSha,
    /// Author and committer, as far as GitHub knows their addresses; whoever pushes writes those.
    pub people: Vec<Person>,
}

/// A git object's id inside another answer.
#[derive(Deserialize)]
struct ShaWire {
    sha: CommitSha,
}

#[derive(Deserialize)]
struct RefWire {
    object: ShaWire,
}

#[derive(Deserialize)]
struct CompareWire {
    ahead_by: u64,
    behind_by: u64,
    merge_base_commit: ShaWire,
}

#[derive(Deserialize)]
struct CommitWire {
    sha: CommitSha,
    tree: ShaWire,
    #[serde(default, deserialize_with = "or_default")]
    parents: Vec<ShaWire>,
}

#[derive(Deserialize)]
struct CommitPeopleWire {
    commit: CommitTreeWire,
    #[serde(default)]
    author: Option<PersonWire>,
    #[serde(default)]
    committer: Option<PersonWire>,
}

#[derive(Deserialize)]
struct CommitTreeWire {
    tree: ShaWire,
}

/// GitHub answers an empty object for an address that it does not know.
#[derive(Deserialize)]
struct PersonWire {
    #[serde(default)]
    login: Option<String>,
    #[serde(default)]
    id: Option<i64>,
}

/// The contents API's answer: a list for a directory, else one entry.
#[derive(Deserialize)]
#[serde(untagged)]
enum ContentWire {
    Entry(EntryWire),
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct EntryWire {
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    encoding: String,
    #[serde(default, deserialize_with = "or_default")]
    content: String,
    #[serde(default)]
    size: Option<u64>,
    /// Set for a submodule, which some answers call a file.
    #[serde(default)]
    submodule_git_url: Option<String>,
}

/// What an entry of the contents API gives.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    Bytes(Vec<u8>),
    /// Too large for JSON; to be asked for as bytes.
    Large,
    /// Not a file, and what it is instead.
    Other(&'static str),
    Broken(&'static str),
}

impl ContentWire {
    fn read(self) -> Content {
        let entry = match self {
            Self::Other(_) => return Content::Other("a directory"),
            Self::Entry(entry) => entry,
        };
        match entry.kind.as_str() {
            "dir" => return Content::Other("a directory"),
            "symlink" => return Content::Other("a symbolic link"),
            "submodule" => return Content::Other("a submodule"),
            _ if entry.submodule_git_url.is_some() => return Content::Other("a submodule"),
            _ => {}
        }
        match entry.encoding.as_str() {
            "base64" => {
                let digits: String = entry.content.chars().filter(|c| !c.is_ascii_whitespace()).collect();
                match base64::engine::general_purpose::STANDARD.decode(digits) {
                    // A file over 1 MB has no content in JSON; an empty one has none either.
                    Ok(bytes) if bytes.is_empty() && entry.size.unwrap_or(0) > 0 => Content::Large,
                    Ok(bytes) => Content::Bytes(bytes),
                    Err(_) => Content::Broken("the file's content is not base64"),
                }
            }
            "none" | "" => Content::Large,
            _ => Content::Broken("the file's content has an encoding that is not known"),
        }
    }
}

impl RepoClient {
    /// A file's bytes at a commit; `None` when there is no such file. Up to 100 MB, GitHub's limit.
    ///
    /// # Errors
    /// `Invalid` when a directory, symbolic link or submodule is at that path, or the path cannot be one of a file.
    pub async fn get_file(&self, path: &str, at: &CommitSha) -> Result<Option<Vec<u8>>, GitHubError> {
        let Some(encoded) = encode_segments(path) else {
            return Err(GitHubError::Invalid(format!("{path:?} cannot be the path of a file in a repository")));
        };
        let call = Call::get(self.path(&format!("/contents/{encoded}"))).query("ref", at.as_str());
        let answer = match self.send(Access::Read, &call).await {
            Ok(answer) => answer,
            Err(GitHubError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        match answer.json::<ContentWire>()?.read() {
            Content::Bytes(bytes) => Ok(Some(bytes)),
            Content::Large => Ok(Some(self.send(Access::Read, &call.raw()).await?.body.to_vec())),
            Content::Other(what) => {
                Err(GitHubError::Invalid(format!("{path} at {} is {what}, but a file is needed", at.short())))
            }
            Content::Broken(why) => Err(answer.unexpected(why)),
        }
    }

    /// The newest commit of a branch.
    ///
    /// # Errors
    /// `NotFound` when there is no such branch, `Invalid` when the name cannot be a branch's.
    pub async fn get_branch_head(&self, branch: &str) -> Result<CommitSha, GitHubError> {
        let Some(encoded) = encode_segments(branch) else {
            return Err(GitHubError::Invalid(format!("{branch:?} cannot be the name of a branch")));
        };
        let found: RefWire = self.read(Access::Read, &format!("/git/ref/heads/{encoded}")).await?;
        Ok(found.object.sha)
    }

    /// How `head` relates to `base`; both are commits or branches of this repository.
    ///
    /// # Errors
    /// `NotFound` when one does not exist or they have no common ancestor.
    pub async fn compare(&self, base: &str, head: &str) -> Result<Comparison, GitHubError> {
        // One commit a page: only the counts are wanted.
        let call =
            Call::get(self.path(&format!("/compare/{}...{}", encode(base), encode(head)))).query("per_page", "1");
        let found: CompareWire = self.send(Access::Read, &call).await?.json()?;
        Ok(Comparison { ahead_by: found.ahead_by, behind_by: found.behind_by, merge_base: found.merge_base_commit.sha })
    }

    /// A commit's tree and the people whose names it carries.
    ///
    /// # Errors
    /// `NotFound` or `Invalid` when the repository has no such commit.
    pub async fn get_commit_people(&self, sha: &CommitSha) -> Result<CommitPeople, GitHubError> {
        // Its files are of no interest.
        let call = Call::get(self.path(&format!("/commits/{sha}"))).query("per_page", "1");
        let found: CommitPeopleWire = self.send(Access::Read, &call).await?.json()?;
        let people = [found.author, found.committer].into_iter().flatten();
        let person = |one: PersonWire| one.login.map(|login| Person { login, id: one.id });
        Ok(CommitPeople { tree: found.commit.tree.sha, people: people.filter_map(person).collect() })
    }

    /// A commit's tree and parents.
    ///
    /// # Errors
    /// `NotFound` when the repository has no such commit.
    pub async fn get_commit_tree(&self, sha: &CommitSha) -> Result<CommitInfo, GitHubError> {
        let found: CommitWire = self.read(Access::Read, &format!("/git/commits/{sha}")).await?;
        Ok(CommitInfo {
            sha: found.sha,
            tree: found.tree.sha,
            parents: found.parents.into_iter().map(|parent| parent.sha).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_read_by_what_they_are() {
        let read = |json: serde_json::Value| serde_json::from_value::<ContentWire>(json).expect("an answer").read();
        let file = |encoding: &str, content: &str, size: u64| {
            read(serde_json::json!({"type": "file", "encoding": encoding, "content": content, "size": size}))
        };
        assert_eq!(file("base64", "aGVs\nbG8=\n", 5), Content::Bytes(b"hello".to_vec()));
        assert_eq!(file("base64", "", 0), Content::Bytes(Vec::new()));
        assert_eq!(file("none", "", 2_000_000), Content::Large);
        assert_eq!(file("base64", "", 2_000_000), Content::Large);
        assert!(matches!(file("base64", "%%%", 3), Content::Broken(_)));
        assert!(matches!(file("rot13", "uryyb", 5), Content::Broken(_)));
        assert_eq!(read(serde_json::json!([{"type": "file"}])), Content::Other("a directory"));
        assert_eq!(read(serde_json::json!({"type": "symlink", "target": "x"})), Content::Other("a symbolic link"));
        assert_eq!(read(serde_json::json!({"type": "submodule"})), Content::Other("a submodule"));
        assert_eq!(
            read(serde_json::json!({"type": "file", "submodule_git_url": "git://x"})),
            Content::Other("a submodule")
        );
    }
}
