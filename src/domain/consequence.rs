//! What follows when a step ends: the next step, putting things back, or the end of the run. Pure, one table.

use super::run::{Conclusion, RunKind, StepName};

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StepEnd {
    /// Done and seen to be done.
    Done,
    /// It went wrong; `touched` says whether the service may run the new commit now.
    Failed {
        /// Whether the new commit may be live.
        touched: bool,
    },
    /// Nothing can be said; a person decides.
    Inconclusive,
    /// Somebody stopped it, or the head moved, before anything outside changed in this step.
    Stopped,
}

/// What becomes of the change's locks on the project when its run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locks {
    /// They are given back.
    Release,
    /// The change keeps its canary for its next command, as long as its pull request is open.
    Keep,
    /// They stay until a person has looked, whatever becomes of the pull request.
    Hold,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// Go on with the next step.
    Next,
    /// Put the last good commit back on the canary, then end as failed.
    PutBack,
    /// End the run.
    End {
        /// How.
        conclusion: Conclusion,
        /// What becomes of the change's locks.
        locks: Locks,
        /// Whether Titan starts one rollback of production by itself.
        rollback: bool,
    },
}

/// What follows when `step` of a run of `kind` ended. `last` says whether it was the run's last step, `undoing` whether
/// the run has failed already and this step put things back.
pub fn after(kind: RunKind, step: StepName, end: StepEnd, last: bool, undoing: bool) -> Consequence {
    use Conclusion::{Cancelled, Failure, Inconclusive, Success};
    use Locks::{Hold, Keep, Release};
    let finish = |conclusion, locks| Consequence::End { conclusion, locks, rollback: false };
    if undoing {
        // Put back: the canary is free again. Not put back: it stays held until a person has looked.
        return finish(Failure, if end == StepEnd::Done { Release } else { Hold });
    }
    // From here on production may run a version that nobody has judged.
    let shipped = matches!(step, StepName::Deploy | StepName::Verify | StepName::Bake);
    match (kind, end) {
        (_, StepEnd::Done) if !last => Consequence::Next,
        // A canary that passed stays held, so that nobody else's commit replaces it before it is promoted.
        (RunKind::Propose | RunKind::Canary, StepEnd::Done) => finish(Success, Keep),
        (RunKind::Promote | RunKind::Rollback | RunKind::Restore, StepEnd::Done) => finish(Success, Release),
        // Nothing was there before: whoever comes next replaces it. Else a person looks first.
        (RunKind::Restore, StepEnd::Failed { touched: false }) => finish(Failure, Release),
        (RunKind::Restore, StepEnd::Failed { touched: true }) => finish(Failure, Hold),
        (RunKind::Restore, StepEnd::Inconclusive) => finish(Inconclusive, Hold),
        (RunKind::Restore, StepEnd::Stopped) => finish(Cancelled, Hold),
        (RunKind::Propose, StepEnd::Failed { .. }) => finish(Failure, Keep),
        (RunKind::Canary, StepEnd::Failed { touched: true }) => Consequence::PutBack,
        // The old version still answers: there is nothing to put back.
        (RunKind::Canary, StepEnd::Failed { touched: false }) => finish(Failure, Release),
        (RunKind::Promote, StepEnd::Failed { touched: true }) => {
            Consequence::End { conclusion: Failure, locks: Hold, rollback: true }
        }
        // Not merged: the change keeps its canary and may try again. Merged but not deployed: it has nothing left to hold.
        (RunKind::Promote, StepEnd::Failed { touched: false }) if step == StepName::Merge => finish(Failure, Keep),
        (RunKind::Promote, StepEnd::Failed { touched: false }) => finish(Failure, Release),
        // Production is as it was or unknown: it stays held until a person has looked, except when only the revert
        // pull request is missing.
        (RunKind::Rollback, StepEnd::Failed { .. }) if step == StepName::Revert => finish(Failure, Release),
        (RunKind::Rollback, StepEnd::Failed { .. }) => finish(Failure, Hold),
        (RunKind::Promote, StepEnd::Inconclusive) if shipped => finish(Inconclusive, Hold),
        (RunKind::Rollback, StepEnd::Inconclusive) => finish(Inconclusive, Hold),
        (_, StepEnd::Inconclusive) => finish(Inconclusive, Keep),
        (RunKind::Canary, StepEnd::Stopped) if step != StepName::Deploy => Consequence::PutBack,
        // Nothing was deployed, so there is nothing to keep the others away from.
        (RunKind::Canary, StepEnd::Stopped) => finish(Cancelled, Release),
        (RunKind::Promote, StepEnd::Stopped) if shipped && step != StepName::Deploy => finish(Cancelled, Hold),
        (RunKind::Rollback, StepEnd::Stopped) => finish(Cancelled, Hold),
        (_, StepEnd::Stopped) => finish(Cancelled, Keep),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_canary_is_put_back_and_a_bad_production_is_rolled_back_once() {
        let failed = |touched| StepEnd::Failed { touched };
        assert_eq!(after(RunKind::Canary, StepName::Bake, failed(true), true, false), Consequence::PutBack);
        assert_eq!(
            after(RunKind::Promote, StepName::Bake, failed(true), true, false),
            Consequence::End { conclusion: Conclusion::Failure, locks: Locks::Hold, rollback: true }
        );
        assert_eq!(
            after(RunKind::Rollback, StepName::Verify, failed(true), false, false),
            Consequence::End { conclusion: Conclusion::Failure, locks: Locks::Hold, rollback: false }
        );
    }

    #[test]
    fn what_never_went_live_is_not_rolled_back() {
        for kind in RunKind::ALL {
            for step in StepName::ALL {
                for undoing in [false, true] {
                    let end = StepEnd::Failed { touched: false };
                    let rolls_back =
                        matches!(after(kind, step, end, false, undoing), Consequence::End { rollback: true, .. });
                    assert!(!rolls_back, "{kind} {step}");
                    assert_ne!(after(kind, step, end, false, undoing), Consequence::PutBack, "{kind} {step}");
                }
            }
        }
    }

    #[test]
    fn inconclusive_is_never_a_success_and_never_changes_anything_by_itself() {
        for kind in RunKind::ALL {
            for step in StepName::ALL {
                let Consequence::End { conclusion, rollback, .. } =
                    after(kind, step, StepEnd::Inconclusive, true, false)
                else {
                    panic!("{kind} {step} must end");
                };
                assert_eq!((conclusion, rollback), (Conclusion::Inconclusive, false), "{kind} {step}");
            }
        }
    }

    #[test]
    fn a_version_that_nobody_judged_stays_held_even_when_the_pull_request_is_closed() {
        let held = |kind, step, end| match after(kind, step, end, false, false) {
            Consequence::End { locks, .. } => locks == Locks::Hold,
            _ => panic!("{kind} {step} must end"),
        };
        for end in [StepEnd::Inconclusive, StepEnd::Stopped] {
            assert!(held(RunKind::Promote, StepName::Bake, end), "{end:?}");
            assert!(!held(RunKind::Promote, StepName::Merge, end), "{end:?}");
            assert!(held(RunKind::Rollback, StepName::Verify, end), "{end:?}");
        }
        assert!(!held(RunKind::Canary, StepName::Bake, StepEnd::Inconclusive), "a canary serves no users");
    }

    #[test]
    fn only_the_last_step_ends_a_run_well() {
        assert_eq!(after(RunKind::Promote, StepName::Merge, StepEnd::Done, false, false), Consequence::Next);
        let end = after(RunKind::Promote, StepName::Bake, StepEnd::Done, true, false);
        let well = Consequence::End { conclusion: Conclusion::Success, locks: Locks::Release, rollback: false };
        assert_eq!(end, well);
    }
}
