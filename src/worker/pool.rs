//! The loop: claim, heartbeat, carry out, record. Woken by NOTIFY, by the next due time, and by a poll in case both fail.
//!
//! One task claims for all slots, so that an announcement costs one look at the queue in each replica, however many slots
//! wait for work.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures::FutureExt;
use sqlx::postgres::PgListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tracing::Instrument;

use super::{Done, JobError, Services, explain, intake, line, reconcile, retention, steps};
use crate::claim::{Claim, Moment};
use crate::clock;
use crate::store::jobs::{Job, JobKind, Wanted};
use crate::store::{JOB_CHANNEL, StoreError};

/// Jobs that are carried out at the same time.
const SLOTS: usize = 12;
/// So many of them may be reports; the others are always there for decisions and what follows from them.
const REPORT_SLOTS: usize = 4;
/// So many more are there for what stops deployments: a halt waits for nothing that goes on.
const STOP_SLOTS: usize = 1;
/// A job that was postponed is looked at again after this time at the earliest.
const POSTPONED: TimeDelta = TimeDelta::milliseconds(20);
/// After so many failures in a row a job stops being tried; with the delays of [`backoff`] this takes about 20 minutes.
const MAX_ATTEMPTS: i32 = 25;
/// A command that GitHub does not let Titan decide about is tried so often, half a minute: a person waits for an answer.
const MAX_REFUSED_ATTEMPTS: i32 = 6;
/// A job that panics or cannot be read is tried only so often.
const MAX_BROKEN_ATTEMPTS: i32 = 3;
/// What GitHub told of a pull request or an installation, and what could not be acted on, is tried again after this.
const PUT_OFF: Duration = Duration::from_secs(3600);
/// After so long it waits for a person after all.
const PATIENCE: Duration = Duration::from_secs(3 * 24 * 3600);
/// A worker that shuts down waits so long for its jobs before it gives them back.
const DRAIN: Duration = Duration::from_secs(20);

/// A running set of workers.
pub struct Pool {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Pool {
    /// Starts the workers.
    pub fn start(services: Services) -> Self {
        let (stop, stopped) = watch::channel(false);
        let wake = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(services.clone(), wake.clone(), stopped.clone()));
        tasks.spawn(reap(services.clone(), wake.clone(), stopped.clone()));
        tasks.spawn(reconcile::watch(services.clone(), stopped.clone()));
        tasks.spawn(line::watch(services.clone(), stopped.clone()));
        tasks.spawn(retention::watch(services.clone(), stopped.clone()));
        tasks.spawn(dispatch(services, wake, stopped));
        Self { stop, tasks }
    }

    /// Takes no more jobs, lets the current ones commit for a while, then gives the rest back.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Turns announcements into wake-ups; reconnects for as long as it takes.
async fn listen(services: Services, wake: Arc<Notify>, mut stopped: watch::Receiver<bool>) {
    let options = services.store.pool().connect_options();
    while !*stopped.borrow() {
        // A pool of its own: a listener keeps its connection for good, and closing a shared pool would wait for it.
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect_lazy_with((*options).clone());
        let listening = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(JOB_CHANNEL).await?;
            loop {
                listener.recv().await?;
                wake.notify_one();
            }
        };
        let result: Result<(), sqlx::Error> = tokio::select! {
            result = listening => result,
            _ = stopped.changed() => return,
        };
        if let Err(error) = result {
            tracing::warn!(%error, "lost the announcements of jobs; polling until they are back");
        }
        tokio::select! {
            () = tokio::time::sleep(services.pace.lease.poll) => {}
            _ = stopped.changed() => return,
        }
    }
}

/// Brings back the jobs of workers that died.
async fn reap(services: Services, wake: Arc<Notify>, mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        match services.store.reap_jobs().await {
            Ok(0) => {}
            Ok(count) => {
                tracing::warn!(count, "took over jobs whose worker did not come back");
                wake.notify_one();
            }
            Err(error) => tracing::warn!(%error, "cannot look for lost jobs"),
        }
        tokio::select! {
            () = tokio::time::sleep(services.pace.lease.heartbeat) => {}
            _ = stopped.changed() => return,
        }
    }
}

