//! What people are and have said: roles, reviews, comments.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;

use crate::domain::budget::Lane;
use crate::domain::ids::{CommitSha, PrNumber};
use crate::domain::policy::{Role, TeamName};
use crate::github::call::{Call, encode};
use crate::github::wire::{Id, User, or_default, who};
use crate::github::{Access, GitHubError, RepoClient};

/// What a person is to a repository now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The role; [`Role::None`] for somebody whom GitHub does not know there.
    pub role: Role,
    /// GitHub's number of whoever has the login now, when it says.
    pub id: Option<i64>,
}

/// One review of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// The reviewer; `ghost` for a deleted account.
    pub login: String,
    /// The reviewer's number; 0 for a deleted account.
    pub user_id: i64,
    /// Whether a program reviewed.
    pub is_bot: bool,
    /// What it says.
    pub state: ReviewState,
    /// The commit that was reviewed.
    pub commit: Option<CommitSha>,
    /// When; `None` while it is not submitted.
    pub submitted_at: Option<DateTime<Utc>>,
}

/// GitHub's word for a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewState {
    /// Approves.
    Approved,
    /// Asks for changes.
    ChangesRequested,
    /// Was taken back by someone.
    Dismissed,
    /// Only comments.
    Commented,
    /// Not submitted yet.
    Pending,
    /// A word that this version does not know.
    Other,
}

impl ReviewState {
    fn from_word(word: &str) -> Self {
        match word.to_ascii_uppercase().as_str() {
            "APPROVED" => Self::Approved,
            "CHANGES_REQUESTED" => Self::ChangesRequested,
            "DISMISSED" => Self::Dismissed,
            "COMMENTED" => Self::Commented,
            "PENDING" => Self::Pending,
            _ => Self::Other,
        }
    }
}

