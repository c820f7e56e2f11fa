//! The supervisor of one command: starts it, waits for it, and ends everything that it left.
//!
//! Runs as a process of its own, single-threaded until the command has started. Its standard input is a lifeline: when
//! it closes, because Titan wants an end or is gone, everything is ended. (A death signal would follow the *thread* that
//! started the supervisor, and threads of a runtime come and go.) Its standard output is the command's; on its standard
//! error it reports, in one line of JSON, how the command ended. It uses nothing of Titan but this file.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::io::FdFlags;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use serde::{Deserialize, Serialize};

/// How long ending everything may take; killed processes are gone within milliseconds unless the kernel holds them.
const END_LIMIT: Duration = Duration::from_secs(5);
/// The exit code for a program that does not exist or cannot be started, as shells have it.
const CANNOT_RUN: i32 = 127;

/// How a command ended.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    /// Its exit code.
    pub(super) exit: Option<i32>,
    /// The signal that ended it.
    pub(super) signal: Option<i32>,
    /// Why it could not be started, for people.
    pub(super) error: Option<String>,
}

/// The whole life of a supervisor. `arguments` are those after the subcommand: optionally `--`, then the command.
/// To be called before any thread is started.
pub fn supervisor_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut words = arguments.into_iter().peekable();
    words.next_if(|word| word == "--");
    let Some(program) = words.next() else {
        let _ = writeln!(io::stderr(), "this is for Titan's own use: titan sandbox-exec -- PROGRAM [ARGUMENT...]");
        return ExitCode::from(2);
    };
    let report = match confine().and_then(|()| start(&program, words)) {
        Ok(child) => {
            std::thread::spawn(obey_lifeline);
            let report = wait_for(Pid::from_child(&child));
            end_descendants();
            report
        }
        Err(error) => {
            let error = Some(format!("cannot run {}: {error}", program.display()));
            Report { exit: Some(CANNOT_RUN), error, ..Report::default() }
        }
    };
    // nobody is there to hear it when Titan is gone
    let _ = serde_json::to_writer(io::stderr(), &report);
    ExitCode::SUCCESS
}

/// What holds for the command and all it starts. The place for namespaces, another user and resource limits.
fn confine() -> io::Result<()> {
    // orphans become children of this process instead of the system's, so that they can be found
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // no setuid program: a process of another user could not be ended
    rustix::thread::set_no_new_privs(true)?;
    keep_files_private()
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

/// Blocks until the lifeline closes, then ends everything, again and again until this process itself has ended.
fn obey_lifeline() {
    let mut buffer = [0; 64];
    loop {
        match io::stdin().read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => break,
            _ => {}
        }
    }
    loop {
        kill_descendants();
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for the command; orphans that end meanwhile are reaped on the way.
fn wait_for(command: Pid) -> Report {
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
    Report { exit: status.exit_status(), signal: status.terminating_signal(), error: None }
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

/// One process, as `/proc/<id>/stat` tells (proc(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    id: i32,
    parent: i32,
    group: i32,
}

/// Every process that can be seen now.
fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            parse_stat(id, &fs::read(entry.path().join("stat")).ok()?)
        })
        .collect()
}

/// Parent and group; they stand after the name, which is in parentheses and may contain anything.
fn parse_stat(id: i32, stat: &[u8]) -> Option<Process> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(Process { id, parent, group })
}

/// Everything below `root`, without it.
fn descendants(root: i32, all: &[Process]) -> Vec<Process> {
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|process| process.parent == parent && process.id != root);
        for child in children.copied().collect::<Vec<_>>() {
            if !found.contains(&child) {
                found.push(child);
                parents.push(child.id);
            }
        }
    }
    found
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_numbers_misleads_nobody() {
        let stat = b"42 (x) S 7 8 (y) R 1 2 3) S 40 41 41 0 -1";
        assert_eq!(parse_stat(42, stat), Some(Process { id: 42, parent: 40, group: 41 }));
        assert_eq!(parse_stat(42, b"42 (x"), None);
    }

    #[test]
    fn descendants_are_found_to_any_depth_and_nobody_else() {
        let process = |id, parent| Process { id, parent, group: id };
        let all = [process(1, 0), process(10, 1), process(11, 10), process(12, 11), process(13, 10), process(20, 1)];
        let mut ids: Vec<i32> = descendants(10, &all).iter().map(|process| process.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, [11, 12, 13]);
        assert!(descendants(20, &all).is_empty());
    }
}
