//! What a person sees when there is nothing to see, with a way on.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{Frame, page};
use crate::http::problem::Problem;
use crate::store::StoreError;

/// A problem as a page.
#[derive(Debug)]
pub struct PageError(Problem);

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

impl From<Problem> for PageError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

#[derive(Template)]
#[template(path = "pages/error.html")]
struct ErrorPage {
    frame: Frame,
    status: u16,
    headline: &'static str,
    detail: String,
    hint: &'static str,
    passes: bool,
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let status = problem.status();
        let (headline, hint) = match status {
            StatusCode::NOT_FOUND => ("There is nothing here", "The address may be mistyped or out of date."),
            StatusCode::SERVICE_UNAVAILABLE => {
                ("Titan cannot look it up right now", "Nothing is lost: whatever was going on goes on afterwards.")
            }
            StatusCode::BAD_REQUEST => ("This address cannot be read", "Go back and follow the link again."),
            StatusCode::METHOD_NOT_ALLOWED => ("This page can only be looked at", "Nothing was changed."),
            _ => ("Something went wrong in Titan", "It was noted in the log. No run was touched by it."),
        };
        let template = ErrorPage {
            frame: Frame::new(headline, None),
            status: status.as_u16(),
            headline,
            detail: sentence(problem.detail()),
            hint,
            passes: status == StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut response = page(&template);
        *response.status_mut() = status;
        if let Some(after) = problem.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after));
        }
        response
    }
}

/// The same words as a sentence of their own.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let end = if words.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// The answer to an address that is none of Titan's.
pub fn no_such_page(path: &str) -> PageError {
    PageError(Problem::not_found(format!("Titan has no page {path}.")))
}

/// The answer to a request for a page whose handler panicked.
pub fn after_panic() -> Response {
    tracing::error!("a request handler panicked");
    PageError(Problem::internal()).into_response()
}
