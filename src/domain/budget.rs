//! Which calls to GitHub may be made now: one budget for each installation, and the manners that GitHub asks for. Pure.
//!
//! Three lanes share a budget. What a decision needs comes first, then what a decision causes, then what only shows
//! people how things stand. A lane never waits for one below it; when calls become few, updates are merged and delayed.
//! The rules are GitHub's "Rate limits for the REST API" and "Best practices for using the REST API" (2022-11-28).

use chrono::{DateTime, TimeDelta, Utc};

#[cfg(test)]
mod tests;

/// Updates are held back when no more than one call in this many is left.
const RESERVE: i64 = 5;
/// The last calls, one in this many, are for decisions and what they cause.
const LAST: i64 = 20;
/// Of the calls between the two, updates take one in this many.
const SHARE: i64 = 2;
/// A pause without a time of GitHub's doubles at most so often.
const DOUBLINGS: u32 = 5;
/// An hour is GitHub's window; a reset that seems farther away means that the clocks differ.
const WINDOW: TimeDelta = TimeDelta::minutes(61);
/// No pause is longer, whatever a header says.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(24);
/// Resets of one window may differ by so much, because GitHub rounds.
const SAME_WINDOW: TimeDelta = TimeDelta::seconds(60);

/// How calls are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manners {
    /// Between two calls that change something.
    pub spacing: TimeDelta,
    /// After a limit for which GitHub names no time; doubles from one to the next.
    pub backoff: TimeDelta,
}

impl Manners {
    /// What GitHub asks for: a second between writes, at least a minute after a secondary limit.
    pub const GITHUB: Self = Self { spacing: TimeDelta::seconds(1), backoff: TimeDelta::minutes(1) };
}

/// How urgent a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Facts for a decision.
    Decision,
    /// What a decision causes: merging, branches, pull requests.
    Effect,
    /// What people see: comments, reactions, check runs, deployments.
    Update,
}

impl Lane {
    /// Every lane, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Decision, Self::Effect, Self::Update];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Effect => "effect",
            Self::Update => "update",
        }
    }
}

/// A call that is about to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// How urgent it is.
    pub lane: Lane,
    /// Whether it changes something at GitHub.
    pub write: bool,
}

/// The hour's calls, as GitHub's headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Calls in an hour; 0 when it is not known.
    pub limit: i64,
    /// Calls that are left.
    pub remaining: i64,
    /// When the hour ends.
    pub reset_at: DateTime<Utc>,
}

/// That GitHub did not take a call because there were too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// Not before this time; `None` when GitHub named none.
    pub until: Option<DateTime<Utc>>,
    /// Whether the hour's calls are used up, which holds for every lane.
    pub used_up: bool,
}

impl Limited {
    /// When the call may be made again, for somebody who keeps no budget.
    pub fn retry_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let at = self.until.unwrap_or(now + Manners::GITHUB.backoff);
        at.clamp(now + TimeDelta::seconds(1), now + LONGEST_PAUSE)
    }
}

/// What an answer said about the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Of the call.
    pub lane: Lane,
    /// From the headers.
    pub rate: Option<Rate>,
    /// When the call was not taken.
    pub limited: Option<Limited>,
}

/// What is known of a lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneState {
    /// No call before this time, here and in the lanes below.
    pub until: Option<DateTime<Utc>>,
    /// How often in a row GitHub set a limit without a time.
    pub strikes: u32,
}

/// What is known of an installation's budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// The newest that GitHub said.
    pub rate: Option<Rate>,
    /// By [`Lane::ALL`].
    pub lanes: [LaneState; 3],
    /// When something was last changed.
    pub written_at: Option<DateTime<Utc>>,
    /// When an update was last written.
    pub updated_at: Option<DateTime<Utc>>,
    /// Until then an effect has the next turn.
    pub effect_waits_until: Option<DateTime<Utc>>,
}

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Now.
    Now,
    /// At this time.
    Wait(DateTime<Utc>),
    /// Not before this time, and then with what is to be shown by then. Only for updates.
    Merge(DateTime<Utc>),
}

/// Decides about one call.
pub fn judge(budget: &Budget, ask: Ask, manners: Manners, now: DateTime<Utc>) -> Verdict {
    if let Some(until) = budget.closed_until(ask.lane, now) {
        return if ask.lane == Lane::Update { Verdict::Merge(until) } else { Verdict::Wait(until) };
    }
    if ask.lane == Lane::Update
        && let Some(until) = budget.spared_until(manners, now)
    {
        return Verdict::Merge(until);
    }
    let until = if ask.write { budget.spaced_until(ask.lane, manners, now) } else { None };
    until.map_or(Verdict::Now, Verdict::Wait)
}

