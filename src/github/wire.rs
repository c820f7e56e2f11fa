//! Small pieces of GitHub's JSON that several answers share. Everything that is not essential may be missing or null.

use serde::{Deserialize, Deserializer};

/// Anything that has a number.
#[derive(Deserialize)]
pub(super) struct Id {
    pub(super) id: i64,
}

/// An installation.
#[derive(Deserialize)]
pub(super) struct Installation {
    #[serde(default)]
    pub(super) suspended_at: Option<String>,
}

/// An account.
#[derive(Deserialize)]
pub(super) struct User {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) id: i64,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) login: String,
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    pub(super) kind: String,
}

impl User {
    /// Whether the account belongs to a program.
    pub(super) fn is_bot(&self) -> bool {
        is_bot(&self.login, &self.kind)
    }
}

/// Whether an account of this login and type belongs to a program. GitHub marks Apps with both.
pub(super) fn is_bot(login: &str, kind: &str) -> bool {
    kind.eq_ignore_ascii_case("bot") || login.ends_with("[bot]")
}

/// The login GitHub shows for a deleted account.
pub(super) const GHOST: &str = "ghost";

/// Login and whether it is a bot; a deleted account is `ghost`.
pub(super) fn who(user: Option<User>) -> (String, bool) {
    match user {
        Some(user) if !user.login.is_empty() => {
            let bot = user.is_bot();
            (user.login, bot)
        }
        _ => (GHOST.to_owned(), false),
    }
}

/// Null counts as missing.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
