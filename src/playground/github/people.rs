//! What people do at GitHub, for tests and the playground's pages: each is one method of [`GitHub`].
//!
//! Repositories are named `owner/name`. Calls block for some milliseconds when git has to work. They check what
//! GitHub checks about the thing itself, but not whether this person may.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use url::Url;

use super::acts::{MergeRequest, NewCheck, NewDeployment, NewPull, NewStatus, Result, SimError};
use super::git::{FileMode, Signature};
use super::model::{AccountKind, Label, Permissions, Protection, RateLimit, Role, State};
use super::{DeploymentAnswer, GitHub};

/// A set of changed files, to be committed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    message: String,
    files: BTreeMap<String, Option<(FileMode, Vec<u8>)>>,
}

impl Change {
    /// A change with this commit message and no files yet.
    pub fn new(message: &str) -> Self {
        Self { message: message.to_owned(), files: BTreeMap::new() }
    }

    /// With a plain file of this content.
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.mode(path, FileMode::Plain, content)
    }

    /// With a file of this mode and content; a symlink's content is its target.
    pub fn mode(mut self, path: &str, mode: FileMode, content: impl AsRef<[u8]>) -> Self {
        self.files.insert(path.to_owned(), Some((mode, content.as_ref().to_vec())));
        self
    }

    /// Without this file.
    pub fn delete(mut self, path: &str) -> Self {
        self.files.insert(path.to_owned(), None);
        self
    }
}

impl GitHub {
    /// Lets a person act, who comes into being with the first act.
    fn act<T>(&self, login: &str, act: impl FnOnce(&mut State) -> T) -> T {
        self.sim.with(|state| {
            state.add_account(login, AccountKind::User);
            act(state)
        })
    }

    /// Adds a person; one that exists stays as it is.
    pub fn create_user(&self, login: &str) {
        self.act(login, |_| ());
    }

    /// Adds another App's actor, whose login ends in `[bot]`.
    pub fn create_bot(&self, login: &str) {
        self.sim.with(|state| state.add_account(login, AccountKind::Bot));
    }

    /// Makes an empty repository; an owner that does not exist becomes an organization.
    pub fn create_repository(&self, full_name: &str, private: bool) -> Result<()> {
        self.sim.with(|state| state.create_repository(full_name, private))
    }

    /// Makes a person's own copy of a repository and returns its full name.
    pub fn fork(&self, full_name: &str, login: &str) -> Result<String> {
        self.sim.with(|state| state.fork(full_name, login))
    }

    /// Gives a person a role in a repository, adding the person when new.
    pub fn set_role(&self, full_name: &str, login: &str, role: Role) -> Result<()> {
        self.sim.with(|state| state.set_role(full_name, login, role))
    }

    /// Gives a person a custom role of that name, built on this role.
    pub fn set_custom_role(&self, full_name: &str, login: &str, name: &str, base: Role) -> Result<()> {
        self.set_role(full_name, login, base)?;
        self.sim.with(|state| {
            state.repo_mut(full_name)?.custom_roles.insert(login.to_owned(), name.to_owned());
            Ok(())
        })
    }

    /// Puts a person into a team of an organisation, or only invites them when not `active`.
    pub fn join_team(&self, org: &str, slug: &str, login: &str, active: bool) {
        self.act(login, |state| {
            let team = state.teams.entry((org.to_ascii_lowercase(), slug.to_owned())).or_default();
            team.insert(login.to_owned(), active);
        });
    }

    /// Deletes an account; somebody else registers the login at once.
    pub fn replace_user(&self, login: &str) {
        self.sim.with(|state| {
            state.accounts.retain(|known, _| !known.eq_ignore_ascii_case(login));
            state.add_account(login, AccountKind::User);
        });
    }

    /// Takes an account away: deleted or suspended, nobody is told of it any more.
    pub fn remove_user(&self, login: &str) {
        self.sim.with(|state| state.accounts.retain(|known, _| !known.eq_ignore_ascii_case(login)));
    }

    /// Gives a person another login. The number, the roles, the teams and what was said go along; the old login is free.
    pub fn rename_user(&self, login: &str, now: &str) {
        self.act(login, |state| state.rename(login, now));
    }

    /// Locks or unlocks a conversation.
    pub fn set_locked(&self, full_name: &str, number: u64, locked: bool) -> Result<()> {
        self.sim.with(|state| {
            state.issue_mut(full_name, number)?.locked = locked;
            Ok(())
        })
    }

