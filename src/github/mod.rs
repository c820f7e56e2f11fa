//! Everything that is said to GitHub. Wire types stay inside; callers get plain facts.
//!
//! Every call names the repository and the [`Access`] it needs; the token that is sent is narrowed to both. Calls are
//! thin and hold no decisions. Nothing here retries a write: the caller looks for what it did before it repeats.
//! API version `2022-11-28`.

pub mod auth;
pub mod deliveries;
pub mod feedback;
pub mod git_data;
pub mod governor;
pub mod reads;
pub mod webhook;

mod cache;
mod call;
mod status;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt;
use octocrab::service::middleware::extra_headers::ExtraHeadersLayer;
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use crate::domain::budget::Lane;
use crate::domain::ids::{InstallationId, RepoName};
use crate::redact::Redactor;
use call::{Call, Sender};
use governor::Governor;

/// The version of GitHub's REST API that every request names.
pub const API_VERSION: &str = "2022-11-28";
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long GitHub may be silent within an answer; it gives requests up itself after ten seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a whole exchange may take.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(90);

/// What went wrong, named by what the caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum GitHubError {
    /// 404 or 410: not there, or not visible to this installation.
    #[error("not found: {0}")]
    NotFound(String),
    /// 409, 405 on merge: the world is not as the request assumed.
    #[error("conflict: {0}")]
    Conflict(String),
    /// 422 or 400: GitHub does not accept the request; repeating it does not help.
    #[error("refused by GitHub: {0}")]
    Invalid(String),
    /// 401 or 403 that is not a rate limit: credentials or permissions are missing.
    #[error("not allowed: {0}")]
    Unauthorized(String),
    /// 403 or 429 with a rate limit; do not call again before this time.
    #[error("rate limited until {retry_at}")]
    RateLimited {
        /// From `retry-after`, else `x-ratelimit-reset`, else a minute from now.
        retry_at: chrono::DateTime<chrono::Utc>,
    },
    /// 5xx, timeout, broken connection, or a body that is not JSON: the call may or may not have taken effect.
    #[error("GitHub did not answer properly: {0}")]
    Transient(String),
    /// A 2xx whose body could not be understood.
    #[error("unexpected answer from GitHub: {0}")]
    Unexpected(String),
}

impl GitHubError {
    /// Whether GitHub said no, so that the call surely changed nothing.
    pub fn did_nothing(&self) -> bool {
        match self {
            Self::NotFound(_)
            | Self::Conflict(_)
            | Self::Invalid(_)
            | Self::Unauthorized(_)
            | Self::RateLimited { .. } => true,
            Self::Transient(_) | Self::Unexpected(_) => false,
        }
    }
}

/// The permissions a token is narrowed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Facts for a decision: contents, pull requests, issues (their comments), checks, statuses, metadata; all read.
    Read,
    /// `members: read` of the organisation: who is in a team that a policy names.
    Members,
    /// `contents: read`, for git.
    Checkout,
    /// Comments, reactions, check runs, deployments: issues, pull_requests, checks, deployments; write.
    Feedback,
    /// `contents: write`, `pull_requests: write`: merging, branches and pull requests of Titan's own.
    Merge,
}

/// A repository together with the installation through which it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepoRef {
    /// Whose token is used.
    pub installation: InstallationId,
    /// `owner/name`.
    pub name: RepoName,
}

/// How to reach GitHub and who Titan is there.
pub struct GitHubSettings {
    /// The REST API, e.g. `https://api.github.com` or `https://ghe.example.com/api/v3`.
    pub api_url: Url,
    /// Where git and people go, e.g. `https://github.com`.
    pub git_url: Url,
    /// The App's id or client id.
    pub app_id: String,
    /// The App's RSA key in PEM form.
    pub private_key_pem: SecretString,
}

/// Who the App is at GitHub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppIdentity {
    /// The App's number; what `performed_via_github_app.id` and a check run's `app.id` carry.
    pub id: i64,
    /// The App's name in URLs.
    pub slug: String,
}

impl AppIdentity {
    /// The login under which the App comments: `<slug>[bot]`.
    pub fn bot_login(&self) -> String {
        format!("{}[bot]", self.slug)
    }
}

/// The connection to GitHub. Cheap to clone; all clones share connections and tokens.
#[derive(Clone)]
pub struct GitHub {
    inner: Arc<Inner>,
}

struct Inner {
    http: Octocrab,
    api_url: Url,
    git_url: Url,
    app_id: String,
    key: jsonwebtoken::EncodingKey,
    identity: tokio::sync::OnceCell<AppIdentity>,
    tokens: auth::TokenCache,
    answers: cache::AnswerCache,
    governor: governor::Governed,
    redactor: Redactor,
}

impl fmt::Debug for GitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitHub({})", self.inner.api_url)
    }
}

/// What can be said to GitHub about one repository. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RepoClient {
    github: GitHub,
    repo: RepoRef,
}

impl GitHub {
    /// Checks the key and builds the client; makes no call. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// `Unauthorized` when the key is not an RSA key in PEM form, `Invalid` when the HTTP client cannot be built.
    pub fn new(settings: &GitHubSettings) -> Result<Self, GitHubError> {
        let redactor = Redactor::new([settings.private_key_pem.expose_secret()])
            .map_err(|error| GitHubError::Invalid(error.to_string()))?;
        Self::build(settings, governor::Governed::default(), redactor)
    }

    /// Whether this is the public GitHub; an Enterprise Server keeps its log of deliveries longer.
    pub fn is_github_com(&self) -> bool {
        self.inner.api_url.host_str() == Some("api.github.com")
    }

