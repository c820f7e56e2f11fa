//! Repositories, their branches and rules, and what people may do there. Only reads.

use serde_json::{Value, json};

use super::{Answer, Call, Failure};
use crate::playground::github::model::{Repository, State};

/// `GET /repos/{owner}/{repo}`.
pub fn repository(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    Ok(Answer::ok(state.view().full_repository(repository)))
}

/// `GET /repos/{owner}/{repo}/collaborators/{username}/permission`.
pub fn permission(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let found = state.view().collaborator_permission(repository, call.param("username"));
    Ok(Answer::ok(found.ok_or_else(Failure::not_found)?))
}

/// `GET /orgs/{org}/teams/{team_slug}/memberships/{username}`: 404 for who is neither in it nor invited.
pub fn membership(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (org, slug, login) = (call.param("org"), call.param("team_slug"), call.param("username"));
    let members = state.teams.get(&(org.to_ascii_lowercase(), slug.to_owned())).ok_or_else(Failure::not_found)?;
    let found = members.iter().find(|(known, _)| known.eq_ignore_ascii_case(login));
    let (login, active) = found.ok_or_else(Failure::not_found)?;
    Ok(Answer::ok(json!({
        "url": format!("{}/orgs/{org}/teams/{slug}/memberships/{login}", state.api),
        "role": "member",
        "state": if *active { "active" } else { "pending" },
    })))
}

/// `GET /repos/{owner}/{repo}/branches`.
pub fn branches(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let url = state.view().repository_url(repository);
    let all = repository.git.refs("refs/heads/")?;
    Ok(call.paged(&all, |found| {
        let name = found.name.trim_start_matches("refs/heads/");
        json!({
            "name": name,
            "commit": { "sha": found.sha, "url": format!("{url}/commits/{}", found.sha) },
            "protected": repository.protections.contains_key(name),
        })
    }))
}

/// `GET /repos/{owner}/{repo}/branches/{branch}`.
pub fn branch(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let name = call.param("branch");
    let missing = || Failure::new(http::StatusCode::NOT_FOUND, "Branch not found");
    let sha = repository.git.branch(name).ok_or_else(missing)?;
    let commit = repository.git.commit(&sha).ok_or_else(missing)?;
    let (view, url) = (state.view(), state.view().repository_url(repository));
    Ok(Answer::ok(json!({
        "name": name,
        "commit": view.commit(repository, &commit),
        "_links": {
            "self": format!("{url}/branches/{name}"),
            "html": format!("{}/tree/{name}", view.repository_page(repository)),
        },
        "protected": repository.protections.contains_key(name),
        "protection": protection(repository, name),
        "protection_url": format!("{url}/branches/{name}/protection"),
    })))
}

fn protection(repository: &Repository, branch: &str) -> Value {
    let rules = repository.protections.get(branch);
    let contexts = rules.map(|rules| rules.required_checks.clone()).unwrap_or_default();
    let checks: Vec<Value> = contexts.iter().map(|name| json!({ "context": name, "app_id": null })).collect();
    let enforced = if rules.is_some() { "non_admins" } else { "off" };
    json!({
        "enabled": rules.is_some(),
        "required_status_checks": { "enforcement_level": enforced, "contexts": contexts, "checks": checks },
    })
}

/// `GET /repos/{owner}/{repo}/rules/branches/{branch}`.
pub fn rules(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let mut rules = Vec::new();
    if let Some(protection) = repository.protections.get(call.param("branch")) {
        let origin = json!({
            "ruleset_source_type": "Repository",
            "ruleset_source": repository.full_name(),
            "ruleset_id": repository.id,
        });
        let mut add = |kind: &str, parameters: Value| {
            let mut rule = origin.clone();
            rule["type"] = kind.into();
            rule["parameters"] = parameters;
            rules.push(rule);
        };
        if !protection.required_checks.is_empty() {
            let checks: Vec<Value> = protection.required_checks.iter().map(|name| json!({ "context": name })).collect();
            add(
                "required_status_checks",
                json!({
                    "required_status_checks": checks,
                    "strict_required_status_checks_policy": protection.up_to_date,
                }),
            );
        }
        if protection.approvals > 0 {
            add(
                "pull_request",
                json!({
                    "required_approving_review_count": protection.approvals,
                    "dismiss_stale_reviews_on_push": false,
                    "require_code_owner_review": false,
                    "require_last_push_approval": false,
                    "required_review_thread_resolution": false,
                    "allowed_merge_methods": repository.merge_methods,
                }),
            );
        }
    }
    Ok(call.paged(&rules, Value::clone))
}
