//! Who may have an environment now, who is next in line, and when a claim is void. Pure; `store` keeps the locks.
//!
//! A lock belongs to a pull request, not to a person. A run takes the locks it needs in the transaction that starts it;
//! with them it is given a number that rises each time (the fence). A run whose numbers are not the locks' any more was
//! overtaken and does nothing more. Who finds a lock taken waits in line: first in, first out, a rollback before all.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::consequence::Locks;
use super::gates::GateResult;
use super::ids::{Environment, PrNumber};
use super::policy::Role;
use super::reason::Reason;
use super::run::RunKind;
use super::snapshot::{LockFact, ProjectFact, WaitingFact};

mod hold;
#[cfg(test)]
mod tests;

pub use hold::{Hold, LONGEST_HOLD, hold};

/// Taking somebody else's lock away needs at least this role, whatever the policy says of `unlock`.
pub const FORCE_ROLE: Role = Role::Maintain;

/// What a lock is held for, which says what gives it back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeldFor {
    /// A run took it: given back when the change is shipped, put back, closed, or when it has had it for too long.
    #[default]
    Run,
    /// A person took it: given back by a person, by closing, or at the time that the person named.
    Hand,
    /// Something is there that nobody has judged: given back only by a person, after a look.
    Look,
}

impl HeldFor {
    /// Every purpose.
    pub const ALL: [Self; 3] = [Self::Run, Self::Hand, Self::Look];

    /// The word in SQL and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Hand => "hand",
            Self::Look => "look",
        }
    }
}

impl fmt::Display for HeldFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for HeldFor {
    type Err = super::ids::InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|held| held.as_str() == text)
            .ok_or(super::ids::InvalidId { what: "purpose of a lock", why: "expected run, hand or look" })
    }
}

/// The environments that a run must hold while it runs.
pub fn needed(kind: RunKind) -> &'static [Environment] {
    match kind {
        RunKind::Propose => &[],
        RunKind::Canary | RunKind::Restore => &[Environment::Canary],
        // Production is reached through the canary, so whoever holds the canary is in front there too.
        RunKind::Promote => &[Environment::Canary, Environment::Production],
        // It must not have to wait for a change that is still being tried.
        RunKind::Rollback => &[Environment::Production],
    }
}

/// The lock of another change that is in the way of a run.
pub fn held_by_another(kind: RunKind, number: PrNumber, fact: &ProjectFact) -> Option<&LockFact> {
    fact.locks.iter().find(|lock| lock.owner != number && needed(kind).contains(&lock.environment))
}

/// Those who wait, in the order in which they are served: rollbacks first, because production may be down.
pub fn line(fact: &ProjectFact) -> Vec<&WaitingFact> {
    in_order(&fact.queue)
}

/// The same, of those who wait for one project.
pub fn in_order(queue: &[WaitingFact]) -> Vec<&WaitingFact> {
    let mut line: Vec<&WaitingFact> = queue.iter().collect();
    line.sort_by_key(|waiting| (waiting.kind != RunKind::Rollback, waiting.id));
    line
}

/// Where a change is in line for a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// 1 is next.
    pub position: usize,
    /// The pull request right in front of it.
    pub behind: Option<PrNumber>,
}

/// Where a run of this kind stands in line, or would stand if it joined now.
pub fn place(kind: RunKind, number: PrNumber, fact: &ProjectFact) -> Place {
    let in_front = in_front(kind, number, fact);
    Place { position: in_front.len() + 1, behind: in_front.last().map(|waiting| waiting.number) }
}

/// `1st`, `2nd`, `3rd`, `4th` …
pub fn ordinal(position: usize) -> String {
    let ending = match (position % 100, position % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{position}{ending}")
}

fn in_front(kind: RunKind, number: PrNumber, fact: &ProjectFact) -> Vec<&WaitingFact> {
    let line = line(fact);
    match line.iter().position(|waiting| waiting.number == number) {
        Some(at) => line[..at].to_vec(),
        None if kind == RunKind::Rollback => {
            line.into_iter().take_while(|waiting| waiting.kind == RunKind::Rollback).collect()
        }
        None => line,
    }
}

/// Whoever waits in front and must be served before a run of this kind.
///
/// One in front is let past only when it has to wait itself and this run takes nothing that it waits for: a change that
/// holds the canary and wants to ship is not kept back by those who wait for just this canary.
pub fn kept_back_by(kind: RunKind, number: PrNumber, fact: &ProjectFact) -> Option<&WaitingFact> {
    let takes: Vec<Environment> = needed(kind).iter().copied().filter(|env| !holds(number, *env, fact)).collect();
    in_front(kind, number, fact).into_iter().find(|waiting| {
        let waits = held_by_another(waiting.kind, waiting.number, fact).is_some()
            || kept_back_by(waiting.kind, waiting.number, fact).is_some();
        !waits || needed(waiting.kind).iter().any(|wanted| takes.contains(wanted))
    })
}

fn holds(number: PrNumber, environment: Environment, fact: &ProjectFact) -> bool {
    fact.locks.iter().any(|lock| lock.owner == number && lock.environment == environment)
}

/// Who is to be served now; `None` while a run is changing the project, or while everybody has to wait.
pub fn next_in_line(fact: &ProjectFact) -> Option<&WaitingFact> {
    if fact.active.is_some() {
        return None;
    }
    line(fact).into_iter().find(|waiting| {
        held_by_another(waiting.kind, waiting.number, fact).is_none()
            && kept_back_by(waiting.kind, waiting.number, fact).is_none()
    })
}

/// Whether a command may wait: every gate that is closed will open by itself when others are done.
pub fn may_wait(kind: RunKind, number: PrNumber, fact: &ProjectFact, gates: &[GateResult]) -> bool {
    let own_run = fact.active.as_ref().is_some_and(|active| active.number == number);
    let mut closed = gates.iter().filter_map(|gate| gate.reason).peekable();
    kind.environment().is_some()
        && !own_run
        && closed.peek().is_some()
        && closed.all(|reason| matches!(reason, Reason::LockHeld | Reason::InLine | Reason::RunActive))
}

/// What the end of a run leaves of a lock of its change: what it is held for from then on, `None` when it is given back.
pub fn left(locks: Locks, environment: Environment, held_for: HeldFor) -> Option<HeldFor> {
    match (locks, held_for, environment) {
        (Locks::Hold, ..) => Some(HeldFor::Look),
        (_, HeldFor::Hand, _) => Some(HeldFor::Hand),
        (Locks::Release, HeldFor::Run | HeldFor::Look, _) => None,
        // Only the canary is of use for the next command; production must be free for a rollback of somebody else.
        (Locks::Keep, HeldFor::Run, Environment::Production) => None,
        (Locks::Keep, ..) => Some(held_for),
    }
}

/// Whether a claim still counts: the number that was given with it is the one that stands there now. Holds for the lease
/// of a job as for the lock of an environment.
pub fn fence_holds(given: i64, now: Option<i64>) -> bool {
    now == Some(given)
}
