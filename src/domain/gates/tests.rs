//! Each gate by the facts that close it, and what `decide` makes of the whole table.

use chrono::DateTime;

use super::*;

mod people;
use crate::domain::command::{Command, CommandName};
use crate::domain::ids::{CommitSha, Environment, PrNumber, RunId};
use crate::domain::paths::{ChangedFile, FileStatus};
use crate::domain::plan::{Control, Decision, decide};
use crate::domain::policy::{Policy, Role};
use crate::domain::run::{Conclusion, RunStatus};
use crate::domain::snapshot::{
    ActiveRun, ActorFact, Approval, ChangeFact, ChecksFact, FilesFact, HaltFact, HeadBinding, LiveFact, LockFact,
    Person, PolicyFact, ReviewsFact, RunFact,
};
use crate::domain::targets::{Standing, TargetFact, TargetNames};

const POLICY: &str = "
version: 1
paths: {protected: [/infra/]}
approvals: 1
projects:
  web:
    paths: [/web/]
    canary: {render: srv-a, url: https://a.example, identity: {header: x-commit}}
    production: {render: srv-b, url: https://b.example, identity: {header: x-commit}}
";

pub(super) fn sha(digit: char) -> CommitSha {
    digit.to_string().repeat(40).parse().expect("a commit id")
}

pub(super) fn web() -> ProjectName {
    "web".parse().expect("a name")
}

fn run(kind: RunKind, conclusion: Option<Conclusion>, policy_hash: &str) -> RunFact {
    RunFact {
        id: RunId(uuid::Uuid::nil()),
        kind,
        project: Some(web()),
        head: sha('a'),
        base_ref: Some("main".to_owned()),
        policy_hash: Some(policy_hash.to_owned()),
        status: conclusion.map_or(RunStatus::Running, RunStatus::Completed),
        completed_at: conclusion.map(|_| DateTime::UNIX_EPOCH),
    }
}

/// Somebody's approval of a commit, after everything was proposed.
pub(super) fn approval(login: &str, commit: char) -> Approval {
    Approval {
        by: Person { login: login.to_owned(), id: None },
        commit: Some(sha(commit)),
        at: Some(DateTime::UNIX_EPOCH),
    }
}

/// A change at which everything is in order: it was built, passed on the canary, is approved, and production has an
/// earlier good version.
pub(in crate::domain) fn snapshot() -> Snapshot {
    let policy = Policy::parse(POLICY).expect("a policy");
    let good = Some(Conclusion::Success);
    let runs = vec![run(RunKind::Canary, good, &policy.hash), run(RunKind::Propose, good, &policy.hash)];
    Snapshot {
        read_at: DateTime::UNIX_EPOCH,
        given_at: DateTime::UNIX_EPOCH,
        reached_at: DateTime::UNIX_EPOCH,
        actor: ActorFact::with_role("mona", Some(Role::Maintain)),
        change: ChangeFact {
            number: PrNumber(7),
            author: "carol".to_owned(),
            open: true,
            merged: false,
            draft: false,
            head: sha('a'),
            base_ref: "main".to_owned(),
            default_branch: Some("main".to_owned()),
            from_fork: false,
            fork_gone: false,
            trusted: None,
            locked: false,
            archived: false,
            moved_to: None,
        },
        binding: HeadBinding::Current,
        files: FilesFact::Complete(vec![file("web/index.html")]),
        policy: PolicyFact::Valid { policy: Box::new(policy), commit: sha('0') },
        armed: true,
        halt: None,
        behind_by: Some(0),
        reviews: ReviewsFact {
            approvals: vec![approval("bob", 'a')],
            trees: vec![(sha('a'), sha('1')), (sha('d'), sha('2'))],
            ..ReviewsFact::default()
        },
        checks: ChecksFact::Read { required: Vec::new(), reported: Vec::new() },
        runs,
        targets: Vec::new(),
        projects: vec![ProjectFact {
            name: web(),
            locks: Vec::new(),
            queue: Vec::new(),
            runs_begun: 0,
            active: None,
            production: Some(LiveFact { commit: sha('b'), number: Some(PrNumber(7)) }),
            rollback_target: Some(sha('c')),
        }],
    }
}

fn file(path: &str) -> ChangedFile {
    ChangedFile::listed(path, FileStatus::Modified, None)
}

/// The reasons of the gates that are closed.
pub(super) fn closed(kind: RunKind, snapshot: &Snapshot) -> Vec<Reason> {
    judge(kind, None, snapshot).into_iter().filter_map(|gate| gate.reason).collect()
}

#[test]
fn when_everything_is_in_order_every_command_starts() {
    for kind in RunKind::ALL {
        assert_eq!(closed(kind, &snapshot()), [], "{kind}");
        assert!(matches!(decide(&Command::bare(kind.command()), &snapshot()), Decision::Start(_)), "{kind}");
    }
}

type Disturb = fn(&mut Snapshot);

/// What is disturbed, the commands that it concerns, and the reason that they get.
fn disturbances() -> Vec<(&'static str, Disturb, &'static [RunKind], Reason)> {
    use RunKind::{Canary, Promote, Propose, Rollback};
    let all: &[RunKind] = &RunKind::ALL;
    vec![
        ("no policy", |s| s.policy = PolicyFact::Missing, all, Reason::PolicyMissing),
        ("a broken policy", |s| s.policy = PolicyFact::Invalid(Vec::new()), all, Reason::PolicyInvalid),
        ("role unknown", |s| s.actor.role = None, all, Reason::PermissionUnknown),
        ("may only read", |s| s.actor.role = Some(Role::Read), all, Reason::PermissionDenied),
        ("may only write", |s| s.actor.role = Some(Role::Write), &[Promote], Reason::PermissionDenied),
        ("disarmed", |s| s.armed = false, &[Canary, Promote, Rollback], Reason::NotArmed),
        (
            "halted",
            |s| s.halt = Some(HaltFact { by: "ann".to_owned(), reason: String::new(), elsewhere: None }),
            &[Canary, Promote, Rollback],
            Reason::Halted,
        ),
        ("closed", |s| s.change.open = false, &[Propose, Canary, Promote], Reason::ChangeClosed),
        (
            "to a branch that anybody may push to",
            |s| s.change.base_ref = "mine".to_owned(),
            &[Propose, Canary, Promote],
            Reason::BaseNotDefault,
        ),
        (
            "nobody knows the default branch",
            |s| s.change.default_branch = None,
            &[Propose, Canary, Promote],
            Reason::BaseNotDefault,
        ),
        (
            "built for another base",
            |s| s.runs[1].base_ref = Some("mine".to_owned()),
            &[Canary, Promote],
            Reason::BuildMissing,
        ),
        ("built by an earlier release", |s| s.runs[1].base_ref = None, &[Canary, Promote], Reason::BuildMissing),
        ("tried for another base", |s| s.runs[0].base_ref = Some("mine".to_owned()), &[Promote], Reason::CanaryMissing),
        (
            "approved for another base",
            |s| s.runs[1].base_ref = Some("mine".to_owned()),
            &[Promote],
            Reason::ApprovalsMissing,
        ),
        ("draft", |s| s.change.draft = true, &[Promote], Reason::ChangeDraft),
        ("from a fork", |s| s.change.from_fork = true, &[Propose, Canary, Promote], Reason::ForkNotTrusted),
        (
            "head moved",
            |s| s.binding = HeadBinding::Other { meant: "bbbbbbb".to_owned() },
            &[Propose, Canary, Promote],
            Reason::HeadMoved,
        ),
        (
            "push and command too close",
            |s| s.binding = HeadBinding::Ambiguous { before: None },
            &[Propose, Canary, Promote],
            Reason::HeadAmbiguous,
        ),
        ("outside the windows", outside_windows, &[Promote], Reason::OutsideWindow),
        (
            "a protected file",
            |s| s.files = FilesFact::Complete(vec![file("infra/main.tf"), file("web/a")]),
            &[Canary, Promote],
            Reason::ProtectedPath,
        ),
        (
            "files cut off",
            |s| s.files = FilesFact::CutOff { listed: 3000, expected: Some(4000) },
            &[Canary, Promote],
            Reason::FilesCutOff,
        ),
        ("never proposed", |s| s.runs.retain(|r| r.kind != Propose), &[Canary, Promote], Reason::BuildMissing),
        (
            "built under another policy",
            |s| s.runs[1].policy_hash = Some("old".to_owned()),
            &[Canary, Promote],
            Reason::BuildMissing,
        ),
        ("another head was built", |s| s.runs[1].head = sha('d'), &[Canary, Promote], Reason::BuildMissing),
        ("another project was built", |s| s.runs[1].project = None, &[Canary, Promote], Reason::BuildMissing),
        ("the build is running", |s| s.runs[1].status = RunStatus::Running, &[Canary, Promote], Reason::BuildRunning),
        (
            "the build failed",
            |s| s.runs[1].status = RunStatus::Completed(Conclusion::Failure),
            &[Canary, Promote],
            Reason::BuildFailed,
        ),
        (
            "a later proposal failed",
            |s| s.runs.insert(0, run(RunKind::Propose, Some(Conclusion::Failure), "x")),
            &[Canary, Promote],
            Reason::BuildFailed,
        ),
        ("behind the base", |s| s.behind_by = Some(2), &[Promote], Reason::BehindBase),
        ("base unknown", |s| s.behind_by = None, &[Promote], Reason::BaseUnknown),
        ("not approved", |s| s.reviews.approvals.clear(), &[Promote], Reason::ApprovalsMissing),
        (
            "approved by the author",
            |s| s.reviews.approvals[0].by.login = "Carol".to_owned(),
            &[Promote],
            Reason::ApprovalsMissing,
        ),
        (
            "approved an older head",
            |s| s.reviews.approvals[0].commit = Some(sha('d')),
            &[Promote],
            Reason::ApprovalsMissing,
        ),
        ("more objections than can be looked into", |s| s.reviews.unheard = 1, &[Promote], Reason::ChangesRequested),
        ("no canary", |s| s.runs.retain(|r| r.kind != Canary), &[Promote], Reason::CanaryMissing),
        ("another head's canary", |s| s.runs[0].head = sha('d'), &[Promote], Reason::CanaryMissing),
        ("the canary is baking", |s| s.runs[0].status = RunStatus::Running, &[Promote], Reason::CanaryRunning),
        (
            "the canary failed",
            |s| s.runs[0].status = RunStatus::Completed(Conclusion::Failure),
            &[Promote],
            Reason::CanaryFailed,
        ),
        (
            "the canary was inconclusive",
            |s| s.runs[0].status = RunStatus::Completed(Conclusion::Inconclusive),
            &[Promote],
            Reason::CanaryFailed,
        ),
        (
            "another change holds the canary",
            |s| s.projects[0].locks.push(lock(Environment::Canary, 8)),
            &[Canary, Promote],
            Reason::LockHeld,
        ),
        (
            "another change holds production",
            |s| s.projects[0].locks.push(lock(Environment::Production, 8)),
            &[Promote, Rollback],
            Reason::LockHeld,
        ),
        (
            "another run is changing the project",
            |s| {
                s.projects[0].active =
                    Some(ActiveRun { id: RunId(uuid::Uuid::nil()), kind: Canary, number: PrNumber(8) });
            },
            &[Canary, Promote, Rollback],
            Reason::RunActive,
        ),
        ("nothing shipped", |s| s.projects[0].production = None, &[Rollback], Reason::NothingToRollBack),
        ("nothing before it", |s| s.projects[0].rollback_target = None, &[Rollback], Reason::NothingToRollBack),
        (
            "another change is live",
            |s| s.projects[0].production = Some(LiveFact { commit: sha('b'), number: Some(PrNumber(8)) }),
            &[Rollback],
            Reason::NotLiveHere,
        ),
    ]
}

pub(in crate::domain) fn lock(environment: Environment, owner: i64) -> LockFact {
    LockFact {
        environment,
        owner: PrNumber(owner),
        by: "dan".to_owned(),
        reason: String::new(),
        since: DateTime::UNIX_EPOCH,
        held_for: crate::domain::lock::HeldFor::Run,
        expires_at: None,
        ends_soon: false,
    }
}

/// A policy that is closed at the time of the snapshot.
fn outside_windows(snapshot: &mut Snapshot) {
    let day = snapshot.read_at.format("%Y-%m-%d");
    let text = format!("{POLICY}windows: {{zone: UTC, freeze: [{day}]}}\n");
    let old = snapshot.policy.policy().expect("valid").hash.clone();
    let policy = Policy { hash: old, ..Policy::parse(&text).expect("a policy") };
    snapshot.policy = PolicyFact::Valid { policy: Box::new(policy), commit: sha('0') };
}

#[test]
fn a_closed_window_names_the_next_opening_in_its_own_zone() {
    let mut closed = snapshot();
    closed.read_at = "2026-11-27T11:30:00Z".parse().expect("a Friday");
    let text = format!("{POLICY}windows: {{zone: Europe/Berlin, open: [Mon-Thu 08:00-17:00, Fri 08:00-12:00]}}\n");
    closed.policy = PolicyFact::Valid { policy: Box::new(Policy::parse(&text).expect("a policy")), commit: sha('0') };
    let gates = judge(RunKind::Promote, None, &closed);
    let gate = gates.iter().find(|gate| gate.gate == Gate::InsideWindow).expect("the policy has windows");
    assert_eq!(gate.reason, Some(Reason::OutsideWindow));
    assert_eq!(gate.observed, "Fri 2026-11-27 12:30 in Europe/Berlin, open: `Mon-Thu 08:00-17:00, Fri 08:00-12:00`");
    assert_eq!(gate.way_out, "comment again from Mon 2026-11-30 08:00 in Europe/Berlin on");
    assert!(judge(RunKind::Promote, None, &snapshot()).iter().all(|gate| gate.gate != Gate::InsideWindow));
}

#[test]
fn each_fact_closes_its_gate_for_the_commands_it_concerns_and_for_no_others() {
    for (what, disturb, concerned, reason) in disturbances() {
        let mut disturbed = snapshot();
        disturb(&mut disturbed);
        for kind in RunKind::ALL {
            let closed = closed(kind, &disturbed);
            assert_eq!(closed.contains(&reason), concerned.contains(&kind), "{what}, {kind}: {closed:?}");
            let started = matches!(decide(&Command::bare(kind.command()), &disturbed), Decision::Start(_));
            assert_eq!(started, closed.is_empty(), "{what}, {kind}");
        }
    }
}

#[test]
fn a_closed_gate_says_what_was_seen_and_what_to_do() {
    for (what, disturb, concerned, _) in disturbances() {
        let mut disturbed = snapshot();
        disturb(&mut disturbed);
        for gate in concerned.iter().flat_map(|kind| judge(*kind, None, &disturbed)) {
            assert!(!gate.observed.is_empty(), "{what}: {gate:?}");
            assert_eq!(gate.way_out.is_empty(), gate.passed(), "{what}: {gate:?}");
            assert!(!gate.observed.contains('\n') && !gate.way_out.contains('\n'), "{what}: {gate:?}");
        }
    }
}

#[test]
fn ones_own_lock_is_not_in_the_way() {
    let mut held = snapshot();
    held.projects[0].locks = vec![lock(Environment::Canary, 7), lock(Environment::Production, 7)];
    for kind in RunKind::ALL {
        assert_eq!(closed(kind, &held), [], "{kind}");
    }
}

fn two_projects(files: &[&str]) -> Snapshot {
    let mut two = snapshot();
    let text = format!("{POLICY}  api:\n    paths: [/api/]\n    canary: {{hook: API, url: https://c.example}}\n");
    let policy = Policy::parse(&text).expect("a policy");
    two.policy = PolicyFact::Valid { policy: Box::new(policy), commit: sha('0') };
    two.files = FilesFact::Complete(files.iter().map(|path| file(path)).collect());
    two
}

#[test]
fn the_project_is_the_named_one_or_the_only_one_that_the_change_concerns() {
    let choose = |named: Option<&str>, files: &[&str]| {
        let two = two_projects(files);
        let named: Option<ProjectName> = named.map(|n| n.parse().expect("a name"));
        let policy = two.policy.policy().expect("valid").clone();
        match choose_project(CommandName::Canary, named.as_ref(), &policy, &two) {
            Ok(name) => Ok(name.map(|n| n.to_string())),
            Err(refused) => Err(refused.reason),
        }
    };
    assert_eq!(choose(None, &["web/a"]), Ok(Some("web".to_owned())));
    assert_eq!(choose(Some("api"), &["web/a"]), Ok(Some("api".to_owned())));
    assert_eq!(choose(None, &["web/a", "api/b"]), Err(Some(Reason::ProjectAmbiguous)));
    assert_eq!(choose(None, &["docs/a"]), Err(Some(Reason::ProjectAmbiguous)));
    assert_eq!(choose(Some("nope"), &["web/a"]), Err(Some(Reason::ProjectUnknown)));
}

#[test]
fn a_project_without_the_service_is_told_so() {
    let two = two_projects(&["api/a"]);
    assert!(closed(RunKind::Promote, &two).contains(&Reason::NoTarget));
    assert!(!closed(RunKind::Canary, &two).contains(&Reason::NoTarget));
}

#[test]
fn only_an_admin_arms_disarms_and_resumes_and_every_writer_halts() {
    let given = |name: CommandName, role: Role| {
        let mut asked = snapshot();
        asked.actor.role = Some(role);
        matches!(decide(&Command::bare(name), &asked), Decision::Control(_))
    };
    for name in [CommandName::Arm, CommandName::Disarm, CommandName::Resume] {
        assert!(given(name, Role::Admin) && !given(name, Role::Maintain), "{name}");
    }
    for name in [CommandName::Halt, CommandName::Cancel, CommandName::Lock, CommandName::Unlock] {
        assert!(given(name, Role::Write) && !given(name, Role::Triage), "{name}");
    }
}

#[test]
fn a_halt_needs_no_policy_because_it_must_always_work() {
    let mut broken = snapshot();
    broken.policy = PolicyFact::Missing;
    let reason = "fire".to_owned();
    let halt = Command { reason: reason.clone(), ..Command::bare(CommandName::Halt) };
    assert_eq!(decide(&halt, &broken), Decision::Control(Control::Halt { reason }));
}

#[test]
fn a_halt_is_lifted_only_where_it_was_called() {
    let mut halted = snapshot();
    halted.actor.role = Some(Role::Admin);
    let halt = |elsewhere| Some(HaltFact { by: "ann".to_owned(), reason: String::new(), elsewhere });
    halted.halt = halt(Some("acme/other".parse().expect("a name")));
    let Decision::Refuse(refusal) = decide(&Command::bare(CommandName::Resume), &halted) else { panic!("not here") };
    assert!(refusal.gates[1].way_out.contains("acme/other"), "{:?}", refusal.gates);
    halted.halt = halt(None);
    assert_eq!(decide(&Command::bare(CommandName::Resume), &halted), Decision::Control(Control::Resume));
}

#[test]
fn a_command_that_comes_too_late_is_offered_again_and_not_carried_out() {
    let mut late = snapshot();
    late.reached_at = late.given_at + chrono::TimeDelta::minutes(9);
    late.read_at = late.reached_at;
    let refused = |command: &Command, snapshot: &Snapshot| match decide(command, snapshot) {
        Decision::Refuse(refusal) => refusal.gates.into_iter().find(|gate| gate.reason == Some(Reason::Late)),
        _ => None,
    };
    let way_out = |command: &Command| refused(command, &late).expect("too late").way_out;
    assert!(way_out(&Command::bare(CommandName::Canary)).ends_with("`/titan canary @aaaaaaa`"));
    let of_web = Command { project: Some(web()), ..Command::bare(CommandName::Promote) };
    assert!(way_out(&of_web).ends_with("`/titan promote web @aaaaaaa`"));
    assert!(way_out(&Command::bare(CommandName::Rollback)).ends_with("`/titan rollback`"));
    late.actor.role = Some(Role::Admin);
    for name in [CommandName::Arm, CommandName::Resume, CommandName::Cancel, CommandName::Lock, CommandName::Unlock] {
        assert!(refused(&Command::bare(name), &late).is_some(), "{name}");
    }
    for name in [CommandName::Propose, CommandName::Halt, CommandName::Disarm, CommandName::Status, CommandName::Help] {
        assert!(refused(&Command::bare(name), &late).is_none(), "{name}");
    }
    late.binding = HeadBinding::Other { meant: "bbbbbbb".to_owned() };
    let gate = refused(&Command::bare(CommandName::Canary), &late).expect("too late");
    assert!(gate.observed.contains("meant for `bbbbbbb`, the head is `aaaaaaa` now"), "{}", gate.observed);
    late.reached_at = late.given_at + chrono::TimeDelta::minutes(2);
    assert!(refused(&Command::bare(CommandName::Canary), &late).is_none(), "it came soon enough and Titan took long");
    late.read_at = late.given_at + chrono::TimeDelta::minutes(31);
    assert!(refused(&Command::bare(CommandName::Canary), &late).is_some(), "nobody expects it any more");
}

#[test]
fn a_service_of_another_repository_is_refused_where_it_would_be_changed() {
    let with = |environment, standing| {
        let mut seen = snapshot();
        let names = TargetNames { shown: "srv-x".to_owned(), service: None };
        seen.targets = vec![TargetFact { project: web(), environment, names, standing }];
        [RunKind::Propose, RunKind::Canary, RunKind::Promote, RunKind::Rollback]
            .map(|kind| closed(kind, &seen).contains(&Reason::TargetNotGiven))
    };
    for standing in [Standing::NotGiven, Standing::Elsewhere] {
        assert_eq!(with(Environment::Canary, standing), [false, true, true, false]);
        assert_eq!(with(Environment::Production, standing), [false, false, true, true]);
    }
    assert_eq!(with(Environment::Production, Standing::Ours), [false; 4]);
}
