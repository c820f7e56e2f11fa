//! The check runs that a run posts, each with a summary that stands alone: what was checked, what was seen, what to do.
//!
//! A refused run posts none: nothing was checked. The checks belong to the head that the run is pinned to, whatever the
//! head is now. `skipped` and `neutral` are never used: GitHub counts both as passed when a check is required.

use askama::Template;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::answer::render;
use super::comment::{is_failed, paths_in_short, under_way};
use super::deployment::service_url;
use super::next::next_commands;
use super::words::{Mark, cell, code, count, duration, join, plain_line, tail_bytes, time};
use super::{ChangeFacts, RunFacts, StepFacts};
use crate::domain::command::CommandName;
use crate::domain::ids::CommitSha;
use crate::domain::markdown::{escape, fence, inline_code};
use crate::domain::run::{Conclusion, RunKind, RunStatus, StepName, StepStatus};

/// The most bytes of a summary (github/docs issue 35252: "exceeds a maximum bytesize of 65535").
const SUMMARY_BYTES: usize = 65_535;
/// The most bytes of a build's log in its summary.
const LOG_BYTES: usize = 40_000;
/// The most annotations; each fifty cost a request.
const ANNOTATIONS: usize = 100;
/// The most files that a summary lists.
const LISTED_FILES: usize = 50;

/// Titan's check runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckName {
    /// The changed files against the policy.
    Paths,
    /// The build.
    Build,
    /// The canary's verdict.
    Canary,
    /// What became of it in production.
    Production,
}

impl CheckName {
    /// Every check.
    pub const ALL: [Self; 4] = [Self::Paths, Self::Build, Self::Canary, Self::Production];

    /// Its name at GitHub.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paths => "titan/paths",
            Self::Build => "titan/build",
            Self::Canary => "titan/canary",
            Self::Production => "titan/production",
        }
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckConclusion {
    /// Good.
    Success,
    /// Bad.
    Failure,
    /// Stopped, or never begun because something before it failed.
    Cancelled,
    /// A person decides.
    ActionRequired,
}

/// Where a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// Not begun.
    Queued,
    /// Going on.
    InProgress,
    /// Ended.
    Completed(CheckConclusion),
}

/// A note on a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckNote {
    /// The file after the change.
    pub path: String,
    /// A headline, plain text.
    pub title: String,
    /// What is wrong and what to do, plain text.
    pub message: String,
}

/// A button. Pressing it only asks; the presser's permission is checked like a comment's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckButton {
    /// The words on it, at most 20 characters.
    pub label: &'static str,
    /// What it does, at most 40 characters.
    pub description: &'static str,
    /// The command; its name is the button's identifier.
    pub command: CommandName,
}

/// A check run as GitHub shall show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckView {
    /// Which check.
    pub name: CheckName,
    /// Run id and check name; it is found again by this.
    pub external_id: String,
    /// The commit that it is about.
    pub head: CommitSha,
    /// The run's page.
    pub details_url: String,
    /// Where it is.
    pub state: CheckState,
    /// When it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// One line, plain text, Titan's own words.
    pub title: String,
    /// Markdown, at most 65,535 bytes.
    pub summary: String,
    /// Notes on files, in the order of GitHub's list; may be empty.
    pub notes: Vec<CheckNote>,
    /// Only where the next command would pass now; may be empty.
    pub buttons: Vec<CheckButton>,
}

/// The check runs of a run, in order; empty for a refused one.
pub fn checks(run: &RunFacts, change: &ChangeFacts) -> Vec<CheckView> {
    if run.is_refused() {
        return Vec::new();
    }
    match run.kind {
        RunKind::Propose => vec![paths_check(run, change), build_check(run, change)],
        RunKind::Canary => vec![service_check(run, change, CheckName::Canary)],
        RunKind::Promote | RunKind::Rollback => vec![service_check(run, change, CheckName::Production)],
    }
}

/// What all checks of a run have in common.
fn view(run: &RunFacts, change: &ChangeFacts, name: CheckName, state: CheckState) -> CheckView {
    CheckView {
        name,
        external_id: format!("{}:{}", run.id, name.as_str()),
        head: run.head.clone(),
        details_url: change.links.run(run.id),
        state,
        started_at: None,
        completed_at: None,
        title: String::new(),
        summary: String::new(),
        notes: Vec::new(),
        buttons: Vec::new(),
    }
}

