//! One command as Titan sees it: starts its supervisor, passes the output on, and stops it at a limit.
//!
//! It judges nothing: how a command ended is told as it was seen.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, Shutdown};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::orders::{INSIDE_HOME, Orders, PROXY_PORT, Report};
use super::output::Decoder;
use super::proxy::Proxy;
use super::{BuildRequest, Isolation, OutputChunk, SUPERVISOR_COMMAND, SandboxError, disk, supervisor};

/// The system's programs; Titan's own `PATH` may lead anywhere.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Marks every process of one command, unless it hides; only for finding what a lost supervisor left.
const MARKER: &str = "TITAN_SANDBOX";
/// How long the supervisor may take to end everything.
const GRACE: Duration = Duration::from_secs(10);
/// How long what a gone supervisor left may keep the output open.
const DRAIN: Duration = Duration::from_secs(1);
/// How much of the supervisor's report is read; it is one short line.
const REPORT_LIMIT: u64 = 16 * 1024;

/// How one command ended.
pub(super) enum Ended {
    Itself(Report),
    TimeUp,
    TooMuchOutput,
    Full(disk::Full),
}

/// What is left of the limits, and where output goes.
pub(super) struct Budget {
    deadline: Instant,
    bytes: u64,
    output: mpsc::Sender<OutputChunk>,
    /// What the proxy has to say.
    notes: mpsc::Receiver<String>,
    /// Whether the log stands in the middle of a line.
    in_line: bool,
}

impl Budget {
    pub(super) fn new(
        deadline: Instant,
        bytes: u64,
        output: mpsc::Sender<OutputChunk>,
        notes: mpsc::Receiver<String>,
    ) -> Self {
        Self { deadline, bytes, output, notes, in_line: false }
    }

    /// Waits for a slow receiver, but not longer than the build may run.
    pub(super) async fn send(&mut self, command: usize, text: String) {
        if !text.is_empty() {
            self.in_line = !text.ends_with('\n');
            let _ = timeout_at(self.deadline + GRACE, self.output.send(OutputChunk { command, text })).await;
        }
    }

    /// A line of Titan's own.
    async fn note(&mut self, command: usize, note: &str) {
        let start = if self.in_line { "\n" } else { "" };
        self.send(command, format!("{start}titan: {note}\n")).await;
    }

    /// The part of these bytes that may still be shown, and whether that is not all of them.
    fn spend<'a>(&mut self, bytes: &'a [u8]) -> (&'a [u8], bool) {
        let room = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        let shown = &bytes[..bytes.len().min(room)];
        self.bytes -= shown.len() as u64;
        (shown, shown.len() < bytes.len())
    }
}

/// How the request's commands are to be isolated.
pub(super) fn orders(request: &BuildRequest, listen: bool) -> Orders {
    let rules = &request.rules;
    Orders {
        workspace: request.workspace.clone(),
        home: request.home.clone(),
        tools: rules.tools.clone(),
        memory_bytes: rules.memory_bytes,
        processes: rules.processes,
        cpu_percent: rules.cpu_percent,
        file_bytes: rules.disk_bytes,
        listen,
        check: false,
        hidden: rules.hidden.clone(),
    }
}

/// Runs one command of the request.
pub(super) async fn run_one(
    request: &BuildRequest,
    proxy: Option<Proxy>,
    number: usize,
    words: &[String],
    budget: &mut Budget,
) -> Result<Ended, SandboxError> {
    let isolated = request.rules.isolation == Isolation::Required;
    let orders = isolated.then(|| orders(request, proxy.is_some()));
    run_with(request, orders, proxy, number, words, budget).await
}

/// Runs one command as ordered; without orders it is not isolated.
pub(super) async fn run_with(
    request: &BuildRequest,
    orders: Option<Orders>,
    proxy: Option<Proxy>,
    number: usize,
    words: &[String],
    budget: &mut Budget,
) -> Result<Ended, SandboxError> {
    let marker = uuid::Uuid::new_v4().to_string();
    let isolated = orders.is_some();
    let mut watch = start(request, orders, proxy.is_some(), words, &marker)
        .map(|started| Watch::new(started, proxy))
        .map_err(SandboxError::Start)?;
    let id = watch.process.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
    let full = disk::watch(vec![request.workspace.clone(), request.home.clone()], id, request.rules.disk_bytes);
    let cut = watch.follow(number, budget, full).await;
    match (watch.report().await, cut) {
        (Ok(_), Some(cut)) => Ok(cut),
        (Ok(report), None) => Ok(Ended::Itself(report)),
        (Err(why), cut) => {
            // the kernel has ended what was isolated
            if !isolated {
                let sweep = tokio::task::spawn_blocking(move || supervisor::end_marked(MARKER, &marker));
                if sweep.await.is_err() {
                    tracing::error!(command = number, "what a lost supervisor left could not be ended");
                }
            }
            cut.ok_or(SandboxError::Lost(why))
        }
    }
}

