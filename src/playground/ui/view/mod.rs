//! What the pages show, as finished text: `read` fills these, the templates print them. No logic beyond words.

mod pages;

use chrono::{DateTime, Utc};

pub use self::pages::*;

/// What stands on every page.
#[derive(Debug, Clone)]
pub struct Frame {
    /// In the browser's tab.
    pub title: String,
    /// `owner/name` of the sample repository.
    pub repo: String,
    /// Where Titan's own pages are, once Titan runs.
    pub titan_url: Option<String>,
    /// Which entry of the menu is the page's: `pulls`, `services` or `traffic`.
    pub here: &'static str,
    /// Where the person should come back to after choosing who they are.
    pub path: String,
    /// Who acts.
    pub me: String,
    /// Who one can be.
    pub people: Vec<Person>,
    /// What went wrong with the last thing that was asked for.
    pub notice: Option<String>,
}

/// A person of the sample repository.
#[derive(Debug, Clone)]
pub struct Person {
    /// Login.
    pub login: String,
    /// GitHub's word for what they may do.
    pub role: &'static str,
}

/// A time for people and for the browser.
#[derive(Debug, Clone)]
pub struct When {
    /// RFC 3339.
    pub exact: String,
    /// `12 s ago`
    pub ago: String,
}

impl When {
    /// The time `at`, seen at `now`.
    pub fn new(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let seconds = (now - at).num_seconds().max(0);
        let ago = match seconds {
            0..=1 => "just now".to_owned(),
            2..=59 => format!("{seconds} s ago"),
            60..=3599 => format!("{} min ago", seconds / 60),
            3600..=86_399 => format!("{} h ago", seconds / 3600),
            _ => format!("{} d ago", seconds / 86_400),
        };
        Self { exact: at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true), ago }
    }
}

/// A mark with a colour: `good`, `bad`, `busy`, `quiet` or `done`, and its word.
#[derive(Debug, Clone)]
pub struct Mark {
    /// A class of the style sheet.
    pub kind: &'static str,
    /// For people.
    pub word: String,
}

impl Mark {
    /// A mark.
    pub fn new(kind: &'static str, word: impl Into<String>) -> Self {
        Self { kind, word: word.into() }
    }

    /// The sign that goes with the colour, for those who cannot tell colours.
    pub fn sign(&self) -> &'static str {
        match self.kind {
            "good" => "✓",
            "bad" => "✕",
            "busy" => "●",
            "done" => "◆",
            _ => "○",
        }
    }
}

/// Someone who did something.
#[derive(Debug, Clone)]
pub struct Actor {
    /// Login, without `[bot]`.
    pub login: String,
    /// Whether it is an App.
    pub bot: bool,
}

impl Actor {
    /// From a login such as `alice` or `titan-app[bot]`.
    pub fn new(login: &str) -> Self {
        let plain = login.strip_suffix("[bot]");
        Self { login: plain.unwrap_or(login).to_owned(), bot: plain.is_some() }
    }

    /// What stands in the round picture.
    pub fn initial(&self) -> char {
        self.login.chars().next().unwrap_or('?').to_ascii_uppercase()
    }

    /// One of six colours, always the same for one login.
    pub fn colour(&self) -> usize {
        self.login.bytes().fold(0, |sum: usize, byte| sum.wrapping_mul(5).wrapping_add(usize::from(byte))) % 6
    }
}

/// A label.
#[derive(Debug, Clone)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// Six hexadecimal digits.
    pub colour: String,
}

/// The first seven digits of a commit id.
pub fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_largest_fitting_unit() {
        let now: DateTime<Utc> = "2026-01-02T00:00:00Z".parse().expect("a time");
        let ago = |seconds| When::new(now - chrono::TimeDelta::seconds(seconds), now).ago;
        assert_eq!(
            [ago(-5), ago(59), ago(60), ago(7200), ago(86_400)],
            ["just now", "59 s ago", "1 min ago", "2 h ago", "1 d ago"]
        );
    }

    #[test]
    fn a_bot_is_told_by_its_login() {
        let bot = Actor::new("titan-app[bot]");
        assert_eq!((bot.login.as_str(), bot.bot, bot.initial()), ("titan-app", true, 'T'));
        assert!(!Actor::new("alice").bot);
    }
}