/// Claims jobs as long as a slot is free and a job is due, then waits for whatever comes first: an announcement, the next
/// due time, or the end of a job here, because that may have queued or freed another.
async fn dispatch(services: Services, wake: Arc<Notify>, mut stopped: watch::Receiver<bool>) {
    let mut jobs = JoinSet::new();
    let reports = Arc::new(Semaphore::new(REPORT_SLOTS));
    while !*stopped.borrow() {
        while jobs.try_join_next().is_some() {}
        if jobs.len() >= SLOTS + STOP_SLOTS {
            jobs.join_next().await;
            continue;
        }
        let asked = Moment::now();
        let wanted = match jobs.len() >= SLOTS {
            true => Wanted::Stops,
            false if reports.available_permits() > 0 => Wanted::Any,
            false => Wanted::NoReports,
        };
        let claimed = services.store.claim(services.pace.lease.lease, wanted).await;
        let pause = match claimed {
            Ok(Some(job)) => {
                count_claim("job");
                let claim = Claim::new(asked, services.pace.lease.lease);
                let (services, stopped) = (services.clone(), stopped.clone());
                let slot = if job.kind == JobKind::Report { reports.clone().try_acquire_owned().ok() } else { None };
                jobs.spawn(async move {
                    carry_out(&services, job, claim, stopped).await;
                    drop(slot);
                });
                continue;
            }
            Ok(None) => {
                count_claim("nothing");
                pause(&services, wanted).await
            }
            Err(error) => {
                if !error.is_unavailable() {
                    tracing::error!(%error, "cannot claim jobs");
                }
                services.pace.lease.poll
            }
        };
        // An announcement that came since the queue was read is kept until here.
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
            Some(_) = jobs.join_next() => {}
            _ = stopped.changed() => {}
        }
    }
    while jobs.join_next().await.is_some() {}
}

fn count_claim(found: &'static str) {
    metrics::counter!("titan_job_claims_total", "found" => found).increment(1);
}

/// How long until there may be something to do.
async fn pause(services: &Services, wanted: Wanted) -> Duration {
    let poll = services.pace.lease.poll;
    match services.store.next_job_at(wanted).await {
        Ok(Some(at)) => (at - clock::now()).to_std().unwrap_or(Duration::ZERO).clamp(Duration::from_millis(20), poll),
        _ => poll,
    }
}

async fn carry_out(services: &Services, job: Job, claim: Claim, mut stopped: watch::Receiver<bool>) {
    let span = tracing::info_span!(
        "job",
        job = job.lease.job_id,
        kind = job.kind.as_str(),
        key = %job.key,
        attempt = job.attempts,
        delivery = tracing::field::Empty,
        run = tracing::field::Empty,
        repo = tracing::field::Empty,
        project = tracing::field::Empty,
    );
    if job.attempts > MAX_ATTEMPTS && job.kind != JobKind::Report {
        // Each time it took its worker with it, or not even giving up could be written down.
        let why = "the worker ended in the middle of it, again and again".to_owned();
        return record(services, &job, Some(Err(JobError::Never(why)))).instrument(span).await;
    }
    let outcome = async {
        let body = claim.clone().hold(AssertUnwindSafe(execute(services, &job)).catch_unwind());
        let drained = async {
            let _ = stopped.wait_for(|stop| *stop).await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            result = body => Some(match result {
                Ok(result) => result,
                Err(panic) => Err(JobError::Never(format!("panicked: {}", message(&*panic)))),
            }),
            () = heartbeats(services, &job, &claim) => Some(Err(JobError::LeaseLost)),
            () = drained => None,
        }
    }
    .instrument(span.clone())
    .await;
    record(services, &job, outcome).instrument(span).await;
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}

/// Returns only when the lease is lost.
async fn heartbeats(services: &Services, job: &Job, claim: &Claim) {
    let lease = services.pace.lease.lease;
    loop {
        tokio::time::sleep(services.pace.lease.heartbeat).await;
        let asked = Moment::now();
        match services.store.heartbeat(job.lease, lease).await {
            Ok(()) => claim.renew(asked, lease),
            Err(StoreError::LeaseLost(_)) => return,
            // The database may be back before the lease ends; every commit checks the lease anyway.
            Err(error) => tracing::warn!(%error, "missed a heartbeat"),
        }
    }
}

async fn execute(services: &Services, job: &Job) -> Result<Done, JobError> {
    match job.kind {
        JobKind::Intake => intake::take_in(services, job).await,
        JobKind::Step => steps::advance(services, job).await,
        JobKind::Report => report_job(services, job).await,
        JobKind::Explain => explain::explain(services, job).await,
        JobKind::Line => line::serve(services, job).await,
    }
}

async fn report_job(services: &Services, job: &Job) -> Result<Done, JobError> {
    let change_id = job.payload.parse().map_err(|_| JobError::Never(format!("payload {:?}", job.payload)))?;
    super::report::report(&services.reporter(), job.lease, change_id, job.attempts).await?;
    services.store.finish_job(job.lease).await?;
    Ok(Done::Ended)
}

