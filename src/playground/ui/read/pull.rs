//! One pull request or commit: its head, timeline, checks, deployments and files.

use chrono::{DateTime, Utc};

use super::{labels, state_of};
use crate::playground::github::git::{ChangedFile, Git};
use crate::playground::github::model::{CheckRun, Comment as GitHubComment, Happening, Issue, Pull, Repository, State};
use crate::playground::ui::markdown;
use crate::playground::ui::view::{
    Actor, Check, Comment, Deployment, Entry, FileDiff, Mark, PullHead, Remark, TimelineEvent, When,
};

/// The order in which checks are shown; others follow by name.
const CHECK_ORDER: [&str; 4] = ["titan/paths", "titan/build", "titan/canary", "titan/production"];

/// The head of a pull request's pages.
pub fn head(repository: &Repository, issue: &Issue, pull: &Pull) -> PullHead {
    let comparison = repository.git.compare(&pull.base_sha, &pull.head_sha).ok();
    let comparison = comparison.as_ref();
    PullHead {
        number: issue.number,
        title: issue.title.clone(),
        state: state_of(issue),
        author: Actor::new(&issue.author),
        merged_by: pull.merged.as_ref().map(|merged| Actor::new(&merged.by)),
        commits: comparison.map_or(0, |found| found.ahead.len()),
        base: pull.base_ref.clone(),
        head: pull.head_ref.clone(),
        head_sha: pull.head_sha.clone(),
        files: comparison.map_or(0, |found| found.files.len()),
        additions: comparison.map_or(0, |found| found.additions()),
        deletions: comparison.map_or(0, |found| found.deletions()),
    }
}

/// Everything that was said and done, oldest first, beginning with the description.
pub fn timeline(state: &State, repository: &Repository, issue: &Issue, now: DateTime<Utc>) -> Vec<Entry> {
    let role = |login: &str| state.role(repository, login).name();
    let description = Comment {
        anchor: "description".into(),
        author: Actor::new(&issue.author),
        role: role(&issue.author),
        at: When::new(issue.created_at, now),
        edits: 0,
        html: markdown::render(issue.body.as_deref().unwrap_or("*No description.*")),
        reactions: Vec::new(),
    };
    let mut entries = vec![Entry::Comment(description)];
    for event in &issue.timeline {
        if let Happening::Commented(id) = event.what {
            let comment = repository.comments.iter().find(|comment| comment.id == id);
            entries.extend(comment.map(|comment| Entry::Comment(said(comment, role(&comment.author), now))));
            continue;
        }
        let (mark, text, commit, label) = match &event.what {
            Happening::Opened(_) | Happening::Commented(_) => continue,
            Happening::HeadMoved { after, .. } => ("quiet", "pushed".to_owned(), Some(after), None),
            Happening::Labeled(name) => ("quiet", "added the label".to_owned(), None, Some(name)),
            Happening::Unlabeled(name) => ("quiet", "removed the label".to_owned(), None, Some(name)),
            Happening::Reviewed(id) => (review_kind(issue, *id), review_text(issue, *id), None, None),
            Happening::Edited => ("quiet", "edited this pull request".to_owned(), None, None),
            Happening::Closed => ("bad", "closed this".to_owned(), None, None),
            Happening::Reopened => ("good", "opened this again".to_owned(), None, None),
            Happening::Merged(sha) => ("done", "merged this as".to_owned(), Some(sha), None),
            Happening::MadeDraft => ("quiet", "made this a draft".to_owned(), None, None),
            Happening::MadeReady => ("good", "marked this as ready".to_owned(), None, None),
            Happening::Deployed(id) => {
                let Some(deployment) = repository.deployments.iter().find(|deployment| deployment.id == *id) else {
                    continue;
                };
                ("done", format!("began to deploy to {}:", deployment.environment), Some(&deployment.sha), None)
            }
        };
        entries.push(Entry::Event(TimelineEvent {
            actor: Actor::new(&event.actor),
            at: When::new(event.at, now),
            text,
            commit: commit.cloned(),
            label: label.and_then(|name| labels(repository, std::slice::from_ref(name)).pop()),
            mark: Mark::new(mark, ""),
        }));
    }
    entries
}

