//! Gates about people: who may, and who agreed.

use super::{Gate, GateResult, fail, pass};
use crate::domain::markdown::inline_code;
use crate::domain::policy::{Policy, Role, default_role};
use crate::domain::reason::Reason;
use crate::domain::run::RunKind;
use crate::domain::snapshot::Snapshot;

pub(super) fn permission(kind: RunKind, snapshot: &Snapshot) -> GateResult {
    let command = kind.command();
    let needed = match snapshot.policy.policy() {
        Some(policy) => policy.needed_role(command),
        None => default_role(command),
    };
    permission_for(&snapshot.actor.login, snapshot.actor.role, needed)
}

/// Whether a role is enough; also used for the commands that are not runs.
pub fn permission_for(login: &str, role: Option<Role>, needed: Role) -> GateResult {
    let who = inline_code(login);
    match role {
        None => fail(
            Gate::Permission,
            Reason::PermissionUnknown,
            format!("GitHub did not tell the role of {who}"),
            "try again in a minute",
        ),
        Some(role) if role >= needed => pass(Gate::Permission, format!("{who} has `{role}`, needed `{needed}`")),
        Some(role) => fail(
            Gate::Permission,
            Reason::PermissionDenied,
            format!("{who} has `{role}`, needed `{needed}`"),
            format!("ask somebody with `{needed}` to comment the same command"),
        ),
    }
}

pub(super) fn approvals(policy: &Policy, snapshot: &Snapshot) -> GateResult {
    let gate = Gate::Approvals;
    let needed = policy.approvals as usize;
    let counted: Vec<_> = snapshot
        .approvals
        .iter()
        .filter(|a| !a.login.eq_ignore_ascii_case(&snapshot.change.author))
        // GitHub names no commit when the one that was approved is gone, so it is not this head.
        .filter(|a| a.commit.as_ref() == Some(&snapshot.change.head))
        .collect();
    let have = counted.len();
    match have >= needed {
        true => pass(gate, format!("{have} approvals, needed {needed}")),
        false => fail(
            gate,
            Reason::ApprovalsMissing,
            format!("{have} approvals of `{}`, needed {needed}", snapshot.change.head.short()),
            "somebody with write access, not the author, approves the pull request",
        ),
    }
}
