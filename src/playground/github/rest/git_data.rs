//! Refs, commits, trees and blobs, as git has them.
//! Checks what GitHub checks before it stores an object; a moved branch's consequences are for `acts`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::contents::base64_lines;
use super::{Answer, Call, Failure};
use crate::playground::github::git::{Git, Ref, Signature, TreeChange, is_object_id};
use crate::playground::github::model::{Repository, State};

/// The most entries of a recursive tree.
const TREE_LIMIT: usize = 100_000;

fn ref_name(call: &Call) -> String {
    format!("refs/{}", call.param("ref").trim_start_matches("refs/"))
}

/// `GET /repos/{owner}/{repo}/git/ref/{ref}`.
pub fn get_ref(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let found = repository.git.find_ref(&ref_name(call)).ok_or_else(Failure::not_found)?;
    Ok(Answer::ok(state.view().git_ref(repository, &found)))
}

/// `GET /repos/{owner}/{repo}/git/matching-refs/{ref}`: may be empty.
pub fn matching_refs(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let found: Vec<Ref> = repository.git.refs(&ref_name(call))?;
    Ok(call.paged(&found, |found| state.view().git_ref(repository, found)))
}

#[derive(Deserialize)]
struct CreateRef {
    #[serde(rename = "ref")]
    name: String,
    sha: String,
}

/// `POST /repos/{owner}/{repo}/git/refs`.
pub fn create_ref(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (full_name, wanted) = (call.full_name(), call.body::<CreateRef>()?);
    let git = state.repo(&full_name)?.git.clone();
    if !git.is_ref_name(&wanted.name) || wanted.name.matches('/').count() < 2 {
        return Err(Failure::invalid(format!("{} is not a valid ref name.", wanted.name)));
    }
    if git.find_ref(&wanted.name).is_some() {
        return Err(Failure::invalid("Reference already exists"));
    }
    if git.object_kind(&wanted.sha).as_deref() != Some("commit") {
        return Err(Failure::invalid("Object does not exist"));
    }
    match wanted.name.strip_prefix("refs/heads/") {
        Some(branch) => state.move_branch(&full_name, branch, &wanted.sha, &call.actor, false)?,
        None => git.set_ref(&wanted.name, &wanted.sha)?,
    }
    let repository = state.repo(&full_name)?;
    let found = git.find_ref(&wanted.name).ok_or_else(Failure::not_found)?;
    Ok(Answer::created(state.view().git_ref(repository, &found)))
}

#[derive(Deserialize)]
struct UpdateRef {
    sha: String,
    #[serde(default)]
    force: bool,
}

/// `PATCH /repos/{owner}/{repo}/git/refs/{ref}`.
pub fn update_ref(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (full_name, name, wanted) = (call.full_name(), ref_name(call), call.body::<UpdateRef>()?);
    let git = state.repo(&full_name)?.git.clone();
    if git.find_ref(&name).is_none() {
        return Err(Failure::invalid("Reference does not exist"));
    }
    if git.object_kind(&wanted.sha).as_deref() != Some("commit") {
        return Err(Failure::invalid("Object does not exist"));
    }
    match name.strip_prefix("refs/heads/") {
        Some(branch) => state.move_branch(&full_name, branch, &wanted.sha, &call.actor, wanted.force)?,
        None => git.set_ref(&name, &wanted.sha)?,
    }
    let repository = state.repo(&full_name)?;
    let found = git.find_ref(&name).ok_or_else(Failure::not_found)?;
    Ok(Answer::ok(state.view().git_ref(repository, &found)))
}

/// `DELETE /repos/{owner}/{repo}/git/refs/{ref}`.
pub fn delete_ref(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (full_name, name) = (call.full_name(), ref_name(call));
    let git = state.repo(&full_name)?.git.clone();
    if git.find_ref(&name).is_none() {
        return Err(Failure::invalid("Reference does not exist"));
    }
    match name.strip_prefix("refs/heads/") {
        Some(branch) => state.delete_branch(&full_name, branch, &call.actor)?,
        None => git.delete_ref(&name)?,
    }
    Ok(Answer::nothing())
}

