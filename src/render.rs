//! Everything said to Render: deploys through its API or a deploy hook, their progress, rollback.
//!
//! Thin on purpose: one method a call, and no decisions. A read is repeated on transient failures; a write goes out once,
//! because Render takes no idempotency key: after a failed write the caller looks with [`Render::find_deploy`] for what it
//! produced. No key and no hook URL is ever in an error or a log line.
//!
//! Facts about Render come from its OpenAPI document and its documentation of deploys, deploy hooks and rollbacks at
//! <https://api-docs.render.com> and <https://render.com/docs> (read 2026-11).

mod call;
mod deploy;
mod hook;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use url::Url;

use self::call::{Api, Call};
pub use self::deploy::{Deploy, DeployStatus, HookStarted, Service, Started};
use self::hook::Hook;
use crate::domain::ids::{CommitSha, DeployId, ServiceId};
use crate::outbound::{Guard, NoClient, Scheme};
use crate::redact::{NoRedactor, Redactor, SecretUrl};

/// The largest page that Render gives.
const PAGE_SIZE: usize = 100;
/// Pages of deploys that are read at most; a service with more since an intent does not exist.
const PAGE_LIMIT: usize = 5;
/// How far Render's clock may be behind Titan's when looking for what an intent produced.
const CLOCK_MARGIN: TimeDelta = TimeDelta::seconds(5);
/// How long a hook may take to answer.
const HOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// How Render is reached.
#[derive(Debug, Clone)]
pub struct RenderSettings {
    /// The API, e.g. `https://api.render.com/v1`.
    pub api_url: Url,
    /// The key; without it only hooks work.
    pub api_key: Option<SecretString>,
    /// Deploy hooks by the name that a policy uses.
    pub hooks: BTreeMap<String, SecretUrl>,
}

/// Why a call to Render came to nothing, named by what the caller does about it. Texts are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A setting is missing; the text names it.
    #[error("{0}")]
    NotConfigured(String),
    /// The service, deploy or commit is not there.
    #[error("Render does not know it: {0}")]
    NotFound(String),
    /// Not now: the service is suspended or cannot deploy.
    #[error("Render refuses it now: {0}")]
    Conflict(String),
    /// Render does not accept the request as it is; the same again will not work.
    #[error("Render does not accept it: {0}")]
    Invalid(String),
    /// The key or the hook's key is wrong or may not do this.
    #[error("Render does not allow it: {0}; check RENDER_API_KEY or the deploy hook")]
    Unauthorized(String),
    /// Too many requests.
    #[error("Render asks to wait until {}", .retry_at.format("%H:%M:%S UTC"))]
    RateLimited {
        /// When to try again.
        retry_at: DateTime<Utc>,
    },
    /// Render is not well or cannot be reached. A write may or may not have arrived: look before sending it again.
    #[error("Render could not be asked: {0}")]
    Transient(String),
    /// An answer outside of the documented ones.
    #[error("Render answered in an unexpected way: {0}")]
    Unexpected(String),
}