fn said(comment: &GitHubComment, role: &'static str, now: DateTime<Utc>) -> Comment {
    let mut reactions: Vec<(&'static str, usize, String)> = Vec::new();
    for reaction in &comment.reactions {
        let emoji = emoji(&reaction.content);
        match reactions.iter_mut().find(|(known, _, _)| *known == emoji) {
            Some((_, count, who)) => {
                *count += 1;
                who.push_str(&format!(", {}", reaction.author));
            }
            None => reactions.push((emoji, 1, reaction.author.clone())),
        }
    }
    Comment {
        anchor: format!("issuecomment-{}", comment.id),
        author: Actor::new(&comment.author),
        role,
        at: When::new(comment.created_at, now),
        edits: comment.edits.len(),
        html: markdown::render(&comment.body),
        reactions,
    }
}

fn emoji(content: &str) -> &'static str {
    match content {
        "+1" => "👍",
        "-1" => "👎",
        "laugh" => "😄",
        "hooray" => "🎉",
        "confused" => "😕",
        "heart" => "❤️",
        "rocket" => "🚀",
        "eyes" => "👀",
        _ => "❔",
    }
}

fn review_kind(issue: &Issue, id: u64) -> &'static str {
    match review_state(issue, id) {
        "APPROVED" => "good",
        "CHANGES_REQUESTED" => "bad",
        _ => "quiet",
    }
}

fn review_text(issue: &Issue, id: u64) -> String {
    match review_state(issue, id) {
        "APPROVED" => "approved this".to_owned(),
        "CHANGES_REQUESTED" => "asked for changes".to_owned(),
        _ => "reviewed this".to_owned(),
    }
}

fn review_state(issue: &Issue, id: u64) -> &str {
    let reviews = issue.pull.as_ref().map(|pull| &pull.reviews[..]).unwrap_or_default();
    reviews.iter().find(|review| review.id == id).map_or("", |review| &review.state)
}

/// Who has approved the head as it is now.
pub fn approvals(pull: &Pull) -> Vec<Actor> {
    let given = pull.reviews.iter().filter(|review| review.state == "APPROVED" && review.commit == pull.head_sha);
    let mut logins: Vec<&str> = given.map(|review| review.author.as_str()).collect();
    logins.dedup();
    logins.into_iter().map(Actor::new).collect()
}

/// The newest check run of each name on a commit.
pub fn checks(repository: &Repository, sha: &str) -> Vec<Check> {
    let mut newest: Vec<&CheckRun> = Vec::new();
    for run in repository.check_runs.iter().filter(|run| run.head_sha == sha) {
        newest.retain(|known| known.name != run.name);
        newest.push(run);
    }
    let place = |name: &str| CHECK_ORDER.iter().position(|known| *known == name).unwrap_or(CHECK_ORDER.len());
    newest.sort_by_key(|run| (place(&run.name), run.name.clone()));
    newest.into_iter().map(check).collect()
}

fn check(run: &CheckRun) -> Check {
    let mark = match (run.status.as_str(), run.conclusion.as_deref()) {
        (_, Some("success")) => Mark::new("good", "success"),
        (_, Some(other @ ("neutral" | "skipped" | "stale" | "cancelled"))) => Mark::new("quiet", other),
        (_, Some(other)) => Mark::new("bad", other.replace('_', " ")),
        ("in_progress", None) => Mark::new("busy", "in progress"),
        (other, None) => Mark::new("quiet", other),
    };
    let took = run.started_at.zip(run.completed_at).map(|(from, to)| format!("{} s", (to - from).num_seconds().max(0)));
    let completed = run.status == "completed";
    let actions = run.actions.iter().filter(|_| completed);
    Check {
        id: run.id,
        name: run.name.clone(),
        mark,
        title: run.output.title.clone().unwrap_or_default(),
        summary: run.output.summary.as_deref().map(markdown::render),
        text: run.output.text.as_deref().map(markdown::render),
        annotations: run.output.annotations.iter().map(remark).collect(),
        actions: actions.map(|a| (a.identifier.clone(), a.label.clone(), a.description.clone())).collect(),
        details_url: run.details_url.as_deref().and_then(web_link),
        took,
    }
}