/// `GET /repos/{owner}/{repo}/git/commits/{commit_sha}`.
pub fn get_commit(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let commit = repository.git.commit(call.param("commit_sha")).ok_or_else(Failure::not_found)?;
    Ok(Answer::ok(state.view().git_commit(repository, &commit)))
}

#[derive(Deserialize)]
struct Person {
    name: Option<String>,
    email: Option<String>,
    date: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct CreateCommit {
    message: String,
    tree: String,
    #[serde(default)]
    parents: Vec<String>,
    author: Option<Person>,
    committer: Option<Person>,
}

/// `POST /repos/{owner}/{repo}/git/commits`.
pub fn create_commit(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (full_name, wanted) = (call.full_name(), call.body::<CreateCommit>()?);
    let repository = state.repo(&full_name)?;
    if repository.git.object_kind(&wanted.tree).as_deref() != Some("tree") {
        return Err(Failure::invalid("Tree SHA does not exist"));
    }
    if wanted.parents.iter().any(|parent| repository.git.commit(parent).is_none()) {
        return Err(Failure::invalid("Parent SHA does not exist or is not a commit object"));
    }
    let now = crate::clock::now();
    let bot = state.account(&call.actor).map_or_else(|| Signature::github(now), |account| account.signature(now));
    let signed = |person: Option<Person>, default: &Signature| match person {
        None => default.clone(),
        Some(person) => Signature {
            name: person.name.unwrap_or_else(|| default.name.clone()),
            email: person.email.unwrap_or_else(|| default.email.clone()),
            at: person.date.unwrap_or(now),
        },
    };
    let author = signed(wanted.author, &bot);
    let committer = signed(wanted.committer, &author);
    let parents: Vec<&str> = wanted.parents.iter().map(String::as_str).collect();
    let sha = repository.git.write_commit(&wanted.tree, &parents, &author, &committer, &wanted.message)?;
    let commit = repository.git.commit(&sha).ok_or_else(Failure::not_found)?;
    Ok(Answer::created(state.view().git_commit(repository, &commit)))
}

fn describe_tree(state: &State, repository: &Repository, sha: &str, recursive: bool) -> Result<Value, Failure> {
    let entries = repository.git.tree(sha, recursive)?;
    let url = state.view().repository_url(repository);
    let shown: Vec<Value> = entries
        .iter()
        .take(TREE_LIMIT)
        .map(|entry| {
            let mut value = json!({ "path": entry.path, "mode": entry.mode, "type": entry.kind, "sha": entry.sha });
            if let Some(size) = entry.size {
                value["size"] = size.into();
            }
            if entry.kind != "commit" {
                value["url"] = format!("{url}/git/{}s/{}", entry.kind, entry.sha).into();
            }
            value
        })
        .collect();
    Ok(json!({
        "sha": sha,
        "url": format!("{url}/git/trees/{sha}"),
        "tree": shown,
        "truncated": entries.len() > TREE_LIMIT,
    }))
}

/// `GET /repos/{owner}/{repo}/git/trees/{tree_sha}`: also of a commit or a branch; any `recursive` makes it so.
pub fn get_tree(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let wanted = call.param("tree_sha");
    let sha = match repository.git.object_kind(wanted).as_deref() {
        Some("tree") => wanted.to_owned(),
        _ => {
            let commit = repository.git.resolve(wanted).and_then(|sha| repository.git.commit(&sha));
            commit.ok_or_else(Failure::not_found)?.tree
        }
    };
    let recursive = call.query("recursive").is_some();
    Ok(Answer::ok(describe_tree(state, repository, &sha, recursive)?))
}

#[derive(Deserialize)]
struct CreateTree {
    tree: Vec<Value>,
    base_tree: Option<String>,
}

/// `POST /repos/{owner}/{repo}/git/trees`: `sha: null` removes a path, which must be there.
pub fn create_tree(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (full_name, wanted) = (call.full_name(), call.body::<CreateTree>()?);
    let repository = state.repo(&full_name)?;
    let git = &repository.git;
    let base = match &wanted.base_tree {
        None => None,
        Some(base) => match git.object_kind(base).as_deref() {
            Some("tree") => Some(base.clone()),
            Some("commit") => git.commit(base).map(|commit| commit.tree),
            _ => return Err(Failure::invalid("base_tree is not a valid tree oid")),
        },
    };
    let changes: Result<Vec<TreeChange>, Failure> =
        wanted.tree.iter().map(|entry| tree_change(git, base.as_deref(), entry)).collect();
    let changes = changes?;
    if changes.is_empty() {
        return Err(Failure::invalid("Invalid tree info"));
    }
    let sha = git.write_tree(base.as_deref(), &changes).map_err(|_| Failure::invalid("GitRPC::BadObjectState"))?;
    Ok(Answer::created(describe_tree(state, repository, &sha, false)?))
}

fn tree_change(git: &Git, base: Option<&str>, entry: &Value) -> Result<TreeChange, Failure> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let path = text("path").filter(|path| is_path(path));
    let path = path.ok_or_else(|| Failure::invalid("tree.path contains a malformed path component"))?.to_owned();
    if entry.get("sha").is_some_and(Value::is_null) {
        let there = base.is_some_and(|base| git.entry(base, &path).is_some());
        if !there {
            return Err(Failure::invalid("GitRPC::BadObjectState"));
        }
        return Ok(TreeChange { path, entry: None });
    }
    let mode = text("mode").filter(|mode| ["100644", "100755", "040000", "160000", "120000"].contains(mode));
    let mode = mode.ok_or_else(|| Failure::invalid("Must supply a valid tree.mode"))?.to_owned();
    let sha = match (text("sha"), text("content")) {
        (Some(_), Some(_)) => return Err(Failure::invalid("Must supply either tree.sha or tree.content, not both")),
        (None, Some(content)) => git.write_blob(content.as_bytes())?,
        (Some(sha), None) if mode == "160000" && is_object_id(sha) => sha.to_owned(),
        (Some(sha), None) => {
            let wanted = if mode == "040000" { "tree" } else { "blob" };
            if git.object_kind(sha).as_deref() != Some(wanted) {
                return Err(Failure::invalid(format!("tree.sha {sha} is not a valid {wanted}")));
            }
            sha.to_owned()
        }
        (None, None) => return Err(Failure::invalid("Must supply tree.sha or tree.content")),
    };
    Ok(TreeChange { path, entry: Some((mode, sha)) })
}

