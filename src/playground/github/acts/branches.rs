//! Repositories, branches, and what follows when a branch moves.
//! Writes no commits; it moves names to commits that are there.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Result, SimError};
use crate::playground::github::git::{Git, NO_COMMIT, Signature};
use crate::playground::github::model::{AccountKind, Happening, Merged, Repository, Role, State};
use crate::playground::github::views::{extend, time};

impl State {
    /// Makes an empty repository. An owner that does not exist becomes an organization.
    pub fn create_repository(&mut self, full_name: &str, private: bool) -> Result<()> {
        let (owner, name) = split_name(full_name)?;
        if self.repository(full_name).is_some() {
            return Err(SimError::custom("Repository", "name already exists on this account"));
        }
        self.add_account(owner, AccountKind::Organization);
        let git = Git::init(&self.data.join(owner).join(format!("{name}.git")), "main")?;
        let (id, now) = (self.new_id(), crate::clock::now());
        let repository = Repository {
            id,
            owner: owner.to_owned(),
            name: name.to_owned(),
            private,
            default_branch: "main".into(),
            fork_of: None,
            description: None,
            merge_methods: ["merge", "squash", "rebase"].map(str::to_owned).into(),
            created_at: now,
            pushed_at: now,
            collaborators: BTreeMap::new(),
            custom_roles: BTreeMap::new(),
            archived: false,
            protections: BTreeMap::new(),
            labels: Vec::new(),
            issues: BTreeMap::new(),
            comments: Vec::new(),
            check_runs: Vec::new(),
            suites: BTreeMap::new(),
            statuses: Vec::new(),
            deployments: Vec::new(),
            git,
        };
        self.repositories.insert(full_name.to_owned(), repository);
        Ok(())
    }

    /// Makes a person's own copy of a repository and returns its full name.
    pub fn fork(&mut self, full_name: &str, login: &str) -> Result<String> {
        let (name, private, source) = {
            let parent = self.repo(full_name)?;
            (parent.name.clone(), parent.private, parent.git.clone())
        };
        let fork = format!("{login}/{name}");
        self.add_account(login, AccountKind::User);
        self.create_repository(&fork, private)?;
        let copy = self.repo_mut(&fork)?;
        copy.fork_of = Some(full_name.to_owned());
        for branch in source.refs("refs/heads/")? {
            copy.git.fetch(&source, &branch.sha, &branch.name)?;
        }
        Ok(fork)
    }

    /// Points a branch at a commit that is in the repository, and does everything that follows from it.
    ///
    /// # Errors
    /// 422 when it would not be a fast-forward and `force` is not set.
    pub fn move_branch(&mut self, full_name: &str, branch: &str, sha: &str, by: &str, force: bool) -> Result<()> {
        let repository = self.repo_mut(full_name)?;
        let git = repository.git.clone();
        let before = git.branch(branch);
        if before.as_deref() == Some(sha) {
            return Ok(());
        }
        let forced = before.as_ref().is_some_and(|before| !git.is_ancestor(before, sha));
        if forced && !force {
            return Err(SimError::invalid("Update is not a fast forward"));
        }
        git.set_ref(&format!("refs/heads/{branch}"), sha)?;
        repository.pushed_at = crate::clock::now();
        self.emit_push(full_name, branch, before.as_deref(), Some(sha), forced, by)?;
        self.request_checks(full_name, branch, before.as_deref(), sha, by)?;
        self.heads_follow(full_name, branch, sha, by)?;
        self.close_contained(full_name, branch, sha, by)
    }

    /// Removes a branch; open pull requests from it are closed, as GitHub does.
    pub fn delete_branch(&mut self, full_name: &str, branch: &str, by: &str) -> Result<()> {
        let repository = self.repo(full_name)?;
        if repository.default_branch == branch {
            return Err(SimError::invalid("Cannot delete the default branch"));
        }
        let before = repository.git.branch(branch).ok_or_else(|| SimError::invalid("Reference does not exist"))?;
        repository.git.delete_ref(&format!("refs/heads/{branch}"))?;
        self.emit_push(full_name, branch, Some(&before), None, false, by)?;
        for (base, number) in self.pulls_from(full_name, branch) {
            self.set_open(&base, number, by, false)?;
        }
        Ok(())
    }

