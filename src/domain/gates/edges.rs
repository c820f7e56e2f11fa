//! Gates that an older or a foreign fact must not open, and one that must not be closed by what is beside the point.

use super::*;
use crate::domain::command::{Command, CommandName};
use crate::domain::ids::{PrNumber, RunId};
use crate::domain::plan::{Control, Decision, decide};
use crate::domain::policy::Role;
use crate::domain::snapshot::{ActiveRun, ActorFact, Approval, ChangeFact, LiveFact, LockFact};

const POLICY: &str = "\
version: 1
projects:
  web:
    paths: [/]
    canary: {render: srv-a, url: https://canary.example.com, identity: {path: /version, json: commit}}
    production: {render: srv-b, url: https://www.example.com, identity: {path: /version, json: commit}}
approvals: 1
";

fn sha(digit: char) -> CommitSha {
    digit.to_string().repeat(40).parse().expect("a commit id")
}

fn web() -> ProjectName {
    "web".parse().expect("a name")
}

fn policy() -> Policy {
    Policy::parse(POLICY).expect("a policy")
}

fn run(kind: RunKind, conclusion: Conclusion) -> RunFact {
    RunFact {
        id: RunId(uuid::Uuid::now_v7()),
        kind,
        project: Some(web()),
        head: sha('a'),
        policy_hash: Some(policy().hash),
        status: RunStatus::Completed(conclusion),
    }
}

/// Everything is as `promote` and `rollback` want it.
fn snapshot() -> Snapshot {
    Snapshot {
        read_at: crate::clock::now(),
        given_at: crate::clock::now(),
        actor: ActorFact { login: "bob".to_owned(), role: Some(Role::Admin) },
        change: ChangeFact {
            number: PrNumber(7),
            author: "carol".to_owned(),
            open: true,
            merged: false,
            draft: false,
            head: sha('a'),
            base_ref: "main".to_owned(),
            from_fork: false,
        },
        binding: HeadBinding::Current,
        files: FilesFact::Complete(Vec::new()),
        policy: PolicyFact::Valid { policy: Box::new(policy()), commit: sha('b') },
        armed: true,
        halt: None,
        behind_by: Some(0),
        approvals: vec![Approval { login: "alice".to_owned(), commit: Some(sha('a')) }],
        runs: vec![run(RunKind::Canary, Conclusion::Success), run(RunKind::Propose, Conclusion::Success)],
        projects: vec![ProjectFact {
            name: web(),
            locks: Vec::new(),
            active: None,
            production: Some(LiveFact { commit: sha('c'), number: Some(PrNumber(7)) }),
            rollback_target: Some(sha('d')),
        }],
    }
}

fn closed(kind: RunKind, snapshot: &Snapshot) -> Vec<Reason> {
    judge(kind, None, snapshot).into_iter().filter_map(|gate| gate.reason).collect()
}

fn held(by: i64) -> LockFact {
    LockFact {
        environment: Environment::Canary,
        owner: PrNumber(by),
        by: "dave".to_owned(),
        reason: String::new(),
        since: crate::clock::now(),
    }
}

#[test]
fn only_the_newest_canary_under_this_policy_counts() {
    assert_eq!(closed(RunKind::Promote, &snapshot()), []);
    let mut older = snapshot();
    older.runs[0].policy_hash = Some("0".repeat(64));
    assert_eq!(closed(RunKind::Promote, &older), [Reason::CanaryMissing]);
    let mut later = snapshot();
    later.runs.insert(0, run(RunKind::Canary, Conclusion::Failure));
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
        stale.approvals[0].commit = commit;
        assert_eq!(closed(RunKind::Promote, &stale), [Reason::ApprovalsMissing]);
    }
    let mut own = snapshot();
    own.approvals[0].login = "Carol".to_owned();
    assert_eq!(closed(RunKind::Promote, &own), [Reason::ApprovalsMissing]);
}

#[test]
fn a_rollback_does_not_wait_for_a_change_that_is_still_being_tried() {
    let mut other = snapshot();
    other.projects[0].locks = vec![held(8)];
    assert_eq!(closed(RunKind::Promote, &other), [Reason::LockHeld]);
    assert_eq!(closed(RunKind::Rollback, &other), []);
    let Decision::Start(plan) = decide(&Command::bare(CommandName::Rollback), &other) else { panic!("it starts") };
    assert_eq!(plan.locks(), [Environment::Production], "the canary stays with the change that tries it");
}

#[test]
fn a_lock_is_not_taken_from_a_run_that_needs_it() {
    let mut busy = snapshot();
    busy.projects[0].locks = vec![held(8)];
    let unlock = Command::bare(CommandName::Unlock);
    assert_eq!(decide(&unlock, &busy), Decision::Control(Control::Unlock { project: web() }));
    let id = RunId(uuid::Uuid::now_v7());
    busy.projects[0].active = Some(ActiveRun { id, kind: RunKind::Canary, number: PrNumber(8) });
    let Decision::Refuse(refusal) = decide(&unlock, &busy) else { panic!("it must wait") };
    assert_eq!(refusal.gates.iter().find_map(|gate| gate.reason), Some(Reason::RunActive));
}