impl Budget {
    /// Until when GitHub takes no calls of a lane.
    pub fn closed_until(&self, lane: Lane, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let pauses = self.lanes.iter().zip(Lane::ALL).filter(|(_, above)| *above <= lane);
        let used_up = self.rate.filter(|rate| rate.remaining <= 0).map(|rate| rate.reset_at);
        pauses.filter_map(|(state, _)| state.until).chain(used_up).max().filter(|until| *until > now)
    }

    /// Whether updates are held back because few calls are left.
    pub fn is_low(&self, now: DateTime<Utc>) -> bool {
        self.rate.is_some_and(|rate| rate.reset_at > now && rate.remaining <= rate.limit / RESERVE)
    }

    /// Until when an update is left out to spare calls: those between the reserve and the last ones are spread over
    /// what is left of the hour.
    fn spared_until(&self, manners: Manners, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let rate = self.rate.filter(|_| self.is_low(now))?;
        let updates = (rate.remaining - rate.limit / LAST) / SHARE;
        let Ok(updates) = i32::try_from(updates) else { return None };
        if updates <= 0 {
            return Some(rate.reset_at);
        }
        let gap = ((rate.reset_at - now) / updates).max(manners.spacing);
        let until = (self.updated_at? + gap).min(rate.reset_at);
        (until > now).then_some(until)
    }

    /// Until when a write has to wait for the one before it, and an update for an effect that waits already.
    fn spaced_until(&self, lane: Lane, manners: Manners, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // A clock that was set back must not hold anything up for longer than the distance itself.
        let after_last = self.written_at.map(|at| at.min(now) + manners.spacing);
        let after_effect = self.effect_waits_until.filter(|_| lane == Lane::Update);
        let after_effect = after_effect.map(|at| at.min(now + manners.spacing * 2));
        after_last.max(after_effect).filter(|until| *until > now)
    }

    /// The budget after a write that may be made now.
    pub fn written(mut self, lane: Lane, now: DateTime<Utc>) -> Self {
        self.written_at = Some(now);
        match lane {
            Lane::Update => self.updated_at = Some(now),
            Lane::Decision | Lane::Effect => self.effect_waits_until = None,
        }
        self
    }

    /// The budget while a call of this lane waits for its turn: updates let it go first.
    pub fn waited_for(mut self, lane: Lane, manners: Manners, now: DateTime<Utc>) -> Self {
        if lane < Lane::Update {
            self.effect_waits_until = Some(now + manners.spacing * 2);
        }
        self
    }

    /// The budget after an answer.
    pub fn observe(mut self, seen: Seen, manners: Manners, now: DateTime<Utc>) -> Self {
        if let Some(rate) = seen.rate {
            self.rate = newer_rate(self.rate, rate, now);
        }
        let state = &mut self.lanes[seen.lane as usize];
        let paused = state.until.is_some_and(|until| until > now);
        match seen.limited {
            None if !paused => state.strikes = 0,
            // Sent before the limit was known.
            None => {}
            // The hour's calls are used up, and `rate` says until when.
            Some(Limited { used_up: true, until: Some(until) }) if until > now && self.rate.is_some() => {}
            Some(Limited { until: Some(until), .. }) if until > now => {
                state.until = state.until.max(Some(until.min(now + LONGEST_PAUSE)));
            }
            Some(_) => {
                if !paused {
                    state.strikes = state.strikes.saturating_add(1);
                }
                let pause = manners.backoff * 2_i32.pow(state.strikes.clamp(1, DOUBLINGS + 1) - 1);
                if !paused {
                    state.until = Some(now + pause);
                }
            }
        }
        self
    }
}

/// Which of two sayings about the hour holds. Answers may overtake each other, and within one hour calls only get fewer.
fn newer_rate(known: Option<Rate>, seen: Rate, now: DateTime<Utc>) -> Option<Rate> {
    if seen.reset_at <= now {
        // An hour that has ended says nothing about this one.
        return known.filter(|known| known.reset_at > now);
    }
    let seen = Rate { reset_at: seen.reset_at.min(now + WINDOW), ..seen };
    let same = known.filter(|known| known.reset_at > now && (known.reset_at - seen.reset_at).abs() <= SAME_WINDOW);
    Some(match same {
        Some(known) => Rate { remaining: known.remaining.min(seen.remaining), ..seen },
        None => seen,
    })
}