fn remark(annotation: &crate::playground::github::model::Annotation) -> Remark {
    let kind = match annotation.annotation_level.as_str() {
        "failure" => "bad",
        "warning" => "busy",
        _ => "quiet",
    };
    Remark {
        kind,
        place: format!("{}:{}", annotation.path, annotation.start_line),
        title: annotation.title.clone().unwrap_or_default(),
        message: annotation.message.clone(),
    }
}

/// The deployments of a pull request's heads and of its merge, newest first.
pub fn deployments(repository: &Repository, issue: &Issue, now: DateTime<Utc>) -> Vec<Deployment> {
    let of_this = |id: u64| issue.timeline.iter().any(|event| event.what == Happening::Deployed(id));
    let found = repository.deployments.iter().rev().filter(|deployment| of_this(deployment.id));
    found
        .map(|deployment| {
            let newest = deployment.statuses.last();
            let state = deployment.state().unwrap_or("waiting");
            let mark = match state {
                "success" => Mark::new("good", "success"),
                "error" | "failure" => Mark::new("bad", state),
                "in_progress" | "queued" | "pending" => Mark::new("busy", state.replace('_', " ")),
                other => Mark::new("quiet", other),
            };
            Deployment {
                environment: deployment.environment.clone(),
                mark,
                description: newest.map(|status| status.description.clone()).unwrap_or_default(),
                commit: deployment.sha.clone(),
                url: newest.and_then(|status| web_link(&status.environment_url)),
                log_url: newest.and_then(|status| web_link(&status.log_url)),
                at: When::new(deployment.updated_at, now),
            }
        })
        .collect()
}

/// An address that a page may link to: what an App sends could also be a script.
fn web_link(url: &str) -> Option<String> {
    (url.starts_with("http://") || url.starts_with("https://")).then(|| url.to_owned())
}

/// Whether a pull request could be merged, and how many commits it is behind its base.
pub fn merge(repository: &Repository, issue: &Issue, pull: &Pull) -> (Mark, usize) {
    if let Some(merged) = &pull.merged {
        return (Mark::new("done", format!("Merged by {}", Actor::new(&merged.by).login)), 0);
    }
    if !issue.open {
        return (Mark::new("quiet", "Closed without merging"), 0);
    }
    let Some(tip) = repository.git.branch(&pull.base_ref) else {
        return (Mark::new("bad", format!("The branch {} is gone", pull.base_ref)), 0);
    };
    let behind = repository.git.compare(&tip, &pull.head_sha).map_or(0, |comparison| comparison.behind_by);
    match repository.git.merge_tree(&tip, &pull.head_sha) {
        Ok(_) => (Mark::new("good", "Can be merged without conflicts"), behind),
        Err(_) => (Mark::new("bad", "Has conflicts with its base"), behind),
    }
}

/// What lies between two commits; without a base, what the commit brought.
pub fn files(git: &Git, base: Option<&str>, head: &str) -> Vec<FileDiff> {
    let changed = match base {
        Some(base) => git.compare(base, head).map(|comparison| comparison.files.clone()),
        None => {
            let parent = git.commit(head).and_then(|commit| commit.parents.first().cloned());
            git.changed_files(parent.as_deref(), head)
        }
    };
    changed.unwrap_or_default().iter().map(file).collect()
}

fn file(changed: &ChangedFile) -> FileDiff {
    let lines = changed.patch.as_deref().unwrap_or_default().lines().map(|line| {
        let kind = match line.as_bytes().first() {
            Some(b'+') => "add",
            Some(b'-') => "del",
            Some(b'@') => "hunk",
            _ => "same",
        };
        (kind, line.to_owned())
    });
    let path = match &changed.previous_path {
        Some(old) => format!("{old} → {}", changed.path),
        None => changed.path.clone(),
    };
    FileDiff {
        path,
        status: changed.status.to_owned(),
        additions: changed.additions,
        deletions: changed.deletions,
        lines: lines.collect(),
    }
}
