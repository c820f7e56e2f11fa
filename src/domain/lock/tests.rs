//! Who may have what, who waits and who is next, as tables over literals.

use chrono::{DateTime, TimeDelta};

use super::*;
use crate::domain::ids::RunId;
use crate::domain::snapshot::ActiveRun;

fn fact() -> ProjectFact {
    ProjectFact::new("web".parse().expect("a name"))
}

fn lock(environment: Environment, owner: i64) -> LockFact {
    LockFact {
        environment,
        owner: PrNumber(owner),
        by: "dan".to_owned(),
        reason: String::new(),
        since: DateTime::UNIX_EPOCH,
        held_for: HeldFor::Run,
        expires_at: None,
        ends_soon: false,
    }
}

fn waiting(id: i64, number: i64, kind: RunKind) -> WaitingFact {
    WaitingFact {
        id,
        number: PrNumber(number),
        kind,
        head: "a".repeat(40).parse().expect("a commit"),
        by: "ann".to_owned(),
        run: RunId(uuid::Uuid::nil()),
        since: DateTime::UNIX_EPOCH + TimeDelta::seconds(id),
    }
}

fn next(fact: &ProjectFact) -> Option<i64> {
    next_in_line(fact).map(|waiting| waiting.number.0)
}

#[test]
fn a_promote_needs_both_environments_and_a_rollback_only_production() {
    use Environment::{Canary, Production};
    for (kind, environment, in_the_way) in [
        (RunKind::Propose, Canary, false),
        (RunKind::Canary, Canary, true),
        (RunKind::Canary, Production, false),
        (RunKind::Promote, Canary, true),
        (RunKind::Promote, Production, true),
        (RunKind::Rollback, Canary, false),
        (RunKind::Rollback, Production, true),
        (RunKind::Restore, Canary, true),
    ] {
        let held = ProjectFact { locks: vec![lock(environment, 8)], ..fact() };
        assert_eq!(held_by_another(kind, PrNumber(7), &held).is_some(), in_the_way, "{kind} {environment}");
        assert!(held_by_another(kind, PrNumber(8), &held).is_none(), "one's own lock is never in the way");
    }
}

#[test]
fn who_came_first_is_served_first_and_a_rollback_before_all() {
    use RunKind::{Canary, Rollback};
    let line =
        ProjectFact { queue: vec![waiting(1, 7, Canary), waiting(2, 8, Canary), waiting(3, 9, Rollback)], ..fact() };
    assert_eq!(next(&line), Some(9));
    let at = |kind, number| place(kind, PrNumber(number), &line);
    assert_eq!(at(Rollback, 9), Place { position: 1, behind: None });
    assert_eq!(at(Canary, 7), Place { position: 2, behind: Some(PrNumber(9)) });
    assert_eq!(at(Canary, 8), Place { position: 3, behind: Some(PrNumber(7)) });
    assert_eq!(at(Canary, 10), Place { position: 4, behind: Some(PrNumber(8)) }, "who joins now is last");
    assert_eq!(at(Rollback, 10), Place { position: 2, behind: Some(PrNumber(9)) });
}

#[test]
fn nobody_is_served_while_a_run_changes_the_project_or_the_lock_is_held() {
    let mut line = ProjectFact { queue: vec![waiting(1, 7, RunKind::Canary)], ..fact() };
    assert_eq!(next(&line), Some(7));
    line.active = Some(ActiveRun { id: RunId(uuid::Uuid::nil()), kind: RunKind::Rollback, number: PrNumber(9) });
    assert_eq!(next(&line), None);
    line.active = None;
    line.locks = vec![lock(Environment::Canary, 9)];
    assert_eq!(next(&line), None);
    line.locks = vec![lock(Environment::Canary, 7)];
    assert_eq!(next(&line), Some(7), "its own lock");
}

