//! Writes that people see: comments, reactions and labels here, check runs and deployments below.
//!
//! All with [`Access::Feedback`]. Each write has its `find_` that tells, after a crash, whether it was done. Says what it
//! is given; words, buttons and when to speak are decided elsewhere.

mod check_runs;
mod deployments;

pub use check_runs::{
    Annotation, AnnotationLevel, CheckAction, CheckConclusion, CheckRunWrite, CheckState, MAX_ACTIONS,
};
pub use deployments::{DeploymentState, DeploymentStatusWrite, DeploymentWrite};

use http::Method;
use serde::Deserialize;

use super::call::Call;
use super::wire::{Id, User, or_default};
use super::{Access, AppIdentity, GitHubError, RepoClient};
use crate::domain::budget::Lane;
use crate::domain::ids::PrNumber;

/// The most a comment or a pull request's text may have, in bytes. GitHub documents no limit; its error text speaks of
/// 65536 characters.
pub const BODY_BYTES: usize = 65_000;

/// A reaction that Titan uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// 👀: seen.
    Eyes,
    /// 🚀: on its way.
    Rocket,
    /// 😕: refused or not understood.
    Confused,
}

impl Reaction {
    /// GitHub's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eyes => "eyes",
            Self::Rocket => "rocket",
            Self::Confused => "confused",
        }
    }
}

#[derive(Deserialize)]
struct OwnedCommentWire {
    id: i64,
    #[serde(default)]
    user: Option<User>,
    #[serde(default)]
    performed_via_github_app: Option<Id>,
    #[serde(default, deserialize_with = "or_default")]
    body: String,
}

impl OwnedCommentWire {
    /// Whether the App itself wrote it. A comment that the App made in a person's name has that person as its user.
    fn is_by(&self, app: &AppIdentity) -> bool {
        let login = self.user.as_ref().map(|user| user.login.as_str()).unwrap_or_default();
        let via_app = self.performed_via_github_app.as_ref().is_some_and(|via| via.id == app.id);
        let bot = self.user.as_ref().is_none_or(User::is_bot);
        login.eq_ignore_ascii_case(&app.bot_login()) || (via_app && bot)
    }
}

impl RepoClient {
    /// The oldest comment of the App itself that contains `marker`. Comments of others never count, whatever they say.
    ///
    /// # Errors
    /// `NotFound` when there is no such pull request.
    pub async fn find_comment(&self, number: PrNumber, marker: &str) -> Result<Option<i64>, GitHubError> {
        let app = self.github.app().await?;
        let call = Call::get(self.path(&format!("/issues/{}/comments", number.0)));
        let comments = self.list_all(Access::Feedback, call, |page: Vec<OwnedCommentWire>| page).await?;
        Ok(comments
            .iter()
            .find(|comment| comment.is_by(&app) && comment.body.contains(marker))
            .map(|comment| comment.id))
    }

    /// Writes a new comment and gives its number. Text over [`BODY_BYTES`] is cut.
    ///
    /// # Errors
    /// `NotFound` when there is no such pull request, `Unauthorized` when its conversation is locked.
    pub async fn create_comment(&self, number: PrNumber, body: &str) -> Result<i64, GitHubError> {
        let body = serde_json::json!({"body": cut_bytes(body, BODY_BYTES)});
        let made: Id =
            self.write(Access::Feedback, Method::POST, &format!("/issues/{}/comments", number.0), &body).await?;
        Ok(made.id)
    }

    /// Replaces a comment's text. May be called twice.
    ///
    /// # Errors
    /// `NotFound` when the comment was deleted.
    pub async fn update_comment(&self, id: i64, body: &str) -> Result<(), GitHubError> {
        let body = serde_json::json!({"body": cut_bytes(body, BODY_BYTES)});
        self.tell(Access::Feedback, Method::PATCH, &format!("/issues/comments/{id}"), &body).await
    }

    /// Puts a reaction on a comment. May be called twice: GitHub keeps one of each.
    ///
    /// # Errors
    /// `NotFound` when the comment was deleted.
    pub async fn react(&self, comment: i64, reaction: Reaction) -> Result<(), GitHubError> {
        let body = serde_json::json!({"content": reaction.as_str()});
        let path = format!("/issues/comments/{comment}/reactions");
        self.tell(Access::Feedback, Method::POST, &path, &body).await
    }

    /// Puts a label on a pull request; GitHub creates one that the repository does not have. May be called twice.
    ///
    /// # Errors
    /// `NotFound` when there is no such pull request.
    pub async fn add_label(&self, number: PrNumber, label: &str) -> Result<(), GitHubError> {
        let call = Call::write(
            Method::POST,
            self.path(&format!("/issues/{}/labels", number.0)),
            &serde_json::json!({"labels": [label]}),
        )?
        .lane(Lane::Effect);
        self.send(Access::Feedback, &call).await?;
        Ok(())
    }
}

/// At most `limit` bytes, cut where a character ends, with a sign that something is missing.
pub(super) fn cut_bytes(text: &str, limit: usize) -> String {
    const SIGN: &str = "…";
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit.saturating_sub(SIGN.len()));
    format!("{}{SIGN}", &text[..end])
}

/// At most `limit` characters, with a sign that something is missing.
pub(super) fn cut_chars(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cut_keeps_its_limit_and_the_beginning(text in any::<String>(), limit in 3usize..40) {
            let bytes = cut_bytes(&text, limit);
            prop_assert!(bytes.len() <= limit);
            let chars = cut_chars(&text, limit);
            prop_assert!(chars.chars().count() <= limit);
            for (cut, fits) in [(&bytes, text.len() <= limit), (&chars, text.chars().count() <= limit)] {
                if fits {
                    prop_assert_eq!(cut, &text);
                } else {
                    prop_assert!(text.starts_with(cut.trim_end_matches('…')) && cut.ends_with('…'));
                }
            }
        }
    }

    #[test]
    fn only_the_apps_own_comments_are_its_own() {
        let app = AppIdentity { id: 42, slug: "titan".to_owned() };
        let by =
            |json: serde_json::Value| serde_json::from_value::<OwnedCommentWire>(json).expect("a comment").is_by(&app);
        assert!(by(serde_json::json!({"id": 1, "user": {"login": "titan[bot]", "type": "Bot"}})));
        assert!(by(serde_json::json!({"id": 1, "user": {"login": "Titan[bot]"}})));
        assert!(by(
            serde_json::json!({"id": 1, "user": {"login": "old[bot]", "type": "Bot"}, "performed_via_github_app": {"id": 42}})
        ));
        assert!(!by(
            serde_json::json!({"id": 1, "user": {"login": "alice", "type": "User"}, "performed_via_github_app": {"id": 42}})
        ));
        assert!(!by(
            serde_json::json!({"id": 1, "user": {"login": "other[bot]", "type": "Bot"}, "performed_via_github_app": {"id": 43}})
        ));
        assert!(!by(serde_json::json!({"id": 1, "user": {"login": "titan"}})));
        assert!(!by(serde_json::json!({"id": 1, "user": null})));
    }
}