    /// The same, with every call asked for and told of, and GitHub's sentences without any secret of Titan's.
    ///
    /// # Errors
    /// As for [`GitHub::new`].
    pub fn governed(
        settings: &GitHubSettings,
        governor: Arc<dyn Governor>,
        redactor: Redactor,
    ) -> Result<Self, GitHubError> {
        Self::build(settings, governor::Governed(Some(governor)), redactor)
    }

    fn build(settings: &GitHubSettings, governor: governor::Governed, redactor: Redactor) -> Result<Self, GitHubError> {
        let key = jsonwebtoken::EncodingKey::from_rsa_pem(settings.private_key_pem.expose_secret().as_bytes())
            .map_err(|_| {
                GitHubError::Unauthorized(
                    "the App's private key is not an RSA key in PEM form; generate one on the App's page".to_owned(),
                )
            })?;
        Ok(Self {
            inner: Arc::new(Inner {
                http: http_client(&settings.api_url)?,
                api_url: settings.api_url.clone(),
                git_url: settings.git_url.clone(),
                app_id: settings.app_id.clone(),
                key,
                identity: tokio::sync::OnceCell::new(),
                tokens: auth::TokenCache::default(),
                answers: cache::AnswerCache::default(),
                governor,
                redactor,
            }),
        })
    }

    /// A client for one repository; makes no call.
    pub fn repo(&self, repo: &RepoRef) -> RepoClient {
        RepoClient { github: self.clone(), repo: repo.clone() }
    }

    /// Who the App is. Asked once, then remembered.
    ///
    /// # Errors
    /// `Unauthorized` when GitHub does not accept the App's key.
    pub async fn app(&self) -> Result<AppIdentity, GitHubError> {
        #[derive(Deserialize)]
        struct Wire {
            id: i64,
            #[serde(default)]
            slug: Option<String>,
            #[serde(default)]
            name: Option<String>,
        }
        let ask = || async {
            let app: Wire = self.send(&Call::get("/app"), Sender::App).await?.json()?;
            // `slug` is optional in GitHub's schema; GitHub makes it from the name.
            let from_name = || app.name.unwrap_or_default().to_lowercase().replace(' ', "-");
            Ok(AppIdentity { id: app.id, slug: app.slug.unwrap_or_else(from_name) })
        };
        self.inner.identity.get_or_try_init(ask).await.cloned()
    }

    /// The installation through which a repository is reached.
    ///
    /// # Errors
    /// `NotFound` when the App is not installed there.
    pub async fn installation_of(&self, repo: &RepoName) -> Result<InstallationId, GitHubError> {
        let call = Call::get(format!("/repos/{}/{}/installation", repo.owner(), repo.name()));
        let found: wire::Id = self.send(&call, Sender::App).await?.json()?;
        Ok(InstallationId(found.id))
    }

    /// Whether somebody suspended an installation.
    ///
    /// # Errors
    /// `NotFound` when there is no such installation any more.
    pub async fn is_suspended(&self, installation: InstallationId) -> Result<bool, GitHubError> {
        let call = Call::get(format!("/app/installations/{installation}"));
        let found: wire::Installation = self.send(&call, Sender::App).await?.json()?;
        Ok(found.suspended_at.is_some())
    }
}

impl RepoClient {
    /// Whether GitHub may be told something now that can wait. Makes no call and takes no turn.
    ///
    /// # Errors
    /// `RateLimited` when it is not the time: then people are shown what there is to show later.
    pub async fn may_update(&self) -> Result<(), GitHubError> {
        let Some(governor) = &self.github.inner.governor.0 else { return Ok(()) };
        let free = governor.look(Some(self.repo.installation), Lane::Update).await;
        free.map_err(|retry_at| GitHubError::RateLimited { retry_at })
    }

    /// The repository that is spoken about.
    pub fn repo(&self) -> &RepoRef {
        &self.repo
    }
}

/// Octocrab over one reqwest client. Octocrab's own connector would send a second user agent, turn a redirected POST
/// into a GET and repeat writes; here redirects and repeats are decided in `call`, where the method is known.
fn http_client(api_url: &Url) -> Result<Octocrab, GitHubError> {
    let client = reqwest::Client::builder();
    // Only a simulator is plain HTTP; the machine's certificate authorities, which take long to read, are not for it.
    let client = if api_url.scheme() == "http" { client.tls_certs_only([]) } else { client };
    let client = client
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .timeout(TOTAL_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        // The environment is read in one place, the configuration, and that has no proxy.
        .no_proxy()
        .build()
        .map_err(|e| {
            // Most often: no CA certificates on this machine.
            GitHubError::Invalid(format!("the HTTP client for GitHub cannot be built: {}", call::root_cause(&e)))
        })?;
    let service = tower::service_fn(move |request: http::Request<OctoBody>| {
        let client = client.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body: Bytes = body.collect().await?.to_bytes();
            let request = reqwest::Request::try_from(http::Request::from_parts(parts, body))?;
            Ok::<_, tower::BoxError>(http::Response::<reqwest::Body>::from(client.execute(request).await?))
        }
    });
    let headers = vec![
        (USER_AGENT, HeaderValue::from_static("titan")),
        (HeaderName::from_static("x-github-api-version"), HeaderValue::from_static(API_VERSION)),
    ];
    let built = OctocrabBuilder::new_empty()
        .with_service(service)
        .with_layer(&ExtraHeadersLayer::new(Arc::new(headers)))
        .with_auth(AuthState::None)
        .build();
    match built {
        Ok(http) => Ok(http),
        Err(never) => match never {},
    }
}
