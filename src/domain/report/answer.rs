//! The answer to a command, for the status comment: what was refused and why, what was done, or what was asked for.
//!
//! Made once, when the command is concluded, and kept as Markdown. A refusal shows every gate: the closed ones with
//! what was seen and the way out, the open ones folded away. Nothing here knows how the run went on afterwards.

use askama::Template;

use super::lock;
pub use super::lock::{head_moved_in_line, refused_turn, turn, waiting};
use super::words::{Mark, cell, code, count};
use crate::domain::command::{Command, CommandName, Hint};
use crate::domain::gates::GateResult;
use crate::domain::ids::CommitSha;
use crate::domain::markdown::{escape, fence};
use crate::domain::plan::{Control, Refusal};
use crate::domain::policy::{FIRST_POLICY, POLICY_PATH};
use crate::domain::reason::Reason;
use crate::domain::snapshot::{Snapshot, WaitingFact};

/// One gate as a row of a table: finished Markdown, fit for cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GateRow {
    pub(super) icon: &'static str,
    pub(super) gate: &'static str,
    pub(super) observed: String,
    pub(super) way_out: String,
    pub(super) reason: &'static str,
}

impl From<&GateResult> for GateRow {
    fn from(result: &GateResult) -> Self {
        let mark = if result.passed() { Mark::Good } else { Mark::Bad };
        Self {
            icon: mark.icon(),
            gate: result.gate.as_str(),
            observed: cell(&result.observed),
            way_out: cell(&result.way_out),
            reason: result.reason.map_or("", |reason| reason.code()),
        }
    }
}

/// The gates of one command: the closed ones first.
struct GateTable {
    command: String,
    closed: Vec<GateRow>,
    met: Vec<GateRow>,
    met_count: String,
}

impl GateTable {
    fn new(command: String, gates: &[GateResult]) -> Self {
        let (met, closed): (Vec<_>, Vec<_>) = gates.iter().partition(|gate| gate.passed());
        Self {
            command,
            met_count: count(met.len(), "gate"),
            closed: closed.into_iter().map(GateRow::from).collect(),
            met: met.into_iter().map(GateRow::from).collect(),
        }
    }

    /// What the command's line in the overview says.
    fn in_short(&self) -> String {
        match self.closed.as_slice() {
            [] => "would be done now".to_owned(),
            [first, rest @ ..] => {
                let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
                format!("{}{more}; {}", first.observed, first.way_out)
            }
        }
    }
}

#[derive(Template)]
#[template(path = "github/answer_refusal.md")]
struct RefusalAnswer<'a> {
    table: GateTable,
    asked: String,
    actor: &'a str,
    head: &'a str,
    closed_count: String,
    would_do: &'a [String],
    /// A policy to copy, as a code block, when there is none.
    first_policy: String,
}

/// A refusal: which gates are closed, what was seen, what to do, and the reason codes. `head` is the commit that the
/// command was judged for.
pub fn refusal(actor: &str, refusal: &Refusal, head: &CommitSha) -> String {
    let table = GateTable::new(refusal.command.to_string(), &refusal.gates);
    let project = refusal.project.as_ref().map_or_else(String::new, |project| format!(" {project}"));
    let asked = format!("/titan {}{project}", refusal.command);
    let closed_count = match table.closed.len() {
        1 => "1 gate is closed".to_owned(),
        n => format!("{n} gates are closed"),
    };
    let missing = refusal.gates.iter().any(|gate| gate.reason == Some(Reason::PolicyMissing));
    let first_policy = if missing { fence(FIRST_POLICY) } else { String::new() };
    render(&RefusalAnswer {
        table,
        asked,
        actor: &code(actor),
        head: head.short(),
        closed_count,
        would_do: &refusal.would_do,
        first_policy,
    })
}

struct StatusLine {
    icon: &'static str,
    command: String,
    in_short: String,
}

#[derive(Template)]
#[template(path = "github/answer_status.md")]
struct StatusAnswer<'a> {
    actor: &'a str,
    head: &'a str,
    lines: Vec<StatusLine>,
    tables: Vec<GateTable>,
}

/// Every gate of every command, as they stand for this person now.
pub fn status(actor: &str, gates: &[(CommandName, Vec<GateResult>)], head: &CommitSha) -> String {
    let tables: Vec<GateTable> = gates.iter().map(|(name, gates)| GateTable::new(name.to_string(), gates)).collect();
    let line = |table: &GateTable| StatusLine {
        icon: if table.closed.is_empty() { Mark::Good } else { Mark::Bad }.icon(),
        command: table.command.clone(),
        in_short: table.in_short(),
    };
    let lines = tables.iter().map(line).collect();
    render(&StatusAnswer { actor: &code(actor), head: head.short(), lines, tables })
}

