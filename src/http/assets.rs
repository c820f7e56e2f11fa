//! The style sheet, the script and the icon, built into the program.
//!
//! Pages name them with a hash of their content, so a browser may keep that address for ever; without the hash, or with
//! an old one, it asks again and mostly hears "not modified".

use std::sync::LazyLock;

use axum::Router;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use super::WebState;

/// One file.
#[derive(Debug)]
pub struct Asset {
    path: &'static str,
    kind: &'static str,
    body: &'static str,
    hash: String,
}

impl Asset {
    fn new(path: &'static str, kind: &'static str, body: &'static str) -> Self {
        let digest = hex::encode(Sha256::digest(body.as_bytes()));
        Self { path, kind, body, hash: digest[..16].to_owned() }
    }

    /// The address of exactly this content.
    pub fn url(&self) -> String {
        format!("{}?v={}", self.path, self.hash)
    }

    fn answer(&self, query: Option<&str>, headers: &HeaderMap) -> Response {
        let tag = format!("\"{}\"", self.hash);
        let known = headers
            .get(header::IF_NONE_MATCH)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.split(',').any(|t| t.trim().trim_start_matches("W/") == tag || t.trim() == "*"));
        let cache = match query == Some(format!("v={}", self.hash).as_str()) {
            true => "public, max-age=31536000, immutable",
            false => "no-cache",
        };
        let mut response = match known {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => ([(header::CONTENT_TYPE, self.kind)], self.body).into_response(),
        };
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

/// Everything that pages look like.
pub static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("/assets/titan.css", "text/css; charset=utf-8", include_str!("../../assets/titan.css"))
});
/// What makes a page live: the only script.
pub static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("/assets/titan.js", "text/javascript; charset=utf-8", include_str!("../../assets/titan.js"))
});
/// The icon in the browser's tab.
pub static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("/assets/titan.svg", "image/svg+xml", include_str!("../../assets/titan.svg")));

/// Everything under `/assets`.
pub fn routes() -> Router<WebState> {
    let mut routes = Router::new();
    for asset in [&STYLE, &SCRIPT, &ICON] {
        let handler = move |RawQuery(query): RawQuery, headers: HeaderMap| async move {
            asset.answer(query.as_deref(), &headers)
        };
        routes = routes.route(asset.path, get(handler));
    }
    routes
}
