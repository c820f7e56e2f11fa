//! `.github/titan.yml`: what a repository's base branch allows, validated.
//!
//! Pure: takes the file's text and gives a [`Policy`] or every [`Diagnostic`] found. Where the file comes from (always
//! the base branch at a recorded commit) is the worker's business. The types are here; `tree` reads the YAML, `read`
//! judges the sections, `values` the single values.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

use super::command::CommandName;
use super::ids::{Environment, ProjectName, ServiceId};
use super::windows::Windows;

pub use self::network::BuildNetwork;

pub mod network;
mod people;
mod read;
pub mod schema;
#[cfg(test)]
mod tests;
mod tree;
mod values;
mod windows;

/// Where the policy lives in a repository.
pub const POLICY_PATH: &str = ".github/titan.yml";

/// A first policy, ready to be committed: it checks and builds, and shows what deploying needs.
pub const FIRST_POLICY: &str = "\
version: 1
paths:
  protected: [/.github/]      # a change that touches these is refused; gitignore patterns
# build:
#   run: [npm ci, npm run build]    # when left out, found from the lock file
# projects:                   # what can be deployed
#   web:
#     canary:     {render: srv-canary123, url: 'https://web-canary.example.com', identity: {path: /version, json: commit}}
#     production: {render: srv-production123, url: 'https://web.example.com', identity: {path: /version, json: commit}}
";

/// A validated policy. Every default is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// SHA-256 of the file's bytes, hexadecimal; stored with every run.
    pub hash: String,
    /// Which files a change may touch.
    pub paths: PathPolicy,
    /// How the change is built.
    pub build: Build,
    /// What can be deployed, by name. May be empty: then only `propose` can run.
    pub projects: BTreeMap<ProjectName, Project>,
    /// Who may give each run command.
    pub permissions: BTreeMap<CommandName, Grant>,
    /// Which checks of others must be green.
    pub required_checks: RequiredChecks,
    /// How many approving reviews promote needs, at most 10. Default 0: a policy that does not say asks for none beyond
    /// those that GitHub's own branch rules ask for at the merge.
    pub approvals: u32,
    /// How long a change keeps the canary after its run there, without a further command; `None`: until it is shipped,
    /// put back or closed. Default 24 hours, 1 second to 30 days, or `never`.
    pub lock_expiry: Option<Duration>,
    /// How promote merges.
    pub merge: MergeMethod,
    /// When promotes are let in; `None`: always.
    pub windows: Option<Windows>,
}

/// Path rules in gitignore syntax, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathPolicy {
    /// A change that touches one of these is refused.
    pub protected: Vec<String>,
    /// When present, a change outside of these is refused.
    pub allowed: Option<Vec<String>>,
}

/// The build of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Commands, each one line of shell-free words, at least one; `None`: found from the lock file in the checkout.
    pub run: Option<Vec<String>>,
    /// The limit for all commands together. Default 15 minutes, 1 second to 2 hours.
    pub timeout: Duration,
    /// What the commands may reach. Default [`BuildNetwork::Full`].
    pub network: BuildNetwork,
}

/// One deployable thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// gitignore patterns of the files that concern it; `/` means all.
    pub paths: Vec<String>,
    /// Where a change is tried.
    pub canary: Option<Target>,
    /// What the users see.
    pub production: Option<Target>,
    /// How long a new version is watched, default 5 minutes, 1 second to 24 hours.
    pub bake: Duration,
}

impl Project {
    /// The target of an environment, when the policy has one.
    pub fn target(&self, environment: Environment) -> Option<&Target> {
        match environment {
            Environment::Canary => self.canary.as_ref(),
            Environment::Production => self.production.as_ref(),
        }
    }
}

/// One running service and how to deploy to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// How a commit gets there.
    pub deploy: DeployVia,
    /// The service's address, `http` or `https`.
    pub url: Url,
    /// The path that answers 2xx when healthy, default `/`.
    pub health: String,
    /// Where the service says which commit it runs.
    pub identity: Option<Identity>,
}

/// How a commit is put on a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeployVia {
    /// Through Render's API.
    Render(ServiceId),
    /// Through the deploy hook of this name (`RENDER_DEPLOY_HOOK_<NAME>`): capital letters, digits and `_`.
    Hook(String),
}

/// Where a service answers with its commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// A JSON document at `path`; `json` is a dot-separated path to the commit.
    Json {
        /// Path of the document, begins with `/`.
        path: String,
        /// Dot-separated keys, e.g. `build.commit`.
        json: String,
    },
    /// A response header of the health path.
    Header {
        /// The header's name, lower-case.
        header: String,
    },
}

/// GitHub's repository roles, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// No access at all.
    None,
    /// May read.
    Read,
    /// May manage issues.
    Triage,
    /// May push.
    Write,
    /// May manage the repository without the sensitive parts.
    Maintain,
    /// May do everything.
    Admin,
}

