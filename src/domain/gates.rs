//! The gates: each a pure function over the snapshot that passes, fails or is not needed, and explains itself.
//!
//! [`judge`] asks every gate of a command, never only the first that fails, so that `/titan status`, a refusal, the
//! checks and the pages all show the same whole table.

mod project;

use serde::{Deserialize, Serialize};

pub use project::choose_project;

use super::command::{Command, CommandName};
use super::ids::{CommitSha, Environment, ProjectName};
use super::markdown::inline_code;
use super::paths::PathRules;
use super::policy::{POLICY_PATH, Policy};
use super::reason::Reason;
use super::recovery::is_late;
use super::run::{Conclusion, RunKind, RunStatus};
use super::snapshot::{FilesFact, HeadBinding, PolicyFact, ProjectFact, RunFact, Snapshot};

/// The conditions, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// The person may do this.
    Permission,
    /// The command arrived soon after it was given. Shown only when it did not.
    InTime,
    /// The base branch has a policy and it is valid.
    PolicyValid,
    /// The command names, or implies, one project that has what the command needs.
    ProjectKnown,
    /// An admin turned deployment on.
    Armed,
    /// Nobody has stopped deployments.
    NotHalted,
    /// The pull request is open and not a draft.
    ChangeOpen,
    /// It goes to the default branch, whose policy is the repository's.
    DefaultBase,
    /// The code comes from the repository itself.
    NotForkOrTrusted,
    /// The head is the one that the person saw.
    HeadUnchanged,
    /// No protected file is touched.
    ProtectedPaths,
    /// This head was built.
    BuildPassed,
    /// The head contains the whole base branch, so that merging gives exactly the tree that was judged.
    UpToDateWithBase,
    /// Enough people approved.
    Approvals,
    /// This head passed on the canary.
    CanaryPassed,
    /// Nobody else holds the environment.
    LockFree,
    /// No other run is changing the project.
    NoRunActive,
    /// Production runs this change and there is an earlier good version.
    RollbackTarget,
}

impl Gate {
    /// The gate's name as shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PolicyValid => "policy-valid",
            Self::ProjectKnown => "project-known",
            Self::Armed => "armed",
            Self::NotHalted => "not-halted",
            Self::Permission => "permission",
            Self::ChangeOpen => "change-open",
            Self::DefaultBase => "default-base",
            Self::NotForkOrTrusted => "not-fork-or-trusted",
            Self::HeadUnchanged => "head-unchanged",
            Self::InTime => "in-time",
            Self::ProtectedPaths => "protected-paths",
            Self::BuildPassed => "build-passed",
            Self::UpToDateWithBase => "up-to-date-with-base",
            Self::Approvals => "approvals",
            Self::CanaryPassed => "canary-passed",
            Self::LockFree => "lock-free",
            Self::NoRunActive => "no-run-active",
            Self::RollbackTarget => "rollback-target",
        }
    }
}

/// What a gate answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateResult {
    /// Which gate.
    pub gate: Gate,
    /// The reason when it failed; `None` when it passed.
    pub reason: Option<Reason>,
    /// What was seen, Markdown, one line.
    pub observed: String,
    /// What to do about it, Markdown, one line; empty when it passed.
    pub way_out: String,
}

impl GateResult {
    /// Whether the gate is met.
    pub fn passed(&self) -> bool {
        self.reason.is_none()
    }
}

fn pass(gate: Gate, observed: impl Into<String>) -> GateResult {
    GateResult { gate, reason: None, observed: observed.into(), way_out: String::new() }
}

fn fail(gate: Gate, reason: Reason, observed: impl Into<String>, way_out: impl Into<String>) -> GateResult {
    GateResult { gate, reason: Some(reason), observed: observed.into(), way_out: way_out.into() }
}

