//! Which commands would pass now, as far as the store knows. Careful: it never offers what a known gate would refuse.
//!
//! It judges nothing: the gates do, with fresh facts, when the command comes. What only GitHub knows (approvals, how far
//! the base is ahead, a draft, the policy file) is taken from the newest decision that asked; once a gate said no there,
//! the command is offered again only after a later decision saw the gate open.

use serde::Serialize;

use super::{ChangeFacts, ProjectFacts, RunFacts};
use crate::domain::command::CommandName;
use crate::domain::gates::Gate;
use crate::domain::ids::{CommitSha, ProjectName};
use crate::domain::lock;
use crate::domain::reason::Reason;
use crate::domain::run::{Conclusion, RunKind, StepName, StepStatus};

/// A command that would pass now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NextCommand {
    /// Which command.
    pub command: CommandName,
    /// For which project.
    pub project: Option<ProjectName>,
    /// Ready to be typed, e.g. `/titan canary`; names the project when there are several.
    pub line: String,
    /// What it would do, finished Markdown, goes on where the command ends.
    pub does: String,
}

/// The commands that would pass now, project by project, in the order of a change's life; may be empty.
pub fn next_commands(change: &ChangeFacts) -> Vec<NextCommand> {
    let mut next = Vec::new();
    for project in scopes(change) {
        let offers = Offers { change, project, name: project.map(|p| &p.fact.name) };
        let kinds = RunKind::ALL.into_iter();
        next.extend(kinds.filter_map(|kind| offers.does(kind).map(|does| offers.command(kind, does))));
    }
    next
}

/// The projects that this change has to do with; `None` stands for a repository without projects.
pub(super) fn scopes(change: &ChangeFacts) -> Vec<Option<&ProjectFacts>> {
    let has_run = |project: &&ProjectFacts| {
        change.runs.iter().any(|run| !run.is_refused() && run.project.as_ref() == Some(&project.fact.name))
    };
    let with_runs: Vec<_> = change.projects.iter().filter(has_run).map(Some).collect();
    match (with_runs.is_empty(), change.projects.as_slice()) {
        (false, _) => with_runs,
        (true, [only]) => vec![Some(only)],
        (true, _) => vec![None],
    }
}

/// The newest run of this kind for a project that counts: refused and cancelled ones do not, as in the gates.
pub(super) fn newest<'c>(
    change: &'c ChangeFacts,
    kind: RunKind,
    project: Option<&ProjectName>,
    head: Option<&CommitSha>,
) -> Option<&'c RunFacts> {
    change.runs.iter().find(|run| {
        run.kind == kind
            && run.project.as_ref() == project
            && head.is_none_or(|head| run.head == *head)
            && !matches!(run.conclusion(), Some(Conclusion::Refused | Conclusion::Cancelled))
    })
}

/// Whether the version before was put back on the canary since.
pub(super) fn was_put_back(change: &ChangeFacts, canary: &RunFacts) -> bool {
    let later = |run: &RunFacts| run.kind == RunKind::Restore && run.project == canary.project && run.id > canary.id;
    change.runs.iter().any(later)
}

/// What can be offered for one project.
struct Offers<'c> {
    change: &'c ChangeFacts,
    project: Option<&'c ProjectFacts>,
    name: Option<&'c ProjectName>,
}