async fn record(services: &Services, job: &Job, outcome: Option<Result<Done, JobError>>) {
    let store = &services.store;
    let result = match outcome {
        None => {
            tracing::info!("gives the job back because of shutdown");
            store.release_job(job.lease).await
        }
        Some(Ok(Done::Ended)) => Ok(()),
        Some(Ok(Done::Until(at))) => store.sleep_job(job.lease, at).await,
        Some(Err(JobError::LeaseLost)) => {
            tracing::warn!("lost the lease; another worker goes on");
            Ok(())
        }
        Some(Err(JobError::Refused(why))) if job.refusals + 1 < refused_attempts(job.kind) => {
            let why = services.redactor.clean(&why);
            tracing::warn!(%why, "was refused; will try again");
            store.refuse_job(job.lease, clock::now() + backoff(job.attempts), &why).await
        }
        // Calls are limited: that is nobody's failure, however long it takes.
        Some(Err(JobError::Later { at: Some(at), why })) => {
            let why = services.redactor.clean(&why);
            tracing::info!(%why, %at, "postponed");
            store.postpone_job(job.lease, at.max(clock::now() + POSTPONED), &why).await
        }
        // What people see must become right in the end, however long GitHub is away.
        Some(Err(JobError::Later { at: None, why })) if job.attempts < MAX_ATTEMPTS || job.kind == JobKind::Report => {
            let why = services.redactor.clean(&why);
            tracing::warn!(%why, "will try again");
            store.retry_job(job.lease, clock::now() + backoff(job.attempts), &why).await
        }
        Some(Err(JobError::Never(why))) if job.attempts < MAX_BROKEN_ATTEMPTS => {
            let why = services.redactor.clean(&why);
            tracing::error!(%why, "the job is broken; will try again");
            store.retry_job(job.lease, clock::now() + backoff(job.attempts), &why).await
        }
        // GitHub's own words help whoever reads them; what went wrong inside is for whoever looks after Titan.
        Some(Err(JobError::Refused(why))) => give_up(services, job, &why, Told::Words).await,
        Some(Err(JobError::Later { why, .. } | JobError::Never(why))) => {
            give_up(services, job, &why, Told::Incident).await
        }
    };
    match result {
        Ok(()) | Err(StoreError::LeaseLost(_)) => {}
        // The lease ends by itself and the job is taken up again.
        Err(error) => tracing::warn!(%error, "cannot record what came of the job"),
    }
}

fn refused_attempts(kind: JobKind) -> i32 {
    if kind == JobKind::Intake { MAX_REFUSED_ATTEMPTS } else { MAX_ATTEMPTS }
}

/// What people are told of the reason.
enum Told {
    /// The reason itself.
    Words,
    /// A number under which the log has it.
    Incident,
}

/// A step that cannot be carried out ends its run, a command gets an answer; what GitHub told is tried again every hour, out of
/// the way of what was told later; other jobs wait for a person.
async fn give_up(services: &Services, job: &Job, why: &str, told: Told) -> Result<(), StoreError> {
    let why = services.redactor.clean(why);
    let incident = uuid::Uuid::new_v4().simple().to_string();
    let incident = &incident[..12];
    tracing::error!(%why, incident, "gives up");
    let public = match told {
        Told::Words => why.clone(),
        Told::Incident => format!("something inside of Titan went wrong; its log has more under the number {incident}"),
    };
    let store = &services.store;
    let ended = match job.kind {
        JobKind::Step => steps::abandon(services, job, &public).await.map(|()| true),
        JobKind::Intake => intake::abandon(services, job, &public).await,
        JobKind::Report | JobKind::Explain => Ok(false),
        JobKind::Line => line::abandon(services, job, &public).await,
    };
    match ended {
        Ok(true) => return Ok(()),
        Err(JobError::LeaseLost) => return Err(StoreError::LeaseLost(job.lease.job_id)),
        // The store was away or in somebody's way: giving up is tried again as well.
        Err(JobError::Later { why, .. }) => {
            return store.retry_job(job.lease, clock::now() + backoff(job.attempts), &why).await;
        }
        Ok(false) | Err(JobError::Refused(_) | JobError::Never(_)) => {}
    }
    if job.kind == JobKind::Intake
        && intake::tells(job)
        && store.put_off_job(job.lease, PUT_OFF, PATIENCE, &why).await?
    {
        return Ok(());
    }
    store.bury_job(job.lease, &why).await
}

/// 1, 2, 4 … 60 seconds.
fn backoff(attempts: i32) -> TimeDelta {
    TimeDelta::seconds(1_i64 << attempts.saturating_sub(1).clamp(0, 6)).min(TimeDelta::seconds(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_ever_later_and_never_more_than_a_minute_apart() {
        let seconds: Vec<i64> = [1, 2, 3, 6, 7, 30].map(|attempt| backoff(attempt).num_seconds()).to_vec();
        assert_eq!(seconds, [1, 2, 4, 32, 60, 60]);
    }
}
