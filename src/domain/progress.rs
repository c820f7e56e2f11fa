//! What each step remembers between two takings-up: intents, what came of them, and the numbers that people are shown.
//!
//! Plain data, stored as a step's `progress`. Every field has a default, so that a step that has not begun, or one that
//! was begun by an older version, can always be read. Nothing here decides, and nothing here is a secret.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ids::{CommitSha, DeployId, PrNumber};
use super::paths::Offence;
use super::replay::PolicyReview;
use super::verdict::Judgement;

/// Reads a step's stored progress; what cannot be read counts as not begun.
pub fn read<T: DeserializeOwned + Default>(progress: &serde_json::Value) -> T {
    T::deserialize(progress).unwrap_or_default()
}

/// `diff`: the changed files against the path rules.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DiffProgress {
    /// How many changed files were judged.
    pub files: usize,
    /// SHA-256 of the receipt: the list of everything that was judged.
    pub receipt: Option<String>,
    /// The change's own policy file, when it has one.
    pub policy: Option<PolicyReview>,
    /// The files that the change may not touch, in the order of GitHub's list; may be empty.
    pub offences: Vec<Offence>,
    /// Set when the files could not be read whole; then nothing can be said about the rest.
    pub cut_off: Option<CutOff>,
}

/// A list of changed files that does not hold all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CutOff {
    /// How many files were listed.
    pub listed: usize,
    /// How many GitHub says there are, when it says so.
    pub expected: Option<u64>,
}

/// `build`: the commands that were run on the head commit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BuildProgress {
    /// The commands in order, as the policy or the lock file gave them; empty while they are not known.
    pub commands: Vec<String>,
    /// How long they took together, milliseconds.
    pub duration_ms: u64,
    /// How it ended, one phrase for people, e.g. `npm run build ended with exit code 1`; `None` while it runs.
    pub outcome: Option<String>,
    /// Size of the whole log, bytes.
    pub log_bytes: u64,
    /// The last lines of the log, redacted, for the check's summary.
    pub log_tail: String,
}

/// `deploy`: a commit put on a service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DeployProgress {
    /// When the intent was committed; the call comes after it. `None`: nothing outside has been touched.
    pub intent_at: Option<DateTime<Utc>>,
    /// When a look for what the announced call produced found nothing, the first time. `None`: there was no such look.
    pub missed_at: Option<DateTime<Utc>>,
    /// The commit that is put there (for production: the merge commit).
    pub commit: Option<CommitSha>,
    /// What was live before, when it is known.
    pub previous: Option<Previous>,
    /// Whether Render took the deploy without naming it; it is then looked for and not asked for again.
    pub queued: bool,
    /// Render's deploy, once it is known.
    pub deploy: Option<DeployId>,
    /// When the service was seen to be live with it.
    pub went_live_at: Option<DateTime<Utc>>,
    /// The service's address.
    pub service_url: Option<String>,
}

/// What was live on a service before a deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Its commit.
    pub commit: CommitSha,
    /// Its deploy at Render, when it is known.
    #[serde(default)]
    pub deploy: Option<DeployId>,
}

/// `verify`: the service asked for its commit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VerifyProgress {
    /// Answers with the expected commit in a row, so far.
    pub matches: u32,
    /// Since when it is asked.
    pub since: Option<DateTime<Utc>>,
    /// What it answered last, short, for people; may be empty.
    pub last_answer: String,
}

/// `bake`: the new version watched.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BakeProgress {
    /// When watching began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ends at the latest.
    pub until: Option<DateTime<Utc>>,
    /// How many samples the bake time allows for.
    pub expected: usize,
    /// The judgement, once there is one.
    pub judgement: Option<Judgement>,
}

/// `merge`: the pull request merged with the head guard.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MergeProgress {
    /// When the intent was committed.
    pub intent_at: Option<DateTime<Utc>>,
    /// When a look for what the announced call produced found nothing, the first time. `None`: there was no such look.
    pub missed_at: Option<DateTime<Utc>>,
    /// The commit on the base branch that came of it.
    pub merge_commit: Option<CommitSha>,
    /// Its tree, which must be the one that was judged.
    pub tree: Option<String>,
}

/// `restore`: the last good commit put back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RestoreProgress {
    /// What was live.
    pub from: Option<CommitSha>,
    /// What is put back.
    pub to: Option<CommitSha>,
    /// When the intent was committed.
    pub intent_at: Option<DateTime<Utc>>,
    /// When a look for what the announced call produced found nothing, the first time. `None`: there was no such look.
    pub missed_at: Option<DateTime<Utc>>,
    /// Render's deploy, once it is known.
    pub deploy: Option<DeployId>,
    /// When the service was seen to be live with it.
    pub went_live_at: Option<DateTime<Utc>>,
    /// Whether Render's automatic deploys were turned off for it.
    pub auto_deploy_off: bool,
    /// How it was done, a short phrase for people, e.g. `Render rollback`; may be empty.
    pub how: String,
}

/// `revert`: the pull request that takes the change out of the base branch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RevertProgress {
    /// The branch, known by the run's id.
    pub branch: Option<String>,
    /// The commit on it.
    pub commit: Option<CommitSha>,
    /// The pull request.
    pub pull_request: Option<PrNumber>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_has_not_begun_or_is_from_another_version_can_be_read() {
        assert_eq!(read::<BakeProgress>(&serde_json::json!({})), BakeProgress::default());
        assert_eq!(read::<BuildProgress>(&serde_json::json!(null)), BuildProgress::default());
        let newer = serde_json::json!({ "matches": 2, "unheard_of": true });
        assert_eq!(read::<VerifyProgress>(&newer).matches, 2);
    }

    #[test]
    fn progress_round_trips() {
        let commit: CommitSha = "3f2c1ab000000000000000000000000000000000".parse().expect("a full id");
        let deploy = DeployProgress {
            commit: Some(commit.clone()),
            previous: Some(Previous { commit, deploy: None }),
            ..DeployProgress::default()
        };
        assert_eq!(read::<DeployProgress>(&serde_json::to_value(&deploy).expect("plain data")), deploy);
    }
}