/// A check that follows one step.
fn step_check(run: &RunFacts, change: &ChangeFacts, name: CheckName, step: StepName) -> CheckView {
    let step = run.step(step);
    let state = step.map_or(CheckState::Queued, |step| step_state(run, step));
    let ended = matches!(state, CheckState::Completed(_));
    CheckView {
        started_at: step.and_then(|step| step.started_at),
        completed_at: step.and_then(|step| step.completed_at).or(run.completed_at).filter(|_| ended),
        ..view(run, change, name, state)
    }
}

fn step_state(run: &RunFacts, step: &StepFacts) -> CheckState {
    match (step.status, run.conclusion()) {
        (StepStatus::Pending, None) => CheckState::Queued,
        (StepStatus::Running, None) => CheckState::InProgress,
        (StepStatus::Succeeded, _) => CheckState::Completed(CheckConclusion::Success),
        (StepStatus::Failed, _) => CheckState::Completed(CheckConclusion::Failure),
        // The run ended while the step was being carried out: it was given up.
        (_, Some(Conclusion::Failure)) if step.started_at.is_some() => CheckState::Completed(CheckConclusion::Failure),
        (StepStatus::Skipped | StepStatus::Pending | StepStatus::Running, _) => {
            CheckState::Completed(CheckConclusion::Cancelled)
        }
    }
}

struct FileRow {
    path: String,
    reason: String,
    rule: String,
}

#[derive(Template)]
#[template(path = "github/check_paths.md")]
struct PathsSummary<'a> {
    state: &'static str,
    detail: &'a str,
    clean: String,
    files: Vec<FileRow>,
    more_files: usize,
    common: Common,
}

/// The facts that every summary ends with.
struct Common {
    head: String,
    project: String,
    actor: String,
    pull_request: String,
    page: String,
}

impl Common {
    fn of(run: &RunFacts, change: &ChangeFacts) -> Self {
        Self {
            head: run.head.to_string(),
            project: run.project.as_ref().map(ToString::to_string).unwrap_or_default(),
            actor: if run.cause.is_some() { "Titan, by itself".to_owned() } else { cell(&code(&run.actor)) },
            pull_request: format!("[{}]({})", change.number, change.links.pull_request(&change.repo, change.number)),
            page: change.links.run(run.id),
        }
    }
}

fn paths_check(run: &RunFacts, change: &ChangeFacts) -> CheckView {
    let diff = &run.seen.diff;
    let mut view = step_check(run, change, CheckName::Paths, StepName::Diff);
    let bad = diff.offences.len();
    view.title = match view.state {
        CheckState::Completed(CheckConclusion::Success) => paths_in_short(diff),
        CheckState::Completed(CheckConclusion::Failure) if bad > 0 => {
            format!("{bad} of {} may not be touched", count(diff.files, "file"))
        }
        CheckState::Completed(CheckConclusion::Failure) if diff.cut_off.is_some() => {
            "GitHub's list of changed files was cut off".to_owned()
        }
        state => plain_title(state),
    };
    view.notes = diff
        .offences
        .iter()
        .take(ANNOTATIONS)
        .map(|offence| CheckNote {
            path: offence.annotate.clone(),
            title: "This file may not be touched here".to_owned(),
            message: plain_line(&format!("{}: {}", offence.path, offence.reason)),
        })
        .collect();
    let row = |offence: &crate::domain::paths::Offence| FileRow {
        path: cell(&code(&offence.path)),
        reason: cell(&escape(&offence.reason)),
        rule: offence.rule.as_deref().map(|rule| cell(&code(rule))).unwrap_or_default(),
    };
    let step = run.step(StepName::Diff);
    let summary = render(&PathsSummary {
        state: word(view.state),
        detail: step.map_or("", |step| step.detail.as_str()),
        clean: paths_in_short(diff),
        files: diff.offences.iter().take(LISTED_FILES).map(row).collect(),
        more_files: bad.saturating_sub(LISTED_FILES),
        common: Common::of(run, change),
    });
    view.summary = capped(summary, &view.details_url);
    view
}

#[derive(Template)]
#[template(path = "github/check_build.md")]
struct BuildSummary<'a> {
    state: &'static str,
    detail: &'a str,
    outcome: String,
    commands: Vec<String>,
    took: String,
    log: String,
    log_bytes: u64,
    why_not: String,
    common: Common,
}

