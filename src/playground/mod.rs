//! A GitHub and a Render that run on this machine, for trying Titan and for its tests.
//!
//! Map: `exchange` logs and breaks what passes over the wire, `github` and `render` are the simulators, `sample` is the
//! repository with its prepared pull requests, `ui` the pages on which a person plays, `story` plays without one.
//! Titan knows nothing of this folder: it is reached over HTTP alone, with the settings of [`Playground::titan_settings`].

pub mod command;
pub mod exchange;
pub mod github;
pub mod render;
pub mod sample;
pub mod story;
pub mod ui;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use url::Url;

use self::github::keys::AppKey;
use self::github::{GitHub, SimError};
use self::render::source::SourceError;
use self::render::{Render, ServiceOptions};
use self::ui::Ui;

/// How to set the playground up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the bare repositories are made; must be empty or new.
    pub data: PathBuf,
    /// The port of the pages on the loopback; 0 takes a free one.
    pub port: u16,
    /// How long each phase of a deploy takes on the simulated Render.
    pub pace: Duration,
}

impl Options {
    /// A free port, and a Render that takes 400 ms for each phase, so that a person can follow it.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), port: 0, pace: Duration::from_millis(400) }
    }
}

/// Why the playground could not start.
#[derive(Debug, thiserror::Error)]
pub enum PlaygroundError {
    /// The port of the pages is taken.
    #[error("cannot listen on {address}: {source}; choose another port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The simulated GitHub did not start.
    #[error("the simulated GitHub: {0}")]
    GitHub(#[from] github::StartError),
    /// The simulated Render did not start.
    #[error("the simulated Render: {0}")]
    Render(#[from] render::StartError),
    /// The sample repository could not be made.
    #[error("the sample repository: {0}")]
    Sample(#[from] SimError),
    /// The sample's first commit could not be put on the services.
    #[error("the sample's services: {0}")]
    Services(#[from] SourceError),
    /// The App's key could not be made.
    #[error(transparent)]
    Key(#[from] github::keys::KeyError),
    /// The client that hands git on could not be made.
    #[error("the pages: {0}")]
    Pages(#[from] reqwest::Error),
    /// An address is not one.
    #[error("not an address: {0}")]
    Url(#[from] url::ParseError),
}

/// A GitHub with the sample repository, a Render with its services, and pages to play on; all on the loopback.
pub struct Playground {
    github: GitHub,
    render: Render,
    ui: Ui,
    url: Url,
    private_key: SecretString,
    webhook_secret: SecretString,
    pages: tokio::task::JoinHandle<()>,
}

impl Drop for Playground {
    fn drop(&mut self) {
        self.pages.abort();
    }
}

impl Playground {
    /// Starts everything. The sample's pull requests are opened once Titan listens, see
    /// [`Playground::set_webhook_target`].
    ///
    /// # Errors
    /// [`PlaygroundError`]; nothing is left running.
    pub async fn start(options: Options) -> Result<Self, PlaygroundError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
        let listening = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = listening.await.map_err(|source| PlaygroundError::Listen { address, source })?;
        let url = Url::parse(&format!("http://{address}"))?;

        let key = AppKey::generate()?;
        let webhook_secret = uuid::Uuid::new_v4().to_string();
        let github = GitHub::start(github::Options {
            web_url: Some(url.clone()),
            ..github::Options::new(&options.data, &key.public_pem, &webhook_secret)
        })
        .await?;
        let repository = options.data.join(format!("{}.git", sample::REPOSITORY));
        let render = render(&repository, options.pace).await?;
        plant(&github, &render).await?;

        let ui = Ui::new(github.clone(), render.clone())?;
        let router = ui.clone().router();
        let pages = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the playground's pages ended");
            }
        });
        let webhook_secret = SecretString::from(webhook_secret);
        Ok(Self { github, render, ui, url, private_key: key.private_pem, webhook_secret, pages })
    }

    /// Settings for Titan, as its environment would hold them. Where Titan listens and keeps its data is not among them.
    pub fn titan_settings(&self) -> BTreeMap<String, String> {
        let text = |secret: &SecretString| secret.expose_secret().to_owned();
        [
            ("GITHUB_APP_ID", self.github.app().id.to_string()),
            ("GITHUB_APP_PRIVATE_KEY", text(&self.private_key)),
            ("GITHUB_WEBHOOK_SECRET", text(&self.webhook_secret)),
            ("GITHUB_API_URL", self.github.url()),
            ("GITHUB_URL", self.url.as_str().trim_end_matches('/').to_owned()),
            ("RENDER_API_URL", self.render.api_url()),
            ("RENDER_API_KEY", self.render.api_key().to_owned()),
            ("ALLOW_PRIVATE_TARGETS", "127.0.0.0/8".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Tells GitHub where Titan takes webhooks (the whole address, with its path). At the first call the App is then
    /// installed on the sample repository and the pull requests are opened, so that Titan hears of all of it.
    ///
    /// # Errors
    /// When git refuses.
    pub async fn set_webhook_target(&self, url: &Url) -> Result<(), PlaygroundError> {
        self.github.set_webhook_url(Some(url.clone()));
        let github = self.github.clone();
        if github.pulls(sample::REPOSITORY).is_empty() {
            blocking(move || sample::open(&github)).await?;
        }
        Ok(())
    }

    /// Tells the pages where Titan's own pages are.
    pub fn set_titan_url(&self, url: &Url) {
        self.ui.set_titan_url(url.as_str());
    }

    /// The address of the pages.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The simulated GitHub.
    pub fn github(&self) -> &GitHub {
        &self.github
    }

    /// The simulated Render.
    pub fn render(&self) -> &Render {
        &self.render
    }
}

/// A Render with the sample's two services, which run nothing yet.
async fn render(repository: &std::path::Path, pace: Duration) -> Result<Render, render::StartError> {
    let mut options = render::Options::new(&format!("rnd_{}", uuid::Uuid::new_v4().simple()));
    options.pace = pace;
    for (id, name) in [(sample::CANARY, sample::CANARY_NAME), (sample::PRODUCTION, sample::PRODUCTION_NAME)] {
        let mut service = ServiceOptions::new(id, name, repository, "main");
        service.live_from_start = None;
        options = options.service(service);
    }
    Render::start(options).await
}

/// The sample repository, whose policy names the services' addresses, and its first commit on both services.
async fn plant(github: &GitHub, render: &Render) -> Result<(), PlaygroundError> {
    let address = |service: &str| render.service_url(service).unwrap_or_default();
    let (canary, production) = (address(sample::CANARY), address(sample::PRODUCTION));
    let planted = github.clone();
    blocking(move || sample::plant(&planted, &canary, &production)).await?;
    for service in [sample::CANARY, sample::PRODUCTION] {
        render.begin_with(service, "refs/heads/main").await?;
    }
    Ok(())
}

/// Runs what waits for git where waiting is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
