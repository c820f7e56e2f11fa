//! Answers a question over the API: reads the facts as `/titan status` would and keeps every command's gates. It decides
//! nothing, starts nothing, and writes nothing at GitHub.

use serde::Deserialize;

use super::facts::{self, Asker, Question};
use super::{Done, JobError, Services};
use crate::clock;
use crate::domain::binding::Given;
use crate::domain::command::{Command, CommandName};
use crate::domain::gates::{Gate, table};
use crate::domain::ids::ProjectName;
use crate::domain::snapshot::Snapshot;
use crate::store::explanations::Tables;
use crate::store::jobs::Job;
use crate::store::tenants::Repository;

#[derive(Deserialize)]
struct Payload {
    change_id: i64,
    /// Empty when nobody in particular asks.
    actor: String,
}

/// Answers one question. Trouble is an answer too: whoever asked is still waiting, and may ask again.
///
/// # Errors
/// [`JobError`] when the answer cannot be kept.
pub async fn explain(services: &Services, job: &Job) -> Result<Done, JobError> {
    let payload: Payload =
        serde_json::from_str(&job.payload).map_err(|e| JobError::Never(format!("the question cannot be read: {e}")))?;
    let outcome = match read(services, &payload).await {
        Ok(Some(snapshot)) => Ok((snapshot.change.head.clone(), tables(&snapshot, payload.actor.is_empty()))),
        Ok(None) => Err("the pull request is not known any more".to_owned()),
        Err(JobError::LeaseLost) => return Err(JobError::LeaseLost),
        Err(error) => {
            tracing::warn!(?error, "a question could not be answered");
            Err("GitHub did not answer; ask again in a while".to_owned())
        }
    };
    services.store.put_explanation(job.lease, payload.change_id, &payload.actor, &outcome).await?;
    Ok(Done::Ended)
}

async fn read(services: &Services, payload: &Payload) -> Result<Option<Snapshot>, JobError> {
    let Some(place) = services.store.find_change(payload.change_id).await? else { return Ok(None) };
    let repository =
        Repository { id: place.repository_id, installation: place.installation, name: place.repo, armed: place.armed };
    let change = services.store.ensure_change(repository.id, place.number).await?;
    let id = services.store.find_commander_id(change.id, &payload.actor).await?;
    let question = Question {
        repository: &repository,
        repo_id: None,
        change: &change,
        asker: Asker { login: &payload.actor, id },
        command: &Command::bare(CommandName::Status),
        given: &Given::now(clock::now(), None),
        decides: false,
        patient: false,
    };
    Ok(Some(Box::pin(facts::read(services, &question)).await?.snapshot))
}

/// Every command's gates, without a project named and for each project. Nobody in particular has no permission to show.
/// `status` and `help` are answered whoever asks.
fn tables(snapshot: &Snapshot, for_nobody: bool) -> Tables {
    let projects = snapshot.policy.policy().into_iter().flat_map(|policy| policy.projects.keys());
    let of = |project: Option<&ProjectName>| {
        let gates = |name: CommandName| {
            let mut gates = table(&Command { project: project.cloned(), ..Command::bare(name) }, snapshot);
            gates.retain(|gate| !for_nobody || gate.gate != Gate::Permission);
            (name.to_string(), gates)
        };
        let commands = CommandName::ALL.into_iter().filter(|name| name.has_gates());
        (project.map(ToString::to_string).unwrap_or_default(), commands.map(gates).collect())
    };
    std::iter::once(None).chain(projects.map(Some)).map(of).collect()
}
