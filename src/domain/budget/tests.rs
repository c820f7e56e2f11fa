//! The budget's rules: a table for each, and what must hold for any order of calls.

use proptest::prelude::*;

use super::*;

const MANNERS: Manners = Manners::GITHUB;
const HOUR: i64 = 3_600_000;

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_800_000_000_000 + ms).expect("a time")
}

fn ask(lane: Lane, write: bool) -> Ask {
    Ask { lane, write }
}

fn rate(remaining: i64, reset_ms: i64) -> Rate {
    Rate { limit: 5000, remaining, reset_at: at(reset_ms) }
}

fn judged(budget: &Budget, lane: Lane, write: bool, now_ms: i64) -> Verdict {
    judge(budget, ask(lane, write), MANNERS, at(now_ms))
}

fn limited(lane: Lane, until: Option<i64>) -> Seen {
    Seen { lane, rate: None, limited: Some(Limited { until: until.map(at), used_up: false }) }
}

fn fine(lane: Lane) -> Seen {
    Seen { lane, rate: None, limited: None }
}

#[test]
fn a_fresh_budget_lets_everything_through() {
    for lane in Lane::ALL {
        for write in [false, true] {
            assert_eq!(judged(&Budget::default(), lane, write, 0), Verdict::Now);
        }
    }
}

#[test]
fn writes_are_a_second_apart_and_reads_are_not() {
    let budget = Budget::default().written(Lane::Update, at(0));
    for lane in Lane::ALL {
        assert_eq!(judged(&budget, lane, true, 0), Verdict::Wait(at(1000)), "{lane:?}");
        assert_eq!(judged(&budget, lane, true, 999), Verdict::Wait(at(1000)), "{lane:?}");
        assert_eq!(judged(&budget, lane, true, 1000), Verdict::Now, "{lane:?}");
        assert_eq!(judged(&budget, lane, false, 0), Verdict::Now, "{lane:?}");
    }
    let set_back = Budget::default().written(Lane::Update, at(HOUR));
    assert_eq!(judged(&set_back, Lane::Effect, true, 0), Verdict::Wait(at(1000)), "a clock that was set back");
}

#[test]
fn an_effect_that_waits_is_next() {
    let budget = Budget::default().written(Lane::Update, at(0)).waited_for(Lane::Effect, MANNERS, at(100));
    assert_eq!(judged(&budget, Lane::Update, true, 1000), Verdict::Wait(at(2100)));
    assert_eq!(judged(&budget, Lane::Effect, true, 1000), Verdict::Now);
    let after = budget.written(Lane::Effect, at(1000));
    assert_eq!(judged(&after, Lane::Update, true, 2000), Verdict::Now, "its turn is over");
    assert_eq!(judged(&budget, Lane::Update, true, 2100), Verdict::Now, "one that died holds nobody up");
}

#[test]
fn a_limit_holds_for_its_lane_and_those_below() {
    let closed = |struck: Lane| {
        let budget = Budget::default().observe(limited(struck, Some(5000)), MANNERS, at(0));
        Lane::ALL.map(|lane| judged(&budget, lane, false, 0) != Verdict::Now)
    };
    assert_eq!(closed(Lane::Decision), [true, true, true]);
    assert_eq!(closed(Lane::Effect), [false, true, true]);
    assert_eq!(closed(Lane::Update), [false, false, true]);
    let budget = Budget::default().observe(limited(Lane::Decision, Some(5000)), MANNERS, at(0));
    assert_eq!(judged(&budget, Lane::Decision, false, 4999), Verdict::Wait(at(5000)));
    assert_eq!(judged(&budget, Lane::Update, true, 4999), Verdict::Merge(at(5000)));
    assert_eq!(judged(&budget, Lane::Update, true, 5000), Verdict::Now);
}