/// One comment in a pull request's conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentFact {
    /// Of which issue or pull request; 0 when that cannot be read.
    pub number: PrNumber,
    /// Its number, unique on the whole of GitHub.
    pub id: i64,
    /// The author; `ghost` for a deleted account.
    pub login: String,
    /// The author's number; 0 for a deleted account.
    pub user_id: i64,
    /// Whether a program wrote it.
    pub is_bot: bool,
    /// The App through which it was written, also in a person's name.
    pub app_id: Option<i64>,
    /// Markdown as written.
    pub body: String,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// When it was last edited; `created_at` when never.
    pub updated_at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct ReviewWire {
    #[serde(default)]
    user: Option<User>,
    #[serde(default, deserialize_with = "or_default")]
    state: String,
    #[serde(default)]
    commit_id: Option<String>,
    #[serde(default)]
    submitted_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct CommentWire {
    id: i64,
    #[serde(default, deserialize_with = "or_default")]
    issue_url: String,
    #[serde(default, deserialize_with = "or_default")]
    pull_request_url: String,
    #[serde(default, deserialize_with = "or_default")]
    html_url: String,
    #[serde(default)]
    user: Option<User>,
    #[serde(default)]
    performed_via_github_app: Option<Id>,
    #[serde(default, deserialize_with = "or_default")]
    body: String,
    created_at: DateTime<Utc>,
    #[serde(default)]
    updated_at: Option<DateTime<Utc>>,
}

#[derive(Deserialize, Default)]
struct PermissionWire {
    #[serde(default, deserialize_with = "or_default")]
    permission: String,
    #[serde(default, deserialize_with = "or_default")]
    role_name: String,
    #[serde(default, deserialize_with = "or_default")]
    user: PermissionUserWire,
}

#[derive(Deserialize, Default)]
struct PermissionUserWire {
    #[serde(default)]
    id: Option<i64>,
    #[serde(default)]
    permissions: Option<FlagsWire>,
}

#[derive(Deserialize)]
struct FlagsWire {
    #[serde(default, deserialize_with = "or_default")]
    admin: bool,
    #[serde(default, deserialize_with = "or_default")]
    maintain: bool,
    #[serde(default, deserialize_with = "or_default")]
    push: bool,
    #[serde(default, deserialize_with = "or_default")]
    triage: bool,
    #[serde(default, deserialize_with = "or_default")]
    pull: bool,
}

/// The role that a word of `role_name` stands for; `None` for a custom role's name.
fn role_from_word(word: &str) -> Option<Role> {
    match word {
        "none" => Some(Role::None),
        "read" => Some(Role::Read),
        "triage" => Some(Role::Triage),
        "write" => Some(Role::Write),
        "maintain" => Some(Role::Maintain),
        "admin" => Some(Role::Admin),
        _ => None,
    }
}

/// The role that a word of `permission` stands for by itself. GitHub's own words for giving somebody access are `pull` and
/// `push`, and other hosts that speak its API answer with them.
fn role_from_permission(word: &str) -> Option<Role> {
    match word {
        "pull" => Some(Role::Read),
        "push" => Some(Role::Write),
        word => role_from_word(word),
    }
}

impl PermissionWire {
    /// The role, and never more than `permission` stands for.
    ///
    /// GitHub's `permission` knows no triage and no maintain; `role_name` does, and knows custom roles too. A custom role counts as
    /// the base role that the flags show. The words are compared as they are: a custom role may be called `Admin`.
    fn role(&self) -> Role {
        let most = match self.permission.as_str() {
            "admin" => Role::Admin,
            // Other hosts tell the finer words here too.
            "maintain" | "write" | "push" => Role::Maintain,
            "triage" | "read" | "pull" => Role::Triage,
            _ => Role::None,
        };
        let from_flags = || {
            let role = match self.user.permissions.as_ref()? {
                FlagsWire { admin: true, .. } => Role::Admin,
                FlagsWire { maintain: true, .. } => Role::Maintain,
                FlagsWire { push: true, .. } => Role::Write,
                FlagsWire { triage: true, .. } => Role::Triage,
                FlagsWire { pull: true, .. } => Role::Read,
                _ => Role::None,
            };
            Some(role)
        };
        let told = role_from_word(&self.role_name).or_else(from_flags);
        told.or_else(|| role_from_permission(&self.permission)).unwrap_or(Role::None).min(most)
    }
}

#[derive(Deserialize)]
struct MembershipWire {
    #[serde(default, deserialize_with = "or_default")]
    state: String,
}

/// The number at the end of an address.
fn last_number(address: &str) -> Option<i64> {
    let address = address.split(['#', '?']).next()?;
    address.trim_end_matches('/').rsplit('/').next()?.parse().ok().filter(|number| *number > 0)
}

impl From<CommentWire> for CommentFact {
    fn from(wire: CommentWire) -> Self {
        let user_id = wire.user.as_ref().map_or(0, |user| user.id);
        let (login, is_bot) = who(wire.user);
        let addresses = [&wire.issue_url, &wire.pull_request_url, &wire.html_url];
        let number = addresses.into_iter().find_map(|address| last_number(address));
        Self {
            number: PrNumber(number.unwrap_or_default()),
            id: wire.id,
            login,
            user_id,
            is_bot,
            app_id: wire.performed_via_github_app.map(|app| app.id),
            body: wire.body,
            created_at: wire.created_at,
            updated_at: wire.updated_at.unwrap_or(wire.created_at),
        }
    }
}

impl RepoClient {
    /// What a person is to the repository now. Someone whom GitHub does not know there has [`Role::None`].
    ///
    /// # Errors
    /// Only when GitHub could not be asked.
    pub async fn get_standing(&self, login: &str) -> Result<Standing, GitHubError> {
        let nobody = Standing { role: Role::None, id: None };
        if matches!(login, "" | "." | "..") {
            return Ok(nobody);
        }
        let found = self.read(Access::Read, &format!("/collaborators/{}/permission", encode(login))).await;
        match found {
            Ok(wire) => Ok(Standing { role: PermissionWire::role(&wire), id: wire.user.id }),
            Err(GitHubError::NotFound(_)) => Ok(nobody),
            Err(error) => Err(error),
        }
    }

    /// The present login of whoever has this number; `None` when nobody has it any more.
    ///
    /// # Errors
    /// Only when GitHub could not be asked.
    pub async fn find_login(&self, id: i64) -> Result<Option<String>, GitHubError> {
        match self.send(Access::Read, &Call::get(format!("/user/{id}"))).await.and_then(|answer| answer.json::<User>())
        {
            // An answer about somebody else is none.
            Ok(user) => Ok(Some(user.login).filter(|_| user.id == id)),
            Err(GitHubError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The number of whoever has this login; `None` when nobody has it.
    ///
    /// # Errors
    /// Only when GitHub could not be asked.
    pub async fn find_account(&self, login: &str) -> Result<Option<i64>, GitHubError> {
        let call = Call::get(format!("/users/{}", encode(login)));
        match self.send(Access::Read, &call).await.and_then(|answer| answer.json::<User>()) {
            Ok(user) => Ok(Some(user.id).filter(|id| *id > 0)),
            Err(GitHubError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a person is an active member of a team: not invited only.
    ///
    /// # Errors
    /// `Unauthorized` or `Invalid` when the App may not see the organisation's members.
    pub async fn is_in_team(&self, team: &TeamName, login: &str) -> Result<bool, GitHubError> {
        if matches!(login, "" | "." | "..") {
            return Ok(false);
        }
        let path = format!("/orgs/{}/teams/{}/memberships/{}", encode(&team.org), encode(&team.slug), encode(login));
        let found = self.send(Access::Members, &Call::get(path)).await;
        match found.and_then(|answer| answer.json::<MembershipWire>()) {
            Ok(membership) => Ok(membership.state == "active"),
            Err(GitHubError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Every review, oldest first; one person may have several.
    ///
    /// # Errors
    /// `NotFound` when there is no such pull request.
    pub async fn list_reviews(&self, number: PrNumber) -> Result<Vec<Review>, GitHubError> {
        let call = Call::get(self.path(&format!("/pulls/{}/reviews", number.0)));
        self.list_all(Access::Read, call, |page: Vec<ReviewWire>| {
            page.into_iter()
                .map(|review| {
                    let user_id = review.user.as_ref().map_or(0, |user| user.id);
                    let (login, is_bot) = who(review.user);
                    Review {
                        login,
                        user_id,
                        is_bot,
                        state: ReviewState::from_word(&review.state),
                        commit: review.commit_id.and_then(|sha| sha.parse().ok()),
                        submitted_at: review.submitted_at,
                    }
                })
                .collect()
        })
        .await
    }

    /// The comments of one conversation, written or edited from `since` on. A look, which lets everything else go first.
    ///
    /// # Errors
    /// `NotFound` when there is no such pull request.
    pub async fn list_comments_of(
        &self,
        number: PrNumber,
        since: DateTime<Utc>,
    ) -> Result<Vec<CommentFact>, GitHubError> {
        let call = Call::get(self.path(&format!("/issues/{}/comments", number.0)))
            .query("since", since.to_rfc3339_opts(SecondsFormat::Secs, true))
            .lane(Lane::Update);
        let fact = |wire: CommentWire| CommentFact { number, ..CommentFact::from(wire) };
        self.list_all(Access::Read, call, |page: Vec<CommentWire>| page.into_iter().map(fact).collect()).await
    }

    /// The comments in the conversations of the repository's issues and pull requests, written or edited from `since` on.
    /// Some hosts give older ones too. A look, which lets everything else go first.
    ///
    /// # Errors
    /// `NotFound` when this host does not list them together; ask [`RepoClient::list_comments_of`] then.
    pub async fn list_comments_since(&self, since: DateTime<Utc>) -> Result<Vec<CommentFact>, GitHubError> {
        let call = Call::get(self.path("/issues/comments"))
            .query("since", since.to_rfc3339_opts(SecondsFormat::Secs, true))
            .lane(Lane::Update);
        self.list_all(Access::Read, call, |page: Vec<CommentWire>| page.into_iter().map(CommentFact::from).collect())
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_found_in_whatever_github_says() {
        let role = |json: serde_json::Value| serde_json::from_value::<PermissionWire>(json).expect("an answer").role();
        let flags = |maintain, push, triage| serde_json::json!({"permissions": {"admin": false, "maintain": maintain, "push": push, "triage": triage, "pull": true}});
        for (json, expected) in [
            (serde_json::json!({"permission": "write", "role_name": "maintain"}), Role::Maintain),
            (serde_json::json!({"permission": "read", "role_name": "triage", "user": null}), Role::Triage),
            (serde_json::json!({"permission": "admin", "role_name": "admin"}), Role::Admin),
            (
                serde_json::json!({"permission": "write", "role_name": "deployer", "user": flags(true, true, true)}),
                Role::Maintain,
            ),
            (
                serde_json::json!({"permission": "write", "role_name": "deployer", "user": flags(false, true, true)}),
                Role::Write,
            ),
            (
                serde_json::json!({"permission": "read", "role_name": "Admin", "user": flags(false, false, false)}),
                Role::Read,
            ),
            (serde_json::json!({"permission": "read", "role_name": "ADMIN"}), Role::Read),
            (serde_json::json!({"permission": "read", "role_name": "admin"}), Role::Triage),
            (
                serde_json::json!({"permission": "read", "role_name": "x", "user": flags(true, true, true)}),
                Role::Triage,
            ),
            (serde_json::json!({"permission": "none", "role_name": "maintain"}), Role::None),
            (
                serde_json::json!({"permission": "read", "role_name": "", "user": flags(false, false, true)}),
                Role::Triage,
            ),
            (serde_json::json!({"permission": "write", "role_name": "deployer"}), Role::Write),
            (serde_json::json!({"permission": "write"}), Role::Write),
            (serde_json::json!({"permission": "pull", "role_name": "read"}), Role::Read),
            (serde_json::json!({"permission": "pull"}), Role::Read),
            (serde_json::json!({"permission": "triage", "role_name": "triage"}), Role::Triage),
            (serde_json::json!({"permission": "push", "role_name": "write"}), Role::Write),
            (serde_json::json!({"permission": "push"}), Role::Write),
            (serde_json::json!({"permission": "maintain", "role_name": "maintain"}), Role::Maintain),
            (serde_json::json!({"permission": "triage", "role_name": "maintain"}), Role::Triage),
            (serde_json::json!({"permission": "pull", "role_name": "push"}), Role::Read),
            (serde_json::json!({"permission": "none", "role_name": null, "user": {"permissions": null}}), Role::None),
            (serde_json::json!({"permission": "owner-of-all"}), Role::None),
            (serde_json::json!({}), Role::None),
        ] {
            assert_eq!(role(json.clone()), expected, "{json}");
        }
    }

    #[test]
    fn a_comment_of_a_deleted_account_is_read() {
        let comment: CommentWire = serde_json::from_value(serde_json::json!(
            {"id": 1, "user": null, "created_at": "2026-01-01T00:00:00Z", "body": null}
        ))
        .expect("a comment");
        let comment = CommentFact::from(comment);
        assert_eq!((comment.login.as_str(), comment.is_bot, comment.app_id), ("ghost", false, None));
        assert_eq!(comment.updated_at, comment.created_at);
    }
}
