//! Gates about the pull request: open, against the default branch, from this repository, and its head.

use super::{Gate, GateResult, fail, pass};
use crate::domain::command::{Command, CommandName};
use crate::domain::markdown::inline_code;
use crate::domain::policy::default_role;
use crate::domain::reason::Reason;
use crate::domain::run::RunKind;
use crate::domain::snapshot::{HeadBinding, Snapshot};

pub(super) fn change_open(snapshot: &Snapshot, kind: RunKind) -> GateResult {
    let (gate, change) = (Gate::ChangeOpen, &snapshot.change);
    let deploys = matches!(kind, RunKind::Canary | RunKind::Promote);
    if change.merged {
        let way_out = "open a new pull request, or use `/titan rollback` to bring the version before it back";
        return fail(gate, Reason::ChangeClosed, "the pull request is merged", way_out);
    }
    if !change.open {
        let way_out = "reopen it, with its branch restored if that was deleted, and comment again";
        return fail(gate, Reason::ChangeClosed, "the pull request is closed", way_out);
    }
    if change.draft && kind == RunKind::Promote {
        let way_out = "press *Ready for review* and comment again";
        return fail(gate, Reason::ChangeDraft, "the pull request is a draft", way_out);
    }
    if change.locked && deploys {
        let way_out = "press *Unlock conversation* and comment again";
        return fail(gate, Reason::ChangeLocked, "the conversation is locked: somebody stopped it", way_out);
    }
    pass(gate, "open")
}

/// The place is still the one that the command was given in: a new repository may have taken the name of an old one.
pub(super) fn repository_here(snapshot: &Snapshot, kind: RunKind) -> GateResult {
    let (gate, change) = (Gate::RepositoryHere, &snapshot.change);
    if let Some(now) = &change.moved_to {
        return fail(
            gate,
            Reason::RepositoryMoved,
            format!("the pull request is in {} now", inline_code(&now.to_string())),
            "comment the command again there",
        );
    }
    // Going back must stay possible: what it writes at GitHub is only the way to keep it so.
    if change.archived && kind != RunKind::Rollback {
        return fail(
            gate,
            Reason::RepositoryArchived,
            "the repository is archived, so nothing in it can be changed",
            "an admin unarchives it on its settings page",
        );
    }
    pass(gate, "where it was")
}

/// The base branch decides, so it must be one that the repository stands behind: whoever may push could else make a
/// branch that has the wanted edits already, open a pull request against it, and have the rest judged. The checks of such a
/// proposal would hang on the commit, whatever branch it goes to in the end.
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
        None => fail(
            gate,
            Reason::BaseNotDefault,
            "GitHub does not say which branch is the default one, so nobody knows whose policy counts",
            "try again in a minute",
        ),
    }
}

/// Code from outside is run and deployed only when somebody of the house vouches for exactly that commit.
pub(super) fn not_fork(snapshot: &Snapshot) -> GateResult {
    let (gate, change) = (Gate::NotForkOrTrusted, &snapshot.change);
    let head = change.head.short();
    match (&change.trusted, change.from_fork) {
        (_, false) => pass(gate, "the branch is in this repository"),
        (Some(trust), true) => {
            let (by, at) = (inline_code(&trust.by), trust.at.format("%Y-%m-%d %H:%M UTC"));
            pass(gate, format!("from a fork; {by} trusts `{head}` since {at}"))
        }
        (None, true) => {
            let from = if change.fork_gone { "a repository that is gone" } else { "a fork" };
            fail(
                gate,
                Reason::ForkNotTrusted,
                format!("the head branch is in {from}, and nobody has trusted `{head}`"),
                format!(
                    "somebody with `{}` reads every line and comments `/titan trust @{}`",
                    default_role(CommandName::Trust),
                    change.head
                ),
            )
        }
    }
}

/// The gates of `/titan trust`, besides the permission: it names the commit, and the commit is the head of a fork.
pub fn trustworthy(command: &Command, snapshot: &Snapshot) -> Vec<GateResult> {
    let (head, change) = (&snapshot.change.head, &snapshot.change);
    let fork = match change.from_fork {
        true => pass(Gate::NotForkOrTrusted, "the head branch is in a fork"),
        false => fail(
            Gate::NotForkOrTrusted,
            Reason::NotAFork,
            "the branch is in this repository, so only people who may push have written to it",
            "go on with `/titan propose`",
        ),
    };
    let named = match (&command.commit, &snapshot.binding) {
        (None, _) => fail(
            Gate::HeadUnchanged,
            Reason::CommitNeeded,
            format!("trust is for one commit, and none was named; the head is `{}`", head.short()),
            format!("read every line of it; then `/titan trust @{head}`"),
        ),
        (Some(_), HeadBinding::Current) => pass(Gate::HeadUnchanged, format!("head is `{}`", head.short())),
        (Some(_), HeadBinding::Collides { other }) => fail(
            Gate::HeadUnchanged,
            Reason::HeadAmbiguous,
            format!("the commit that was named could be `{other}` or `{head}`"),
            format!("read every line of it; then `/titan trust @{head}`"),
        ),
        (Some(named), _) => fail(
            Gate::HeadUnchanged,
            Reason::HeadMoved,
            format!("{} was named, the head is `{}`", inline_code(&named.to_string()), head.short()),
            format!("read the new commits; then `/titan trust @{head}`"),
        ),
    };
    vec![change_open(snapshot, RunKind::Propose), repository_here(snapshot, RunKind::Propose), fork, named]
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
        HeadBinding::Collides { other } => fail(
            Gate::HeadUnchanged,
            Reason::HeadAmbiguous,
            format!("the commit that was named could be `{other}` or `{head}`"),
            format!("name the whole commit: `/titan {kind} @{head}`"),
        ),
        HeadBinding::Ambiguous { before } => {
            let now = head.short();
            let observed = match before {
                Some(before) => {
                    format!("a push came about when the command did: before `{}`, now `{now}`", before.short())
                }
                None => {
                    format!("Titan was not told which head there was when the command was given; now it is `{now}`")
                }
            };
            let way_out = format!("say which commit: `/titan {kind} @{now}`");
            fail(Gate::HeadUnchanged, Reason::HeadAmbiguous, observed, way_out)
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