fn build_check(run: &RunFacts, change: &ChangeFacts) -> CheckView {
    let build = &run.seen.build;
    let mut view = step_check(run, change, CheckName::Build, StepName::Build);
    let took = if build.duration_ms == 0 { String::new() } else { duration(build.duration_ms) };
    let paths_failed = is_failed(run, StepName::Diff);
    view.title = match view.state {
        CheckState::Completed(CheckConclusion::Success) if !took.is_empty() => format!("Built in {took}"),
        CheckState::Completed(CheckConclusion::Failure) if !took.is_empty() => format!("Build failed after {took}"),
        CheckState::Completed(CheckConclusion::Cancelled) if paths_failed => "Not built, see titan/paths".to_owned(),
        state => plain_title(state),
    };
    let why_not = match view.state {
        CheckState::Completed(CheckConclusion::Cancelled) if paths_failed => {
            "The change touches files that it may not touch, so it was not built. Check `titan/paths` lists them."
                .to_owned()
        }
        CheckState::Completed(CheckConclusion::Cancelled) => format!("Stopped before it ended. {}", run.summary),
        _ => String::new(),
    };
    let summary = render(&BuildSummary {
        state: word(view.state),
        detail: run.step(StepName::Build).map_or("", |step| step.detail.as_str()),
        outcome: build.outcome.as_deref().map(|outcome| cell(&escape(outcome))).unwrap_or_default(),
        commands: build.commands.iter().map(|command| cell(&inline_code(command))).collect(),
        took,
        log: log_block(&build.log_tail),
        log_bytes: build.log_bytes,
        why_not,
        common: Common::of(run, change),
    });
    view.summary = capped(summary, &view.details_url);
    view.buttons = buttons(run, change, CommandName::Canary, "Deploy canary", "Try this commit on the canary");
    view
}

struct StepRow {
    icon: &'static str,
    name: &'static str,
    seen: String,
}

struct FigureRow {
    samples: usize,
    failed: usize,
    p50: String,
    p95: String,
    bound: String,
}

#[derive(Template)]
#[template(path = "github/check_service.md")]
struct ServiceSummary {
    headline: String,
    why: String,
    todo: String,
    service: String,
    commit: String,
    steps: Vec<StepRow>,
    figures: Option<FigureRow>,
    common: Common,
}

/// The check of a canary, a promote or a rollback: it follows the whole run.
fn service_check(run: &RunFacts, change: &ChangeFacts, name: CheckName) -> CheckView {
    let state = match run.status {
        RunStatus::Queued => CheckState::Queued,
        RunStatus::Running | RunStatus::Undoing => CheckState::InProgress,
        RunStatus::Completed(conclusion) => CheckState::Completed(match conclusion {
            Conclusion::Success => CheckConclusion::Success,
            Conclusion::Failure => CheckConclusion::Failure,
            // `neutral` would let a required check pass without anybody having looked.
            Conclusion::Inconclusive => CheckConclusion::ActionRequired,
            Conclusion::Cancelled | Conclusion::Refused => CheckConclusion::Cancelled,
        }),
    };
    let headline = headline(run);
    let seen = &run.seen;
    let figures = seen.bake_figures().map(|figures| FigureRow {
        samples: figures.samples,
        failed: figures.failed,
        p50: figures.p50_ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms} ms")),
        p95: figures.p95_ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms} ms")),
        bound: figures.error_bound_percent.map_or_else(|| "–".to_owned(), |bound| format!("below {bound:.1} %")),
    });
    let commit = if run.kind == RunKind::Rollback { &seen.restore.to } else { &seen.deploy.commit };
    let summary = ServiceSummary {
        headline: headline.clone(),
        why: match run.is_under_way() {
            true => join([run.summary.clone(), under_way(run)], "; "),
            false => run.summary.clone(),
        },
        todo: todo(run, change),
        service: service_url(run, change).map(|url| cell(&code(&url))).unwrap_or_default(),
        commit: commit.as_ref().map(ToString::to_string).unwrap_or_default(),
        steps: run.steps.iter().map(step_row).collect(),
        figures,
        common: Common::of(run, change),
    };
    let (command, label, description) = match name {
        CheckName::Canary => (CommandName::Promote, "Promote", "Merge it and ship it to production"),
        _ => (CommandName::Rollback, "Roll back", "Bring the last good version back"),
    };
    CheckView {
        started_at: run.steps.first().and_then(|step| step.started_at),
        completed_at: run.completed_at,
        title: headline,
        summary: capped(render(&summary), &change.links.run(run.id)),
        buttons: buttons(run, change, command, label, description),
        ..view(run, change, name, state)
    }
}

