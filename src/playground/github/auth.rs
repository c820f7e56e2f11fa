//! Who is calling, and what they may do: App tokens (JWT) and installation tokens.
//! Decides nothing about what exists; what may not be seen is hidden by the caller.

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::Value;

use super::model::{App, MintedToken, State};

/// How far an App token's clock may be ahead, in seconds.
const LEEWAY: i64 = 60;
/// The longest life of an App token, in seconds.
const APP_TOKEN_LIFE: i64 = 600;

/// Whether a permission is needed to read or to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `read`
    Read,
    /// `write`
    Write,
}

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// An App token (JWT).
    App,
    /// An installation token, whatever it may do.
    Installation,
    /// Any of the two, or nothing.
    Anyone,
    /// An installation token with any one of these permissions on the repository.
    AnyOf(&'static [(&'static str, Level)]),
    /// An installation token of the organisation `{org}` with any one of these permissions.
    Organization(&'static [(&'static str, Level)]),
}

/// Who is calling.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Nobody in particular.
    Anonymous,
    /// The App itself.
    App,
    /// The App on an account.
    Installation(MintedToken),
}

/// Why a caller is not let in: GitHub's message, always with status 401.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unauthorized(pub String);

#[derive(Deserialize)]
struct Claims {
    iss: Value,
    iat: Option<i64>,
    exp: Option<i64>,
}

/// Reads the `Authorization` header (`Bearer x` or `token x`) or, for git, `Basic` with the token as password.
pub fn caller(
    state: &State,
    key: &DecodingKey,
    authorization: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Caller, Unauthorized> {
    let Some(authorization) = authorization else { return Ok(Caller::Anonymous) };
    let bad = || Unauthorized("Bad credentials".into());
    let (scheme, credential) = authorization.split_once(' ').ok_or_else(bad)?;
    let credential = credential.trim();
    let bearer = scheme.eq_ignore_ascii_case("bearer");
    if !bearer && !scheme.eq_ignore_ascii_case("token") {
        return Err(bad());
    }
    if bearer && !credential.starts_with("gh") && credential.matches('.').count() == 2 {
        return app_token(&state.app, key, credential, now).map(|()| Caller::App).map_err(Unauthorized);
    }
    installation_token(state, credential, now).map(Caller::Installation).ok_or_else(bad)
}

/// The token with this text, when it is known, has not expired, and its installation is not suspended.
pub fn installation_token(state: &State, text: &str, now: DateTime<Utc>) -> Option<MintedToken> {
    let token = state.tokens.get(text).filter(|token| token.expires_at > now)?;
    state.installations.iter().find(|known| known.id == token.installation && known.suspended_at.is_none())?;
    Some(token.clone())
}

/// Verifies an App token as GitHub does: RS256 with the App's key, `iat` not in the future, `exp` at most ten minutes
/// away, `iss` the App's id or client id.
/// <https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app>
fn app_token(app: &App, key: &DecodingKey, token: &str, now: DateTime<Utc>) -> Result<(), String> {
    let mut rules = Validation::new(Algorithm::RS256);
    rules.required_spec_claims.clear();
    rules.validate_exp = false;
    rules.validate_aud = false;
    let decoded = jsonwebtoken::decode::<Claims>(token, key, &rules);
    let claims = decoded.map_err(|_| "A JSON web token could not be decoded".to_owned())?.claims;
    let issuer = match &claims.iss {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if issuer != app.id.to_string() && issuer != app.client_id {
        return Err("Integration not found".into());
    }
    let now = now.timestamp();
    let exp = claims.exp.ok_or("Missing 'expiration time' claim ('exp') in assertion")?;
    let iat = claims.iat.ok_or("Missing 'issued at' claim ('iat') in assertion")?;
    if exp <= now {
        return Err("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires".into());
    }
    if exp > now + APP_TOKEN_LIFE + LEEWAY || exp - iat > APP_TOKEN_LIFE + LEEWAY {
        return Err("'Expiration time' claim ('exp') is too far in the future".into());
    }
    if iat > now + LEEWAY {
        return Err(
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued".into()
        );
    }
    Ok(())
}

/// Whether a token may do this. `metadata: read` comes with every token.
pub fn permits(token: &MintedToken, needed: &[(&str, Level)]) -> bool {
    needed.iter().any(|(name, level)| {
        let held = token.permissions.get(*name).map(String::as_str);
        match level {
            Level::Read => held.is_some(),
            Level::Write => matches!(held, Some("write" | "admin")),
        }
    })
}

/// GitHub's `X-Accepted-GitHub-Permissions`: `issues=write; pull_requests=write`.
pub fn accepted(needed: &[(&str, Level)]) -> String {
    let word = |level: &Level| if *level == Level::Read { "read" } else { "write" };
    needed.iter().map(|(name, level)| format!("{name}={}", word(level))).collect::<Vec<_>>().join("; ")
}
