//! decide(command, snapshot): start a run, refuse with every gate, carry out a control command, or just answer.
//!
//! Pure, and the only place where a [`Plan`] can be made: what starts a run has been through here, by type.

use super::command::{Command, CommandName};
use super::gates::{self, GateResult};
use super::ids::{CommitSha, Environment, ProjectName};
use super::lock;
use super::markdown::inline_code;
use super::policy::DeployVia;
use super::reason::Reason;
use super::run::{RunKind, StepName};
use super::snapshot::{PolicyFact, Snapshot};

/// What is to be done about a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Start this run.
    Start(Plan),
    /// Say no and why.
    Refuse(Refusal),
    /// Wait in line: nothing but others is in the way.
    Wait(Waiting),
    /// Change Titan's own state.
    Control(Control),
    /// Change nothing, only answer.
    Answer(Answer),
}

/// A run that passed every gate. Can only be made by [`decide`], [`automatic_rollback`] and [`put_back`].
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    kind: RunKind,
    project: Option<ProjectName>,
    head: CommitSha,
    base_ref: Option<String>,
    policy_hash: Option<String>,
    policy_commit: Option<CommitSha>,
    gates: Vec<GateResult>,
    runs_begun: Option<i64>,
}

impl Plan {
    /// What to run.
    pub fn kind(&self) -> RunKind {
        self.kind
    }

    /// For which project; `None` only for a proposal under a policy without projects.
    pub fn project(&self) -> Option<&ProjectName> {
        self.project.as_ref()
    }

    /// At which head commit.
    pub fn head(&self) -> &CommitSha {
        &self.head
    }

    /// The branch that it was decided for; `None` for what needs no gate.
    pub fn base_ref(&self) -> Option<&str> {
        self.base_ref.as_deref()
    }

    /// Hash of the policy that allowed it.
    pub fn policy_hash(&self) -> Option<&str> {
        self.policy_hash.as_deref()
    }

    /// The base commit that the policy was read at.
    pub fn policy_commit(&self) -> Option<&CommitSha> {
        self.policy_commit.as_ref()
    }

    /// What every gate answered.
    pub fn gates(&self) -> &[GateResult] {
        &self.gates
    }

    /// How many runs of the project had begun when the facts were read: when it is more at the start, the facts are too old.
    /// `None` for what needs no gate.
    pub fn runs_begun(&self) -> Option<i64> {
        self.runs_begun
    }

    /// The steps, in order.
    pub fn steps(&self) -> &'static [StepName] {
        self.kind.steps()
    }

    /// The environments that the change must hold while it runs and until it is shipped or put back.
    pub fn locks(&self) -> &'static [Environment] {
        lock::needed(self.kind)
    }
}

/// A correct no.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// What was asked for.
    pub command: CommandName,
    /// For which project, as far as it is known.
    pub project: Option<ProjectName>,
    /// What every gate answered; at least one failed.
    pub gates: Vec<GateResult>,
    /// What would be done if Titan were armed, when only that is in the way; Markdown, a line each.
    pub would_do: Vec<String>,
}

/// A run that starts by itself when it is its turn, if every gate is open then.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// What will run.
    pub kind: RunKind,
    /// For which project.
    pub project: ProjectName,
    /// The head that the person meant; only this one is run.
    pub head: CommitSha,
    /// What every gate answered; those that are closed say who is in the way.
    pub gates: Vec<GateResult>,
}

/// A change of Titan's own state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Turn deployment on for the repository.
    Arm,
    /// Turn it off.
    Disarm,
    /// Stop all deployments of the repository, and of the whole account when Titan has deployed something for it.
    Halt {
        /// Why; may be empty.
        reason: String,
    },
    /// Lift the halt that was called here.
    Resume,
    /// Hold a project's environments for this change.
    Lock {
        /// Which project.
        project: ProjectName,
        /// For how long and why.
        hold: lock::Hold,
    },
    /// Give a project's locks back.
    Unlock {
        /// Which project.
        project: ProjectName,
        /// Take those of other pull requests away too.
        force: bool,
        /// Why; may be empty, except when taken away from others.
        reason: String,
    },
    /// Stop this change's runs and leave every line.
    Cancel,
    /// Vouch for this commit of a fork.
    Trust {
        /// The whole commit.
        head: CommitSha,
    },
}

/// An answer that changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The gate table of every command that is not only an answer.
    Status(Vec<(CommandName, Vec<GateResult>)>),
    /// The commands and whether this person may give them.
    Help(Vec<(CommandName, GateResult)>),
}

