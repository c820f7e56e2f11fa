//! A GitHub that runs on this machine: REST API, git over smart HTTP, and signed webhooks, over real git repositories.
//!
//! Map: `model` keeps facts, `acts` changes them (whoever causes it) and puts events into an outbox, `views` writes
//! GitHub's JSON, `rest` answers the API, `auth` lets callers in, `git` and `git_http` are the objects and their
//! transport, `webhooks` delivers events, `people` is what tests and the playground's pages use. It is not a GitHub for
//! real use: everything is in memory but the git objects, and nothing is forgotten until it ends.

pub mod acts;
pub mod auth;
pub mod git;
mod git_http;
pub mod keys;
pub mod model;
mod people;
mod reading;
mod rest;
pub mod views;
pub mod webhooks;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State as AxumState};
use axum::response::Response;
use http::StatusCode;
use jsonwebtoken::DecodingKey;
use secrecy::SecretString;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

pub use acts::{CheckChange, DeploymentAnswer, MergeRequest, NewCheck, NewDeployment, NewPull, NewStatus, SimError};
pub use git::FileMode;
pub use people::Change;
pub use webhooks::{Delivery, Tamper};

use super::exchange::{BODY_LIMIT, CallLog, Faults, Recorder, record};
use model::{App, Permissions, State};
use webhooks::Hooks;

/// What Titan asks for when it is installed on a real GitHub; the simulated one gives no more.
const MANIFEST: &str = include_str!("../../../app-manifest/manifest.json");

#[derive(serde::Deserialize)]
struct Manifest {
    default_permissions: Permissions,
    default_events: Vec<String>,
}

/// How to set a simulated GitHub up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the bare repositories are made, as `owner/name.git`.
    pub data: PathBuf,
    /// The App under test.
    pub app: App,
    /// The App's public key, from [`keys::AppKey`].
    pub public_key_pem: String,
    /// Signs the webhooks.
    pub webhook_secret: SecretString,
    /// Where webhooks go; can be set later, and until then none are sent.
    pub webhook_url: Option<Url>,
    /// Base of the pages for people, for `html_url` fields; the simulator's own address when absent.
    pub web_url: Option<Url>,
    /// The most files that a pull request's list shows.
    pub files_cap: usize,
}

impl Options {
    /// The App `titan-app` (id 424242) of the organization `titan-makers`, with the permissions and events of Titan's
    /// own manifest.
    pub fn new(data: impl Into<PathBuf>, public_key_pem: &str, webhook_secret: &str) -> Self {
        let manifest: Manifest =
            serde_json::from_str(MANIFEST).expect("invariant: app-manifest/manifest.json is part of the program");
        let app = App {
            id: 424_242,
            client_id: "Iv23liTitanPlayground".into(),
            slug: "titan-app".into(),
            name: "Titan".into(),
            owner: "titan-makers".into(),
            permissions: manifest.default_permissions,
            events: manifest.default_events,
            created_at: crate::clock::now(),
        };
        Self {
            data: data.into(),
            app,
            public_key_pem: public_key_pem.to_owned(),
            webhook_secret: SecretString::from(webhook_secret.to_owned()),
            webhook_url: None,
            web_url: None,
            files_cap: 3000,
        }
    }
}

/// Why a simulated GitHub could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No port on the loopback could be had, or the data folder could not be made.
    #[error("could not listen on the loopback or write the data folder: {0}")]
    Io(#[from] std::io::Error),
    /// The App's public key is not an RSA key in PEM form.
    #[error("the App's public key could not be read: {0}")]
    Key(#[from] jsonwebtoken::errors::Error),
    /// The client for webhooks could not be made.
    #[error("webhooks could not be set up: {0}")]
    Hooks(#[from] reqwest::Error),
}

/// What the server and the handles share.
pub(crate) struct Sim {
    state: Mutex<State>,
    key: DecodingKey,
    hooks: Hooks,
}

impl Sim {
    /// Looks at the state or changes it; the events that this caused are then on their way, in their order.
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // A panic in an act leaves facts that are each whole; later acts may go on.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut state);
        for event in std::mem::take(&mut state.outbox) {
            self.hooks.send(event);
        }
        result
    }
}

/// A running GitHub. A clone is the same one; the last clone that goes ends it.
#[derive(Clone)]
pub struct GitHub {
    sim: Arc<Sim>,
    recorder: Recorder,
    address: SocketAddr,
    stop: CancellationToken,
    _guard: Arc<DropGuard>,
}

impl std::fmt::Debug for GitHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GitHub at {}", self.address)
    }
}

