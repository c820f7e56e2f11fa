//! The gate about what others report of a commit: check runs and commit statuses.
//!
//! What the base branch's rules require is asked of a promote, because GitHub asks for it at the merge. What the policy
//! names is asked of a canary as well. `all` is not: a check that tries the canary reports only afterwards.

use std::collections::BTreeSet;

use super::{Gate, GateResult, fail, pass};
use crate::domain::markdown::inline_code;
use crate::domain::policy::{CheckSource, NamedCheck, Policy, RequiredChecks};
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
        let of_name = || reported.iter().filter(|known| known.name == check.name);
        let counts = |known: &&ReportedCheck| match check.from {
            CheckSource::App(id) => known.app == Some(id),
            CheckSource::CheckRun => known.app.is_some(),
            CheckSource::Any => true,
        };
        let found: Vec<_> = of_name().filter(counts).collect();
        if found.is_empty() {
            let only_status = check.from == CheckSource::CheckRun && of_name().next().is_some();
            seen.missing.push(format!("{}{}", inline_code(&check.name), not_reported(check.from, only_status)));
        }
        found.into_iter().for_each(|check| seen.look_at(check));
        // A bad word is believed from anybody.
        if check.from == CheckSource::CheckRun {
            let red = |known: &&ReportedCheck| known.app.is_none() && matches!(known.state, CheckStanding::Red(_));
            of_name().filter(red).for_each(|check| seen.look_at(check));
        }
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
fn wanted(kind: RunKind, policy: &Policy, required: &[RequiredCheck]) -> BTreeSet<NamedCheck> {
    let mut wanted = BTreeSet::new();
    if kind == RunKind::Promote {
        let own = |name: &str| CheckName::ALL.into_iter().any(|check| check.as_str() == name);
        // Without an App a rule of GitHub's takes a commit status too.
        let as_the_rule = |check: &RequiredCheck| NamedCheck {
            name: check.name.clone(),
            from: check.app.map_or(CheckSource::Any, CheckSource::App),
        };
        wanted.extend(required.iter().filter(|check| !own(&check.name)).map(as_the_rule));
    }
    if let RequiredChecks::Named(names) = &policy.required_checks {
        wanted.extend(names.iter().cloned());
    }
    wanted
}

fn not_reported(from: CheckSource, only_status: bool) -> String {
    match from {
        CheckSource::App(id) => format!(" has not reported from the App {id}, whose word alone counts"),
        CheckSource::CheckRun if only_status => {
            " is only a commit status, which anybody who may push can set (`app: any` in the policy would let it count)"
                .to_owned()
        }
        CheckSource::CheckRun | CheckSource::Any => " has not reported".to_owned(),
    }
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