/// Asks every gate of a run command, in the order in which they are shown.
///
/// `project` is the project named in the command. When the policy cannot be read, the gates that need it are left
/// out: they would only repeat the first line.
pub fn judge(kind: RunKind, project: Option<&ProjectName>, snapshot: &Snapshot) -> Vec<GateResult> {
    let Some(policy) = snapshot.policy.policy() else {
        return vec![permission(kind, snapshot), policy_valid(snapshot)];
    };
    let chosen = choose_project(kind, project, policy, snapshot);
    let fact = chosen.as_ref().ok().and_then(|name| name.as_ref()).and_then(|name| project_fact(snapshot, name));
    let name = chosen.as_ref().ok().and_then(Option::as_ref);
    // Whether the person may do this at all comes first: everything else is advice for somebody who may.
    let mut gates = vec![permission(kind, snapshot), policy_valid(snapshot), project_known(kind, &chosen, policy)];
    if kind.environment().is_some() {
        gates.extend([armed(snapshot), not_halted(snapshot)]);
    }
    if kind == RunKind::Rollback {
        gates.push(rollback_target(snapshot, fact));
    } else {
        gates.extend([change_open(snapshot, kind), not_fork(snapshot), head_unchanged(kind, snapshot)]);
    }
    if matches!(kind, RunKind::Canary | RunKind::Promote) {
        gates.push(default_base(snapshot));
        gates.extend([protected_paths(policy, snapshot), build_passed(policy, name, snapshot)]);
    }
    if kind == RunKind::Promote {
        gates.extend([up_to_date(snapshot), approvals(policy, snapshot), canary_passed(policy, name, snapshot)]);
    }
    if let Some(environment) = kind.environment() {
        gates.push(lock_free(kind, environment, snapshot, fact));
    }
    gates.push(no_run_active(kind, snapshot, fact));
    gates
}

fn project_fact<'s>(snapshot: &'s Snapshot, name: &ProjectName) -> Option<&'s ProjectFact> {
    snapshot.projects.iter().find(|p| p.name == *name)
}

fn policy_valid(snapshot: &Snapshot) -> GateResult {
    let gate = Gate::PolicyValid;
    match &snapshot.policy {
        PolicyFact::Valid { policy, commit } => {
            let hash = &policy.hash[..policy.hash.len().min(12)];
            pass(gate, format!("`{POLICY_PATH}` at `{}`, hash `{hash}`", commit.short()))
        }
        PolicyFact::Missing => fail(
            gate,
            Reason::PolicyMissing,
            format!("no `{POLICY_PATH}` on branch {}", inline_code(&snapshot.change.base_ref)),
            format!("commit a `{POLICY_PATH}` there; the first lines are `version: 1` and `projects:`"),
        ),
        PolicyFact::Invalid(diagnostics) => {
            let first = diagnostics.first();
            let observed = first.map_or_else(
                || "the file has mistakes".to_owned(),
                |d| format!("line {}, column {}: {}", d.line, d.column, super::markdown::escape(&d.message)),
            );
            let more = match diagnostics.len() {
                0 | 1 => String::new(),
                n => format!(" (and {} more)", n - 1),
            };
            fail(
                gate,
                Reason::PolicyInvalid,
                observed + &more,
                format!("mend the file on branch {}", inline_code(&snapshot.change.base_ref)),
            )
        }
    }
}

fn project_known(kind: RunKind, chosen: &Result<Option<ProjectName>, Box<GateResult>>, policy: &Policy) -> GateResult {
    let gate = Gate::ProjectKnown;
    let name = match chosen {
        Err(refused) => return (**refused).clone(),
        Ok(None) => return pass(gate, "the policy has no projects; paths and build only"),
        Ok(Some(name)) => name,
    };
    let project = policy.projects.get(name);
    let needed: &[Environment] = match kind {
        RunKind::Propose => &[],
        RunKind::Canary => &[Environment::Canary],
        RunKind::Promote => &[Environment::Canary, Environment::Production],
        RunKind::Rollback => &[Environment::Production],
    };
    match needed.iter().find(|e| project.and_then(|p| p.target(**e)).is_none()) {
        None => pass(gate, format!("project `{name}`")),
        Some(missing) => fail(
            gate,
            Reason::NoTarget,
            format!("project `{name}` has no `{missing}` service"),
            format!("add `{missing}:` to the project in `{POLICY_PATH}` on the base branch"),
        ),
    }
}

