//! Pull requests: reading, opening, changing, merging. Whether a merge may happen is for `acts`.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Call, Failure};
use crate::playground::github::acts::{MergeRequest, NewPull};
use crate::playground::github::model::State;

/// The most commits that a pull request's list shows.
const COMMITS_CAP: usize = 250;

fn describe(state: &mut State, full_name: &str, number: u64) -> Result<Value, Failure> {
    state.pull(full_name, number)?;
    let merging = state.mergeability(full_name, number)?;
    let repository = state.repo(full_name)?;
    let (issue, pull) = state.pull(full_name, number)?;
    Ok(state.view().pull(repository, issue, pull, merging)?)
}

/// `GET /repos/{owner}/{repo}/pulls`.
pub fn list(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let wanted = call.query("state").unwrap_or("open");
    if !["open", "closed", "all"].contains(&wanted) {
        return Err(Failure::invalid("Invalid request.\n\nstate must be one of: open, closed, all."));
    }
    let mut found: Vec<_> = repository
        .issues
        .values()
        .filter_map(|issue| Some((issue, issue.pull.as_ref()?)))
        .filter(|(issue, _)| wanted == "all" || issue.open == (wanted == "open"))
        .filter(|(_, pull)| call.query("base").is_none_or(|base| base == pull.base_ref))
        .filter(|(_, pull)| {
            let owner = pull.head_repository.split('/').next().unwrap_or_default();
            let label = format!("{owner}:{}", pull.head_ref);
            // Without an owner GitHub ignores the filter.
            call.query("head").filter(|head| head.contains(':')).is_none_or(|head| head == label)
        })
        .collect();
    if call.query("sort") == Some("updated") {
        found.sort_by_key(|(issue, _)| issue.updated_at);
    }
    let ascending = if call.query("sort").unwrap_or("created") == "created" { Some("asc") } else { None };
    if call.query("direction").or(ascending.filter(|_| call.query("sort").is_some())) != Some("asc") {
        found.reverse();
    }
    Ok(call.paged(&found, |(issue, pull)| state.view().pull_simple(repository, issue, pull)))
}

#[derive(Deserialize)]
struct Create {
    title: Option<String>,
    head: String,
    base: String,
    body: Option<String>,
    #[serde(default)]
    draft: bool,
}

/// `POST /repos/{owner}/{repo}/pulls`.
pub fn create(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let wanted: Create = call.body()?;
    let title = wanted.title.ok_or_else(|| Failure::invalid("Invalid request.\n\n\"title\" wasn't supplied."))?;
    let new = NewPull { title, body: wanted.body, head: wanted.head, base: wanted.base, draft: wanted.draft };
    let full_name = call.full_name();
    let number = state.open_pull(&full_name, &call.actor, &new)?;
    Ok(Answer::created(describe(state, &full_name, number)?))
}

/// `GET /repos/{owner}/{repo}/pulls/{pull_number}`.
pub fn get(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    Ok(Answer::ok(describe(state, &call.full_name(), call.number("pull_number")?)?))
}

#[derive(Deserialize)]
struct Update {
    title: Option<String>,
    body: Option<String>,
    state: Option<String>,
    base: Option<String>,
}

/// `PATCH /repos/{owner}/{repo}/pulls/{pull_number}`.
pub fn update(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (full_name, number, wanted) = (call.full_name(), call.number("pull_number")?, call.body::<Update>()?);
    state.pull(&full_name, number)?;
    let (title, body, base) = (wanted.title.as_deref(), wanted.body.as_deref(), wanted.base.as_deref());
    state.edit_pull(&full_name, number, &call.actor, title, body, base)?;
    match wanted.state.as_deref() {
        None => {}
        Some("open") => state.set_open(&full_name, number, &call.actor, true)?,
        Some("closed") => state.set_open(&full_name, number, &call.actor, false)?,
        Some(_) => return Err(Failure::invalid("Invalid request.\n\nstate must be one of: open, closed.")),
    }
    Ok(Answer::ok(describe(state, &full_name, number)?))
}

/// `GET /repos/{owner}/{repo}/pulls/{pull_number}/files`: cut off at the cap, without saying so, as GitHub does.
pub fn files(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let (_, pull) = state.pull(&call.full_name(), call.number("pull_number")?)?;
    let comparison = repository.git.compare(&pull.base_sha, &pull.head_sha)?;
    let capped = &comparison.files[..comparison.files.len().min(state.files_cap)];
    let (shown, link) = call.page(capped);
    Ok(Answer::ok(state.view().files(repository, &pull.head_sha, shown)).with_link(link))
}

/// `GET /repos/{owner}/{repo}/pulls/{pull_number}/commits`.
pub fn commits(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let (_, pull) = state.pull(&call.full_name(), call.number("pull_number")?)?;
    let comparison = repository.git.compare(&pull.base_sha, &pull.head_sha)?;
    let all = repository.git.commits(&comparison.ahead[..comparison.ahead.len().min(COMMITS_CAP)])?;
    Ok(call.paged(&all, |commit| state.view().commit(repository, commit)))
}

/// `GET /repos/{owner}/{repo}/pulls/{pull_number}/reviews`.
pub fn reviews(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let (issue, pull) = state.pull(&call.full_name(), call.number("pull_number")?)?;
    Ok(call.paged(&pull.reviews, |review| state.view().review(repository, issue, review)))
}

/// `GET /repos/{owner}/{repo}/pulls/{pull_number}/merge`: 204 when merged, else 404.
pub fn is_merged(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (_, pull) = state.pull(&call.full_name(), call.number("pull_number")?)?;
    if pull.merged.is_some() { Ok(Answer::nothing()) } else { Err(Failure::not_found()) }
}

#[derive(Deserialize)]
struct Merge {
    commit_title: Option<String>,
    commit_message: Option<String>,
    sha: Option<String>,
    merge_method: Option<String>,
}

/// `PUT /repos/{owner}/{repo}/pulls/{pull_number}/merge`.
pub fn merge(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let wanted: Merge = call.body()?;
    let method = wanted.merge_method.unwrap_or_else(|| "merge".into());
    if !["merge", "squash", "rebase"].contains(&method.as_str()) {
        return Err(Failure::invalid("Invalid request.\n\nmerge_method must be one of: merge, squash, rebase."));
    }
    let request =
        MergeRequest { method, expected_head: wanted.sha, title: wanted.commit_title, message: wanted.commit_message };
    let sha = state.merge_pull(&call.full_name(), call.number("pull_number")?, &call.actor, &request)?;
    Ok(Answer::ok(json!({ "sha": sha, "merged": true, "message": "Pull Request successfully merged" })))
}

#[derive(Deserialize)]
struct UpdateBranch {
    expected_head_sha: Option<String>,
}

/// `PUT /repos/{owner}/{repo}/pulls/{pull_number}/update-branch`.
pub fn update_branch(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (full_name, number, wanted) = (call.full_name(), call.number("pull_number")?, call.body::<UpdateBranch>()?);
    state.update_branch(&full_name, number, &call.actor, wanted.expected_head_sha.as_deref())?;
    let url = format!("{}/pulls/{number}", state.view().repository_url(state.repo(&full_name)?));
    let body = json!({ "message": "Updating pull request branch.", "url": url });
    Ok(Answer::status(StatusCode::ACCEPTED, body))
}
