//! What the simulated GitHub knows: plain data behind one lock.
//!
//! The structs are public and cloneable, because tests and the playground's pages read copies of them. Nothing in
//! `model` speaks HTTP, checks a token or sends a webhook; it keeps facts and answers questions about them.

pub mod account;
pub mod check;
pub mod deployment;
pub mod issue;
pub mod repository;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use secrecy::SecretString;

pub use account::{Account, AccountKind, Role};
pub use check::{Annotation, CheckAction, CheckOutput, CheckRun, CommitStatus};
pub use deployment::{Deployment, DeploymentStatus};
pub use issue::{Comment, Happening, Issue, Merged, Pull, Reaction, Review, TimelineEvent, TrialMerge};
pub use repository::{Label, Protection, Repository};

/// Permission names with `read` or `write`, as GitHub writes them: `{"issues": "write"}`.
pub type Permissions = BTreeMap<String, String>;

/// The GitHub App under test.
#[derive(Debug, Clone)]
pub struct App {
    /// The App's id, also the first part of its installations' tokens.
    pub id: u64,
    /// Accepted as issuer of App tokens besides the id.
    pub client_id: String,
    /// `titan-app`; its bot's login is `titan-app[bot]`.
    pub slug: String,
    /// For people.
    pub name: String,
    /// Login of the account that registered it.
    pub owner: String,
    /// What it asks for.
    pub permissions: Permissions,
    /// Events it is subscribed to; `installation` and `installation_repositories` always come.
    pub events: Vec<String>,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
}

impl App {
    /// The login under which it acts.
    pub fn bot_login(&self) -> String {
        format!("{}[bot]", self.slug)
    }
}

/// The App on one account.
#[derive(Debug, Clone)]
pub struct Installation {
    /// Its id.
    pub id: u64,
    /// Login of the account.
    pub account: String,
    /// What the account granted; may be less than the App asks for.
    pub permissions: Permissions,
    /// Full names of the chosen repositories.
    pub repositories: Vec<String>,
    /// When it was installed.
    pub created_at: DateTime<Utc>,
    /// Set while the account has suspended it; then no token works and no event is sent.
    pub suspended_at: Option<DateTime<Utc>>,
}

/// An installation token that was given out.
#[derive(Debug, Clone)]
pub struct MintedToken {
    /// The token itself.
    pub token: SecretString,
    /// Whose it is.
    pub installation: u64,
    /// What it may do; never more than the installation.
    pub permissions: Permissions,
    /// Full names of the repositories it reaches.
    pub repositories: Vec<String>,
    /// Whether it was asked for by naming repositories.
    pub narrowed: bool,
    /// When it was given out.
    pub minted_at: DateTime<Utc>,
    /// An hour later.
    pub expires_at: DateTime<Utc>,
}

/// Calls that an installation may still make in its hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls in an hour.
    pub limit: u64,
    /// Calls made in this hour.
    pub used: u64,
    /// When the hour ends.
    pub reset_at: DateTime<Utc>,
}

/// Everything.
#[derive(Debug)]
pub struct State {
    /// Where bare repositories live.
    pub data: PathBuf,
    /// Base of the API and of git, without a slash at the end.
    pub api: String,
    /// Base of the pages for people, without a slash at the end.
    pub web: String,
    /// The App under test.
    pub app: App,
    /// The most files that a pull request's list shows; GitHub's own is 3000.
    pub files_cap: usize,
    /// By login.
    pub accounts: BTreeMap<String, Account>,
    /// By full name.
    pub repositories: BTreeMap<String, Repository>,
    /// Teams by organisation (in small letters) and slug: their people, and whether each has accepted the invitation.
    pub teams: BTreeMap<(String, String), BTreeMap<String, bool>>,
    /// The App's installations.
    pub installations: Vec<Installation>,
    /// By the token itself.
    pub tokens: HashMap<String, MintedToken>,
    /// By installation id.
    pub rate: HashMap<u64, RateLimit>,
    /// Requests that no route of the simulator knows: `METHOD path`.
    pub unknown_requests: Vec<String>,
    /// Requests of git's own protocol: `METHOD path`.
    pub git_requests: Vec<String>,
    /// How many more reads of a pull request answer that mergeability is still being computed.
    pub mergeability_unknown: HashMap<(String, u64), u32>,
    /// Events that were caused and not yet handed to the delivery of webhooks.
    pub outbox: Vec<Event>,
    next_id: u64,
}

/// Something that the App is to be told.
#[derive(Debug, Clone)]
pub struct Event {
    /// `X-GitHub-Event`: `issue_comment`.
    pub name: String,
    /// The payload's `action`, for events that have one.
    pub action: Option<String>,
    /// Full name; the order of one repository's events is kept.
    pub repository: Option<String>,
    /// The repository's id.
    pub repository_id: Option<u64>,
    /// Which installation it is for.
    pub installation: u64,
    /// The body.
    pub payload: serde_json::Value,
}

