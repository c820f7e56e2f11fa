//! Where GitHub shows no log of deliveries: closings that were not delivered are found by reading. What is found goes the
//! way of its delivery.

use super::{JobError, Services, queue, repo_fact};
use crate::github::RepoClient;
use crate::github::webhook::Trigger;
use crate::store::recovery::WatchedChange;

/// Queues the closing of a change that is closed at GitHub and not finished here.
///
/// # Errors
/// [`JobError`] when GitHub or the database cannot be asked.
pub(super) async fn look(services: &Services, client: &RepoClient, change: &WatchedChange) -> Result<(), JobError> {
    let pull = client.get_pull_request(change.number).await?;
    if pull.open {
        return Ok(());
    }
    let repo = repo_fact(&change.repository);
    let key = format!("closed:{}:{}:{}", repo.id, change.number.0, pull.head);
    let (number, merged, merge_commit, head) = (change.number, pull.merged, pull.merge_commit, pull.head);
    queue(services, key, Trigger::Closed { repo, number, merged, merge_commit, head }).await
}
