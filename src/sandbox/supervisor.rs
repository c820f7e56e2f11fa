//! The supervisor of one command: has it isolated, waits for it, and ends everything that it left.
//!
//! Runs as a process of its own, single-threaded until the command has started. Its standard input is a lifeline: after
//! the orders, when it closes, because Titan wants an end or is gone, everything is ended. (A death signal would follow
//! the *thread* that started the supervisor, and threads of a runtime come and go.) Its standard output is the command's;
//! on its standard error it reports, in one line of JSON, how the command ended. It uses nothing of Titan but this file
//! and those that isolate. Without isolation, which only the operator can ask for, it finds what a command left by
//! looking for its descendants.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::io::FdFlags;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use super::isolated;
use super::orders::{Orders, Report};
use super::processes::{descendants, processes};

/// How long ending everything may take; killed processes are gone within milliseconds unless the kernel holds them.
const END_LIMIT: Duration = Duration::from_secs(5);
/// The exit code for a program that does not exist or cannot be started, as shells have it.
const CANNOT_RUN: i32 = 127;
/// Orders are far shorter.
const ORDERS_LIMIT: usize = 1024 * 1024;

/// The whole life of a supervisor. `arguments` are those after the subcommand: optionally `--`, then the command. The
/// first line of its standard input says how to isolate it, see [`Orders`]; `null` means not at all.
/// To be called before any thread is started.
pub fn supervisor_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut words = arguments.into_iter().peekable();
    words.next_if(|word| word == "--");
    let Some(program) = words.next() else {
        let _ = writeln!(io::stderr(), "this is for Titan's own use: titan sandbox-exec -- PROGRAM [ARGUMENT...]");
        return ExitCode::from(2);
    };
    let words: Vec<OsString> = words.collect();
    let orders = keep_files_private().and_then(|()| read_orders());
    let report = match orders {
        Ok(Some(orders)) => isolated::run(&orders, &program, &words),
        Ok(None) => run_without_isolation(&program, words),
        Err(error) => {
            Report { not_isolated: Some(format!("the orders were not understood: {error}")), ..Report::default() }
        }
    };
    // nobody is there to hear it when Titan is gone
    let _ = serde_json::to_writer(io::stderr(), &report);
    ExitCode::SUCCESS
}

/// One line and not a byte more, because what follows is the lifeline.
fn read_orders() -> io::Result<Option<Orders>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < ORDERS_LIMIT {
        match rustix::io::read(io::stdin().as_fd(), &mut byte) {
            Ok(1) if byte[0] != b'\n' => line.push(byte[0]),
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(serde_json::from_slice(&line)?)
}

/// What happens when the operator turned isolation off: the command runs as Titan's user, and what it leaves is ended.
fn run_without_isolation(program: &OsString, words: Vec<OsString>) -> Report {
    match confine().and_then(|()| start(program, words.into_iter())) {
        Ok(child) => {
            std::thread::spawn(obey_lifeline);
            let report = wait_for(Pid::from_child(&child));
            end_descendants();
            report
        }
        Err(error) => cannot_run(program, &error),
    }
}

/// The report for a program that cannot be started.
pub(super) fn cannot_run(program: &OsString, error: &io::Error) -> Report {
    let error = Some(format!("cannot run {}: {error}", program.display()));
    Report { exit: Some(CANNOT_RUN), error, ..Report::default() }
}

/// What holds for a command that is not isolated.
fn confine() -> io::Result<()> {
    // orphans become children of this process instead of the system's, so that they can be found
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // no setuid program: a process of another user could not be ended
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// The command gets its three standard streams and nothing else, also when whoever started Titan left files open.
fn keep_files_private() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")?.flatten() {
        let number: Option<RawFd> = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|number| *number > 2) else { continue };
        // SAFETY: the number was open a moment ago and no other thread runs that could close it. Only the listing's own
        // file belongs to somebody in this process, and its flag is set already.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        rustix::io::fcntl_setfd(file, FdFlags::CLOEXEC)?;
    }
    Ok(())
}

/// Starts the command in a new session, with both outputs in one pipe and without the report's.
fn start(program: &OsString, arguments: impl Iterator<Item = OsString>) -> io::Result<Child> {
    let output = || io::stdout().as_fd().try_clone_to_owned().map(Stdio::from);
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(output()?).stderr(output()?);
    // SAFETY: runs between fork and exec and makes two system calls; it takes no lock and no memory
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            Ok(())
        });
    }
    command.spawn()
}

/// Blocks until the lifeline closes.
pub(super) fn wait_for_lifeline() {
    let mut buffer = [0; 64];
    loop {
        match io::stdin().read(&mut buffer) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
            _ => {}
        }
    }
}

/// Waits for the lifeline's end, then ends everything, again and again until this process itself has ended.
fn obey_lifeline() {
    wait_for_lifeline();
    loop {
        kill_descendants();
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for the command; orphans that end meanwhile are reaped on the way.
pub(super) fn wait_for(command: Pid) -> Report {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended == command => return told(status),
            Err(rustix::io::Errno::INTR) | Ok(_) => {}
            Err(error) => {
                let error = Some(format!("its end was not seen: {}", io::Error::from(error)));
                return Report { error, ..Report::default() };
            }
        }
    }
}

fn told(status: WaitStatus) -> Report {
    Report { exit: status.exit_status(), signal: status.terminating_signal(), ..Report::default() }
}

/// Kills and reaps until nothing is left. Killing is repeated because a process can start another one in between.
fn end_descendants() {
    let limit = Instant::now() + END_LIMIT;
    loop {
        let found = kill_descendants();
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        if !found || Instant::now() > limit {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Kills every process below this one, and each one's group, which reaches those that appear this very moment. Whether
/// there was any, counting dead ones that nobody has reaped.
fn kill_descendants() -> bool {
    let own = rustix::process::getpid();
    let found = descendants(own.as_raw_pid(), &processes());
    for process in &found {
        let group = Pid::from_raw(process.group).filter(|group| *group != own);
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        if let Some(id) = Pid::from_raw(process.id) {
            let _ = rustix::process::kill_process(id, Signal::KILL);
        }
    }
    !found.is_empty()
}

/// Kills every process that began with `name=value` in its environment: what a lost supervisor left. A process that
/// cleared its environment is not found.
pub(super) fn end_marked(name: &str, value: &str) {
    let wanted = format!("{name}={value}");
    let limit = Instant::now() + END_LIMIT;
    while Instant::now() < limit {
        let marked = processes().into_iter().filter(|process| {
            let environment = fs::read(format!("/proc/{}/environ", process.id)).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
        });
        let ids: Vec<Pid> = marked.filter_map(|process| Pid::from_raw(process.id)).collect();
        if ids.is_empty() {
            return;
        }
        for id in ids {
            let _ = rustix::process::kill_process(id, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