fn armed(snapshot: &Snapshot) -> GateResult {
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

fn not_halted(snapshot: &Snapshot) -> GateResult {
    match &snapshot.halt {
        None => pass(Gate::NotHalted, "no halt in force"),
        Some(halt) => {
            let why = match halt.reason.as_str() {
                "" => String::new(),
                reason => format!(": {}", super::markdown::escape(reason)),
            };
            fail(
                Gate::NotHalted,
                Reason::Halted,
                format!("{} called a halt{why}", inline_code(&halt.by)),
                "an admin lifts it with `/titan resume`",
            )
        }
    }
}

fn permission(kind: RunKind, snapshot: &Snapshot) -> GateResult {
    let command = kind.command();
    let needed = match snapshot.policy.policy() {
        Some(policy) => policy.needed_role(command),
        None => super::policy::default_role(command),
    };
    permission_for(&snapshot.actor.login, snapshot.actor.role, needed)
}

/// Whether a role is enough; also used for the commands that are not runs.
pub fn permission_for(login: &str, role: Option<super::policy::Role>, needed: super::policy::Role) -> GateResult {
    let who = inline_code(login);
    match role {
        None => fail(
            Gate::Permission,
            Reason::PermissionUnknown,
            format!("GitHub did not tell the role of {who}"),
            "try again in a minute",
        ),
        Some(role) if role >= needed => pass(Gate::Permission, format!("{who} has `{role}`, needed `{needed}`")),
        Some(role) => fail(
            Gate::Permission,
            Reason::PermissionDenied,
            format!("{who} has `{role}`, needed `{needed}`"),
            format!("ask somebody with `{needed}` to comment the same command"),
        ),
    }
}

fn change_open(snapshot: &Snapshot, kind: RunKind) -> GateResult {
    let change = &snapshot.change;
    match (change.merged, change.open, change.draft) {
        (true, ..) => fail(
            Gate::ChangeOpen,
            Reason::ChangeClosed,
            "the pull request is merged",
            "open a new pull request, or use `/titan rollback` to bring the version before it back",
        ),
        (_, false, _) => {
            fail(Gate::ChangeOpen, Reason::ChangeClosed, "the pull request is closed", "reopen it and comment again")
        }
        (_, _, true) if kind == RunKind::Promote => fail(
            Gate::ChangeOpen,
            Reason::ChangeDraft,
            "the pull request is a draft",
            "press *Ready for review* and comment again",
        ),
        _ => pass(Gate::ChangeOpen, "open"),
    }
}

/// The base branch decides, so it must be one that the repository stands behind: whoever may push could else make a
/// branch with a policy of their own, open a pull request against it, and ship by that policy.
fn default_base(snapshot: &Snapshot) -> GateResult {
    let (gate, change) = (Gate::DefaultBase, &snapshot.change);
    match &change.default_branch {
        Some(default) if *default != change.base_ref => fail(
            gate,
            Reason::BaseNotDefault,
            format!("the base is {}, the default branch is {}", inline_code(&change.base_ref), inline_code(default)),
            format!("open the pull request against {}, whose policy is the one that counts", inline_code(default)),
        ),
        Some(_) => pass(gate, format!("it goes to the default branch {}", inline_code(&change.base_ref))),
        None => pass(gate, "the host does not say which branch is the default one"),
    }
}

fn not_fork(snapshot: &Snapshot) -> GateResult {
    match snapshot.change.from_fork {
        false => pass(Gate::NotForkOrTrusted, "the branch is in this repository"),
        true => fail(
            Gate::NotForkOrTrusted,
            Reason::ForkNotTrusted,
            "the head branch is in a fork, whose owner could change it at any time",
            "somebody with write access pushes the commits to a branch of this repository and opens a pull request from there",
        ),
    }
}

fn head_unchanged(kind: RunKind, snapshot: &Snapshot) -> GateResult {
    let head = &snapshot.change.head;
    let again = format!("look at the new commits, then `/titan {kind} @{}`", head.short());
    match &snapshot.binding {
        HeadBinding::Current => pass(Gate::HeadUnchanged, format!("head is `{}`", head.short())),
        HeadBinding::Other { meant } => fail(
            Gate::HeadUnchanged,
            Reason::HeadMoved,
            format!("the command was for {}, the head is `{}`", inline_code(meant), head.short()),
            again,
        ),
        HeadBinding::Ambiguous { before } => {
            let before = before.as_ref().map_or_else(|| "unknown".to_owned(), |b| format!("`{}`", b.short()));
            fail(
                Gate::HeadUnchanged,
                Reason::HeadAmbiguous,
                format!("a push came within seconds of the command: before {before}, now `{}`", head.short()),
                format!("say which commit: `/titan {kind} @{}`", head.short()),
            )
        }
    }
}

/// The gate of a command that comes too late to be carried out; `None` when it does not. The way out is the command
/// again, ready to be given.
pub fn too_late(command: &Command, snapshot: &Snapshot) -> Option<GateResult> {
    if !is_late(command.name, snapshot.given_at, snapshot.read_at) {
        return None;
    }
    let minutes = (snapshot.read_at - snapshot.given_at).num_minutes();
    let when = format!("given {} and arrived {minutes} minutes later", snapshot.given_at.format("%Y-%m-%d %H:%M UTC"));
    let project = command.project.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    let again = format!("/titan {}{project}", command.name);
    let head = snapshot.change.head.short();
    let pinned = matches!(command.name, CommandName::Canary | CommandName::Promote);
    let (observed, way_out) = match &snapshot.binding {
        _ if !pinned => (when, format!("if you still want it: `{again}`")),
        HeadBinding::Current => {
            (format!("{when}, meant for `{head}`"), format!("if you still want it: `{again} @{head}`"))
        }
        HeadBinding::Other { meant } => (
            format!("{when}, meant for {}, the head is `{head}` now", inline_code(meant)),
            format!("look at the new commits; if you still want it: `{again} @{head}`"),
        ),
        HeadBinding::Ambiguous { .. } => (when, format!("look at the head; if you still want it: `{again} @{head}`")),
    };
    Some(fail(Gate::InTime, Reason::Late, observed, way_out))
}

fn protected_paths(policy: &Policy, snapshot: &Snapshot) -> GateResult {
    let gate = Gate::ProtectedPaths;
    let files = match &snapshot.files {
        FilesFact::Complete(files) => files,
        FilesFact::CutOff { listed, expected } => {
            let of = expected.map_or_else(String::new, |n| format!(" of {n}"));
            return fail(
                gate,
                Reason::FilesCutOff,
                format!("GitHub listed only {listed}{of} changed files"),
                "split the change so that every file can be judged",
            );
        }
    };
    let Ok(rules) = PathRules::new(&policy.paths) else {
        return fail(
            gate,
            Reason::PolicyInvalid,
            "a path pattern of the policy cannot be used",
            format!("mend `{POLICY_PATH}`"),
        );
    };
    match rules.judge(files).as_slice() {
        [] => pass(gate, format!("{} changed files, none protected", files.len())),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            fail(
                gate,
                Reason::ProtectedPath,
                format!("{}{more}: {}", inline_code(&first.path), super::markdown::escape(&first.reason)),
                "take these files out of the change; check `titan/paths` lists them",
            )
        }
    }
}

