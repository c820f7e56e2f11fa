//! The budgets of calls to GitHub, shared by all replicas through Postgres.
//!
//! A write takes its turn in the database, where replicas meet. A read looks at what this process knows, at most half a
//! second old. What answers say is learned at once here and soon there; that GitHub set a limit is told to the others
//! before anything else happens. When the database is away the process goes by what it knows: nothing is written to GitHub
//! without an intent committed just before.
//!
//! Waiting happens here only for moments. Whatever has to wait longer is sent away with a time and becomes a row.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::clock;
use crate::domain::budget::{Ask, Budget, Lane, Manners, Seen, Verdict, judge};
use crate::github::governor::{Governor, Payer, Told};
use crate::store::Store;
use crate::store::budget::{BudgetNow, Tally};

/// What is known of a budget is believed so long.
const FRESH: Duration = Duration::from_millis(500);
/// What was learned and counted is told to the others so soon.
const TELL_AFTER: Duration = Duration::from_millis(250);
/// A call waits here for so many turns; what waits longer becomes a row.
const TURNS: i32 = 4;
/// Between two looks at a turn that somebody else took.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The governor of the real program.
#[derive(Clone)]
pub struct SharedBudgets {
    store: Store,
    manners: Manners,
    known: Arc<Mutex<HashMap<Payer, Known>>>,
}

/// What this process knows of one budget.
struct Known {
    budget: Budget,
    /// The database's time minus this machine's.
    ahead: TimeDelta,
    read_at: Option<Instant>,
    /// Learned and not yet told.
    seen: Vec<Seen>,
    tally: Tally,
    telling: bool,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            budget: Budget::default(),
            ahead: TimeDelta::zero(),
            read_at: None,
            seen: Vec::new(),
            tally: Tally::default(),
            telling: false,
        }
    }
}

impl Known {
    fn now(&self) -> DateTime<Utc> {
        clock::now() + self.ahead
    }

    /// A time of the database's as this machine would say it.
    fn here(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        at - self.ahead
    }

    /// Takes over what the database says, and what it was not told yet on top.
    fn take_over(&mut self, read: BudgetNow, manners: Manners) {
        self.ahead = read.now - clock::now();
        self.budget = self.seen.iter().fold(read.budget, |budget, seen| budget.observe(*seen, manners, read.now));
        self.read_at = Some(Instant::now());
    }
}