#[test]
fn a_limit_without_a_time_is_a_minute_and_doubles() {
    let (mut budget, mut now) = (Budget::default(), 0);
    for minutes in [1, 2, 4, 8, 16, 32, 32] {
        budget = budget.observe(limited(Lane::Update, None), MANNERS, at(now));
        // Calls that were on their way are answered the same; they are one limit, not several.
        budget = budget.observe(limited(Lane::Update, None), MANNERS, at(now + 10));
        budget = budget.observe(fine(Lane::Update), MANNERS, at(now + 20));
        let end = now + minutes * 60_000;
        assert_eq!(judged(&budget, Lane::Update, true, now + 30), Verdict::Merge(at(end)), "{minutes} minutes");
        now = end;
    }
    budget = budget.observe(fine(Lane::Decision), MANNERS, at(now));
    assert_eq!(budget.lanes[2].strikes, 7, "a read that goes through says nothing about writes");
    budget = budget.observe(fine(Lane::Update), MANNERS, at(now));
    budget = budget.observe(limited(Lane::Update, None), MANNERS, at(now));
    assert_eq!(judged(&budget, Lane::Update, true, now), Verdict::Merge(at(now + 60_000)), "it begins anew");
}

#[test]
fn a_longer_pause_is_not_made_shorter_and_none_is_endless() {
    let budget = Budget::default().observe(limited(Lane::Effect, Some(9000)), MANNERS, at(0));
    let budget = budget.observe(limited(Lane::Effect, Some(2000)), MANNERS, at(0));
    assert_eq!(judged(&budget, Lane::Effect, true, 0), Verdict::Wait(at(9000)));
    let budget = Budget::default().observe(limited(Lane::Effect, Some(400 * HOUR)), MANNERS, at(0));
    assert_eq!(judged(&budget, Lane::Effect, true, 0), Verdict::Wait(at(24 * HOUR)));
}

#[test]
fn when_the_hours_calls_are_used_up_everything_waits_for_the_reset() {
    let used_up = Seen {
        lane: Lane::Update,
        rate: Some(rate(0, 90_000)),
        limited: Some(Limited { until: Some(at(90_000)), used_up: true }),
    };
    let budget = Budget::default().observe(used_up, MANNERS, at(0));
    for lane in [Lane::Decision, Lane::Effect] {
        assert_eq!(judged(&budget, lane, false, 89_999), Verdict::Wait(at(90_000)), "{lane:?}");
    }
    assert_eq!(judged(&budget, Lane::Update, false, 0), Verdict::Merge(at(90_000)));
    for lane in Lane::ALL {
        assert_eq!(judged(&budget, lane, true, 90_000), Verdict::Now, "{lane:?}");
    }
    let last = Seen { lane: Lane::Decision, rate: Some(rate(0, 90_000)), limited: None };
    let budget = Budget::default().observe(last, MANNERS, at(0));
    assert_eq!(judged(&budget, Lane::Decision, false, 0), Verdict::Wait(at(90_000)), "the last call went through");
}

#[test]
fn few_calls_are_kept_for_decisions() {
    let with = |remaining: i64, updated: Option<i64>| Budget {
        rate: Some(rate(remaining, HOUR)),
        updated_at: updated.map(at),
        ..Budget::default()
    };
    for (remaining, updated, expected) in [
        (5000, Some(0), Verdict::Now),
        (1001, Some(0), Verdict::Now),
        (1000, None, Verdict::Now),
        // 750 calls until the last 250, every other one for an update: one in 9.6 s.
        (1000, Some(0), Verdict::Merge(at(0) + (TimeDelta::milliseconds(HOUR - 2000) / 375))),
        (1000, Some(-20_000), Verdict::Now),
        (252, Some(-20_000), Verdict::Merge(at(HOUR - 22_000))),
        (251, Some(0), Verdict::Merge(at(HOUR))),
        (1, None, Verdict::Merge(at(HOUR))),
    ] {
        let seen = judged(&with(remaining, updated), Lane::Update, true, 2000);
        assert_eq!(seen, expected, "{remaining} left, updated {updated:?}");
        for lane in [Lane::Decision, Lane::Effect] {
            assert_eq!(judged(&with(remaining, updated), lane, true, 2000), Verdict::Now, "{lane:?}");
        }
        assert_eq!(judged(&with(remaining, updated), Lane::Update, true, HOUR), Verdict::Now, "a new hour");
    }
}

