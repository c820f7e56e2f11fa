//! Postgres: the only place with SQL, one file an aggregate. Every public method is one transaction.
//!
//! Nothing here calls out, and no transaction is handed out, so none can be open during an outside call. A commit on
//! behalf of a job carries its [`Lease`]; if the lease was lost in the meantime nothing is written.

pub mod artifacts;
pub mod audit;
pub mod budget;
pub mod buttons;
pub mod changes;
pub mod commands;
pub mod decisions;
pub mod deliveries;
pub mod events;
pub mod explanations;
pub mod feedback;
pub mod jobs;
pub mod line;
pub mod listings;
pub mod locks;
pub mod pipelines;
pub mod policies;
pub mod receipts;
pub mod recovery;
pub mod retention;
pub mod runs;
pub mod steps;
pub mod targets;
pub mod tenants;
pub mod watched;

use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

/// The migrations of `migrations/`, built in.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// The channel that announces queued jobs.
pub const JOB_CHANNEL: &str = "titan_job";
/// The channel that announces run events and new log text; its payload is the run's id.
pub const EVENT_CHANNEL: &str = "titan_event";

/// A transaction that says nothing for so long is ended by Postgres. No transaction here waits for anything but Postgres,
/// so only a process that was frozen in the middle of one does that; the rows that it holds are others' to go on with.
const IDLE_LIMIT: &str = "4s";

/// What went wrong in the store, named by what the caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Postgres cannot be reached or is going away; try again later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Another worker took this job over; whatever was to be written was not.
    #[error("the lease of job {0} was lost to another worker")]
    LeaseLost(i64),
    /// An environment's lock was taken away from a run; whatever was to be written was not.
    #[error("the lock of {0} was taken away")]
    LockLost(String),
    /// A named constraint said no: somebody else was first.
    #[error("conflict with {constraint}")]
    Conflict {
        /// The constraint's name.
        constraint: String,
    },
    /// A row holds what this version cannot read.
    #[error("a stored row cannot be read: {0}")]
    Corrupt(String),
    /// Anything else.
    #[error("database error: {0}")]
    Database(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether it is worth trying the same again later.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether this named constraint said no.
    pub fn is_conflict_with(&self, name: &str) -> bool {
        matches!(self, Self::Conflict { constraint } if constraint == name)
    }
}

impl StoreError {
    /// Whether an error says that Postgres cannot be reached, is starting up or is going away.
    pub fn means_unavailable(error: &sqlx::Error) -> bool {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Tls(_) => true,
            sqlx::Error::Database(db) => {
                // Classes 08 (connection), 53 (resources) and 57P (shutting down, starting up) pass by themselves.
                let code = db.code().unwrap_or_default();
                code.starts_with("08") || code.starts_with("53") || code.starts_with("57P")
            }
            _ => false,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if Self::means_unavailable(&error) {
            return Self::Unavailable(error.to_string());
        }
        match &error {
            sqlx::Error::Database(db) => match db.constraint() {
                Some(name) => Self::Conflict { constraint: name.to_owned() },
                None => Self::Database(error),
            },
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::Corrupt(error.to_string()),
            _ => Self::Database(error),
        }
    }
}

/// Handle to everything stored. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
}

/// A worker's claim on a job, as it must be shown with every commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub job_id: i64,
    /// The number drawn at the claim; rises with every claim.
    pub fence: i64,
}

impl Store {
    /// Opens a pool; does not wait for the database to be there.
    pub fn connect_lazy(options: PgConnectOptions) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(16)
            .acquire_timeout(Duration::from_secs(3))
            .max_lifetime(Duration::from_secs(600))
            .idle_timeout(Duration::from_secs(300))
            .after_connect(|connection, _| {
                Box::pin(async move {
                    sqlx::query("SELECT set_config('idle_in_transaction_session_timeout', $1, false)")
                        .bind(IDLE_LIMIT)
                        .execute(connection)
                        .await
                        .map(|_| ())
                })
            })
            .connect_lazy_with(options);
        Self { pool }
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// When the database cannot be reached or a migration fails.
    pub async fn migrate(&self) -> Result<(), sqlx::migrate::MigrateError> {
        MIGRATOR.run(&self.pool).await
    }

    /// Whether a statement gets an answer.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] and others.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// The pool, for listening to channels.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Text from outside as Postgres can hold it: NUL characters become the replacement character.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The same for every text in a value that is stored as JSONB, which cannot hold NUL either.
fn storable_json(value: &(impl serde::Serialize + ?Sized)) -> Result<serde_json::Value, StoreError> {
    fn clean(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) if text.contains('\0') => *text = storable(text),
            serde_json::Value::Array(items) => items.iter_mut().for_each(clean),
            serde_json::Value::Object(fields) => fields.values_mut().for_each(clean),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(value).map_err(|e| StoreError::Corrupt(e.to_string()))?;
    clean(&mut value);
    Ok(value)
}

/// Reads a word of a closed set.
pub(crate) fn word<T: std::str::FromStr>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt(format!("unknown word {text:?}")))
}
