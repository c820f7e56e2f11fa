//! Gates about the services: armed, halted, the canary's verdict, locks, runs under way and what to go back to.

use super::code::{base_of, newest};
use super::{Gate, GateResult, fail, pass};
use crate::domain::ids::{ProjectName, RepoName};
use crate::domain::markdown::{escape, inline_code};
use crate::domain::policy::Policy;
use crate::domain::reason::Reason;
use crate::domain::run::{Conclusion, RunKind};
use crate::domain::snapshot::{ProjectFact, RunFact, Snapshot};
use crate::domain::targets::Standing;
use crate::domain::windows::Closed;

/// Titan's key for Render reaches every service of its account, so a policy's word alone is not enough.
pub(super) fn target_given(kind: RunKind, project: Option<&ProjectName>, snapshot: &Snapshot) -> GateResult {
    let gate = Gate::TargetGiven;
    let refused = snapshot.targets.iter().find(|t| t.is_changed_by(kind, project) && t.standing != Standing::Ours);
    let Some(target) = refused else { return pass(gate, "the services are this repository's") };
    let shown = inline_code(&target.names.shown);
    let observed = match target.standing {
        Standing::NotGiven => format!("{shown} (`{}`) was not given to this repository", target.environment),
        Standing::Elsewhere | Standing::Ours => {
            format!("{shown} (`{}`) belongs to another repository, which deployed to it first", target.environment)
        }
    };
    let way_out = "name a service of this repository in the policy, or ask Titan's operator to give it this one with \
                   `TARGET_REPOSITORIES`";
    fail(gate, Reason::TargetNotGiven, observed, way_out)
}

/// Whether the policy lets a promote in now; `None` for a policy without windows. A canary and a rollback are always let
/// in: the one is seen by nobody, and the other must never have to wait.
pub(super) fn inside_window(policy: &Policy, snapshot: &Snapshot) -> Option<GateResult> {
    let gate = Gate::InsideWindow;
    let windows = policy.windows.as_ref()?;
    let now = snapshot.read_at.with_timezone(&windows.zone).format("%a %Y-%m-%d %H:%M");
    let why = match windows.check(snapshot.read_at) {
        Ok(()) => return Some(pass(gate, format!("{now} in {} is open", windows.zone))),
        Err(Closed::OutsideHours) => format!("open: {}", inline_code(&windows.hours())),
        Err(Closed::Frozen(freeze)) => format!("frozen: {}", inline_code(&freeze)),
    };
    let way_out = match windows.next_opening(snapshot.read_at) {
        Some(at) => format!("comment again from {} in {} on", at.format("%a %Y-%m-%d %H:%M"), windows.zone),
        None => "nothing opens within two years; change `windows` in the policy".to_owned(),
    };
    Some(fail(gate, Reason::OutsideWindow, format!("{now} in {}, {why}", windows.zone), way_out))
}

pub(super) fn armed(snapshot: &Snapshot) -> GateResult {
    match snapshot.armed {
        true => pass(Gate::Armed, "deployment is on for this repository"),
        false => fail(
            Gate::Armed,
            Reason::NotArmed,
            "deployment is off: Titan only observes here",
            "an admin of the repository turns it on with `/titan arm`",
        ),
    }
}

pub(super) fn not_halted(snapshot: &Snapshot) -> GateResult {
    match &snapshot.halt {
        None => pass(Gate::NotHalted, "no halt in force"),
        Some(halt) => {
            let why = match halt.reason.as_str() {
                "" => String::new(),
                reason => format!(": {}", escape(reason)),
            };
            fail(
                Gate::NotHalted,
                Reason::Halted,
                format!("{} called a halt{why}", inline_code(&halt.by)),
                match &halt.elsewhere {
                    None => "an admin lifts it with `/titan resume`".to_owned(),
                    Some(repo) => lifted_there(repo),
                },
            )
        }
    }
}

fn lifted_there(repo: &RepoName) -> String {
    format!("an admin of {} lifts it there, where it was called, with `/titan resume`", inline_code(&repo.to_string()))
}

/// Whether a halt can be lifted from here: nobody takes away what was called in a repository of which they are no admin.
pub(super) fn lifts_here(snapshot: &Snapshot) -> GateResult {
    match snapshot.halt.as_ref().and_then(|halt| halt.elsewhere.as_ref().map(|repo| (halt, repo))) {
        None => pass(Gate::NotHalted, "no halt that was called elsewhere"),
        Some((halt, repo)) => fail(
            Gate::NotHalted,
            Reason::Halted,
            format!("{} called the halt in {}", inline_code(&halt.by), inline_code(&repo.to_string())),
            lifted_there(repo),
        ),
    }
}

