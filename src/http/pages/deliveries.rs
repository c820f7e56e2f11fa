//! `/deliveries`: what came from GitHub, what did not, and what was done about it; what GitHub was not told yet, and how
//! many calls it takes.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::words::Moment;
use super::{Frame, PageError, page};
use crate::domain::budget::Lane;
use crate::http::WebState;
use crate::store::budget::BudgetFigures;
use crate::store::feedback::{PendingFigures, PendingUpdate};

#[derive(Template)]
#[template(path = "pages/deliveries.html")]
struct DeliveriesPage {
    frame: Frame,
    received: i64,
    ignored: i64,
    duplicates: i64,
    asked: i64,
    arrived: i64,
    commands: i64,
    missing: i64,
    budgets: Vec<BudgetRow>,
    pending: PendingFigures,
    updates: Vec<UpdateRow>,
}

/// Updates that are listed.
const UPDATES: i64 = 50;

/// One installation's calls.
struct BudgetRow {
    whose: String,
    left: String,
    resets: Option<Moment>,
    low: bool,
    paused: Vec<(&'static str, Moment)>,
    calls: i64,
    not_modified: i64,
    limited: i64,
    held_back: i64,
}

impl BudgetRow {
    fn new(figures: &BudgetFigures) -> Self {
        let (budget, now) = (&figures.budget, figures.now);
        let rate = budget.rate.filter(|rate| rate.reset_at > now);
        let id = || figures.installation.map_or_else(|| "the App itself".to_owned(), |id| format!("installation {id}"));
        let paused = |lane: Lane| budget.closed_until(lane, now).map(|until| (lane.as_str(), Moment::new(until)));
        Self {
            whose: figures.account.clone().unwrap_or_else(id),
            left: rate.map(|rate| format!("{} of {}", rate.remaining, rate.limit)).unwrap_or_default(),
            resets: rate.map(|rate| Moment::new(rate.reset_at)),
            low: budget.is_low(now),
            paused: Lane::ALL.into_iter().filter_map(paused).collect(),
            calls: figures.tally.calls,
            not_modified: figures.tally.not_modified,
            limited: figures.tally.limited,
            held_back: figures.tally.held_back,
        }
    }
}

/// One thing that GitHub does not show yet.
struct UpdateRow {
    change: String,
    key: String,
    since: Moment,
    refused: String,
}

impl From<PendingUpdate> for UpdateRow {
    fn from(update: PendingUpdate) -> Self {
        Self {
            change: format!("{}{}", update.repo, update.number),
            key: update.key,
            since: Moment::new(update.since),
            refused: update.refused.unwrap_or_default(),
        }
    }
}

/// The handler.
pub async fn show(State(state): State<WebState>) -> Result<Response, PageError> {
    let inbox = state.store.count_deliveries().await?;
    let recovery = state.store.count_recovery().await?;
    Ok(page(&DeliveriesPage {
        frame: Frame::new("Deliveries", None),
        received: inbox.received,
        ignored: inbox.ignored,
        duplicates: inbox.duplicates,
        asked: recovery.asked,
        arrived: recovery.arrived,
        commands: recovery.commands,
        missing: recovery.missing,
        budgets: state.store.list_budgets().await?.iter().map(BudgetRow::new).collect(),
        pending: state.store.count_pending_updates().await?,
        updates: state.store.list_pending_updates(UPDATES).await?.into_iter().map(UpdateRow::from).collect(),
    }))
}
