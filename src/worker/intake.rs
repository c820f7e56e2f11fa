//! A trigger becomes a decision: find out what was asked, read the facts, decide, commit. It has no effect outside; the
//! 👀 that tells the person that the command arrived is the report's, so that no decision waits for it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::press::{self, Press, Pressed};
use super::{Done, JobError, Services, facts, look};
use crate::clock;
use crate::domain::binding::Given;
use crate::domain::command::{Command, CommandName, Parsed, parse};
use crate::domain::gates::GateResult;
use crate::domain::ids::{InstallationId, PrNumber, ProjectName, RunId};
use crate::domain::plan::{Answer, Control, Decision, Plan, Refusal, Waiting, decide};
use crate::domain::reason::Reason;
use crate::domain::report::answer;
use crate::domain::run::RunKind;
use crate::domain::snapshot::{Person, PolicyFact, Snapshot};
use crate::github::webhook::{RepoFact, Trigger};
use crate::github::{GitHubError, RepoRef};
use crate::store::changes::{Change, NewHead};
use crate::store::commands::{NewCommand, RefusedRun, StateChange};
use crate::store::jobs::Job;
use crate::store::tenants::Repository;
use crate::store::{Lease, StoreError};

/// The label that means `/titan propose` and marks a change as Titan's.
pub const LABEL: &str = "titan-ops";

/// Of so many repositories that one event names is noted at once that the App is in them; of others when something happens.
const REACHED_AT_ONCE: usize = 50;

/// What an intake job carries.
#[derive(Debug, Serialize, Deserialize)]
pub struct IntakePayload {
    /// The delivery it came with.
    pub delivery: String,
    /// What it asks for or tells.
    pub trigger: Trigger,
}

/// A command with where and how it was given.
struct Asked {
    repo: RepoFact,
    number: PrNumber,
    actor: String,
    actor_id: i64,
    source: &'static str,
    key: String,
    comment_id: Option<i64>,
    given: Given,
    what: What,
}

enum What {
    Command(Command),
    Misunderstood(crate::domain::command::Hint, String),
    /// A button that is not good any more: why, and the command to give instead.
    Spent(String, Command),
}

