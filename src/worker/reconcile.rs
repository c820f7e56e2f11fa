//! Finds what GitHub did not deliver: asks for missing deliveries again, and reads the comments of changes that are under
//! way. What is found goes the way of every delivery; nothing is decided or carried out here.

mod closing;

use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use futures::FutureExt;
use tokio::sync::watch;

use super::intake::{IntakePayload, comment_key};
use super::{JobError, Services};
use crate::clock;
use crate::domain::command::{Parsed, parse};
use crate::domain::recovery::{Asking, Attempt, log_window, which_to_ask_again};
use crate::github::deliveries::DeliveryAttempt;
use crate::github::reads::CommentFact;
use crate::github::webhook::{Actor, RepoFact, Trigger, concerns, job_key};
use crate::github::{GitHubError, RepoClient, RepoRef};
use crate::store::jobs::{JobKind, NewJob};
use crate::store::recovery::{Lookout, Missing, Turn, WatchedChange, WatchedRepository};

/// So much of the log is read again each time, because attempts need not appear in the order of their times.
const OVERLAP: TimeDelta = TimeDelta::minutes(10);
/// When another replica has the turn, or the log could not be read, it is tried again after this.
const BUSY_PAUSE: Duration = Duration::from_secs(20);
/// Comments are asked for from a multiple of this on; older ones than are looked for are left out here.
const QUESTION: TimeDelta = TimeDelta::minutes(10);
/// Pages of the log that are read at most: 20 000 attempts.
const PAGE_LIMIT: usize = 200;

/// Looks again and again, until it is stopped.
pub async fn watch(services: Services, mut stopped: watch::Receiver<bool>) {
    let no_log = AtomicBool::new(false);
    let looking = async { tokio::join!(watch_deliveries(&services, &no_log), watch_comments(&services, &no_log)) };
    tokio::select! {
        _ = looking => {}
        // The sender is gone only when the pool is.
        _ = stopped.wait_for(|stop| *stop) => {}
    }
}

async fn watch_deliveries(services: &Services, no_log: &AtomicBool) {
    let pace = services.pace.recovery;
    tokio::time::sleep(pace.first).await;
    // At the start at once: Titan was down, so something may be missing. Then the replicas share the work.
    let mut min_age = Duration::ZERO;
    let mut missing_log_told = false;
    loop {
        match guarded(look_at_deliveries(services, min_age)).await {
            Ok(Log::Read) => {
                no_log.store(false, Ordering::Relaxed);
                min_age = pace.log_every / 2;
            }
            Ok(Log::Busy) => {
                // A replica that died while it was looking holds its turn for a minute.
                tokio::time::sleep(pace.log_every.min(BUSY_PAUSE)).await;
                continue;
            }
            Ok(Log::Unsupported) => {
                no_log.store(true, Ordering::Relaxed);
                if !std::mem::replace(&mut missing_log_told, true) {
                    tracing::info!(
                        "this GitHub shows no log of deliveries; what it does not deliver is looked for by reading"
                    );
                }
            }
            Err(why) => {
                tracing::warn!(why, "cannot look for missing deliveries; will try again");
                min_age = Duration::ZERO;
                tokio::time::sleep(pace.log_every.min(BUSY_PAUSE)).await;
                continue;
            }
        }
        tokio::time::sleep(pace.log_every).await;
    }
}

