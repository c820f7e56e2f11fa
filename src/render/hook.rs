//! A deploy hook's URL: its shape, and the request that it stands for. The URL is a secret.

use secrecy::SecretString;
use url::Url;

use super::RenderError;
use super::call::Answer;
use crate::domain::ids::{CommitSha, DeployId, ServiceId};
use crate::outbound::{Guard, Scheme};
use crate::redact::SecretUrl;

/// A checked hook.
#[derive(Debug)]
pub(super) struct Hook {
    url: SecretUrl,
    pub(super) key: SecretString,
    pub(super) service: ServiceId,
    pub(super) scheme: Scheme,
}

impl Hook {
    /// Checks the documented shape, `https://host/deploy/srv-…?key=…`, and the address.
    pub(super) fn read(secret: &SecretUrl, guard: &Guard) -> Result<Self, String> {
        const SHAPE: &str = "expected https://api.render.com/deploy/srv-…?key=…, from the service's settings at Render";
        let url = Url::parse(secret.expose()).map_err(|_| format!("it is not a URL; {SHAPE}"))?;
        guard.check_url(&url)?;
        let id = url.path().strip_prefix("/deploy/").ok_or_else(|| format!("its path is another one; {SHAPE}"))?;
        if id.starts_with("exs-") {
            return Err(format!("it is the hook of a Blueprint, which does not deploy a commit; {SHAPE}"));
        }
        let service = id.parse().map_err(|_| format!("it names no service; {SHAPE}"))?;
        let mut pairs = url.query_pairs();
        match (pairs.next(), pairs.next()) {
            (Some((name, key)), None) if name == "key" && !key.is_empty() => {
                let key = SecretString::from(key.into_owned());
                Ok(Self { url: secret.clone(), key, service, scheme: Scheme::of(&url) })
            }
            _ => Err(format!("after ? there must be key=… and nothing else; {SHAPE}")),
        }
    }

    /// The URL that deploys this commit.
    pub(super) fn with_commit(&self, commit: &CommitSha) -> SecretString {
        SecretString::from(format!("{}&ref={}", self.url.expose(), commit.as_str()))
    }
}

/// The deploy's id in a hook's answer, `{"deploy":{"id":"dep-…"}}`.
pub(super) fn started(answer: &Answer) -> Result<DeployId, RenderError> {
    let document: serde_json::Value = answer.json()?;
    let id = document.pointer("/deploy/id").and_then(serde_json::Value::as_str);
    id.and_then(|id| id.parse().ok())
        .ok_or_else(|| RenderError::Unexpected("the hook was accepted, but its answer names no deploy".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn read(url: &str) -> Result<Hook, String> {
        Hook::read(&SecretUrl::new(&Url::parse(url).expect("a url")), &Guard::new(&[]))
    }

    #[test]
    fn only_the_documented_shape_is_taken_and_no_error_shows_the_key() {
        for bad in [
            "http://api.render.com/deploy/srv-abc?key=s3cretkey",
            "https://127.0.0.1/deploy/srv-abc?key=s3cretkey",
            "https://u:s3cretkey@api.render.com/deploy/srv-abc?key=s3cretkey",
            "https://api.render.com/deploy/exs-abc?key=s3cretkey",
            "https://api.render.com/deploy/srv-abc/more?key=s3cretkey",
            "https://api.render.com/deploy/?key=s3cretkey",
            "https://api.render.com/other/srv-abc?key=s3cretkey",
            "https://api.render.com/deploy/srv-abc",
            "https://api.render.com/deploy/srv-abc?key=",
            "https://api.render.com/deploy/srv-abc?key=s3cretkey&ref=abc",
            "https://api.render.com/deploy/srv-abc?token=s3cretkey",
        ] {
            let why = read(bad).expect_err(bad);
            assert!(!why.contains("s3cretkey"), "{why}");
        }
        let hook = read("https://api.render.com/deploy/srv-abc?key=s3cretkey").expect("the documented shape");
        assert_eq!(hook.service.as_str(), "srv-abc");
        assert!(!format!("{hook:?}").contains("s3cretkey"));
        let commit: CommitSha = "3f2c1ab000000000000000000000000000000000".parse().expect("a commit");
        assert_eq!(
            hook.with_commit(&commit).expose_secret(),
            "https://api.render.com/deploy/srv-abc?key=s3cretkey&ref=3f2c1ab000000000000000000000000000000000"
        );
    }
}
