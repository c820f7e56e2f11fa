//! From what the simulated GitHub and Render know to what the pages show. Reads only, and asks no clock but once a page.

pub mod pull;
pub mod services;
pub mod traffic;

use chrono::{DateTime, Utc};

use super::view::{Actor, Label, Mark, PullRow, When};
use crate::playground::github::model::{Issue, Repository};

/// The pull requests of a repository: open ones and, when there are any, done ones, newest first.
pub fn pull_rows(repository: &Repository, now: DateTime<Utc>) -> Vec<(&'static str, Vec<PullRow>)> {
    let mut open = Vec::new();
    let mut done = Vec::new();
    for issue in repository.issues.values().rev().filter(|issue| issue.pull.is_some()) {
        let head = issue.pull.as_ref().map(|pull| pull.head_sha.as_str()).unwrap_or_default();
        let row = PullRow {
            number: issue.number,
            title: issue.title.clone(),
            state: state_of(issue),
            author: Actor::new(&issue.author),
            opened: When::new(issue.created_at, now),
            labels: labels(repository, &issue.labels),
            comments: repository.comments_of(issue.number).count(),
            checks: together(repository, head),
        };
        if issue.open { open.push(row) } else { done.push(row) }
    }
    let mut sections = vec![("Open", open)];
    if !done.is_empty() {
        sections.push(("Done", done));
    }
    sections
}

/// Open, merged or closed.
pub fn state_of(issue: &Issue) -> Mark {
    let merged = issue.pull.as_ref().is_some_and(|pull| pull.merged.is_some());
    match (issue.open, merged) {
        (true, _) => Mark::new("good", "Open"),
        (false, true) => Mark::new("done", "Merged"),
        (false, false) => Mark::new("bad", "Closed"),
    }
}

/// Labels with their colours.
pub fn labels(repository: &Repository, names: &[String]) -> Vec<Label> {
    let colour = |name: &str| repository.label(name).map_or("888888", |label| label.color.as_str()).to_owned();
    names.iter().map(|name| Label { name: name.clone(), colour: colour(name) }).collect()
}

/// All checks of a commit in one mark; `None` without any.
fn together(repository: &Repository, sha: &str) -> Option<Mark> {
    let contexts = repository.contexts(sha);
    let count = |wanted: &str| contexts.values().filter(|state| **state == wanted).count();
    let (all, failed, pending) = (contexts.len(), count("failure"), count("pending"));
    match (all, failed, pending) {
        (0, _, _) => None,
        (_, 0, 0) => Some(Mark::new("good", format!("{all} passed"))),
        (_, 0, _) => Some(Mark::new("busy", format!("{pending} of {all} running"))),
        _ => Some(Mark::new("bad", format!("{failed} of {all} failed"))),
    }
}