/// A setting that cannot be used. Never contains the secret.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A hook's URL has not the documented shape or leads where it must not.
    #[error("RENDER_DEPLOY_HOOK_{name} cannot be used: {why}")]
    Hook {
        /// The hook's name.
        name: String,
        /// What is wrong, without the URL.
        why: String,
    },
    /// The key has characters that cannot be sent.
    #[error("RENDER_API_KEY cannot be used: it has characters that do not belong in a key")]
    Key,
    /// The key and the hooks cannot be kept out of texts.
    #[error(transparent)]
    Redactor(#[from] NoRedactor),
    /// No HTTPS on this machine.
    #[error(transparent)]
    Client(#[from] NoClient),
}

/// The way to Render.
#[derive(Debug)]
pub struct Render {
    api: Option<Api>,
    /// Each with the client for its scheme.
    hooks: BTreeMap<String, (Hook, reqwest::Client)>,
    redactor: Redactor,
}

impl Render {
    /// Checks every setting. Hooks obey the same address rule as probes; the API's address is the operator's own word.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn new(settings: &RenderSettings, allow_private: &[IpNet]) -> Result<Self, SettingsError> {
        let guard = Guard::new(allow_private);
        let (mut hooks, mut clients) = (BTreeMap::new(), Vec::new());
        for (name, url) in &settings.hooks {
            let failed = |why| SettingsError::Hook { name: name.clone(), why };
            let hook = Hook::read(url, &guard).map_err(failed)?;
            let client = client_for(hook.scheme, &mut clients, &guard)?;
            hooks.insert(name.clone(), (hook, client));
        }
        let secrets: Vec<&str> = settings
            .api_key
            .iter()
            .map(ExposeSecret::expose_secret)
            .chain(hooks.values().map(|(hook, _)| hook.key.expose_secret()))
            .collect();
        let redactor = Redactor::new(secrets)?;
        let api = match &settings.api_key {
            Some(key) => Some(Api::new(&settings.api_url, key, redactor.clone())?),
            None => None,
        };
        Ok(Self { api, hooks, redactor })
    }

    /// Whether the API can be asked, so that the progress of a deploy can be followed.
    pub fn has_api(&self) -> bool {
        self.api.is_some()
    }

    /// Asks for a deploy of exactly this commit. Does not touch auto-deploy.
    ///
    /// # Errors
    /// After [`RenderError::Transient`] and [`RenderError::Unexpected`] the deploy may exist: look for it.
    pub async fn start_deploy(&self, service: &ServiceId, commit: &CommitSha) -> Result<Started, RenderError> {
        let body = json!({ "commitId": commit.as_str() });
        let answer = self.api()?.send(Call::post(format!("/services/{service}/deploys"), Some(body))).await?;
        match answer.status {
            202 => Ok(Started::Queued),
            _ => answer.json().map(Started::Deploy),
        }
    }

    /// Asks for a deploy of exactly this commit through the hook of this name. Render then switches auto-deploy off.
    ///
    /// # Errors
    /// As [`Self::start_deploy`]; [`RenderError::NotConfigured`] when there is no such hook.
    pub async fn trigger_hook(&self, name: &str, commit: &CommitSha) -> Result<HookStarted, RenderError> {
        let (hook, client) = self.hook(name)?;
        let answer = call::trigger(client, hook.with_commit(commit), &format!("hook {name}"), &self.redactor).await?;
        match answer.status {
            202 => Ok(HookStarted::Queued),
            _ => hook::started(&answer).map(HookStarted::Deploy),
        }
    }

    /// The service that a hook deploys, whether or not it can be watched.
    pub fn service_behind_hook(&self, name: &str) -> Option<ServiceId> {
        self.hooks.get(name).map(|(hook, _)| hook.service.clone())
    }

    /// The service that a hook deploys, when there is an API key to watch it with.
    pub fn hook_service(&self, name: &str) -> Option<ServiceId> {
        self.api.as_ref().and_then(|_| self.hooks.get(name)).map(|(hook, _)| hook.service.clone())
    }

    /// One deploy as it is now.
    ///
    /// # Errors
    /// Each variant of [`RenderError`].
    pub async fn get_deploy(&self, service: &ServiceId, deploy: &DeployId) -> Result<Deploy, RenderError> {
        self.api()?.send(Call::get(format!("/services/{service}/deploys/{deploy}"))).await?.json()
    }

    /// A service's deploys, newest first, at most 500; only those created after the given time when there is one.
    ///
    /// # Errors
    /// Each variant of [`RenderError`].
    pub async fn list_deploys(
        &self,
        service: &ServiceId,
        created_after: Option<DateTime<Utc>>,
    ) -> Result<Vec<Deploy>, RenderError> {
        let mut call = Call::get(format!("/services/{service}/deploys")).query("limit", PAGE_SIZE.to_string());
        if let Some(time) = created_after {
            call = call.query("createdAfter", time.to_rfc3339_opts(SecondsFormat::Millis, true));
        }
        self.pages(call).await
    }

    /// The deploy that this service serves now; `None` when it never had one.
    ///
    /// # Errors
    /// Each variant of [`RenderError`].
    pub async fn live_deploy(&self, service: &ServiceId) -> Result<Option<Deploy>, RenderError> {
        let call = Call::get(format!("/services/{service}/deploys")).query("status", "live");
        let found: Vec<deploy::Listed> = self.api()?.send(call.query("limit", "20")).await?.json()?;
        Ok(deploy::newest_first(found.into_iter().map(|item| item.deploy).collect()).into_iter().next())
    }

    /// The newest deploy of this commit that an API call or a hook asked for since `intent_at`: what an earlier attempt
    /// produced. A deploy by somebody's push or a rollback does not count; one whose commit Render does not tell is taken for
    /// Titan's.
    ///
    /// # Errors
    /// Each variant of [`RenderError`].
    pub async fn find_deploy(
        &self,
        service: &ServiceId,
        commit: &CommitSha,
        intent_at: DateTime<Utc>,
    ) -> Result<Option<Deploy>, RenderError> {
        let deploys = self.list_deploys(service, Some(intent_at - CLOCK_MARGIN)).await?;
        Ok(deploys.into_iter().find(|deploy| deploy.may_be_of(commit) && deploy.was_asked_for()))
    }

    /// The newest rollback to this commit since `intent_at`: what an earlier attempt of [`Self::rollback`] produced. One to
    /// another commit is somebody else's; one whose commit Render does not tell is taken for Titan's.
    ///
    /// # Errors
    /// Each variant of [`RenderError`].
    pub async fn find_rollback(
        &self,
        service: &ServiceId,
        commit: &CommitSha,
        intent_at: DateTime<Utc>,
    ) -> Result<Option<Deploy>, RenderError> {
        let deploys = self.list_deploys(service, Some(intent_at - CLOCK_MARGIN)).await?;
        let produced = |deploy: &Deploy| deploy.trigger.as_deref() == Some("rollback") && deploy.may_be_of(commit);
        Ok(deploys.into_iter().find(produced))
    }

    /// Puts an earlier deploy back without building it again. Auto-deploy stays as it is: switch it off before, or the
    /// next push brings the bad version back. [`RenderError::NotFound`] and [`RenderError::Invalid`] mean that Render no
    /// longer has what that deploy built; then deploy its commit.
    ///
    /// # Errors
    /// As [`Self::start_deploy`].
    pub async fn rollback(&self, service: &ServiceId, to: &DeployId) -> Result<Deploy, RenderError> {
        let body = json!({ "deployId": to.as_str() });
        self.api()?.send(Call::post(format!("/services/{service}/rollback"), Some(body))).await?.json()
    }

    /// Switches deploys by push off. May be called twice.
    ///
    /// # Errors
    /// Each variant of [`RenderError`].
    pub async fn disable_auto_deploy(&self, service: &ServiceId) -> Result<(), RenderError> {
        let call = Call::patch(format!("/services/{service}"), json!({ "autoDeploy": "no" }));
        self.api()?.send(call).await.map(|_| ())
    }

    /// What matters of a service before a deploy.
    ///
    /// # Errors
    /// Each variant of [`RenderError`].
    pub async fn get_service(&self, service: &ServiceId) -> Result<Service, RenderError> {
        self.api()?.send(Call::get(format!("/services/{service}"))).await?.json()
    }

    /// Stops a deploy that has not ended.
    ///
    /// # Errors
    /// [`RenderError::Invalid`] when it has ended already.
    pub async fn cancel(&self, service: &ServiceId, deploy: &DeployId) -> Result<Deploy, RenderError> {
        self.api()?.send(Call::post(format!("/services/{service}/deploys/{deploy}/cancel"), None)).await?.json()
    }

    /// Follows the cursors of a list.
    async fn pages(&self, first: Call) -> Result<Vec<Deploy>, RenderError> {
        let (mut found, mut call) = (Vec::new(), first.clone());
        for _ in 0..PAGE_LIMIT {
            let page: Vec<deploy::Listed> = self.api()?.send(call).await?.json()?;
            let (rows, cursor) = (page.len(), page.last().and_then(|last| last.cursor.clone()));
            found.extend(page.into_iter().map(|item| item.deploy));
            match cursor {
                Some(cursor) if rows >= PAGE_SIZE => call = first.clone().query("cursor", cursor),
                _ => break,
            }
        }
        Ok(deploy::newest_first(found))
    }

    fn api(&self) -> Result<&Api, RenderError> {
        self.api.as_ref().ok_or_else(|| {
            RenderError::NotConfigured("RENDER_API_KEY is not set; it is needed to ask Render's API".to_owned())
        })
    }

    fn hook(&self, name: &str) -> Result<&(Hook, reqwest::Client), RenderError> {
        self.hooks.get(name).ok_or_else(|| {
            RenderError::NotConfigured(format!(
                "the policy names the deploy hook {name}, but RENDER_DEPLOY_HOOK_{name} is not set"
            ))
        })
    }
}

/// The one client of a scheme, made when a hook needs it.
fn client_for(
    scheme: Scheme,
    made: &mut Vec<(Scheme, reqwest::Client)>,
    guard: &Guard,
) -> Result<reqwest::Client, NoClient> {
    if let Some((_, client)) = made.iter().find(|(known, _)| *known == scheme) {
        return Ok(client.clone());
    }
    let client = guard.client(scheme, HOOK_TIMEOUT)?;
    made.push((scheme, client.clone()));
    Ok(client)
}
