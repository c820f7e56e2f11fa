//! Titan's HTTP side alone, on a free port of this machine, over a database of its own: no worker, no GitHub.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusBuilder;
use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;
use titan::http::{EventHub, WebState, router};
use titan::store::Store;
use url::Url;

use super::database::TestDb;

/// The webhook secret that is in use.
pub const SECRET: &str = "a-secret-of-the-tests";
/// The webhook secret that is about to go.
pub const OLD_SECRET: &str = "an-older-secret-of-the-tests";

/// A running server; stops with the test's runtime.
pub struct WebApp {
    /// `http://127.0.0.1:<port>`.
    pub base: String,
    /// The store behind it.
    pub store: Store,
    /// Its announcements.
    pub events: EventHub,
    /// For requests; follows no redirects.
    pub client: reqwest::Client,
    _database: Option<TestDb>,
}

impl WebApp {
    /// Over a fresh database.
    pub async fn start() -> Self {
        let database = TestDb::new().await;
        Self::serve(database.options(), Some(database)).await
    }

    /// Over a database that is not there.
    pub async fn without_database() -> Self {
        let port = free_port().await;
        Self::serve(PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port), None).await
    }

    /// Over whatever these options lead to.
    pub async fn serve(options: PgConnectOptions, database: Option<TestDb>) -> Self {
        let store = Store::connect_lazy(options);
        let events = EventHub::start(store.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let state = WebState {
            store: store.clone(),
            webhook_secrets: Arc::new([SECRET, OLD_SECRET].map(SecretString::from)),
            public_url: Url::parse(&base).expect("a url"),
            github_url: Url::parse("https://github.test").expect("a url"),
            events: events.clone(),
            builds: tokio::sync::watch::channel(titan::http::Builds::Off).1,
            metrics: PrometheusBuilder::new().build_recorder().handle(),
        };
        tokio::spawn(async move { axum::serve(listener, router(state)).await });
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Unpacks nothing by itself, so that tests see what was sent.
            .no_gzip()
            .build()
            .expect("an HTTP client");
        Self { base, store, events, client, _database: database }
    }

    /// A GET of a path.
    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("{}{path}", self.base)).send().await.expect("Titan answers")
    }

    /// The JSON at a path.
    pub async fn json(&self, path: &str) -> serde_json::Value {
        self.get(path).await.json().await.expect("JSON")
    }

    /// The text at a path.
    pub async fn text(&self, path: &str) -> String {
        self.get(path).await.text().await.expect("text")
    }
}

/// A port that nobody listens on.
async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("an address").port()
}