async fn watch_comments(services: &Services, no_log: &AtomicBool) {
    let pace = services.pace.recovery;
    tokio::time::sleep(pace.first).await;
    let mut min_age = pace.comments_every / 2;
    loop {
        let pause = match guarded(look_at_comments(services, min_age, no_log.load(Ordering::Relaxed))).await {
            Ok(()) => {
                min_age = pace.comments_every / 2;
                pace.comments_every
            }
            Err(why) => {
                tracing::warn!(why, "cannot look for missed comments; will try again");
                min_age = Duration::ZERO;
                pace.comments_every.min(BUSY_PAUSE)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// A panic ends one look, not all later ones.
async fn guarded<T>(look: impl Future<Output = Result<T, JobError>>) -> Result<T, String> {
    match AssertUnwindSafe(look).catch_unwind().await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("it panicked".to_owned()),
    }
}

/// Whether there is a log.
enum Log {
    /// It was read.
    Read,
    /// It is another replica's turn, or it was a short while ago.
    Busy,
    /// There is none.
    Unsupported,
}

async fn look_at_deliveries(services: &Services, min_age: Duration) -> Result<Log, JobError> {
    let store = &services.store;
    let Some(turn) = store.take_turn(Lookout::Deliveries, min_age, services.pace.recovery.turn).await? else {
        return Ok(Log::Busy);
    };
    let result = ask_again(services, turn).await;
    let read_to = result.as_ref().ok().and_then(|seen| seen.as_ref().and_then(|log| log.newest));
    store.end_turn(Lookout::Deliveries, read_to).await?;
    Ok(if result?.is_some() { Log::Read } else { Log::Unsupported })
}

/// How far the log was read.
struct Seen {
    newest: Option<DateTime<Utc>>,
}

/// Reads the log back to where the last look ended and asks for what is missing.
async fn ask_again(services: &Services, turn: Turn) -> Result<Option<Seen>, JobError> {
    let store = &services.store;
    let window = log_window(services.github.is_github_com());
    let oldest = clock::now() - window;
    let until = turn.read_to.map_or(oldest, |read_to| oldest.max(read_to - OVERLAP));
    let Some(log) = read_back(services, until).await? else { return Ok(None) };
    let newest = log.iter().map(|attempt| attempt.delivered_at).max();
    let relevant: Vec<&DeliveryAttempt> =
        log.iter().filter(|one| concerns(&one.event, one.action.as_deref().unwrap_or_default())).collect();
    // What arrived is looked up after the log was read: an attempt in the log was answered before.
    let guids: Vec<String> = relevant.iter().map(|one| one.guid.clone()).collect();
    let held = store.list_held(&guids).await?;
    let missing = relevant.iter().filter(|one| !held.contains(&one.guid)).map(|one| Missing {
        attempt: Attempt { id: one.id, guid: one.guid.clone(), delivered_at: one.delivered_at },
        event: &one.event,
        action: one.action.as_deref(),
    });
    let missing: Vec<Missing<'_>> = missing.collect();
    store.note_missing(&missing).await?;
    let (known, asked) = store.list_missing().await?;
    let all: Vec<Attempt> = known.into_iter().chain(missing.into_iter().map(|one| one.attempt)).collect();
    let distance = TimeDelta::from_std(services.pace.recovery.ask_again).unwrap_or(TimeDelta::hours(1));
    for attempt in which_to_ask_again(&all, &held, &asked, clock::now(), Asking { window, distance }) {
        // After the effect: asking once too often is harmless, because a delivery is taken once, and a call that did not
        // get through shall not count as one of the few times.
        match services.github.redeliver(attempt.id).await {
            Ok(()) => tracing::info!(delivery = %attempt.guid, "asked GitHub for a missing delivery again"),
            Err(error @ (GitHubError::RateLimited { .. } | GitHubError::Transient(_))) => return Err(error.into()),
            Err(error) => tracing::warn!(delivery = %attempt.guid, %error, "a missing delivery cannot be asked for"),
        }
        store.note_asked(&attempt.guid).await?;
    }
    Ok(Some(Seen { newest }))
}

/// The log's attempts from `until` on; `None` when there is no log.
async fn read_back(services: &Services, until: DateTime<Utc>) -> Result<Option<Vec<DeliveryAttempt>>, JobError> {
    let mut log = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..PAGE_LIMIT {
        let Some(page) = services.github.list_deliveries(cursor.as_deref()).await? else { return Ok(None) };
        let reached = page.attempts.iter().any(|attempt| attempt.delivered_at < until);
        log.extend(page.attempts.into_iter().filter(|attempt| attempt.delivered_at >= until));
        cursor = page.next;
        if reached || cursor.is_none() {
            break;
        }
    }
    Ok(Some(log))
}

async fn look_at_comments(services: &Services, min_age: Duration, no_log: bool) -> Result<(), JobError> {
    let store = &services.store;
    if store.take_turn(Lookout::Comments, min_age, services.pace.recovery.turn).await?.is_none() {
        return Ok(());
    }
    let result = read_all_comments(services, no_log).await;
    store.end_turn(Lookout::Comments, None).await?;
    result
}

/// One question for each repository, so that many changes under way cost no more calls than one.
async fn read_all_comments(services: &Services, no_log: bool) -> Result<(), JobError> {
    let mut groups: BTreeMap<i64, (WatchedRepository, Vec<WatchedChange>)> = BTreeMap::new();
    for change in services.store.list_watched_changes().await? {
        let group = groups.entry(change.repository.id).or_insert_with(|| (change.repository.clone(), Vec::new()));
        group.1.push(change);
    }
    if no_log {
        for repository in services.store.list_watched_repositories().await? {
            groups.entry(repository.id).or_insert((repository, Vec::new()));
        }
    }
    for (repository, changes) in groups.into_values() {
        match read_comments(services, &repository, &changes, no_log).await {
            Ok(()) => {}
            Err(error @ JobError::Later { at: Some(_), .. }) => return Err(error),
            // One repository that cannot be read keeps nobody from reading the others.
            Err(error) => tracing::warn!(repo = %repository.repo, %error, "cannot read comments"),
        }
    }
    Ok(())
}

async fn read_comments(
    services: &Services,
    repository: &WatchedRepository,
    changes: &[WatchedChange],
    no_log: bool,
) -> Result<(), JobError> {
    let store = &services.store;
    let own_app = services.github.app().await?.id;
    let client =
        services.github.repo(&RepoRef { installation: repository.installation, name: repository.repo.clone() });
    // Anything younger may still be delivered.
    let grace = TimeDelta::from_std(services.pace.recovery.comments_grace).unwrap_or(TimeDelta::zero());
    let until = clock::now() - grace;
    let lately = no_log.then_some(until - QUESTION);
    let Some(since) = changes.iter().map(|change| change.since).chain(lately).min().filter(|since| *since < until)
    else {
        return Ok(());
    };
    // The same question again and again, so that GitHub need not count it when nothing was said.
    let from = since.duration_trunc(QUESTION).unwrap_or(since);
    let comments = match client.list_comments_since(from).await {
        Err(GitHubError::NotFound(_)) => one_by_one(&client, changes, from).await?,
        read => read?,
    };
    let known = if no_log { store.list_known_numbers(repository.id).await? } else { HashSet::new() };
    for comment in comments.into_iter().filter(|comment| comment.created_at <= until) {
        let change = changes.iter().find(|change| change.number == comment.number);
        // Without a log, this is how a pull request whose opening was not delivered comes to be known.
        let unheard_of = lately.filter(|_| !known.contains(&comment.number));
        let Some(since) = change.map(|change| change.since).or(unheard_of) else { continue };
        if may_be_a_command(&comment, own_app, since) {
            recover(services, repository, comment, change.is_some()).await?;
        }
    }
    let read: Vec<i64> = changes.iter().map(|change| change.id).collect();
    store.put_comments_read(&read, until).await?;
    if no_log {
        for change in changes.iter().filter(|change| change.unfinished) {
            closing::look(services, &client, change).await?;
        }
    }
    Ok(())
}

/// For hosts that do not list the comments of a whole repository.
async fn one_by_one(
    client: &RepoClient,
    changes: &[WatchedChange],
    from: DateTime<Utc>,
) -> Result<Vec<CommentFact>, JobError> {
    let mut comments = Vec::new();
    for change in changes {
        comments.extend(client.list_comments_of(change.number, from).await?);
    }
    Ok(comments)
}

/// A comment whose two times are closer was not edited: GitHub counts in seconds, and other hosts touch a new comment
/// twice.
const UNEDITED: TimeDelta = TimeDelta::seconds(1);

/// Whether a comment could have been a command when it was written: an edited one never is, because nobody knows what it
/// said at first.
fn may_be_a_command(comment: &CommentFact, own_app: i64, since: DateTime<Utc>) -> bool {
    comment.updated_at - comment.created_at < UNEDITED
        && comment.created_at >= since
        && !comment.is_bot
        && comment.user_id > 0
        && comment.app_id != Some(own_app)
        && !matches!(parse(&comment.body), Parsed::Ignored)
}

/// Queues what the delivery of this comment would have queued. `marked`: it is known to be about a pull request.
async fn recover(
    services: &Services,
    repository: &WatchedRepository,
    comment: CommentFact,
    marked: bool,
) -> Result<(), JobError> {
    let repo = repo_fact(repository);
    let key = comment_key(&repo, comment.id);
    let trigger = Trigger::Comment {
        repo,
        number: comment.number,
        comment_id: comment.id,
        author: Actor { login: comment.login, id: comment.user_id, bot: false },
        marked,
        via_app: comment.app_id,
        body: comment.body,
        created_at: comment.created_at,
    };
    queue(services, key, trigger).await
}

fn repo_fact(repository: &WatchedRepository) -> RepoFact {
    RepoFact {
        id: repository.github_id,
        name: repository.repo.clone(),
        installation: Some(repository.installation),
        private: true,
        default_branch: None,
    }
}

/// Queues what a delivery would have queued, once.
async fn queue(services: &Services, key: String, trigger: Trigger) -> Result<(), JobError> {
    let order = job_key(&trigger, &key);
    let payload = serde_json::to_string(&IntakePayload { delivery: key.clone(), trigger })
        .map_err(|error| JobError::Never(format!("the trigger cannot be written: {error}")))?;
    let job = NewJob { kind: JobKind::Intake, key: order, payload, run_at: None };
    if services.store.recover_found(&key, &job).await? {
        tracing::warn!(key, order = job.key, "found what was not delivered");
    }
    Ok(())
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
        let touched = good.updated_at + TimeDelta::milliseconds(3);
        assert!(may(CommentFact { updated_at: touched, ..good.clone() }), "touched in the same moment");
        assert!(!may(CommentFact { updated_at: at(11), ..good.clone() }), "edited");
        assert!(!may(CommentFact { created_at: at(4), updated_at: at(4), ..good.clone() }), "before the watermark");
        assert!(!may(CommentFact { is_bot: true, ..good.clone() }));
        assert!(!may(CommentFact { user_id: 0, ..good.clone() }), "a deleted account");
        assert!(!may(CommentFact { app_id: Some(42), ..good.clone() }), "Titan itself");
        assert!(!may(CommentFact { body: "> /titan canary".to_owned(), ..good }), "no command");
    }
}
