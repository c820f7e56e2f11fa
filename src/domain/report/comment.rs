//! The one status comment of a change: where each project stands, what can be done now, what came of the last commands.
//!
//! The same view is the source of the web page; its rows are made in `stages`. Cut to what GitHub takes, never in the
//! middle of something.

use askama::Template;
use serde::Serialize;

use super::answer::render;
use super::next::{self, NextCommand, next_commands};
use super::stages::{SectionView, is_failed, section};
use super::words::{Link, Mark, cell, code, time};
use super::{ChangeFacts, CommandFacts, RunFacts};
use crate::domain::markdown::escape;
use crate::domain::run::{Conclusion, RunKind, RunStatus, StepName};

/// The most bytes of a comment. GitHub documents no limit; its error text speaks of 65536 characters.
const COMMENT_BYTES: usize = 65_000;
/// The most projects with a section of their own.
const SECTIONS: usize = 8;
/// The most commands in the history.
const HISTORY: usize = 10;

/// What the status comment and the change's page show.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangeView {
    /// The hidden first line by which the comment is found again.
    pub marker: String,
    /// One for each project that the change has to do with, at least one.
    pub sections: Vec<SectionView>,
    /// What keeps every deployment back (disarmed, halted), finished Markdown; may be empty.
    pub notes: Vec<String>,
    /// The commands that would pass now; may be empty.
    pub next: Vec<NextCommand>,
    /// What is going on, or what to do when no command would pass, finished Markdown; may be empty.
    pub now: String,
    /// The answer to the latest command, finished Markdown; may be empty.
    pub answer: String,
    /// The latest commands, newest first.
    pub history: Vec<HistoryRow>,
    /// Titan's page of the newest run, else Titan's own address.
    pub page: String,
    /// Titan's page of the change.
    pub gates: String,
}

/// One command of the past.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HistoryRow {
    /// When it came in.
    pub at: String,
    /// Who asked, finished Markdown.
    pub actor: String,
    /// What was asked for, finished Markdown.
    pub command: String,
    /// What came of it, finished Markdown.
    pub outcome: String,
    /// The run that it left.
    pub link: Option<Link>,
}

/// The hidden line by which a change's status comment is found again.
pub fn marker(change_id: i64) -> String {
    format!("<!-- titan:change:{change_id} -->")
}

/// Everything that the status comment says.
pub fn change_view(change: &ChangeFacts) -> ChangeView {
    let scopes = next::scopes(change);
    ChangeView {
        marker: marker(change.id),
        sections: scopes.into_iter().map(|project| section(change, project)).collect(),
        notes: notes(change),
        next: next_commands(change),
        now: now(change),
        answer: change.answer.trim().to_owned(),
        history: history(change),
        gates: change.links.gates(&change.repo, change.number),
        page: change.runs.first().map_or_else(|| change.links.titan.clone(), |run| change.links.run(run.id)),
    }
}

#[derive(Template)]
#[template(path = "github/comment.md")]
struct Comment<'a> {
    view: &'a ChangeView,
    sections: &'a [SectionView],
    more_projects: usize,
}

impl ChangeView {
    /// The comment's text: at most 65,000 bytes, the marker first. Without its history, then without the answer when
    /// they are too long to be shown.
    pub fn markdown(&self) -> String {
        let shorter = |view: &Self| {
            let shown = view.sections.len().min(SECTIONS);
            let sections = &view.sections[..shown];
            render(&Comment { view, sections, more_projects: view.sections.len() - shown })
        };
        let text = shorter(self);
        if text.len() <= COMMENT_BYTES {
            return text;
        }
        let mut view = Self { history: Vec::new(), ..self.clone() };
        let text = shorter(&view);
        if text.len() <= COMMENT_BYTES {
            return text;
        }
        view.answer = "The answer to the last command is too long to be shown here.".to_owned();
        let text = shorter(&view);
        if text.len() <= COMMENT_BYTES {
            return text;
        }
        format!("{}\n### Titan\n\nThere is too much to be shown here: [details]({})", self.marker, self.page)
    }
}

