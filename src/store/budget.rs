//! Budgets of calls to GitHub, one row for each installation, shared by all replicas. The rules are the domain's; here a
//! row is locked while they are asked, so that two replicas never take the same turn.
//!
//! Times are the database's, because the clocks of replicas differ.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Store, StoreError};
use crate::domain::budget::{Ask, Budget, Lane, LaneState, Manners, Rate, Seen, Verdict, judge};
use crate::domain::ids::InstallationId;

/// A budget and the database's time when it was read.
#[derive(Debug, Clone, Copy)]
pub struct BudgetNow {
    /// As it is.
    pub budget: Budget,
    /// The database's time.
    pub now: DateTime<Utc>,
}

/// What was counted since the last time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that were answered.
    pub calls: i64,
    /// Of these, calls that were to change something.
    pub writes: i64,
    /// Of these, answers that said that nothing changed.
    pub not_modified: i64,
    /// Of these, answers that were limits.
    pub limited: i64,
    /// Calls that were not made.
    pub held_back: i64,
}

/// A budget with its figures, for people.
#[derive(Debug, Clone)]
pub struct BudgetFigures {
    /// Whose it is; `None` for the App itself.
    pub installation: Option<InstallationId>,
    /// The account, when it is known.
    pub account: Option<String>,
    /// As it is.
    pub budget: Budget,
    /// Counted since the row was made.
    pub tally: Tally,
    /// The database's time.
    pub now: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    installation_id: i64,
    rate_limit: Option<i64>,
    rate_remaining: Option<i64>,
    rate_reset_at: Option<DateTime<Utc>>,
    decision_until: Option<DateTime<Utc>>,
    decision_strikes: i32,
    effect_until: Option<DateTime<Utc>>,
    effect_strikes: i32,
    update_until: Option<DateTime<Utc>>,
    update_strikes: i32,
    written_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    effect_waits_until: Option<DateTime<Utc>>,
    calls: i64,
    writes: i64,
    not_modified: i64,
    limited: i64,
    held_back: i64,
}

impl Row {
    fn budget(&self) -> Budget {
        let lane = |until, strikes: i32| LaneState { until, strikes: strikes.unsigned_abs() };
        let rate = self.rate_limit.zip(self.rate_remaining).zip(self.rate_reset_at);
        Budget {
            rate: rate.map(|((limit, remaining), reset_at)| Rate { limit, remaining, reset_at }),
            lanes: [
                lane(self.decision_until, self.decision_strikes),
                lane(self.effect_until, self.effect_strikes),
                lane(self.update_until, self.update_strikes),
            ],
            written_at: self.written_at,
            updated_at: self.updated_at,
            effect_waits_until: self.effect_waits_until,
        }
    }

    fn tally(&self) -> Tally {
        Tally {
            calls: self.calls,
            writes: self.writes,
            not_modified: self.not_modified,
            limited: self.limited,
            held_back: self.held_back,
        }
    }
}

fn key(installation: Option<InstallationId>) -> i64 {
    installation.map_or(0, |id| id.0)
}

