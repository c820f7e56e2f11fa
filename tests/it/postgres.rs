//! Titan's own Postgres: started, stopped, shared by nobody, gone with its owner.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use titan::postgres::{Binaries, Durability, OwnPostgres, PostgresError};

use crate::support::database::TestDb;

fn binaries() -> Binaries {
    let chosen = std::env::var_os("TITAN_PG_BIN").map(std::path::PathBuf::from);
    Binaries::find(chosen.as_deref(), std::env::var_os("PATH").as_deref())
}

fn start(folder: &Path) -> Result<OwnPostgres, PostgresError> {
    OwnPostgres::start(folder, Durability::Fast, &binaries())
}

fn alive(process: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    state.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

#[tokio::test]
async fn data_is_kept_when_postgres_stops_and_starts_again() {
    let place = tempfile::tempdir().expect("a folder");
    let first = OwnPostgres::start(place.path(), Durability::Safe, &binaries()).expect("it starts");
    let mut connection = first.options("postgres").connect().await.expect("it answers");
    connection.execute("CREATE TABLE kept AS SELECT 7 AS n").await.expect("a table");
    connection.close().await.expect("closed");
    let process = first.process_id();
    drop(first);
    assert!(!alive(process), "drop waits for the end");

    let second = start(place.path()).expect("it starts again");
    let mut connection = PgConnection::connect(&second.url("postgres")).await.expect("the URL works as well");
    let n: i32 = sqlx::query_scalar("SELECT n FROM kept").fetch_one(&mut connection).await.expect("the table");
    assert_eq!(n, 7);
}

#[test]
fn a_folder_serves_one_process_only() {
    let place = tempfile::tempdir().expect("a folder");
    let _first = start(place.path()).expect("it starts");
    let error = start(place.path()).expect_err("the folder is taken");
    assert!(matches!(error, PostgresError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("another Titan is using"), "{error}");
}

#[tokio::test]
async fn a_deep_folder_gets_a_short_socket() {
    let place = tempfile::tempdir().expect("a folder");
    let deep = place.path().join("a-rather-long-name-for-a-folder/".repeat(4)).join("postgres");
    let postgres = start(&deep).expect("it starts");
    postgres.options("postgres").connect().await.expect("it answers").close().await.expect("closed");
}

#[tokio::test]
async fn a_folder_that_postgres_may_not_enter_is_replaced() {
    use std::os::unix::fs::PermissionsExt;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root has to change the user");
        return;
    }
    let place = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o700)).expect("closed");
    let postgres = start(&place.path().join("inner/postgres")).expect("it starts");
    assert!(!postgres.folder().starts_with(place.path()), "{}", postgres.folder().display());
    let folder = postgres.folder().to_owned();
    postgres.options("postgres").connect().await.expect("it answers").close().await.expect("closed");
    drop(postgres);
    std::fs::remove_dir_all(folder).expect("the folder is removed");
}

#[test]
fn a_start_cut_short_leaves_nothing_in_the_way() {
    let place = tempfile::tempdir().expect("a folder");
    let half = place.path().join("data.new/base");
    std::fs::create_dir_all(&half).expect("half a cluster");
    start(place.path()).expect("it starts");
    assert!(!place.path().join("data.new").exists());
}

#[test]
fn a_log_explains_why_postgres_does_not_start() {
    let place = tempfile::tempdir().expect("a folder");
    drop(start(place.path()).expect("it starts"));
    let settings = place.path().join("data/postgresql.conf");
    std::fs::write(&settings, "no_such_setting = 1\n").expect("a broken file");
    let error = start(place.path()).expect_err("it cannot start");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

/// Not a test of its own: the process that the next test kills.
#[test]
#[ignore = "started by a_killed_owner_takes_its_postgres_with_it"]
fn owner_for_the_kill_test() {
    let place = std::env::var_os("TITAN_TEST_FOLDER").expect("started by the other test");
    let place = Path::new(&place).to_owned();
    // from a thread that ends at once: Postgres must not end with it
    let postgres = std::thread::spawn(move || start(&place).expect("it starts")).join().expect("started");
    std::thread::sleep(Duration::from_millis(300));
    assert!(alive(postgres.process_id()), "it outlives the thread that asked for it");
    println!("postgres={}", postgres.process_id());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_killed_owner_takes_its_postgres_with_it() {
    let place = tempfile::tempdir().expect("a folder");
    let mut owner = owner(place.path());
    let process = postgres_of(&mut owner);
    assert!(alive(process));
    owner.kill().expect("killed");
    owner.wait().expect("gone");
    // at once: the old server may still be writing its last checkpoint
    let next = start(place.path()).expect("the next start waits for the old server");
    assert!(!alive(process));
    drop(next);
}

fn owner(folder: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "--nocapture", "postgres::owner_for_the_kill_test"])
        .env("TITAN_TEST_FOLDER", folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a second test process")
}

fn postgres_of(owner: &mut Child) -> u32 {
    use std::io::{BufRead, BufReader};
    let output = BufReader::new(owner.stdout.take().expect("piped"));
    let line = output.lines().map_while(Result::ok).find(|line| line.contains("postgres=")).expect("it tells its id");
    line.rsplit('=').next().and_then(|id| id.trim().parse().ok()).expect("a number")
}

#[tokio::test]
async fn every_test_has_a_database_of_its_own() {
    let (one, two) = tokio::join!(TestDb::new(), TestDb::new());
    let (first, second) = (one.pool().await, two.pool().await);
    first.execute("CREATE TABLE only_here (n INTEGER)").await.expect("a table");
    assert!(second.execute("SELECT * FROM only_here").await.is_err(), "databases do not share tables");
    let mut connection = PgConnection::connect(&two.url()).await.expect("by URL");
    let name: String =
        sqlx::query_scalar("SELECT current_database()").fetch_one(&mut connection).await.expect("a name");
    assert!(name.starts_with("test_"));
}
