//! What was missed: which deliveries are asked for again, and which commands come too late to be carried out. Pure.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::command::CommandName;

/// A command that reaches Titan later than this after it was given is offered again instead of being carried out.
pub const LATE: TimeDelta = TimeDelta::minutes(2);
/// One that reached Titan in time is carried out although GitHub, the database or Titan itself was away meanwhile, but
/// not later than this after it was given.
pub const STALE: TimeDelta = TimeDelta::minutes(30);
/// How long GitHub keeps its log of deliveries, and delivers again: three days at github.com, seven at an Enterprise Server
/// (<https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks>).
pub fn log_window(at_github_com: bool) -> TimeDelta {
    if at_github_com { TimeDelta::days(3) } else { TimeDelta::days(7) }
}
/// So many deliveries are asked for again in one round.
pub const ASK_AT_ONCE: usize = 30;
/// So often one delivery is asked for again.
pub const ASK_TIMES: u32 = 6;

/// One attempt to deliver an event that Titan would act on, as GitHub's log shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Of the attempt.
    pub id: i64,
    /// Of the delivery: the same for each of its attempts.
    pub guid: String,
    /// When the attempt was made.
    pub delivered_at: DateTime<Utc>,
}

/// How GitHub is asked for deliveries again.
#[derive(Debug, Clone, Copy)]
pub struct Asking {
    /// Attempts that are older are forgotten there, see [`log_window`].
    pub window: TimeDelta,
    /// Between the first and the second time of asking for a delivery; four times as long before each later one.
    pub distance: TimeDelta,
}

/// How often a delivery was asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The last time.
    pub at: DateTime<Utc>,
    /// How often; at least once.
    pub times: u32,
}

/// The attempts by whose ids GitHub is to be asked for deliveries again, those of the oldest deliveries first.
///
/// `log` may hold several attempts of one delivery, in any order; `held` are the deliveries that arrived. A delivery that
/// was asked for is asked for again only after a distance, then after four times as long each time, and not for ever.
pub fn which_to_ask_again(
    log: &[Attempt],
    held: &HashSet<String>,
    asked: &HashMap<String, Asked>,
    now: DateTime<Utc>,
    asking: Asking,
) -> Vec<Attempt> {
    let mut missing: HashMap<&str, (&Attempt, DateTime<Utc>)> = HashMap::new();
    for attempt in log.iter().filter(|attempt| !held.contains(&attempt.guid)) {
        let (newest, first) = missing.entry(&attempt.guid).or_insert((attempt, attempt.delivered_at));
        *first = attempt.delivered_at.min(*first);
        if attempt.id > newest.id {
            *newest = attempt;
        }
    }
    let mut wanted: Vec<(&Attempt, DateTime<Utc>)> = missing
        .into_values()
        .filter(|(newest, _)| now - newest.delivered_at < asking.window)
        .filter(|(newest, _)| asked.get(&newest.guid).is_none_or(|asked| may_ask(*asked, now, asking.distance)))
        .collect();
    wanted.sort_by_key(|(newest, first)| (*first, newest.id));
    wanted.into_iter().take(ASK_AT_ONCE).map(|(newest, _)| newest.clone()).collect()
}

fn may_ask(asked: Asked, now: DateTime<Utc>, distance: TimeDelta) -> bool {
    asked.times < ASK_TIMES && now - asked.at >= distance * 4_i32.pow(asked.times.saturating_sub(1))
}

