//! Names and numbers that cross rooms, each a type of its own, checked where it enters.
//!
//! A value of these types is safe to put in a URL path, a log line or an argument list: what does not fit the
//! documented shape is refused at construction, so no later code has to escape or check it again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name or number that does not have the documented shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not valid: {why}")]
pub struct InvalidId {
    /// What was being read, e.g. `repository name`.
    pub what: &'static str,
    /// What is wrong with it, without repeating the value.
    pub why: &'static str,
}

/// `owner/name` of a repository on GitHub.
///
/// Both parts consist of ASCII letters, digits, `-`, `_` and `.`, are 1 to 100 characters long, and are neither `.`
/// nor `..`. GitHub compares repository names without regard to case, and so does this type's [`RepoName::same`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoName {
    owner: String,
    name: String,
}

impl RepoName {
    /// Checks both parts.
    ///
    /// # Errors
    /// When a part is empty, too long or has a character that GitHub does not allow.
    pub fn new(owner: &str, name: &str) -> Result<Self, InvalidId> {
        let ok = |part: &str| {
            !part.is_empty()
                && part.len() <= 100
                && part != "."
                && part != ".."
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        if ok(owner) && ok(name) {
            Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
        } else {
            Err(InvalidId {
                what: "repository name",
                why: "expected owner/name with letters, digits, '-', '_' and '.'",
            })
        }
    }

    /// The account that owns the repository.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The repository's own name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether GitHub would take both for the same repository.
    pub fn same(&self, other: &Self) -> bool {
        self.owner.eq_ignore_ascii_case(&other.owner) && self.name.eq_ignore_ascii_case(&other.name)
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl FromStr for RepoName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (owner, name) =
            text.split_once('/').ok_or(InvalidId { what: "repository name", why: "expected owner/name" })?;
        Self::new(owner, name)
    }
}

impl TryFrom<String> for RepoName {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<RepoName> for String {
    fn from(name: RepoName) -> Self {
        name.to_string()
    }
}

/// A full commit id: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitSha(String);

impl CommitSha {
    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first seven digits, as people know it from git.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

impl fmt::Debug for CommitSha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for CommitSha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CommitSha {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(InvalidId { what: "commit id", why: "expected 40 or 64 hexadecimal digits" })
        }
    }
}

impl TryFrom<String> for CommitSha {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<CommitSha> for String {
    fn from(sha: CommitSha) -> Self {
        sha.0
    }
}

/// The beginning of a commit id as a person types it after `@`: 7 to 64 hexadecimal digits, lower-case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitPrefix(String);

impl CommitPrefix {
    /// Whether `sha` begins with these digits.
    pub fn matches(&self, sha: &CommitSha) -> bool {
        sha.as_str().starts_with(&self.0)
    }
}

impl fmt::Display for CommitPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for CommitPrefix {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(InvalidId { what: "commit id", why: "expected at least 7 hexadecimal digits after @" })
        }
    }
}

impl TryFrom<String> for CommitPrefix {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<CommitPrefix> for String {
    fn from(prefix: CommitPrefix) -> Self {
        prefix.0
    }
}

/// A project's name as the policy gives it: a lower-case letter or digit, then up to 39 more of those, `-` or `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectName(String);

impl ProjectName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ProjectName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
        if first && rest && text.len() <= 40 {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId {
                what: "project name",
                why: "expected 1 to 40 lower-case letters, digits, '-' and '_', beginning with a letter or digit",
            })
        }
    }
}

impl TryFrom<String> for ProjectName {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<ProjectName> for String {
    fn from(name: ProjectName) -> Self {
        name.0
    }
}

/// A run's id: a time-ordered UUID, so that newer runs sort later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub uuid::Uuid);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        uuid::Uuid::from_str(text).map(Self).map_err(|_| InvalidId { what: "run id", why: "expected a UUID" })
    }
}

/// The number that GitHub gives to an installation of the App.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstallationId(pub i64);

impl fmt::Display for InstallationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a pull request in its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrNumber(pub i64);

impl fmt::Display for PrNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A Render service: `srv-` and lower-case letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceId(String);

impl ServiceId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ServiceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let rest = text.strip_prefix("srv-").unwrap_or_default();
        if !rest.is_empty()
            && rest.len() <= 60
            && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId { what: "Render service id", why: "expected srv- and lower-case letters and digits" })
        }
    }
}

impl TryFrom<String> for ServiceId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<ServiceId> for String {
    fn from(id: ServiceId) -> Self {
        id.0
    }
}

/// A deploy on Render: `dep-` and letters, digits and dashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeployId(String);

impl DeployId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeployId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DeployId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let rest = text.strip_prefix("dep-").unwrap_or_default();
        if !rest.is_empty() && rest.len() <= 80 && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId { what: "Render deploy id", why: "expected dep- and letters and digits" })
        }
    }
}

impl TryFrom<String> for DeployId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<DeployId> for String {
    fn from(id: DeployId) -> Self {
        id.0
    }
}

/// The environment of a project that a command works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Where a change is tried first.
    Canary,
    /// What the users see.
    Production,
}

impl Environment {
    /// The name as used for GitHub deployments, in SQL and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Production => "production",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_place_are_refused() {
        for bad in [
            "",
            "acme",
            "acme/",
            "/shop",
            "acme/../shop",
            "acme/..",
            "acme/sh op",
            "acme/shop?x=1",
            "a/b/c",
            "acme/s\nhop",
        ] {
            assert!(bad.parse::<RepoName>().is_err(), "{bad:?} must not be a repository name");
        }
        assert_eq!("acme/shop.js".parse::<RepoName>().map(|r| r.to_string()).as_deref(), Ok("acme/shop.js"));
        assert!("abc".parse::<CommitSha>().is_err());
        assert!("--upload-pack=x".parse::<CommitSha>().is_err());
        assert!("srv-".parse::<ServiceId>().is_err());
        assert!("srv-a/../b".parse::<ServiceId>().is_err());
        assert!("Web".parse::<ProjectName>().is_err());
        assert!("-web".parse::<ProjectName>().is_err());
        assert!("web".parse::<ProjectName>().is_ok());
    }

    #[test]
    fn a_prefix_matches_only_the_beginning() {
        let sha: CommitSha = "3f2c1ab000000000000000000000000000000000".parse().expect("a full id");
        assert!("3F2C1AB".parse::<CommitPrefix>().expect("seven digits").matches(&sha));
        assert!(!"f2c1ab0".parse::<CommitPrefix>().expect("seven digits").matches(&sha));
        assert!("3f2c1a".parse::<CommitPrefix>().is_err());
    }
}