impl State {
    /// An empty GitHub that knows only the App and its bot.
    pub fn new(data: PathBuf, app: App, files_cap: usize) -> Self {
        let mut state = Self {
            data,
            api: String::new(),
            web: String::new(),
            files_cap,
            accounts: BTreeMap::new(),
            repositories: BTreeMap::new(),
            teams: BTreeMap::new(),
            installations: Vec::new(),
            tokens: HashMap::new(),
            rate: HashMap::new(),
            unknown_requests: Vec::new(),
            git_requests: Vec::new(),
            mergeability_unknown: HashMap::new(),
            outbox: Vec::new(),
            next_id: 1000,
            app,
        };
        let (owner, bot) = (state.app.owner.clone(), state.app.bot_login());
        state.add_account(&owner, AccountKind::Organization);
        state.add_account(&bot, AccountKind::Bot);
        state.add_account("web-flow", AccountKind::User);
        state
    }

    /// An id that was never given before; ids grow with time.
    pub fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The account of that login, upper and lower case alike.
    pub fn account(&self, login: &str) -> Option<&Account> {
        self.accounts.get(login).or_else(|| self.accounts.values().find(|a| a.login.eq_ignore_ascii_case(login)))
    }

    /// Adds an account; one that exists stays as it is.
    pub fn add_account(&mut self, login: &str, kind: AccountKind) -> Account {
        if let Some(known) = self.account(login) {
            return known.clone();
        }
        let account = Account { id: self.new_id(), login: login.to_owned(), kind, created_at: crate::clock::now() };
        self.accounts.insert(login.to_owned(), account.clone());
        account
    }

    /// Gives an account another login, with everything that hangs on it.
    pub fn rename(&mut self, login: &str, now: &str) {
        let Some(mut account) = self.accounts.remove(login) else { return };
        now.clone_into(&mut account.login);
        self.accounts.insert(now.to_owned(), account);
        let rename = |author: &mut String| {
            if author == login {
                now.clone_into(author);
            }
        };
        for repository in self.repositories.values_mut() {
            moved(&mut repository.collaborators, login, now);
            moved(&mut repository.custom_roles, login, now);
            repository.comments.iter_mut().for_each(|comment| rename(&mut comment.author));
            for issue in repository.issues.values_mut() {
                rename(&mut issue.author);
                issue.pull.iter_mut().flat_map(|pull| &mut pull.reviews).for_each(|review| rename(&mut review.author));
            }
        }
        self.teams.values_mut().for_each(|team| moved(team, login, now));
    }

    /// The repository of that full name, upper and lower case alike.
    pub fn repository(&self, full_name: &str) -> Option<&Repository> {
        let key = self.repository_key(full_name)?;
        self.repositories.get(&key)
    }

    /// Like [`State::repository`], to change it.
    pub fn repository_mut(&mut self, full_name: &str) -> Option<&mut Repository> {
        let key = self.repository_key(full_name)?;
        self.repositories.get_mut(&key)
    }

    fn repository_key(&self, full_name: &str) -> Option<String> {
        if self.repositories.contains_key(full_name) {
            return Some(full_name.to_owned());
        }
        self.repositories.keys().find(|known| known.eq_ignore_ascii_case(full_name)).cloned()
    }

    /// The installation that was given access to a repository.
    pub fn installation_of(&self, full_name: &str) -> Option<&Installation> {
        let holds = |one: &&Installation| one.repositories.iter().any(|name| name.eq_ignore_ascii_case(full_name));
        self.installations.iter().find(holds)
    }

    /// What a person may do with a repository. The owner is its admin; a public repository can be read by everyone.
    pub fn role(&self, repository: &Repository, login: &str) -> Role {
        if repository.owner.eq_ignore_ascii_case(login) {
            return Role::Admin;
        }
        let given = repository.collaborators.iter().find(|(known, _)| known.eq_ignore_ascii_case(login));
        match given {
            Some((_, role)) => *role,
            None if repository.private => Role::None,
            None => Role::Read,
        }
    }

    /// GitHub's word for what an author is to a repository, as it stands in comments and pull requests.
    pub fn association(&self, repository: &Repository, login: &str) -> &'static str {
        if repository.owner.eq_ignore_ascii_case(login) {
            return "OWNER";
        }
        let organization = self.account(&repository.owner).is_some_and(|a| a.kind == AccountKind::Organization);
        let collaborates = repository.collaborators.get(login).is_some_and(|role| *role != Role::None);
        let merged = |issue: &Issue| issue.author == login && issue.pull.as_ref().is_some_and(|p| p.merged.is_some());
        match (collaborates, organization) {
            (true, true) => "MEMBER",
            (true, false) => "COLLABORATOR",
            (false, _) if repository.issues.values().any(merged) => "CONTRIBUTOR",
            (false, _) => "NONE",
        }
    }
}

fn moved<T>(of: &mut BTreeMap<String, T>, from: &str, to: &str) {
    if let Some(value) = of.remove(from) {
        of.insert(to.to_owned(), value);
    }
}
