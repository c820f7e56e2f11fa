//! A GitHub with a private repository, a pull request, and a client that speaks as Titan does.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use titan::playground::exchange::CallLog;
use titan::playground::github::keys::AppKey;
use titan::playground::github::model::Role;
use titan::playground::github::{Change, GitHub, Options};
use url::Url;

use crate::contracts::assert_honest;

pub const SECRET: &str = "the-webhook-secret";
const EVENTS: [&str; 8] = [
    "check_run",
    "deployment",
    "deployment_status",
    "issue_comment",
    "issues",
    "pull_request",
    "pull_request_review",
    "push",
];
/// Marks a request that is wrong on purpose.
pub const ON_PURPOSE: &str = "x-wrong-on-purpose";
/// A private repository of an organization.
pub const SHOP: &str = "acme/shop";

/// One webhook as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub event: String,
    pub guid: String,
    pub payload: Value,
    pub genuine: bool,
}

type Inbox = Arc<Mutex<Vec<Received>>>;

pub struct Stage {
    pub github: GitHub,
    pub installation: u64,
    /// The first commit of `main`.
    pub base: String,
    pub http: reqwest::Client,
    pub folder: tempfile::TempDir,
    pub key: AppKey,
    inbox: Inbox,
    token: String,
}

impl Stage {
    /// `acme/shop` with `main`, alice (write), mallory (nothing), the App installed, webhooks arriving here.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        static KEY: LazyLock<AppKey> = LazyLock::new(|| AppKey::generate().unwrap());
        let key = KEY.clone();
        let mut options = Options::new(folder.path().join("github"), &key.public_pem, SECRET);
        // Everything that the simulator can tell, not only what Titan asks for.
        options.app.events = EVENTS.map(str::to_owned).into();
        let github = GitHub::start(options).await.unwrap();
        github.create_repository(SHOP, true).unwrap();
        github.set_role(SHOP, "alice", Role::Write).unwrap();
        github.create_user("mallory");
        let files = Change::new("Begin").file("README.md", "# Shop\n").file("src/app.js", "one\ntwo\nthree\n");
        let base = github.commit(SHOP, "main", "alice", &files).unwrap();
        let inbox = Inbox::default();
        github.set_webhook_url(Some(receive(inbox.clone()).await));
        let installation = github.install(&[SHOP]).unwrap();
        let http = reqwest::Client::builder().user_agent("titan-tests").build().unwrap();
        let mut stage = Self { github, installation, base, http, folder, key, inbox, token: String::new() };
        stage.token = stage.mint(json!({})).await.1["token"].as_str().unwrap().to_owned();
        stage
    }

    /// A pull request of alice's that changes `src/app.js`; its number and head.
    pub fn pull(&self) -> (u64, String) {
        let change = Change::new("Change the app").file("src/app.js", "one\n2\nthree\n");
        let head = self.github.commit(SHOP, "topic", "alice", &change).unwrap();
        (self.github.open_pull(SHOP, "alice", "Change the app", "Please.", "topic", "main").unwrap(), head)
    }

    /// An App token with these claims changed.
    pub fn app_token(&self, changed: Value) -> String {
        let now = chrono::Utc::now().timestamp();
        let mut claims = json!({ "iss": self.github.app().client_id, "iat": now - 60, "exp": now + 540 });
        for (name, value) in changed.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let key = jsonwebtoken::EncodingKey::from_rsa_pem(self.key.private_pem.expose_secret().as_bytes()).unwrap();
        jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256), &claims, &key).unwrap()
    }

    /// Asks for an installation token.
    pub async fn mint(&self, body: Value) -> (u16, Value) {
        let path = format!("/app/installations/{}/access_tokens", self.installation);
        self.send_as(&self.app_token(json!({})), "POST", &path, Some(body)).await
    }

    /// A token narrowed to these permissions on the shop.
    pub async fn narrowed(&self, permissions: Value) -> String {
        let (status, body) = self.mint(json!({ "repositories": ["shop"], "permissions": permissions })).await;
        assert_eq!(status, 201, "{body}");
        body["token"].as_str().unwrap().to_owned()
    }

    /// Calls the API with the installation's full token. A path without a leading slash is below the shop's.
    pub async fn send(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.send_as(&self.token, method, path, body).await
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send("POST", path, Some(body)).await
    }

    pub async fn send_as(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let response = self.request(token, method, path, body).send().await.unwrap();
        let (status, bytes) = (response.status().as_u16(), response.bytes().await.unwrap());
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub fn request(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> reqwest::RequestBuilder {
        let base = self.github.url();
        let url = if path.starts_with('/') { format!("{base}{path}") } else { format!("{base}/repos/{SHOP}/{path}") };
        let request = self
            .http
            .request(method.parse().unwrap(), url)
            .bearer_auth(token)
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28");
        match body {
            Some(body) => request.json(&body),
            None => request,
        }
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// What arrived so far, after everything that was on its way.
    pub async fn received(&self) -> Vec<Received> {
        tokio::time::timeout(Duration::from_secs(20), self.github.settle()).await.expect("deliveries end");
        self.inbox.lock().unwrap().clone()
    }

    /// The webhooks of that event and action.
    pub async fn received_as(&self, event: &str, action: &str) -> Vec<Received> {
        let all = self.received().await.into_iter();
        all.filter(|one| one.event == event && one.payload["action"].as_str().unwrap_or_default() == action).collect()
    }

    /// A request that breaks GitHub's documentation on purpose and is not held against it.
    pub async fn wrong(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = self.request(token, method, path, body).header(ON_PURPOSE, "1");
        let response = request.send().await.unwrap();
        let (status, bytes) = (response.status().as_u16(), response.bytes().await.unwrap());
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// Everything said was as GitHub documents it, every webhook was signed, and no request was unknown.
    pub async fn end(self) {
        let received = self.received().await;
        assert!(received.iter().all(|one| one.genuine), "every webhook carries a valid signature");
        assert_eq!(self.github.unknown_requests(), Vec::<String>::new());
        assert!(self.github.faults().unconsumed().is_empty());
        let sent: Vec<(String, Value)> = received.into_iter().map(|one| (one.event, one.payload)).collect();
        let meant = CallLog::default();
        for exchange in self.github.calls().all() {
            if exchange.request_header(ON_PURPOSE).is_none() {
                meant.push(exchange);
            }
        }
        assert_honest(&meant, &CallLog::default(), &sent);
    }
}

async fn receive(inbox: Inbox) -> Url {
    async fn take(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> &'static str {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        let mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap().chain_update(&body);
        let expected = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        let received = Received {
            event: header("x-github-event"),
            guid: header("x-github-delivery"),
            payload: serde_json::from_slice(&body).unwrap(),
            genuine: header("x-hub-signature-256") == expected
                && header("user-agent").starts_with("GitHub-Hookshot/")
                && headers.contains_key("x-github-hook-id"),
        };
        inbox.lock().unwrap().push(received);
        "taken"
    }
    let router = axum::Router::new().fallback(take).with_state(inbox);
    let router = router.layer(axum::extract::DefaultBodyLimit::max(25 << 20));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/webhooks/github", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}
