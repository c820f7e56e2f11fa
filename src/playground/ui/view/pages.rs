//! One struct for each page, with the rows it lists.

use askama::Template;

use super::{Actor, Frame, Label, Mark, When, short};

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
    /// Who merged it, once somebody did.
    pub merged_by: Option<Actor>,
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
