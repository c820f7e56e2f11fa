//! What a change of the policy would change: past decisions decided again under the new policy, from the facts of then.
//!
//! Pure, and without any effect: nothing is started, and a decision is only compared with the one that the old policy
//! gives by today's rules, so that a difference is always the policy's.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::command::Command;
use super::ids::{CommitSha, PrNumber};
use super::plan::{Decision, decide};
use super::policy::{Diagnostic, Policy};
use super::reason::Reason;
use super::snapshot::{PolicyFact, Snapshot};

/// A decision of the past.
#[derive(Debug)]
pub struct Past {
    /// What was asked for.
    pub command: Command,
    /// The facts of then, without their policy.
    pub snapshot: Snapshot,
    /// The policy of then.
    pub policy: Policy,
    /// When it was decided.
    pub at: DateTime<Utc>,
}

/// A policy file of a change, looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyReview {
    /// Whether the change takes the file away.
    pub removed: bool,
    /// The mistakes in it, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// How many past decisions were decided again.
    pub replayed: usize,
    /// The past decisions that would be others, newest first.
    pub differences: Vec<Difference>,
}

/// A past decision that would be another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The pull request.
    pub number: PrNumber,
    /// What was asked for; foreign text.
    pub command: String,
    /// Who asked.
    pub actor: String,
    /// When.
    pub at: DateTime<Utc>,
    /// What the old policy says.
    pub before: Said,
    /// What the new policy says.
    pub after: Said,
}

/// What a policy says to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// The run would start.
    Accepted,
    /// It would not, for these reasons.
    Refused(Vec<Reason>),
}

impl Said {
    /// For people: `accepted`, or `refused: approvals_missing`.
    pub fn words(&self) -> String {
        match self {
            Self::Accepted => "accepted".to_owned(),
            Self::Refused(reasons) => {
                let codes: Vec<&str> = reasons.iter().map(|reason| reason.code()).collect();
                format!("refused: {}", codes.join(", "))
            }
        }
    }
}

/// Looks at a new policy file: its mistakes, or what it would have said to the past.
pub fn review(bytes: &[u8], past: Vec<Past>) -> PolicyReview {
    match Policy::parse_bytes(bytes) {
        Err(diagnostics) => PolicyReview { diagnostics, ..PolicyReview::default() },
        Ok(policy) => PolicyReview {
            replayed: past.len(),
            differences: past.into_iter().filter_map(|past| replay(past, &policy)).collect(),
            ..PolicyReview::default()
        },
    }
}

/// Decides a past command again; `Some` when the new policy says something else than the old one.
pub fn replay(past: Past, policy: &Policy) -> Option<Difference> {
    let Past { command, mut snapshot, policy: old, at } = past;
    let commit = snapshot.change.head.clone();
    // Builds and approvals belong to the policy they were made under. That every one of them would have to be made
    // again is true of any edit and says nothing of this one.
    let new = Policy { hash: old.hash.clone(), ..policy.clone() };
    let before = say(&command, &mut snapshot, old, &commit)?;
    let after = say(&command, &mut snapshot, new, &commit)?;
    (before != after).then(|| Difference {
        number: snapshot.change.number,
        command: command.to_string(),
        actor: snapshot.actor.login,
        at,
        before,
        after,
    })
}

fn say(command: &Command, snapshot: &mut Snapshot, policy: Policy, commit: &CommitSha) -> Option<Said> {
    snapshot.policy = PolicyFact::Valid { policy: Box::new(policy), commit: commit.clone() };
    match decide(command, snapshot) {
        // Whoever waits is only kept back by others, which no policy changes.
        Decision::Start(_) | Decision::Wait(_) => Some(Said::Accepted),
        Decision::Refuse(refusal) => Some(Said::Refused(refusal.gates.iter().filter_map(|gate| gate.reason).collect())),
        Decision::Control(_) | Decision::Answer(_) => None,
    }
}
