//! Commands in comments that were never delivered: all comments of a repository are read, so that it does not matter whether
//! their pull request is known. A GitHub that does not show them at once is asked for one pull request after the other.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use super::super::intake::{IntakePayload, comment_key};
use super::super::{JobError, Services};
use crate::clock;
use crate::domain::command::{Parsed, parse};
use crate::github::reads::CommentFact;
use crate::github::webhook::{Actor, RepoFact, Trigger, job_key};
use crate::github::{GitHubError, RepoClient, RepoRef};
use crate::store::jobs::{JobKind, NewJob};
use crate::store::watched::{Found, WatchedRepository};

/// Repositories that are read in one look, so that a look is short and costs little even where nothing is kept.
const AT_ONCE: i64 = 20;
/// Comments are asked for from a multiple of this on; older ones than are looked for are left out here.
const QUESTION: TimeDelta = TimeDelta::minutes(10);
/// An edit that comes so soon is none: some hosts date what they store twice.
const SAME_TIME: TimeDelta = TimeDelta::seconds(2);

/// Reads the comments of the repositories whose turn it is.
///
/// # Errors
/// When GitHub limits the calls.
pub(super) async fn read_all(services: &Services) -> Result<(), JobError> {
    for repository in services.store.list_watched_repositories(AT_ONCE).await? {
        match read(services, &repository).await {
            Ok(()) => {}
            Err(error @ JobError::Later { at: Some(_), .. }) => return Err(error),
            // One repository that cannot be read keeps nobody from reading the others.
            Err(error) => tracing::warn!(repo = %repository.name, %error, "cannot read comments"),
        }
    }
    Ok(())
}

async fn read(services: &Services, repository: &WatchedRepository) -> Result<(), JobError> {
    let own_app = services.github.app().await?.id;
    let client =
        services.github.repo(&RepoRef { installation: repository.installation, name: repository.name.clone() });
    let mut read_to = clock::now() - grace(services);
    if read_to <= repository.since {
        return Ok(());
    }
    // The same question again and again, so that GitHub need not count it when nothing was said.
    let since = repository.since.duration_trunc(QUESTION).unwrap_or(repository.since);
    let until = read_to;
    for comment in comments(services, &client, repository, since).await? {
        let created_at = comment.created_at;
        if created_at > until || !may_be_a_command(&comment, own_app, repository.since) {
            continue;
        }
        if recover(services, repository, comment).await? == Found::Busy {
            read_to = read_to.min(created_at);
        }
    }
    Ok(services.store.put_comments_read(repository.id, read_to).await?)
}

/// Anything younger may still be delivered.
pub(super) fn grace(services: &Services) -> TimeDelta {
    TimeDelta::from_std(services.pace.recovery.comments_grace).unwrap_or(TimeDelta::zero())
}

/// Everything that was said since.
async fn comments(
    services: &Services,
    client: &RepoClient,
    repository: &WatchedRepository,
    since: DateTime<Utc>,
) -> Result<Vec<CommentFact>, JobError> {
    match client.list_comments_since(since).await {
        Ok(comments) => return Ok(comments),
        Err(GitHubError::NotFound(_) | GitHubError::Unauthorized(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let mut comments = Vec::new();
    for number in services.store.list_changes_to_read(repository.id).await? {
        match client.list_comments_of(number, since).await {
            Ok(found) => comments.extend(found),
            Err(GitHubError::NotFound(why)) => tracing::debug!(why, "a pull request that is gone"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(comments)
}

/// Whether a comment could have been a command when it was written: an edited one never is, because nobody knows what it
/// said at first.
fn may_be_a_command(comment: &CommentFact, own_app: i64, since: DateTime<Utc>) -> bool {
    comment.number.0 > 0
        && comment.updated_at - comment.created_at <= SAME_TIME
        && comment.created_at >= since
        && !comment.is_bot
        && comment.user_id > 0
        && comment.app_id != Some(own_app)
        && !matches!(parse(&comment.body), Parsed::Ignored)
}

/// Queues what the delivery of this comment would have queued.
async fn recover(services: &Services, repository: &WatchedRepository, comment: CommentFact) -> Result<Found, JobError> {
    let repo = repo_fact(repository);
    let key = comment_key(&repo, comment.id);
    let trigger = Trigger::Comment {
        repo,
        number: comment.number,
        comment_id: comment.id,
        author: Actor { login: comment.login, id: comment.user_id, bot: false },
        // It may be on an issue; GitHub is asked.
        marked: false,
        via_app: comment.app_id,
        body: comment.body,
        created_at: comment.created_at,
    };
    queue(services, repository, key, trigger).await
}

/// The repository as an event would name it.
pub(super) fn repo_fact(repository: &WatchedRepository) -> RepoFact {
    RepoFact {
        id: repository.github_id,
        name: repository.name.clone(),
        installation: Some(repository.installation),
        private: true,
        default_branch: None,
    }
}

/// Queues a command that was found by looking, unless it is known by this key.
pub(super) async fn queue(
    services: &Services,
    repository: &WatchedRepository,
    key: String,
    trigger: Trigger,
) -> Result<Found, JobError> {
    let order = job_key(&trigger, &key);
    let payload = serde_json::to_string(&IntakePayload { delivery: key.clone(), trigger })
        .map_err(|error| JobError::Never(format!("the trigger cannot be written: {error}")))?;
    let job = NewJob { kind: JobKind::Intake, key: order, payload, run_at: None };
    let found = services.store.recover_command(&key, &job).await?;
    if found == Found::New {
        tracing::warn!(repo = %repository.name, key, "found a command that was not delivered");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_unedited_command_by_a_person_can_have_been_missed() {
        let at = |seconds: i64| DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("a time");
        let good = CommentFact {
            number: crate::domain::ids::PrNumber(7),
            id: 1,
            login: "carol".to_owned(),
            user_id: 20,
            is_bot: false,
            app_id: None,
            body: "/titan canary".to_owned(),
            created_at: at(10),
            updated_at: at(10),
        };
        let may = |comment: CommentFact| may_be_a_command(&comment, 42, at(5));
        assert!(may(good.clone()));
        assert!(may(CommentFact { app_id: Some(7), ..good.clone() }), "through somebody else's App");
        assert!(may(CommentFact { updated_at: at(12), ..good.clone() }), "stored twice");
        assert!(!may(CommentFact { updated_at: at(13), ..good.clone() }), "edited");
        assert!(!may(CommentFact { created_at: at(4), updated_at: at(4), ..good.clone() }), "before the watermark");
        assert!(!may(CommentFact { is_bot: true, ..good.clone() }));
        assert!(!may(CommentFact { user_id: 0, ..good.clone() }), "a deleted account");
        assert!(!may(CommentFact { app_id: Some(42), ..good.clone() }), "Titan itself");
        assert!(!may(CommentFact { body: "> /titan canary".to_owned(), ..good }), "no command");
    }
}