/// Whether a command that was given at `given_at` and reached Titan at `reached_at` comes too late to be carried out now.
///
/// `propose` changes nothing outside, `status` and `help` only answer, and what stops deployments is right whenever it
/// comes; everything else must not surprise anybody long after it was asked for.
pub fn is_late(command: CommandName, given_at: DateTime<Utc>, reached_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    match command {
        CommandName::Propose | CommandName::Status | CommandName::Help | CommandName::Halt | CommandName::Disarm => {
            false
        }
        CommandName::Canary
        | CommandName::Promote
        | CommandName::Rollback
        | CommandName::Lock
        | CommandName::Unlock
        | CommandName::Cancel
        | CommandName::Trust
        | CommandName::Arm
        | CommandName::Resume => reached_at - given_at > LATE || now - given_at > STALE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minutes * 60, 0).expect("a time")
    }

    fn attempt(id: i64, guid: &str, minutes: i64) -> Attempt {
        Attempt { id, guid: guid.to_owned(), delivered_at: at(minutes) }
    }

    fn ids(log: &[Attempt], held: &[&str], asked: &[(&str, i64, u32)], now: i64) -> Vec<i64> {
        let held = held.iter().map(|guid| (*guid).to_owned()).collect();
        let asked = asked
            .iter()
            .map(|(guid, minutes, times)| ((*guid).to_owned(), Asked { at: at(*minutes), times: *times }))
            .collect();
        let asking = Asking { window: log_window(true), distance: TimeDelta::minutes(1) };
        which_to_ask_again(log, &held, &asked, at(now), asking).iter().map(|attempt| attempt.id).collect()
    }

    #[test]
    fn what_did_not_arrive_is_asked_for_by_its_newest_attempt_and_oldest_first() {
        let log = [attempt(9, "b", 9), attempt(7, "a", 7), attempt(5, "c", 5), attempt(3, "b", 3), attempt(1, "d", 1)];
        assert_eq!(ids(&log, &[], &[], 10), [1, 9, 5, 7]);
        assert_eq!(ids(&log, &["a", "b", "c", "d"], &[], 10), Vec::<i64>::new(), "what is held is never asked for");
        assert_eq!(ids(&log, &["b", "d"], &[], 10), [5, 7]);
        assert_eq!(ids(&[], &["b"], &[], 10), Vec::<i64>::new());
    }

    #[test]
    fn asking_again_takes_ever_longer_and_ends() {
        let log = [attempt(1, "a", 0)];
        for (times, minutes) in [(1, 1), (2, 4), (3, 16), (4, 64), (5, 256)] {
            assert_eq!(ids(&log, &[], &[("a", 1, times)], minutes), Vec::<i64>::new(), "{times} times, too early");
            assert_eq!(ids(&log, &[], &[("a", 1, times)], minutes + 1), [1], "{times} times, late enough");
        }
        assert_eq!(ids(&log, &[], &[("a", 1, ASK_TIMES)], 4000), Vec::<i64>::new(), "not for ever");
    }

    #[test]
    fn what_github_has_forgotten_is_not_asked_for() {
        let days = |n: i64| n * 24 * 60;
        assert_eq!(ids(&[attempt(1, "a", 0)], &[], &[], days(3)), Vec::<i64>::new());
        assert_eq!(ids(&[attempt(1, "a", 0)], &[], &[], days(3) - 1), [1]);
        assert_eq!(ids(&[attempt(1, "a", 0), attempt(2, "a", 60)], &[], &[], days(3)), [2], "a later attempt counts");
    }

    #[test]
    fn one_round_asks_for_so_many_and_leaves_the_newer_ones() {
        let log: Vec<Attempt> = (0..100).rev().map(|n| attempt(n, &n.to_string(), n)).collect();
        assert_eq!(ids(&log, &[], &[], 200), (0..ASK_AT_ONCE as i64).collect::<Vec<_>>());
    }

    #[test]
    fn only_what_could_surprise_somebody_is_ever_too_late() {
        let late = |reached, now| -> Vec<&str> {
            let is_late = |name: &CommandName| is_late(*name, at(0), at(reached), at(now));
            CommandName::ALL.iter().copied().filter(is_late).map(CommandName::as_str).collect()
        };
        let surprising = ["canary", "promote", "rollback", "trust", "lock", "unlock", "cancel", "arm", "resume"];
        assert_eq!(late(2, 2), Vec::<&str>::new());
        assert_eq!(late(3, 3), surprising);
        assert_eq!(late(2, 30), Vec::<&str>::new(), "it came in time and could not be decided sooner");
        assert_eq!(late(2, 31), surprising);
        assert!(!is_late(CommandName::Canary, at(5), at(0), at(0)), "clocks differ");
    }
}
