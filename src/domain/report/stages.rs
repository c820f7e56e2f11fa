//! Where a project stands, stage by stage: paths, build, canary, production.
//!
//! The rows are about the current head; what is known only of an older head says so. A row says what came of the newest
//! run that counts, in the words of its steps; which run counts is the same as in the gates.

use serde::Serialize;

use super::next;
use super::words::{Link, Mark, cell, code, count, duration, figures_line, join, time};
use super::{ChangeFacts, ProjectFacts, RunFacts};
use crate::domain::ids::{CommitSha, ProjectName, RunId};
use crate::domain::markdown::escape;
use crate::domain::progress::DiffProgress;
use crate::domain::run::{Conclusion, RunKind, RunStatus, StepName, StepStatus};

/// The most files that a row names.
const NAMED_FILES: usize = 3;

/// Where one project stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SectionView {
    /// The project, when the repository has projects.
    pub project: Option<String>,
    /// The current head, short; empty while it is not known.
    pub head: String,
    /// `paths`, `build` and, for a project, `canary` and `production`, in this order.
    pub rows: Vec<StageRow>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageRow {
    /// How it stands.
    pub mark: Mark,
    /// Its sign.
    pub icon: &'static str,
    /// `paths`, `build`, `canary` or `production`.
    pub stage: &'static str,
    /// What came of it, finished Markdown, one line, fit for a cell.
    pub result: String,
    /// The run behind it.
    pub run: Option<RunId>,
    /// Where to look closer.
    pub link: Option<Link>,
}

/// The rows of one project; without a project only paths and build.
pub(super) fn section(change: &ChangeFacts, project: Option<&ProjectFacts>) -> SectionView {
    let name = project.map(|project| &project.fact.name);
    let proposal = current_or_older(change, name, &[RunKind::Propose]);
    let mut rows = vec![
        proposal.map_or_else(|| waiting("paths", "not checked yet"), |run| stage(change, run, "paths", paths(run))),
        proposal.map_or_else(|| waiting("build", "not built yet"), |run| stage(change, run, "build", build(run))),
    ];
    if let Some(project) = project {
        rows.push(canary_row(change, project));
        rows.push(production_row(change, project));
    }
    let head = change.head.as_ref().map_or("", CommitSha::short).to_owned();
    SectionView { project: name.map(ToString::to_string), head, rows }
}

/// The newest run of these kinds at the current head, else at an older one. Cancelled runs only count when there is no
/// other at the same head, as in the gates.
fn current_or_older<'c>(
    change: &'c ChangeFacts,
    project: Option<&ProjectName>,
    kinds: &[RunKind],
) -> Option<&'c RunFacts> {
    let ours = |run: &&RunFacts| kinds.contains(&run.kind) && run.project.as_ref() == project && !run.is_refused();
    let at_head = |run: &&RunFacts| change.head.as_ref().is_none_or(|head| run.head == *head);
    let told = |run: &&RunFacts| run.conclusion() != Some(Conclusion::Cancelled);
    let runs = || change.runs.iter().filter(ours);
    let newest_told = runs().filter(at_head).find(told);
    newest_told.or_else(|| runs().find(at_head)).or_else(|| runs().find(told)).or_else(|| runs().next())
}

fn canary_row(change: &ChangeFacts, project: &ProjectFacts) -> StageRow {
    if project.canary_url.is_none() {
        return waiting("canary", "the policy has no canary service for this project");
    }
    let name = Some(&project.fact.name);
    match current_or_older(change, name, &[RunKind::Canary, RunKind::Restore]) {
        Some(run) => stage(change, run, "canary", deployment(change, run)),
        None if is_built(change, name) => waiting("canary", "not tried yet"),
        None => waiting("canary", "waits for the build"),
    }
}

fn production_row(change: &ChangeFacts, project: &ProjectFacts) -> StageRow {
    if project.production_url.is_none() {
        return waiting("production", "the policy has no production service for this project");
    }
    let name = Some(&project.fact.name);
    let newest = change.runs.iter().find(|run| {
        matches!(run.kind, RunKind::Promote | RunKind::Rollback)
            && run.project.as_ref() == name
            && !run.is_refused()
            && run.conclusion() != Some(Conclusion::Cancelled)
    });
    let Some(run) = newest.or_else(|| current_or_older(change, name, &[RunKind::Promote, RunKind::Rollback])) else {
        let passed = next::newest(change, RunKind::Canary, name, change.head.as_ref())
            .is_some_and(|run| run.conclusion() == Some(Conclusion::Success));
        return waiting("production", if passed { "not shipped yet" } else { "waits for the canary" });
    };
    // What was shipped or put back stays true when the branch moves on.
    if run.conclusion() == Some(Conclusion::Success) || run.is_under_way() || run.kind == RunKind::Rollback {
        return row(change, run, "production", deployment(change, run));
    }
    stage(change, run, "production", deployment(change, run))
}

