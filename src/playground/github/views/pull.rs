//! Pull requests as lists, single reads and check runs show them. Whether one can be merged is told from outside.

use serde_json::{Value, json};

use super::{View, extend, node_id, time, time_or_null};
use crate::playground::github::git::GitError;
use crate::playground::github::model::{Issue, Pull, Repository};

/// What GitHub says about merging a pull request at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mergeability {
    /// `None` while it is being computed, and once the pull request is closed.
    pub mergeable: Option<bool>,
    /// `clean`, `dirty`, `blocked`, `behind`, `unstable`, `draft` or `unknown`.
    pub state: &'static str,
}

impl Mergeability {
    /// Not known yet.
    pub const UNKNOWN: Self = Self { mergeable: None, state: "unknown" };
}

impl View<'_> {
    /// GitHub's `pull-request-simple`, as lists show it.
    pub fn pull_simple(&self, repository: &Repository, issue: &Issue, pull: &Pull) -> Value {
        let (url, page) = (self.repository_url(repository), self.issue_page(repository, issue));
        let (issue_url, pull_url) = (format!("{url}/issues/{}", issue.number), format!("{url}/pulls/{}", issue.number));
        let links = [
            ("commits", format!("{pull_url}/commits")),
            ("review_comments", format!("{pull_url}/comments")),
            ("review_comment", format!("{url}/pulls/comments{{/number}}")),
            ("comments", format!("{issue_url}/comments")),
            ("statuses", format!("{url}/statuses/{}", pull.head_sha)),
        ];
        let mut value = json!({
            "url": pull_url,
            "id": pull.id,
            "node_id": node_id("PR", pull.id),
            "html_url": page,
            "diff_url": format!("{page}.diff"),
            "patch_url": format!("{page}.patch"),
            "issue_url": issue_url,
            "number": issue.number,
            "state": if issue.open { "open" } else { "closed" },
            "locked": issue.locked,
            "title": issue.title,
            "user": self.user(&issue.author),
            "body": issue.body,
            "created_at": time(issue.created_at),
            "updated_at": time(issue.updated_at),
            "closed_at": time_or_null(issue.closed_at),
            "merged_at": time_or_null(pull.merged.as_ref().map(|merged| merged.at)),
            "merge_commit_sha": pull.merge_commit(),
            "assignee": null,
            "assignees": [],
            "requested_reviewers": [],
            "requested_teams": [],
            "labels": self.labels(repository, &issue.labels),
            "milestone": null,
            "draft": pull.draft,
            "head": self.side(&pull.head_repository, &pull.head_ref, &pull.head_sha),
            "base": self.side(&repository.full_name(), &pull.base_ref, &pull.base_sha),
            "author_association": self.state.association(repository, &issue.author),
            "auto_merge": null,
            "active_lock_reason": null,
            "_links": { "self": { "href": pull_url }, "html": { "href": page }, "issue": { "href": issue_url } },
        });
        for (name, href) in links {
            value["_links"][name] = json!({ "href": href });
            value[format!("{name}_url")] = href.into();
        }
        value
    }

    /// GitHub's `pull-request`, as one is read by its number.
    pub fn pull(
        &self,
        repository: &Repository,
        issue: &Issue,
        pull: &Pull,
        merging: Mergeability,
    ) -> Result<Value, GitError> {
        let comparison = repository.git.compare(&pull.base_sha, &pull.head_sha)?;
        let mut value = self.pull_simple(repository, issue, pull);
        let merged_by = pull.merged.as_ref().map(|merged| self.user(&merged.by));
        extend(
            &mut value,
            json!({
                "merged": pull.merged.is_some(),
                "mergeable": merging.mergeable,
                "rebaseable": merging.mergeable,
                "mergeable_state": merging.state,
                "merged_by": merged_by,
                "comments": repository.comments_of(issue.number).count(),
                "review_comments": 0,
                "maintainer_can_modify": false,
                "commits": comparison.ahead.len(),
                "additions": comparison.additions(),
                "deletions": comparison.deletions(),
                "changed_files": comparison.files.len(),
            }),
        );
        Ok(value)
    }

    fn side(&self, full_name: &str, branch: &str, sha: &str) -> Value {
        let owner = full_name.split('/').next().unwrap_or_default();
        json!({
            "label": format!("{owner}:{branch}"),
            "ref": branch,
            "sha": sha,
            "user": self.user(owner),
            "repo": self.state.repository(full_name).map(|repository| self.repository(repository)),
        })
    }

    /// GitHub's `pull-request-minimal`: the open pull requests of the repository itself, not of forks, at this head.
    pub fn pulls_at(&self, repository: &Repository, head_sha: &str) -> Value {
        let side = |branch: &str, sha: &str| {
            let repo = json!({
                "id": repository.id, "url": self.repository_url(repository), "name": repository.name,
            });
            json!({ "ref": branch, "sha": sha, "repo": repo })
        };
        let mut found = Vec::new();
        for (issue, pull) in repository.open_pulls().into_iter().filter_map(|number| repository.pull(number)) {
            if pull.head_sha == head_sha && pull.head_repository == repository.full_name() {
                found.push(json!({
                    "url": format!("{}/pulls/{}", self.repository_url(repository), issue.number),
                    "id": pull.id,
                    "number": issue.number,
                    "head": side(&pull.head_ref, &pull.head_sha),
                    "base": side(&pull.base_ref, &pull.base_sha),
                }));
            }
        }
        found.into()
    }
}
