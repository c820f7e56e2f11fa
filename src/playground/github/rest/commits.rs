//! Commits, comparisons and commit statuses. Reads git and keeps to GitHub's limits; moves no branch.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Call, Failure};
use crate::playground::github::acts::NewStatus;
use crate::playground::github::model::{CommitStatus, Repository, State};
use crate::playground::github::views::extend;

/// The most files of a comparison; they stand on its first page only.
const COMPARE_FILES: usize = 300;
/// The most commits of a comparison that is not paged.
const COMPARE_COMMITS: usize = 250;
/// The most files of a commit, over all pages, and of one page.
const COMMIT_FILES: (usize, usize) = (3000, 300);

fn sha_of(repository: &Repository, call: &Call) -> Result<String, Failure> {
    let wanted = call.param("ref");
    let name = wanted.strip_prefix("heads/").or_else(|| wanted.strip_prefix("tags/")).unwrap_or(wanted);
    let found = repository.git.resolve(wanted).or_else(|| repository.git.resolve(name));
    found.ok_or_else(|| Failure::invalid(format!("No commit found for SHA: {wanted}")))
}

/// `GET /repos/{owner}/{repo}/commits/{ref}`.
pub fn one(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let sha = sha_of(repository, call)?;
    if call.accept.contains("application/vnd.github.sha") || call.accept.contains(".v3.sha") {
        return Ok(Answer::raw(sha.into_bytes(), "application/vnd.github.sha; charset=utf-8"));
    }
    let commit = repository.git.commit(&sha).ok_or_else(Failure::not_found)?;
    let all = repository.git.changed_files(commit.parents.first().map(String::as_str), &sha)?;
    let capped = &all[..all.len().min(COMMIT_FILES.0)];
    let number = |name: &str| call.query(name).and_then(|text| text.parse::<usize>().ok()).filter(|n| *n > 0);
    let size = number("per_page").unwrap_or(COMMIT_FILES.1).min(COMMIT_FILES.1);
    let page = number("page").unwrap_or(1);
    let shown: Vec<_> = capped.iter().skip((page - 1).saturating_mul(size)).take(size).cloned().collect();
    let link = if capped.len() > page.saturating_mul(size) {
        call.link(&[("page", &(page + 1).to_string())], "next")
    } else {
        String::new()
    };
    Ok(Answer::ok(state.view().commit_with_files(repository, &commit, &all, &shown)).with_link(link))
}

/// `GET /repos/{owner}/{repo}/commits`: from `sha` (a commit or branch) back in time.
pub fn list(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let start = call.query("sha").unwrap_or(&repository.default_branch);
    let sha = repository.git.resolve(start).ok_or_else(Failure::not_found)?;
    let mut ids = repository.git.commits_since(None, &sha)?;
    ids.reverse();
    let (shown, link) = call.page(&ids);
    let commits = repository.git.commits(shown)?;
    let described: Vec<Value> = commits.iter().map(|commit| state.view().commit(repository, commit)).collect();
    Ok(Answer::ok(described.into()).with_link(link))
}

/// `GET /repos/{owner}/{repo}/compare/{base}...{head}`; either side may be `owner:branch`.
pub fn compare(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let (base, head) = call.param("basehead").split_once("...").ok_or_else(Failure::not_found)?;
    let resolve = |name: &str| match name.split_once(':') {
        None => repository.git.resolve(name),
        Some(_) => {
            let (full_name, branch) = state.find_head(&repository.full_name(), name).ok()?;
            let sha = state.repository(&full_name)?.git.resolve(&branch)?;
            // A fork's commit is seen here once a pull request has brought it.
            repository.git.commit(&sha).map(|commit| commit.sha)
        }
    };
    let (base, head) = resolve(base).zip(resolve(head)).ok_or_else(Failure::not_found)?;
    let comparison = repository.git.compare(&base, &head)?;
    let merge_base = comparison.merge_base.as_deref().ok_or_else(Failure::not_found)?;
    let one = |sha: &str| repository.git.commit(sha).ok_or_else(Failure::not_found);
    let (base_commit, merge_base_commit) = (one(&base)?, one(merge_base)?);
    let (ahead, behind) = (comparison.ahead.len(), comparison.behind_by);
    let status = match (ahead, behind) {
        (0, 0) => "identical",
        (_, 0) => "ahead",
        (0, _) => "behind",
        _ => "diverged",
    };
    let paged = call.query("page").is_some() || call.query("per_page").is_some();
    let (ids, link) = if paged {
        call.page(&comparison.ahead)
    } else {
        (&comparison.ahead[ahead.saturating_sub(COMPARE_COMMITS)..], String::new())
    };
    let commits = repository.git.commits(ids)?;
    let (view, url) = (state.view(), state.view().repository_url(repository));
    let page = format!("{}/compare/{base}...{head}", view.repository_page(repository));
    let mut body = json!({
        "url": format!("{url}/compare/{base}...{head}"),
        "html_url": page,
        "permalink_url": page,
        "diff_url": format!("{page}.diff"),
        "patch_url": format!("{page}.patch"),
        "base_commit": view.commit(repository, &base_commit),
        "merge_base_commit": view.commit(repository, &merge_base_commit),
        "status": status,
        "ahead_by": ahead,
        "behind_by": behind,
        "total_commits": ahead,
        "commits": commits.iter().map(|commit| view.commit(repository, commit)).collect::<Vec<_>>(),
    });
    if call.query("page").is_none_or(|page| page == "1") {
        let shown = &comparison.files[..comparison.files.len().min(COMPARE_FILES)];
        extend(&mut body, json!({ "files": view.files(repository, &head, shown) }));
    }
    Ok(Answer::ok(body).with_link(link))
}

