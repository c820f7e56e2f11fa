//! The pages: recent runs, one run, one repository, one change with its gates, deliveries, dead jobs. The same truth as the comment and the checks, with live logs.
//!
//! A page shows and links; there is nothing on it that changes anything. It works without the script, which only makes
//! it live.

mod change;
mod deliveries;
mod error;
mod index;
mod jobs;
mod repository;
mod run;
mod words;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::WebState;
use super::assets::{ICON, SCRIPT, STYLE};
use super::problem::Problem;
pub(super) use error::{PageError, after_panic, no_such_page};

/// Every page.
pub fn routes() -> Router<WebState> {
    Router::new()
        .route("/", get(index::show))
        .route("/deliveries", get(deliveries::show))
        .route("/jobs", get(jobs::show))
        .route("/runs/{id}", get(run::show))
        .route("/{owner}/{repo}", get(repository::show))
        .route("/{owner}/{repo}/pull/{number}", get(change::show))
}

/// What every page's frame needs.
struct Frame {
    /// Begins the document's title.
    title: String,
    style: String,
    script: String,
    icon: String,
    /// Seconds after which a page without script loads itself again; `None`: it does not change by itself.
    refresh: Option<u32>,
}

impl Frame {
    fn new(title: impl Into<String>, refresh: Option<u32>) -> Self {
        Self { title: title.into(), style: STYLE.url(), script: SCRIPT.url(), icon: ICON.url(), refresh }
    }
}

/// A finished page.
fn page(template: &impl askama::Template) -> Response {
    match template.render() {
        Ok(html) => {
            let cache = [(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
            (cache, Html(html)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            Problem::internal().into_response()
        }
    }
}
