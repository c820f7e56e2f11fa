//! `/deliveries`: what came from GitHub, what did not, and what was done about it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::{Frame, PageError, page};
use crate::http::WebState;

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
    }))
}
