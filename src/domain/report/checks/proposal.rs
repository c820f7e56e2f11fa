//! The checks of a proposal: `titan/paths` and `titan/build`, each following its step.

use askama::Template;

use super::{CheckConclusion, CheckName, CheckNote, CheckState, CheckView, Common, buttons, capped, view};
use crate::domain::command::CommandName;
use crate::domain::markdown::{escape, fence, inline_code};
use crate::domain::paths::Offence;
use crate::domain::report::answer::render;
use crate::domain::report::stages::{is_failed, paths_in_short};
use crate::domain::report::words::{cell, code, count, duration, plain_line, tail_bytes};
use crate::domain::report::{ChangeFacts, RunFacts, StepFacts};
use crate::domain::run::{Conclusion, StepName, StepStatus};

/// The most bytes of a build's log in its summary.
const LOG_BYTES: usize = 40_000;
/// The most annotations; each fifty cost a request.
const ANNOTATIONS: usize = 100;
/// The most files that a summary lists.
const LISTED_FILES: usize = 50;

/// A check that follows one step.
pub(super) fn step_check(run: &RunFacts, change: &ChangeFacts, name: CheckName, step: StepName) -> CheckView {
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
    /// Where the receipt is, and the beginning of its hash.
    receipt: Option<(String, String)>,
    common: Common,
}

/// What `titan/paths` says of a proposal.
pub(super) fn paths_check(run: &RunFacts, change: &ChangeFacts) -> CheckView {
    let diff = &run.seen.diff;
    let mut view = step_check(run, change, CheckName::Paths, StepName::Diff);
    let bad = diff.offences.len();
    view.title = match view.state {
        CheckState::Completed(CheckConclusion::Success) => paths_in_short(diff),
        CheckState::Completed(CheckConclusion::Failure) if bad > 0 => {
            format!("{bad} of {} may not be touched", count(diff.files, "file"))
        }
        CheckState::Completed(CheckConclusion::Failure) if diff.cut_off.is_some() => {
            "The changed files could not be read".to_owned()
        }
        state => plain_title(state),
    };
    view.notes = diff
        .offences
        .iter()
        .filter(|offence| !offence.annotate.is_empty())
        .take(ANNOTATIONS)
        .map(|offence| CheckNote {
            path: offence.annotate.clone(),
            line: 1,
            title: "This file may not be touched here".to_owned(),
            message: plain_line(&format!("{}: {}", offence.path, offence.reason)),
        })
        .collect();
    let row = |offence: &Offence| FileRow {
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
        receipt: diff.receipt.as_ref().map(|sha256| (change.links.receipt(run.id), sha256.clone())),
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

/// What `titan/build` says of a proposal.
pub(super) fn build_check(run: &RunFacts, change: &ChangeFacts) -> CheckView {
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
