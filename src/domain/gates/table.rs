//! The gates of any command, not only of those that start a run: what refuses it is what every surface shows.

use super::change::{change_open, trustworthy};
use super::lock::{force_has_reason, holds_it, may_force, nobody_holds};
use super::person::permission_for;
use super::project::{choose_project, policy_valid, project_known};
use super::service::{lifts_here, no_run_active};
use super::{GateResult, judge, project_fact};
use crate::domain::command::{Command, CommandName};
use crate::domain::policy::{Grant, default_grant};
use crate::domain::run::RunKind;
use crate::domain::snapshot::Snapshot;

/// Who may give a command under the policy in force.
pub fn grant(command: CommandName, snapshot: &Snapshot) -> Grant {
    snapshot.policy.policy().map_or_else(|| default_grant(command), |policy| policy.grant(command))
}

/// Asks every gate of a command, in the order in which they are shown; the permission first.
pub fn table(command: &Command, snapshot: &Snapshot) -> Vec<GateResult> {
    if let Some(kind) = RunKind::of(command.name) {
        return judge(kind, command.project.as_ref(), snapshot);
    }
    let permission = match command.force {
        true => may_force(snapshot),
        false => permission_for(&snapshot.actor, &grant(command.name, snapshot)),
    };
    let mut gates = vec![permission];
    match command.name {
        CommandName::Lock | CommandName::Unlock => gates.extend(lock_or_unlock(command, snapshot)),
        CommandName::Trust => gates.extend(trustworthy(command, snapshot)),
        CommandName::Resume => gates.push(lifts_here(snapshot)),
        // Whoever may give them may give them at any time: what they do can always be done.
        _ => {}
    }
    gates
}

fn lock_or_unlock(command: &Command, snapshot: &Snapshot) -> Vec<GateResult> {
    let valid = policy_valid(snapshot);
    let Some(policy) = snapshot.policy.policy() else { return vec![valid] };
    // A lock by hand is for what a canary changes.
    let kind = RunKind::Canary;
    let chosen = choose_project(command.name, command.project.as_ref(), policy, snapshot);
    let fact = chosen.as_ref().ok().and_then(Option::as_ref).and_then(|name| project_fact(snapshot, name));
    let mut gates = vec![valid, project_known(kind, &chosen, policy)];
    match command.name {
        CommandName::Lock => {
            gates.push(change_open(snapshot, kind));
            gates.extend(fact.map(|fact| nobody_holds(snapshot, fact)));
        }
        _ if command.force => gates.push(force_has_reason(command)),
        // What a run is changing right now is not given to somebody else, and what others hold not by mistake.
        _ => {
            gates.push(no_run_active(kind, snapshot, fact));
            gates.extend(fact.map(|fact| holds_it(snapshot, fact)));
        }
    }
    gates
}
