//! Titan's own Postgres: for people without a `DATABASE_URL`, for the playground and for the tests.
//!
//! Starts the `postgres` program that is installed on the machine on a private folder and a Unix socket, waits until it
//! answers, and stops it when the value is dropped. The data stays. When Titan is killed, the kernel tells Postgres to
//! shut down. It never listens on a network, never downloads anything and never touches another program's cluster.

mod account;
mod binaries;

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use account::Account;
pub use binaries::Binaries;

/// The database role; it owns the cluster. The folder's permissions are what keeps others out.
const ROLE: &str = "titan";

/// The name of the socket that Postgres makes in its socket folder for this port.
const SOCKET_NAME: &str = ".s.PGSQL.5432";
const PORT: u16 = 5432;

/// The longest path that Linux takes for a Unix socket (`sun_path`, without the final zero byte).
const SOCKET_PATH_LIMIT: usize = 107;

/// How long recovery after a crash may take before the start counts as failed.
const START_LIMIT: Duration = Duration::from_secs(120);

/// How long an earlier Postgres on the same folder, left by a killed Titan, may take to go away.
const HANDOVER_LIMIT: Duration = Duration::from_secs(15);

/// How long a clean stop may take before Postgres is stopped at once (it then recovers at the next start).
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// What is promised about data after a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Everything committed is on disk.
    Safe,
    /// Nothing is flushed, many connections: for tests and other data that may be lost with the machine.
    Fast,
}

/// Why there is no own Postgres.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// Nothing usable is installed.
    #[error(
        "no Postgres {} or newer was found (looked in {looked}); install it (Debian, Ubuntu: apt install postgresql), \
         or point TITAN_PG_BIN at the folder that holds initdb and postgres, or set DATABASE_URL",
        binaries::OLDEST
    )]
    NoBinaries {
        /// The folders that were searched.
        looked: String,
    },
    /// Titan runs as root, Postgres must not, and there is no account to use instead.
    #[error(
        "Postgres refuses to run as root and /etc/passwd has no account named postgres or daemon; run Titan as another \
         user, add such an account, or set DATABASE_URL"
    )]
    NoAccount,
    /// A folder cannot be made or changed.
    #[error("cannot use the folder {} for Postgres: {source}", .path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder in a shared place belongs to someone else.
    #[error(
        "the folder {} belongs to another user (uid {owner}), so data in it would not be private; remove it or choose \
         another OUTPUT_DIR",
        .path.display()
    )]
    NotPrivate {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Another Titan uses the folder.
    #[error(
        "another Titan is using the Postgres folder {}; stop it, or choose another OUTPUT_DIR, or set DATABASE_URL for both",
        .path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The data was made by a Postgres that is not installed any more.
    #[error(
        "the data in {} was made by Postgres {data}, but only {installed} is installed; install Postgres {data} \
         (TITAN_PG_BIN names its folder), or move that folder away to begin anew",
        .path.display()
    )]
    VersionMismatch {
        /// The data folder.
        path: PathBuf,
        /// Major version that made the data.
        data: u32,
        /// What is installed, e.g. `Postgres 17`.
        installed: String,
    },
    /// The folder for new data could not be filled.
    #[error("initdb could not make a new cluster ({status}): {output}")]
    Init {
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it printed.
        output: String,
    },
    /// Postgres ended or did not become ready.
    #[error("Postgres did not start: {reason}; its log {} ends with: {log}", .path.display())]
    Start {
        /// What was seen.
        reason: String,
        /// The log file.
        path: PathBuf,
        /// The last lines of the log.
        log: String,
    },
    /// A program could not be started at all.
    #[error("cannot run {}: {source}", .program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A running Postgres that belongs to this process. Dropping it stops Postgres and waits for that; the data stays.
#[derive(Debug)]
pub struct OwnPostgres {
    child: Child,
    folder: PathBuf,
    sockets: PathBuf,
    /// Held as long as this value lives: two processes must not share the folder.
    _lock: File,
}

impl OwnPostgres {
    /// Starts Postgres on the data in `dir`, making both when missing, and returns when it accepts connections: about
    /// half a second the first time, a tenth later. Blocks, so async code calls it through `spawn_blocking`.
    ///
    /// As root, Postgres runs as the account `postgres` or `daemon`. When that account cannot reach `dir`, the data goes
    /// to a folder under the system's temporary folder instead; a warning names it, and so does [`Self::folder`].
    ///
    /// # Errors
    /// Each variant of [`PostgresError`]; nothing is left running.
    pub fn start(dir: &Path, durability: Durability, binaries: &Binaries) -> Result<Self, PostgresError> {
        let account = account::unprivileged()?;
        let folder = account::private_home(dir, account.as_ref())?;
        let lock = lock(&folder)?;
        let data = folder.join("data");
        let program = binaries.matching(&data)?;
        if !data.join("PG_VERSION").exists() {
            initialise(&program, &folder, durability, account.as_ref())?;
        }
        let sockets = socket_folder(&folder, account.as_ref())?;
        let launch = Launch { program: program.join("postgres"), account, folder, sockets, durability };
        let child = launch.until_ready()?;
        let Launch { folder, sockets, .. } = launch;
        Ok(Self { child, folder, sockets, _lock: lock })
    }

