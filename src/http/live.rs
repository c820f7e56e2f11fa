//! Announces runs that have something new, to everyone who watches them.
//!
//! One connection listens to Postgres for the whole process. An announcement is only a hint to look again: it carries no
//! data, may be lost, and whoever watches also looks by himself from time to time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool, PgPoolOptions};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::domain::ids::RunId;
use crate::store::{EVENT_CHANNEL, Store};

/// Announcements that a slow watcher may be behind; one that is further behind looks again.
const BACKLOG: usize = 1024;
/// How long to wait before listening again after the database went away.
const RECONNECT_PAUSE: Duration = Duration::from_secs(2);

/// A place in a run's event log and in its build log: everything up to it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// The last event.
    pub(crate) event: i64,
    /// The last piece of the build log.
    pub(crate) log: i64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}.l{}", self.event, self.log)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |digits: &str| match digits.bytes().all(|b| b.is_ascii_digit()) {
            true => digits.parse().map_err(|_| ()),
            false => Err(()),
        };
        let (event, log) = text.strip_prefix('e').and_then(|rest| rest.split_once(".l")).ok_or(())?;
        Ok(Self { event: number(event)?, log: number(log)? })
    }
}

/// What is announced.
#[derive(Debug, Clone, Copy)]
enum News {
    /// This run has something new.
    Of(RunId),
    /// Announcements may have been lost: any run may have something new.
    Unknown,
}

/// Spreads announcements. Cheap to clone; all clones are one hub.
#[derive(Debug, Clone)]
pub struct EventHub {
    news: broadcast::Sender<News>,
    stop: CancellationToken,
}

/// One watcher of one run.
#[derive(Debug)]
pub struct Subscription {
    run: RunId,
    news: broadcast::Receiver<News>,
    stop: CancellationToken,
}

/// Why a watcher was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// There may be something new.
    LookAgain,
    /// Titan is shutting down.
    Stop,
}

impl EventHub {
    /// Begins to listen, on a connection of its own; needs a running runtime. The database may be away.
    pub fn start(store: Store) -> Self {
        let hub = Self { news: broadcast::Sender::new(BACKLOG), stop: CancellationToken::new() };
        let (news, stop) = (hub.news.clone(), hub.stop.clone());
        tokio::spawn(async move { stop.run_until_cancelled(listen_for_ever(&store, &news)).await });
        hub
    }

    /// Watches a run from now on.
    pub fn subscribe(&self, run: RunId) -> Subscription {
        Subscription { run, news: self.news.subscribe(), stop: self.stop.clone() }
    }

    /// Stops listening and ends every stream of events, so that a server that drains its connections can finish.
    pub fn shutdown(&self) {
        self.stop.cancel();
    }
}

impl Subscription {
    /// Waits for news of the run, at most `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Wake {
        let (run, news) = (self.run, &mut self.news);
        let announced = async {
            loop {
                match news.recv().await {
                    Ok(News::Of(other)) if other != run => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => return,
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        match self.stop.run_until_cancelled(tokio::time::timeout(limit, announced)).await {
            Some(_) => Wake::LookAgain,
            None => Wake::Stop,
        }
    }
}

async fn listen_for_ever(store: &Store, news: &broadcast::Sender<News>) {
    // A pool of one: the shared pool keeps all its places, and closing it does not wait for the listener.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy_with((*store.pool().connect_options()).clone());
    loop {
        if let Err(error) = listen(&pool, news).await {
            tracing::warn!(%error, "not listening for run events; watchers look every few seconds");
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

async fn listen(pool: &PgPool, news: &broadcast::Sender<News>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(EVENT_CHANNEL).await?;
    // Whatever happened before this moment was not announced. Nobody watching is no error.
    let _ = news.send(News::Unknown);
    loop {
        let item = match listener.try_recv().await? {
            Some(notification) => notification.payload().parse().map_or(News::Unknown, News::Of),
            None => News::Unknown,
        };
        let _ = news.send(item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_round_trips_and_nothing_else_is_one() {
        let place = Place { event: 12, log: 40 };
        assert_eq!(place.to_string().parse(), Ok(place));
        for wrong in ["", "e", "e1", "e1.l", "e.l1", "l1.e1", "e-1.l0", "e1.l1 ", "e+1.l1", "e1.l99999999999999999999"]
        {
            assert!(wrong.parse::<Place>().is_err(), "{wrong:?}");
        }
    }
}
