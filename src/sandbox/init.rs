//! The first process of a build's namespaces: it puts the isolation on itself, starts the command, reaps what ends, and
//! ends with the command. Everything else in the namespaces ends with it.
//!
//! It begins as a copy of the supervisor and has nothing of Titan's but the orders. Before the command starts, its
//! capabilities are gone for good.

use std::ffi::OsString;
use std::io::{self, IoSlice, PipeReader, PipeWriter, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::{DumpableBehavior, Gid, Pid, Resource, Rlimit, Signal, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::orders::{INSIDE_HOME, INSIDE_ID, INSIDE_WORKSPACE, Orders, PROXY_PORT, Report, Step, Told, Trouble};
use super::root::Pieces;
use super::{seccomp, supervisor};

/// Open files of one process.
const FILES: u64 = 65_536;
/// Builds leave the processors to Titan when it needs them.
const NICE: i32 = 10;
/// Capabilities that a kernel could know; those it does not know are refused and that is the end of the list.
const CAPABILITIES: std::ops::Range<u32> = 0..64;

/// What it begins with.
pub(super) struct Start<'a> {
    pub(super) orders: &'a Orders,
    pub(super) program: &'a OsString,
    pub(super) words: &'a [OsString],
    /// Says when the supervisor has done its part.
    pub(super) go: PipeReader,
    /// For what becomes of it.
    pub(super) tell: PipeWriter,
    /// The memory of one process.
    pub(super) data_bytes: u64,
}

/// Its whole life.
pub(super) fn main(mut start: Start<'_>) -> ! {
    let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| live(&mut start)));
    let told = match lived {
        Ok(Ok(report)) => Told::Ended(report),
        Ok(Err(trouble)) => Told::Trouble(trouble),
        Err(_) => Told::Trouble(Trouble::new(Step::Confine, "", io::Error::other("a mistake in Titan"))),
    };
    let _ = serde_json::to_vec(&told).map(|text| start.tell.write_all(&text));
    // SAFETY: ends this process and touches nothing of what it shares in memory with nobody
    unsafe { libc::_exit(0) }
}

fn live(start: &mut Start<'_>) -> Result<Report, Trouble> {
    let mut byte = [0];
    let gone = |error| Trouble::new(Step::Namespaces, "the supervisor is gone", error);
    start.go.read_exact(&mut byte).map_err(gone)?;
    isolate(start)?;
    keep_hidden(start.orders)?;
    if start.orders.check {
        return check();
    }
    Ok(run(start.program, start.words))
}

/// From a copy of the supervisor with all rights in empty namespaces to a process with none.
fn isolate(start: &Start<'_>) -> Result<(), Trouble> {
    let orders = start.orders;
    let confining = |what: &'static str| move |error: rustix::io::Errno| Trouble::new(Step::Confine, what, error);
    rustix::process::setsid().map_err(confining("a session"))?;
    let pieces = Pieces::take(orders)?;
    let (user, group) = (Uid::from_raw(INSIDE_ID), Gid::from_raw(INSIDE_ID));
    rustix::thread::set_thread_res_gid(group, group, group).map_err(confining("the build's group"))?;
    rustix::thread::set_thread_res_uid(user, user, user).map_err(confining("the build's user"))?;
    // after the user was changed, which forgets it
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(confining("its end"))?;
    still_supervised(&start.go).map_err(|error| Trouble::new(Step::Confine, "the supervisor is gone", error))?;
    pieces.become_root()?;
    name_host().map_err(|error| Trouble::new(Step::Confine, "a host name", error))?;
    loopback().map_err(|error| Trouble::new(Step::Network, "its loopback", error))?;
    if orders.listen {
        hand_over_listener().map_err(|error| Trouble::new(Step::Network, "the proxy's listener", error))?;
    }
    limit(orders, start.data_bytes).map_err(confining("resource limits"))?;
    drop_capabilities().map_err(confining("no capabilities"))?;
    // the build cannot look into this process
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(confining("hidden memory"))?;
    rustix::thread::set_no_new_privs(true).map_err(confining("no new privileges"))?;
    seccomp::apply().map_err(|error| Trouble::new(Step::Confine, "system calls", error))
}

/// The supervisor may have ended before its end could be this process's end. Its pipe closes then, and is silent else.
fn still_supervised(go: &PipeReader) -> io::Result<()> {
    rustix::io::ioctl_fionbio(go, true)?;
    match rustix::io::read(go, &mut [0]) {
        Err(rustix::io::Errno::AGAIN) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(_) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
    }
}

fn name_host() -> io::Result<()> {
    let name = "build";
    // SAFETY: the pointer and the length belong to the same constant
    let answer = unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The network namespace is empty; its own loopback is all that comes up in it.
fn loopback() -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: a structure of numbers, for which zero is a valid value
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is a valid structure for this call and outlives it
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Listens on the build's loopback and gives the listener to Titan, through the socket that is the lifeline. Who accepts
/// on it is in Titan's network; who connects to it never leaves the build's.
fn hand_over_listener() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PROXY_PORT))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut attached = SendAncillaryBuffer::new(&mut space);
    let files = [listener.as_fd()];
    if !attached.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::Error::other("no room for a file"));
    }
    rustix::net::sendmsg(io::stdin().as_fd(), &[IoSlice::new(b"L")], &mut attached, SendFlags::empty())?;
    Ok(())
}

