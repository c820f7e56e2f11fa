//! Doing what a person does, and waiting until something is seen: at GitHub, at Render, on the services.

mod seen;

use std::fmt::Write as _;
use std::time::Duration;

use super::Patience;
use crate::playground::Playground;
use crate::playground::github::SimError;
use crate::playground::github::model::{CheckRun, Comment, Happening, Repository};
use crate::playground::render::model::Status;
use crate::playground::sample::REPOSITORY;

/// Takes the lines of the transcript.
pub type Tell<'a> = dyn FnMut(&str) + Send + 'a;

/// Why the story stopped.
#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    /// Something was not seen in time.
    #[error("not seen within {within:?}: {what}\n  seen instead: {instead}")]
    NotSeen {
        /// What should have been seen.
        what: String,
        /// What was there at the end.
        instead: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// Something was seen that must not be.
    #[error("must not be: {0}")]
    MustNotBe(String),
    /// The simulated GitHub refused what a person did.
    #[error("GitHub refused: {0}")]
    GitHub(#[from] SimError),
}

/// How a check run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Success,
    Failure,
}

impl Ending {
    fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

/// Where the story is played.
pub(super) struct Stage<'a> {
    playground: &'a Playground,
    patience: Patience,
    tell: &'a mut Tell<'a>,
    http: reqwest::Client,
    observations: usize,
    /// The comment that was written last, and where.
    last_comment: u64,
    last_pull: u64,
}

impl<'a> Stage<'a> {
    pub(super) fn new(playground: &'a Playground, patience: Patience, tell: &'a mut Tell<'a>) -> Self {
        Self {
            playground,
            patience,
            tell,
            http: reqwest::Client::new(),
            observations: 0,
            last_comment: 0,
            last_pull: 1,
        }
    }

    pub(super) fn observations(&self) -> usize {
        self.observations
    }

    /// Begins a new part of the transcript.
    pub(super) fn chapter(&mut self, title: &str) {
        (self.tell)("");
        (self.tell)(title);
    }

    fn saw(&mut self, what: &str) {
        self.observations += 1;
        (self.tell)(&format!("      ✓ {what}"));
    }

    fn did(&mut self, who: &str, what: &str) {
        (self.tell)(&format!("  {who} › {what}"));
    }

    fn read<T>(&self, read: impl FnOnce(&Repository) -> T) -> Result<T, StoryError> {
        self.playground.github().read(|state| Ok(read(state.repo(REPOSITORY)?)))
    }

    /// Writes a comment.
    pub(super) async fn says(&mut self, person: &str, number: u64, text: &str) -> Result<(), StoryError> {
        self.did(person, text);
        self.last_pull = number;
        self.last_comment = self.playground.github().comment(REPOSITORY, number, person, text)?;
        Ok(())
    }

    /// Presses "Update branch" when the base has moved on.
    pub(super) async fn updates_branch(&mut self, person: &str, number: u64) -> Result<(), StoryError> {
        self.did(person, "presses \"Update branch\"");
        self.playground.github().update_branch(REPOSITORY, number, person)?;
        Ok(())
    }

    /// The tip of a branch.
    pub(super) fn tip(&self, branch: &str) -> Result<String, StoryError> {
        let tip = self.read(|repository| repository.git.branch(branch))?;
        tip.ok_or_else(|| StoryError::MustNotBe(format!("a repository without the branch {branch}")))
    }

    /// The head of a pull request.
    pub(super) fn head(&self, number: u64) -> Result<String, StoryError> {
        self.playground.github().read(|state| Ok(state.pull(REPOSITORY, number)?.1.head_sha.clone()))
    }

    /// What to add to a command so that it is sure which commit is meant. Right after a push a bare command would be
    /// ambiguous, and Titan rightly asks which one; where nothing was pushed there is nothing to add.
    pub(super) fn which(&self, number: u64, head: &str) -> String {
        let pushed = self.read(|repository| {
            let events = repository.issues.get(&number).map(|issue| issue.timeline.iter());
            events.into_iter().flatten().any(|event| matches!(event.what, Happening::HeadMoved { .. }))
        });
        if pushed.unwrap_or(true) { format!(" @{}", short(head)) } else { String::new() }
    }

    /// The commit that a service runs.
    pub(super) fn live(&self, service: &str) -> Result<String, StoryError> {
        let live = self.playground.render().live_commit(service);
        live.ok_or_else(|| StoryError::MustNotBe(format!("a service {service} that runs nothing")))
    }

    async fn ask(&self, service: &str, path: &str) -> Result<(u16, String), String> {
        let url = self.playground.render().service_url(service).unwrap_or_default();
        let answer = self.http.get(format!("{url}{path}")).send().await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await.map_err(|error| error.to_string())?))
    }

    fn name_of(&self, service: &str) -> String {
        let known = self.playground.render().services().into_iter().find(|(id, _)| id == service);
        known.map_or_else(|| service.to_owned(), |(_, name)| name)
    }

    fn newest_check(&self, head: &str, name: &str) -> Option<CheckRun> {
        let newest = self.read(|repository| {
            let of_this = repository.check_runs.iter().rev().filter(|run| run.head_sha == head);
            of_this.filter(|run| run.name == name).map(CheckRun::clone).next()
        });
        newest.ok().flatten()
    }

    fn own_comments(&self, number: u64) -> Vec<Comment> {
        let own = |repository: &Repository| -> Vec<Comment> {
            repository.comments_of(number).filter(|comment| comment.via_app).cloned().collect()
        };
        self.read(own).unwrap_or_default()
    }

    /// Titan's last comment on a pull request, for the error's text.
    fn told(&self, number: u64) -> String {
        match self.own_comments(number).pop() {
            Some(comment) => format!("Titan's comment on #{number}:\n{}", comment.body),
            None => format!("no comment of Titan on #{number}"),
        }
    }

    fn deploys_of(&self, service: &str) -> String {
        let mut text = format!("deploys of {service}:");
        for deploy in self.playground.render().deploys(service).iter().take(4) {
            let (id, status, trigger) = (short(&deploy.commit.id), deploy.status.as_str(), deploy.trigger.as_str());
            // Writing to a String cannot fail.
            let _ = write!(text, " {id} {status} ({trigger})");
            if deploy.status != Status::Live && deploy.status.is_open() {
                let _ = write!(text, " {:?}", deploy.log);
            }
        }
        text
    }
}

fn line_with(text: &str, part: &str) -> Option<String> {
    text.lines().find(|line| line.contains(part)).map(|line| line.trim().to_owned())
}

fn short(sha: &str) -> &str {
    sha.get(..7).unwrap_or(sha)
}
