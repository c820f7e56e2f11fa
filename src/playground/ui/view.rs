//! What the pages show, as finished text: `read` fills these, the templates print them. No logic beyond words.

use askama::Template;
use chrono::{DateTime, Utc};

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

/// A pull request in the list.
#[derive(Debug, Clone)]
pub struct PullRow {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Open, merged or closed.
    pub state: Mark,
    /// Who opened it.
    pub author: Actor,
    /// When.
    pub opened: When,
    /// Its labels.
    pub labels: Vec<Label>,
    /// How many comments it has.
    pub comments: usize,
    /// The head's check runs together; `None` without any.
    pub checks: Option<Mark>,
}

/// The list of pull requests.
#[derive(Template)]
#[template(path = "playground/pulls.html")]
pub struct PullsPage {
    /// What stands on every page.
    pub frame: Frame,
    /// `Open` and, when there are any, `Done`; newest first.
    pub sections: Vec<(&'static str, Vec<PullRow>)>,
    /// Where things run.
    pub services: Vec<ServiceCard>,
}

/// One service in short.
#[derive(Debug, Clone)]
pub struct ServiceCard {
    /// `srv-…`
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it answers.
    pub url: String,
    /// The full commit it serves.
    pub commit: Option<String>,
    /// What it answers at its health path right now.
    pub health: Mark,
    /// The deploy that works now, or how the last one ended.
    pub deploy: Option<Mark>,
}

impl ServiceCard {
    /// The commit as people know it from git.
    pub fn short(&self) -> &str {
        short(self.commit.as_deref().unwrap_or("nothing"))
    }
}

/// The first seven digits of a commit id.
pub fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// One entry of a pull request's timeline.
#[derive(Debug, Clone)]
pub enum Entry {
    /// Something that was said.
    Comment(Comment),
    /// Something that happened.
    Event(TimelineEvent),
}

/// A comment, a description or a review's text.
#[derive(Debug, Clone)]
pub struct Comment {
    /// For links to it.
    pub anchor: String,
    /// Who wrote it.
    pub author: Actor,
    /// The author's role, such as `maintain`.
    pub role: &'static str,
    /// When.
    pub at: When,
    /// How often it was edited.
    pub edits: usize,
    /// Safe HTML.
    pub html: String,
    /// Emoji, how many, and by whom.
    pub reactions: Vec<(&'static str, usize, String)>,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub struct TimelineEvent {
    /// Who did it.
    pub actor: Actor,
    /// When.
    pub at: When,
    /// What it was, after the name of who did it.
    pub text: String,
    /// A commit it is about.
    pub commit: Option<String>,
    /// A label it is about.
    pub label: Option<Label>,
    /// What it looks like.
    pub mark: Mark,
}

/// A check run.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where it is or how it ended.
    pub mark: Mark,
    /// The output's title.
    pub title: String,
    /// The output's summary, safe HTML.
    pub summary: Option<String>,
    /// The output's text, safe HTML.
    pub text: Option<String>,
    /// Remarks at lines.
    pub annotations: Vec<Remark>,
    /// Identifier, label and description of each button.
    pub actions: Vec<(String, String, String)>,
    /// Where details are.
    pub details_url: Option<String>,
    /// How long it took.
    pub took: Option<String>,
}

/// An annotation of a check run.
#[derive(Debug, Clone)]
pub struct Remark {
    /// `bad`, `busy` or `quiet`.
    pub kind: &'static str,
    /// Path and line.
    pub place: String,
    /// One line.
    pub title: String,
    /// What is remarked.
    pub message: String,
}

/// A GitHub deployment.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Its environment.
    pub environment: String,
    /// Its newest state.
    pub mark: Mark,
    /// What the newest status says.
    pub description: String,
    /// The commit.
    pub commit: String,
    /// Where it can be seen.
    pub url: Option<String>,
    /// Where its log is.
    pub log_url: Option<String>,
    /// When the state last changed.
    pub at: When,
}

