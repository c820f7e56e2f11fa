//! People, organisations and bots, and what they may do with a repository.
//! Facts only; who may do what is asked of `State::role`.

use chrono::{DateTime, Utc};

use crate::playground::github::git::Signature;

/// What kind of account it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountKind {
    /// A person.
    User,
    /// Owns repositories, does not act.
    Organization,
    /// An App's actor; its login ends in `[bot]`.
    Bot,
}

impl AccountKind {
    /// GitHub's `type`.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Organization => "Organization",
            Self::Bot => "Bot",
        }
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: u64,
    /// Unique whatever the case.
    pub login: String,
    /// Person, organisation or bot.
    pub kind: AccountKind,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl Account {
    /// How the account signs commits: by its private GitHub address.
    pub fn signature(&self, at: DateTime<Utc>) -> Signature {
        if self.login == "web-flow" {
            return Signature::github(at);
        }
        let email = format!("{}+{}@users.noreply.github.com", self.id, self.login);
        Signature { name: self.login.clone(), email, at }
    }

    /// Whether a commit's address is this account's.
    pub fn has_email(&self, email: &str) -> bool {
        let own = self.signature(self.created_at).email;
        email.eq_ignore_ascii_case(&own)
            || email.eq_ignore_ascii_case(&format!("{}@users.noreply.github.com", self.login))
    }
}

/// What a person may do with a repository, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Nothing, not even see it when it is private.
    None,
    /// Read and comment.
    Read,
    /// Also label and close.
    Triage,
    /// Also push.
    Write,
    /// Also some settings.
    Maintain,
    /// Everything.
    Admin,
}

impl Role {
    /// GitHub's `role_name`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Triage => "triage",
            Self::Write => "write",
            Self::Maintain => "maintain",
            Self::Admin => "admin",
        }
    }

    /// GitHub's older `permission`, which knows neither maintain nor triage.
    pub fn permission(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read | Self::Triage => "read",
            Self::Write | Self::Maintain => "write",
            Self::Admin => "admin",
        }
    }
}