fn limit(orders: &Orders, data_bytes: u64) -> rustix::io::Result<()> {
    let limits = [
        (Resource::Core, 0),
        (Resource::Nofile, FILES),
        (Resource::Data, data_bytes),
        (Resource::Fsize, orders.file_bytes),
        // counted for this user namespace alone since Linux 5.14
        (Resource::Nproc, u64::from(orders.processes)),
    ];
    for (resource, wanted) in limits {
        let allowed = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX).min(wanted);
        rustix::process::setrlimit(resource, Rlimit { current: Some(allowed), maximum: Some(allowed) })?;
    }
    rustix::process::nice(NICE)?;
    Ok(())
}

fn drop_capabilities() -> rustix::io::Result<()> {
    for number in CAPABILITIES {
        let Some(one) = 1_u64.checked_shl(number).map(CapabilitySet::from_bits_retain) else { break };
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Err(rustix::io::Errno::INVAL) => break,
            other => other?,
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

/// Starts the command, with both outputs in one pipe, and waits for it; what it leaves is reaped on the way.
fn run(program: &OsString, words: &[OsString]) -> Report {
    let output = || io::stdout().as_fd().try_clone_to_owned().map(Stdio::from);
    let started = output().and_then(|first| {
        let mut command = Command::new(program);
        command.args(words).current_dir(INSIDE_WORKSPACE).stdin(Stdio::null()).stdout(first).stderr(output()?);
        command.spawn()
    });
    match started {
        Ok(child) => supervisor::wait_for(Pid::from_child(&child)),
        Err(error) => supervisor::cannot_run(program, &error),
    }
}

/// A folder of tools that holds Titan's own would show it.
fn keep_hidden(orders: &Orders) -> Result<(), Trouble> {
    // these are made anew, whatever is at the same path outside
    let anew = [INSIDE_WORKSPACE, INSIDE_HOME, "/home", "/tmp"].map(Path::new);
    let all = [&orders.workspace, &orders.home].into_iter().chain(&orders.hidden);
    let mut hidden = all.filter(|path| !anew.contains(&path.as_path()));
    // reached in any way but by a folder that is not there
    let seen =
        |path: &&PathBuf| !matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound);
    match hidden.find(seen) {
        None => Ok(()),
        Some(path) => {
            let what = format!("a build would see {}", path.display());
            Err(Trouble::new(
                Step::Shown,
                what,
                io::Error::other("a folder of BUILD_TOOLS, or of the system, holds it"),
            ))
        }
    }
}

/// Looks at the isolation from inside: what must not work is tried.
fn check() -> Result<Report, Trouble> {
    let mut wrong: Vec<String> = Vec::new();
    let mut must = |holds: bool, what: &str| {
        if !holds {
            wrong.push(what.to_owned());
        }
    };
    let sets = rustix::thread::capabilities(None).map_err(|e| Trouble::new(Step::Check, "capabilities", e))?;
    must((sets.effective | sets.permitted | sets.inheritable).is_empty(), "it still has capabilities");
    must(rustix::process::getuid().as_raw() == INSIDE_ID, "it has another user");
    must(rustix::process::getpid() == Pid::INIT, "it shares the machine's processes");
    let denied = |answer: libc::c_long| answer == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EPERM);
    // SAFETY: a call with one number; it is expected to be refused
    must(denied(unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER) }), "it can make namespaces");
    must(cannot_write("/usr/titan-check"), "it can write to /usr");
    must(cannot_write("/titan-check"), "it can write to the root folder");
    must(cannot_write("/proc/sys/kernel/hostname"), "it can change the kernel's settings");
    must(!Path::new("/sys/fs").exists() && !Path::new("/run").exists(), "it sees /sys or /run");
    let interfaces = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let outward = interfaces.lines().skip(2).any(|line| !line.trim_start().starts_with("lo:"));
    must(!interfaces.is_empty() && !outward, "it has a network");
    must(TcpStream::connect((Ipv4Addr::new(192, 0, 2, 1), 9)).is_err(), "it can connect to other machines");
    let work = Path::new(INSIDE_WORKSPACE).join(".titan-check");
    let written = std::fs::write(&work, "x").and_then(|()| std::fs::remove_file(&work));
    must(written.is_ok(), "it cannot write to its own folder");
    match wrong.is_empty() {
        true => Ok(Report { exit: Some(0), ..Report::default() }),
        false => Err(Trouble::new(Step::Check, wrong.join(", "), io::Error::other("a build would not be safe"))),
    }
}

fn cannot_write(path: &str) -> bool {
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(path).is_err()
}