impl Offers<'_> {
    fn command(&self, kind: RunKind, does: String) -> NextCommand {
        let line = match self.name {
            Some(name) if self.change.projects.len() > 1 => format!("/titan {kind} {name}"),
            _ => format!("/titan {kind}"),
        };
        NextCommand { command: kind.command(), project: self.name.cloned(), line, does }
    }

    /// What a command of this kind would do now; `None` when a gate is known to be closed or there is nothing to do.
    fn does(&self, kind: RunKind) -> Option<String> {
        let head = self.change.head.as_ref()?;
        let open = self.change.open && !self.was_refused(kind, head);
        match kind {
            RunKind::Propose => {
                (open && self.proposal_helps(head)).then(|| self.again(kind, head, "checks and builds", ""))
            }
            RunKind::Canary => (open && self.built(head) && self.is_free(kind) && self.canary_helps(head))
                .then(|| self.again(kind, head, "tries", " on the canary")),
            RunKind::Promote => (open && self.built(head) && self.is_free(kind) && self.may_ship(head))
                .then(|| "merges it and ships it to production".to_owned()),
            RunKind::Restore => None,
            RunKind::Rollback => {
                let target = self.rollback_target()?;
                (!self.was_refused(kind, head) && self.is_free(kind))
                    .then(|| format!("brings `{}` back to production", target.short()))
            }
        }
    }

    /// Says when it would be the second time: that only helps when the cause was not in the change.
    fn again(&self, kind: RunKind, head: &CommitSha, does: &str, place: &str) -> String {
        let failed = newest(self.change, kind, self.name, Some(head))
            .is_some_and(|run| run.conclusion().is_some_and(|conclusion| conclusion != Conclusion::Success));
        let again = if failed { " again, if the cause was not in the change" } else { "" };
        format!("{does} `{}`{place}{again}", head.short())
    }

    fn proposal_helps(&self, head: &CommitSha) -> bool {
        // Of several projects only a person can say which one is meant.
        if self.name.is_none() && self.change.projects.len() > 1 {
            return false;
        }
        let runs = &self.change.runs;
        let building = |run: &RunFacts| run.kind == RunKind::Propose && run.head == *head && run.is_under_way();
        if runs.iter().any(building) {
            return false;
        }
        match newest(self.change, RunKind::Propose, self.name, Some(head)) {
            None => true,
            Some(run) if run.conclusion() == Some(Conclusion::Success) => !self.still_counts(run),
            // The same files would be refused again; a build may have failed for a reason that passes.
            Some(run) => run.step(StepName::Diff).is_some_and(|step| step.status == StepStatus::Succeeded),
        }
    }

    fn built(&self, head: &CommitSha) -> bool {
        newest(self.change, RunKind::Propose, self.name, Some(head))
            .is_some_and(|run| run.conclusion() == Some(Conclusion::Success) && self.still_counts(run))
    }

    /// Whether no later decision of this change was made under another policy, and the base is the same.
    fn still_counts(&self, run: &RunFacts) -> bool {
        if self.change.other_base(run).is_some() {
            return false;
        }
        let newest = self.change.runs.iter().find_map(|run| run.policy_hash.as_ref());
        newest.is_none() || newest == run.policy_hash.as_ref()
    }

    fn canary_helps(&self, head: &CommitSha) -> bool {
        let has_canary = self.project.is_some_and(|project| project.canary_url.is_some());
        let passed = newest(self.change, RunKind::Canary, self.name, Some(head)).is_some_and(|run| {
            let good = run.conclusion() == Some(Conclusion::Success) && self.still_counts(run);
            good && !was_put_back(self.change, run)
        });
        has_canary && !passed && !self.is_merged(head)
    }

    fn may_ship(&self, head: &CommitSha) -> bool {
        let targets = |project: &ProjectFacts| project.canary_url.is_some() && project.production_url.is_some();
        let passed = newest(self.change, RunKind::Canary, self.name, Some(head)).is_some_and(|run| {
            let good = run.conclusion() == Some(Conclusion::Success) && self.still_counts(run);
            good && !was_put_back(self.change, run)
        });
        self.project.is_some_and(targets) && passed && !self.is_merged(head)
    }

    /// Whether a promote of this head has merged it; the webhook that says so may come later.
    fn is_merged(&self, head: &CommitSha) -> bool {
        self.change.runs.iter().any(|run| run.head == *head && run.seen.merge.merge_commit.is_some())
    }

    fn rollback_target(&self) -> Option<&CommitSha> {
        let fact = &self.project.filter(|project| project.production_url.is_some())?.fact;
        let live_here = fact.production.as_ref()?.number == Some(self.change.number);
        fact.rollback_target.as_ref().filter(|_| live_here)
    }

    /// Armed, not halted, not locked by somebody else, and no run is changing the project.
    fn is_free(&self, kind: RunKind) -> bool {
        let Some(fact) = self.project.map(|project| &project.fact) else { return false };
        let number = self.change.number;
        let locked = lock::held_by_another(kind, number, fact).is_some()
            || lock::kept_back_by(kind, number, fact).is_some()
            || super::lock::waits(self.change, fact).is_some();
        let changing = |run: &RunFacts| {
            run.project.as_ref() == self.name && run.kind.environment().is_some() && run.is_under_way()
        };
        let busy = fact.active.is_some() || self.change.runs.iter().any(changing);
        self.change.armed && self.change.halt.is_none() && !locked && !busy
    }

    /// Whether a gate that only a fresh look could open said no the last time it was asked.
    fn was_refused(&self, kind: RunKind, head: &CommitSha) -> bool {
        let asked = |gate: Gate, runs: &dyn Fn(&RunFacts) -> bool| {
            let ours = |run: &&RunFacts| run.project.is_none() || run.project.as_ref() == self.name;
            let results = self.change.runs.iter().filter(ours).filter(|run| runs(run));
            results.flat_map(|run| run.gates.iter()).find(|result| result.gate == gate).and_then(|result| result.reason)
        };
        let same_head = |run: &RunFacts| run.head == *head;
        let same_kind = |run: &RunFacts| run.kind == kind && run.head == *head;
        let mut closed = vec![asked(Gate::PolicyValid, &|_| true), asked(Gate::ProjectKnown, &same_kind)];
        if kind != RunKind::Rollback {
            closed.extend([asked(Gate::NotForkOrTrusted, &same_head), asked(Gate::DefaultBase, &same_head)]);
        }
        if matches!(kind, RunKind::Canary | RunKind::Promote) {
            closed.push(asked(Gate::ProtectedPaths, &same_head));
        }
        if kind == RunKind::Promote {
            let draft = asked(Gate::ChangeOpen, &same_kind).filter(|reason| *reason == Reason::ChangeDraft);
            closed.extend([draft, asked(Gate::UpToDateWithBase, &same_head), asked(Gate::Approvals, &same_head)]);
        }
        closed.iter().any(Option::is_some)
    }
}
