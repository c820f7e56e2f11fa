//! What people do at GitHub in a story. Files are `(path, content)`; the content [`DELETED`] deletes.

use titan::playground::github::Change;

use super::{CANARY, DELETED, PRODUCTION, REPO, World};

impl World {
    /// Carol opens a pull request with these files changed. Gives its number.
    pub fn pull_request(&self, files: &[(&str, &str)]) -> u64 {
        let branch = format!("change-{}", self.github.pulls(REPO).len() + 1);
        self.github.commit(REPO, &branch, "carol", &change("Change the shop", files)).expect("a commit");
        self.github.open_pull(REPO, "carol", "Change the shop", "", &branch, "main").expect("a pull request")
    }

    /// Somebody from outside opens a pull request from a fork. Gives its number.
    pub fn pull_request_from_fork(&self, login: &str, files: &[(&str, &str)]) -> u64 {
        let fork = self.github.fork(REPO, login).expect("a fork");
        self.github.commit(&fork, "theirs", login, &change("Change the shop", files)).expect("a commit");
        let head = format!("{login}:theirs");
        self.github.open_pull(REPO, login, "Change the shop", "", &head, "main").expect("a pull request")
    }

    /// Carol pushes one more commit to a pull request. Gives the new head.
    pub fn push(&self, pr: u64, files: &[(&str, &str)]) -> String {
        let branch = self.github.issue(REPO, pr).and_then(|issue| issue.pull).expect("a pull request").head_ref;
        self.github.commit(REPO, &branch, "carol", &change("One more thing", files)).expect("a commit")
    }

    /// Somebody else pushes one more commit to a pull request. Gives the new head.
    pub fn push_as(&self, pr: u64, login: &str, files: &[(&str, &str)]) -> String {
        let branch = self.github.issue(REPO, pr).and_then(|issue| issue.pull).expect("a pull request").head_ref;
        self.github.commit(REPO, &branch, login, &change("One more thing", files)).expect("a commit")
    }

    /// The owner of a fork pushes one more commit. Gives the new head.
    pub fn push_to_fork(&self, pr: u64, login: &str, files: &[(&str, &str)]) -> String {
        let branch = self.github.issue(REPO, pr).and_then(|issue| issue.pull).expect("a pull request").head_ref;
        let fork = format!("{login}/shop");
        self.github.commit(&fork, &branch, login, &change("One more thing", files)).expect("a commit")
    }

    /// Somebody pushes the same content again, under another message.
    pub fn reword(&self, pr: u64, login: &str) -> String {
        self.push_as(pr, login, &[])
    }

    /// Alice pushes to the base branch. Gives the commit.
    pub fn push_to_main(&self, files: &[(&str, &str)]) -> String {
        self.github.commit(REPO, "main", "alice", &change("Straight to main", files)).expect("a commit")
    }

    /// Does something of which GitHub tells nobody: it creates no delivery.
    pub async fn unheard<T>(&self, happens: impl FnOnce(&Self) -> T) -> T {
        self.github.settle().await;
        let target = self.github.hooks().target();
        self.github.set_webhook_url(None);
        let result = happens(self);
        self.github.set_webhook_url(target);
        result
    }

    /// Lets Titan have been in the repository for an hour, so that older comments are looked at.
    pub async fn long_known(&self) {
        let statement = "UPDATE repository SET watched_from = now() - interval '1 hour', comments_read_at = NULL";
        sqlx::query(statement).execute(self.store.pool()).await.expect("the store answers");
    }

    /// Somebody writes a comment. Gives its id.
    pub fn comment(&self, pr: u64, login: &str, body: &str) -> u64 {
        self.github.comment(REPO, pr, login, body).expect("a comment")
    }

    /// Somebody writes a comment, and everything that follows from it happens. Gives the comment's id.
    pub async fn say(&self, pr: u64, login: &str, body: &str) -> u64 {
        let id = self.comment(pr, login, body);
        self.settle().await;
        id
    }

    /// A pull request that was proposed with success.
    pub async fn proposed(&self, files: &[(&str, &str)]) -> u64 {
        let pr = self.pull_request(files);
        self.say(pr, "carol", "/titan propose").await;
        assert_eq!(self.runs(pr).await, ["propose success"], "{}", self.status_comment(pr));
        pr
    }

    /// A pull request whose canary passed.
    pub async fn tried(&self, files: &[(&str, &str)]) -> u64 {
        let pr = self.proposed(files).await;
        self.say(pr, "carol", "/titan canary").await;
        assert_eq!(self.runs(pr).await, ["propose success", "canary success"], "{}", self.status_comment(pr));
        pr
    }

    /// A pull request that is live on production.
    pub async fn shipped(&self, files: &[(&str, &str)]) -> u64 {
        let pr = self.tried(files).await;
        self.say(pr, "bob", "/titan promote").await;
        let whole = ["propose success", "canary success", "promote success"];
        assert_eq!(self.runs(pr).await, whole, "{}", self.status_comment(pr));
        pr
    }

    /// Somebody gives a command that must be refused for this reason: 😕, the reason in the one comment, no deploy and
    /// no merge.
    pub async fn refused(&self, pr: u64, login: &str, command: &str, reason: &str) {
        let before = self.changed_so_far(pr);
        let comment = self.say(pr, login, command).await;
        let told = self.status_comment(pr);
        assert!(told.contains(&format!("`{reason}`")), "{command} by {login} must be refused with {reason}:\n{told}");
        assert_eq!(self.reactions(comment), ["eyes", "confused"], "{command} by {login}");
        assert_eq!(self.changed_so_far(pr), before, "a refusal changes nothing: {command} by {login}");
    }

    fn changed_so_far(&self, pr: u64) -> (Vec<String>, Vec<String>, bool, String) {
        (self.deployed(CANARY), self.deployed(PRODUCTION), self.is_merged(pr), self.main())
    }

    /// Somebody sets a label.
    pub fn label(&self, pr: u64, login: &str, name: &str) {
        self.github.label(REPO, pr, login, name).expect("a label");
    }

    /// Somebody presses a button of the newest check run of that name on the pull request's head.
    pub fn press(&self, pr: u64, check: &str, button: &str, login: &str) {
        let run = self.check(pr, check);
        let nonce = self.nonce(pr, check, button);
        self.github.press_check_button(REPO, run.id, &nonce, login).expect("the check shows this button");
    }

    /// What GitHub knows a check's button by. Buttons are named by their commands here.
    pub fn nonce(&self, pr: u64, check: &str, button: &str) -> String {
        let label = match button {
            "canary" => "Deploy canary",
            "promote" => "Promote",
            "rollback" => "Roll back",
            other => other,
        };
        let run = self.check(pr, check);
        let action = run.actions.iter().find(|action| action.label == label);
        action.unwrap_or_else(|| panic!("no button {label:?}: {:?}", run.actions)).identifier.clone()
    }

    /// Somebody approves.
    pub fn approve(&self, pr: u64, login: &str) {
        self.github.review(REPO, pr, login, "APPROVED", "Looks good").expect("a review");
    }
}

fn change(message: &str, files: &[(&str, &str)]) -> Change {
    files.iter().fold(Change::new(message), |change, (path, content)| match *content {
        DELETED => change.delete(path),
        content => change.file(path, content),
    })
}