impl GitHub {
    /// Starts it on a free port of this machine.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: Options) -> Result<Self, StartError> {
        std::fs::create_dir_all(&options.data)?;
        let data = std::fs::canonicalize(&options.data)?;
        let key = DecodingKey::from_rsa_pem(options.public_key_pem.as_bytes())?;
        let hooks = Hooks::new(options.app.id, options.webhook_secret)?;
        hooks.set_target(options.webhook_url);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut state = State::new(data, options.app, options.files_cap);
        state.api = format!("http://{address}");
        state.web = match options.web_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => state.api.clone(),
        };
        let sim = Arc::new(Sim { state: Mutex::new(state), key, hooks });
        // The validators know GitHub's API, not git's own protocol.
        let recorder = Recorder::new(&["/*/*/git-upload-pack", "/*/*/git-receive-pack", "/*/*/info/refs"]);
        let router = axum::Router::new()
            .fallback(answer)
            .with_state(sim.clone())
            .layer(axum::middleware::from_fn_with_state(recorder.clone(), record));
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(stopped).await;
            if let Err(error) = served {
                tracing::error!(%error, "the simulated GitHub stopped");
            }
        });
        let guard = Arc::new(stop.clone().drop_guard());
        Ok(Self { sim, recorder, address, stop, _guard: guard })
    }

    /// Base of the REST API and of git: what `GITHUB_API_URL` and `GITHUB_URL` hold. Without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends the server; calls that are being answered are finished.
    pub fn shutdown(&self) {
        self.stop.cancel();
    }

    /// Every call to the REST API so far.
    pub fn calls(&self) -> &CallLog {
        &self.recorder.log
    }

    /// What is to go wrong with the next calls.
    pub fn faults(&self) -> &Faults {
        &self.recorder.faults
    }

    /// Where webhooks go from now on; `None` switches them off. What happened before is not sent.
    pub fn set_webhook_url(&self, url: Option<Url>) {
        self.sim.hooks.set_target(url);
    }

    /// Base of the pages for people, for `html_url` fields.
    pub fn set_web_url(&self, url: &Url) {
        self.sim.with(|state| state.web = url.as_str().trim_end_matches('/').to_owned());
    }

    /// The webhook: tamper with deliveries, release held ones, ask for one again, read its log.
    pub fn hooks(&self) -> &Hooks {
        &self.sim.hooks
    }

    /// All attempts to deliver a webhook, oldest first.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.sim.hooks.log()
    }

    /// How many attempts there were.
    pub fn count_deliveries(&self) -> usize {
        self.sim.hooks.count()
    }

    /// Waits until no webhook is on its way; those held back do not count.
    pub async fn settle(&self) {
        self.sim.hooks.settle().await;
    }
}

/// Reads a request and answers it where blocking is allowed, for git is a program that is waited for.
async fn answer(AxumState(sim): AxumState<Arc<Sim>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_LIMIT).await else {
        return status(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let incoming = rest::Incoming {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body,
    };
    let work = move || match git_http::split_path(&incoming.path) {
        Some((full_name, service)) => git_http::serve(&sim, &incoming, &full_name, service),
        None => rest::serve(&sim, &incoming),
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| status(StatusCode::INTERNAL_SERVER_ERROR))
}

fn status(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}
