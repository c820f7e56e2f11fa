//! Serves those who wait in line: when it is a command's turn, everything is decided again with fresh facts, and it
//! starts or is refused. Also looks after locks that are over time. Who is next is decided in `domain/lock`.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::sync::watch;

use super::{Done, JobError, Services, facts, intake};
use crate::clock;
use crate::domain::binding::Given;
use crate::domain::command::{Command, Parsed, parse};
use crate::domain::gates::GateResult;
use crate::domain::ids::ProjectName;
use crate::domain::lock;
use crate::domain::plan::{Decision, Plan, Refusal, decide};
use crate::domain::report::answer;
use crate::domain::run::RunKind;
use crate::domain::snapshot::Snapshot;
use crate::store::StoreError;
use crate::store::changes::Change;
use crate::store::jobs::{Job, NewJob};
use crate::store::line::WaitingCommand;
use crate::store::listings::ProjectListing;
use crate::store::tenants::Repository;

/// So many commands are served in one taking-up at most; more only when each is refused.
const AT_ONCE: usize = 50;

/// Serves the line of one project until somebody has started or nobody's turn has come.
///
/// # Errors
/// [`JobError`]; the line is served again.
pub async fn serve(services: &Services, job: &Job) -> Result<Done, JobError> {
    let store = &services.store;
    if let Some(project) = project(services, job).await? {
        for _ in 0..AT_ONCE {
            let fact = store.project_fact(project.id, &project.name).await?;
            let Some(next) = lock::next_in_line(&fact) else { break };
            let Some(waiting) = store.find_waiting(next.id).await? else { continue };
            let place = lock::place(next.kind, next.number, &fact);
            tracing::info!(number = next.number.0, kind = %next.kind, position = place.position, "its turn has come");
            let turn = Turn { services, job, project: &project, waiting: &waiting, kind: next.kind };
            match turn.decide_again().await? {
                Served::Yes => {}
                Served::NotYet => break,
            }
        }
    }
    store.finish_job(job.lease).await?;
    Ok(Done::Ended)
}

async fn project(services: &Services, job: &Job) -> Result<Option<ProjectListing>, JobError> {
    let id = job.payload.parse().map_err(|_| JobError::Never(format!("payload {:?}", job.payload)))?;
    Ok(services.store.find_project(id).await?)
}

/// What came of somebody's turn.
enum Served {
    /// It started, was refused, or has left the line meanwhile.
    Yes,
    /// Somebody else was in the way after all.
    NotYet,
}

/// One command whose turn has come.
struct Turn<'a> {
    services: &'a Services,
    job: &'a Job,
    project: &'a ProjectListing,
    waiting: &'a WaitingCommand,
    kind: RunKind,
}

