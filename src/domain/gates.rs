//! The gates: each a pure function over the snapshot that passes, fails or is not needed, and explains itself.
//!
//! [`judge`] asks every gate of a command, never only the first that fails, so that `/titan status`, a refusal, the
//! checks and the pages all show the same whole table.

mod change;
mod checks;
mod code;
mod late;
mod lock;
mod person;
mod project;
mod service;
mod table;

use serde::{Deserialize, Serialize};

use change::{change_open, default_base, head_unchanged, not_fork, repository_here, up_to_date};
pub use checks::asks_for_checks;
use checks::required_checks;
use code::{build_passed, protected_paths};
pub use late::too_late;
use lock::lock_free;
pub use person::permission_for;
use person::{approvals, permission};
pub use project::choose_project;
use project::{policy_valid, project_known};
use service::{armed, canary_passed, inside_window, no_run_active, not_halted, rollback_target, target_given};
pub use table::{grant, table};

use super::ids::ProjectName;
use super::reason::Reason;
use super::run::RunKind;
use super::snapshot::{ProjectFact, Snapshot};

/// The conditions, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// The person may do this.
    Permission,
    /// The command arrived soon after it was given. Shown only when it did not.
    InTime,
    /// The base branch has a policy and it is valid.
    PolicyValid,
    /// The command names, or implies, one project that has what the command needs.
    ProjectKnown,
    /// The services are this repository's.
    TargetGiven,
    /// An admin turned deployment on.
    Armed,
    /// Nobody has stopped deployments.
    NotHalted,
    /// The pull request is open and not a draft.
    ChangeOpen,
    /// The repository is where it was and can be changed.
    RepositoryHere,
    /// It goes to the default branch, whose policy is the repository's.
    DefaultBase,
    /// The code comes from the repository itself, or somebody trusts exactly this commit.
    NotForkOrTrusted,
    /// The head is the one that the person saw.
    HeadUnchanged,
    /// No protected file is touched.
    ProtectedPaths,
    /// This head was built.
    BuildPassed,
    /// What others must have checked is green.
    RequiredChecks,
    /// The head contains the whole base branch, so that merging gives exactly the tree that was judged.
    UpToDateWithBase,
    /// Enough people approved.
    Approvals,
    /// This head passed on the canary.
    CanaryPassed,
    /// The policy lets promotes in at this time. Shown only when the policy has windows.
    InsideWindow,
    /// Nobody else holds the environment.
    LockFree,
    /// No other run is changing the project.
    NoRunActive,
    /// Production runs this change and there is an earlier good version.
    RollbackTarget,
}

impl Gate {
    /// The gate's name as shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PolicyValid => "policy-valid",
            Self::ProjectKnown => "project-known",
            Self::TargetGiven => "target-given",
            Self::Armed => "armed",
            Self::NotHalted => "not-halted",
            Self::Permission => "permission",
            Self::ChangeOpen => "change-open",
            Self::RepositoryHere => "repository-here",
            Self::DefaultBase => "default-base",
            Self::NotForkOrTrusted => "not-fork-or-trusted",
            Self::HeadUnchanged => "head-unchanged",
            Self::InTime => "in-time",
            Self::ProtectedPaths => "protected-paths",
            Self::BuildPassed => "build-passed",
            Self::RequiredChecks => "required-checks",
            Self::UpToDateWithBase => "up-to-date-with-base",
            Self::Approvals => "approvals",
            Self::CanaryPassed => "canary-passed",
            Self::InsideWindow => "inside-window",
            Self::LockFree => "lock-free",
            Self::NoRunActive => "no-run-active",
            Self::RollbackTarget => "rollback-target",
        }
    }
}

/// What a gate answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateResult {
    /// Which gate.
    pub gate: Gate,
    /// The reason when it failed; `None` when it passed.
    pub reason: Option<Reason>,
    /// What was seen, Markdown, one line.
    pub observed: String,
    /// What to do about it, Markdown, one line; empty when it passed.
    pub way_out: String,
}

impl GateResult {
    /// Whether the gate is met.
    pub fn passed(&self) -> bool {
        self.reason.is_none()
    }
}

fn pass(gate: Gate, observed: impl Into<String>) -> GateResult {
    GateResult { gate, reason: None, observed: observed.into(), way_out: String::new() }
}

fn fail(gate: Gate, reason: Reason, observed: impl Into<String>, way_out: impl Into<String>) -> GateResult {
    GateResult { gate, reason: Some(reason), observed: observed.into(), way_out: way_out.into() }
}

/// Asks every gate of a run command, in the order in which they are shown.
///
/// `project` is the project named in the command. When the policy cannot be read, the gates that need it are left
/// out: they would only repeat the first line.
pub fn judge(kind: RunKind, project: Option<&ProjectName>, snapshot: &Snapshot) -> Vec<GateResult> {
    let Some(policy) = snapshot.policy.policy() else {
        let base = (kind != RunKind::Rollback).then(|| default_base(snapshot)).filter(|gate| !gate.passed());
        return [permission(kind, snapshot), policy_valid(snapshot)].into_iter().chain(base).collect();
    };
    let chosen = choose_project(kind.command(), project, policy, snapshot);
    let fact = chosen.as_ref().ok().and_then(|name| name.as_ref()).and_then(|name| project_fact(snapshot, name));
    let name = chosen.as_ref().ok().and_then(Option::as_ref);
    // Whether the person may do this at all comes first: everything else is advice for somebody who may.
    let mut gates = vec![permission(kind, snapshot), policy_valid(snapshot), project_known(kind, &chosen, policy)];
    if kind.environment().is_some() {
        gates.extend([target_given(kind, name, snapshot), armed(snapshot), not_halted(snapshot)]);
    }
    if kind == RunKind::Rollback {
        gates.extend([repository_here(snapshot, kind), rollback_target(snapshot, fact)]);
    } else {
        gates.extend([change_open(snapshot, kind), repository_here(snapshot, kind), default_base(snapshot)]);
        gates.extend([not_fork(snapshot), head_unchanged(kind, snapshot)]);
    }
    if matches!(kind, RunKind::Canary | RunKind::Promote) {
        gates.extend([protected_paths(policy, snapshot), build_passed(policy, name, snapshot)]);
        gates.extend(required_checks(kind, policy, snapshot));
    }
    if kind == RunKind::Promote {
        gates.extend([up_to_date(snapshot), approvals(policy, snapshot), canary_passed(policy, name, snapshot)]);
        gates.extend(inside_window(policy, snapshot));
    }
    if let Some(environment) = kind.environment() {
        gates.push(lock_free(kind, environment, snapshot, fact));
    }
    gates.push(no_run_active(kind, snapshot, fact));
    gates
}

fn project_fact<'s>(snapshot: &'s Snapshot, name: &ProjectName) -> Option<&'s ProjectFact> {
    snapshot.projects.iter().find(|p| p.name == *name)
}

#[cfg(test)]
mod edges;
#[cfg(test)]
pub(in crate::domain) mod tests;