/// Git takes no empty parts, no `.`, `..` or `.git`, and a path from the top has no leading slash.
fn is_path(path: &str) -> bool {
    let sound = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.eq_ignore_ascii_case(".git");
    !path.contains('\0') && path.split('/').all(sound)
}

#[derive(Deserialize)]
struct CreateBlob {
    content: String,
    encoding: Option<String>,
}

/// `POST /repos/{owner}/{repo}/git/blobs`.
pub fn create_blob(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let (full_name, wanted) = (call.full_name(), call.body::<CreateBlob>()?);
    let repository = state.repo(&full_name)?;
    let bytes = match wanted.encoding.as_deref() {
        Some("base64") => {
            let packed: String = wanted.content.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            STANDARD.decode(packed).map_err(|_| Failure::invalid("content is not valid Base64"))?
        }
        _ => wanted.content.into_bytes(),
    };
    let sha = repository.git.write_blob(&bytes)?;
    let url = format!("{}/git/blobs/{sha}", state.view().repository_url(repository));
    Ok(Answer::created(json!({ "sha": sha, "url": url })))
}

/// `GET /repos/{owner}/{repo}/git/blobs/{file_sha}`.
pub fn get_blob(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let sha = call.param("file_sha");
    if !is_object_id(sha) {
        let message = "The sha parameter must be exactly 40 characters and contain only [0-9a-f].";
        return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, message));
    }
    let bytes = repository.git.blob(sha).ok_or_else(Failure::not_found)?;
    if call.accept.contains("raw") {
        return Ok(Answer::raw(bytes, "application/vnd.github.raw+json; charset=utf-8"));
    }
    Ok(Answer::ok(json!({
        "sha": sha,
        "node_id": format!("B_{sha}"),
        "size": bytes.len(),
        "url": format!("{}/git/blobs/{sha}", state.view().repository_url(repository)),
        "content": base64_lines(&bytes),
        "encoding": "base64",
    })))
}