impl Store {
    /// How a budget is now.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn find_budget(&self, installation: Option<InstallationId>) -> Result<BudgetNow, StoreError> {
        let row: Option<Row> = sqlx::query_as("SELECT * FROM github_budget WHERE installation_id = $1")
            .bind(key(installation))
            .fetch_optional(&self.pool)
            .await?;
        let now = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&self.pool).await?;
        Ok(BudgetNow { budget: row.map(|row| row.budget()).unwrap_or_default(), now })
    }

    /// Asks for a turn, and takes it when the verdict is [`Verdict::Now`].
    ///
    /// # Errors
    /// When the database says no; then no turn was taken.
    pub async fn take_budget_turn(
        &self,
        installation: Option<InstallationId>,
        ask: Ask,
        manners: Manners,
    ) -> Result<(Verdict, BudgetNow), StoreError> {
        let mut tx = self.pool.begin().await?;
        let BudgetNow { budget, now } = lock(&mut tx, installation).await?;
        let verdict = judge(&budget, ask, manners, now);
        let budget = match verdict {
            Verdict::Now if ask.write => budget.written(ask.lane, now),
            Verdict::Wait(_) if ask.write => budget.waited_for(ask.lane, manners, now),
            _ => budget,
        };
        put(&mut tx, installation, &budget, &Tally::default()).await?;
        tx.commit().await?;
        Ok((verdict, BudgetNow { budget, now }))
    }

    /// Learns from what answers said, in their order, and adds what was counted.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn learn_budget(
        &self,
        installation: Option<InstallationId>,
        seen: &[Seen],
        tally: &Tally,
        manners: Manners,
    ) -> Result<BudgetNow, StoreError> {
        let mut tx = self.pool.begin().await?;
        let BudgetNow { budget, now } = lock(&mut tx, installation).await?;
        let budget = seen.iter().fold(budget, |budget, seen| budget.observe(*seen, manners, now));
        put(&mut tx, installation, &budget, tally).await?;
        tx.commit().await?;
        Ok(BudgetNow { budget, now })
    }

    /// Every budget with its figures, the App's own first.
    ///
    /// # Errors
    /// When the database says no.
    pub async fn list_budgets(&self) -> Result<Vec<BudgetFigures>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as("SELECT * FROM github_budget ORDER BY installation_id LIMIT 1000")
            .fetch_all(&self.pool)
            .await?;
        let ids: Vec<i64> = rows.iter().map(|row| row.installation_id).collect();
        let accounts: Vec<(i64, String)> = sqlx::query_as("SELECT id, account FROM installation WHERE id = ANY($1)")
            .bind(&ids)
            .fetch_all(&self.pool)
            .await?;
        let now = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&self.pool).await?;
        let account = |id: i64| accounts.iter().find(|(known, _)| *known == id).map(|(_, account)| account.clone());
        let figures = |row: &Row| BudgetFigures {
            installation: Some(InstallationId(row.installation_id)).filter(|id| id.0 != 0),
            account: account(row.installation_id),
            budget: row.budget(),
            tally: row.tally(),
            now,
        };
        Ok(rows.iter().map(figures).collect())
    }
}

/// The row, made if it is not there, and locked until the transaction ends.
async fn lock(conn: &mut PgConnection, installation: Option<InstallationId>) -> Result<BudgetNow, StoreError> {
    sqlx::query("INSERT INTO github_budget (installation_id) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(key(installation))
        .execute(&mut *conn)
        .await?;
    let row: Row = sqlx::query_as("SELECT * FROM github_budget WHERE installation_id = $1 FOR UPDATE")
        .bind(key(installation))
        .fetch_one(&mut *conn)
        .await?;
    // Not `now()`, which is when the transaction began: it may have waited for the lock.
    let now = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(conn).await?;
    Ok(BudgetNow { budget: row.budget(), now })
}

async fn put(
    conn: &mut PgConnection,
    installation: Option<InstallationId>,
    budget: &Budget,
    tally: &Tally,
) -> Result<(), StoreError> {
    let state = |lane: Lane| budget.lanes[lane as usize];
    let strikes = |lane: Lane| i32::try_from(state(lane).strikes).unwrap_or(i32::MAX);
    sqlx::query(
        "UPDATE github_budget
         SET rate_limit = $2, rate_remaining = $3, rate_reset_at = $4, decision_until = $5, decision_strikes = $6,
             effect_until = $7, effect_strikes = $8, update_until = $9, update_strikes = $10, written_at = $11,
             updated_at = $12, effect_waits_until = $13, calls = calls + $14, writes = writes + $15,
             not_modified = not_modified + $16, limited = limited + $17, held_back = held_back + $18
         WHERE installation_id = $1",
    )
    .bind(key(installation))
    .bind(budget.rate.map(|rate| rate.limit))
    .bind(budget.rate.map(|rate| rate.remaining))
    .bind(budget.rate.map(|rate| rate.reset_at))
    .bind(state(Lane::Decision).until)
    .bind(strikes(Lane::Decision))
    .bind(state(Lane::Effect).until)
    .bind(strikes(Lane::Effect))
    .bind(state(Lane::Update).until)
    .bind(strikes(Lane::Update))
    .bind(budget.written_at)
    .bind(budget.updated_at)
    .bind(budget.effect_waits_until)
    .bind(tally.calls)
    .bind(tally.writes)
    .bind(tally.not_modified)
    .bind(tally.limited)
    .bind(tally.held_back)
    .execute(conn)
    .await?;
    Ok(())
}
