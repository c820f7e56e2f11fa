//! What can be seen in a story: at GitHub, at Render, at the services themselves and in Titan's own API.

use serde_json::Value;
use titan::domain::ids::PrNumber;
use titan::domain::run::{RunKind, StepStatus};
use titan::playground::github::model::{CheckRun, Deployment};
use titan::store::runs::{Run, RunFilter};

use super::{REPO, World};

impl World {
    /// Titan's one comment on a pull request.
    pub fn status_comment(&self, pr: u64) -> String {
        let comments = self.github.bot_comments(REPO, pr);
        assert_eq!(comments.len(), 1, "exactly one comment by Titan: {comments:#?}");
        comments[0].body.clone()
    }

    /// Fails when Titan has written anything on a pull request.
    pub fn assert_silent(&self, pr: u64) {
        assert_eq!(self.github.bot_comments(REPO, pr), [], "Titan says nothing");
        let of_titan = |comment: &titan::playground::github::model::Comment| !self.reactions(comment.id).is_empty();
        let touched: Vec<_> = self.github.comments(REPO, pr).into_iter().filter(of_titan).collect();
        assert!(touched.is_empty(), "Titan reacts to nothing: {touched:#?}");
        assert!(self.checks(pr).is_empty(), "Titan posts no check: {:#?}", self.checks(pr));
    }

    /// Titan's reactions to a comment, in their order.
    pub fn reactions(&self, comment: u64) -> Vec<String> {
        let bot = self.github.app().bot_login();
        let comments = self.github.repository(REPO).expect("a repository").comments;
        let comment = comments.into_iter().find(|known| known.id == comment).expect("a comment");
        comment.reactions.into_iter().filter(|r| r.author == bot).map(|r| r.content).collect()
    }

    /// The head of a pull request.
    pub fn head(&self, pr: u64) -> String {
        self.github.head(REPO, pr).expect("a pull request")
    }

    /// The tip of the base branch.
    pub fn main(&self) -> String {
        self.github.branch(REPO, "main").expect("a branch")
    }

    /// Whether a pull request is merged.
    pub fn is_merged(&self, pr: u64) -> bool {
        self.github.issue(REPO, pr).and_then(|issue| issue.pull).is_some_and(|pull| pull.merged.is_some())
    }

    /// All check runs on a pull request's head, oldest first.
    pub fn checks(&self, pr: u64) -> Vec<CheckRun> {
        self.github.check_runs(REPO, &self.head(pr))
    }

    /// The newest check run of this name on a pull request's head.
    pub fn check(&self, pr: u64, name: &str) -> CheckRun {
        let checks = self.checks(pr);
        let names: Vec<&String> = checks.iter().map(|check| &check.name).collect();
        let found = checks.iter().rev().find(|check| check.name == name);
        found.unwrap_or_else(|| panic!("no check {name} among {names:?}")).clone()
    }

    /// How the newest check run of this name ended; its status while it has not.
    pub fn conclusion(&self, pr: u64, name: &str) -> String {
        let check = self.check(pr, name);
        check.conclusion.unwrap_or(check.status)
    }

    /// The runs of a pull request, oldest first, as `kind conclusion`.
    pub async fn runs(&self, pr: u64) -> Vec<String> {
        let word = |run: &Run| run.status.conclusion().map_or(run.status.as_str(), |conclusion| conclusion.as_str());
        self.all_runs(pr).await.iter().map(|run| format!("{} {}", run.kind, word(run))).collect()
    }

    /// The newest run of a kind on a pull request.
    pub async fn run(&self, pr: u64, kind: RunKind) -> Run {
        self.find_run(pr, kind).await.unwrap_or_else(|| panic!("a {kind} of #{pr}"))
    }

    /// The same, when there is one.
    pub async fn find_run(&self, pr: u64, kind: RunKind) -> Option<Run> {
        self.all_runs(pr).await.into_iter().rev().find(|run| run.kind == kind)
    }

    /// Whether a step of the newest run of a kind is being carried out.
    pub async fn step_runs(&self, pr: u64, kind: RunKind, step: &str) -> bool {
        self.step_is(pr, kind, step, |status| status == StepStatus::Running).await
    }

    /// Whether a step of the newest run of a kind is being carried out or has ended.
    pub async fn step_has_begun(&self, pr: u64, kind: RunKind, step: &str) -> bool {
        self.step_is(pr, kind, step, |status| status != StepStatus::Pending).await
    }

    async fn step_is(&self, pr: u64, kind: RunKind, step: &str, wanted: impl Fn(StepStatus) -> bool) -> bool {
        let Some(run) = self.find_run(pr, kind).await else { return false };
        let steps = self.store.list_steps(run.id).await.expect("the store answers");
        steps.iter().any(|known| known.name.as_str() == step && wanted(known.status))
    }

    async fn all_runs(&self, pr: u64) -> Vec<Run> {
        let number = PrNumber(i64::try_from(pr).expect("a small number"));
        let mut runs = self.store.list_runs(&RunFilter::default(), 100).await.expect("the store answers");
        runs.retain(|run| run.number == number);
        runs.reverse();
        runs
    }

    /// The commits that a service was asked to run in the course of the story, oldest first, whatever came of it.
    pub fn deployed(&self, service: &str) -> Vec<String> {
        let deploys = self.render.deploys(service);
        deploys.iter().rev().skip(1).map(|deploy| deploy.commit.id.clone()).collect()
    }

    /// Fails when anything was deployed anywhere.
    pub fn assert_nothing_deployed(&self) {
        for (service, _) in self.render.services() {
            assert_eq!(self.deployed(&service), Vec::<String>::new(), "nothing is deployed on {service}");
        }
    }

    /// The commit that a service itself says it runs.
    pub async fn live(&self, service: &str) -> String {
        let url = format!("{}/version", self.render.service_url(service).expect("a service"));
        let answer: Value = self.http.get(url).send().await.expect("it answers").json().await.expect("JSON");
        answer["commit"].as_str().expect("a commit").to_owned()
    }

    /// The commit that a service ran before the story.
    pub fn before(&self, service: &str) -> String {
        self.render.deploys(service).last().expect("a first deploy").commit.id.clone()
    }

    /// GitHub's deployments of an environment, oldest first.
    pub fn deployments(&self, environment: &str) -> Vec<Deployment> {
        self.github.deployments(REPO).into_iter().filter(|known| known.environment == environment).collect()
    }

    /// Who holds which environment, as `environment #number`.
    pub async fn locks(&self) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT l.environment || ' #' || c.number FROM environment_lock l JOIN change c ON c.id = l.change_id
             ORDER BY l.environment",
        )
        .fetch_all(self.store.pool())
        .await
        .expect("the store answers")
    }

    /// What Titan's API answers at a path, as text.
    pub async fn get(&self, path: &str) -> String {
        self.get_at(&format!("{}{path}", self.titan_url())).await
    }

    /// The status and the JSON that Titan's API answers at a path.
    pub async fn get_api(&self, path: &str) -> (u16, Value) {
        let answer = self.http.get(format!("{}{path}", self.titan_url())).send().await.expect("titan answers");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    /// What is answered at an address, as text.
    pub async fn get_at(&self, url: &str) -> String {
        self.http.get(url).send().await.expect("titan answers").text().await.expect("text")
    }
}