/// One line of plain text.
fn headline(run: &RunFacts) -> String {
    let seen = &run.seen;
    let put_back = run.step(StepName::Restore).map(|step| step.status);
    let to = seen.restore.to.as_ref().map_or_else(String::new, |to| format!(" {}", to.short()));
    let samples = seen.bake_figures().map_or_else(String::new, |figures| {
        format!(", {} of {} probes healthy", figures.samples.saturating_sub(figures.failed), figures.samples)
    });
    let automatic = if run.cause.is_some() { "automatically" } else { "as asked" };
    let kind = match run.kind {
        RunKind::Propose => "Proposal",
        RunKind::Canary => "Canary",
        RunKind::Promote => "Promote",
        RunKind::Rollback => "Rollback",
    };
    match (run.kind, run.status) {
        (_, RunStatus::Queued) => format!("{kind} queued"),
        (_, RunStatus::Running) => {
            let current =
                run.steps.iter().find(|step| matches!(step.status, StepStatus::Running | StepStatus::Pending));
            current.map_or("Ending", |step| doing(step.name)).to_owned()
        }
        (_, RunStatus::Undoing) => format!("{kind} failed, putting{to} back"),
        (RunKind::Rollback, RunStatus::Completed(Conclusion::Success)) => {
            format!("Rolled back{} {automatic}", to.replacen(' ', " to ", 1))
        }
        (RunKind::Canary, RunStatus::Completed(Conclusion::Success)) => format!("Canary passed{samples}"),
        (_, RunStatus::Completed(Conclusion::Success)) => format!("Live in production{samples}"),
        (RunKind::Canary, RunStatus::Completed(Conclusion::Failure)) => match put_back {
            Some(StepStatus::Succeeded) => format!("Canary failed,{to} was put back"),
            Some(_) => "Canary failed and could not be put back".to_owned(),
            None => "Canary failed".to_owned(),
        },
        (RunKind::Rollback, RunStatus::Completed(Conclusion::Failure)) => {
            "Rollback failed, a person is needed".to_owned()
        }
        (_, RunStatus::Completed(Conclusion::Failure)) => format!("{kind} failed"),
        (_, RunStatus::Completed(Conclusion::Inconclusive)) => {
            format!("{kind} could not be judged, a person decides")
        }
        (_, RunStatus::Completed(Conclusion::Cancelled | Conclusion::Refused)) => format!("{kind} was stopped"),
    }
}

fn doing(step: StepName) -> &'static str {
    match step {
        StepName::Diff => "Comparing the changed files with the policy",
        StepName::Build => "Building",
        StepName::Merge => "Merging",
        StepName::Deploy => "Deploying",
        StepName::Verify => "Asking the service which commit it is",
        StepName::Bake => "Watching the new version",
        StepName::Restore => "Putting the last good version back",
        StepName::Revert => "Opening the revert pull request",
    }
}

/// What a person has to do now, finished Markdown; may be empty.
fn todo(run: &RunFacts, change: &ChangeFacts) -> String {
    let Some(conclusion) = run.conclusion() else { return String::new() };
    let seen = &run.seen;
    let offered = |command| next_commands(change).into_iter().find(|next| is_offer(next, run, command));
    let next = |command: CommandName| {
        offered(command).map_or_else(String::new, |next| format!("`{}` {}.", next.line, next.does))
    };
    match (run.kind, conclusion) {
        (RunKind::Canary, Conclusion::Success) => next(CommandName::Promote),
        (RunKind::Canary, Conclusion::Failure) => {
            let by_hand = run.step(StepName::Restore).is_some_and(|step| step.status != StepStatus::Succeeded);
            let service = if by_hand { "Restore the canary on Render's page: Titan could not. " } else { "" };
            format!(
                "{service}Push a fix, then `/titan propose` and `/titan canary`. If the cause was elsewhere, `/titan canary` again."
            )
        }
        (RunKind::Canary, _) => "`/titan canary` again. It is never promoted without having passed.".to_owned(),
        (RunKind::Promote, Conclusion::Success) => next(CommandName::Rollback),
        (RunKind::Promote, Conclusion::Failure) => {
            let follow_up = change.runs.iter().find(|other| other.cause == Some(run.id));
            match (follow_up, &seen.merge.merge_commit, seen.deploy.went_live_at) {
                (Some(rollback), ..) => {
                    format!("Nothing: Titan [rolls back]({}) by itself.", change.links.run(rollback.id))
                }
                (None, None, _) => "Nothing was merged. Mend the cause and `/titan promote` again.".to_owned(),
                (None, Some(merge), None) => format!(
                    "`{}` is merged, but it did not go live: the version before still serves. Revert the merge, or \
                     deploy it on Render's page.",
                    merge.short()
                ),
                (None, Some(_), Some(_)) => {
                    "Look at production now: `/titan rollback` brings the version before back.".to_owned()
                }
            }
        }
        (RunKind::Rollback, Conclusion::Success) => match seen.revert.pull_request {
            Some(number) => format!(
                "Review and merge {number}: until then the base branch still has the change, and the next deploy of it \
                 would bring it back."
            ),
            None => "Revert the change on the base branch: the next deploy of it would bring it back.".to_owned(),
        },
        (RunKind::Rollback, _) => "A person is needed: restore the last good version on Render's page.".to_owned(),
        _ => String::new(),
    }
}