/// A changed file with its lines.
#[derive(Debug, Clone)]
pub struct FileDiff {
    /// The path, with the old one for a rename.
    pub path: String,
    /// GitHub's word.
    pub status: String,
    /// Lines added.
    pub additions: usize,
    /// Lines removed.
    pub deletions: usize,
    /// Kind (`add`, `del`, `hunk`, `same`) and text of each line.
    pub lines: Vec<(&'static str, String)>,
}

/// The head of every page of one pull request.
#[derive(Debug, Clone)]
pub struct PullHead {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Open, merged or closed.
    pub state: Mark,
    /// Who opened it.
    pub author: Actor,
    /// How many commits it has.
    pub commits: usize,
    /// The branch it goes to.
    pub base: String,
    /// The branch it comes from.
    pub head: String,
    /// The proposed commit.
    pub head_sha: String,
    /// How many files it changes.
    pub files: usize,
    /// Lines added.
    pub additions: usize,
    /// Lines removed.
    pub deletions: usize,
}

/// A pull request's conversation.
#[derive(Template)]
#[template(path = "playground/pull.html")]
pub struct PullPage {
    /// What stands on every page.
    pub frame: Frame,
    /// The pull request.
    pub pull: PullHead,
    /// Oldest first.
    pub timeline: Vec<Entry>,
    /// The head's check runs by name.
    pub checks: Vec<Check>,
    /// Newest first.
    pub deployments: Vec<Deployment>,
    /// Its labels.
    pub labels: Vec<Label>,
    /// Whether it has Titan's label.
    pub labelled: bool,
    /// Who has approved the head.
    pub approvals: Vec<Actor>,
    /// Whether it could be merged.
    pub merge: Mark,
    /// How many commits the base has that the head lacks.
    pub behind: usize,
    /// Whether it is open.
    pub open: bool,
    /// Where things run.
    pub services: Vec<ServiceCard>,
    /// The commands that have a button.
    pub commands: &'static [&'static str],
}

/// The files of a pull request.
#[derive(Template)]
#[template(path = "playground/files.html")]
pub struct FilesPage {
    /// What stands on every page.
    pub frame: Frame,
    /// The pull request.
    pub pull: PullHead,
    /// By path.
    pub files: Vec<FileDiff>,
}

/// One commit.
#[derive(Template)]
#[template(path = "playground/commit.html")]
pub struct CommitPage {
    /// What stands on every page.
    pub frame: Frame,
    /// The full id.
    pub sha: String,
    /// Who wrote it.
    pub author: Actor,
    /// When it was committed.
    pub at: When,
    /// First line of the message.
    pub subject: String,
    /// The rest of the message.
    pub body: String,
    /// By path.
    pub files: Vec<FileDiff>,
    /// Its check runs by name.
    pub checks: Vec<Check>,
}

/// A deploy of a service.
#[derive(Debug, Clone)]
pub struct DeployRow {
    /// `dep-…`
    pub id: String,
    /// Its status.
    pub mark: Mark,
    /// What caused it.
    pub trigger: &'static str,
    /// The full commit.
    pub commit: String,
    /// First line of the commit's message.
    pub subject: String,
    /// When it was asked for.
    pub at: When,
    /// What its log says.
    pub log: Vec<String>,
}

/// One service with its deploys.
#[derive(Debug, Clone)]
pub struct ServicePanel {
    /// In short.
    pub card: ServiceCard,
    /// Whether a push deploys it.
    pub auto_deploy: bool,
    /// Newest first.
    pub deploys: Vec<DeployRow>,
}

/// All services.
#[derive(Template)]
#[template(path = "playground/services.html")]
pub struct ServicesPage {
    /// What stands on every page.
    pub frame: Frame,
    /// By id.
    pub services: Vec<ServicePanel>,
}

/// One request that passed.
#[derive(Debug, Clone)]
pub struct Call {
    /// When the answer was ready.
    pub at: When,
    /// Who asked whom: `Titan → GitHub`.
    pub route: &'static str,
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The answer's status.
    pub mark: Mark,
    /// What was sent, made readable and cut to a sensible length.
    pub request: String,
    /// What was answered, likewise.
    pub response: String,
}

/// Everything that passed.
#[derive(Template)]
#[template(path = "playground/traffic.html")]
pub struct TrafficPage {
    /// What stands on every page.
    pub frame: Frame,
    /// Newest first.
    pub calls: Vec<Call>,
    /// How many older ones are not shown.
    pub older: usize,
    /// Which are shown: `all`, `github`, `render` or `webhooks`.
    pub shown: &'static str,
}

/// Something that is not there.
#[derive(Template)]
#[template(path = "playground/missing.html")]
pub struct MissingPage {
    /// What stands on every page.
    pub frame: Frame,
    /// What was looked for.
    pub what: String,
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