/// What to do about a command, from the facts alone.
pub fn decide(command: &Command, snapshot: &Snapshot) -> Decision {
    // Only the policy tells a project's name from the first word of a reason.
    let settled = match snapshot.policy.policy() {
        Some(policy) => command.clone().settled(policy.projects.keys()),
        None => command.clone(),
    };
    let command = &settled;
    match command.name {
        CommandName::Propose | CommandName::Canary | CommandName::Promote | CommandName::Rollback => {
            RunKind::of(command.name).map_or_else(|| help(snapshot), |kind| start_or_refuse(kind, command, snapshot))
        }
        CommandName::Status => Decision::Answer(Answer::Status(status(snapshot))),
        CommandName::Help => help(snapshot),
        _ => control_or_refuse(command, snapshot),
    }
}

/// The commands that `/titan status` shows, with their gates.
fn status(snapshot: &Snapshot) -> Vec<(CommandName, Vec<GateResult>)> {
    let is_shown = |name: &CommandName| name.has_gates() && (*name != CommandName::Trust || snapshot.change.from_fork);
    let table = |name| (name, gates::table(&Command::bare(name), snapshot));
    CommandName::ALL.into_iter().filter(is_shown).map(table).collect()
}

/// Nothing else was read for somebody who may not give the command: the other gates would only say that they do not know.
fn of_what_was_read(mut gates: Vec<GateResult>) -> Vec<GateResult> {
    if gates.first().is_some_and(|gate| gate.gate == gates::Gate::Permission && !gate.passed()) {
        gates.truncate(1);
    }
    gates
}

fn start_or_refuse(kind: RunKind, command: &Command, snapshot: &Snapshot) -> Decision {
    let mut gates = of_what_was_read(gates::judge(kind, command.project.as_ref(), snapshot));
    // Right after the permission, because it says why nothing happened; the others say what would be in the way now.
    if let Some(late) = gates::too_late(command, snapshot) {
        gates.insert(gates.len().min(1), late);
    }
    let project = snapshot
        .policy
        .policy()
        .and_then(|policy| gates::choose_project(command.name, command.project.as_ref(), policy, snapshot).ok())
        .flatten();
    if gates.iter().any(|gate| !gate.passed()) {
        if let Some(waiting) = wait(kind, project.as_ref(), &gates, snapshot) {
            return Decision::Wait(waiting);
        }
        // While Titan is disarmed nothing can have been on the canary either.
        let because_disarmed = [Reason::NotArmed, Reason::CanaryMissing];
        let only_disarmed =
            !snapshot.armed && gates.iter().all(|gate| gate.reason.is_none_or(|why| because_disarmed.contains(&why)));
        let would_do = match &project {
            Some(project) if only_disarmed => rehearsal(kind, project, snapshot),
            _ => Vec::new(),
        };
        let project = project.or_else(|| command.project.clone());
        return Decision::Refuse(Refusal { command: command.name, project, gates, would_do });
    }
    let (policy_hash, policy_commit) = match &snapshot.policy {
        PolicyFact::Valid { policy, commit } => (Some(policy.hash.clone()), Some(commit.clone())),
        _ => (None, None),
    };
    let fact = snapshot.projects.iter().find(|fact| Some(&fact.name) == project.as_ref());
    let runs_begun = fact.map(|fact| fact.runs_begun);
    let head = snapshot.change.head.clone();
    let base_ref = Some(snapshot.change.base_ref.clone());
    Decision::Start(Plan { kind, project, head, base_ref, policy_hash, policy_commit, gates, runs_begun })
}

/// Whether a command that cannot start now is only kept waiting by others.
fn wait(kind: RunKind, project: Option<&ProjectName>, gates: &[GateResult], snapshot: &Snapshot) -> Option<Waiting> {
    let fact = snapshot.projects.iter().find(|fact| Some(&fact.name) == project)?;
    lock::may_wait(kind, snapshot.change.number, fact, gates).then(|| Waiting {
        kind,
        project: fact.name.clone(),
        head: snapshot.change.head.clone(),
        gates: gates.to_vec(),
    })
}

/// The run that puts the last good version back on the canary, because the change that was there has gone. It needs no
/// gate: it undoes what a person asked for and cannot want any more.
pub fn put_back(project: ProjectName, head: CommitSha, policy_hash: Option<String>) -> Plan {
    of_its_own(RunKind::Restore, project, head, policy_hash)
}

/// The rollback that Titan starts by itself, once, when production went bad after going live. It needs no gate: the
/// person's `promote` asked for it.
pub fn automatic_rollback(project: ProjectName, head: CommitSha, policy_hash: Option<String>) -> Plan {
    of_its_own(RunKind::Rollback, project, head, policy_hash)
}