/// `GET /repos/{owner}/{repo}/commits/{ref}/pulls`: open ones with this commit, and those merged as it.
pub fn pulls(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let sha = sha_of(repository, call)?;
    let mut found = Vec::new();
    for issue in repository.issues.values() {
        let Some(pull) = &issue.pull else { continue };
        let merged = pull.merged.as_ref().is_some_and(|merged| merged.sha == sha);
        let contains = repository.git.compare(&pull.base_sha, &pull.head_sha)?.ahead.contains(&sha);
        if merged || (contains && (issue.open || pull.merged.is_some())) {
            found.push((issue, pull));
        }
    }
    Ok(call.paged(&found, |(issue, pull)| state.view().pull_simple(repository, issue, pull)))
}

/// The newest status of each context, newest first.
fn latest<'a>(repository: &'a Repository, sha: &str) -> Vec<&'a CommitStatus> {
    let mut seen = std::collections::BTreeSet::new();
    let all = repository.statuses.iter().rev().filter(|status| status.sha == sha);
    all.filter(|status| seen.insert(status.context.clone())).collect()
}

/// `GET /repos/{owner}/{repo}/commits/{ref}/status`. Check runs do not count here.
pub fn combined_status(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let sha = sha_of(repository, call)?;
    let found = latest(repository, &sha);
    let is = |wanted: &[&str]| found.iter().any(|status| wanted.contains(&status.state.as_str()));
    let combined = if is(&["error", "failure"]) {
        "failure"
    } else if found.is_empty() || is(&["pending"]) {
        "pending"
    } else {
        "success"
    };
    let (shown, link) = call.page(&found);
    let (view, url) = (state.view(), state.view().repository_url(repository));
    let described: Vec<Value> = shown
        .iter()
        .map(|status| {
            let mut value = view.status(repository, status);
            if let Some(fields) = value.as_object_mut() {
                fields.remove("creator");
            }
            value
        })
        .collect();
    let body = json!({
        "state": combined,
        "statuses": described,
        "sha": sha,
        "total_count": found.len(),
        "repository": view.minimal_repository(repository),
        "commit_url": format!("{url}/commits/{sha}"),
        "url": format!("{url}/commits/{sha}/status"),
    });
    Ok(Answer::ok(body).with_link(link))
}

/// `GET /repos/{owner}/{repo}/commits/{ref}/statuses`: all of them, newest first.
pub fn statuses(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let sha = sha_of(repository, call)?;
    let found: Vec<_> = repository.statuses.iter().rev().filter(|status| status.sha == sha).collect();
    Ok(call.paged(&found, |status| state.view().status(repository, status)))
}

#[derive(Deserialize)]
struct Create {
    state: String,
    context: Option<String>,
    description: Option<String>,
    target_url: Option<String>,
}

/// `POST /repos/{owner}/{repo}/statuses/{sha}`.
pub fn create_status(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (full_name, wanted) = (call.full_name(), call.body::<Create>()?);
    let new = NewStatus {
        sha: call.param("sha").to_owned(),
        state: wanted.state,
        context: wanted.context.unwrap_or_else(|| "default".into()),
        description: wanted.description,
        target_url: wanted.target_url,
    };
    let status = state.set_status(&full_name, &call.actor, new)?;
    let repository = state.repo(&full_name)?;
    Ok(Answer::created(state.view().status(repository, &status)))
}
