//! Comments on issues and pull requests, and reactions to them.
//! Limits and events are for `acts`; here stands who may reach which comment.

use http::StatusCode;
use serde::Deserialize;

use super::issues::check_kind;
use super::{Answer, Call, Failure};
use crate::playground::github::auth::Level;
use crate::playground::github::model::{Comment, Repository, State};

fn find<'a>(state: &'a State, call: &Call) -> Result<(&'a Repository, &'a Comment), Failure> {
    let (repository, id) = (state.repo(&call.full_name())?, call.number("comment_id")?);
    let comment = repository.comments.iter().find(|comment| comment.id == id).ok_or_else(Failure::not_found)?;
    Ok((repository, comment))
}

fn check(state: &State, call: &Call, level: Level) -> Result<u64, Failure> {
    let (_, comment) = find(state, call)?;
    check_kind(state, call, comment.issue, level)?;
    Ok(comment.id)
}

/// `GET /repos/{owner}/{repo}/issues/{issue_number}/comments`: oldest first.
pub fn list(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let number = call.number("issue_number")?;
    check_kind(state, call, number, Level::Read)?;
    let repository = state.repo(&call.full_name())?;
    let since = call.query_time("since");
    let found: Vec<&Comment> = repository
        .comments_of(number)
        .filter(|comment| since.is_none_or(|since| comment.updated_at >= since))
        .collect();
    Ok(call.paged(&found, |comment| state.view().comment(repository, comment)))
}

/// `GET /repos/{owner}/{repo}/issues/comments`: of all issues, oldest first unless asked otherwise.
pub fn list_all(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let since = call.query_time("since");
    let mut found: Vec<&Comment> =
        repository.comments.iter().filter(|comment| since.is_none_or(|since| comment.updated_at >= since)).collect();
    if call.query("sort") == Some("updated") {
        found.sort_by_key(|comment| comment.updated_at);
    }
    // GitHub heeds the direction only together with a sort.
    if call.query("sort").is_some() && call.query("direction") != Some("asc") {
        found.reverse();
    }
    Ok(call.paged(&found, |comment| state.view().comment(repository, comment)))
}

#[derive(Deserialize)]
struct Text {
    body: String,
}

/// `POST /repos/{owner}/{repo}/issues/{issue_number}/comments`.
pub fn create(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (full_name, number, wanted) = (call.full_name(), call.number("issue_number")?, call.body::<Text>()?);
    check_kind(state, call, number, Level::Write)?;
    let id = state.add_comment(&full_name, number, &call.actor, &wanted.body)?;
    let repository = state.repo(&full_name)?;
    let comment = repository.comments.iter().find(|comment| comment.id == id).ok_or_else(Failure::not_found)?;
    Ok(Answer::created(state.view().comment(repository, comment)))
}

/// `GET /repos/{owner}/{repo}/issues/comments/{comment_id}`.
pub fn get(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    check(state, call, Level::Read)?;
    let (repository, comment) = find(state, call)?;
    Ok(Answer::ok(state.view().comment(repository, comment)))
}

/// `PATCH /repos/{owner}/{repo}/issues/comments/{comment_id}`.
pub fn update(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let id = check(state, call, Level::Write)?;
    state.edit_comment(&call.full_name(), id, &call.actor, &call.body::<Text>()?.body)?;
    let (repository, comment) = find(state, call)?;
    Ok(Answer::ok(state.view().comment(repository, comment)))
}

/// `DELETE /repos/{owner}/{repo}/issues/comments/{comment_id}`.
pub fn delete(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let id = check(state, call, Level::Write)?;
    state.delete_comment(&call.full_name(), id, &call.actor)?;
    Ok(Answer::nothing())
}

/// `GET /repos/{owner}/{repo}/issues/comments/{comment_id}/reactions`.
pub fn reactions(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    check(state, call, Level::Read)?;
    let (_, comment) = find(state, call)?;
    let wanted = call.query("content");
    let found: Vec<_> = comment.reactions.iter().filter(|r| wanted.is_none_or(|wanted| r.content == wanted)).collect();
    Ok(call.paged(&found, |reaction| state.view().reaction(reaction)))
}

#[derive(Deserialize)]
struct React {
    content: String,
}

/// `POST /repos/{owner}/{repo}/issues/comments/{comment_id}/reactions`: 201 when new, 200 when there before.
pub fn react(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let id = check(state, call, Level::Write)?;
    let wanted: React = call.body()?;
    let (reaction, new) = state.react(&call.full_name(), id, &call.actor, &wanted.content)?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(Answer::status(status, state.view().reaction(&reaction)))
}

/// `DELETE /repos/{owner}/{repo}/issues/comments/{comment_id}/reactions/{reaction_id}`.
pub fn unreact(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let id = check(state, call, Level::Write)?;
    state.unreact(&call.full_name(), id, call.number("reaction_id")?)?;
    Ok(Answer::nothing())
}