/// A run that Titan starts by itself, without a gate.
fn of_its_own(kind: RunKind, project: ProjectName, head: CommitSha, policy_hash: Option<String>) -> Plan {
    Plan {
        kind,
        project: Some(project),
        head,
        base_ref: None,
        policy_hash,
        policy_commit: None,
        gates: Vec::new(),
        runs_begun: None,
    }
}

fn control_or_refuse(command: &Command, snapshot: &Snapshot) -> Decision {
    let mut gates = of_what_was_read(gates::table(command, snapshot));
    if let Some(late) = gates::too_late(command, snapshot) {
        gates.insert(gates.len().min(1), late);
    }
    let project = snapshot.policy.policy().and_then(|policy| {
        gates::choose_project(command.name, command.project.as_ref(), policy, snapshot).ok().flatten()
    });
    let control = match control(command, project.as_ref(), snapshot) {
        Some(control) if gates.iter().all(GateResult::passed) => control,
        _ => {
            let project = match command.name {
                CommandName::Lock | CommandName::Unlock => project.or_else(|| command.project.clone()),
                _ => None,
            };
            return Decision::Refuse(Refusal { command: command.name, project, gates, would_do: Vec::new() });
        }
    };
    Decision::Control(control)
}

/// `None` without the project that it needs; then a gate says so.
fn control(command: &Command, project: Option<&ProjectName>, snapshot: &Snapshot) -> Option<Control> {
    let (reason, project) = (command.reason.clone(), project.cloned());
    Some(match command.name {
        CommandName::Arm => Control::Arm,
        CommandName::Disarm => Control::Disarm,
        CommandName::Halt => Control::Halt { reason },
        CommandName::Resume => Control::Resume,
        CommandName::Cancel => Control::Cancel,
        CommandName::Lock => Control::Lock { project: project?, hold: lock::hold(&reason) },
        CommandName::Unlock => Control::Unlock { project: project?, force: command.force, reason },
        CommandName::Trust => Control::Trust { head: snapshot.change.head.clone() },
        CommandName::Propose | CommandName::Canary | CommandName::Promote | CommandName::Rollback => return None,
        CommandName::Status | CommandName::Help => return None,
    })
}

fn help(snapshot: &Snapshot) -> Decision {
    let line = |name: CommandName| (name, gates::permission_for(&snapshot.actor, &gates::grant(name, snapshot)));
    Decision::Answer(Answer::Help(CommandName::ALL.map(line).to_vec()))
}

/// What a run would do, for people who watch Titan before they arm it.
fn rehearsal(kind: RunKind, project: &ProjectName, snapshot: &Snapshot) -> Vec<String> {
    let head = snapshot.change.head.short();
    let Some(policy) = snapshot.policy.policy() else { return Vec::new() };
    let Some(plan) = policy.projects.get(project) else { return Vec::new() };
    let at = |environment| {
        let target = plan.target(environment)?;
        let service = match &target.deploy {
            DeployVia::Render(service) => format!("service {}", inline_code(service.as_str())),
            DeployVia::Hook(name) => format!("hook {}", inline_code(name)),
        };
        Some(format!("{service} at {}", inline_code(target.url.as_str())))
    };
    let canary = at(Environment::Canary).unwrap_or_default();
    let production = at(Environment::Production).unwrap_or_default();
    let bake = humantime::format_duration(plan.bake);
    match kind {
        RunKind::Propose | RunKind::Restore => Vec::new(),
        RunKind::Canary => vec![
            format!("deploy `{head}` to the canary, {canary}"),
            format!("ask it until it answers with `{head}`, watch it for {bake} and judge it"),
            "put the version before back if it is bad".to_owned(),
        ],
        RunKind::Promote => vec![
            format!("merge `{head}` into {} ({})", inline_code(&snapshot.change.base_ref), policy.merge.as_str()),
            format!("deploy the merged commit to production, {production}"),
            format!("ask it until it answers with that commit and watch it for {bake}"),
            "bring the last good version back if it turns bad".to_owned(),
        ],
        RunKind::Rollback => {
            let fact = snapshot.projects.iter().find(|fact| fact.name == *project);
            let target = fact.and_then(|fact| fact.rollback_target.as_ref());
            let to = target.map_or_else(String::new, |target| format!("`{}` ", target.short()));
            vec![
                format!("bring {to}back on production, {production}"),
                "ask it until it answers with that commit".to_owned(),
                "open a pull request that reverts this change".to_owned(),
            ]
        }
    }
}