fn newest<'s>(
    runs: &'s [RunFact],
    kind: RunKind,
    project: Option<&ProjectName>,
    head: &CommitSha,
) -> Option<&'s RunFact> {
    runs.iter().find(|run| {
        run.kind == kind
            && run.head == *head
            && run.project.as_ref() == project
            && !matches!(run.status, RunStatus::Completed(Conclusion::Refused | Conclusion::Cancelled))
    })
}

fn build_passed(policy: &Policy, project: Option<&ProjectName>, snapshot: &Snapshot) -> GateResult {
    let gate = Gate::BuildPassed;
    let head = &snapshot.change.head;
    let short = head.short();
    match newest(&snapshot.runs, RunKind::Propose, project, head) {
        None => fail(gate, Reason::BuildMissing, format!("`{short}` has no build"), "`/titan propose` first"),
        Some(run) if run.is_under_way() => {
            fail(gate, Reason::BuildRunning, format!("`{short}` is being built"), "wait for check `titan/build`")
        }
        Some(run) if run.succeeded() && run.policy_hash.as_deref() != Some(policy.hash.as_str()) => fail(
            gate,
            Reason::BuildMissing,
            format!("`{short}` was built under an older policy"),
            "`/titan propose` again, because the policy has changed since",
        ),
        Some(run) if run.succeeded() => pass(gate, format!("`{short}` was built")),
        Some(_) => fail(
            gate,
            Reason::BuildFailed,
            format!("the proposal of `{short}` failed"),
            "look at checks `titan/paths` and `titan/build`, push a fix and `/titan propose`",
        ),
    }
}

