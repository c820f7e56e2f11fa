//! What has to be seen for the story to go on, and what must not be: one method each, with how it is told.

use std::time::{Duration, Instant};

use super::{Ending, Stage, StoryError, line_with, short};
use crate::playground::github::model::Issue;
use crate::playground::render::model::Trigger;
use crate::playground::sample::LABEL;

/// How often it is looked again.
const LOOK: Duration = Duration::from_millis(100);
/// A service has to answer so often in a row as expected: right after a deploy the old one may still answer as well.
const ANSWERS: usize = 4;

impl Stage<'_> {
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
    pub(in crate::playground::story) async fn reacted(&mut self, content: &str) -> Result<(), StoryError> {
        let id = self.last_comment;
        let what = format!("Titan's reaction {content} to the comment");
        self.see(&what, self.patience.soon, async |stage: &Self| {
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
    pub(in crate::playground::story) async fn check(
        &mut self,
        head: &str,
        name: &str,
        ending: Ending,
    ) -> Result<(), StoryError> {
        let what = format!("check {name} of {}: {}", short(head), ending.word());
        let within = if name == "titan/build" { self.patience.build } else { self.patience.watch };
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
    pub(in crate::playground::story) async fn check_titled(
        &mut self,
        head: &str,
        name: &str,
        title: &str,
    ) -> Result<(), StoryError> {
        let what = format!("check {name} of {} saying {title}", short(head));
        self.see(&what, self.patience.watch, async |stage: &Self| {
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
    pub(in crate::playground::story) async fn annotated(
        &mut self,
        head: &str,
        name: &str,
        path: &str,
    ) -> Result<(), StoryError> {
        self.see(&format!("an annotation of {name} at {path}"), self.patience.soon, async |stage: &Self| {
            let run = stage.newest_check(head, name).ok_or("no such check")?;
            let found = run.output.annotations.iter().find(|annotation| annotation.path == path);
            let found = found.ok_or_else(|| format!("{} annotations", run.output.annotations.len()))?;
            Ok(format!("annotation at {path}:{}: {}", found.start_line, found.message))
        })
        .await
    }

    /// A text in a check run's output.
    pub(in crate::playground::story) async fn check_tells(
        &mut self,
        head: &str,
        name: &str,
        text: &str,
    ) -> Result<(), StoryError> {
        self.see(&format!("{text} in the output of {name}"), self.patience.soon, async |stage: &Self| {
            let run = stage.newest_check(head, name).ok_or("no such check")?;
            let output = format!("{}\n{}", run.output.summary.unwrap_or_default(), run.output.text.unwrap_or_default());
            line_with(&output, text).map(|line| format!("{name} says: {line}")).ok_or(output)
        })
        .await
    }

    /// A text in Titan's comment on a pull request.
    pub(in crate::playground::story) async fn comment_tells(
        &mut self,
        number: u64,
        text: &str,
    ) -> Result<(), StoryError> {
        self.see(&format!("{text} in Titan's comment on #{number}"), self.patience.soon, async |stage: &Self| {
            let comments = stage.own_comments(number);
            let found = comments.iter().find_map(|comment| line_with(&comment.body, text));
            found
                .map(|line| format!("Titan's comment says: {line}"))
                .ok_or_else(|| format!("{} comments of Titan", comments.len()))
        })
        .await
    }

    /// The merge of a pull request; its commit on the base branch.
    pub(in crate::playground::story) async fn merged(&mut self, number: u64) -> Result<String, StoryError> {
        let mut sha = String::new();
        self.see(&format!("the merge of #{number}"), self.patience.soon, async |stage: &Self| {
            let merged = stage.read(|repository| repository.pull(number).and_then(|(_, pull)| pull.merged.clone()));
            let Ok(Some(merged)) = merged else { return Err("not merged".to_owned()) };
            sha.clone_from(&merged.sha);
            Ok(format!("#{number} was merged as {} by {}", short(&merged.sha), merged.by))
        })
        .await?;
        Ok(sha)
    }

    /// A GitHub deployment of a commit in a state.
    pub(in crate::playground::story) async fn deployment(
        &mut self,
        environment: &str,
        sha: &str,
        state: &str,
    ) -> Result<(), StoryError> {
        let what = format!("GitHub deployment of {} to {environment}: {state}", short(sha));
        self.see(&what, self.patience.soon, async |stage: &Self| {
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
    pub(in crate::playground::story) async fn answers_as(
        &mut self,
        service: &str,
        sha: &str,
    ) -> Result<(), StoryError> {
        let name = self.name_of(service);
        let mut in_a_row = 0;
        self.see(&format!("{name} answering as {}", short(sha)), self.patience.watch, async |stage: &Self| {
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
    pub(in crate::playground::story) async fn turns_ill(&mut self, service: &str) -> Result<(), StoryError> {
        let name = self.name_of(service);
        self.see(&format!("{name} turning ill"), self.patience.watch, async |stage: &Self| {
            let (status, body) = stage.ask(service, "/health").await?;
            if status == 200 { Err(body) } else { Ok(format!("{name} turns ill: /health answers {status}")) }
        })
        .await
    }

    /// Render's rollback of a service to a commit.
    pub(in crate::playground::story) async fn rolled_back(
        &mut self,
        service: &str,
        sha: &str,
    ) -> Result<(), StoryError> {
        let name = self.name_of(service);
        self.see(&format!("a rollback of {name} to {}", short(sha)), self.patience.watch, async |stage: &Self| {
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
    pub(in crate::playground::story) async fn reverted(&mut self, number: u64) -> Result<u64, StoryError> {
        let mut found = 0;
        self.see(&format!("a pull request that reverts #{number}"), self.patience.watch, async |stage: &Self| {
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
    pub(in crate::playground::story) fn undoes(&mut self, number: u64, merged: &str) -> Result<(), StoryError> {
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
    pub(in crate::playground::story) fn never_deployed(&mut self, sha: &str) -> Result<(), StoryError> {
        for (service, name) in self.playground.render().services() {
            if self.playground.render().deploys(&service).iter().any(|deploy| deploy.commit.id == sha) {
                return Err(StoryError::MustNotBe(format!("a deploy of {} on {name}", short(sha))));
            }
        }
        self.saw(&format!("{} was never deployed anywhere", short(sha)));
        Ok(())
    }

    /// Figures of the whole story, and that Titan asked for nothing that is not there.
    pub(in crate::playground::story) fn accounts(&mut self) -> Result<(), StoryError> {
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
}

fn matches_revert(issue: &Issue, number: u64) -> bool {
    issue.pull.is_some() && issue.via_app && issue.number > number && issue.labels.iter().any(|label| label == LABEL)
}
