//! Titan as one or several real processes on one database, at a quick pace and with short leases, for stories that kill
//! and pause it.
//!
//! A replica is this test binary itself, started again: it runs [`App::start`] with its settings from the environment.
//! Its standard input is a pipe from here, so that no replica outlives the tests, however they end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use titan::app::{App, Database, Options};
use titan::config::{Config, DatabaseConfig};
use titan::worker::pace::{LeasePace, Pace, RecoveryPace};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::titan_process::{Titan, signal};
use super::{PATIENCE, World};

/// The test that is a replica, as the test binary names it.
const REPLICA: &str = "support::world::replicas::replica_of_titan";
/// In a replica's environment: it looks for missed deliveries again and again, after so many milliseconds.
const WATCHFUL: &str = "TITAN_STORY_WATCHFUL";
/// In a replica's environment: its claims last as long as in real use.
const LONG_LEASES: &str = "TITAN_STORY_LONG_LEASES";
/// What a replica prints before its address.
const ADDRESS: &str = "titan-replica=";

/// One process of Titan.
pub(super) struct Replica {
    child: Child,
    address: SocketAddr,
    paused: bool,
    /// The replica ends when this is closed.
    _life: ChildStdin,
}

impl Replica {
    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it as an operator would.
    pub(super) async fn stop(mut self) {
        if self.paused {
            signal(&self.child, Signal::CONT);
        }
        signal(&self.child, Signal::TERM);
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("the replica ends");
        assert!(ended.expect("a status").success(), "the replica ends well");
    }

    /// The same, and it is killed when it takes longer.
    pub(super) async fn stop_or_kill(mut self, grace: Duration) {
        if self.paused {
            signal(&self.child, Signal::CONT);
        }
        signal(&self.child, Signal::TERM);
        if tokio::time::timeout(grace, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Ends it as a crash would; paused or not.
    pub(super) async fn kill(mut self) {
        self.child.kill().await.expect("it can be killed");
    }
}

/// How often a watchful Titan looks for what it missed.
pub(super) fn watchful(often: Duration) -> RecoveryPace {
    RecoveryPace {
        first: often,
        log_every: often,
        comments_every: often,
        labels_every: often,
        comments_grace: Duration::from_millis(500),
        reports_every: often,
        ask_again: often,
        turn: Duration::from_secs(2),
        look_turn: Duration::from_secs(2),
    }
}

impl World {
    /// Starts the replica of this number (from 0), which must be down, on a port of its own.
    pub async fn start_replica(&mut self, number: usize) {
        assert!(number < self.replicas, "the story has {} replicas", self.replicas);
        let replica = self.spawn_replica().await;
        let places = self.places();
        assert!(places[number].is_none(), "replica {number} is up already");
        places[number] = Some(replica);
        self.aim_webhooks();
    }

    /// Starts all of them at the same time.
    pub(super) async fn start_all_replicas(&mut self) {
        let all = futures::future::join_all((0..self.replicas).map(|_| self.spawn_replica())).await;
        *self.places() = all.into_iter().map(Some).collect();
        self.aim_webhooks();
    }

    /// Ends a replica as a crash would: nothing is committed, nothing is given back.
    pub async fn kill_replica(&mut self, number: usize) {
        let replica = self.places()[number].take().unwrap_or_else(|| panic!("replica {number} is down"));
        replica.kill().await;
        self.was_down = true;
        self.aim_webhooks();
    }

    /// Ends a replica as an operator would.
    pub async fn stop_replica(&mut self, number: usize) {
        let replica = self.places()[number].take().unwrap_or_else(|| panic!("replica {number} is down"));
        replica.stop().await;
        self.was_down = true;
        self.aim_webhooks();
    }

    /// Ends a replica as a platform would that waits only so long.
    pub async fn stop_replica_or_kill(&mut self, number: usize, grace: Duration) {
        let replica = self.places()[number].take().unwrap_or_else(|| panic!("replica {number} is down"));
        self.was_down = true;
        self.aim_webhooks();
        replica.stop_or_kill(grace).await;
    }

    /// Freezes a replica (SIGSTOP): it keeps its connections and its claims and does nothing.
    pub fn pause_replica(&mut self, number: usize) {
        let replica = self.places()[number].as_mut().unwrap_or_else(|| panic!("replica {number} is down"));
        signal(&replica.child, Signal::STOP);
        replica.paused = true;
        self.was_down = true;
        self.aim_webhooks();
    }

    /// Lets a paused replica go on (SIGCONT), as if no time had passed for it.
    pub fn resume_replica(&mut self, number: usize) {
        let replica = self.places()[number].as_mut().unwrap_or_else(|| panic!("replica {number} is down"));
        signal(&replica.child, Signal::CONT);
        replica.paused = false;
        self.aim_webhooks();
    }

    /// Makes a replica work again, whatever was done to it: started when it is down, woken when it is paused.
    pub async fn recover_replica(&mut self, number: usize) {
        match self.places()[number].as_ref().map(|replica| replica.paused) {
            None => self.start_replica(number).await,
            Some(true) => self.resume_replica(number),
            Some(false) => {}
        }
    }

    /// Whether a replica holds the lock of this folder for builds.
    pub fn replica_holds(&self, number: usize, folder: &std::path::Path) -> bool {
        let id = self.working(number).and_then(|replica| replica.child.id()).expect("a replica that works");
        let lock = folder.with_extension("lock").canonicalize().expect("a lock");
        let open = std::fs::read_dir(format!("/proc/{id}/fd")).expect("a process");
        open.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|path| path == lock))
    }

