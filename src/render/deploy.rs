//! Render's objects as Titan uses them. Forgives what is missing: the specification requires only a deploy's id.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};

use crate::domain::ids::{CommitSha, DeployId};

/// How far a deploy is. What Render adds later is [`DeployStatus::Unknown`] and counts as not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum DeployStatus {
    /// Known, nothing has begun.
    Created,
    /// Waits for another deploy.
    Queued,
    /// Is built.
    Building,
    /// Its pre-deploy command runs.
    PreDeploy,
    /// Its instances are started and checked.
    Updating,
    /// It serves.
    Live,
    /// It served, and another deploy took over.
    Deactivated,
    /// It could not be built; what served before still does.
    BuildFailed,
    /// Its pre-deploy command failed; what served before still does.
    PreDeployFailed,
    /// Its instances did not become healthy; what served before still does.
    UpdateFailed,
    /// Somebody, or a newer deploy, stopped it.
    Canceled,
    /// A word that this version of Titan does not know.
    Unknown(String),
}

/// Each status with Render's word for it.
const WORDS: [(DeployStatus, &str); 11] = [
    (DeployStatus::Created, "created"),
    (DeployStatus::Queued, "queued"),
    (DeployStatus::Building, "build_in_progress"),
    (DeployStatus::PreDeploy, "pre_deploy_in_progress"),
    (DeployStatus::Updating, "update_in_progress"),
    (DeployStatus::Live, "live"),
    (DeployStatus::Deactivated, "deactivated"),
    (DeployStatus::BuildFailed, "build_failed"),
    (DeployStatus::PreDeployFailed, "pre_deploy_failed"),
    (DeployStatus::UpdateFailed, "update_failed"),
    (DeployStatus::Canceled, "canceled"),
];

impl DeployStatus {
    /// Whether nothing more will happen by itself. A live deploy can still become [`DeployStatus::Deactivated`].
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Live | Self::Deactivated) || self.has_failed()
    }

    /// Whether it ended without ever serving, so that what served before still does.
    pub fn has_failed(&self) -> bool {
        matches!(self, Self::BuildFailed | Self::PreDeployFailed | Self::UpdateFailed | Self::Canceled)
    }

    /// Render's own word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unknown(word) => word,
            known => WORDS.iter().find(|(status, _)| status == known).map_or("unknown", |(_, word)| word),
        }
    }
}

impl From<String> for DeployStatus {
    fn from(word: String) -> Self {
        match WORDS.iter().find(|(_, known)| *known == word) {
            Some((status, _)) => status.clone(),
            None => Self::Unknown(word.chars().filter(|c| c.is_ascii_graphic()).take(40).collect()),
        }
    }
}

impl From<DeployStatus> for String {
    fn from(status: DeployStatus) -> Self {
        status.as_str().to_owned()
    }
}

impl std::fmt::Display for DeployStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One deploy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deploy {
    /// `dep-…`.
    pub id: DeployId,
    /// What it deploys; `None` when Render does not say, or for a service that runs an image.
    #[serde(default, deserialize_with = "commit_id")]
    pub commit: Option<CommitSha>,
    /// How far it is.
    #[serde(default = "unsaid")]
    pub status: DeployStatus,
    /// Who asked for it: `api`, `deploy_hook`, `new_commit`, `rollback`, …
    #[serde(default)]
    pub trigger: Option<String>,
    /// When it was asked for.
    #[serde(default)]
    pub created_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default)]
    pub finished_at: Option<DateTime<Utc>>,
}

impl Deploy {
    /// Whether it deploys this commit.
    pub fn is_of(&self, commit: &CommitSha) -> bool {
        self.commit.as_ref() == Some(commit)
    }

    /// Whether it deploys this commit, as far as Render says.
    pub fn may_be_of(&self, commit: &CommitSha) -> bool {
        self.commit.as_ref().is_none_or(|known| known == commit)
    }

    /// Whether an API call or a hook asked for it, as far as Render says.
    pub fn was_asked_for(&self) -> bool {
        matches!(self.trigger.as_deref(), None | Some("api" | "deploy_hook"))
    }
}

fn unsaid() -> DeployStatus {
    DeployStatus::Unknown(String::new())
}

/// The commit's id, when there is a commit and its id is a full one.
fn commit_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<CommitSha>, D::Error> {
    #[derive(Deserialize)]
    struct Commit {
        #[serde(default)]
        id: Option<String>,
    }
    let commit: Option<Commit> = Option::deserialize(deserializer)?;
    Ok(commit.and_then(|commit| commit.id).and_then(|id| id.parse().ok()))
}

/// One row of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    pub(super) deploy: Deploy,
    #[serde(default)]
    pub(super) cursor: Option<String>,
}

/// Sorts by creation; the specification does not promise an order.
pub(super) fn newest_first(mut deploys: Vec<Deploy>) -> Vec<Deploy> {
    deploys.sort_by_key(|deploy| std::cmp::Reverse(deploy.created_at));
    deploys
}

/// What an accepted request for a deploy came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// It exists.
    Deploy(Deploy),
    /// It waits for another deploy and has no id yet; a newer request may take its place. Look for it later.
    Queued,
}

/// What a triggered hook came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookStarted {
    /// It exists; a hook tells only its id.
    Deploy(DeployId),
    /// As [`Started::Queued`].
    Queued,
}

/// What matters of a service before a deploy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "WireService")]
pub struct Service {
    /// Whether somebody suspended it; then it cannot be deployed.
    pub suspended: bool,
    /// Whether pushes deploy it, which can undo a rollback.
    pub auto_deploy: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireService {
    suspended: String,
    auto_deploy: String,
}

impl From<WireService> for Service {
    fn from(wire: WireService) -> Self {
        Self { suspended: wire.suspended == "suspended", auto_deploy: wire.auto_deploy == "yes" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_render_comes_back_as_it_went() {
        for (status, word) in WORDS {
            assert_eq!(DeployStatus::from(word.to_owned()), status);
            assert_eq!(status.as_str(), word);
        }
        let new = DeployStatus::from("hibernating\n".to_owned());
        assert_eq!(new, DeployStatus::Unknown("hibernating".to_owned()));
        assert!(!new.is_terminal() && !new.has_failed());
    }

    #[test]
    fn only_what_never_served_has_failed() {
        let failed: Vec<&str> = WORDS.iter().filter(|(s, _)| s.has_failed()).map(|(_, word)| *word).collect();
        assert_eq!(failed, ["build_failed", "pre_deploy_failed", "update_failed", "canceled"]);
        let ended = WORDS.iter().filter(|(s, _)| s.is_terminal()).count();
        assert_eq!(ended, 6);
    }

    #[test]
    fn a_deploy_with_only_its_id_can_be_read() {
        let deploy: Deploy = serde_json::from_str(r#"{"id":"dep-1"}"#).expect("a deploy");
        assert_eq!((deploy.commit, deploy.created_at, deploy.status.is_terminal()), (None, None, false));
        let odd =
            r#"{"id":"dep-1","commit":null,"status":"live","image":{},"createdAt":"2026-11-21T10:00:00.123456Z"}"#;
        let deploy: Deploy = serde_json::from_str(odd).expect("a deploy");
        assert_eq!(deploy.status, DeployStatus::Live);
        assert!(serde_json::from_str::<Deploy>(r#"{"id":"../../x"}"#).is_err());
    }
}