#[test]
fn the_newest_hour_counts_and_within_it_the_fewest_calls() {
    let merged = |known: Option<Rate>, seen: Rate| newer_rate(known, seen, at(0));
    assert_eq!(merged(None, rate(7, HOUR)), Some(rate(7, HOUR)));
    assert_eq!(merged(Some(rate(5, HOUR)), rate(7, HOUR)), Some(rate(5, HOUR)), "an older answer came later");
    assert_eq!(merged(Some(rate(5, 1000)), rate(4999, HOUR)), Some(rate(4999, HOUR)), "the next hour");
    assert_eq!(merged(Some(rate(5, HOUR)), rate(9, -1)), Some(rate(5, HOUR)), "an hour that has ended");
    assert_eq!(merged(Some(rate(5, -1)), rate(9, -1)), None);
    assert_eq!(merged(None, rate(0, 50 * HOUR)), Some(rate(0, 61 * 60_000)), "clocks that differ");
}

fn lanes() -> impl Strategy<Value = Lane> {
    prop_oneof![Just(Lane::Decision), Just(Lane::Effect), Just(Lane::Update)]
}

/// After so many milliseconds a call is asked for; when it is made it is answered with a limit, and with calls left.
type Happening = (i64, Lane, bool, Option<Option<i64>>, Option<i64>);

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let limit = prop::option::weighted(0.1, prop::option::of(0..5000_i64));
    prop::collection::vec((0..700_i64, lanes(), any::<bool>(), limit, prop::option::of(0..5000_i64)), 1..80)
}

proptest! {
    #[test]
    fn manners_are_kept_whatever_happens(happenings in happenings()) {
        let (mut budget, mut now) = (Budget::default(), 0_i64);
        let mut last_write: Option<i64> = None;
        let mut closed: [i64; 3] = [0; 3];
        for (pause, lane, write, limit, remaining) in happenings {
            now += pause;
            let verdict = judged(&budget, lane, write, now);
            match verdict {
                Verdict::Wait(until) | Verdict::Merge(until) => {
                    prop_assert!(until > at(now), "a time in the past is no reason to wait");
                    if let Verdict::Merge(_) = verdict {
                        prop_assert_eq!(lane, Lane::Update);
                    }
                    if write {
                        budget = budget.waited_for(lane, MANNERS, at(now));
                    }
                    continue;
                }
                Verdict::Now => {}
            }
            let above = closed.iter().zip(Lane::ALL).filter(|(_, known)| *known <= lane).map(|(until, _)| *until);
            prop_assert!(above.max().unwrap_or_default() <= now, "called although GitHub said to wait");
            if write {
                prop_assert!(last_write.is_none_or(|last| now - last >= 1000), "two writes within a second");
                last_write = Some(now);
                budget = budget.written(lane, at(now));
            }
            let until = limit.map(|after| after.map(|after| at(now + after)));
            if let Some(Some(after)) = limit {
                let index = lane as usize;
                closed[index] = closed[index].max(now + after);
            }
            let seen = Seen {
                lane,
                rate: remaining.map(|remaining| rate(remaining, HOUR)),
                limited: until.map(|until| Limited { until, used_up: false }),
            };
            budget = budget.observe(seen, MANNERS, at(now));
        }
    }

    #[test]
    fn updates_delay_neither_decisions_nor_effects(happenings in happenings(), write in any::<bool>()) {
        let mut budget = Budget::default();
        let mut now = 0;
        for (pause, _, written, limit, _) in happenings {
            now += pause;
            if written {
                budget = budget.written(Lane::Update, at(now));
            }
            let limited = limit.map(|after| Limited { until: after.map(|after| at(now + after)), used_up: false });
            let seen = Seen { lane: Lane::Update, rate: Some(rate(1, HOUR)), limited };
            budget = budget.observe(seen, MANNERS, at(now));
            prop_assert_eq!(judged(&budget, Lane::Decision, false, now), Verdict::Now);
            prop_assert_eq!(judged(&budget, Lane::Effect, false, now), Verdict::Now);
            match judged(&budget, Lane::Effect, write, now) {
                Verdict::Now => {}
                Verdict::Wait(until) => prop_assert!(until <= at(now + 1000), "no longer than until the next turn"),
                Verdict::Merge(_) => prop_assert!(false, "an effect is never merged"),
            }
        }
    }
}
