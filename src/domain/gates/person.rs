//! Gates about people: who may, and who agreed.

use chrono::{DateTime, SubsecRound, Utc};

use super::{Gate, GateResult, fail, grant, pass};
use crate::domain::markdown::inline_code;
use crate::domain::policy::{Grant, Policy, TeamName};
use crate::domain::reason::Reason;
use crate::domain::run::RunKind;
use crate::domain::snapshot::{ActorFact, Approval, RunFact, Snapshot};

pub(super) fn permission(kind: RunKind, snapshot: &Snapshot) -> GateResult {
    permission_for(&snapshot.actor, &grant(kind.command(), snapshot))
}

/// Whether a person may give a command that needs this; also used for the commands that are not runs.
pub fn permission_for(actor: &ActorFact, grant: &Grant) -> GateResult {
    let (gate, needed) = (Gate::Permission, grant.role);
    let who = match &actor.asked_as {
        None => inline_code(&actor.login),
        Some(before) => format!("{} ({} when asking)", inline_code(&actor.login), inline_code(before)),
    };
    if actor.is_other {
        return fail(
            gate,
            Reason::PermissionUnknown,
            format!("GitHub knows somebody else as {who} now: whoever asked is gone"),
            "comment the command again",
        );
    }
    match actor.role {
        None => fail(
            gate,
            Reason::PermissionUnknown,
            format!("GitHub did not tell the role of {who}"),
            "try again in a minute",
        ),
        Some(role) if role < needed => fail(
            gate,
            Reason::PermissionDenied,
            format!("{who} has `{role}`, needed `{needed}`"),
            format!("ask {} to comment the same command", whom(grant)),
        ),
        Some(role) if grant.is_for_all() => pass(gate, format!("{who} has `{role}`, needed `{needed}`")),
        Some(role) => named(actor, grant, &format!("{who} has `{role}`, needed `{needed}`")),
    }
}

/// Whether somebody whose role is enough is among those whom the policy names.
fn named(actor: &ActorFact, grant: &Grant, has: &str) -> GateResult {
    let gate = Gate::Permission;
    if grant.users.iter().any(|login| login.eq_ignore_ascii_case(&actor.login)) {
        return pass(gate, format!("{has}, and is named in the policy"));
    }
    let member = |wanted: Option<bool>| {
        actor.teams.iter().find(|(team, is)| grant.teams.contains(team) && *is == wanted).map(|(team, _)| team)
    };
    if let Some(team) = member(Some(true)) {
        return pass(gate, format!("{has}, and is in `{team}`"));
    }
    let asked = |team: &TeamName| actor.teams.iter().any(|(known, is)| known == team && is.is_some());
    if let Some(team) = grant.teams.iter().find(|team| !asked(team)) {
        return fail(
            gate,
            Reason::TeamUnknown,
            format!("{has}, but GitHub did not tell whether they are in `{team}`"),
            "the App needs the permission `members: read` of the organisation that owns the repository; then try again",
        );
    }
    fail(
        gate,
        Reason::NotNamed,
        format!("{has}, but is in none of the teams and not one of the people that the policy names"),
        format!("ask {} to comment the same command", whom(grant)),
    )
}

fn whom(grant: &Grant) -> String {
    let role = grant.role;
    if grant.is_for_all() {
        return format!("somebody with `{role}`");
    }
    let teams = grant.teams.iter().map(|team| format!("a member of `{team}`"));
    let users = grant.users.iter().map(|login| inline_code(login));
    format!("{} with `{role}`", teams.chain(users).collect::<Vec<_>>().join(" or "))
}

/// Approvals by content: each counts for the tree that was approved, under the policy that was in force, and from people
/// who had no hand in the code. A new head with the same tree keeps them.
pub(super) fn approvals(policy: &Policy, snapshot: &Snapshot) -> GateResult {
    let gate = Gate::Approvals;
    let needed = policy.approvals as usize;
    if needed == 0 {
        return pass(gate, "none needed beyond GitHub's own rules");
    }
    if let [first, rest @ ..] = snapshot.reviews.objections.as_slice() {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        return fail(
            gate,
            Reason::ChangesRequested,
            format!("{}{more} asks for changes", inline_code(first)),
            "answer the review: the same person approves, or somebody with write access dismisses it",
        );
    }
    if snapshot.reviews.unheard > 0 {
        return fail(
            gate,
            Reason::ChangesRequested,
            format!(
                "{} more people ask for changes than Titan asks GitHub about; one of them may have a say",
                snapshot.reviews.unheard
            ),
            "somebody with write access dismisses the reviews of those who have no say",
        );
    }
    let published = published(policy, snapshot);
    let (mut counted, mut others) = (Vec::new(), Vec::new());
    for approval in &snapshot.reviews.approvals {
        match why_not(approval, published, snapshot) {
            None => counted.push(inline_code(&approval.by.login)),
            Some(why) => others.push(format!("{} {why}", inline_code(&approval.by.login))),
        }
    }
    let have = counted.len();
    if have >= needed {
        return pass(gate, format!("{have} of this content ({}), needed {needed}", counted.join(", ")));
    }
    let beside = if others.is_empty() { String::new() } else { format!("; not counted: {}", others.join(", ")) };
    fail(
        gate,
        Reason::ApprovalsMissing,
        format!("{have} of the content of `{}`, needed {needed}{beside}", snapshot.change.head.short()),
        match published {
            None => "`/titan propose` first; then somebody with write access who had no hand in the code approves",
            Some(_) => "somebody with write access who had no hand in the code approves the pull request",
        },
    )
}

/// When this content was first published under this policy; `None` when it never was.
fn published(policy: &Policy, snapshot: &Snapshot) -> Option<DateTime<Utc>> {
    let tree = snapshot.reviews.tree(&snapshot.change.head)?;
    let same = |run: &&RunFact| {
        run.kind == RunKind::Propose
            && run.succeeded()
            && run.is_for_base(&snapshot.change)
            && run.policy_hash.as_deref() == Some(policy.hash.as_str())
            && snapshot.reviews.tree(&run.head) == Some(tree)
    };
    // GitHub tells the time of a review in whole seconds.
    snapshot.runs.iter().filter(same).filter_map(|run| run.completed_at).min().map(|at| at.trunc_subsecs(0))
}

fn why_not(approval: &Approval, published: Option<DateTime<Utc>>, snapshot: &Snapshot) -> Option<&'static str> {
    if approval.by.login.eq_ignore_ascii_case(&snapshot.change.author) {
        return Some("is the author");
    }
    if snapshot.reviews.hands.iter().any(|hand| hand.same(&approval.by)) {
        return Some("had a hand in the code");
    }
    // The approved commit may be gone, and then nobody knows what was approved.
    let approved = approval.commit.as_ref().and_then(|commit| snapshot.reviews.tree(commit));
    if approved.is_none() || approved != snapshot.reviews.tree(&snapshot.change.head) {
        return Some("approved other content");
    }
    match (published, approval.at) {
        (Some(published), Some(at)) if at >= published => None,
        _ => Some("approved before this content was proposed under this policy"),
    }
}