fn up_to_date(snapshot: &Snapshot) -> GateResult {
    let gate = Gate::UpToDateWithBase;
    let base = inline_code(&snapshot.change.base_ref);
    match snapshot.behind_by {
        Some(0) => pass(gate, format!("contains all of {base}, so merging gives exactly the tree that was judged")),
        Some(n) => fail(
            gate,
            Reason::BehindBase,
            format!("{base} has {n} commits that were not on the canary"),
            format!("update the branch from {base}, then `/titan propose` and `/titan canary` again"),
        ),
        None => fail(
            gate,
            Reason::BaseUnknown,
            format!("GitHub did not tell how far the head is behind {base}"),
            "try again in a minute",
        ),
    }
}

fn approvals(policy: &Policy, snapshot: &Snapshot) -> GateResult {
    let gate = Gate::Approvals;
    let needed = policy.approvals as usize;
    let counted: Vec<_> = snapshot
        .approvals
        .iter()
        .filter(|a| !a.login.eq_ignore_ascii_case(&snapshot.change.author))
        // GitHub names no commit when the one that was approved is gone, so it is not this head.
        .filter(|a| a.commit.as_ref() == Some(&snapshot.change.head))
        .collect();
    let have = counted.len();
    match have >= needed {
        true => pass(gate, format!("{have} approvals, needed {needed}")),
        false => fail(
            gate,
            Reason::ApprovalsMissing,
            format!("{have} approvals of `{}`, needed {needed}", snapshot.change.head.short()),
            "somebody with write access, not the author, approves the pull request",
        ),
    }
}

fn canary_passed(policy: &Policy, project: Option<&ProjectName>, snapshot: &Snapshot) -> GateResult {
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
        Some(run) if run.succeeded() && run.policy_hash.as_deref() != Some(policy.hash.as_str()) => fail(
            gate,
            Reason::CanaryMissing,
            format!("`{short}` was on the canary under an older policy"),
            "`/titan canary` again, because the policy has changed since",
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

fn lock_free(kind: RunKind, environment: Environment, snapshot: &Snapshot, fact: Option<&ProjectFact>) -> GateResult {
    let gate = Gate::LockFree;
    let Some(fact) = fact else { return pass(gate, "no project to lock") };
    // Production is reached through the canary, so whoever holds the canary is in front there too; a rollback is not.
    let in_the_way = fact.locks.iter().find(|lock| {
        lock.owner != snapshot.change.number && (lock.environment == environment || kind == RunKind::Promote)
    });
    match in_the_way {
        None => pass(gate, format!("`{}` of `{}` is free or held by this pull request", environment, fact.name)),
        Some(lock) => {
            let why = match lock.reason.as_str() {
                "" => String::new(),
                reason => format!(" ({})", super::markdown::escape(reason)),
            };
            fail(
                gate,
                Reason::LockHeld,
                format!(
                    "{} holds `{}` of `{}` since {} for {}{why}",
                    inline_code(&lock.by),
                    lock.environment,
                    fact.name,
                    lock.since.format("%Y-%m-%d %H:%M UTC"),
                    lock.owner,
                ),
                format!(
                    "wait until {} is promoted, rolled back or closed, or comment `/titan unlock` there",
                    lock.owner
                ),
            )
        }
    }
}

fn no_run_active(kind: RunKind, snapshot: &Snapshot, fact: Option<&ProjectFact>) -> GateResult {
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

fn rollback_target(snapshot: &Snapshot, fact: Option<&ProjectFact>) -> GateResult {
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

#[cfg(test)]
mod edges;
#[cfg(test)]
mod tests;
