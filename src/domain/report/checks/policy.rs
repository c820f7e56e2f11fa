//! `titan/policy`: the policy file that a change brings, its mistakes at their lines, and what it would have said to past
//! commands. It says what the file would mean once it is on the base branch; it changes nothing.

use askama::Template;

use super::proposal::step_check;
use super::{CheckConclusion, CheckName, CheckNote, CheckState, CheckView, Common, capped};
use crate::domain::markdown::escape;
use crate::domain::policy::{Diagnostic, POLICY_PATH};
use crate::domain::replay::{Difference, PolicyReview};
use crate::domain::report::answer::render;
use crate::domain::report::words::{cell, code, count, plain_line, time};
use crate::domain::report::{ChangeFacts, RunFacts};
use crate::domain::run::StepName;

/// The most annotations; each fifty cost a request.
const ANNOTATIONS: usize = 100;
/// The most differences that the summary lists.
const LISTED: usize = 50;

struct MistakeRow {
    place: String,
    message: String,
    instead: String,
}

struct DifferenceRow {
    number: String,
    command: String,
    actor: String,
    at: String,
    before: String,
    after: String,
}

#[derive(Template)]
#[template(path = "github/check_policy.md")]
struct PolicySummary<'a> {
    review: &'a PolicyReview,
    mistakes: Vec<MistakeRow>,
    differences: Vec<DifferenceRow>,
    more: usize,
    common: Common,
}

/// What `titan/policy` says of a proposal; `None` for a change that leaves the policy alone.
pub(super) fn policy_check(run: &RunFacts, change: &ChangeFacts) -> Option<CheckView> {
    let review = run.seen.diff.policy.as_ref()?;
    let mut view = step_check(run, change, CheckName::Policy, StepName::Diff);
    let good = !review.removed && review.diagnostics.is_empty();
    // The step ends badly for another reason: the policy is protected. This check is about the file itself.
    if let CheckState::Completed(CheckConclusion::Success | CheckConclusion::Failure) = view.state {
        let conclusion = if good { CheckConclusion::Success } else { CheckConclusion::Failure };
        view.state = CheckState::Completed(conclusion);
    }
    view.title = title(review);
    view.notes = review.diagnostics.iter().take(ANNOTATIONS).map(note).collect();
    let summary = render(&PolicySummary {
        review,
        mistakes: review.diagnostics.iter().take(ANNOTATIONS).map(mistake).collect(),
        differences: review.differences.iter().take(LISTED).map(|one| difference(one, change)).collect(),
        more: review.differences.len().saturating_sub(LISTED),
        common: Common::of(run, change),
    });
    view.summary = capped(summary, &view.details_url);
    Some(view)
}

fn title(review: &PolicyReview) -> String {
    match (review.removed, review.diagnostics.len(), review.differences.len()) {
        (true, ..) => "The change removes the policy".to_owned(),
        (_, 0, 0) => "A valid policy; no past command would have gone otherwise".to_owned(),
        (_, 0, n) => {
            format!("A valid policy; {} of {} would have gone otherwise", n, count(review.replayed, "past command"))
        }
        (_, n, _) => format!("{} in the policy", count(n, "mistake")),
    }
}

fn note(diagnostic: &Diagnostic) -> CheckNote {
    let instead = diagnostic.suggestion.as_ref().map(|text| format!(" Write: {text}")).unwrap_or_default();
    CheckNote {
        path: POLICY_PATH.to_owned(),
        line: diagnostic.line,
        title: format!("Line {}, column {}", diagnostic.line, diagnostic.column),
        message: plain_line(&format!("{}{instead}", diagnostic.message)),
    }
}

fn mistake(diagnostic: &Diagnostic) -> MistakeRow {
    MistakeRow {
        place: format!("{}:{}", diagnostic.line, diagnostic.column),
        message: cell(&escape(&diagnostic.message)),
        instead: diagnostic.suggestion.as_deref().map(|text| cell(&code(text))).unwrap_or_default(),
    }
}

fn difference(one: &Difference, change: &ChangeFacts) -> DifferenceRow {
    DifferenceRow {
        number: format!("[{}]({})", one.number, change.links.pull_request(&change.repo, one.number)),
        command: cell(&code(&one.command)),
        actor: cell(&code(&one.actor)),
        at: time(one.at),
        before: one.before.words(),
        after: one.after.words(),
    }
}
