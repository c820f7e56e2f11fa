//! Pushes and closings that were never told: the pull requests on which something depends are looked at.

use super::super::look;
use super::super::{JobError, Services};
use crate::clock;
use crate::github::{GitHubError, RepoRef};
use crate::store::tenants::Repository;
use crate::store::watched::WatchedChange;

/// Pull requests that are looked at in one look.
const AT_ONCE: i64 = 20;

/// Looks at the pull requests whose turn it is.
///
/// # Errors
/// When GitHub limits the calls.
pub(super) async fn look_at_all(services: &Services) -> Result<(), JobError> {
    for change in services.store.take_changes_to_look_at(AT_ONCE).await? {
        match look_at(services, &change).await {
            Ok(()) => {}
            Err(error @ JobError::Later { at: Some(_), .. }) => return Err(error),
            Err(error) => {
                tracing::warn!(repo = %change.repo, number = change.number.0, %error, "cannot look at it");
            }
        }
    }
    Ok(())
}

async fn look_at(services: &Services, watched: &WatchedChange) -> Result<(), JobError> {
    let client = services.github.repo(&RepoRef { installation: watched.installation, name: watched.repo.clone() });
    let asked = clock::now();
    let pull = match client.look_at_pull_request(watched.number).await {
        Ok(pull) => pull,
        Err(GitHubError::NotFound(why)) => {
            tracing::debug!(why, "a pull request that is gone");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let repository = Repository {
        id: watched.repository_id,
        installation: watched.installation,
        name: watched.repo.clone(),
        armed: false,
    };
    let change = services.store.ensure_change(repository.id, watched.number).await?;
    look::saw(services, &repository, Some(watched.github_id), &change, &pull, asked).await
}