struct HelpLine {
    icon: &'static str,
    command: &'static str,
    summary: &'static str,
    observed: String,
}

#[derive(Template)]
#[template(path = "github/answer_help.md")]
struct HelpAnswer<'a> {
    actor: &'a str,
    lines: Vec<HelpLine>,
}

/// The commands and whether this person may give them here.
pub fn help(actor: &str, commands: &[(CommandName, GateResult)]) -> String {
    let line = |(name, permission): &(CommandName, GateResult)| HelpLine {
        icon: if permission.passed() { Mark::Good } else { Mark::Bad }.icon(),
        command: name.as_str(),
        summary: name.summary(),
        observed: cell(&permission.observed),
    };
    render(&HelpAnswer { actor: &code(actor), lines: commands.iter().map(line).collect() })
}

/// An answer to something close to a command.
pub fn hint(actor: &str, hint: &Hint) -> String {
    let meant = match &hint.suggestion {
        Some(suggestion) => format!("Did you mean {}?", code(suggestion)),
        None => "Nothing was done.".to_owned(),
    };
    format!(
        "🤔 **Not understood**, {}: {}. {meant} Comment `/titan help` to see what you may do here.",
        code(actor),
        cell(&hint.problem)
    )
}

/// A press of a button that is not good any more. `why` is finished Markdown; `ready` does the same as a comment.
pub fn spent_button(actor: &str, why: &str, ready: &Command) -> String {
    format!(
        "⌛ **Nothing was started**, {}: {}. The check shows a fresh button where one is due; or comment {}.",
        code(actor),
        cell(why),
        code(&ready.to_string())
    )
}

/// A command that Titan could not decide about, after some tries. `why` is what was answered outside; foreign.
pub fn gave_up(actor: &str, command: &str, why: &str) -> String {
    format!(
        "⛔ **Not carried out**, {}: {} could not be decided, because a fact that it needs could not be read: {}. Nothing was \
         changed. Comment it again in a while; if it happens again, show this to whoever looks after Titan.",
        code(actor),
        code(command),
        cell(&crate::domain::markdown::escape(why))
    )
}

/// What a change of Titan's own state means from now on.
pub fn control(actor: &str, control: &Control, snapshot: &Snapshot) -> String {
    let who = code(actor);
    match control {
        Control::Arm => format!(
            "✅ **Deployment is on** for this repository; {who} turned it on. Titan now deploys what passes its gates. \
             An admin turns it off with `/titan disarm`."
        ),
        Control::Disarm => format!(
            "✅ **Deployment is off** for this repository; {who} turned it off. Proposals still run; nothing is deployed \
             until an admin comments `/titan arm`."
        ),
        Control::Halt { reason } => format!(
            "🛑 **Halt**: {who} stopped every running and future deployment of this repository, and of the whole account if \
             Titan has deployed for it before{}. Each run stops before its next effect. An admin of this repository lifts it \
             here with `/titan resume`.",
            why(reason)
        ),
        Control::Resume => format!(
            "✅ **The halt is lifted** by {who}. Runs that were stopped do not go on by themselves: give their commands again."
        ),
        Control::Lock { .. } | Control::Unlock { .. } => lock::told(actor, control, snapshot),
        Control::Cancel => cancelled(&who, snapshot),
        Control::Trust { head } => format!(
            "🤝 **`{}` is trusted**, on the word of {who}: this commit of the fork, whole name `{head}`, may be built, tried \
             and shipped like one of this repository. The next push ends it. Builds get no secrets in any case.",
            head.short()
        ),
    }
}

fn cancelled(who: &str, snapshot: &Snapshot) -> String {
    let runs = snapshot.runs.iter().filter(|run| run.is_under_way()).count();
    let own = |waiting: &&WaitingFact| waiting.number == snapshot.change.number;
    let waiting = snapshot.projects.iter().flat_map(|project| &project.queue).filter(own).count();
    let left = match waiting {
        0 => "",
        _ => " Its place in line was given up.",
    };
    match runs {
        0 if waiting == 0 => format!("✅ Nothing is running for this pull request, {who}."),
        0 => format!("✅ {who} took this pull request out of the line."),
        _ => format!(
            "✅ {who} asked {} of this pull request to stop, each before its next effect. A canary that is live is put \
             back first.{left}",
            count(runs, "run")
        ),
    }
}

/// A person's reason, in brackets.
fn why(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({})", cell(&escape(reason))) }
}

/// Templates here only join text, which cannot fail.
pub(super) fn render(template: &impl Template) -> String {
    template.render().map(|text| text.trim().to_owned()).unwrap_or_default()
}
