//! Check runs, annotations and commit statuses. Reads runs and statuses; who may see them is not asked here.

use serde_json::{Value, json};

use super::{View, node_id, time, time_or_null};
use crate::playground::github::model::{Annotation, CheckRun, CommitStatus, Repository};

impl View<'_> {
    /// GitHub's `check-run`.
    pub fn check_run(&self, repository: &Repository, run: &CheckRun) -> Value {
        let url = format!("{}/check-runs/{}", self.repository_url(repository), run.id);
        let page = format!("{}/runs/{}", self.repository_page(repository), run.id);
        json!({
            "id": run.id,
            "name": run.name,
            "node_id": node_id("CR", run.id),
            "head_sha": run.head_sha,
            "external_id": run.external_id,
            "url": url,
            "html_url": page,
            "details_url": run.details_url.clone().unwrap_or(page),
            "status": run.status,
            "conclusion": run.conclusion,
            "started_at": time_or_null(run.started_at),
            "completed_at": time_or_null(run.completed_at),
            "output": {
                "title": run.output.title,
                "summary": run.output.summary,
                "text": run.output.text,
                "annotations_count": run.output.annotations.len(),
                "annotations_url": format!("{url}/annotations"),
            },
            "check_suite": { "id": run.suite },
            "app": self.app_of_slug(&run.app),
            "pull_requests": self.pulls_at(repository, &run.head_sha),
        })
    }

    /// The check suite that a run belongs to, as webhooks carry it.
    pub fn check_suite(&self, repository: &Repository, run: &CheckRun) -> Value {
        let branch = repository.git.refs("refs/heads/").ok().and_then(|refs| {
            let found = refs.into_iter().find(|found| found.sha == run.head_sha)?;
            found.name.strip_prefix("refs/heads/").map(str::to_owned)
        });
        json!({
            "id": run.suite,
            "node_id": node_id("CS", run.suite),
            "head_branch": branch,
            "head_sha": run.head_sha,
            "status": run.status,
            "conclusion": run.conclusion,
            "url": format!("{}/check-suites/{}", self.repository_url(repository), run.suite),
            "before": null,
            "after": run.head_sha,
            "pull_requests": self.pulls_at(repository, &run.head_sha),
            "app": self.app_of_slug(&run.app),
            "created_at": time(run.started_at.unwrap_or(repository.pushed_at)),
            "updated_at": time(run.completed_at.or(run.started_at).unwrap_or(repository.pushed_at)),
        })
    }

    /// GitHub's `check-annotation`.
    pub fn annotation(&self, repository: &Repository, run: &CheckRun, annotation: &Annotation) -> Value {
        let page = self.repository_page(repository);
        json!({
            "path": annotation.path,
            "blob_href": format!("{page}/blob/{}/{}", run.head_sha, super::encode(&annotation.path)),
            "start_line": annotation.start_line,
            "end_line": annotation.end_line,
            "start_column": annotation.start_column,
            "end_column": annotation.end_column,
            "annotation_level": annotation.annotation_level,
            "title": annotation.title,
            "message": annotation.message,
            "raw_details": annotation.raw_details,
        })
    }

    /// GitHub's `status`; without its creator it is a `simple-commit-status`.
    pub fn status(&self, repository: &Repository, status: &CommitStatus) -> Value {
        let creator = self.user(&status.creator);
        json!({
            "url": format!("{}/statuses/{}", self.repository_url(repository), status.sha),
            "avatar_url": creator.get("avatar_url"),
            "id": status.id,
            "node_id": node_id("SC", status.id),
            "state": status.state,
            "description": status.description,
            "target_url": status.target_url,
            "context": status.context,
            "created_at": time(status.created_at),
            "updated_at": time(status.created_at),
            "creator": creator,
        })
    }
}