    /// Archives a repository or brings it back.
    pub fn set_archived(&self, full_name: &str, archived: bool) -> Result<()> {
        self.sim.with(|state| {
            state.repo_mut(full_name)?.archived = archived;
            Ok(())
        })
    }

    /// Sets what a branch asks for before a merge; `None` lifts the protection.
    pub fn protect(&self, full_name: &str, branch: &str, rules: Option<Protection>) -> Result<()> {
        self.sim.with(|state| {
            let protections = &mut state.repo_mut(full_name)?.protections;
            match rules {
                Some(rules) => protections.insert(branch.to_owned(), rules),
                None => protections.remove(branch),
            };
            Ok(())
        })
    }

    /// Sets how pull requests of a repository may be merged: some of `merge`, `squash`, `rebase`.
    pub fn set_merge_methods(&self, full_name: &str, methods: &[&str]) -> Result<()> {
        self.sim.with(|state| {
            state.repo_mut(full_name)?.merge_methods = methods.iter().map(|method| (*method).to_owned()).collect();
            Ok(())
        })
    }

    /// Makes a label of the repository.
    pub fn create_label(&self, full_name: &str, name: &str, color: &str) -> Result<Label> {
        self.sim.with(|state| state.create_label(full_name, name, Some(color), None))
    }

    /// Installs the App on repositories of one owner (or adds them) and returns the installation's id.
    pub fn install(&self, full_names: &[&str]) -> Result<u64> {
        let names: Vec<String> = full_names.iter().map(|name| (*name).to_owned()).collect();
        self.sim.with(|state| state.install(&names))
    }

    /// Takes the App off; its tokens stop working.
    pub fn uninstall(&self, installation: u64) -> Result<()> {
        self.sim.with(|state| state.uninstall(installation))
    }

    /// Takes repositories out of an installation.
    pub fn remove_from_installation(&self, installation: u64, full_names: &[&str]) -> Result<()> {
        let names: Vec<String> = full_names.iter().map(|name| (*name).to_owned()).collect();
        self.sim.with(|state| state.remove_repositories(installation, &names))
    }

    /// Suspends an installation or ends that.
    pub fn suspend(&self, installation: u64, suspended: bool) -> Result<()> {
        self.sim.with(|state| state.suspend(installation, suspended))
    }

    /// Changes what the account granted to the App.
    pub fn grant(&self, installation: u64, permissions: Permissions) -> Result<()> {
        self.sim.with(|state| state.grant(installation, permissions))
    }

    /// Sends `installation.created` of every installation once more: for an App that was started after it was installed.
    pub fn announce_installations(&self) {
        self.sim.with(|state| {
            let ids: Vec<u64> = state.installations.iter().map(|installation| installation.id).collect();
            ids.into_iter().for_each(|id| state.emit_installation(id, "created"));
        });
    }

    /// Commits files to a branch and pushes that: the branch moves, pull requests from it follow, events are sent.
    /// A branch that does not exist begins at the default branch. Returns the commit.
    pub fn commit(&self, full_name: &str, branch: &str, login: &str, change: &Change) -> Result<String> {
        self.commit_at(full_name, branch, None, login, change)
    }

    /// Like [`GitHub::commit`], on top of this commit instead of the branch's tip: a force-push when the branch has
    /// other commits.
    pub fn commit_on(
        &self,
        full_name: &str,
        branch: &str,
        parent: &str,
        login: &str,
        change: &Change,
    ) -> Result<String> {
        self.commit_at(full_name, branch, Some(parent), login, change)
    }

    fn commit_at(
        &self,
        full_name: &str,
        branch: &str,
        parent: Option<&str>,
        login: &str,
        change: &Change,
    ) -> Result<String> {
        self.act(login, |state| {
            let now = crate::clock::now();
            let author = state.account(login).map_or_else(|| Signature::github(now), |account| account.signature(now));
            let repository = state.repo(full_name)?;
            let git = &repository.git;
            let tip = match parent {
                Some(parent) => Some(git.resolve(parent).ok_or_else(|| SimError::NotFound(parent.to_owned()))?),
                None => git.branch(branch).or_else(|| git.branch(&repository.default_branch)),
            };
            let sha = git.write_files(tip.as_deref(), &change.files, &author, &change.message)?;
            state.move_branch(full_name, branch, &sha, login, true)?;
            Ok(sha)
        })
    }

