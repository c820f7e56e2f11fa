//! Gates that an older or a foreign fact must not open, and one that must not be closed by what is beside the point.

use super::tests::{closed, lock, sha, snapshot, web};
use super::*;
use crate::domain::command::{Command, CommandName};
use crate::domain::ids::{Environment, PrNumber, RunId};
use crate::domain::plan::{Control, Decision, decide};
use crate::domain::policy::Role;
use crate::domain::run::{Conclusion, RunStatus};
use crate::domain::snapshot::{ActiveRun, RunFact};

#[test]
fn only_the_newest_canary_under_this_policy_counts() {
    assert_eq!(closed(RunKind::Promote, &snapshot()), []);
    let mut older = snapshot();
    older.runs[0].policy_hash = Some("0".repeat(64));
    assert_eq!(closed(RunKind::Promote, &older), [Reason::CanaryMissing]);
    let mut later = snapshot();
    let failed = RunStatus::Completed(Conclusion::Failure);
    later.runs.insert(0, RunFact { status: failed, ..later.runs[0].clone() });
    assert_eq!(closed(RunKind::Promote, &later), [Reason::CanaryFailed]);
    let mut inconclusive = snapshot();
    inconclusive.runs[0].status = RunStatus::Completed(Conclusion::Inconclusive);
    assert_eq!(closed(RunKind::Promote, &inconclusive), [Reason::CanaryFailed]);
    let mut elsewhere = snapshot();
    elsewhere.runs.iter_mut().for_each(|run| run.project = Some("api".parse().expect("a name")));
    assert_eq!(closed(RunKind::Promote, &elsewhere), [Reason::BuildMissing, Reason::CanaryMissing]);
}

#[test]
fn an_approval_of_a_commit_that_is_not_this_head_does_not_count() {
    for commit in [None, Some(sha('e'))] {
        let mut stale = snapshot();
        stale.reviews.approvals[0].commit = commit;
        assert_eq!(closed(RunKind::Promote, &stale), [Reason::ApprovalsMissing]);
    }
    let mut own = snapshot();
    own.reviews.approvals[0].by.login = "Carol".to_owned();
    assert_eq!(closed(RunKind::Promote, &own), [Reason::ApprovalsMissing]);
}

#[test]
fn a_rollback_does_not_wait_for_a_change_that_is_still_being_tried() {
    let mut other = snapshot();
    other.projects[0].locks = vec![lock(Environment::Canary, 8)];
    assert_eq!(closed(RunKind::Promote, &other), [Reason::LockHeld]);
    assert_eq!(closed(RunKind::Rollback, &other), []);
    let Decision::Start(plan) = decide(&Command::bare(CommandName::Rollback), &other) else { panic!("it starts") };
    assert_eq!(plan.locks(), [Environment::Production], "the canary stays with the change that tries it");
}

#[test]
fn a_lock_is_not_taken_from_a_run_that_needs_it() {
    let mut busy = snapshot();
    busy.projects[0].locks = vec![lock(Environment::Canary, 7)];
    let unlock = Command::bare(CommandName::Unlock);
    assert_eq!(
        decide(&unlock, &busy),
        Decision::Control(Control::Unlock { project: web(), force: false, reason: String::new() })
    );
    let id = RunId(uuid::Uuid::now_v7());
    busy.projects[0].active = Some(ActiveRun { id, kind: RunKind::Canary, number: PrNumber(7) });
    let Decision::Refuse(refusal) = decide(&unlock, &busy) else { panic!("it must wait") };
    assert_eq!(refusal.gates.iter().find_map(|gate| gate.reason), Some(Reason::RunActive));
}

#[test]
fn what_others_hold_is_taken_away_only_by_a_maintainer_with_the_word_and_a_reason() {
    let mut held = snapshot();
    held.projects[0].locks = vec![lock(Environment::Canary, 8)];
    let reason = |command: &Command, facts: &Snapshot| match decide(command, facts) {
        Decision::Refuse(refusal) => refusal.gates.iter().find_map(|gate| gate.reason),
        _ => None,
    };
    let unlock = Command::bare(CommandName::Unlock);
    assert_eq!(reason(&unlock, &held), Some(Reason::NotHolder));
    let forced = Command { force: true, ..unlock };
    assert_eq!(reason(&forced, &held), Some(Reason::NotHolder), "without a reason");
    let forced = Command { reason: "it hangs".to_owned(), ..forced };
    let taken = Control::Unlock { project: web(), force: true, reason: "it hangs".to_owned() };
    assert_eq!(decide(&forced, &held), Decision::Control(taken));
    held.actor.role = Some(Role::Write);
    assert_eq!(reason(&forced, &held), Some(Reason::PermissionDenied));
}

#[test]
fn a_command_that_only_others_keep_back_waits_in_line() {
    let mut held = snapshot();
    held.projects[0].locks = vec![lock(Environment::Canary, 8)];
    let canary = Command::bare(CommandName::Canary);
    let Decision::Wait(waiting) = decide(&canary, &held) else { panic!("it waits") };
    assert_eq!((waiting.kind, &waiting.head), (RunKind::Canary, &held.change.head));
    held.armed = false;
    assert!(matches!(decide(&canary, &held), Decision::Refuse(_)), "something else is in the way too");
}

#[test]
fn a_canary_that_was_put_back_has_to_be_tried_again() {
    let mut gone = snapshot();
    let restore = RunFact { kind: RunKind::Restore, id: RunId(uuid::Uuid::max()), ..gone.runs[0].clone() };
    gone.runs.insert(0, restore);
    assert_eq!(closed(RunKind::Promote, &gone), [Reason::CanaryMissing]);
}
