//! Issues, comments, reactions and labels. Keeps GitHub's limits on texts; a pull request's own part is in `pulls`.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{Result, SimError};
use crate::playground::github::model::{Comment, Happening, Issue, Label, Reaction, State};
use crate::playground::github::views::issue::REACTIONS;
use crate::playground::github::views::without_client_id;

/// The longest comment in characters; beyond it GitHub answers 422.
pub const COMMENT_LIMIT: usize = 65_536;

impl State {
    /// The next number of an issue or pull request.
    pub(super) fn next_number(&self, full_name: &str) -> Result<u64> {
        Ok(self.repo(full_name)?.issues.keys().max().map_or(1, |last| last + 1))
    }

    /// Opens a plain issue and returns its number.
    pub fn open_issue(
        &mut self,
        full_name: &str,
        author: &str,
        title: &str,
        body: Option<&str>,
        labels: &[String],
    ) -> Result<u64> {
        if title.trim().is_empty() {
            return Err(SimError::field("Issue", "title", "missing_field"));
        }
        let (number, id, now) = (self.next_number(full_name)?, self.new_id(), crate::clock::now());
        let issue = Issue {
            id,
            number,
            title: title.to_owned(),
            body: body.map(str::to_owned),
            author: author.to_owned(),
            via_app: author == self.app.bot_login(),
            open: true,
            locked: false,
            labels: Vec::new(),
            created_at: now,
            updated_at: now,
            closed_at: None,
            pull: None,
            timeline: Vec::new(),
        };
        self.repo_mut(full_name)?.issues.insert(number, issue);
        self.note(full_name, number, author, Happening::Opened(String::new()))?;
        self.emit_issue(full_name, number, "opened", author)?;
        if !labels.is_empty() {
            self.add_labels(full_name, number, author, labels)?;
        }
        Ok(number)
    }

    /// Changes title or text of an issue or pull request.
    pub fn edit_issue(
        &mut self,
        full_name: &str,
        number: u64,
        by: &str,
        title: Option<&str>,
        body: Option<&str>,
    ) -> Result<()> {
        if self.issue(full_name, number)?.1.pull.is_some() {
            return self.edit_pull(full_name, number, by, title, body, None);
        }
        let issue = self.issue_mut(full_name, number)?;
        let mut changes = json!({});
        if let Some(title) = title.filter(|title| *title != issue.title) {
            changes["title"] = json!({ "from": std::mem::replace(&mut issue.title, title.to_owned()) });
        }
        if let Some(body) = body.filter(|body| Some(*body) != issue.body.as_deref()) {
            changes["body"] = json!({ "from": issue.body.replace(body.to_owned()).unwrap_or_default() });
        }
        if changes.as_object().is_some_and(|changes| !changes.is_empty()) {
            self.note(full_name, number, by, Happening::Edited)?;
            let (repository, issue) = self.issue(full_name, number)?;
            let body = json!({ "issue": without_client_id(self.view().issue(repository, issue)), "changes": changes });
            self.emit(full_name, "issues", Some("edited"), by, body);
        }
        Ok(())
    }

    pub(super) fn emit_issue(&mut self, full_name: &str, number: u64, action: &str, sender: &str) -> Result<()> {
        let (repository, issue) = self.issue(full_name, number)?;
        let body = json!({ "issue": without_client_id(self.view().issue(repository, issue)) });
        self.emit(full_name, "issues", Some(action), sender, body);
        Ok(())
    }

    /// Writes a comment and returns its id.
    pub fn add_comment(&mut self, full_name: &str, number: u64, author: &str, body: &str) -> Result<u64> {
        check_comment(body)?;
        self.issue(full_name, number)?;
        let (id, now) = (self.new_id(), crate::clock::now());
        let comment = Comment {
            id,
            issue: number,
            author: author.to_owned(),
            via_app: author == self.app.bot_login(),
            body: body.to_owned(),
            created_at: now,
            updated_at: now,
            edits: Vec::new(),
            reactions: Vec::new(),
        };
        self.repo_mut(full_name)?.comments.push(comment);
        self.note(full_name, number, author, Happening::Commented(id))?;
        self.emit_comment(full_name, id, "created", author, json!({}))?;
        Ok(id)
    }

    /// Changes a comment's text.
    pub fn edit_comment(&mut self, full_name: &str, id: u64, editor: &str, body: &str) -> Result<()> {
        check_comment(body)?;
        let comment = self.comment_mut(full_name, id)?;
        let before = std::mem::replace(&mut comment.body, body.to_owned());
        comment.edits.push(before.clone());
        comment.updated_at = crate::clock::now();
        let number = comment.issue;
        self.issue_mut(full_name, number)?;
        self.emit_comment(full_name, id, "edited", editor, json!({ "changes": { "body": { "from": before } } }))
    }

    /// Makes a comment look as if it had been written then and never edited; nobody is told.
    pub fn date_comment(&mut self, full_name: &str, id: u64, at: DateTime<Utc>) -> Result<()> {
        let comment = self.comment_mut(full_name, id)?;
        (comment.created_at, comment.updated_at) = (at, at);
        Ok(())
    }

    /// Removes a comment.
    pub fn delete_comment(&mut self, full_name: &str, id: u64, by: &str) -> Result<()> {
        let number = self.comment_mut(full_name, id)?.issue;
        self.emit_comment(full_name, id, "deleted", by, json!({}))?;
        self.repo_mut(full_name)?.comments.retain(|comment| comment.id != id);
        self.issue_mut(full_name, number)?;
        Ok(())
    }