    /// Points a branch at a commit that is there, by force if need be.
    pub fn push(&self, full_name: &str, branch: &str, sha: &str, login: &str) -> Result<()> {
        self.act(login, |state| {
            let commit = state.repo(full_name)?.git.resolve(sha).ok_or_else(|| SimError::NotFound(sha.to_owned()))?;
            state.move_branch(full_name, branch, &commit, login, true)
        })
    }

    /// Removes a branch; open pull requests from it are closed.
    pub fn delete_branch(&self, full_name: &str, branch: &str, login: &str) -> Result<()> {
        self.act(login, |state| state.delete_branch(full_name, branch, login))
    }

    /// Opens a pull request of `head` (a branch, or `owner:branch` of a fork) into `base` and returns its number.
    pub fn open_pull(
        &self,
        full_name: &str,
        login: &str,
        title: &str,
        body: &str,
        head: &str,
        base: &str,
    ) -> Result<u64> {
        let new = NewPull {
            title: title.to_owned(),
            body: Some(body.to_owned()),
            head: head.to_owned(),
            base: base.to_owned(),
            draft: false,
        };
        self.open_pull_with(full_name, login, &new)
    }

    /// Like [`GitHub::open_pull`], with everything that can be said about it.
    pub fn open_pull_with(&self, full_name: &str, login: &str, new: &NewPull) -> Result<u64> {
        self.act(login, |state| state.open_pull(full_name, login, new))
    }

    /// Opens a plain issue and returns its number.
    pub fn open_issue(&self, full_name: &str, login: &str, title: &str, body: &str) -> Result<u64> {
        self.act(login, |state| state.open_issue(full_name, login, title, Some(body), &[]))
    }

    /// Changes a pull request's or issue's title or text.
    pub fn edit(
        &self,
        full_name: &str,
        number: u64,
        login: &str,
        title: Option<&str>,
        body: Option<&str>,
    ) -> Result<()> {
        self.act(login, |state| state.edit_issue(full_name, number, login, title, body))
    }

    /// Changes the branch that a pull request is to be merged into.
    pub fn retarget(&self, full_name: &str, number: u64, login: &str, base: &str) -> Result<()> {
        self.act(login, |state| state.edit_pull(full_name, number, login, None, None, Some(base)))
    }

    /// Writes a comment and returns its id.
    pub fn comment(&self, full_name: &str, number: u64, login: &str, body: &str) -> Result<u64> {
        self.act(login, |state| state.add_comment(full_name, number, login, body))
    }

    /// Changes a comment's text.
    pub fn edit_comment(&self, full_name: &str, id: u64, login: &str, body: &str) -> Result<()> {
        self.act(login, |state| state.edit_comment(full_name, id, login, body))
    }

    /// Makes a comment look as if it had been written then and never edited; nobody is told.
    pub fn date_comment(&self, full_name: &str, id: u64, at: DateTime<Utc>) -> Result<()> {
        self.sim.with(|state| state.date_comment(full_name, id, at))
    }

    /// Removes a comment.
    pub fn delete_comment(&self, full_name: &str, id: u64, login: &str) -> Result<()> {
        self.act(login, |state| state.delete_comment(full_name, id, login))
    }

    /// Reacts to a comment: `+1`, `-1`, `laugh`, `confused`, `heart`, `hooray`, `rocket` or `eyes`.
    pub fn react(&self, full_name: &str, comment: u64, login: &str, content: &str) -> Result<()> {
        self.act(login, |state| state.react(full_name, comment, login, content)).map(|_| ())
    }

    /// Sets a label, which is made when the repository does not have it.
    pub fn label(&self, full_name: &str, number: u64, login: &str, name: &str) -> Result<()> {
        self.act(login, |state| state.add_labels(full_name, number, login, &[name.to_owned()]))
    }

    /// Takes a label away.
    pub fn unlabel(&self, full_name: &str, number: u64, login: &str, name: &str) -> Result<()> {
        self.act(login, |state| state.remove_label(full_name, number, login, name))
    }

    /// Reviews the head as it is now: `APPROVED`, `CHANGES_REQUESTED` or `COMMENTED`. Returns the review's id.
    pub fn review(&self, full_name: &str, number: u64, login: &str, state: &str, body: &str) -> Result<u64> {
        self.act(login, |sim| sim.review(full_name, number, login, state, body))
    }

