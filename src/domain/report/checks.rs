//! The check runs that a run posts, each with a summary that stands alone: what was checked, what was seen, what to do.
//!
//! A refused run posts none: nothing was checked. The checks belong to the head that the run is pinned to, whatever the
//! head is now. `skipped` and `neutral` are never used: GitHub counts both as passed when a check is required.

mod policy;
mod proposal;
mod service;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::answer::GateRow;
use super::next::next_commands;
use super::words::{cell, code};
use super::{ChangeFacts, RunFacts};
use crate::domain::command::CommandName;
use crate::domain::ids::{CommitSha, RunId};
use crate::domain::run::{Conclusion, RunKind};
use crate::domain::snapshot::ProjectFact;
use policy::policy_check;
use proposal::{build_check, paths_check};
use service::service_check;
pub use service::todo;

/// The most bytes of a summary (github/docs issue 35252: "exceeds a maximum bytesize of 65535").
const SUMMARY_BYTES: usize = 65_535;

/// Titan's check runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckName {
    /// The changed files against the policy.
    Paths,
    /// The change's own policy file; only for a change that has one.
    Policy,
    /// The build.
    Build,
    /// The canary's verdict.
    Canary,
    /// What became of it in production.
    Production,
}

impl CheckName {
    /// Every check.
    pub const ALL: [Self; 5] = [Self::Paths, Self::Policy, Self::Build, Self::Canary, Self::Production];

    /// Its name at GitHub.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paths => "titan/paths",
            Self::Policy => "titan/policy",
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
    /// The line, from 1.
    pub line: usize,
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
    /// What a press asks for. At GitHub the button is known by a nonce, which is good for one press.
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
    if run.is_refused() && !run.waited {
        return Vec::new();
    }
    let mut checks = of_kind(run, change);
    if let Some(base) = change.other_base(run) {
        checks.iter_mut().for_each(|check| take_back(check, base));
    }
    checks
}

/// A check hangs on the commit, and what it said was about the change to another base: it counts for no merge any more.
/// What became of production stays true.
fn take_back(check: &mut CheckView, base: &str) {
    if check.name == CheckName::Production || check.state != CheckState::Completed(CheckConclusion::Success) {
        return;
    }
    check.state = CheckState::Completed(CheckConclusion::ActionRequired);
    check.title = "The base branch was changed: propose again".to_owned();
    check.summary = format!(
        "This was about the change to {}, and the pull request goes to another branch now. `/titan propose` checks it anew.",
        code(base)
    );
    check.notes.clear();
    check.buttons.clear();
}

fn of_kind(run: &RunFacts, change: &ChangeFacts) -> Vec<CheckView> {
    match run.kind {
        RunKind::Propose => {
            let policy = policy_check(run, change);
            [Some(paths_check(run, change)), policy, Some(build_check(run, change))].into_iter().flatten().collect()
        }
        RunKind::Canary | RunKind::Restore => vec![service_check(run, change, CheckName::Canary)],
        RunKind::Promote | RunKind::Rollback => vec![service_check(run, change, CheckName::Production)],
    }
}

/// The checks of what waits in line, with the ids that their runs will have: when its turn comes, the run takes the check
/// over, or brings it to an end.
pub fn waiting_checks(change: &ChangeFacts) -> Vec<(RunId, CheckView)> {
    let check = |fact: &ProjectFact| {
        let waiting = super::lock::waits(change, fact)?;
        let name = if waiting.kind == RunKind::Canary { CheckName::Canary } else { CheckName::Production };
        let title = super::lock::place_in_words(waiting, fact);
        let view = CheckView {
            name,
            external_id: format!("{}:{}", waiting.run, name.as_str()),
            head: waiting.head.clone(),
            details_url: change.links.pull_request(&change.repo, change.number),
            state: CheckState::Queued,
            started_at: None,
            completed_at: None,
            summary: format!(
                "`{}` of `{}` by {} waits in line: {title}. It starts by itself when it is its turn, after every gate was \
                 asked again; `/titan cancel` gives the place up.",
                waiting.kind,
                fact.name,
                code(&waiting.by)
            ),
            title,
            notes: Vec::new(),
            buttons: Vec::new(),
        };
        Some((waiting.run, view))
    };
    change.projects.iter().filter_map(|project| check(&project.fact)).collect()
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

/// The facts that every summary ends with.
struct Common {
    head: String,
    project: String,
    actor: String,
    pull_request: String,
    page: String,
    /// Titan's page of the change.
    now: String,
    /// Why it was let in; empty for a run that nobody asked for.
    gates: Vec<GateRow>,
}

impl Common {
    fn of(run: &RunFacts, change: &ChangeFacts) -> Self {
        Self {
            head: run.head.to_string(),
            project: run.project.as_ref().map(ToString::to_string).unwrap_or_default(),
            actor: if run.cause.is_some() { "Titan, by itself".to_owned() } else { cell(&code(&run.actor)) },
            pull_request: format!("[{}]({})", change.number, change.links.pull_request(&change.repo, change.number)),
            page: change.links.run(run.id),
            now: change.links.gates(&change.repo, change.number),
            gates: run.gates.iter().map(GateRow::from).collect(),
        }
    }
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

/// Every part of a summary has its own limit; should all of them be reached, the page has everything.
fn capped(summary: String, page: &str) -> String {
    if summary.len() <= SUMMARY_BYTES {
        return summary;
    }
    format!("The summary is too long to be shown here: [everything about this run]({page})")
}