fn is_built(change: &ChangeFacts, project: Option<&ProjectName>) -> bool {
    next::newest(change, RunKind::Propose, project, change.head.as_ref())
        .is_some_and(|run| run.conclusion() == Some(Conclusion::Success))
}

fn waiting(stage: &'static str, result: &str) -> StageRow {
    let mark = Mark::Waiting;
    StageRow { mark, icon: mark.icon(), stage, result: result.to_owned(), run: None, link: None }
}

fn row(change: &ChangeFacts, run: &RunFacts, stage: &'static str, (mark, result): (Mark, String)) -> StageRow {
    let label = match (stage, mark) {
        (_, Mark::Working) => "live",
        ("build", Mark::Good | Mark::Bad) => "log",
        _ => "details",
    };
    let link = Some(Link { label, url: change.links.run(run.id) });
    StageRow { mark, icon: mark.icon(), stage, result: cell(&result), run: Some(run.id), link }
}

/// The same, marked as stale when it is about an older head.
fn stage(change: &ChangeFacts, run: &RunFacts, stage: &'static str, (mark, result): (Mark, String)) -> StageRow {
    if change.head.as_ref().is_none_or(|head| run.head == *head) {
        return row(change, run, stage, (mark, result));
    }
    let stale = format!("{result} (for `{}`, before the last push)", run.head.short());
    let mark = if run.is_under_way() { mark } else { Mark::Waiting };
    row(change, run, stage, (mark, stale))
}

fn paths(run: &RunFacts) -> (Mark, String) {
    let Some(step) = run.step(StepName::Diff) else { return unbegun(run) };
    match step.status {
        StepStatus::Pending => (Mark::Waiting, "queued".to_owned()),
        StepStatus::Running => (Mark::Working, "comparing the changed files with the policy".to_owned()),
        StepStatus::Succeeded => (Mark::Good, paths_in_short(&run.seen.diff)),
        StepStatus::Failed => (Mark::Bad, refused_paths(&run.seen.diff, &step.detail)),
        StepStatus::Skipped => unbegun(run),
    }
}

/// `4 files, none protected`.
pub(super) fn paths_in_short(diff: &DiffProgress) -> String {
    format!("{}, none protected", count(diff.files, "file"))
}

fn refused_paths(diff: &DiffProgress, detail: &str) -> String {
    if diff.offences.is_empty() {
        return detail.to_owned();
    }
    let named: Vec<String> = diff.offences.iter().take(NAMED_FILES).map(|offence| code(&offence.path)).collect();
    let more = match diff.offences.len().saturating_sub(NAMED_FILES) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let files = count(diff.files, "file");
    format!("{} of {files} may not be touched: {}{more}", diff.offences.len(), named.join(", "))
}

fn build(run: &RunFacts) -> (Mark, String) {
    let Some(step) = run.step(StepName::Build) else { return unbegun(run) };
    let build = &run.seen.build;
    let commands = if build.commands.is_empty() { String::new() } else { code(&build.commands.join(" && ")) };
    match step.status {
        _ if is_failed(run, StepName::Diff) => (Mark::Waiting, "not built, because of the paths".to_owned()),
        StepStatus::Pending if run.is_under_way() => (Mark::Waiting, "waits for the paths".to_owned()),
        StepStatus::Pending => unbegun(run),
        StepStatus::Running => {
            let doing = if commands.is_empty() { "checking the commit out".to_owned() } else { commands };
            (Mark::Working, doing)
        }
        StepStatus::Succeeded if commands.is_empty() => (Mark::Good, step.detail.clone()),
        StepStatus::Succeeded => (Mark::Good, format!("{commands} in {}", duration(build.duration_ms))),
        StepStatus::Failed => {
            let outcome = build.outcome.as_deref().map(escape).unwrap_or_default();
            (Mark::Bad, if step.detail.is_empty() { outcome } else { step.detail.clone() })
        }
        StepStatus::Skipped => unbegun(run),
    }
}

pub(super) fn is_failed(run: &RunFacts, step: StepName) -> bool {
    run.step(step).is_some_and(|step| step.status == StepStatus::Failed)
}

/// A step that a run ended without.
fn unbegun(run: &RunFacts) -> (Mark, String) {
    match run.conclusion() {
        None => (Mark::Waiting, "queued".to_owned()),
        Some(Conclusion::Cancelled) => (Mark::Waiting, stopped(run)),
        Some(_) => (Mark::Bad, failed(run)),
    }
}

