//! `/jobs`: the jobs that failed too often and wait for a person, each with the command that queues it again.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::{Frame, PageError, page};
use crate::http::WebState;
use crate::store::jobs::DeadJob;

#[derive(Template)]
#[template(path = "pages/jobs.html")]
struct JobsPage {
    frame: Frame,
    jobs: Vec<DeadJob>,
}

/// The handler.
pub async fn show(State(state): State<WebState>) -> Result<Response, PageError> {
    let jobs = state.store.list_dead_jobs().await?;
    Ok(page(&JobsPage { frame: Frame::new("Dead jobs", None), jobs }))
}
