//! The gate about what others report of a commit: check runs and commit statuses.
//!
//! What the base branch's rules require is asked of a promote, because GitHub asks for it at the merge. What the policy
//! names is asked of a canary as well. `all` is not: a check that tries the canary reports only afterwards.

use std::collections::BTreeSet;

use super::{Gate, GateResult, fail, pass};
use crate::domain::markdown::inline_code;
use crate::domain::policy::{Policy, RequiredChecks};
use crate::domain::reason::Reason;
use crate::domain::report::CheckName;
use crate::domain::run::RunKind;
use crate::domain::snapshot::{CheckStanding, ChecksFact, ReportedCheck, RequiredCheck, Snapshot};

/// More are counted, not named.
const NAMED: usize = 8;

/// What stands in the way, each with its name.
#[derive(Default)]
struct Seen {
    red: Vec<String>,
    running: Vec<String>,
    missing: Vec<String>,
    green: usize,
}

/// Whether a command of this kind asks for checks at all, under this policy.
pub fn asks_for_checks(kind: RunKind, policy: &Policy) -> bool {
    match kind {
        RunKind::Promote => true,
        RunKind::Canary => matches!(&policy.required_checks, RequiredChecks::Named(names) if !names.is_empty()),
        RunKind::Propose | RunKind::Rollback | RunKind::Restore => false,
    }
}

/// The gate; `None` when the command does not ask for checks.
pub(super) fn required_checks(kind: RunKind, policy: &Policy, snapshot: &Snapshot) -> Option<GateResult> {
    let gate = Gate::RequiredChecks;
    if !asks_for_checks(kind, policy) {
        return None;
    }
    let (required, reported) = match &snapshot.checks {
        ChecksFact::Read { required, reported } => (required, reported),
        ChecksFact::Unknown(why) => return Some(unknown(why)),
        ChecksFact::NotAsked => return Some(unknown("they were not read")),
    };
    let wanted = wanted(kind, policy, required);
    let mut seen = Seen::default();
    for check in &wanted {
        let fits = |known: &&ReportedCheck| known.name == check.name && (check.app.is_none() || check.app == known.app);
        let found: Vec<_> = reported.iter().filter(fits).collect();
        if found.is_empty() {
            seen.missing.push(format!("{} has not reported{}", inline_code(&check.name), of_app(check.app)));
        }
        found.into_iter().for_each(|check| seen.look_at(check));
    }
    let all = kind == RunKind::Promote && policy.required_checks == RequiredChecks::All;
    if all {
        let named = |check: &&ReportedCheck| !wanted.iter().any(|wanted| wanted.name == check.name);
        reported.iter().filter(named).for_each(|check| seen.look_at(check));
        if reported.is_empty() {
            seen.missing.push("no check has reported".to_owned());
        }
    }
    if wanted.is_empty() && !all {
        return Some(pass(gate, "neither GitHub's rules nor the policy require one"));
    }
    Some(seen.result(snapshot))
}

/// The checks that must be there, without Titan's own: those have gates of their own.
fn wanted(kind: RunKind, policy: &Policy, required: &[RequiredCheck]) -> BTreeSet<RequiredCheck> {
    let mut wanted = BTreeSet::new();
    if kind == RunKind::Promote {
        let own = |name: &str| CheckName::ALL.into_iter().any(|check| check.as_str() == name);
        wanted.extend(required.iter().filter(|check| !own(&check.name)).cloned());
    }
    if let RequiredChecks::Named(names) = &policy.required_checks {
        wanted.extend(names.iter().map(|name| RequiredCheck { name: name.clone(), app: None }));
    }
    wanted
}

fn of_app(app: Option<i64>) -> String {
    app.map_or_else(String::new, |id| format!(" from the App {id}, which GitHub's rule names"))
}

fn unknown(why: &str) -> GateResult {
    fail(
        Gate::RequiredChecks,
        Reason::ChecksUnknown,
        format!("GitHub did not tell the checks: {}", crate::domain::markdown::escape(why)),
        "try again in a minute",
    )
}

impl Seen {
    fn look_at(&mut self, check: &ReportedCheck) {
        let name = inline_code(&check.name);
        match &check.state {
            CheckStanding::Green(_) => self.green += 1,
            CheckStanding::Running(word) => self.running.push(format!("{name} is {}", inline_code(word))),
            CheckStanding::Red(word) => self.red.push(format!("{name} ended as {}", inline_code(word))),
        }
    }

    fn result(self, snapshot: &Snapshot) -> GateResult {
        let gate = Gate::RequiredChecks;
        let head = snapshot.change.head.short();
        let (reason, way_out) = match (self.red.is_empty(), self.running.is_empty(), self.missing.is_empty()) {
            (true, true, true) => return pass(gate, format!("{} green on `{head}`", self.green)),
            (false, ..) => (Reason::ChecksFailed, "open the red ones, push a fix or run them again, and comment again"),
            (true, false, _) => (Reason::ChecksRunning, "wait until they have ended, and comment again"),
            (true, true, false) => {
                (Reason::ChecksMissing, "start what reports them, or take the name out of the rule or the policy")
            }
        };
        let closed: Vec<String> = [self.red, self.running, self.missing].concat();
        let more = closed.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let named = closed.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
        fail(gate, reason, format!("on `{head}`: {named}{more}"), way_out)
    }
}
