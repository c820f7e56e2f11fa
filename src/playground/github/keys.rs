//! A key pair for an App, as GitHub would give it: the private half for Titan, the public half for the simulator.
//!
//! Used by the playground and by tests; a real App's key comes from GitHub and never passes through here.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;

/// An RSA key of 2048 bits in PEM form.
#[derive(Debug, Clone)]
pub struct AppKey {
    /// PKCS#8, `-----BEGIN PRIVATE KEY-----`; what `GITHUB_APP_PRIVATE_KEY` holds.
    pub private_pem: SecretString,
    /// SubjectPublicKeyInfo, `-----BEGIN PUBLIC KEY-----`.
    pub public_pem: String,
}

/// The key could not be made; only a broken random source or cryptography library brings this about.
#[derive(Debug, thiserror::Error)]
#[error("an RSA key could not be made")]
pub struct KeyError;

impl AppKey {
    /// Makes a new key pair. Takes some tenths of a second of pure computing.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError)?;
        let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| KeyError)?;
        let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).map_err(|_| KeyError)?;
        Ok(Self {
            private_pem: SecretString::from(pem("PRIVATE KEY", private.as_ref())),
            public_pem: pem("PUBLIC KEY", public.as_ref()),
        })
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn the_key_signs_and_verifies_an_app_token() {
        let key = AppKey::generate().expect("a key");
        let signing = jsonwebtoken::EncodingKey::from_rsa_pem(key.private_pem.expose_secret().as_bytes()).expect("pem");
        let verifying = jsonwebtoken::DecodingKey::from_rsa_pem(key.public_pem.as_bytes()).expect("pem");
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
        let claims = serde_json::json!({ "iss": "1", "exp": 4_000_000_000_u64 });
        let token = jsonwebtoken::encode(&header, &claims, &signing).expect("a token");
        let rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
        assert_eq!(
            jsonwebtoken::decode::<serde_json::Value>(&token, &verifying, &rules).expect("valid").claims,
            claims
        );
    }
}
