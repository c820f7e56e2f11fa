//! Doing what a person does, and waiting until something is seen: at GitHub, at Render, on the services.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::playground::Playground;
use crate::playground::github::SimError;
use crate::playground::github::model::{CheckRun, Comment, Happening, Issue, Repository};
use crate::playground::render::model::{Status, Trigger};
use crate::playground::sample::{LABEL, REPOSITORY};

/// How often it is looked again.
const LOOK: Duration = Duration::from_millis(100);
/// A service has to answer so often in a row as expected: right after a deploy the old one may still answer as well.
const ANSWERS: usize = 4;

/// Takes the lines of the transcript.
pub type Tell = dyn FnMut(&str) + Send;

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
    tell: &'a mut Tell,
    http: reqwest::Client,
    observations: usize,
    /// The comment that was written last, and where.
    last_comment: u64,
    last_pull: u64,
}

impl<'a> Stage<'a> {
    pub(super) fn new(playground: &'a Playground, tell: &'a mut Tell) -> Self {
        Self { playground, tell, http: reqwest::Client::new(), observations: 0, last_comment: 0, last_pull: 1 }
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

    // -- what people do ---------------------------------------------------------------------------------------------

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

    // -- what is there ----------------------------------------------------------------------------------------------

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

    // -- what has to be seen ----------------------------------------------------------------------------------------

    /// Looks until it is seen (`Ok`: how it looked), or the time is over (`Err`: what was there instead).
    async fn see(
        &mut self,
        what: &str,
        within: Duration,
        mut look: impl AsyncFnMut(&Self) -> Result<String, String>,
    ) -> Result<(), StoryError> {
        let began = Instant::now();
        loop {
            match look(self).await {
                Ok(seen) => {
                    self.saw(&seen);
                    return Ok(());
                }
                Err(instead) if began.elapsed() >= within => {
                    let instead = format!("{instead}\n  {}", self.told(self.last_pull));
                    return Err(StoryError::NotSeen { what: what.to_owned(), instead, within });
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Titan's reaction to the last comment.
    pub(super) async fn reacted(&mut self, content: &str, within: Duration) -> Result<(), StoryError> {
        let id = self.last_comment;
        let what = format!("Titan's reaction {content} to the comment");
        self.see(&what, within, async |stage: &Self| {
            let comment = stage.read(|repository| repository.comments.iter().find(|one| one.id == id).cloned());
            let Ok(Some(comment)) = comment else { return Err("no such comment".to_owned()) };
            let given: Vec<&str> = comment.reactions.iter().map(|reaction| reaction.content.as_str()).collect();
            match given.contains(&content) {
                true => Ok(format!("Titan reacted: {}", given.join(", "))),
                false => Err(format!("reactions: {}", given.join(", "))),
            }
        })
        .await
    }

    /// The end of a check run on a commit.
    pub(super) async fn check(
        &mut self,
        head: &str,
        name: &str,
        ending: Ending,
        within: Duration,
    ) -> Result<(), StoryError> {
        let what = format!("check {name} of {}: {}", short(head), ending.word());
        self.see(&what, within, async |stage: &Self| match stage.newest_check(head, name) {
            None => Err("no such check".to_owned()),
            Some(run) => {
                let title = run.output.title.clone().unwrap_or_default();
                match run.conclusion.as_deref() {
                    Some(word) if word == ending.word() => Ok(format!("check {name}: {word} – {title}")),
                    word => Err(format!("{} {} – {title}", run.status, word.unwrap_or_default())),
                }
            }
        })
        .await
    }

    /// A completed check run with this in its title, however it ended.
    pub(super) async fn check_titled(
        &mut self,
        head: &str,
        name: &str,
        title: &str,
        within: Duration,
    ) -> Result<(), StoryError> {
        let what = format!("check {name} of {} saying {title}", short(head));
        self.see(&what, within, async |stage: &Self| {
            let run = stage.newest_check(head, name).ok_or("no such check")?;
            let found = run.output.title.unwrap_or_default();
            match run.conclusion {
                Some(_) if found.contains(title) => Ok(format!("check {name}: {found}")),
                _ => Err(found),
            }
        })
        .await
    }

    /// An annotation of a check run at a file.
    pub(super) async fn annotated(
        &mut self,
        head: &str,
        name: &str,
        path: &str,
        within: Duration,
    ) -> Result<(), StoryError> {
        self.see(&format!("an annotation of {name} at {path}"), within, async |stage: &Self| {
            let run = stage.newest_check(head, name).ok_or("no such check")?;
            let found = run.output.annotations.iter().find(|annotation| annotation.path == path);
            let found = found.ok_or_else(|| format!("{} annotations", run.output.annotations.len()))?;
            Ok(format!("annotation at {path}:{}: {}", found.start_line, found.message))
        })
        .await
    }

    /// A text in a check run's output.
    pub(super) async fn check_tells(
        &mut self,
        head: &str,
        name: &str,
        text: &str,
        within: Duration,
    ) -> Result<(), StoryError> {
        self.see(&format!("{text} in the output of {name}"), within, async |stage: &Self| {
            let run = stage.newest_check(head, name).ok_or("no such check")?;
            let output = format!("{}\n{}", run.output.summary.unwrap_or_default(), run.output.text.unwrap_or_default());
            line_with(&output, text).map(|line| format!("{name} says: {line}")).ok_or(output)
        })
        .await
    }

    /// A text in Titan's comment on a pull request.
    pub(super) async fn comment_tells(&mut self, number: u64, text: &str, within: Duration) -> Result<(), StoryError> {
        self.see(&format!("{text} in Titan's comment on #{number}"), within, async |stage: &Self| {
            let comments = stage.own_comments(number);
            let found = comments.iter().find_map(|comment| line_with(&comment.body, text));
            found
                .map(|line| format!("Titan's comment says: {line}"))
                .ok_or_else(|| format!("{} comments of Titan", comments.len()))
        })
        .await
    }

    /// The merge of a pull request; its commit on the base branch.
    pub(super) async fn merged(&mut self, number: u64, within: Duration) -> Result<String, StoryError> {
        let mut sha = String::new();
        self.see(&format!("the merge of #{number}"), within, async |stage: &Self| {
            let merged = stage.read(|repository| repository.pull(number).and_then(|(_, pull)| pull.merged.clone()));
            let Ok(Some(merged)) = merged else { return Err("not merged".to_owned()) };
            sha.clone_from(&merged.sha);
            Ok(format!("#{number} was merged as {} by {}", short(&merged.sha), merged.by))
        })
        .await?;
        Ok(sha)
    }

    /// A GitHub deployment of a commit in a state.
    pub(super) async fn deployment(
        &mut self,
        environment: &str,
        sha: &str,
        state: &str,
        within: Duration,
    ) -> Result<(), StoryError> {
        let what = format!("GitHub deployment of {} to {environment}: {state}", short(sha));
        self.see(&what, within, async |stage: &Self| {
            let found = stage.read(|repository| {
                let of_this = repository.deployments.iter().rev().filter(|one| one.sha == sha);
                let states = of_this.filter(|one| one.environment == environment).filter_map(|one| one.state());
                states.map(str::to_owned).next()
            });
            match found {
                Ok(Some(found)) if found == state => Ok(what.clone()),
                Ok(found) => Err(found.unwrap_or_else(|| "no such deployment".to_owned())),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    /// The service itself answering as a commit, several times in a row.
    pub(super) async fn answers_as(&mut self, service: &str, sha: &str, within: Duration) -> Result<(), StoryError> {
        let name = self.name_of(service);
        let mut in_a_row = 0;
        self.see(&format!("{name} answering as {}", short(sha)), within, async |stage: &Self| {
            let told = stage.ask(service, "/version").await?.1;
            let told: serde_json::Value = serde_json::from_str(&told).map_err(|error| error.to_string())?;
            in_a_row = if told["commit"] == sha { in_a_row + 1 } else { 0 };
            match in_a_row {
                ANSWERS.. => Ok(format!("{name} answers as {}", short(sha))),
                _ => Err(format!("{told}; {}", stage.deploys_of(service))),
            }
        })
        .await
    }

    /// The service's health turning bad.
    pub(super) async fn turns_ill(&mut self, service: &str, within: Duration) -> Result<(), StoryError> {
        let name = self.name_of(service);
        self.see(&format!("{name} turning ill"), within, async |stage: &Self| {
            let (status, body) = stage.ask(service, "/health").await?;
            if status == 200 { Err(body) } else { Ok(format!("{name} turns ill: /health answers {status}")) }
        })
        .await
    }

    /// Render's rollback of a service to a commit.
    pub(super) async fn rolled_back(&mut self, service: &str, sha: &str, within: Duration) -> Result<(), StoryError> {
        let name = self.name_of(service);
        self.see(&format!("a rollback of {name} to {}", short(sha)), within, async |stage: &Self| {
            let newest = stage.playground.render().deploys(service).into_iter().next();
            match newest {
                Some(deploy) if deploy.trigger == Trigger::Rollback && deploy.commit.id == sha => {
                    Ok(format!("Render rolls {name} back to {}", short(sha)))
                }
                _ => Err(stage.deploys_of(service)),
            }
        })
        .await
    }

    /// The pull request that reverts another one; its number.
    pub(super) async fn reverted(&mut self, number: u64, within: Duration) -> Result<u64, StoryError> {
        let mut found = 0;
        self.see(&format!("a pull request that reverts #{number}"), within, async |stage: &Self| {
            let opened = stage.read(|repository| {
                let by_titan = |issue: &&_| matches_revert(issue, number);
                repository.issues.values().rev().find(by_titan).map(|issue| (issue.number, issue.title.clone()))
            });
            let Ok(Some((revert, title))) = opened else { return Err("no such pull request".to_owned()) };
            found = revert;
            Ok(format!("Titan opened #{revert} \"{title}\" with the label {LABEL}"))
        })
        .await?;
        Ok(found)
    }

    /// That a pull request's head holds, file for file, what was there before a commit.
    pub(super) fn undoes(&mut self, number: u64, merged: &str) -> Result<(), StoryError> {
        let head = self.head(number)?;
        let same = self.read(|repository| {
            let git = &repository.git;
            let before = git.commit(merged)?.parents.first().cloned()?;
            Some(git.commit(&head)?.tree == git.commit(&before)?.tree)
        })?;
        match same {
            Some(true) => self.saw(&format!("#{number} brings back every file as it was before {}", short(merged))),
            _ => {
                return Err(StoryError::MustNotBe(format!(
                    "a revert #{number} that leaves something of {}",
                    short(merged)
                )));
            }
        }
        Ok(())
    }

    // -- what must not be -------------------------------------------------------------------------------------------

    /// That no service ever got a commit.
    pub(super) fn never_deployed(&mut self, sha: &str) -> Result<(), StoryError> {
        for (service, name) in self.playground.render().services() {
            if self.playground.render().deploys(&service).iter().any(|deploy| deploy.commit.id == sha) {
                return Err(StoryError::MustNotBe(format!("a deploy of {} on {name}", short(sha))));
            }
        }
        self.saw(&format!("{} was never deployed anywhere", short(sha)));
        Ok(())
    }

    /// Figures of the whole story, and that Titan asked for nothing that is not there.
    pub(super) fn accounts(&mut self) -> Result<(), StoryError> {
        self.chapter("What passed between them");
        let github = self.playground.github();
        let (to_github, to_render) = (github.calls().count(), self.playground.render().log().count());
        let unknown = github.unknown_requests();
        if !unknown.is_empty() {
            return Err(StoryError::MustNotBe(format!("requests that GitHub does not know: {}", unknown.join(", "))));
        }
        let deliveries = github.deliveries();
        if let Some(failed) = deliveries.iter().find(|delivery| !delivery.succeeded()) {
            let what = format!("a webhook {} that was answered with {}", failed.event, failed.status_code);
            return Err(StoryError::MustNotBe(what));
        }
        self.saw(&format!("{} webhooks, each taken by Titan", deliveries.len()));
        self.saw(&format!("{to_github} requests of Titan to GitHub, {to_render} to Render, none unknown to them"));
        Ok(())
    }

    // -- looking ----------------------------------------------------------------------------------------------------

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

fn matches_revert(issue: &Issue, number: u64) -> bool {
    issue.pull.is_some() && issue.via_app && issue.number > number && issue.labels.iter().any(|label| label == LABEL)
}

fn line_with(text: &str, part: &str) -> Option<String> {
    text.lines().find(|line| line.contains(part)).map(|line| line.trim().to_owned())
}

fn short(sha: &str) -> &str {
    sha.get(..7).unwrap_or(sha)
}