    /// Closes an issue or pull request.
    pub fn close(&self, full_name: &str, number: u64, login: &str) -> Result<()> {
        self.act(login, |state| state.set_open(full_name, number, login, false))
    }

    /// Opens it again.
    pub fn reopen(&self, full_name: &str, number: u64, login: &str) -> Result<()> {
        self.act(login, |state| state.set_open(full_name, number, login, true))
    }

    /// Makes a pull request a draft, or marks it ready for review.
    pub fn set_draft(&self, full_name: &str, number: u64, login: &str, draft: bool) -> Result<()> {
        self.act(login, |state| state.set_draft(full_name, number, login, draft))
    }

    /// Merges a pull request by a person's hand (`merge`, `squash` or `rebase`) and returns the base branch's new tip.
    pub fn merge(&self, full_name: &str, number: u64, login: &str, method: &str) -> Result<String> {
        let request = MergeRequest { method: method.to_owned(), ..MergeRequest::default() };
        self.act(login, |state| state.merge_pull(full_name, number, login, &request))
    }

    /// Merges the base branch into a pull request's head branch.
    pub fn update_branch(&self, full_name: &str, number: u64, login: &str) -> Result<()> {
        self.act(login, |state| state.update_branch(full_name, number, login, None))
    }

    /// Presses a button of a completed check run.
    pub fn press_check_button(&self, full_name: &str, check_run: u64, identifier: &str, login: &str) -> Result<()> {
        self.act(login, |state| state.press_button(full_name, check_run, identifier, login))
    }

    /// Presses a button that the check run does not show any more, on a page that was open for long.
    pub fn press_old_button(&self, full_name: &str, check_run: u64, identifier: &str, login: &str) -> Result<()> {
        self.act(login, |state| state.press_old_button(full_name, check_run, identifier, login))
    }

    /// Asks for a check run to be made again.
    pub fn rerequest_check(&self, full_name: &str, check_run: u64, login: &str) -> Result<()> {
        self.act(login, |state| state.rerequest_check(full_name, check_run, login))
    }

    /// A check run of another App, such as `github-actions`. Returns its id.
    pub fn report_check(&self, full_name: &str, app: &str, check: &NewCheck) -> Result<u64> {
        self.sim.with(|state| state.create_check(full_name, app, check))
    }

    /// A commit status of a person or service.
    pub fn report_status(&self, full_name: &str, login: &str, status: NewStatus) -> Result<()> {
        self.act(login, |state| state.set_status(full_name, login, status).map(|_| ()))
    }

    /// A deployment that somebody else makes.
    pub fn deploy(&self, full_name: &str, login: &str, deployment: NewDeployment) -> Result<DeploymentAnswer> {
        self.act(login, |state| state.create_deployment(full_name, login, deployment))
    }

    /// The next `reads` reads of a pull request answer that mergeability is still being computed (`null`).
    pub fn hide_mergeability(&self, full_name: &str, number: u64, reads: u32) {
        self.sim.with(|state| state.mergeability_unknown.insert((full_name.to_owned(), number), reads));
    }

    /// Sets how many calls an installation has left in its hour, which has just begun.
    pub fn set_calls_left(&self, installation: u64, left: u64) {
        self.set_calls_left_for(installation, left, chrono::TimeDelta::hours(1));
    }

    /// Sets how many calls an installation has left, and when its hour ends.
    pub fn set_calls_left_for(&self, installation: u64, left: u64, rest: chrono::TimeDelta) {
        self.sim.with(|state| {
            let reset_at = crate::clock::now() + rest;
            let rate = RateLimit { limit: 5000, used: 5000_u64.saturating_sub(left), reset_at };
            state.rate.insert(installation, rate);
        });
    }

    /// Ends the life of every token that was given out: calls with them are answered with 401.
    pub fn expire_tokens(&self) {
        let now = crate::clock::now();
        self.sim.with(|state| state.tokens.values_mut().for_each(|token| token.expires_at = now));
    }

    /// The most files that a pull request's list shows from now on; GitHub's own is 3000.
    pub fn set_files_cap(&self, cap: usize) {
        self.sim.with(|state| state.files_cap = cap);
    }

    /// The address from which git fetches a repository.
    pub fn clone_url(&self, full_name: &str) -> Option<Url> {
        Url::parse(&format!("{}/{full_name}.git", self.url())).ok()
    }
}