fn notes(change: &ChangeFacts) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(halt) = &change.halt {
        let why = if halt.reason.is_empty() { String::new() } else { format!(" ({})", cell(&escape(&halt.reason))) };
        let place = match &halt.elsewhere {
            None => String::new(),
            Some(repo) => format!(" in {}, where it was called", code(&repo.to_string())),
        };
        notes.push(format!(
            "🛑 **Halted** by {}{why}: nothing is deployed. An admin lifts it with `/titan resume`{place}.",
            code(&halt.by)
        ));
    }
    if !change.armed && change.open {
        notes.push(
            "⚠️ **Deployment is off** for this repository: Titan checks and builds, and deploys nothing. \
             An admin turns it on with `/titan arm`."
                .to_owned(),
        );
    }
    notes.extend(super::lock::notes(change));
    notes
}

fn now(change: &ChangeFacts) -> String {
    let running: Vec<&RunFacts> = change.runs.iter().filter(|run| run.is_under_way()).collect();
    match running.as_slice() {
        [] => {}
        [one] if one.status == RunStatus::Undoing => return format!("`{}` failed and is being put back.", one.kind),
        [one] if one.cancel_by.is_some() => return format!("`{}` is being stopped.", one.kind),
        [one] => return format!("`{}` is running; `/titan cancel` stops it.", one.kind),
        several => return format!("{} runs are going on; `/titan cancel` stops them.", several.len()),
    }
    let at_head = |run: &&RunFacts| Some(&run.head) == change.head.as_ref() && run.kind == RunKind::Propose;
    match change.runs.iter().filter(|run| !run.is_refused()).find(at_head) {
        Some(run) if change.open && is_failed(run, StepName::Diff) => {
            "take the files that check `titan/paths` lists out of the change, push, and propose it again.".to_owned()
        }
        _ => String::new(),
    }
}

fn history(change: &ChangeFacts) -> Vec<HistoryRow> {
    let mut rows: Vec<_> =
        change.commands.iter().map(|command| (command.received_at, command_row(change, command))).collect();
    let automatic = change.runs.iter().filter(|run| run.cause.is_some());
    rows.extend(automatic.map(|run| (run.created_at, automatic_row(change, run))));
    rows.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    rows.into_iter().take(HISTORY).map(|(_, row)| row).collect()
}

fn command_row(change: &ChangeFacts, command: &CommandFacts) -> HistoryRow {
    let run = command.run.and_then(|id| change.runs.iter().find(|run| run.id == id));
    let outcome = match (command.conclusion.as_deref(), run) {
        (Some("started"), Some(run)) => run_in_short(run),
        (Some("started"), None) => "started".to_owned(),
        (Some("refused"), _) => match &command.reason {
            Some(reason) => format!("❌ refused, {}", code(reason)),
            None => "❌ refused".to_owned(),
        },
        (Some("queued"), _) => "🚦 in line".to_owned(),
        (Some("withdrawn"), _) => "⚪ left the line".to_owned(),
        (Some("misunderstood"), _) => "😕 not understood".to_owned(),
        (Some(other), _) => format!("✅ {other}"),
        (None, _) => "👀 seen".to_owned(),
    };
    HistoryRow {
        at: time(command.received_at),
        actor: cell(&code(&command.actor)),
        command: cell(&code(&command.text)),
        outcome: cell(&outcome),
        link: command.run.map(|id| Link { label: "run", url: change.links.run(id) }),
    }
}

fn automatic_row(change: &ChangeFacts, run: &RunFacts) -> HistoryRow {
    HistoryRow {
        at: time(run.created_at),
        actor: "Titan".to_owned(),
        command: format!("automatic {}", run.kind),
        outcome: run_in_short(run),
        link: Some(Link { label: "run", url: change.links.run(run.id) }),
    }
}

fn run_in_short(run: &RunFacts) -> String {
    match run.conclusion() {
        None => format!("{} {}", Mark::Working.icon(), run.status.as_str()),
        Some(conclusion) => {
            let mark = match conclusion {
                Conclusion::Success => Mark::Good,
                Conclusion::Failure | Conclusion::Refused => Mark::Bad,
                Conclusion::Inconclusive => Mark::Attention,
                Conclusion::Cancelled => Mark::Waiting,
            };
            format!("{} {}", mark.icon(), conclusion.as_str())
        }
    }
}