/// A running supervisor as Titan sees it.
struct Watch {
    process: Child,
    lifeline: Lifeline,
    /// The proxy, which answers as soon as the build's listener was handed over.
    proxy: Option<JoinHandle<()>>,
    status: Option<String>,
    /// When waiting for the output's end makes no sense any more; set by a stop and by the supervisor's end.
    give_up: Option<Instant>,
}

/// The supervisor ends everything as soon as this closes, also when Titan is killed.
struct Lifeline(OwnedFd);

impl Lifeline {
    /// Closes it for every holder on this side.
    fn cut(&self) {
        // fails only when the other side is gone
        let _ = rustix::net::shutdown(&self.0, Shutdown::Both);
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(proxy) = &self.proxy {
            proxy.abort();
        }
    }
}

impl Watch {
    fn new((process, lifeline): (Child, UnixStream), proxy: Option<Proxy>) -> Self {
        let receiver = lifeline.try_clone();
        let proxy = proxy.map(|proxy| {
            tokio::spawn(async move {
                let listener = async { receive_listener(receiver?).await };
                match listener.await {
                    Ok(listener) => proxy.serve(listener).await,
                    // also when the command could not be isolated, which is told elsewhere
                    Err(error) => tracing::debug!(%error, "no listener came from a build"),
                }
            })
        });
        Self { process, lifeline: Lifeline(lifeline.into()), proxy, status: None, give_up: None }
    }

    /// Passes the output on until it ends; stops the command at a limit and tells which.
    async fn follow(
        &mut self,
        number: usize,
        budget: &mut Budget,
        full: impl Future<Output = disk::Full>,
    ) -> Option<Ended> {
        let mut full = std::pin::pin!(full);
        let mut stream = self.process.stdout.take()?;
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; 16 * 1024];
        let mut cut = None;
        loop {
            let event = self.next(&mut stream, &mut buffer, budget, full.as_mut()).await;
            match event {
                Event::Output(0) => break,
                // what comes after the stop was too late or too much
                Event::Output(_) if cut.is_some() => {}
                Event::Output(length) => {
                    let (shown, too_much) = budget.spend(&buffer[..length]);
                    let text = decoder.push(shown);
                    budget.send(number, text).await;
                    if too_much {
                        cut = Some(Ended::TooMuchOutput);
                        self.stop();
                    }
                }
                Event::Full(full) => {
                    cut = Some(Ended::Full(full));
                    self.stop();
                }
                Event::Note(note) => budget.note(number, &note).await,
                Event::Ended(status) => {
                    self.status = Some(status);
                    self.give_up = Some(Instant::now() + DRAIN);
                }
                Event::Time if self.give_up.is_none() => {
                    cut = Some(Ended::TimeUp);
                    self.stop();
                }
                Event::Time => break,
            }
        }
        budget.send(number, decoder.finish()).await;
        while let Ok(note) = budget.notes.try_recv() {
            budget.note(number, &note).await;
        }
        cut
    }

    /// What happens first: output, a word of the proxy's, a full disk, the supervisor's end, or the end of the time for
    /// waiting.
    async fn next(
        &mut self,
        stream: &mut ChildStdout,
        buffer: &mut [u8],
        budget: &mut Budget,
        full: Pin<&mut impl Future<Output = disk::Full>>,
    ) -> Event {
        tokio::select! {
            read = stream.read(buffer) => Event::Output(read.unwrap_or(0)),
            Some(note) = budget.notes.recv() => Event::Note(note),
            full = full, if self.give_up.is_none() => Event::Full(full),
            status = self.process.wait(), if self.status.is_none() => Event::Ended(match status {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            }),
            () = sleep_until(self.give_up.unwrap_or(budget.deadline)) => Event::Time,
        }
    }

    fn stop(&mut self) {
        self.lifeline.cut();
        self.give_up = Some(Instant::now() + GRACE);
    }

    /// The last line on the supervisor's standard error, when it ended in order; else what is known of its end. A
    /// supervisor that does not end is killed.
    async fn report(&mut self) -> Result<Report, String> {
        let limit = self.give_up.unwrap_or_else(Instant::now).max(Instant::now() + DRAIN);
        let mut text = String::new();
        if let Some(stream) = self.process.stderr.take() {
            let _ = timeout_at(limit, stream.take(REPORT_LIMIT).read_to_string(&mut text)).await;
        }
        let _ = timeout_at(limit, self.process.wait()).await;
        // no effect on one that has ended
        let _ = self.process.start_kill();
        let status = self.status.take().unwrap_or_else(|| "it did not end".to_owned());
        text.lines().last().and_then(|line| serde_json::from_str(line).ok()).ok_or(status)
    }
}