/// Acts on one stored trigger.
///
/// # Errors
/// [`JobError`]; the trigger stays queued unless it can never be read.
pub async fn take_in(services: &Services, job: &Job) -> Result<Done, JobError> {
    let payload: IntakePayload =
        serde_json::from_str(&job.payload).map_err(|e| JobError::Never(format!("the trigger cannot be read: {e}")))?;
    tracing::Span::current().record("delivery", payload.delivery.as_str());
    match payload.trigger {
        Trigger::Installation { id, account, action, repositories } => {
            // The events may come late and in any order, so what GitHub shows now decides.
            let status = match services.github.is_suspended(id).await {
                Ok(true) => "suspended",
                Ok(false) => "active",
                Err(GitHubError::NotFound(_)) => match action.as_str() {
                    "deleted" => "deleted",
                    "suspend" => "suspended",
                    _ => "active",
                },
                Err(error) => return Err(error.into()),
            };
            services.store.put_installation(id, &account, status).await?;
            if status == "active" {
                reach(services, id, &repositories, job.created_at).await?;
                services.store.report_overdue(Some(id), Duration::ZERO, 1).await?;
            }
        }
        Trigger::Repositories { id, account, added, removed } => {
            services.store.ensure_installation(id, &account).await?;
            reach(services, id, &added, job.created_at).await?;
            for repo in removed {
                // The event may have come late, after somebody added it again.
                match services.github.installation_of(&repo.name).await {
                    Ok(_) => tracing::info!(repo = %repo.name, "was added again before this was heard"),
                    Err(GitHubError::NotFound(_)) => services.store.remove_repository(&repo.name).await?,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Trigger::Head { repo, number, head, before, action, at, by, .. } => {
            if let Some((repository, change)) = place(services, &repo, number, at).await? {
                let by = by.map(|by| Person { login: by.login, id: Some(by.id) });
                let (before, opened) = (before.as_ref(), action == "opened");
                let new = NewHead { head: &head, before, opened, delivery_id: &payload.delivery, at, by: by.as_ref() };
                let certain = services.store.record_head(change.id, &new).await?;
                // Somebody may have chosen another base branch, and the event may come late.
                if !certain || action == "edited" {
                    look_at(services, &repository, repo.id, &change).await?;
                }
                leave_line(services, change.repository_id, number).await?;
            }
        }
        Trigger::Closed { repo, number, merged, .. } => {
            if let Some((repository, change)) = place(services, &repo, number, job.created_at).await?
                && let Some(merged) = closed(services, &repository, &change, merged).await?
            {
                services.store.close_change(job.lease, change.id, merged).await?;
                return Ok(Done::Ended);
            }
        }
        Trigger::Ignored { .. } => {}
        trigger @ (Trigger::Comment { .. } | Trigger::Labeled { .. } | Trigger::CheckAction { .. }) => {
            if let Some(asked) = understand(services, &payload.delivery, job.created_at, trigger).await? {
                return carry_out(services, job, asked).await;
            }
        }
    }
    services.store.finish_job(job.lease).await?;
    Ok(Done::Ended)
}

/// Notes repositories that the App is in from now on, so that what is said there is found although nothing is told.
async fn reach(
    services: &Services,
    installation: InstallationId,
    repositories: &[RepoFact],
    at: DateTime<Utc>,
) -> Result<(), JobError> {
    let store = &services.store;
    for repo in repositories.iter().take(REACHED_AT_ONCE) {
        // The event may have come late: it may be another installation's by now, or nobody's.
        match services.github.installation_of(&repo.name).await {
            Ok(now) if now == installation => {
                let repository = store.ensure_repository(installation, &repo.name).await?;
                store.put_github_id(repository.id, repo.id).await?;
                store.note_reach(repository.id, at).await?;
            }
            Ok(_) | Err(GitHubError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What GitHub shows now counts, whatever was told.
async fn look_at(services: &Services, repository: &Repository, repo_id: i64, change: &Change) -> Result<(), JobError> {
    let asked = clock::now();
    match facts::client(services, repository).get_pull_request(change.number).await {
        Ok(pull) => look::saw(services, repository, Some(repo_id), change, &pull, asked).await,
        Err(GitHubError::NotFound(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Takes the commands of a change out of the line that were meant for another head than the newest: nobody looked at this
/// one when they were given. They are offered again for it.
pub(super) async fn leave_line(services: &Services, repository_id: i64, number: PrNumber) -> Result<(), JobError> {
    let store = &services.store;
    let change = store.ensure_change(repository_id, number).await?;
    let Some(head) = change.head else { return Ok(()) };
    let waiting = store.list_waiting_of(change.id).await?;
    let Some(stale) = waiting.iter().find(|w| w.head != head && w.kind != RunKind::Rollback) else { return Ok(()) };
    let text = answer::head_moved_in_line(stale, &head);
    let why = format!("it was for `{}`, the head is `{}` now", stale.head.short(), head.short());
    if store.drop_older_heads(change.id, &head, &why, &text).await? {
        tracing::info!(number = number.0, "left the line, because the head moved");
    }
    Ok(())
}

/// What a trigger asks for; `None`: nothing, and nobody gets an answer.
async fn understand(
    services: &Services,
    delivery: &str,
    reached_at: DateTime<Utc>,
    trigger: Trigger,
) -> Result<Option<Asked>, JobError> {
    let Some(key) = command_key(delivery, &trigger) else { return Ok(None) };
    match trigger {
        Trigger::Comment { repo, number, comment_id, author, marked, via_app, body, created_at } => {
            let what = match parse(&body) {
                Parsed::Ignored => return Ok(None),
                Parsed::Command(command) => What::Command(command),
                Parsed::Misunderstood(hint) => What::Misunderstood(hint, first_line(&body)),
            };
            // Titan's own comments carry no command, but a comment that says so would be a loop: never from bots.
            if author.bot || (via_app.is_some() && via_app == own_app(services).await?) {
                return Ok(None);
            }
            if !marked && !is_pull_request(services, &repo, number).await? {
                return Ok(None);
            }
            let given = Given { at: created_at, reached_at, head: None };
            let comment_id = Some(comment_id);
            let (actor, actor_id) = (author.login, author.id);
            Ok(Some(Asked { repo, number, actor, actor_id, source: "comment", key, comment_id, given, what }))
        }
        Trigger::Labeled { repo, number, label, actor, head, at } => {
            if actor.bot || !label.eq_ignore_ascii_case(LABEL) {
                return Ok(None);
            }
            if was_found(services, &repo, number, actor.id, at.timestamp()).await? {
                return Ok(None);
            }
            let given = Given { at, reached_at, head: Some(head) };
            let what = What::Command(Command::bare(CommandName::Propose));
            let (actor, actor_id) = (actor.login, actor.id);
            Ok(Some(Asked { repo, number, actor, actor_id, source: "label", key, comment_id: None, given, what }))
        }
        Trigger::CheckAction { repo, external_id, head, identifier, actor, app_id, .. } => {
            if actor.bot || (app_id.is_some() && app_id != own_app(services).await?) {
                return Ok(None);
            }
            let (login, head) = (actor.login.as_str(), &head);
            let pressed = Pressed {
                repo: &repo,
                external_id: &external_id,
                head,
                identifier: &identifier,
                login,
                delivery,
                reached_at,
            };
            let Some(Press { number, given, command, spent }) = press::read(services, &pressed).await? else {
                return Ok(None);
            };
            let what = match spent {
                Some(why) => What::Spent(why, command),
                None => What::Command(command),
            };
            let (actor, actor_id) = (actor.login, actor.id);
            Ok(Some(Asked { repo, number, actor, actor_id, source: "button", key, comment_id: None, given, what }))
        }
        _ => Ok(None),
    }
}

/// Under which key a trigger's command is known; `None` for a trigger that can hold none.
fn command_key(delivery: &str, trigger: &Trigger) -> Option<String> {
    match trigger {
        Trigger::Comment { repo, comment_id, .. } => Some(comment_key(repo, *comment_id)),
        // GitHub may tell of one label in two deliveries.
        Trigger::Labeled { repo, number, actor, at, .. } => Some(label_key(repo, *number, actor.id, at.timestamp())),
        Trigger::CheckAction { .. } => Some(format!("button:{delivery}")),
        _ => None,
    }
}

/// Answers a command that could not be decided about, after all tries, so that nobody waits for nothing. Gives whether
/// there was one to be answered; then the job has ended.
///
/// # Errors
/// [`JobError`] when not even that can be committed.
pub async fn abandon(services: &Services, job: &Job, why: &str) -> Result<bool, JobError> {
    let Ok(payload) = serde_json::from_str::<IntakePayload>(&job.payload) else { return Ok(false) };
    let Some(key) = command_key(&payload.delivery, &payload.trigger) else { return Ok(false) };
    let Some((change_id, command)) = services.store.find_open_command(&key).await? else { return Ok(false) };
    let text = answer::gave_up(&command.actor, &command.text, why);
    let none = StateChange::None;
    services.store.conclude_command(job.lease, change_id, command.id, "refused", &text, &none).await?;
    Ok(true)
}

/// Whether a job carries what GitHub told and nobody waits for an answer to: it must be acted on in the end, whenever that is,
/// because GitHub is asked how things stand then.
pub fn tells(job: &Job) -> bool {
    serde_json::from_str::<IntakePayload>(&job.payload).is_ok_and(|payload| {
        matches!(
            payload.trigger,
            Trigger::Head { .. } | Trigger::Closed { .. } | Trigger::Installation { .. } | Trigger::Repositories { .. }
        )
    })
}

/// The key of a comment's command, however Titan learned of the comment.
pub fn comment_key(repo: &RepoFact, comment_id: i64) -> String {
    format!("comment:{}:{comment_id}", repo.id)
}

/// The key of a label's command, however Titan learned of it: who put it on, and in which second.
pub fn label_key(repo: &RepoFact, number: PrNumber, actor: i64, second: i64) -> String {
    format!("label:{}:{}:{actor}:{second}", repo.id, number.0)
}

/// Whether a label that somebody put on at about this time was found by looking: an event is dated when the pull request was
/// last changed, which can be a moment later.
async fn was_found(
    services: &Services,
    repo: &RepoFact,
    number: PrNumber,
    actor: i64,
    at: i64,
) -> Result<bool, JobError> {
    let near = (at - 2..=at + 2).filter(|second| *second != at);
    let near: Vec<String> = near.map(|second| label_key(repo, number, actor, second)).collect();
    Ok(services.store.was_found(&near).await?)
}

/// Asks GitHub, for an event that does not say it.
async fn is_pull_request(services: &Services, repo: &RepoFact, number: PrNumber) -> Result<bool, JobError> {
    let Some(installation) = installation(services, repo).await? else { return Ok(false) };
    let client = services.github.repo(&RepoRef { installation, name: repo.name.clone() });
    match client.get_pull_request(number).await {
        Ok(_) => Ok(true),
        Err(GitHubError::NotFound(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn own_app(services: &Services) -> Result<Option<i64>, JobError> {
    Ok(Some(services.github.app().await?.id))
}

fn first_line(body: &str) -> String {
    body.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().chars().take(80).collect()
}

/// Whether a pull request is closed now, and then whether by merging: the event may have come late, after somebody opened it
/// again or merged it. `told` is the event's word, for a pull request that is gone.
async fn closed(
    services: &Services,
    repository: &Repository,
    change: &Change,
    told: bool,
) -> Result<Option<bool>, JobError> {
    match facts::client(services, repository).get_pull_request(change.number).await {
        Ok(pull) if pull.open => {
            tracing::info!(number = change.number.0, "was opened again before this was heard");
            services.store.put_change_state(change.id, &pull.head, &pull.base_ref, true).await?;
            Ok(None)
        }
        Ok(pull) => Ok(Some(pull.merged)),
        Err(GitHubError::NotFound(_)) => Ok(Some(told)),
        Err(error) => Err(error.into()),
    }
}

/// Through which installation a repository is reached; `None` when the App is not installed there.
async fn installation(services: &Services, repo: &RepoFact) -> Result<Option<InstallationId>, JobError> {
    if let Some(id) = repo.installation {
        return Ok(Some(id));
    }
    match services.github.installation_of(&repo.name).await {
        Ok(id) => Ok(Some(id)),
        Err(GitHubError::NotFound(why)) => {
            tracing::info!(%why, repo = %repo.name, "the App is not installed there");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The repository and change that an event of this time is about; `None` when the App is not installed there.
async fn place(
    services: &Services,
    repo: &RepoFact,
    number: PrNumber,
    at: DateTime<Utc>,
) -> Result<Option<(Repository, Change)>, JobError> {
    let Some(installation) = installation(services, repo).await? else { return Ok(None) };
    services.store.follow_repository(repo.id, &repo.name).await?;
    let repository = services.store.ensure_repository(installation, &repo.name).await?;
    services.store.put_github_id(repository.id, repo.id).await?;
    services.store.note_reach(repository.id, at).await?;
    let change = services.store.ensure_change(repository.id, number).await?;
    Ok(Some((repository, change)))
}

async fn carry_out(services: &Services, job: &Job, asked: Asked) -> Result<Done, JobError> {
    let lease = job.lease;
    let Some((repository, change)) = place(services, &asked.repo, asked.number, asked.given.at).await? else {
        services.store.finish_job(lease).await?;
        return Ok(Done::Ended);
    };
    let text = match &asked.what {
        What::Command(command) => command.to_string(),
        What::Misunderstood(_, line) => line.clone(),
        What::Spent(_, command) => command.to_string(),
    };
    let new = NewCommand {
        key: &asked.key,
        source: asked.source,
        actor: &asked.actor,
        actor_id: Some(asked.actor_id),
        text: &text,
        comment_id: asked.comment_id,
    };
    let (command_id, concluded) = services.store.receive_command(change.id, &new).await?;
    if concluded {
        services.store.finish_job(lease).await?;
        return Ok(Done::Ended);
    }
    tracing::Span::current().record("repo", tracing::field::display(&repository.name));
    tracing::info!(number = asked.number.0, actor = %asked.actor, command = %text, "command");
    match &asked.what {
        What::Misunderstood(hint, _) => {
            let text = answer::hint(&asked.actor, hint);
            services
                .store
                .conclude_command(lease, change.id, command_id, "misunderstood", &text, &StateChange::None)
                .await?;
        }
        What::Spent(why, command) => {
            let text = answer::spent_button(&asked.actor, why, command);
            services
                .store
                .conclude_command(lease, change.id, command_id, "answered", &text, &StateChange::None)
                .await?;
        }
        What::Command(command) => {
            decide_and_commit(services, job, &repository, &change, command_id, command, &asked).await?;
        }
    }
    Ok(Done::Ended)
}

async fn decide_and_commit(
    services: &Services,
    job: &Job,
    repository: &Repository,
    change: &Change,
    command_id: i64,
    command: &Command,
    asked: &Asked,
) -> Result<(), JobError> {
    // Between the facts and the commit somebody else may have been first; then the facts are read anew, and the gate
    // that is closed now says so.
    for _ in 0..3 {
        let question = facts::Question {
            repository,
            repo_id: Some(asked.repo.id),
            change,
            asker: facts::Asker { login: &asked.actor, id: Some(asked.actor_id) },
            command,
            given: &asked.given,
            decides: true,
            patient: job.attempts < facts::Question::PATIENCE,
        };
        let facts = Box::pin(facts::read(services, &question)).await?;
        let snapshot = &facts.snapshot;
        let commit = Commit { services, lease: job.lease, repository, change, command_id, snapshot };
        keep_facts(services, repository.id, command_id, command, &facts).await?;
        let result = match decide(command, snapshot) {
            Decision::Start(plan) => commit.start(&plan).await,
            Decision::Refuse(refusal) => commit.refuse(&refusal, &asked.actor).await,
            Decision::Wait(waiting) => commit.wait(&waiting, &asked.actor).await,
            Decision::Control(control) => commit.control(&control, &asked.actor).await,
            Decision::Answer(wanted) => commit.answer(&wanted, &asked.actor).await,
        };
        match result {
            Err(StoreError::Conflict { constraint }) => {
                tracing::info!(constraint, "somebody else was first; decides again");
            }
            other => return Ok(other?),
        }
    }
    Err(JobError::Later { at: None, why: "others keep being first".to_owned() })
}

/// Keeps what a run command is decided from, so that it can be decided again under another policy.
pub(super) async fn keep_facts(
    services: &Services,
    repository_id: i64,
    command_id: i64,
    command: &Command,
    facts: &facts::Facts,
) -> Result<(), JobError> {
    let text = facts.policy_text.as_deref();
    let (Some(policy), Some(text)) = (facts.snapshot.policy.policy(), text) else { return Ok(()) };
    let store = &services.store;
    store.put_policy(&policy.hash, text).await?;
    if RunKind::of(command.name).is_some() {
        let facts = serde_json::to_string(&facts.snapshot).expect("invariant: facts are plain data with text keys");
        store.put_decision(repository_id, command_id, &policy.hash, &facts).await?;
    }
    Ok(())
}

/// From its first run on a service is this repository's.
pub(super) async fn bind_targets(
    services: &Services,
    repository_id: i64,
    snapshot: &Snapshot,
    plan: &Plan,
) -> Result<(), StoreError> {
    let by_order = services.grants.is_some();
    for target in snapshot.targets.iter().filter(|t| t.is_changed_by(plan.kind(), plan.project())) {
        services.store.bind_target(repository_id, &target.names, by_order).await?;
    }
    Ok(())
}

/// One decision about to be committed.
struct Commit<'a> {
    services: &'a Services,
    lease: Lease,
    repository: &'a Repository,
    change: &'a Change,
    command_id: i64,
    snapshot: &'a Snapshot,
}

impl Commit<'_> {
    async fn start(&self, plan: &Plan) -> Result<(), StoreError> {
        let store = &self.services.store;
        let project_id = self.project_id(plan.project()).await?;
        bind_targets(self.services, self.repository.id, self.snapshot, plan).await?;
        if let Some(project) = plan.project() {
            tracing::Span::current().record("project", project.as_str());
        }
        let id = RunId(uuid::Uuid::now_v7());
        tracing::Span::current().record("run", tracing::field::display(id));
        tracing::info!(kind = %plan.kind(), head = %plan.head(), "starts a run");
        store.start_run(self.lease, self.change.id, self.command_id, project_id, id, plan).await
    }

    async fn refuse(&self, refusal: &Refusal, actor: &str) -> Result<(), StoreError> {
        let project_id = self.project_id(refusal.project.as_ref()).await?;
        let policy = match &self.snapshot.policy {
            PolicyFact::Valid { policy, commit } => Some((policy.hash.as_str(), commit)),
            PolicyFact::Missing | PolicyFact::Invalid(_) => None,
        };
        let id = RunId(uuid::Uuid::now_v7());
        let run = RunKind::of(refusal.command).map(|_| RefusedRun {
            id,
            head: &self.snapshot.change.head,
            project_id,
            policy,
        });
        let reason = first_reason(&refusal.gates);
        let text = answer::refusal(actor, refusal, &self.snapshot.change.head);
        tracing::info!(command = %refusal.command, ?reason, "refuses");
        self.services
            .store
            .refuse_command(self.lease, self.change.id, self.command_id, run, refusal, reason, &text)
            .await
    }

    async fn wait(&self, waiting: &Waiting, actor: &str) -> Result<(), StoreError> {
        let Some(project_id) = self.project_id(Some(&waiting.project)).await? else { return Ok(()) };
        let id = RunId(uuid::Uuid::now_v7());
        let text = answer::waiting(actor, waiting, self.snapshot);
        let (store, change) = (&self.services.store, self.change.id);
        let joined = store.join_line(self.lease, change, self.command_id, project_id, id, waiting, &text).await?;
        tracing::info!(kind = %waiting.kind, ?joined, "waits in line");
        Ok(())
    }

    async fn control(&self, control: &Control, actor: &str) -> Result<(), StoreError> {
        let change = match control {
            Control::Arm => StateChange::Arm { repository_id: self.repository.id, on: true },
            Control::Disarm => StateChange::Arm { repository_id: self.repository.id, on: false },
            Control::Halt { reason } => {
                StateChange::Halt { repository_id: self.repository.id, reason: Some(reason.clone()) }
            }
            Control::Resume => StateChange::Halt { repository_id: self.repository.id, reason: None },
            Control::Lock { project, hold } => match self.project_id(Some(project)).await? {
                Some(project_id) => StateChange::Lock { project_id, hold: hold.clone() },
                None => StateChange::None,
            },
            Control::Unlock { project, force, .. } => match self.project_id(Some(project)).await? {
                Some(project_id) => StateChange::Unlock { project_id, force: *force },
                None => StateChange::None,
            },
            Control::Cancel => StateChange::Cancel,
            Control::Trust { head } => StateChange::Trust { head: head.clone() },
        };
        let text = answer::control(actor, control, self.snapshot);
        let store = &self.services.store;
        store.conclude_command(self.lease, self.change.id, self.command_id, "done", &text, &change).await?;
        Ok(())
    }

    async fn answer(&self, wanted: &Answer, actor: &str) -> Result<(), StoreError> {
        let text = match wanted {
            Answer::Status(tables) => answer::status(actor, tables, &self.snapshot.change.head),
            Answer::Help(lines) => answer::help(actor, lines),
        };
        let store = &self.services.store;
        let none = StateChange::None;
        store.conclude_command(self.lease, self.change.id, self.command_id, "answered", &text, &none).await?;
        Ok(())
    }

    async fn project_id(&self, name: Option<&ProjectName>) -> Result<Option<i64>, StoreError> {
        let Some(name) = name else { return Ok(None) };
        // Whoever decides from facts has noted the project down when reading them, if it is to be noted down at all.
        self.services.store.find_project_id(self.repository.id, name).await
    }
}

fn first_reason(gates: &[GateResult]) -> Option<Reason> {
    gates.iter().find_map(|gate| gate.reason)
}
