//! Hands git's own protocol on to the simulated GitHub, so that pages and clones share one address as at GitHub.
//!
//! Passes bytes and a few headers through and reads none of them.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Ui;

/// What git tells the server.
const THERE: [HeaderName; 6] = [
    header::ACCEPT,
    header::AUTHORIZATION,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::USER_AGENT,
    HeaderName::from_static("git-protocol"),
];
/// What the server tells git.
const BACK: [HeaderName; 3] = [header::CACHE_CONTROL, header::CONTENT_TYPE, header::WWW_AUTHENTICATE];

/// A client that leaves bodies as they are.
pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder().no_proxy().no_gzip().build()
}

/// One request of git and its answer.
pub(super) async fn hand_on(State(ui): State<Ui>, request: Request) -> Response {
    let target = format!("{}{}", ui.github.url(), request.uri());
    let (parts, body) = request.into_parts();
    let mut there = ui.http.request(parts.method, target);
    for name in THERE {
        if let Some(value) = parts.headers.get(&name) {
            there = there.header(name, value);
        }
    }
    match there.body(reqwest::Body::wrap_stream(body.into_data_stream())).send().await {
        Ok(answer) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = answer.status();
            for name in BACK {
                if let Some(value) = answer.headers().get(&name) {
                    response.headers_mut().insert(name, value.clone());
                }
            }
            *response.body_mut() = Body::from_stream(answer.bytes_stream());
            response
        }
        Err(error) => {
            (StatusCode::BAD_GATEWAY, format!("the simulated GitHub did not answer: {error}\n")).into_response()
        }
    }
}
