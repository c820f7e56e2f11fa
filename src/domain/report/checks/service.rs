//! The checks of what changes a service, `titan/canary` and `titan/production`: each follows its whole run.

use askama::Template;

use super::{CheckConclusion, CheckName, CheckState, CheckView, Common, buttons, capped, is_offer, view};
use crate::domain::command::CommandName;
use crate::domain::report::answer::render;
use crate::domain::report::deployment::service_url;
use crate::domain::report::next::next_commands;
use crate::domain::report::stages::under_way;
use crate::domain::report::words::{Mark, cell, code, duration, join, time};
use crate::domain::report::{ChangeFacts, RunFacts, StepFacts};
use crate::domain::run::{Conclusion, RunKind, RunStatus, StepName, StepStatus};

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
pub(super) fn service_check(run: &RunFacts, change: &ChangeFacts, name: CheckName) -> CheckView {
    let state = match run.status {
        RunStatus::Queued => CheckState::Queued,
        RunStatus::Running | RunStatus::Undoing => CheckState::InProgress,
        RunStatus::Completed(conclusion) => CheckState::Completed(match conclusion {
            // The check stands at the head that production does not run any more, so a rollback that went well is not green.
            Conclusion::Success if run.kind == RunKind::Rollback => match run.cause {
                Some(_) => CheckConclusion::Failure,
                None => CheckConclusion::Cancelled,
            },
            // Whatever its canary said: it is not there any more.
            Conclusion::Success if run.kind == RunKind::Restore => CheckConclusion::Cancelled,
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
    let puts_back = matches!(run.kind, RunKind::Rollback | RunKind::Restore);
    let commit = if puts_back { &seen.restore.to } else { &seen.deploy.commit };
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
        RunKind::Restore => "Putting back",
    };
    match (run.kind, run.status) {
        _ if run.waited => format!("{kind} left the line"),
        (RunKind::Restore, RunStatus::Completed(Conclusion::Success)) => {
            format!("Not on the canary any more,{to} was put back")
        }
        (RunKind::Restore, RunStatus::Completed(_)) => {
            "The canary could not be put back, a person is needed".to_owned()
        }
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
pub fn todo(run: &RunFacts, change: &ChangeFacts) -> String {
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
        (RunKind::Restore, Conclusion::Success) => "`/titan canary` tries it again.".to_owned(),
        (RunKind::Restore, _) => {
            "Look at the canary and restore it on Render's page, then `/titan unlock`: until then nobody else can use it."
                .to_owned()
        }
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