    /// How to connect to `database` (`postgres` always exists) as the owner of the cluster.
    pub fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.sockets)
            .port(PORT)
            .username(ROLE)
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }

    /// The same as a URL, for another process's `DATABASE_URL`. `database` must not need escaping.
    pub fn url(&self, database: &str) -> String {
        let host: String = url::form_urlencoded::byte_serialize(self.sockets.as_os_str().as_encoded_bytes()).collect();
        format!("postgres://{ROLE}@localhost/{database}?host={host}&port={PORT}&sslmode=disable")
    }

    /// Where data and log are: `dir` as given to [`Self::start`], or the folder that was used instead.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The id of the postmaster process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        stop(&mut self.child);
        if self.sockets != self.folder {
            // empty now; without the socket there is no reason to keep it, and keeping it harms nobody
            let _ = fs::remove_dir(&self.sockets);
        }
    }
}

/// Takes the folder for this process. The kernel gives the lock back when the process ends, however it ends.
fn lock(folder: &Path) -> Result<File, PostgresError> {
    let path = folder.join("titan.lock");
    let failed = |source| PostgresError::Folder { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(PostgresError::InUse { path: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Makes the cluster in `data.new` and renames it, so that a start cut short leaves nothing half made under `data`.
fn initialise(
    bin: &Path,
    folder: &Path,
    durability: Durability,
    account: Option<&Account>,
) -> Result<(), PostgresError> {
    let fresh = folder.join("data.new");
    let failed = |source| PostgresError::Folder { path: fresh.clone(), source };
    match fs::remove_dir_all(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let program = bin.join("initdb");
    let mut command = private_command(&program, folder, account, Signal::KILL);
    command.arg("-D").arg(&fresh).args(["-U", ROLE, "-A", "trust", "-E", "UTF8", "--no-locale"]);
    if durability == Durability::Fast {
        command.arg("--no-sync");
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = spawn_for_life(command)
        .and_then(Child::wait_with_output)
        .map_err(|source| PostgresError::Spawn { program, source })?;
    if !output.status.success() {
        let text = [output.stdout, output.stderr].concat();
        return Err(PostgresError::Init { status: output.status, output: tail(&String::from_utf8_lossy(&text)) });
    }
    fs::rename(&fresh, folder.join("data")).map_err(failed)
}

/// The data's own folder, or a short one when the socket's path would be longer than the system allows.
fn socket_folder(folder: &Path, account: Option<&Account>) -> Result<PathBuf, PostgresError> {
    if folder.join(SOCKET_NAME).as_os_str().len() <= SOCKET_PATH_LIMIT {
        return Ok(folder.to_owned());
    }
    account::temporary_folder("titan-pg", folder, account)
}

/// Everything that is needed to start the server, also a second time.
struct Launch {
    program: PathBuf,
    account: Option<Account>,
    folder: PathBuf,
    sockets: PathBuf,
    durability: Durability,
}

/// What one attempt came to.
enum Attempt {
    Ready(Child),
    /// Another postmaster still holds the data or the socket.
    Occupied(PostgresError),
    Failed(PostgresError),
}

impl Launch {
    /// Starts the server; waits for one that a killed Titan left behind to finish its shutdown.
    fn until_ready(&self) -> Result<Child, PostgresError> {
        let patience = Instant::now() + HANDOVER_LIMIT;
        loop {
            match self.attempt()? {
                Attempt::Ready(child) => return Ok(child),
                Attempt::Occupied(_) if Instant::now() < patience => std::thread::sleep(Duration::from_millis(50)),
                Attempt::Occupied(error) | Attempt::Failed(error) => return Err(error),
            }
        }
    }

    fn attempt(&self) -> Result<Attempt, PostgresError> {
        let log = self.folder.join("postgres.log");
        let file = File::create(&log).map_err(|source| PostgresError::Folder { path: log.clone(), source })?;
        let mut child = spawn_for_life(self.command(file))
            .map_err(|source| PostgresError::Spawn { program: self.program.clone(), source })?;
        let limit = Instant::now() + START_LIMIT;
        let reason = loop {
            match child.try_wait() {
                Ok(Some(status)) => break ending(status),
                Err(error) => break format!("its process cannot be watched ({error})"),
                Ok(None) if self.is_ready(child.id()) => return Ok(Attempt::Ready(child)),
                Ok(None) if Instant::now() > limit => {
                    stop(&mut child);
                    break format!("it was not ready after {} s", START_LIMIT.as_secs());
                }
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let text = fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        // Postgres's own words (LC_ALL=C) for: postmaster.pid or the socket's lock exists, old backends still attached
        let occupied = text.contains("already exists") || text.contains("still in use");
        let error = PostgresError::Start { reason, path: log, log: tail(&text) };
        Ok(if occupied { Attempt::Occupied(error) } else { Attempt::Failed(error) })
    }

    fn command(&self, log: File) -> Command {
        let mut command = private_command(&self.program, &self.folder, self.account.as_ref(), Signal::INT);
        command.arg("-D").arg(self.folder.join("data")).arg("-k").arg(&self.sockets).arg("-p").arg(PORT.to_string());
        let always = ["listen_addresses=", "unix_socket_permissions=0700", "logging_collector=off"];
        let fast = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300"];
        for setting in always.into_iter().chain(fast.into_iter().filter(|_| self.durability == Durability::Fast)) {
            command.arg("-c").arg(setting);
        }
        command.stdout(Stdio::null()).stderr(log);
        command
    }

    /// Postgres writes its process id in the first line of this file and its state in the eighth; `pg_ctl` waits the
    /// same way. The id tells this server from an older one.
    fn is_ready(&self, id: u32) -> bool {
        let Ok(text) = fs::read_to_string(self.folder.join("data/postmaster.pid")) else { return false };
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        lines.first().and_then(|line| line.parse().ok()) == Some(id) && lines.get(7) == Some(&"ready")
    }
}

/// A command without Titan's environment, under the account when there is one, that gets `on_death` when Titan dies.
fn private_command(program: &Path, folder: &Path, account: Option<&Account>, on_death: Signal) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
    command.current_dir(folder).stdin(Stdio::null());
    // a group of its own: Ctrl-C in the terminal must not stop the database before Titan has finished with it
    command.process_group(0);
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    #[cfg(target_os = "linux")]
    {
        let parent = rustix::process::getpid();
        // SAFETY: runs between fork and exec and makes two system calls; it takes no lock and no memory. The standard
        // library changes the user before, which matters because that change would undo the setting.
        unsafe {
            command.pre_exec(move || {
                rustix::process::set_parent_process_death_signal(Some(on_death))?;
                // Titan may have died before the line above: then no signal would ever come
                if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
            });
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = on_death;
    command
}

/// An order to the thread that starts processes, with the way back for the answer.
type Order = (Command, mpsc::SyncSender<io::Result<Child>>);

/// The thread that starts processes. The kernel sends the death signal when the *thread* that started a process ends,
/// and threads of a test or of a runtime end early, so this one lives as long as the process.
static SPAWNER: LazyLock<io::Result<mpsc::Sender<Order>>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    std::thread::Builder::new().name("postgres-parent".to_owned()).spawn(move || {
        for (mut command, answer) in inbox {
            if let Err(mpsc::SendError(Ok(mut unwanted))) = answer.send(command.spawn()) {
                let _ = unwanted.kill();
                let _ = unwanted.wait();
            }
        }
    })?;
    Ok(orders)
});

/// Starts a process that dies with Titan, not with the calling thread.
fn spawn_for_life(command: Command) -> io::Result<Child> {
    let gone = || io::Error::other("the thread that starts Postgres is not running");
    let orders = SPAWNER.as_ref().map_err(|_| gone())?;
    let (answer, inbox) = mpsc::sync_channel(1);
    orders.send((command, answer)).map_err(|_| gone())?;
    inbox.recv().map_err(|_| gone())?
}

/// Stops a server: clients are cut off and everything is written (`SIGINT`); at once when that takes too long.
fn stop(child: &mut Child) {
    for signal in [Signal::INT, Signal::QUIT] {
        if let Ok(None) = child.try_wait() {
            let _ = rustix::process::kill_process(Pid::from_child(child), signal);
        }
        let limit = Instant::now() + STOP_LIMIT;
        while Instant::now() < limit {
            match child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                _ => return,
            }
        }
    }
    tracing::warn!(process = child.id(), "own Postgres does not stop; it is killed and will recover at the next start");
    let _ = child.kill();
    let _ = child.wait();
}

/// How a process ended, for people.
fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit code {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}

/// The last lines of a program's output, in one line.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}