    fn comment_mut(&mut self, full_name: &str, id: u64) -> Result<&mut Comment> {
        let found = self.repo_mut(full_name)?.comments.iter_mut().find(|comment| comment.id == id);
        found.ok_or_else(|| SimError::NotFound(format!("comment {id}")))
    }

    fn emit_comment(
        &mut self,
        full_name: &str,
        id: u64,
        action: &str,
        sender: &str,
        mut body: serde_json::Value,
    ) -> Result<()> {
        let repository = self.repo(full_name)?;
        let Some(comment) = repository.comments.iter().find(|comment| comment.id == id) else { return Ok(()) };
        if let Some(issue) = repository.issues.get(&comment.issue) {
            body["issue"] = without_client_id(self.view().issue(repository, issue));
            body["comment"] = self.view().comment(repository, comment);
            self.emit(full_name, "issue_comment", Some(action), sender, body);
        }
        Ok(())
    }

    /// Adds a reaction to a comment. False when this account had given the same one before.
    pub fn react(&mut self, full_name: &str, comment: u64, author: &str, content: &str) -> Result<(Reaction, bool)> {
        if !REACTIONS.contains(&content) {
            return Err(SimError::field("Reaction", "content", "invalid"));
        }
        let id = self.new_id();
        let comment = self.comment_mut(full_name, comment)?;
        let same = |given: &&Reaction| given.author == author && given.content == content;
        if let Some(known) = comment.reactions.iter().find(same) {
            return Ok((known.clone(), false));
        }
        let reaction =
            Reaction { id, author: author.to_owned(), content: content.to_owned(), created_at: crate::clock::now() };
        comment.reactions.push(reaction.clone());
        Ok((reaction, true))
    }

    /// Takes a reaction away.
    pub fn unreact(&mut self, full_name: &str, comment: u64, reaction: u64) -> Result<()> {
        let comment = self.comment_mut(full_name, comment)?;
        let before = comment.reactions.len();
        comment.reactions.retain(|given| given.id != reaction);
        if comment.reactions.len() == before {
            return Err(SimError::NotFound(format!("reaction {reaction}")));
        }
        Ok(())
    }

    /// Makes a label of the repository.
    pub fn create_label(
        &mut self,
        full_name: &str,
        name: &str,
        color: Option<&str>,
        description: Option<&str>,
    ) -> Result<Label> {
        let color = color.unwrap_or("ededed");
        if name.trim().is_empty() {
            return Err(SimError::field("Label", "name", "missing_field"));
        }
        if color.len() != 6 || !color.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(SimError::field("Label", "color", "invalid"));
        }
        if self.repo(full_name)?.label(name).is_some() {
            return Err(SimError::field("Label", "name", "already_exists"));
        }
        let id = self.new_id();
        let label = Label {
            id,
            name: name.to_owned(),
            color: color.to_lowercase(),
            description: description.map(str::to_owned),
        };
        self.repo_mut(full_name)?.labels.push(label.clone());
        Ok(label)
    }

    /// Sets labels on an issue or pull request; those the repository does not have are made.
    pub fn add_labels(&mut self, full_name: &str, number: u64, by: &str, names: &[String]) -> Result<()> {
        for name in names {
            let label = match self.repo(full_name)?.label(name) {
                Some(known) => known.clone(),
                None => self.create_label(full_name, name, None, None)?,
            };
            let issue = self.issue_mut(full_name, number)?;
            if issue.labels.contains(&label.name) {
                continue;
            }
            issue.labels.push(label.name.clone());
            self.note(full_name, number, by, Happening::Labeled(label.name.clone()))?;
            self.emit_labeling(full_name, number, "labeled", by, &label)?;
        }
        Ok(())
    }

    /// Takes a label away.
    pub fn remove_label(&mut self, full_name: &str, number: u64, by: &str, name: &str) -> Result<()> {
        let (repository, issue) = self.issue(full_name, number)?;
        let set = issue.labels.iter().any(|known| known.eq_ignore_ascii_case(name));
        let label = repository.label(name).filter(|_| set).cloned();
        let label = label.ok_or_else(|| SimError::NotFound("Label does not exist".into()))?;
        self.issue_mut(full_name, number)?.labels.retain(|known| *known != label.name);
        self.note(full_name, number, by, Happening::Unlabeled(label.name.clone()))?;
        self.emit_labeling(full_name, number, "unlabeled", by, &label)
    }

    fn emit_labeling(&mut self, full_name: &str, number: u64, action: &str, by: &str, label: &Label) -> Result<()> {
        let (repository, issue) = self.issue(full_name, number)?;
        let label = self.view().label(repository, label);
        if issue.pull.is_some() {
            return self.emit_pull(full_name, number, action, by, json!({ "label": label }));
        }
        let body = json!({ "issue": without_client_id(self.view().issue(repository, issue)), "label": label });
        self.emit(full_name, "issues", Some(action), by, body);
        Ok(())
    }
}

fn check_comment(body: &str) -> Result<()> {
    if body.trim().is_empty() {
        return Err(SimError::custom("IssueComment", "Body can't be blank"));
    }
    if body.chars().count() > COMMENT_LIMIT {
        let message = format!("Body is too long (maximum is {COMMENT_LIMIT} characters)");
        return Err(SimError::custom("IssueComment", message));
    }
    Ok(())
}