    /// Open pull requests, in this repository and those it was forked from, whose head is this branch.
    pub(super) fn pulls_from(&self, full_name: &str, branch: &str) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        for (base, repository) in &self.repositories {
            for (issue, pull) in repository.open_pulls().into_iter().filter_map(|n| repository.pull(n)) {
                if pull.head_repository == full_name && pull.head_ref == branch {
                    found.push((base.clone(), issue.number));
                }
            }
        }
        found
    }

    fn heads_follow(&mut self, full_name: &str, branch: &str, sha: &str, by: &str) -> Result<()> {
        let source = self.repo(full_name)?.git.clone();
        for (base, number) in self.pulls_from(full_name, branch) {
            let repository = self.repo_mut(&base)?;
            let head_ref = format!("refs/pull/{number}/head");
            if base == full_name {
                repository.git.set_ref(&head_ref, sha)?;
            } else {
                repository.git.fetch(&source, sha, &head_ref)?;
            }
            let git = repository.git.clone();
            let pull = self.pull_mut(&base, number)?;
            let before = std::mem::replace(&mut pull.head_sha, sha.to_owned());
            if let Some(tip) = git.branch(&pull.base_ref) {
                pull.base_sha = tip;
            }
            let moved = Happening::HeadMoved { before: before.clone(), after: sha.to_owned() };
            self.note(&base, number, by, moved)?;
            self.emit_pull(&base, number, "synchronize", by, json!({ "before": before, "after": sha }))?;
        }
        Ok(())
    }

    /// A pull request whose head has come into its base by another way counts as merged.
    fn close_contained(&mut self, full_name: &str, branch: &str, sha: &str, by: &str) -> Result<()> {
        let repository = self.repo(full_name)?;
        let contained: Vec<u64> = repository
            .open_pulls()
            .into_iter()
            .filter_map(|number| repository.pull(number))
            .filter(|(_, pull)| pull.base_ref == branch && repository.git.is_ancestor(&pull.head_sha, sha))
            .map(|(issue, _)| issue.number)
            .collect();
        for number in contained {
            let merged = Merged { sha: sha.to_owned(), by: by.to_owned(), at: crate::clock::now() };
            self.mark_merged(full_name, number, merged)?;
        }
        Ok(())
    }

    fn emit_push(
        &mut self,
        full_name: &str,
        branch: &str,
        before: Option<&str>,
        after: Option<&str>,
        forced: bool,
        by: &str,
    ) -> Result<()> {
        if !self.listens(full_name, "push") {
            return Ok(());
        }
        let repository = self.repo(full_name)?;
        let view = self.view();
        let mut commits = Vec::new();
        if let Some(after) = after {
            let since = before.map(str::to_owned).or_else(|| repository.git.branch(&repository.default_branch));
            let ids = repository.git.commits_since(since.as_deref().filter(|since| *since != after), after)?;
            for commit in repository.git.commits(&ids)?.iter().rev().take(20).rev() {
                commits.push(self.push_commit(repository, commit)?);
            }
        }
        let head = match after.and_then(|after| repository.git.commit(after)) {
            Some(commit) => self.push_commit(repository, &commit)?,
            None => Value::Null,
        };
        let (from, to) = (before.unwrap_or(NO_COMMIT), after.unwrap_or(NO_COMMIT));
        let mut owner = view.user(&repository.owner);
        extend(&mut owner, json!({ "name": repository.owner, "email": null }));
        let mut described = view.repository(repository);
        extend(
            &mut described,
            json!({
                "owner": owner,
                "created_at": repository.created_at.timestamp(),
                "pushed_at": repository.pushed_at.timestamp(),
                "stargazers": 0,
                "master_branch": repository.default_branch,
            }),
        );
        let email = self.account(by).map(|account| account.signature(account.created_at).email);
        let body = json!({
            "ref": format!("refs/heads/{branch}"),
            "before": from,
            "after": to,
            "created": before.is_none(),
            "deleted": after.is_none(),
            "forced": forced,
            "base_ref": null,
            "compare": format!("{}/compare/{from}...{to}", view.repository_page(repository)),
            "commits": commits,
            "head_commit": head,
            "pusher": { "name": by, "email": email },
            "repository": described,
        });
        self.emit(full_name, "push", None, by, body);
        Ok(())
    }

    fn push_commit(&self, repository: &Repository, commit: &crate::playground::github::git::Commit) -> Result<Value> {
        let files = repository.git.changed_files(commit.parents.first().map(String::as_str), &commit.sha)?;
        let of = |wanted: &[&str]| -> Vec<String> {
            files.iter().filter(|file| wanted.contains(&file.status)).map(|file| file.path.clone()).collect()
        };
        let mut removed = of(&["removed"]);
        removed.extend(files.iter().filter(|file| file.status == "renamed").filter_map(|f| f.previous_path.clone()));
        let view = self.view();
        let who = |who: &Signature| {
            let mut person = json!({ "name": who.name, "email": who.email, "date": time(who.at) });
            if let Some(login) = view.login_of(who) {
                person["username"] = login.into();
            }
            person
        };
        Ok(json!({
            "id": commit.sha,
            "tree_id": commit.tree,
            "distinct": true,
            "message": commit.message,
            "timestamp": time(commit.committer.at),
            "url": format!("{}/commit/{}", view.repository_page(repository), commit.sha),
            "author": who(&commit.author),
            "committer": who(&commit.committer),
            "added": of(&["added", "renamed", "copied"]),
            "removed": removed,
            "modified": of(&["modified", "changed"]),
        }))
    }

    /// Gives a person a role in a repository; [`Role::None`] takes it away.
    pub fn set_role(&mut self, full_name: &str, login: &str, role: Role) -> Result<()> {
        self.add_account(login, AccountKind::User);
        let collaborators = &mut self.repo_mut(full_name)?.collaborators;
        collaborators.insert(login.to_owned(), role);
        Ok(())
    }
}

fn split_name(full_name: &str) -> Result<(&str, &str)> {
    let sound = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && !part.starts_with('.') && part.chars().all(plain)
    };
    match full_name.split_once('/') {
        Some((owner, name)) if sound(owner) && sound(name) => Ok((owner, name)),
        _ => Err(SimError::field("Repository", "name", "invalid")),
    }
}
