//! In whose name Titan speaks: the App's JWT and installation tokens narrowed to one repository and one [`Access`].
//!
//! Tokens live in memory only, are minted once per key at a time, and are used until five minutes before they expire.
//! Never hands out a token that is wider than what was asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::call::{Call, Sender};
use super::{Access, GitHub, GitHubError, RepoClient, RepoRef};
use crate::clock;
use crate::domain::ids::InstallationId;

/// A token is not used any more when less than this is left of its hour.
const MARGIN: TimeDelta = TimeDelta::minutes(5);
/// Assumed life of a token whose answer does not say when it expires.
const SHORT_LIFE: TimeDelta = TimeDelta::minutes(10);
/// From this many keys on, expired entries are thrown away before a new one is made.
const PRUNE_AT: usize = 1000;

/// Installation, repository (lower-case, GitHub ignores case) and access.
type Key = (InstallationId, String, Access);
/// Held while minting, so that a second caller waits instead of minting too.
type Slot = Arc<tokio::sync::Mutex<Option<Minted>>>;

/// Tokens by what they are for.
#[derive(Default)]
pub(super) struct TokenCache(Mutex<HashMap<Key, Slot>>);

struct Minted {
    token: SecretString,
    expires_at: DateTime<Utc>,
}

impl Minted {
    fn usable(&self, now: DateTime<Utc>) -> bool {
        self.expires_at - MARGIN > now
    }
}

impl TokenCache {
    fn slot(&self, repo: &RepoRef, access: Access) -> Slot {
        let key = (repo.installation, repo.name.to_string().to_ascii_lowercase(), access);
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= PRUNE_AT {
            let now = clock::now();
            slots.retain(|_, slot| slot.try_lock().map_or(true, |held| held.as_ref().is_some_and(|t| t.usable(now))));
        }
        slots.entry(key).or_default().clone()
    }
}

impl Access {
    /// Every kind of token.
    pub const ALL: [Self; 5] = [Self::Read, Self::Members, Self::Checkout, Self::Feedback, Self::Merge];

    /// The permissions of such a token and how far they go, in the words of GitHub's `app-permissions` schema. The App's
    /// manifest asks for all of them together.
    pub fn permissions(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Read => &[
                ("checks", "read"),
                ("contents", "read"),
                ("issues", "read"),
                ("metadata", "read"),
                ("pull_requests", "read"),
                ("statuses", "read"),
            ],
            Self::Members => &[("members", "read")],
            Self::Checkout => &[("contents", "read")],
            Self::Feedback => {
                &[("checks", "write"), ("deployments", "write"), ("issues", "write"), ("pull_requests", "write")]
            }
            Self::Merge => &[("contents", "write"), ("pull_requests", "write")],
        }
    }
}

/// The JWT's claims as GitHub wants them.
#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

#[derive(Serialize)]
struct MintRequest<'a> {
    repositories: [&'a str; 1],
    permissions: HashMap<&'static str, &'static str>,
}

#[derive(Deserialize)]
struct MintAnswer {
    token: String,
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
}

impl GitHub {
    /// A JWT for the next nine minutes, dated back a minute for clocks that differ (GitHub's limit is ten minutes).
    pub(super) fn app_jwt(&self) -> Result<SecretString, GitHubError> {
        let now = clock::now().timestamp();
        let claims = Claims { iat: now - 60, exp: now + 9 * 60, iss: &self.inner.app_id };
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
        jsonwebtoken::encode(&header, &claims, &self.inner.key)
            .map(SecretString::from)
            .map_err(|_| GitHubError::Unauthorized("the App's private key cannot sign; give the key anew".to_owned()))
    }

    /// A token from the cache, or a new one.
    pub(super) async fn installation_token(&self, repo: &RepoRef, access: Access) -> Result<SecretString, GitHubError> {
        let slot = self.inner.tokens.slot(repo, access);
        let mut held = slot.lock().await;
        if let Some(minted) = held.as_ref().filter(|t| t.usable(clock::now())) {
            return Ok(minted.token.clone());
        }
        let minted = self.mint(repo, access).await?;
        let token = minted.token.clone();
        *held = Some(minted);
        Ok(token)
    }

    /// Drops a token that GitHub refused, unless another caller has replaced it already.
    pub(super) async fn forget_token(&self, repo: &RepoRef, access: Access, refused: &SecretString) {
        let slot = self.inner.tokens.slot(repo, access);
        let mut held = slot.lock().await;
        if held.as_ref().is_some_and(|t| t.token.expose_secret() == refused.expose_secret()) {
            *held = None;
        }
    }

    async fn mint(&self, repo: &RepoRef, access: Access) -> Result<Minted, GitHubError> {
        let body = MintRequest {
            repositories: [repo.name.name()],
            permissions: access.permissions().iter().copied().collect(),
        };
        let path = format!("/app/installations/{}/access_tokens", repo.installation);
        // A token too many does no harm.
        let call = Call::write(Method::POST, path, &body)?.repeatable();
        // Boxed because sending may mint, and minting sends (in the App's name, where it ends).
        let answer = Box::pin(self.send(&call, Sender::Mint(repo, access))).await.map_err(|error| match error {
            GitHubError::Invalid(why) => GitHubError::Unauthorized(format!(
                "the installation does not give the App {access:?} access to {}; check the App's permissions and the \
                 repositories it is installed on ({why})",
                repo.name
            )),
            other => other,
        })?;
        let minted: MintAnswer = answer.json()?;
        let expires_at = minted.expires_at.unwrap_or_else(|| clock::now() + SHORT_LIFE);
        Ok(Minted { token: SecretString::from(minted.token), expires_at })
    }
}

impl RepoClient {
    /// A token narrowed to this repository and `access`; valid for at least five minutes.
    ///
    /// # Errors
    /// `Unauthorized` when the App or the installation lacks the permission, `NotFound` when the installation is gone.
    pub async fn token(&self, access: Access) -> Result<SecretString, GitHubError> {
        self.github.installation_token(&self.repo, access).await
    }

    /// Drops a token that was refused somewhere else than in a call, by git.
    pub async fn forget_token(&self, access: Access, refused: &SecretString) {
        self.github.forget_token(&self.repo, access, refused).await;
    }

    /// Where git finds the repository: `<GITHUB_URL>/owner/name.git`, without credentials.
    pub fn git_url(&self) -> Url {
        let mut url = self.github.inner.git_url.clone();
        url.set_path(&format!("{}/{}.git", url.path().trim_end_matches('/'), self.repo.name));
        url
    }
}
