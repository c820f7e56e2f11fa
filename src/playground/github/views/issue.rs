//! Issues, comments, reactions and reviews. Markdown stays as it was written; nothing is rendered.

use serde_json::{Value, json};

use super::{View, extend, node_id, time, time_or_null};
use crate::playground::github::model::{Comment, Happening, Issue, Reaction, Repository, Review, TimelineEvent};

/// The contents a reaction may have, in the order of GitHub's summary.
pub const REACTIONS: [&str; 8] = ["+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes"];

impl View<'_> {
    /// Page of an issue or pull request.
    pub fn issue_page(&self, repository: &Repository, issue: &Issue) -> String {
        let kind = if issue.pull.is_some() { "pull" } else { "issues" };
        format!("{}/{kind}/{}", self.repository_page(repository), issue.number)
    }

    /// GitHub's `issue`.
    pub fn issue(&self, repository: &Repository, issue: &Issue) -> Value {
        let repository_url = self.repository_url(repository);
        let url = format!("{repository_url}/issues/{}", issue.number);
        let page = self.issue_page(repository, issue);
        let mut value = json!({
            "url": url,
            "repository_url": repository_url,
            "labels_url": format!("{url}/labels{{/name}}"),
            "comments_url": format!("{url}/comments"),
            "events_url": format!("{url}/events"),
            "timeline_url": format!("{url}/timeline"),
            "html_url": page,
            "id": issue.id,
            "node_id": node_id("I", issue.id),
            "number": issue.number,
            "title": issue.title,
            "user": self.user(&issue.author),
            "labels": self.labels(repository, &issue.labels),
            "state": if issue.open { "open" } else { "closed" },
            "state_reason": null,
            "locked": issue.locked,
            "assignee": null,
            "assignees": [],
            "milestone": null,
            "comments": repository.comments_of(issue.number).count(),
            "created_at": time(issue.created_at),
            "updated_at": time(issue.updated_at),
            "closed_at": time_or_null(issue.closed_at),
            "author_association": self.state.association(repository, &issue.author),
            "active_lock_reason": null,
            "body": issue.body,
            "performed_via_github_app": self.via_app(issue.via_app),
            "reactions": reaction_rollup(&url, &[]),
        });
        if let Some(pull) = &issue.pull {
            let links = json!({
                "url": format!("{repository_url}/pulls/{}", issue.number),
                "html_url": page,
                "diff_url": format!("{page}.diff"),
                "patch_url": format!("{page}.patch"),
                "merged_at": time_or_null(pull.merged.as_ref().map(|merged| merged.at)),
            });
            extend(&mut value, json!({ "draft": pull.draft, "pull_request": links }));
        }
        value
    }

    fn via_app(&self, via_app: bool) -> Value {
        if via_app { self.app(&self.state.app) } else { Value::Null }
    }

    /// GitHub's `issue-comment`.
    pub fn comment(&self, repository: &Repository, comment: &Comment) -> Value {
        let repository_url = self.repository_url(repository);
        let url = format!("{repository_url}/issues/comments/{}", comment.id);
        let page = repository.issues.get(&comment.issue).map(|issue| self.issue_page(repository, issue));
        json!({
            "url": url,
            "html_url": format!("{}#issuecomment-{}", page.unwrap_or_default(), comment.id),
            "issue_url": format!("{repository_url}/issues/{}", comment.issue),
            "id": comment.id,
            "node_id": node_id("IC", comment.id),
            "user": self.user(&comment.author),
            "created_at": time(comment.created_at),
            "updated_at": time(comment.updated_at),
            "author_association": self.state.association(repository, &comment.author),
            "body": comment.body,
            "reactions": reaction_rollup(&url, &comment.reactions),
            "performed_via_github_app": self.via_app(comment.via_app),
        })
    }

    /// GitHub's `labeled-issue-event` or `unlabeled-issue-event`; `None` when something else happened.
    pub fn label_event(&self, repository: &Repository, id: u64, event: &TimelineEvent) -> Option<Value> {
        let (word, name) = match &event.what {
            Happening::Labeled(name) => ("labeled", name),
            Happening::Unlabeled(name) => ("unlabeled", name),
            _ => return None,
        };
        let color = repository.label(name).map(|label| label.color.clone()).unwrap_or_default();
        Some(json!({
            "id": id,
            "node_id": node_id("LE", id),
            "url": format!("{}/issues/events/{id}", self.repository_url(repository)),
            "actor": self.user(&event.actor),
            "event": word,
            "commit_id": null,
            "commit_url": null,
            "created_at": time(event.at),
            "label": { "name": name, "color": color },
            "performed_via_github_app": self.via_app(event.actor == self.state.app.bot_login()),
        }))
    }

    /// GitHub's `reaction`.
    pub fn reaction(&self, reaction: &Reaction) -> Value {
        json!({
            "id": reaction.id,
            "node_id": node_id("REA", reaction.id),
            "user": self.user(&reaction.author),
            "content": reaction.content,
            "created_at": time(reaction.created_at),
        })
    }

    /// GitHub's `pull-request-review`.
    pub fn review(&self, repository: &Repository, issue: &Issue, review: &Review) -> Value {
        let page = format!("{}#pullrequestreview-{}", self.issue_page(repository, issue), review.id);
        let pull = format!("{}/pulls/{}", self.repository_url(repository), issue.number);
        json!({
            "id": review.id,
            "node_id": node_id("PRR", review.id),
            "user": self.user(&review.author),
            "body": review.body,
            "state": review.state,
            "html_url": page,
            "pull_request_url": pull,
            "author_association": self.state.association(repository, &review.author),
            "_links": { "html": { "href": page }, "pull_request": { "href": pull } },
            "submitted_at": time(review.submitted_at),
            "commit_id": review.commit,
        })
    }
}

fn reaction_rollup(url: &str, reactions: &[Reaction]) -> Value {
    let mut value = json!({ "url": format!("{url}/reactions"), "total_count": reactions.len() });
    for content in REACTIONS {
        let count = reactions.iter().filter(|reaction| reaction.content == content).count();
        extend(&mut value, json!({ content: count }));
    }
    value
}
