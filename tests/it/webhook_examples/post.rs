//! One webhook POST, as GitHub or an attacker would send it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::support::web::{SECRET, WebApp};

/// A POST to the webhook.
#[derive(Clone, Debug)]
pub struct Post {
    /// What is special about it, for a failure's message.
    pub what: String,
    /// Names and bytes.
    pub headers: Vec<(&'static str, Vec<u8>)>,
    /// May be anything.
    pub body: Vec<u8>,
}

impl Post {
    /// A well-formed delivery, signed with the right secret.
    pub fn new(id: &str, event: &str, body: Vec<u8>) -> Self {
        let headers = vec![
            ("content-type", b"application/json".to_vec()),
            ("user-agent", b"GitHub-Hookshot/0000000".to_vec()),
            ("x-github-event", event.into()),
            ("x-github-delivery", id.into()),
            ("x-github-hook-id", b"1".to_vec()),
            ("x-github-hook-installation-target-type", b"integration".to_vec()),
            ("x-github-hook-installation-target-id", b"1".to_vec()),
            ("x-hub-signature-256", signature(SECRET, &body)),
        ];
        Self { what: format!("{event} {id}"), headers, body }
    }

    /// The same with another value of one header, or without it.
    pub fn header(mut self, name: &'static str, value: Option<Vec<u8>>) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.extend(value.map(|value| (name, value)));
        self
    }

    /// The same, with more said about it.
    pub fn what(self, what: impl AsRef<str>) -> Self {
        Self { what: format!("{}: {}", self.what, what.as_ref()), ..self }
    }

    /// Sends it and gives the answer's status.
    pub async fn send(&self, app: &WebApp) -> u16 {
        let mut request = app.client.post(format!("{}/webhooks/github", app.base)).body(self.body.clone());
        for (name, value) in &self.headers {
            request = request.header(*name, value.as_slice());
        }
        let response = request.send().await;
        response.unwrap_or_else(|error| panic!("Titan did not answer: {}: {error:?}", self.what)).status().as_u16()
    }
}

/// `X-Hub-Signature-256`.
/// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>
pub fn signature(secret: &str, body: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length of key will do");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes())).into_bytes()
}