impl Role {
    /// GitHub's own word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Triage => "triage",
            Self::Write => "write",
            Self::Maintain => "maintain",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who may give a command: everybody with the role who, when teams or people are named, is one of them. Names never
/// make up for a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The role that is needed, `triage` or higher in a policy: anybody can read a public repository.
    pub role: Role,
    /// Active members of one of these, at most ten.
    pub teams: Vec<TeamName>,
    /// Or one of these logins, whatever their case.
    pub users: Vec<String>,
}

impl Grant {
    /// Whether the role alone decides.
    pub fn is_for_all(&self) -> bool {
        self.teams.is_empty() && self.users.is_empty()
    }
}

impl std::fmt::Display for Grant {
    /// The role, and the names when there are some.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.role)?;
        let teams = self.teams.iter().map(ToString::to_string);
        let names: Vec<String> = teams.chain(self.users.iter().cloned()).collect();
        if names.is_empty() { Ok(()) } else { write!(f, " of {}", names.join(", ")) }
    }
}

/// A team of an organisation: `acme/sre`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct TeamName {
    /// The organisation's login.
    pub org: String,
    /// The team's name as it stands in its address.
    pub slug: String,
}

impl std::str::FromStr for TeamName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (org, slug) = text.split_once('/').ok_or(())?;
        let org_fits =
            !org.is_empty() && org.len() <= 50 && org.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let slug_fits = !slug.is_empty()
            && slug.len() <= 100
            && slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
        if org_fits && slug_fits { Ok(Self { org: org.to_owned(), slug: slug.to_owned() }) } else { Err(()) }
    }
}

impl std::fmt::Display for TeamName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.org, self.slug)
    }
}

/// Which checks of others must be green on a head. What GitHub's own rules for the base branch require is asked of a
/// promote in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequiredChecks {
    /// Nothing beyond GitHub's rules.
    Base,
    /// Also these, by name, and for a canary as well.
    Named(Vec<NamedCheck>),
    /// Also everything that was reported, and something must have been.
    All,
}

/// A check that a policy names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedCheck {
    /// Its name.
    pub name: String,
    /// Whose word counts.
    pub from: CheckSource,
}

/// Whose report of a check counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckSource {
    /// Only this App's check runs.
    App(i64),
    /// Any App's check runs, and no commit status: everybody who may push can set one.
    CheckRun,
    /// Whoever reports it, with a commit status as well.
    Any,
}

/// GitHub's merge methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MergeMethod {
    /// A merge commit.
    Merge,
    /// One new commit.
    Squash,
    /// The commits again on top of the base.
    Rebase,
}

impl MergeMethod {
    /// The word in GitHub's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::Squash => "squash",
            Self::Rebase => "rebase",
        }
    }
}

/// One mistake in a policy file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// 1-based line, 1 when the place is unknown.
    pub line: usize,
    /// 1-based column, 1 when the place is unknown.
    pub column: usize,
    /// What is wrong, one sentence in the file's own terms: plain text, not Markdown.
    pub message: String,
    /// What to write instead of the text at that place, when that can be told.
    pub suggestion: Option<String>,
}

impl Policy {
    /// Reads and validates the file's text.
    ///
    /// A byte order mark is forgiven. At most 256 KB are read.
    ///
    /// # Errors
    /// Every mistake that was found, at least one and at most 100, in the order of the file. Text that is no YAML at
    /// all has one. No message repeats an address or a name that could be a secret.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        let root = tree::parse(text).map_err(|mistake| vec![mistake])?;
        let hash = hex::encode(Sha256::digest(text.as_bytes()));
        read::policy(&root, hash)
    }

    /// The same from the file's bytes.
    ///
    /// # Errors
    /// As [`Self::parse`]; bytes that are no UTF-8 text are one mistake.
    pub fn parse_bytes(bytes: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        let text = str::from_utf8(bytes).map_err(|error| {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let column = good.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            let message = "the file is not UTF-8 text".to_owned();
            vec![Diagnostic { line: good.split('\n').count(), column, message, suggestion: None }]
        })?;
        Self::parse(text)
    }

    /// Who may give a command: the policy's word for run commands, fixed for the others.
    pub fn grant(&self, command: CommandName) -> Grant {
        self.permissions.get(&command).cloned().unwrap_or_else(|| default_grant(command))
    }
}

/// Who may give a command when no policy says otherwise.
pub fn default_grant(command: CommandName) -> Grant {
    Grant { role: default_role(command), teams: Vec::new(), users: Vec::new() }
}

/// The role a command needs when no policy says otherwise.
pub fn default_role(command: CommandName) -> Role {
    match command {
        CommandName::Status | CommandName::Help => Role::Read,
        CommandName::Propose | CommandName::Canary | CommandName::Rollback => Role::Write,
        CommandName::Lock | CommandName::Unlock | CommandName::Cancel | CommandName::Halt => Role::Write,
        CommandName::Promote | CommandName::Trust => Role::Maintain,
        CommandName::Arm | CommandName::Disarm | CommandName::Resume => Role::Admin,
    }
}
