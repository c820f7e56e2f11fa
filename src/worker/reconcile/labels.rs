//! Labels that were put on and never told: the open pull requests that carry Titan's label are asked who put it there, and
//! whoever it was has proposed, as the event would have said.

use chrono::TimeDelta;

use super::super::intake::{LABEL, label_key};
use super::super::{JobError, Services};
use super::comments::{grace, queue, repo_fact};
use crate::clock;
use crate::github::reads::LabelledFact;
use crate::github::webhook::{Actor, Trigger};
use crate::github::{GitHubError, RepoClient, RepoRef};
use crate::store::watched::{Found, WatchedRepository};

/// Repositories that are looked at in one look.
const AT_ONCE: i64 = 20;
/// A label's command that reached Titan no sooner than this before the label was put on is about it: clocks differ.
const CLOCKS: TimeDelta = TimeDelta::seconds(10);

/// Looks at the labels of the repositories whose turn it is.
///
/// # Errors
/// When GitHub limits the calls.
pub(super) async fn read_all(services: &Services) -> Result<(), JobError> {
    let every = services.pace.recovery.labels_every;
    for repository in services.store.take_repositories_for_labels(every, AT_ONCE).await? {
        match read(services, &repository).await {
            Ok(()) => {}
            Err(error @ JobError::Later { at: Some(_), .. }) => return Err(error),
            Err(error) => tracing::warn!(repo = %repository.name, %error, "cannot look at labels"),
        }
    }
    Ok(())
}

async fn read(services: &Services, repository: &WatchedRepository) -> Result<(), JobError> {
    let client =
        services.github.repo(&RepoRef { installation: repository.installation, name: repository.name.clone() });
    let labelled = match client.list_labelled(LABEL).await {
        Ok(labelled) => labelled,
        Err(GitHubError::NotFound(_) | GitHubError::Unauthorized(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for pull in labelled.iter().filter(|pull| pull.updated_at >= repository.since) {
        let change = services.store.ensure_change(repository.id, pull.number).await?;
        let seen = services.store.find_labels_seen(change.id).await?;
        if seen == Some(pull.updated_at) {
            continue;
        }
        if look(services, &client, repository, pull, change.id).await? {
            services.store.put_labels_seen(change.id, pull.updated_at).await?;
        }
    }
    Ok(())
}

/// Looks at one pull request; gives whether that is settled.
async fn look(
    services: &Services,
    client: &RepoClient,
    repository: &WatchedRepository,
    pull: &LabelledFact,
    change_id: i64,
) -> Result<bool, JobError> {
    let events = match client.list_label_events(pull.number).await {
        Ok(events) => events,
        // Nobody knows who it was, and it is their role that counts.
        Err(GitHubError::NotFound(_) | GitHubError::Unauthorized(_)) => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    let Some(event) = events.into_iter().rev().find(|event| event.label.eq_ignore_ascii_case(LABEL)) else {
        return Ok(true);
    };
    if event.is_bot || event.user_id <= 0 || event.at < repository.since {
        return Ok(true);
    }
    if services.store.has_label_command(change_id, event.at - CLOCKS).await? {
        return Ok(true);
    }
    if event.at > clock::now() - grace(services) {
        return Ok(false);
    }
    let head = client.look_at_pull_request(pull.number).await?.head;
    let repo = repo_fact(repository);
    let key = label_key(&repo, pull.number, event.user_id, event.at.timestamp());
    let actor = Actor { login: event.login, id: event.user_id, bot: false };
    let trigger = Trigger::Labeled { repo, number: pull.number, label: event.label, actor, head, at: event.at };
    Ok(queue(services, repository, key, trigger).await? != Found::Busy)
}
