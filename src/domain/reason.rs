//! The closed list of reasons for a refusal. Codes are stable: people and tools match on them.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($variant:ident $code:literal $meaning:literal;)*) => {
        /// Why a gate said no.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable code.
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What it means, one sentence without a full stop.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

reasons! {
    NotArmed "not_armed" "deployment is off for this repository until an admin turns it on";
    Halted "halted" "somebody stopped all deployments";
    PolicyMissing "policy_missing" "the default branch has no `.github/titan.yml`";
    PolicyInvalid "policy_invalid" "the default branch's `.github/titan.yml` has mistakes";
    ProjectUnknown "project_unknown" "the policy has no project of that name";
    ProjectAmbiguous "project_ambiguous" "more than one project could be meant";
    NoTarget "no_target" "the policy gives the project no service for this environment";
    TargetNotGiven "target_not_given" "the service belongs to another repository, or was given to none";
    ChangeClosed "change_closed" "the pull request is closed or already merged";
    ChangeDraft "change_draft" "the pull request is a draft";
    ChangeLocked "change_locked" "the pull request's conversation is locked";
    RepositoryArchived "repository_archived" "the repository is archived";
    RepositoryMoved "repository_moved" "the repository has another name or owner by now";
    BaseNotDefault "base_not_default" "the pull request does not go to the repository's default branch";
    PermissionDenied "permission_denied" "the person's role in the repository is too low";
    PermissionUnknown "permission_unknown" "GitHub did not tell the person's role, or the account is gone";
    NotNamed "not_named" "the policy names teams or people for the command, and the person is not among them";
    TeamUnknown "team_unknown" "GitHub could not be asked whether the person is in a team that the policy names";
    ForkNotTrusted "fork_not_trusted" "the change comes from a fork and nobody has trusted this commit";
    NotAFork "not_a_fork" "there is nothing to trust: the change does not come from a fork";
    CommitNeeded "commit_needed" "the command must name the commit that it is for";
    HeadMoved "head_moved" "the head commit is not the one the command was given for";
    HeadAmbiguous "head_ambiguous" "a push and the command came too close together";
    Late "late" "the command reached Titan too long after it was given";
    FilesCutOff "files_cut_off" "GitHub's list of changed files was cut off";
    ProtectedPath "protected_path" "the change touches files that it may not touch";
    BuildMissing "build_missing" "this head has not been proposed";
    BuildRunning "build_running" "this head's proposal is still running";
    BuildFailed "build_failed" "this head's build failed";
    ChecksMissing "checks_missing" "a required check has not reported on this head";
    ChecksRunning "checks_running" "a required check has not ended on this head";
    ChecksFailed "checks_failed" "a required check is not green on this head";
    ChecksUnknown "checks_unknown" "GitHub could not be asked for the checks of this head";
    BehindBase "behind_base" "the base branch has commits that the head does not contain";
    BaseUnknown "base_unknown" "GitHub could not be asked how far the head is behind its base";
    ApprovalsMissing "approvals_missing" "too few approving reviews of this content under this policy";
    ChangesRequested "changes_requested" "somebody who may push asks for changes";
    CanaryMissing "canary_missing" "this head was not on the canary";
    CanaryRunning "canary_running" "this head's canary is still being judged";
    CanaryFailed "canary_failed" "this head's canary did not pass";
    LockHeld "lock_held" "another pull request holds the environment";
    InLine "in_line" "another pull request waits in front";
    NotHolder "not_holder" "the lock belongs to another pull request";
    RunActive "run_active" "another run is changing the project now";
    OutsideWindow "outside_window" "the policy lets no promote in at this time";
    NothingToRollBack "nothing_to_roll_back" "there is no earlier good version";
    NotLiveHere "not_live_here" "production does not run this pull request's version";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_stored_under_its_code() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).expect("a word"), reason.code());
        }
    }
}