/// See [`Watch::next`].
enum Event {
    /// So many bytes; 0 is the end.
    Output(usize),
    /// Too much was written.
    Full(disk::Full),
    /// The proxy refused something.
    Note(String),
    /// The supervisor has ended.
    Ended(String),
    /// The time is up.
    Time,
}

/// The listener that the build's first process made on its own loopback.
async fn receive_listener(lifeline: UnixStream) -> io::Result<TcpListener> {
    lifeline.set_nonblocking(true)?;
    let lifeline = tokio::net::UnixStream::from_std(lifeline)?;
    loop {
        lifeline.readable().await?;
        match lifeline.try_io(Interest::READABLE, || receive_file(&lifeline)) {
            Ok(file) => {
                let listener = std::net::TcpListener::from(file);
                listener.set_nonblocking(true)?;
                return TcpListener::from_std(listener);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn receive_file(socket: &impl AsFd) -> io::Result<OwnedFd> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut attached = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let parts = &mut [io::IoSliceMut::new(&mut byte)];
    rustix::net::recvmsg(socket, parts, &mut attached, RecvFlags::CMSG_CLOEXEC)?;
    let files = attached.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    files.flatten().next().ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
}

/// Starts the supervisor with the command's environment, which is none of Titan's, and gives it its orders.
fn start(
    request: &BuildRequest,
    orders: Option<Orders>,
    with_proxy: bool,
    words: &[String],
    marker: &str,
) -> io::Result<(Child, UnixStream)> {
    let (own, theirs) = UnixStream::pair()?;
    let mut command = Command::new(&request.supervisor);
    // under a name that says nothing of where Titan is, because the build can read it
    command.arg0("titan").arg(SUPERVISOR_COMMAND).arg("--").args(words).env_clear();
    let home = match orders {
        Some(_) => INSIDE_HOME.to_owned(),
        None => {
            command.current_dir(&request.workspace);
            request.home.display().to_string()
        }
    };
    let tools = request.rules.tools.iter().map(|folder| format!("{}/bin:", folder.display()));
    command
        .env("PATH", tools.collect::<String>() + PATH)
        .env("HOME", &home)
        .env("TMPDIR", if orders.is_some() { "/tmp".to_owned() } else { format!("{home}/tmp") })
        .env("LANG", "C.UTF-8")
        .env("TERM", "dumb")
        .env("CI", "true")
        .env("npm_config_cache", format!("{home}/.npm"))
        .env("npm_config_audit", "false")
        .env("npm_config_fund", "false")
        .env("npm_config_progress", "false")
        .env("npm_config_update_notifier", "false")
        .env(MARKER, marker);
    if with_proxy {
        let proxy = format!("http://127.0.0.1:{PROXY_PORT}");
        for name in
            ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "npm_config_proxy", "npm_config_https_proxy"]
        {
            command.env(name, &proxy);
        }
        let local = "localhost,127.0.0.1,::1";
        command.env("CARGO_HTTP_PROXY", &proxy).env("NO_PROXY", local).env("no_proxy", local);
        // Node's own fetch looks at these variables only when it is told to
        command.env("NODE_USE_ENV_PROXY", "1").env("npm_config_noproxy", local);
    }
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::piped()).stderr(Stdio::piped());
    // a group of its own: Ctrl-C in the terminal is for Titan, which then decides what becomes of its builds
    command.process_group(0);
    let child = command.spawn()?;
    let mut line = serde_json::to_vec(&orders)?;
    line.push(b'\n');
    (&own).write_all(&line)?;
    Ok((child, own))
}
