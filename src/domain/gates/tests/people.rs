//! The gates about people and about what others report: teams, approvals by content, forks, checks.

use super::*;
use crate::domain::policy::{CheckSource, Grant, NamedCheck, RequiredChecks, TeamName, default_role};
use crate::domain::snapshot::{CheckStanding, ReportedCheck, RequiredCheck, TrustFact};

fn policy(snapshot: &mut Snapshot) -> &mut Policy {
    match &mut snapshot.policy {
        PolicyFact::Valid { policy, .. } => policy,
        other => panic!("no policy: {other:?}"),
    }
}

/// Every role, every command: who may, by the fixed table of roles and nothing else.
#[test]
fn a_command_is_for_those_whose_role_is_enough() {
    let roles = [
        None,
        Some(Role::None),
        Some(Role::Read),
        Some(Role::Triage),
        Some(Role::Write),
        Some(Role::Maintain),
        Some(Role::Admin),
    ];
    for name in CommandName::ALL {
        for role in roles {
            let mut snapshot = snapshot();
            snapshot.actor = ActorFact::with_role("mona", role);
            snapshot.change.from_fork = name == CommandName::Trust;
            let command = Command { commit: "aaaaaaa".parse().ok(), ..Command::bare(name) };
            let decision = decide(&command, &snapshot);
            let may = role.is_some_and(|role| role >= default_role(name));
            match (&decision, name) {
                // They only answer, and say themselves what this person may do.
                (Decision::Answer(_), CommandName::Status | CommandName::Help) => {}
                (Decision::Start(_) | Decision::Control(_), _) => assert!(may, "{name} by {role:?}"),
                (Decision::Refuse(refusal), _) => {
                    assert!(!may, "{name} by {role:?}: {refusal:?}");
                    let reasons: Vec<_> = refusal.gates.iter().filter_map(|gate| gate.reason).collect();
                    let expected = if role.is_none() { Reason::PermissionUnknown } else { Reason::PermissionDenied };
                    assert_eq!(reasons, [expected], "{name} by {role:?}");
                }
                other => panic!("{name} by {role:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn names_in_the_policy_narrow_a_role_and_never_make_up_for_it() {
    let sre: TeamName = "acme/sre".parse().expect("a team");
    let ops: TeamName = "acme/ops".parse().expect("a team");
    let grant = Grant { role: Role::Write, teams: vec![sre.clone(), ops.clone()], users: vec!["Alice".to_owned()] };
    let judged = |login: &str, role, teams: &[(&TeamName, Option<bool>)]| {
        let teams = teams.iter().map(|(team, is)| ((*team).clone(), *is)).collect();
        permission_for(&ActorFact { teams, ..ActorFact::with_role(login, Some(role)) }, &grant).reason
    };
    let neither = [(&sre, Some(false)), (&ops, Some(false))];
    assert_eq!(judged("alice", Role::Write, &neither), None);
    assert_eq!(judged("alice", Role::Read, &neither), Some(Reason::PermissionDenied));
    assert_eq!(judged("bob", Role::Write, &[(&sre, Some(false)), (&ops, Some(true))]), None);
    assert_eq!(judged("bob", Role::Triage, &[(&sre, Some(true)), (&ops, Some(true))]), Some(Reason::PermissionDenied));
    assert_eq!(judged("bob", Role::Admin, &neither), Some(Reason::NotNamed), "an admin can change the policy instead");
    assert_eq!(judged("bob", Role::Write, &[(&sre, Some(true)), (&ops, None)]), None, "one is enough");
    assert_eq!(judged("bob", Role::Write, &[(&sre, Some(false)), (&ops, None)]), Some(Reason::TeamUnknown));
    assert_eq!(judged("bob", Role::Write, &[]), Some(Reason::TeamUnknown), "not asked is not known");
}

#[test]
fn an_approval_is_for_a_content_and_a_policy() {
    type Change = fn(&mut Snapshot);
    let kept: &[(&str, Change)] = &[
        ("as it is", |_| ()),
        ("the commit was only reworded", |s| {
            s.reviews.trees.push((sha('e'), sha('1')));
            s.reviews.approvals[0].commit = Some(sha('e'));
        }),
        ("given long after", |s| s.reviews.approvals[0].at = DateTime::from_timestamp(1_000, 0)),
        ("in the second in which it was published", |s| {
            s.runs[1].completed_at = DateTime::from_timestamp(50, 900_000_000);
            s.reviews.approvals[0].at = DateTime::from_timestamp(50, 0);
        }),
        ("somebody else's does not count but is no harm", |s| s.reviews.approvals.push(approval("carol", 'a'))),
    ];
    for (what, change) in kept {
        let mut snapshot = snapshot();
        change(&mut snapshot);
        assert_eq!(closed(RunKind::Promote, &snapshot), [], "{what}");
    }
    let lost: &[(&str, Change, &str)] = &[
        ("other content", |s| s.reviews.approvals[0].commit = Some(sha('d')), "approved other content"),
        ("the approved commit is gone", |s| s.reviews.approvals[0].commit = Some(sha('f')), "approved other content"),
        ("the head's content is unknown", |s| s.reviews.trees.clear(), "approved other content"),
        ("no time", |s| s.reviews.approvals[0].at = None, "before this content was proposed"),
        ("too early", |s| s.runs[1].completed_at = DateTime::from_timestamp(5, 0), "before this content was proposed"),
        ("pushed by the approver", |s| s.reviews.hands.push(approval("BOB", 'a').by), "had a hand in the code"),
        (
            "pushed under another name",
            |s| {
                s.reviews.approvals[0].by.id = Some(9);
                s.reviews.hands.push(Person { login: "bobby".to_owned(), id: Some(9) });
            },
            "had a hand in the code",
        ),
    ];
    for (what, change, told) in lost {
        let mut snapshot = snapshot();
        change(&mut snapshot);
        let judged = judge(RunKind::Promote, None, &snapshot);
        let gate = judged.iter().find(|gate| gate.gate == Gate::Approvals).expect("the gate");
        assert_eq!(gate.reason, Some(Reason::ApprovalsMissing), "{what}");
        assert!(gate.observed.contains(told), "{what}: {}", gate.observed);
    }
    let mut changed = snapshot();
    policy(&mut changed).hash = "f".repeat(64);
    let judged = judge(RunKind::Promote, None, &changed);
    let gate = judged.iter().find(|gate| gate.gate == Gate::Approvals).expect("the gate");
    assert!(gate.observed.contains("under this policy") && gate.way_out.contains("/titan propose"), "{gate:?}");
}

#[test]
fn without_approvals_in_the_policy_reviews_are_githubs_business() {
    let mut snapshot = snapshot();
    policy(&mut snapshot).approvals = 0;
    snapshot.reviews.objections.push("eve".to_owned());
    assert_eq!(closed(RunKind::Promote, &snapshot), []);
}

#[test]
fn a_fork_is_trusted_commit_by_commit() {
    let mut fork = snapshot();
    fork.change.from_fork = true;
    let trust = |commit: Option<&str>| Command {
        commit: commit.map(|commit| commit.parse().expect("a commit")),
        ..Command::bare(CommandName::Trust)
    };
    let whole = "a".repeat(40);
    assert_eq!(decide(&trust(Some(&whole)), &fork), Decision::Control(Control::Trust { head: sha('a') }));
    let refused = |command: &Command, snapshot: &Snapshot| match decide(command, snapshot) {
        Decision::Refuse(refusal) => refusal.gates.into_iter().find(|gate| !gate.passed()).expect("a closed gate"),
        other => panic!("{other:?}"),
    };
    let without = refused(&trust(None), &fork);
    assert_eq!(without.reason, Some(Reason::CommitNeeded));
    assert!(without.way_out.contains(&format!("`/titan trust @{whole}`")), "{}", without.way_out);
    let mut moved = fork.clone();
    moved.binding = HeadBinding::Other { meant: "bbbbbbb".to_owned() };
    assert_eq!(refused(&trust(Some("bbbbbbb")), &moved).reason, Some(Reason::HeadMoved));
    assert_eq!(refused(&trust(Some("aaaaaaa")), &snapshot()).reason, Some(Reason::NotAFork));

    fork.change.trusted = Some(TrustFact { by: "bob".to_owned(), at: DateTime::UNIX_EPOCH });
    for kind in RunKind::ALL {
        assert_eq!(closed(kind, &fork), [], "{kind}");
    }
    let judged = judge(RunKind::Canary, None, &fork);
    let gate = judged.iter().find(|gate| gate.gate == Gate::NotForkOrTrusted).expect("the gate");
    assert!(gate.observed.contains("`bob` trusts `aaaaaaa` since 1970-01-01"), "{}", gate.observed);
}

fn reported(name: &str, app: Option<i64>, state: CheckStanding) -> ReportedCheck {
    ReportedCheck { name: name.to_owned(), app, state }
}

#[test]
fn required_checks_are_those_of_the_base_and_those_of_the_policy() {
    let green = || CheckStanding::Green("success".to_owned());
    let red = || CheckStanding::Red("stale".to_owned());
    let running = || CheckStanding::Running("queued".to_owned());
    let from = |name: &str, from| NamedCheck { name: name.to_owned(), from };
    let named =
        |names: &[&str]| RequiredChecks::Named(names.iter().map(|name| from(name, CheckSource::CheckRun)).collect());
    let base = |name: &str, app| RequiredCheck { name: name.to_owned(), app };
    let reasons = |wanted: RequiredChecks, required: Vec<RequiredCheck>, reports: Vec<ReportedCheck>| {
        let mut snapshot = snapshot();
        policy(&mut snapshot).required_checks = wanted;
        snapshot.checks = ChecksFact::Read { required, reported: reports };
        (closed(RunKind::Canary, &snapshot), closed(RunKind::Promote, &snapshot))
    };
    use RequiredChecks::{All, Base};
    let ci = |state| vec![reported("ci", Some(1), state)];
    let (missing, failed, waits) = (Reason::ChecksMissing, Reason::ChecksFailed, Reason::ChecksRunning);
    // GitHub's own rules are asked of a promote only.
    assert_eq!(reasons(Base, vec![base("ci", None)], vec![]), (vec![], vec![missing]));
    assert_eq!(reasons(Base, vec![base("ci", None)], ci(green())), (vec![], vec![]));
    assert_eq!(reasons(Base, vec![base("ci", None)], ci(running())), (vec![], vec![waits]));
    assert_eq!(reasons(Base, vec![base("ci", None)], ci(red())), (vec![], vec![failed]));
    assert_eq!(reasons(Base, vec![], ci(red())), (vec![], vec![]), "nobody requires it");
    assert_eq!(reasons(Base, vec![base("titan/canary", None)], vec![]), (vec![], vec![]), "Titan's own");
    // A rule that names an App takes no other's word, and no mere status either.
    let forged = vec![reported("ci", None, green()), reported("ci", Some(2), green())];
    assert_eq!(reasons(Base, vec![base("ci", Some(1))], forged), (vec![], vec![missing]));
    // Of several of one name each must be green.
    let two = vec![reported("ci", Some(1), green()), reported("ci", None, red())];
    assert_eq!(reasons(named(&["ci"]), vec![], two), (vec![failed], vec![failed]));
    assert_eq!(reasons(named(&["ci", "lint"]), vec![], ci(green())), (vec![missing], vec![missing]));
    assert_eq!(reasons(named(&["CI"]), vec![], ci(green())), (vec![missing], vec![missing]), "names as they are");
    // Anybody who may push can set a commit status, so a good one counts only where the policy says so.
    let status = |state| vec![reported("ci", None, state)];
    assert_eq!(reasons(named(&["ci"]), vec![], status(green())), (vec![missing], vec![missing]));
    assert_eq!(reasons(named(&["ci"]), vec![], status(red())), (vec![failed], vec![failed]));
    let any = || RequiredChecks::Named(vec![from("ci", CheckSource::Any)]);
    assert_eq!(reasons(any(), vec![], status(green())), (vec![], vec![]));
    let of_one = || RequiredChecks::Named(vec![from("ci", CheckSource::App(1))]);
    assert_eq!(reasons(of_one(), vec![], ci(green())), (vec![], vec![]));
    let other = vec![reported("ci", Some(2), green())];
    assert_eq!(reasons(of_one(), vec![], other), (vec![missing], vec![missing]));
    // `all` is asked of a promote, and something must have been reported.
    assert_eq!(reasons(All, vec![], vec![]), (vec![], vec![missing]));
    assert_eq!(reasons(All, vec![], ci(green())), (vec![], vec![]));
    let mixed = vec![reported("ci", Some(1), green()), reported("e2e", Some(1), running())];
    assert_eq!(reasons(All, vec![], mixed), (vec![], vec![waits]));
}

#[test]
fn every_check_that_is_not_green_is_named() {
    let mut snapshot = snapshot();
    let red = |name: &str| reported(name, Some(1), CheckStanding::Red("cancelled".to_owned()));
    let names: Vec<String> = (0..12).map(|n| format!("job `{n}` | x")).collect();
    let named = |name: &String| NamedCheck { name: name.clone(), from: CheckSource::CheckRun };
    policy(&mut snapshot).required_checks = RequiredChecks::Named(names.iter().map(named).collect());
    snapshot.checks =
        ChecksFact::Read { required: Vec::new(), reported: names.iter().take(2).map(|name| red(name)).collect() };
    let judged = judge(RunKind::Promote, None, &snapshot);
    let gate = judged.iter().find(|gate| gate.gate == Gate::RequiredChecks).expect("the gate");
    assert_eq!(gate.reason, Some(Reason::ChecksFailed));
    assert!(gate.observed.contains("ended as `cancelled`") && gate.observed.contains("has not reported"), "{gate:?}");
    assert!(gate.observed.ends_with("and 4 more"), "{gate:?}");
}

#[test]
fn somebody_who_was_renamed_is_told_by_both_names_and_somebody_else_gets_nothing() {
    let grant = Grant { role: Role::Write, teams: Vec::new(), users: vec!["robert".to_owned()] };
    let asked_as = Some("rob".to_owned());
    let renamed = ActorFact { asked_as, ..ActorFact::with_role("robert", Some(Role::Write)) };
    let judged = permission_for(&renamed, &grant);
    assert!(judged.passed() && judged.observed.starts_with("`robert` (`rob` when asking) has `write`"), "{judged:?}");
    let other = ActorFact { is_other: true, ..ActorFact::with_role("rob", Some(Role::Admin)) };
    assert_eq!(permission_for(&other, &grant).reason, Some(Reason::PermissionUnknown));
}
