//! Commits, changed files, comparisons, branches and git's own objects.
//! Git is not asked here: commits and files come from the caller.

use serde_json::{Value, json};

use super::{View, encode, extend, time};
use crate::playground::github::git::{ChangedFile, Commit, Ref, Signature};
use crate::playground::github::model::Repository;

impl View<'_> {
    /// The account that a commit's signature belongs to; null when nobody's.
    fn account_of(&self, who: &Signature) -> Value {
        if who.email == "noreply@github.com" {
            return self.user("web-flow");
        }
        let owner = self.state.accounts.values().find(|account| account.has_email(&who.email));
        owner.map_or(Value::Null, |account| self.account(account))
    }

    /// The login that a commit's signature belongs to.
    pub fn login_of(&self, who: &Signature) -> Option<String> {
        self.account_of(who).get("login").and_then(Value::as_str).map(str::to_owned)
    }

    /// GitHub's `commit`, without files.
    pub fn commit(&self, repository: &Repository, commit: &Commit) -> Value {
        let (url, page) = (self.repository_url(repository), self.repository_page(repository));
        let parents: Vec<Value> = commit
            .parents
            .iter()
            .map(|sha| {
                json!({
                    "sha": sha,
                    "url": format!("{url}/commits/{sha}"),
                    "html_url": format!("{page}/commit/{sha}"),
                })
            })
            .collect();
        json!({
            "sha": commit.sha,
            "node_id": format!("C_{}", commit.sha),
            "url": format!("{url}/commits/{}", commit.sha),
            "html_url": format!("{page}/commit/{}", commit.sha),
            "comments_url": format!("{url}/commits/{}/comments", commit.sha),
            "commit": {
                "url": format!("{url}/git/commits/{}", commit.sha),
                "author": signature(&commit.author),
                "committer": signature(&commit.committer),
                "message": commit.message,
                "tree": { "sha": commit.tree, "url": format!("{url}/git/trees/{}", commit.tree) },
                "comment_count": 0,
                "verification": unsigned(),
            },
            "author": self.account_of(&commit.author),
            "committer": self.account_of(&commit.committer),
            "parents": parents,
        })
    }

    /// GitHub's `commit` with its files, which may be a part of them.
    pub fn commit_with_files(
        &self,
        repository: &Repository,
        commit: &Commit,
        all: &[ChangedFile],
        shown: &[ChangedFile],
    ) -> Value {
        let mut value = self.commit(repository, commit);
        let additions: usize = all.iter().map(|file| file.additions).sum();
        let deletions: usize = all.iter().map(|file| file.deletions).sum();
        extend(
            &mut value,
            json!({
                "stats": { "total": additions + deletions, "additions": additions, "deletions": deletions },
                "files": self.files(repository, &commit.sha, shown),
            }),
        );
        value
    }

    /// GitHub's `diff-entry` for each file; addresses point to the files at `sha`.
    pub fn files(&self, repository: &Repository, sha: &str, files: &[ChangedFile]) -> Value {
        let (url, page) = (self.repository_url(repository), self.repository_page(repository));
        let entry = |file: &ChangedFile| {
            let path = encode(&file.path);
            let mut value = json!({
                "sha": file.sha,
                "filename": file.path,
                "status": file.status,
                "additions": file.additions,
                "deletions": file.deletions,
                "changes": file.additions + file.deletions,
                "blob_url": format!("{page}/blob/{sha}/{path}"),
                "raw_url": format!("{page}/raw/{sha}/{path}"),
                "contents_url": format!("{url}/contents/{path}?ref={sha}"),
            });
            if let Some(patch) = &file.patch {
                value["patch"] = patch.clone().into();
            }
            if let Some(previous) = &file.previous_path {
                value["previous_filename"] = previous.clone().into();
            }
            value
        };
        files.iter().map(entry).collect::<Vec<_>>().into()
    }

    /// GitHub's `git-commit`: the object itself.
    pub fn git_commit(&self, repository: &Repository, commit: &Commit) -> Value {
        let (url, page) = (self.repository_url(repository), self.repository_page(repository));
        let link = |sha: &str| (format!("{url}/git/commits/{sha}"), format!("{page}/commit/{sha}"));
        let parents: Vec<Value> = commit
            .parents
            .iter()
            .map(|sha| json!({ "sha": sha, "url": link(sha).0, "html_url": link(sha).1 }))
            .collect();
        json!({
            "sha": commit.sha,
            "node_id": format!("C_{}", commit.sha),
            "url": link(&commit.sha).0,
            "html_url": link(&commit.sha).1,
            "author": signature(&commit.author),
            "committer": signature(&commit.committer),
            "tree": { "sha": commit.tree, "url": format!("{url}/git/trees/{}", commit.tree) },
            "message": commit.message,
            "parents": parents,
            "verification": unsigned(),
        })
    }

    /// GitHub's `git-ref`.
    pub fn git_ref(&self, repository: &Repository, found: &Ref) -> Value {
        let url = self.repository_url(repository);
        json!({
            "ref": found.name,
            "node_id": format!("REF_{}", encode(&found.name)),
            "url": format!("{url}/git/{}", found.name),
            "object": {
                "sha": found.sha,
                "type": found.kind,
                "url": format!("{url}/git/{}s/{}", found.kind, found.sha),
            },
        })
    }

    /// GitHub's `simple-commit`, as webhooks carry it.
    pub fn simple_commit(&self, commit: &Commit) -> Value {
        let who = |who: &Signature| json!({ "name": who.name, "email": who.email });
        json!({
            "id": commit.sha,
            "tree_id": commit.tree,
            "message": commit.message,
            "timestamp": time(commit.committer.at),
            "author": who(&commit.author),
            "committer": who(&commit.committer),
        })
    }
}

fn signature(who: &Signature) -> Value {
    json!({ "name": who.name, "email": who.email, "date": time(who.at) })
}

fn unsigned() -> Value {
    json!({ "verified": false, "reason": "unsigned", "signature": null, "payload": null, "verified_at": null })
}
