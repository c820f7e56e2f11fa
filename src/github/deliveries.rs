//! The App's own log of deliveries: reading it, and asking for one delivery again. Speaks as the App itself.
//!
//! It knows nothing of what has arrived. GitHub keeps three days of it
//! (<https://docs.github.com/en/rest/apps/webhooks>, API version 2022-11-28).

use chrono::{DateTime, Utc};
use http::header::LINK;
use http::{HeaderMap, Method};
use serde::Deserialize;
use url::Url;

use super::call::{Call, PAGE_SIZE, Sender};
use super::{GitHub, GitHubError};

/// One attempt to deliver an event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DeliveryAttempt {
    /// Of the attempt; by this GitHub is asked to deliver again.
    pub id: i64,
    /// `X-GitHub-Delivery`: the same for every attempt of one event.
    pub guid: String,
    /// When the attempt was made.
    pub delivered_at: DateTime<Utc>,
    /// The status that was answered; GitHub makes one up when there was no answer.
    #[serde(default)]
    pub status_code: Option<i64>,
    /// `X-GitHub-Event`.
    pub event: String,
    /// The payload's `action`, when it has one.
    #[serde(default)]
    pub action: Option<String>,
    /// For which installation, when it is about one.
    #[serde(default)]
    pub installation_id: Option<i64>,
    /// About which repository, when it is about one.
    #[serde(default)]
    pub repository_id: Option<i64>,
    /// Whether it was asked for after a first attempt.
    #[serde(default)]
    pub redelivery: bool,
}

/// One page of the log, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryPage {
    /// The attempts; may be empty.
    pub attempts: Vec<DeliveryAttempt>,
    /// The query of the next page, with older ones; `None` on the last.
    pub next: Option<String>,
}

impl GitHub {
    /// A page of the log, the newest or the one that another named as its next. `None` when this GitHub has no such log for the App.
    ///
    /// # Errors
    /// When GitHub could not be asked.
    pub async fn list_deliveries(&self, next: Option<&str>) -> Result<Option<DeliveryPage>, GitHubError> {
        let call = Call::get("/app/hook/deliveries").query("per_page", PAGE_SIZE.to_string());
        let call = next.map_or(call.clone(), |next| call.whole_query(next));
        match self.send(&call, Sender::App).await {
            Ok(answer) => Ok(Some(DeliveryPage {
                attempts: answer.json()?,
                next: next_page(&answer.headers, &self.inner.api_url),
            })),
            Err(GitHubError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks GitHub to make one more attempt of the delivery to which this attempt belongs. GitHub only promises to.
    ///
    /// # Errors
    /// `NotFound` when the log no longer holds the attempt.
    pub async fn redeliver(&self, id: i64) -> Result<(), GitHubError> {
        let call = Call::bare(Method::POST, format!("/app/hook/deliveries/{id}/attempts"));
        self.send(&call, Sender::App).await.map(|_| ())
    }
}

/// The query of the `Link` header's next page, whether its address is whole or relative.
fn next_page(headers: &HeaderMap, api: &Url) -> Option<String> {
    let link = headers.get(LINK)?.to_str().ok()?;
    let next = link.split(',').find(|part| part.contains("rel=\"next\"") || part.contains("rel=next"))?;
    let (_, rest) = next.split_once('<')?;
    let url = api.join(rest.split_once('>')?.0).ok()?;
    url.query().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_where_the_link_says() {
        let api = Url::parse("https://ghe.example.com/api/v3").expect("an address");
        let next = |link: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, link.parse().expect("a header"));
            next_page(&headers, &api)
        };
        let url = "https://api.github.com/app/hook/deliveries?per_page=100&cursor=v1_12%2B3";
        let query = Some("per_page=100&cursor=v1_12%2B3".to_owned());
        assert_eq!(next(&format!("<{url}>; rel=\"next\"")), query);
        assert_eq!(next(&format!("<https://x.example/?cursor=a>; rel=\"prev\", <{url}>; rel=\"next\"")), query);
        for relative in ["?page=2", "/app/hook/deliveries?page=2", "deliveries?page=2"] {
            assert_eq!(next(&format!("<{relative}>; rel=\"next\"")).as_deref(), Some("page=2"), "{relative}");
        }
        assert_eq!(next("<https://x.example/?cursor=a>; rel=\"prev\""), None);
        assert_eq!(next_page(&HeaderMap::new(), &api), None);
    }
}