fn step_row(step: &StepFacts) -> StepRow {
    let mark = match step.status {
        StepStatus::Succeeded => Mark::Good,
        StepStatus::Failed => Mark::Bad,
        StepStatus::Running => Mark::Working,
        StepStatus::Pending | StepStatus::Skipped => Mark::Waiting,
    };
    let took = match (step.started_at, step.completed_at) {
        (Some(from), Some(to)) => {
            let ms = u64::try_from((to - from).num_milliseconds()).unwrap_or_default();
            format!(" ({})", duration(ms))
        }
        (Some(from), None) => format!(" (since {})", time(from)),
        _ => String::new(),
    };
    let seen = if step.detail.is_empty() { step.status.as_str().to_owned() } else { step.detail.clone() };
    StepRow { icon: mark.icon(), name: step.name.as_str(), seen: cell(&format!("{seen}{took}")) }
}

fn is_offer(next: &super::NextCommand, run: &RunFacts, command: CommandName) -> bool {
    next.command == command && next.project == run.project
}

/// A button, when its command would pass now and this is the newest word about the current head.
fn buttons(
    run: &RunFacts,
    change: &ChangeFacts,
    command: CommandName,
    label: &'static str,
    description: &'static str,
) -> Vec<CheckButton> {
    let ended_well = run.conclusion() == Some(Conclusion::Success) && run.kind != RunKind::Rollback;
    let current = change.head.as_ref() == Some(&run.head);
    let newest = super::next::newest(change, run.kind, run.project.as_ref(), Some(&run.head));
    let newest = newest.is_some_and(|newest| newest.id == run.id);
    if !(ended_well && current && newest) {
        return Vec::new();
    }
    let offered = next_commands(change).iter().any(|next| is_offer(next, run, command));
    offered.then_some(CheckButton { label, description, command }).into_iter().collect()
}

fn plain_title(state: CheckState) -> String {
    match state {
        CheckState::Queued => "Queued",
        CheckState::InProgress => "Going on",
        CheckState::Completed(CheckConclusion::Success) => "Passed",
        CheckState::Completed(CheckConclusion::Failure) => "Failed",
        CheckState::Completed(CheckConclusion::Cancelled) => "Stopped",
        CheckState::Completed(CheckConclusion::ActionRequired) => "A person decides",
    }
    .to_owned()
}

/// The state as the templates know it.
fn word(state: CheckState) -> &'static str {
    match state {
        CheckState::Queued => "queued",
        CheckState::InProgress => "going on",
        CheckState::Completed(CheckConclusion::Success) => "good",
        CheckState::Completed(CheckConclusion::Failure) => "bad",
        CheckState::Completed(CheckConclusion::Cancelled | CheckConclusion::ActionRequired) => "stopped",
    }
}

/// A log as a code block of at most [`LOG_BYTES`] and its end. A log full of back-ticks needs a fence that is longer than
/// its longest run, so less of such a log is shown.
fn log_block(log: &str) -> String {
    let tail = tail_bytes(log, LOG_BYTES);
    if tail.trim().is_empty() {
        return String::new();
    }
    let block = fence(tail);
    if block.len() <= LOG_BYTES + 1000 { block } else { fence(tail_bytes(tail, LOG_BYTES / 4)) }
}

/// Every part of a summary has its own limit; should all of them be reached, the page has everything.
fn capped(summary: String, page: &str) -> String {
    if summary.len() <= SUMMARY_BYTES {
        return summary;
    }
    format!("The summary is too long to be shown here: [everything about this run]({page})")
}