pub(super) fn canary_passed(policy: &Policy, project: Option<&ProjectName>, snapshot: &Snapshot) -> GateResult {
    let gate = Gate::CanaryPassed;
    let head = &snapshot.change.head;
    let short = head.short();
    match newest(&snapshot.runs, RunKind::Canary, project, head) {
        None => fail(gate, Reason::CanaryMissing, format!("`{short}` was not on the canary"), "`/titan canary` first"),
        Some(run) if run.is_under_way() => fail(
            gate,
            Reason::CanaryRunning,
            format!("the canary of `{short}` is still being judged"),
            "wait for check `titan/canary`",
        ),
        Some(run) if run.succeeded() && !run.is_for_base(&snapshot.change) => fail(
            gate,
            Reason::CanaryMissing,
            format!("`{short}` was on the canary for {}", base_of(run)),
            "`/titan canary` again, because the pull request goes to another branch now",
        ),
        Some(run) if run.succeeded() && run.policy_hash.as_deref() != Some(policy.hash.as_str()) => fail(
            gate,
            Reason::CanaryMissing,
            format!("`{short}` was on the canary under an older policy"),
            "`/titan canary` again, because the policy has changed since",
        ),
        Some(run) if run.succeeded() && was_put_back(run, snapshot) => fail(
            gate,
            Reason::CanaryMissing,
            format!("`{short}` passed, but is not on the canary any more: the version before was put back"),
            "`/titan canary` again",
        ),
        Some(run) if run.succeeded() => pass(gate, format!("`{short}` passed on the canary")),
        Some(run) => {
            let how = run.status.conclusion().map_or("unknown", Conclusion::as_str);
            fail(
                gate,
                Reason::CanaryFailed,
                format!("the canary of `{short}` ended as {how}"),
                "look at check `titan/canary`; push a fix, or `/titan canary` again if the cause was elsewhere",
            )
        }
    }
}

/// Whether Titan has put the version before it back since, because the change was closed or had the canary for too long.
fn was_put_back(canary: &RunFact, snapshot: &Snapshot) -> bool {
    let later = |run: &&RunFact| run.kind == RunKind::Restore && run.project == canary.project && run.id > canary.id;
    snapshot.runs.iter().any(|run| later(&run))
}

pub(super) fn no_run_active(kind: RunKind, snapshot: &Snapshot, fact: Option<&ProjectFact>) -> GateResult {
    let gate = Gate::NoRunActive;
    if kind == RunKind::Propose {
        let head = &snapshot.change.head;
        let busy = snapshot.runs.iter().find(|r| r.kind == kind && r.head == *head && r.is_under_way());
        return match busy {
            None => pass(gate, "no proposal of this head is running"),
            Some(run) => fail(
                gate,
                Reason::RunActive,
                format!("run `{}` is already building `{}`", run.id, head.short()),
                "wait for check `titan/build`, or `/titan cancel`",
            ),
        };
    }
    match fact.and_then(|f| f.active.as_ref()) {
        None => pass(gate, "no other run is changing the project"),
        Some(active) => fail(
            gate,
            Reason::RunActive,
            format!("a `{}` of {} is running", active.kind, active.number),
            format!("wait until it ends, or `/titan cancel` on {}", active.number),
        ),
    }
}

pub(super) fn rollback_target(snapshot: &Snapshot, fact: Option<&ProjectFact>) -> GateResult {
    let gate = Gate::RollbackTarget;
    let live = fact.and_then(|f| f.production.as_ref());
    match (live, fact.and_then(|f| f.rollback_target.as_ref())) {
        (None, _) => fail(
            gate,
            Reason::NothingToRollBack,
            "Titan has not shipped anything to this production service",
            "`/titan promote` a change first; an older version is restored on Render's own page",
        ),
        (Some(live), _) if live.number != Some(snapshot.change.number) => {
            let by = live.number.map_or_else(|| "somebody else".to_owned(), |n| n.to_string());
            fail(
                gate,
                Reason::NotLiveHere,
                format!("production runs `{}`, brought by {by}", live.commit.short()),
                format!("comment `/titan rollback` on the pull request that is live ({by})"),
            )
        }
        (Some(live), None) => fail(
            gate,
            Reason::NothingToRollBack,
            format!("no good version is known from before `{}`", live.commit.short()),
            "revert the change in a new pull request and promote it",
        ),
        (Some(live), Some(target)) => {
            pass(gate, format!("from `{}` back to `{}`", live.commit.short(), target.short()))
        }
    }
}
