//! How things look on the wire: the JSON objects of GitHub's REST API and webhooks, with all their fields.
//!
//! Shapes follow GitHub's OpenAPI (npm `@octokit/openapi` 23.0.2 and `@octokit/openapi-webhooks` 12.1.0). Views read
//! the state and never change it.

mod check;
mod commit;
mod deployment;
pub mod issue;
pub mod pull;
mod repository;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::model::{Account, App, Installation, Permissions, State};

/// Reads the state and writes JSON.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What is looked at.
    pub state: &'a State,
}

/// GitHub's form of an instant: UTC, whole seconds.
pub fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// An instant or null.
pub fn time_or_null(at: Option<DateTime<Utc>>) -> Value {
    at.map(time).into()
}

/// An opaque global id, as every object carries one.
pub fn node_id(prefix: &str, id: u64) -> String {
    use base64::Engine as _;
    format!("{prefix}_{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(id.to_be_bytes()))
}

/// Percent-encodes everything but letters, digits and `-._~`.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Adds the fields of `more` to `object`.
pub fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

/// Some places show an App, or what it made, without the client id that others show.
pub fn without_client_id(mut described: Value) -> Value {
    for place in ["", "/performed_via_github_app"] {
        if let Some(fields) = described.pointer_mut(place).and_then(Value::as_object_mut) {
            fields.remove("client_id");
        }
    }
    described
}

fn permissions(granted: &Permissions) -> Value {
    granted.iter().map(|(name, level)| (name.clone(), Value::from(level.clone()))).collect::<Map<_, _>>().into()
}

impl View<'_> {
    /// The account of that login; null when there is none.
    pub fn user(&self, login: &str) -> Value {
        self.state.account(login).map_or(Value::Null, |account| self.account(account))
    }

    /// GitHub's `simple-user`.
    pub fn account(&self, account: &Account) -> Value {
        let (api, web, login) = (&self.state.api, &self.state.web, &account.login);
        let url = format!("{api}/users/{}", encode(login));
        let page = match login.strip_suffix("[bot]") {
            Some(slug) => format!("{web}/apps/{slug}"),
            None => format!("{web}/{login}"),
        };
        json!({
            "login": login,
            "id": account.id,
            "node_id": node_id("U", account.id),
            "avatar_url": format!("{web}/avatars/{}", account.id),
            "gravatar_id": "",
            "url": url,
            "html_url": page,
            "followers_url": format!("{url}/followers"),
            "following_url": format!("{url}/following{{/other_user}}"),
            "gists_url": format!("{url}/gists{{/gist_id}}"),
            "starred_url": format!("{url}/starred{{/owner}}{{/repo}}"),
            "subscriptions_url": format!("{url}/subscriptions"),
            "organizations_url": format!("{url}/orgs"),
            "repos_url": format!("{url}/repos"),
            "events_url": format!("{url}/events{{/privacy}}"),
            "received_events_url": format!("{url}/received_events"),
            "type": account.kind.word(),
            "user_view_type": "public",
            "site_admin": false,
        })
    }

    /// An organization as webhooks carry it.
    pub fn organization(&self, account: &Account) -> Value {
        let url = format!("{}/orgs/{}", self.state.api, account.login);
        json!({
            "login": account.login,
            "id": account.id,
            "node_id": node_id("O", account.id),
            "url": url,
            "repos_url": format!("{url}/repos"),
            "events_url": format!("{url}/events"),
            "hooks_url": format!("{url}/hooks"),
            "issues_url": format!("{url}/issues"),
            "members_url": format!("{url}/members{{/member}}"),
            "public_members_url": format!("{url}/public_members{{/member}}"),
            "avatar_url": format!("{}/avatars/{}", self.state.web, account.id),
            "description": null,
        })
    }

    /// GitHub's `public-user`: more about one account.
    pub fn public_user(&self, account: &Account) -> Value {
        let mut user = self.account(account);
        extend(
            &mut user,
            json!({
                "name": account.login, "company": null, "blog": "", "location": null, "email": null, "hireable": null,
                "bio": null, "twitter_username": null, "public_repos": 0, "public_gists": 0, "followers": 0,
                "following": 0, "created_at": time(account.created_at), "updated_at": time(account.created_at),
            }),
        );
        user
    }

    /// The App of that slug: the App under test, or another one that reports checks, such as `github-actions`.
    pub fn app_of_slug(&self, slug: &str) -> Value {
        if slug == self.state.app.slug {
            return self.app(&self.state.app);
        }
        let id = other_app_id(slug);
        self.app(&App {
            id,
            client_id: format!("Iv1.{id:016x}"),
            slug: slug.to_owned(),
            name: slug.to_owned(),
            permissions: [("checks", "write"), ("metadata", "read")].map(|(k, v)| (k.into(), v.into())).into(),
            events: vec!["check_run".into()],
            ..self.state.app.clone()
        })
    }

    /// GitHub's `integration`.
    pub fn app(&self, app: &App) -> Value {
        let web = &self.state.web;
        json!({
            "id": app.id,
            "slug": app.slug,
            "client_id": app.client_id,
            "node_id": node_id("A", app.id),
            "owner": self.user(&app.owner),
            "name": app.name,
            "description": "",
            "external_url": web,
            "html_url": format!("{web}/apps/{}", app.slug),
            "created_at": time(app.created_at),
            "updated_at": time(app.created_at),
            "permissions": permissions(&app.permissions),
            "events": app.events,
        })
    }

    /// GitHub's `installation`.
    pub fn installation(&self, installation: &Installation) -> Value {
        let (api, web, app) = (&self.state.api, &self.state.web, &self.state.app);
        let account = self.state.account(&installation.account);
        json!({
            "id": installation.id,
            "client_id": app.client_id,
            "account": self.user(&installation.account),
            "repository_selection": "selected",
            "access_tokens_url": format!("{api}/app/installations/{}/access_tokens", installation.id),
            "repositories_url": format!("{api}/installation/repositories"),
            "html_url": format!("{web}/settings/installations/{}", installation.id),
            "app_id": app.id,
            "app_slug": app.slug,
            "target_id": account.map_or(0, |account| account.id),
            "target_type": account.map_or("User", |account| account.kind.word()),
            "permissions": permissions(&installation.permissions),
            "events": app.events,
            "created_at": time(installation.created_at),
            "updated_at": time(installation.suspended_at.unwrap_or(installation.created_at)),
            "single_file_name": null,
            "has_multiple_single_files": false,
            "single_file_paths": [],
            "suspended_by": installation.suspended_at.map(|_| self.user(&installation.account)),
            "suspended_at": time_or_null(installation.suspended_at),
        })
    }

    /// Permissions as an object.
    pub fn permissions(&self, granted: &Permissions) -> Value {
        permissions(granted)
    }
}

/// A stable id for an App other than the one under test. GitHub Actions has its real one.
pub fn other_app_id(slug: &str) -> u64 {
    if slug == "github-actions" {
        return 15368;
    }
    slug.bytes().fold(500_000, |id, byte| (id * 31 + u64::from(byte)) % 900_000 + 100_000)
}