    /// `http://127.0.0.1:<port>` of a replica; `None` while it is down or paused.
    pub fn replica_url(&self, number: usize) -> Option<String> {
        self.working(number).map(|replica| format!("http://{}", replica.address))
    }

    /// Webhooks go to this replica while it works, and to any other that works while it does not.
    pub fn prefer_replica(&mut self, number: usize) {
        self.preferred = number;
        self.aim_webhooks();
    }

    /// The address of a working replica, the preferred one if it works.
    pub(super) fn any_replica(&self) -> Option<SocketAddr> {
        let numbers = std::iter::once(self.preferred).chain(0..self.replicas);
        numbers.filter_map(|number| self.working(number)).map(Replica::address).next()
    }

    /// Points the webhooks to a working replica; when there is none they go where nobody listens, and fail.
    fn aim_webhooks(&self) {
        if let Some(address) = self.any_replica() {
            let url = format!("http://{address}/webhooks/github");
            self.github.set_webhook_url(Some(url.parse().expect("a url")));
        }
    }

    fn working(&self, number: usize) -> Option<&Replica> {
        let Titan::Replicas(places) = &self.titan else { return None };
        places.get(number)?.as_ref().filter(|replica| !replica.paused)
    }

    fn places(&mut self) -> &mut Vec<Option<Replica>> {
        if !matches!(self.titan, Titan::Replicas(_)) {
            self.titan = Titan::Replicas((0..self.replicas).map(|_| None).collect());
        }
        match &mut self.titan {
            Titan::Replicas(places) => places,
            _ => unreachable!("it was just made one"),
        }
    }

    async fn spawn_replica(&self) -> Replica {
        let log = std::env::var_os("RUST_LOG").map(|filter| ("RUST_LOG", filter));
        let watchful = self.watchful.map(|often| (WATCHFUL, often.as_millis().to_string()));
        let long_leases = self.long_leases.then_some((LONG_LEASES, "yes"));
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--ignored", "--exact", "--nocapture", REPLICA])
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(&self.settings)
            .envs(log)
            .envs(watchful)
            .envs(long_leases)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("a replica starts");
        let life = child.stdin.take().expect("piped");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let address = tokio::time::timeout(PATIENCE, async {
            while let Some(line) = lines.next_line().await.expect("text") {
                if let Some((_, address)) = line.split_once(ADDRESS) {
                    return address.trim().parse().expect("an address");
                }
            }
            panic!("the replica ended before it listened")
        });
        let address = address.await.expect("the replica listens in time");
        // Somebody must go on reading: the test harness in the replica ends when it cannot write its own lines.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Replica { child, address, paused: false, _life: life }
    }
}

/// Not a test of its own: a replica of Titan, started by stories.
#[test]
#[ignore = "started by the stories that kill and pause Titan"]
fn replica_of_titan() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    if std::env::var_os("RUST_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(run_replica());
}

async fn run_replica() {
    let vars = titan::config::environment();
    let config = Config::read(&vars).expect("the settings are complete");
    let mut pace = Pace { lease: LeasePace::SHORT, ..Pace::QUICK };
    if let Some(often) = vars.get(WATCHFUL) {
        pace.recovery = watchful(Duration::from_millis(often.parse().expect("milliseconds")));
    }
    if vars.contains_key(LONG_LEASES) {
        let LeasePace { lease, heartbeat, .. } = LeasePace::STANDARD;
        pace.lease = LeasePace { lease, heartbeat, ..LeasePace::SHORT };
    }
    let mut terminate =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("a signal handler");
    let database = Database::open(DatabaseConfig::read(&vars)).await.expect("a database");
    let options = Options { pace, supervisor: PathBuf::from(env!("CARGO_BIN_EXE_titan")) };
    let app = App::start(&config, database, options).await.expect("titan starts");
    println!("{ADDRESS}{}", app.address);
    terminate.recv().await;
    app.shutdown().await;
}