#[test]
fn who_comes_later_does_not_push_in() {
    let line = ProjectFact { queue: vec![waiting(1, 7, RunKind::Canary)], ..fact() };
    let kept_back = |kind, number| kept_back_by(kind, PrNumber(number), &line).map(|waiting| waiting.number.0);
    assert_eq!(kept_back(RunKind::Canary, 8), Some(7));
    assert_eq!(kept_back(RunKind::Promote, 8), Some(7));
    assert_eq!(kept_back(RunKind::Canary, 7), None, "who waits is not behind itself");
    assert_eq!(kept_back(RunKind::Rollback, 8), None, "a rollback goes first");
}

#[test]
fn who_holds_what_others_wait_for_is_let_past_them() {
    // #7 holds the canary and wants to ship; #8 waits for the canary; somebody locked production by hand.
    let mut line = ProjectFact {
        locks: vec![lock(Environment::Canary, 7), lock(Environment::Production, 9)],
        queue: vec![waiting(1, 8, RunKind::Canary), waiting(2, 7, RunKind::Promote)],
        ..fact()
    };
    assert_eq!(next(&line), None);
    line.locks.pop();
    assert_eq!(next(&line), Some(7), "else #7 would wait for #8, and #8 for #7");
    assert!(kept_back_by(RunKind::Promote, PrNumber(7), &line).is_none());
}

#[test]
fn who_needs_two_environments_is_not_starved_by_those_who_need_one() {
    // #7 needs both and production is held; #8 came later and needs only the canary, which is free.
    let line = ProjectFact {
        locks: vec![lock(Environment::Production, 9)],
        queue: vec![waiting(1, 7, RunKind::Promote), waiting(2, 8, RunKind::Canary)],
        ..fact()
    };
    assert_eq!(next(&line), None);
    assert_eq!(kept_back_by(RunKind::Canary, PrNumber(8), &line).map(|w| w.number.0), Some(7));
}

fn closed(reasons: &[Reason]) -> Vec<GateResult> {
    let gate = |reason: &Reason| GateResult {
        gate: crate::domain::gates::Gate::LockFree,
        reason: Some(*reason),
        observed: String::new(),
        way_out: String::new(),
    };
    reasons.iter().map(gate).collect()
}

#[test]
fn only_a_command_that_nothing_but_others_keeps_back_may_wait() {
    let busy = |number| ProjectFact {
        active: Some(ActiveRun { id: RunId(uuid::Uuid::nil()), kind: RunKind::Canary, number: PrNumber(number) }),
        ..fact()
    };
    let may = |kind, fact: &ProjectFact, reasons: &[Reason]| may_wait(kind, PrNumber(7), fact, &closed(reasons));
    for kind in [RunKind::Canary, RunKind::Promote, RunKind::Rollback] {
        assert!(may(kind, &fact(), &[Reason::LockHeld]), "{kind}");
        assert!(may(kind, &busy(8), &[Reason::LockHeld, Reason::RunActive]), "{kind}");
        assert!(may(kind, &fact(), &[Reason::InLine]), "{kind}");
        assert!(!may(kind, &busy(7), &[Reason::RunActive]), "{kind}: one's own run is no other");
        assert!(!may(kind, &fact(), &[]), "{kind}: it starts");
        for other in Reason::ALL.iter().filter(|r| !matches!(r, Reason::LockHeld | Reason::InLine | Reason::RunActive))
        {
            assert!(!may(kind, &fact(), &[Reason::LockHeld, *other]), "{kind} {other}");
        }
    }
    assert!(!may(RunKind::Propose, &busy(8), &[Reason::RunActive]), "a proposal takes no lock");
}

#[test]
fn a_claim_counts_only_with_the_number_that_stands_there() {
    assert!(fence_holds(4, Some(4)));
    assert!(!fence_holds(4, Some(5)), "overtaken");
    assert!(!fence_holds(4, None), "taken away");
}

#[test]
fn places_are_counted_as_people_do() {
    let words: Vec<String> = [1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111].map(ordinal).to_vec();
    assert_eq!(words, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "101st", "111th"]);
}