impl Turn<'_> {
    async fn decide_again(&self) -> Result<Served, JobError> {
        let (services, waiting) = (self.services, self.waiting);
        let command = command(waiting, &self.project.name)?;
        let (repository, change) = place(services, waiting).await?;
        let head = waiting.head.parse().map_err(|_| JobError::Never(format!("head {:?}", waiting.head)))?;
        // Its turn is its time: whoever waits in line is not late. The head is the one that was meant when it joined.
        let given = Given::now(clock::now(), Some(head));
        let question = facts::Question {
            repository: &repository,
            repo_id: waiting.github_id,
            change: &change,
            asker: facts::Asker { login: &waiting.actor, id: waiting.actor_id },
            command: &command,
            given: &given,
            decides: true,
            patient: self.job.attempts < facts::Question::PATIENCE,
        };
        let facts = Box::pin(facts::read(services, &question)).await?;
        intake::keep_facts(services, repository.id, waiting.command_id, &command, &facts).await?;
        let decided = match decide(&command, &facts.snapshot) {
            Decision::Start(plan) => self.start(&plan, &facts.snapshot).await,
            Decision::Refuse(refusal) => self.refuse(&refusal, &facts.snapshot.change.head).await,
            Decision::Wait(_) => return Ok(Served::NotYet),
            Decision::Control(_) | Decision::Answer(_) => {
                return Err(JobError::Never(format!("`{}` cannot wait in line", waiting.text)));
            }
        };
        match decided {
            Ok(()) => Ok(Served::Yes),
            Err(StoreError::Conflict { constraint }) => {
                tracing::info!(constraint, "somebody else was first; it goes on waiting");
                Ok(Served::NotYet)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn start(&self, plan: &Plan, snapshot: &Snapshot) -> Result<(), StoreError> {
        let store = &self.services.store;
        intake::bind_targets(self.services, self.waiting.repository_id, snapshot, plan).await?;
        let text = answer::turn(&self.waiting.actor, plan.kind(), &self.project.name, plan.head());
        if !store.start_waiting(self.job.lease, self.waiting, plan, &text).await? {
            tracing::info!("it has left the line meanwhile");
        }
        Ok(())
    }

    async fn refuse(&self, refusal: &Refusal, head: &crate::domain::ids::CommitSha) -> Result<(), StoreError> {
        let text = answer::refused_turn(&self.waiting.actor, refusal, head);
        let closed: Option<&GateResult> = refusal.gates.iter().find(|gate| !gate.passed());
        let reason = closed.and_then(|gate| gate.reason);
        let summary = closed.map_or_else(String::new, |gate| gate.observed.clone());
        let (store, lease) = (&self.services.store, self.job.lease);
        store.refuse_waiting(lease, self.waiting, self.kind, &refusal.gates, reason, &summary, &text).await?;
        Ok(())
    }
}

/// The command as it was given, for the project for which it waits.
fn command(waiting: &WaitingCommand, project: &ProjectName) -> Result<Command, JobError> {
    match parse(&waiting.text) {
        Parsed::Command(command) => Ok(Command { project: Some(project.clone()), ..command }),
        _ => Err(JobError::Never(format!("`{}` cannot be read any more", waiting.text))),
    }
}

async fn place(services: &Services, waiting: &WaitingCommand) -> Result<(Repository, Change), JobError> {
    let store = &services.store;
    let missing = || JobError::Never(format!("there is no change {}", waiting.change_id));
    let place = store.find_change(waiting.change_id).await?.ok_or_else(missing)?;
    let (armed, _) = store.may_deploy(place.repository_id).await?;
    let (installation, name) = (place.installation, place.repo);
    let repository = Repository { id: place.repository_id, installation, name, armed };
    let change = store.ensure_change(repository.id, place.number).await?;
    Ok((repository, change))
}

/// Refuses whoever is next, because after all tries it could not be decided about; the others are served then. Gives
/// whether there was anybody.
///
/// # Errors
/// [`JobError`] when not even that can be committed.
pub async fn abandon(services: &Services, job: &Job, why: &str) -> Result<bool, JobError> {
    let store = &services.store;
    let Some(project) = project(services, job).await? else { return Ok(false) };
    let fact = store.project_fact(project.id, &project.name).await?;
    let Some(next) = lock::next_in_line(&fact) else { return Ok(false) };
    let Some(waiting) = store.find_waiting(next.id).await? else { return Ok(false) };
    let text = answer::gave_up(&waiting.actor, &waiting.text, why);
    let summary = "it could not be decided about when its turn came";
    store.refuse_waiting(job.lease, &waiting, next.kind, &[], None, summary, &text).await?;
    store.finish_job(job.lease).await?;
    Ok(true)
}

/// Looks after locks and lines again and again, until it is stopped: what has to happen at a time, and what nobody woke.
pub async fn watch(services: Services, mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        match AssertUnwindSafe(look(&services)).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.is_unavailable() => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot look after locks"),
            Err(_) => tracing::error!("looking after locks panicked"),
        }
        tokio::select! {
            () = tokio::time::sleep(services.pace.locks_every) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

async fn look(services: &Services) -> Result<(), StoreError> {
    let store = &services.store;
    let ended = store.look_after_locks().await?;
    if ended > 0 {
        tracing::info!(ended, "took locks back that were over time");
    }
    let woken = store.wake_runs().await?;
    if woken > 0 {
        tracing::error!(woken, "runs were under way and nobody carried them out");
    }
    for (project_id, name) in store.list_quiet_lines().await? {
        if lock::next_in_line(&store.project_fact(project_id, &name).await?).is_some() {
            store.enqueue(&NewJob::line(project_id)).await?;
        }
    }
    Ok(())
}
