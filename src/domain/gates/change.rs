//! Gates about the pull request: open, against the default branch, from this repository, and its head.

use super::{Gate, GateResult, fail, pass};
use crate::domain::markdown::inline_code;
use crate::domain::reason::Reason;
use crate::domain::run::RunKind;
use crate::domain::snapshot::{HeadBinding, Snapshot};

pub(super) fn change_open(snapshot: &Snapshot, kind: RunKind) -> GateResult {
    let change = &snapshot.change;
    match (change.merged, change.open, change.draft) {
        (true, ..) => fail(
            Gate::ChangeOpen,
            Reason::ChangeClosed,
            "the pull request is merged",
            "open a new pull request, or use `/titan rollback` to bring the version before it back",
        ),
        (_, false, _) => {
            fail(Gate::ChangeOpen, Reason::ChangeClosed, "the pull request is closed", "reopen it and comment again")
        }
        (_, _, true) if kind == RunKind::Promote => fail(
            Gate::ChangeOpen,
            Reason::ChangeDraft,
            "the pull request is a draft",
            "press *Ready for review* and comment again",
        ),
        _ => pass(Gate::ChangeOpen, "open"),
    }
}

/// The base branch decides, so it must be one that the repository stands behind: whoever may push could else make a
/// branch with a policy of their own, open a pull request against it, and ship by that policy.
pub(super) fn default_base(snapshot: &Snapshot) -> GateResult {
    let (gate, change) = (Gate::DefaultBase, &snapshot.change);
    match &change.default_branch {
        Some(default) if *default != change.base_ref => fail(
            gate,
            Reason::BaseNotDefault,
            format!("the base is {}, the default branch is {}", inline_code(&change.base_ref), inline_code(default)),
            format!("open the pull request against {}, whose policy is the one that counts", inline_code(default)),
        ),
        Some(_) => pass(gate, format!("it goes to the default branch {}", inline_code(&change.base_ref))),
        None => pass(gate, "the host does not say which branch is the default one"),
    }
}

pub(super) fn not_fork(snapshot: &Snapshot) -> GateResult {
    match snapshot.change.from_fork {
        false => pass(Gate::NotForkOrTrusted, "the branch is in this repository"),
        true => fail(
            Gate::NotForkOrTrusted,
            Reason::ForkNotTrusted,
            "the head branch is in a fork, whose owner could change it at any time",
            "somebody with write access pushes the commits to a branch of this repository and opens a pull request from there",
        ),
    }
}

pub(super) fn head_unchanged(kind: RunKind, snapshot: &Snapshot) -> GateResult {
    let head = &snapshot.change.head;
    let again = format!("look at the new commits, then `/titan {kind} @{}`", head.short());
    match &snapshot.binding {
        HeadBinding::Current => pass(Gate::HeadUnchanged, format!("head is `{}`", head.short())),
        HeadBinding::Other { meant } => fail(
            Gate::HeadUnchanged,
            Reason::HeadMoved,
            format!("the command was for {}, the head is `{}`", inline_code(meant), head.short()),
            again,
        ),
        HeadBinding::Ambiguous { before } => {
            let before = before.as_ref().map_or_else(|| "unknown".to_owned(), |b| format!("`{}`", b.short()));
            fail(
                Gate::HeadUnchanged,
                Reason::HeadAmbiguous,
                format!("a push came within seconds of the command: before {before}, now `{}`", head.short()),
                format!("say which commit: `/titan {kind} @{}`", head.short()),
            )
        }
    }
}

pub(super) fn up_to_date(snapshot: &Snapshot) -> GateResult {
    let gate = Gate::UpToDateWithBase;
    let base = inline_code(&snapshot.change.base_ref);
    match snapshot.behind_by {
        Some(0) => pass(gate, format!("contains all of {base}, so merging gives exactly the tree that was judged")),
        Some(n) => fail(
            gate,
            Reason::BehindBase,
            format!("{base} has {n} commits that were not on the canary"),
            format!("update the branch from {base}, then `/titan propose` and `/titan canary` again"),
        ),
        None => fail(
            gate,
            Reason::BaseUnknown,
            format!("GitHub did not tell how far the head is behind {base}"),
            "try again in a minute",
        ),
    }
}