impl SharedBudgets {
    /// Budgets in this store, kept with these manners.
    pub fn new(store: Store, manners: Manners) -> Self {
        Self { store, manners, known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Payer, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the budget again when what is known is old.
    async fn refresh(&self, payer: Payer) {
        let fresh = |known: &Known| known.read_at.is_some_and(|at| at.elapsed() < FRESH);
        if self.known().get(&payer).is_some_and(fresh) {
            return;
        }
        match self.store.find_budget(payer).await {
            Ok(read) => self.known().entry(payer).or_default().take_over(read, self.manners),
            Err(error) => tracing::debug!(%error, "cannot read the budget of calls; goes by what is known"),
        }
    }

    /// What the rules say, in this machine's time.
    async fn verdict(&self, payer: Payer, ask: Ask) -> Verdict {
        if ask.write {
            match self.store.take_budget_turn(payer, ask, self.manners).await {
                Ok((verdict, read)) => {
                    let mut all = self.known();
                    let known = all.entry(payer).or_default();
                    known.take_over(read, self.manners);
                    return here(known, verdict);
                }
                Err(error) => tracing::debug!(%error, "cannot ask for a turn; goes by what is known"),
            }
        } else {
            self.refresh(payer).await;
        }
        let mut all = self.known();
        let known = all.entry(payer).or_default();
        let verdict = judge(&known.budget, ask, self.manners, known.now());
        if verdict == Verdict::Now && ask.write {
            known.budget = known.budget.written(ask.lane, known.now());
        }
        here(known, verdict)
    }

    async fn admit_now(&self, payer: Payer, ask: Ask) -> Result<(), DateTime<Utc>> {
        let patience = clock::now() + self.manners.spacing * TURNS;
        loop {
            match self.verdict(payer, ask).await {
                Verdict::Now => return Ok(()),
                Verdict::Wait(until) if until <= patience => {
                    let wait = (until - clock::now()).to_std().unwrap_or_default();
                    tokio::time::sleep(wait.max(LOOK_AGAIN)).await;
                }
                Verdict::Wait(until) | Verdict::Merge(until) => {
                    self.known().entry(payer).or_default().tally.held_back += 1;
                    self.tell_soon(payer);
                    return Err(until);
                }
            }
        }
    }

    async fn learn_now(&self, payer: Payer, told: Told) -> Option<DateTime<Utc>> {
        {
            let mut all = self.known();
            let known = all.entry(payer).or_default();
            known.budget = known.budget.observe(told.seen, self.manners, known.now());
            known.seen.push(told.seen);
            known.tally.calls += 1;
            known.tally.writes += i64::from(told.write);
            known.tally.not_modified += i64::from(told.not_modified);
            known.tally.limited += i64::from(told.seen.limited.is_some());
        }
        if told.seen.limited.is_some() {
            tracing::warn!(
                installation = payer.map_or(0, |id| id.0),
                lane = told.seen.lane.as_str(),
                "GitHub limits the calls"
            );
            self.tell(payer).await;
        } else {
            self.tell_soon(payer);
        }
        let all = self.known();
        let known = all.get(&payer)?;
        known.budget.closed_until(told.seen.lane, known.now()).map(|until| known.here(until))
    }

    /// Tells the database a moment later, together with what is learned until then.
    fn tell_soon(&self, payer: Payer) {
        if std::mem::replace(&mut self.known().entry(payer).or_default().telling, true) {
            return;
        }
        let this = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(TELL_AFTER).await;
            this.known().entry(payer).or_default().telling = false;
            this.tell(payer).await;
        });
    }

    async fn tell(&self, payer: Payer) {
        let (seen, tally) = {
            let mut all = self.known();
            let known = all.entry(payer).or_default();
            (std::mem::take(&mut known.seen), std::mem::take(&mut known.tally))
        };
        if seen.is_empty() && tally == Tally::default() {
            return;
        }
        match self.store.learn_budget(payer, &seen, &tally, self.manners).await {
            Ok(read) => self.known().entry(payer).or_default().take_over(read, self.manners),
            // This process knows it; the others learn it from GitHub as this one did.
            Err(error) => tracing::debug!(%error, "cannot tell the budget of calls"),
        }
    }
}

fn here(known: &Known, verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Now => Verdict::Now,
        Verdict::Wait(until) => Verdict::Wait(known.here(until)),
        Verdict::Merge(until) => Verdict::Merge(known.here(until)),
    }
}

impl Governor for SharedBudgets {
    fn admit(&self, payer: Payer, ask: Ask) -> BoxFuture<'_, Result<(), DateTime<Utc>>> {
        self.admit_now(payer, ask).boxed()
    }

    fn look(&self, payer: Payer, lane: Lane) -> BoxFuture<'_, Result<(), DateTime<Utc>>> {
        async move {
            self.refresh(payer).await;
            let mut all = self.known();
            let known = all.entry(payer).or_default();
            // Without `write`: the distance to the write before is waited for when the turn is taken.
            match judge(&known.budget, Ask { lane, write: false }, self.manners, known.now()) {
                Verdict::Now => Ok(()),
                Verdict::Wait(until) | Verdict::Merge(until) => Err(known.here(until)),
            }
        }
        .boxed()
    }

    fn learn(&self, payer: Payer, told: Told) -> BoxFuture<'_, Option<DateTime<Utc>>> {
        self.learn_now(payer, told).boxed()
    }
}
