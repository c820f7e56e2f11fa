//! What people read about locks and lines: answers to commands, and the lines of the status comment that stay true while
//! others come and go.

use super::answer;
use super::words::{cell, code, time};
use super::{ChangeFacts, ProjectFacts};
use crate::domain::ids::{CommitSha, ProjectName};
use crate::domain::lock::{self, HeldFor, ordinal};
use crate::domain::markdown::escape;
use crate::domain::plan::{Control, Refusal, Waiting};
use crate::domain::run::RunKind;
use crate::domain::snapshot::{LockFact, ProjectFact, Snapshot, WaitingFact};

/// What `/titan lock` and `/titan unlock` did; empty for any other command.
pub(super) fn told(actor: &str, control: &Control, snapshot: &Snapshot) -> String {
    let who = code(actor);
    match control {
        Control::Lock { project, hold } => {
            let until = match hold.lasts {
                Some(lasts) => format!("for {}, or until it is closed", humantime::format_duration(lasts)),
                None => "until it is closed".to_owned(),
            };
            format!(
                "🔒 **{project} is locked** for this pull request by {who}{}: no other pull request can use its canary or \
                 production {until}, or somebody comments `/titan unlock {project}` here.",
                because(&hold.reason)
            )
        }
        Control::Unlock { project, force, reason } => {
            let fact = snapshot.projects.iter().find(|fact| fact.name == *project);
            let (own, others): (Vec<&LockFact>, Vec<&LockFact>) = fact
                .map(|fact| fact.locks.iter().partition(|lock| lock.owner == snapshot.change.number))
                .unwrap_or_default();
            match (own.is_empty(), others.first().filter(|_| *force)) {
                (_, Some(lock)) => format!(
                    "🔓 **{project} is free**: {who} took its lock away from {}{}. A run of it that is under way does nothing \
                     more; look at what it left on the canary.",
                    lock.owner,
                    because(reason)
                ),
                (false, None) => format!(
                    "🔓 **{project} is free**: {who} gave its locks back{}. Who waits in line is next; then anybody may use it.",
                    because(reason)
                ),
                (true, None) => format!("🔓 Nobody holds **{project}**, {who}: there was nothing to be given back."),
            }
        }
        _ => String::new(),
    }
}

/// A command that waits in line from now on.
pub fn waiting(actor: &str, waiting: &Waiting, snapshot: &Snapshot) -> String {
    let number = snapshot.change.number;
    let fact = snapshot.projects.iter().find(|fact| fact.name == waiting.project);
    let place = fact.map(|fact| lock::place(waiting.kind, number, fact));
    let place = place.map_or_else(String::new, |place| format!(" It joined as {}.", ordinal(place.position)));
    let head = match waiting.kind {
        RunKind::Rollback => String::new(),
        _ => format!(", as long as `{}` is the head", waiting.head.short()),
    };
    format!(
        "🚦 **In line**, {}: `{}` of `{}` starts by itself when it is its turn{head}. Every gate is asked again then.{place} \
         `/titan cancel` gives the place up.",
        code(actor),
        waiting.kind,
        waiting.project,
    )
}

/// A command whose turn has come.
pub fn turn(actor: &str, kind: RunKind, project: &ProjectName, head: &CommitSha) -> String {
    format!(
        "🚦 **Its turn has come**, {}: `{kind}` of `{project}` started by itself for `{}`, after every gate was asked again.",
        code(actor),
        head.short()
    )
}

/// A command whose turn has come and that cannot be carried out any more.
pub fn refused_turn(actor: &str, refusal: &Refusal, head: &CommitSha) -> String {
    let told = answer::refusal(actor, refusal, head);
    format!("🚦 It was the turn of `/titan {}`, and every gate was asked again.\n\n{told}", refusal.command)
}

/// A command that was meant for a head that is not the newest any more.
pub fn head_moved_in_line(waiting: &WaitingFact, head: &CommitSha) -> String {
    format!(
        "🚦 **Left the line**, {}: `{}` was for `{}`, and the head is `{}` now. Look at the new commits, then propose them \
         and comment `/titan {} @{}`.",
        code(&waiting.by),
        waiting.kind,
        waiting.head.short(),
        head.short(),
        waiting.kind,
        head.short()
    )
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({})", cell(&escape(reason))) }
}

/// What of a change waits for a project.
pub(super) fn waits<'f>(change: &ChangeFacts, fact: &'f ProjectFact) -> Option<&'f WaitingFact> {
    fact.queue.iter().find(|waiting| waiting.number == change.number)
}

/// `2nd in line behind #12; #9 holds canary since …`: plain text but for back-ticks, one line.
pub(super) fn place_in_words(waiting: &WaitingFact, fact: &ProjectFact) -> String {
    let place = lock::place(waiting.kind, waiting.number, fact);
    let behind = place.behind.map_or_else(String::new, |number| format!(" behind {number}"));
    let who = match (lock::held_by_another(waiting.kind, waiting.number, fact), &fact.active) {
        (_, Some(run)) if run.number != waiting.number => format!("; a {} of {} is running", run.kind, run.number),
        (Some(lock), _) => format!("; {} holds {} since {}", lock.owner, lock.environment, time(lock.since)),
        (None, _) => String::new(),
    };
    format!("{} in line{behind}{who}", ordinal(place.position))
}

/// The lines about places in line and locks that will end, finished Markdown.
pub(super) fn notes(change: &ChangeFacts) -> Vec<String> {
    change.projects.iter().flat_map(|project| [in_line(change, project), ends(change, project)]).flatten().collect()
}

fn in_line(change: &ChangeFacts, project: &ProjectFacts) -> Option<String> {
    let waiting = waits(change, &project.fact)?;
    Some(format!(
        "🚦 **In line**: `{}` of `{}` by {} is {}. It starts by itself when it is its turn; `/titan cancel` gives the place up.",
        waiting.kind,
        project.fact.name,
        code(&waiting.by),
        place_in_words(waiting, &project.fact)
    ))
}

fn ends(change: &ChangeFacts, project: &ProjectFacts) -> Option<String> {
    let fact = &project.fact;
    let lock = fact.locks.iter().find(|lock| lock.owner == change.number && lock.held_for != HeldFor::Look)?;
    let at = time(lock.expires_at?);
    let others = match fact.queue.len() {
        0 => String::new(),
        n => format!(" {n} wait for it."),
    };
    let what = match lock.held_for {
        HeldFor::Hand => "the lock by hand ends then",
        _ => "then the version before is put back and the canary is free for others",
    };
    Some(match lock.ends_soon {
        true => format!(
            "⏳ **Soon over**: this pull request holds `{}` of `{}` until {at}; {what}.{others} `/titan lock {}` keeps it.",
            lock.environment, fact.name, fact.name
        ),
        false => {
            format!("🔒 This pull request holds `{}` of `{}` until {at}; {what}.{others}", lock.environment, fact.name)
        }
    })
}