fn stopped(run: &RunFacts) -> String {
    match (run.summary.is_empty(), &run.cancel_by) {
        (false, _) => format!("stopped: {}", run.summary),
        (true, Some(by)) => format!("stopped by {}", code(by)),
        (true, None) => "stopped".to_owned(),
    }
}

/// Where a canary, promote or rollback stands.
fn deployment(change: &ChangeFacts, run: &RunFacts) -> (Mark, String) {
    match run.status {
        RunStatus::Queued => (Mark::Working, "queued".to_owned()),
        RunStatus::Running => (Mark::Working, under_way(run)),
        RunStatus::Undoing => (Mark::Attention, join([run.summary.clone(), under_way(run)], "; ")),
        RunStatus::Completed(Conclusion::Success) => succeeded(change, run),
        RunStatus::Completed(Conclusion::Failure) => (Mark::Bad, failed(run)),
        RunStatus::Completed(Conclusion::Inconclusive) => {
            let why = if run.summary.is_empty() { "could not be judged, a person decides" } else { &run.summary };
            (Mark::Attention, why.to_owned())
        }
        RunStatus::Completed(Conclusion::Cancelled | Conclusion::Refused) => (Mark::Waiting, stopped(run)),
    }
}

/// What the current step is doing.
pub(super) fn under_way(run: &RunFacts) -> String {
    let current = run.steps.iter().find(|step| matches!(step.status, StepStatus::Running | StepStatus::Pending));
    let Some(step) = current else { return "ending".to_owned() };
    let seen = &run.seen;
    if let (StepName::Bake, Some(figures)) = (step.name, seen.bake_figures()) {
        let until = seen.bake.until.map_or_else(String::new, |at| format!("watched until {}", time(at)));
        return join([format!("live, {}", figures_line(figures, seen.bake.expected)), until], ", ");
    }
    if !step.detail.is_empty() {
        return step.detail.clone();
    }
    let of = |commit: &Option<CommitSha>| commit.as_ref().map_or_else(String::new, |c| format!(" `{}`", c.short()));
    match step.name {
        StepName::Diff => "comparing the changed files with the policy".to_owned(),
        StepName::Build => "building".to_owned(),
        StepName::Merge => "merging".to_owned(),
        StepName::Deploy => format!("deploying{}", of(&seen.deploy.commit)),
        StepName::Verify => "asking the service which commit it is".to_owned(),
        StepName::Bake => "live, beginning to watch it".to_owned(),
        StepName::Restore => format!("putting{} back", of(&seen.restore.to)),
        StepName::Revert => "opening the revert pull request".to_owned(),
    }
}

fn succeeded(change: &ChangeFacts, run: &RunFacts) -> (Mark, String) {
    let seen = &run.seen;
    if run.kind == RunKind::Rollback {
        let to = seen.restore.to.as_ref().map_or_else(String::new, |to| format!(" to `{}`", to.short()));
        let revert = seen.revert.pull_request.map_or_else(String::new, |number| format!("; the revert is {number}"));
        let cause = run.cause.and_then(|cause| change.runs.iter().find(|other| other.id == cause));
        let told = match (run.cause, cause) {
            (None, _) => format!("**rolled back**{to} by {}", code(&run.actor)),
            (Some(_), None) => format!("**rolled back automatically**{to}"),
            (Some(_), Some(cause)) => format!("**rolled back automatically**{to}, because {}", failed(cause)),
        };
        return (Mark::Attention, told + &revert);
    }
    if run.kind == RunKind::Restore {
        let to = seen.restore.to.as_ref().map_or_else(String::new, |to| format!(": `{}` was put back", to.short()));
        return (Mark::Waiting, format!("not on the canary any more{to}"));
    }
    let live = match (run.kind, &seen.deploy.commit) {
        (RunKind::Promote, Some(commit)) => format!("live as `{}`", commit.short()),
        (RunKind::Promote, None) => "live".to_owned(),
        _ => "passed".to_owned(),
    };
    let figures = seen.bake_figures().map_or_else(String::new, |figures| figures_line(figures, 0));
    (Mark::Good, join([live, figures], ", "))
}

fn failed(run: &RunFacts) -> String {
    if !run.summary.is_empty() {
        return run.summary.clone();
    }
    let failed = run.steps.iter().find(|step| step.status == StepStatus::Failed);
    failed.map_or_else(|| "failed".to_owned(), |step| format!("`{}` failed: {}", step.name, step.detail))
}
