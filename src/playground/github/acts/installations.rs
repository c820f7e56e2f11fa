//! Installing the App, what it was granted, and the tokens it gets. Tokens are made here and checked in `auth`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{Result, SimError};
use crate::playground::github::model::{Event, Installation, MintedToken, Permissions, State};

/// How long an installation token lives, in minutes.
const TOKEN_MINUTES: i64 = 60;

impl State {
    /// Installs the App on the repositories of one owner, or adds them to its installation. The App is told.
    pub fn install(&mut self, full_names: &[String]) -> Result<u64> {
        let owner = match full_names.first() {
            Some(name) => self.repo(name)?.owner.clone(),
            None => return Err(SimError::invalid("an installation needs a repository")),
        };
        let mut added = Vec::new();
        for name in full_names {
            let repository = self.repo(name)?;
            if repository.owner != owner {
                return Err(SimError::invalid(format!("{name} does not belong to {owner}")));
            }
            added.push(repository.full_name());
        }
        if let Some(known) = self.installations.iter_mut().find(|known| known.account == owner) {
            added.retain(|name| !known.repositories.contains(name));
            known.repositories.extend(added.clone());
            let id = known.id;
            self.emit_repositories(id, "added", &added);
            return Ok(id);
        }
        let installation = Installation {
            id: self.new_id(),
            account: owner,
            permissions: self.app.permissions.clone(),
            repositories: added,
            created_at: crate::clock::now(),
            suspended_at: None,
        };
        let id = installation.id;
        self.installations.push(installation);
        self.emit_installation(id, "created");
        Ok(id)
    }

    /// Takes the App off an account; its tokens stop working.
    pub fn uninstall(&mut self, id: u64) -> Result<()> {
        self.installation(id)?;
        self.emit_installation(id, "deleted");
        self.installations.retain(|known| known.id != id);
        self.tokens.retain(|_, token| token.installation != id);
        Ok(())
    }

    /// Takes repositories out of an installation.
    pub fn remove_repositories(&mut self, id: u64, full_names: &[String]) -> Result<()> {
        let found = self.installations.iter_mut().find(|known| known.id == id);
        let found = found.ok_or_else(|| SimError::NotFound(format!("installation {id}")))?;
        found.repositories.retain(|name| !full_names.contains(name));
        self.emit_repositories(id, "removed", full_names);
        Ok(())
    }

    /// Suspends an installation or ends that.
    pub fn suspend(&mut self, id: u64, suspended: bool) -> Result<()> {
        let found = self.installations.iter_mut().find(|known| known.id == id);
        let found = found.ok_or_else(|| SimError::NotFound(format!("installation {id}")))?;
        found.suspended_at = suspended.then(crate::clock::now);
        self.emit_installation(id, if suspended { "suspend" } else { "unsuspend" });
        Ok(())
    }

    /// Changes what the account granted.
    pub fn grant(&mut self, id: u64, permissions: Permissions) -> Result<()> {
        let found = self.installations.iter_mut().find(|known| known.id == id);
        found.ok_or_else(|| SimError::NotFound(format!("installation {id}")))?.permissions = permissions;
        self.emit_installation(id, "new_permissions_accepted");
        Ok(())
    }

    /// The installation or a 404.
    pub fn installation(&self, id: u64) -> Result<&Installation> {
        let found = self.installations.iter().find(|known| known.id == id);
        found.ok_or_else(|| SimError::NotFound(format!("installation {id}")))
    }

    /// Tells the App about an installation: `created`, `deleted`, `suspend`, `unsuspend`, `new_permissions_accepted`.
    pub fn emit_installation(&mut self, id: u64, action: &str) {
        let Some(installation) = self.installations.iter().find(|known| known.id == id) else { return };
        let view = self.view();
        let payload = json!({
            "action": action,
            "installation": view.installation(installation),
            "repositories": self.brief(&installation.repositories),
            "requester": null,
            "sender": view.user(&installation.account),
        });
        self.push_app_event("installation", action, id, payload);
    }

    fn emit_repositories(&mut self, id: u64, action: &str, full_names: &[String]) {
        let Some(installation) = self.installations.iter().find(|known| known.id == id) else { return };
        let view = self.view();
        let list = |wanted: &str| if action == wanted { self.brief(full_names) } else { json!([]) };
        let payload = json!({
            "action": action,
            "installation": view.installation(installation),
            "repository_selection": "selected",
            "repositories_added": list("added"),
            "repositories_removed": list("removed"),
            "requester": null,
            "sender": view.user(&installation.account),
        });
        self.push_app_event("installation_repositories", action, id, payload);
    }

    fn push_app_event(&mut self, name: &str, action: &str, installation: u64, payload: Value) {
        self.outbox.push(Event {
            name: name.to_owned(),
            action: Some(action.to_owned()),
            repository: None,
            repository_id: None,
            installation,
            payload,
        });
    }

    fn brief(&self, full_names: &[String]) -> Value {
        let described = full_names.iter().filter_map(|name| self.repository(name)).map(|repository| {
            json!({
                "id": repository.id,
                "node_id": crate::playground::github::views::node_id("R", repository.id),
                "name": repository.name,
                "full_name": repository.full_name(),
                "private": repository.private,
            })
        });
        described.collect::<Vec<_>>().into()
    }

    /// Gives out a token, narrowed to these repositories and permissions (`None`: not narrowed).
    ///
    /// # Errors
    /// 422 for a repository or permission that the installation does not have; 403 while it is suspended.
    pub fn mint(
        &mut self,
        id: u64,
        repositories: Option<Vec<String>>,
        permissions: Option<Permissions>,
    ) -> Result<MintedToken> {
        let installation = self.installation(id)?.clone();
        if installation.suspended_at.is_some() {
            return Err(SimError::Forbidden("This installation has been suspended".into()));
        }
        let narrowed = repositories.is_some();
        let repositories = repositories.unwrap_or_else(|| installation.repositories.clone());
        if repositories.iter().any(|name| !installation.repositories.contains(name)) {
            return Err(SimError::invalid(
                "There is at least one repository that does not exist or is not accessible to the parent installation.",
            ));
        }
        let mut permissions = permissions.unwrap_or_else(|| installation.permissions.clone());
        let granted = |name: &String, level: &String| {
            let held = installation.permissions.get(name);
            matches!((level.as_str(), held.map(String::as_str)), ("read", Some(_)) | ("write", Some("write" | "admin")))
        };
        if permissions.iter().any(|(name, level)| !granted(name, level)) {
            return Err(SimError::invalid("The permissions requested are not granted to this installation."));
        }
        permissions.insert("metadata".into(), "read".into());
        let now = crate::clock::now();
        let token = MintedToken {
            token: SecretString::from(new_token(self.app.id, id)),
            installation: id,
            permissions,
            repositories,
            narrowed,
            minted_at: now,
            expires_at: now + TimeDelta::minutes(TOKEN_MINUTES),
        };
        let text = secrecy::ExposeSecret::expose_secret(&token.token).to_owned();
        self.tokens.insert(text, token.clone());
        Ok(token)
    }
}

/// A token in the form that GitHub gives out since April 2026: `ghs_APPID_JWT`, several hundred characters. Its three
/// parts look like a JWT's; nobody but GitHub can verify one, so here the last part is only random.
fn new_token(app: u64, installation: u64) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let random: Vec<u8> = (0..4).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
    let header = part(json!({ "alg": "ES256", "typ": "JWT" }));
    let claims = part(json!({ "iss": "github", "sub": installation, "jti": uuid::Uuid::new_v4().to_string() }));
    format!("ghs_{app}_{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(random))
}
