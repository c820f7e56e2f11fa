//! Gates about locks: who holds an environment, who waits in front, and who may give a lock back.

use super::person::permission_for;
use super::{Gate, GateResult, fail, grant, pass};
use crate::domain::command::{Command, CommandName};
use crate::domain::ids::Environment;
use crate::domain::lock::{self, FORCE_ROLE, HeldFor};
use crate::domain::markdown::{escape, inline_code};
use crate::domain::reason::Reason;
use crate::domain::run::RunKind;
use crate::domain::snapshot::{LockFact, ProjectFact, Snapshot};

pub(super) fn lock_free(
    kind: RunKind,
    environment: Environment,
    snapshot: &Snapshot,
    fact: Option<&ProjectFact>,
) -> GateResult {
    let gate = Gate::LockFree;
    let Some(fact) = fact else { return pass(gate, "no project to lock") };
    let number = snapshot.change.number;
    if let Some(lock) = lock::held_by_another(kind, number, fact) {
        return fail(gate, Reason::LockHeld, held(lock, fact), way_out(lock, fact));
    }
    match lock::kept_back_by(kind, number, fact) {
        None => pass(gate, format!("`{}` of `{}` is free or held by this pull request", environment, fact.name)),
        Some(waiting) => fail(
            gate,
            Reason::InLine,
            format!("`{}` of {} waits in front of it for `{}`", waiting.kind, waiting.number, fact.name),
            format!("wait until it is its turn, or `/titan cancel` on {}", waiting.number),
        ),
    }
}

/// A lock by hand needs both environments.
pub fn nobody_holds(snapshot: &Snapshot, fact: &ProjectFact) -> GateResult {
    match fact.locks.iter().find(|lock| lock.owner != snapshot.change.number) {
        None => pass(Gate::LockFree, format!("`{}` is free or held by this pull request", fact.name)),
        Some(lock) => fail(Gate::LockFree, Reason::LockHeld, held(lock, fact), way_out(lock, fact)),
    }
}

/// Only the pull request that holds a lock gives it back just so.
pub fn holds_it(snapshot: &Snapshot, fact: &ProjectFact) -> GateResult {
    let number = snapshot.change.number;
    let others = fact.locks.iter().find(|lock| lock.owner != number);
    match others.filter(|_| !fact.locks.iter().any(|lock| lock.owner == number)) {
        None => pass(Gate::LockFree, format!("no other pull request holds `{}`", fact.name)),
        Some(lock) => fail(Gate::LockFree, Reason::NotHolder, held(lock, fact), way_out(lock, fact)),
    }
}

/// Who may take a lock away from another pull request.
pub fn may_force(snapshot: &Snapshot) -> GateResult {
    let mut grant = grant(CommandName::Unlock, snapshot);
    grant.role = grant.role.max(FORCE_ROLE);
    permission_for(&snapshot.actor, &grant)
}

/// Whoever loses a lock must learn why.
pub fn force_has_reason(command: &Command) -> GateResult {
    match command.reason.as_str() {
        "" => fail(
            Gate::LockFree,
            Reason::NotHolder,
            "a lock can be taken away from another pull request only with a reason",
            format!("say why: `{command} <reason>`"),
        ),
        reason => pass(Gate::LockFree, format!("the reason: {}", escape(reason))),
    }
}

/// Who holds what, since when, until when and why.
fn held(lock: &LockFact, fact: &ProjectFact) -> String {
    let since = lock.since.format("%Y-%m-%d %H:%M UTC");
    let until = lock.expires_at.map_or_else(String::new, |at| format!(" until {}", at.format("%Y-%m-%d %H:%M UTC")));
    let why = match (lock.held_for, lock.reason.as_str()) {
        (HeldFor::Look, _) => " (a person has to look at what is there first)".to_owned(),
        (_, "") => String::new(),
        (_, reason) => format!(" ({})", escape(reason)),
    };
    let by = inline_code(&lock.by);
    format!("{by} holds `{}` of `{}` since {since}{until} for {}{why}", lock.environment, fact.name, lock.owner)
}

fn way_out(lock: &LockFact, fact: &ProjectFact) -> String {
    let (owner, project) = (lock.owner, &fact.name);
    let ends = match lock.held_for {
        HeldFor::Run => format!("wait until {owner} is promoted, rolled back or closed, or comment"),
        HeldFor::Hand | HeldFor::Look => "comment".to_owned(),
    };
    format!(
        "{ends} `/titan unlock {project}` there; who has `{FORCE_ROLE}` may take it away with \
         `/titan unlock {project} --force <reason>`"
    )
}
