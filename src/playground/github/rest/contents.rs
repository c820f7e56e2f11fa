//! Files and folders of a commit. Only reads.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, Call, Failure};
use crate::playground::github::git::TreeEntry;
use crate::playground::github::model::{Repository, State};
use crate::playground::github::views::View;

/// The largest file whose content stands in the JSON, in bytes.
const INLINE_LIMIT: usize = 1 << 20;

/// `GET /repos/{owner}/{repo}/contents/{path}`.
pub fn read(state: &mut State, call: &Call) -> Result<Answer, Failure> {
    let repository = state.repo(&call.full_name())?;
    let reference = call.query("ref").unwrap_or(&repository.default_branch);
    let unknown = || Failure::new(StatusCode::NOT_FOUND, &format!("No commit found for the ref {reference}"));
    let commit = repository.git.resolve(reference).ok_or_else(unknown)?;
    let path = call.param("path").trim_matches('/');
    let listing = Listing { view: state.view(), repository, reference: reference.to_owned() };
    if path.is_empty() {
        return Ok(Answer::ok(listing.folder(&repository.git.tree(&commit, false)?, "")));
    }
    let entry = repository.git.entry(&commit, path).ok_or_else(Failure::not_found)?;
    if entry.kind == "tree" {
        return Ok(Answer::ok(listing.folder(&repository.git.tree(&entry.sha, false)?, path)));
    }
    if entry.kind != "blob" {
        return Ok(Answer::ok(listing.describe(&entry, path)));
    }
    let bytes = repository.git.blob(&entry.sha).ok_or_else(Failure::not_found)?;
    if call.accept.contains("raw") {
        return Ok(Answer::raw(bytes, "application/vnd.github.raw+json; charset=utf-8"));
    }
    Ok(Answer::ok(listing.file(&entry, path, &bytes)))
}

struct Listing<'a> {
    view: View<'a>,
    repository: &'a Repository,
    reference: String,
}

impl Listing<'_> {
    fn folder(&self, entries: &[TreeEntry], folder: &str) -> Value {
        let path = |entry: &TreeEntry| {
            if folder.is_empty() { entry.path.clone() } else { format!("{folder}/{}", entry.path) }
        };
        entries.iter().map(|entry| self.describe(entry, &path(entry))).collect::<Vec<_>>().into()
    }

    fn describe(&self, entry: &TreeEntry, path: &str) -> Value {
        let kind = match (entry.kind.as_str(), entry.mode.as_str()) {
            ("tree", _) => "dir",
            ("commit", _) => "submodule",
            (_, "120000") => "symlink",
            _ => "file",
        };
        let (api, page) = (self.view.repository_url(self.repository), self.view.repository_page(self.repository));
        let encoded: Vec<String> = path.split('/').map(crate::playground::github::views::encode).collect();
        let encoded = encoded.join("/");
        let url = format!("{api}/contents/{encoded}?ref={}", crate::playground::github::views::encode(&self.reference));
        let (git_kind, word) = if kind == "dir" { ("trees", "tree") } else { ("blobs", "blob") };
        let git_url = format!("{api}/git/{git_kind}/{}", entry.sha);
        let html_url = format!("{page}/{word}/{}/{encoded}", self.reference);
        let download = (kind == "file").then(|| format!("{page}/raw/{}/{encoded}", self.reference));
        let mut value = json!({
            "name": path.rsplit('/').next().unwrap_or(path),
            "path": path,
            "sha": entry.sha,
            "size": entry.size.unwrap_or(0),
            "url": url,
            "html_url": html_url,
            "git_url": git_url,
            "download_url": download,
            "type": kind,
            "_links": { "self": url, "git": git_url, "html": html_url },
        });
        if kind == "submodule" {
            value["submodule_git_url"] = Value::Null;
        }
        value
    }

    fn file(&self, entry: &TreeEntry, path: &str, bytes: &[u8]) -> Value {
        let mut value = self.describe(entry, path);
        if entry.mode == "120000" {
            value["target"] = String::from_utf8_lossy(bytes).into_owned().into();
            return value;
        }
        let inline = bytes.len() <= INLINE_LIMIT;
        value["encoding"] = if inline { "base64" } else { "none" }.into();
        value["content"] = if inline { base64_lines(bytes) } else { String::new() }.into();
        value
    }
}

/// Base64 in lines of 60 characters, each ended, as GitHub sends it.
pub fn base64_lines(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let mut out = String::with_capacity(text.len() + text.len() / 60 + 1);
    for line in text.as_bytes().chunks(60) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out
}
