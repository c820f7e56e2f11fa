//! Titan in a story: in this process at a quick pace, as `titan serve`, or as replicas (see `replicas`), started, stopped
//! and killed as an operator or a crash would.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use titan::app::{App, Database, Options};
use titan::config::{Config, DatabaseConfig};
use tokio::process::{Child, Command};

use super::replicas::Replica;
use super::{PATIENCE, World};

/// Where Titan runs.
pub(super) enum Titan {
    /// Nowhere.
    Down,
    /// In this process.
    Here(Box<App>),
    /// As a process of its own.
    Process(Box<Child>, SocketAddr),
    /// As several processes at a quick pace; `None` is one that is down.
    Replicas(Vec<Option<Replica>>),
}

impl World {
    /// Starts Titan and points the webhooks to it.
    pub async fn start_titan(&mut self) {
        if self.replicas > 0 {
            self.start_all_replicas().await;
            return;
        }
        self.titan = if self.in_a_process { self.spawn().await } else { self.start_here().await };
        let url = format!("{}/webhooks/github", self.titan_url());
        self.github.set_webhook_url(Some(url.parse().expect("a url")));
    }

    /// Stops Titan as an operator would. Gives how long it took.
    pub async fn stop_titan(&mut self) -> Duration {
        let began = Instant::now();
        self.was_down = true;
        match std::mem::replace(&mut self.titan, Titan::Down) {
            Titan::Down => {}
            Titan::Here(app) => app.shutdown().await,
            Titan::Replicas(places) => {
                futures::future::join_all(places.into_iter().flatten().map(Replica::stop)).await;
            }
            Titan::Process(mut child, _) => {
                signal(&child, Signal::TERM);
                let ended = tokio::time::timeout(PATIENCE, child.wait()).await.expect("titan ends");
                assert!(ended.expect("a status").success(), "titan ends well");
            }
        }
        began.elapsed()
    }

    /// Ends Titan as a crash would: nothing is committed, nothing is given back.
    pub async fn kill_titan(&mut self) {
        match std::mem::replace(&mut self.titan, Titan::Down) {
            Titan::Down => {}
            Titan::Here(_) => panic!("only a process can be killed"),
            Titan::Process(mut child, _) => child.kill().await.expect("it can be killed"),
            Titan::Replicas(places) => {
                futures::future::join_all(places.into_iter().flatten().map(Replica::kill)).await;
            }
        }
        self.was_down = true;
    }

    /// `http://127.0.0.1:<port>`.
    pub fn titan_url(&self) -> String {
        match &self.titan {
            Titan::Down => panic!("titan is down"),
            Titan::Here(app) => format!("http://{}", app.address),
            Titan::Process(_, address) => format!("http://{address}"),
            Titan::Replicas(_) => format!("http://{}", self.any_replica().expect("a replica works")),
        }
    }

    async fn start_here(&self) -> Titan {
        let config = Config::read(&self.settings).expect("the settings are complete");
        let database = Database::open(DatabaseConfig::read(&self.settings)).await.expect("a database");
        let options = Options { pace: self.pace, supervisor: PathBuf::from(env!("CARGO_BIN_EXE_titan")) };
        Titan::Here(Box::new(App::start(&config, database, options).await.expect("titan starts")))
    }

    async fn spawn(&self) -> Titan {
        let address: SocketAddr = format!("127.0.0.1:{}", self.settings["PORT"]).parse().expect("an address");
        let show = std::env::var_os("RUST_LOG").is_some();
        let child = Command::new(env!("CARGO_BIN_EXE_titan"))
            .arg("serve")
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(&self.settings)
            .stdin(Stdio::null())
            .stdout(if show { Stdio::inherit() } else { Stdio::null() })
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("titan starts");
        let ready = format!("http://{address}/api/health");
        self.until("titan is up", async |world| world.http.get(&ready).send().await.is_ok()).await;
        Titan::Process(Box::new(child), address)
    }
}

/// Sends a signal to a process that is running.
pub(super) fn signal(child: &Child, signal: Signal) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).expect("a running process");
    kill_process(id, signal).expect("it can be signalled");
}
