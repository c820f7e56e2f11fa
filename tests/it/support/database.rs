//! A fresh database for each test, in one cluster for the whole test process; or, for stories in which Postgres is
//! stopped, a cluster of its own.
//!
//! The cluster lives in the system's temporary folder. When the process ends, however it ends, the kernel stops Postgres
//! and a waiting shell removes the folder.

use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use titan::postgres::{Binaries, Durability, OwnPostgres, PostgresError};
use tokio::sync::OnceCell;

/// The database that every test's database is copied from.
const TEMPLATE: &str = "titan_template";

/// The cluster of this process.
struct Cluster {
    postgres: OwnPostgres,
    /// Its standard input closes when this process ends; then it cleans up.
    _cleaner: Child,
}

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static MIGRATED: OnceCell<()> = OnceCell::const_new();
/// Postgres copies a template for one session at a time only.
static COPYING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A database of its own with all migrations applied; dropped with the value.
pub struct TestDb {
    name: String,
}

impl TestDb {
    /// Copies the template: some 25 ms, the first call of the process about a second.
    pub async fn new() -> Self {
        MIGRATED.get_or_init(make_template).await;
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let _one_at_a_time = COPYING.lock().await;
        execute(format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}")).await;
        Self { name }
    }

    /// How to connect to it.
    pub fn options(&self) -> PgConnectOptions {
        cluster().postgres.options(&self.name)
    }

    /// The same for another process.
    pub fn url(&self) -> String {
        cluster().postgres.url(&self.name)
    }

    /// A small pool of connections, to be made inside the test's own runtime.
    pub async fn pool(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(10)
            .connect_with(self.options())
            .await
            .expect("the test's database answers")
    }
}

/// A cluster of its own, which can be stopped and started again; its data survives that, its folder goes with the value.
pub struct OwnCluster {
    folder: tempfile::TempDir,
    postgres: Option<OwnPostgres>,
    options: PgConnectOptions,
    url: String,
}

impl OwnCluster {
    /// Starts it, with all migrations applied: a second or two.
    pub async fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("titan-test-").tempdir().expect("a temporary folder");
        let postgres = start_postgres(folder.path().to_owned()).await;
        let (options, url) = (postgres.options("postgres"), postgres.url("postgres"));
        let mut connection = options.connect().await.expect("Postgres answers");
        titan::store::MIGRATOR.run(&mut connection).await.expect("the migrations run");
        connection.close().await.expect("the connection closes");
        Self { folder, postgres: Some(postgres), options, url }
    }

    /// How to connect to it.
    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// The same for another process.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Stops it: every connection is cut.
    pub async fn stop(&mut self) {
        let postgres = self.postgres.take();
        tokio::task::spawn_blocking(move || drop(postgres)).await.expect("Postgres stops");
    }

    /// Starts it again on the same address.
    pub async fn start(&mut self) {
        self.postgres = Some(start_postgres(self.folder.path().to_owned()).await);
    }
}

async fn start_postgres(folder: std::path::PathBuf) -> OwnPostgres {
    let start = move || {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            match OwnPostgres::start(&folder, Durability::Fast, &binaries()) {
                // A child that another test is just starting may hold a copy of the folder's lock until it runs.
                Err(PostgresError::InUse { .. }) if std::time::Instant::now() < until => {
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
                started => return started.expect("Postgres starts"),
            }
        }
    };
    tokio::task::spawn_blocking(start).await.expect("Postgres starts")
}

fn binaries() -> Binaries {
    let chosen = std::env::var_os("TITAN_PG_BIN").map(std::path::PathBuf::from);
    Binaries::find(chosen.as_deref(), std::env::var_os("PATH").as_deref())
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let drop_it = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        let thread = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(execute(drop_it));
        });
        assert!(thread.join().is_ok() || std::thread::panicking(), "the test's database can be dropped");
    }
}

fn cluster() -> &'static Cluster {
    CLUSTER.get_or_init(|| {
        let folder = tempfile::Builder::new().prefix("titan-test-").tempdir().expect("a temporary folder").keep();
        let postgres = OwnPostgres::start(&folder, Durability::Fast, &binaries()).expect("Postgres starts");
        let cleaner = Command::new("/bin/sh")
            .args(["-c", "read -r _; while kill -0 \"$1\" 2>/dev/null; do sleep 0.02; done; rm -rf \"$2\"", "sh"])
            .arg(postgres.process_id().to_string())
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        Cluster { postgres, _cleaner: cleaner }
    })
}

async fn make_template() {
    execute(format!("CREATE DATABASE {TEMPLATE}")).await;
    let mut connection = connect(TEMPLATE).await;
    titan::store::MIGRATOR.run(&mut connection).await.expect("the migrations run");
    connection.close().await.expect("the template has no connection");
}

async fn execute(statement: String) {
    let mut connection = connect("postgres").await;
    connection.execute(AssertSqlSafe(statement.clone())).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    connection.close().await.expect("the connection closes");
}

async fn connect(database: &str) -> PgConnection {
    cluster().postgres.options(database).connect().await.expect("Postgres answers")
}
