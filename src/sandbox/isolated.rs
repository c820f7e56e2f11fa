//! The supervisor's side of an isolated command: it makes the namespaces with their first process, says who that is on
//! the host, limits it, and waits for it.
//!
//! When this process ends, however it ends, the kernel ends that first process, and with it everything in its process
//! namespace. It never runs the command itself and never falls back to running it without isolation.

use std::ffi::OsString;
use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions};

use super::NAMESPACES;
use super::cgroup::{Groups, Limits};
use super::orders::{INSIDE_ID, MemoryLimit, Orders, Report, Step, Told, Trouble};
use super::processes::memory_below;
use super::{init, supervisor};

/// The user and group of the host that builds are when Titan is root. Nobody's: the range of system users that Debian
/// leaves to local use (Debian policy 9.2.2: 64000 to 64999).
const BUILD_ID: u32 = 64_987;
/// Without a memory cgroup, memory is looked at so often.
const MEMORY_LOOK: Duration = Duration::from_millis(100);

/// Runs one command as ordered.
pub(super) fn run(orders: &Orders, program: &OsString, words: &[OsString]) -> Report {
    match begin(orders, program, words) {
        Ok(running) => running.follow(orders),
        Err(trouble) => not_isolated(&trouble),
    }
}

fn not_isolated(trouble: &Trouble) -> Report {
    Report { not_isolated: Some(advice(trouble)), ..Report::default() }
}

/// The first process of a build.
struct Running {
    first: Pid,
    told: PipeReader,
    groups: Groups,
    /// Open for as long as this process lives: that is how the first process knows.
    say_go: PipeWriter,
}

fn begin(orders: &Orders, program: &OsString, words: &[OsString]) -> Result<Running, Trouble> {
    let as_root = rustix::process::geteuid().is_root() && knows_build_id();
    if as_root {
        // what Titan's groups may read, a build may not
        rustix::thread::set_thread_groups(&[]).map_err(|e| Trouble::new(Step::Confine, "groups", e))?;
        for folder in [&orders.workspace, &orders.home] {
            let given = give_away(folder);
            given.map_err(|e| Trouble::new(Step::Folders, folder.display().to_string(), e))?;
        }
    }
    let limits =
        Limits { memory_bytes: orders.memory_bytes, processes: orders.processes, cpu_percent: orders.cpu_percent };
    let groups = Groups::make(limits);
    let piped = |error| Trouble::new(Step::Namespaces, "a pipe", error);
    let (go, say_go) = pipe().map_err(piped)?;
    let (told, tell) = pipe().map_err(piped)?;
    let data_bytes = if groups.memory { orders.memory_bytes.saturating_mul(2) } else { orders.memory_bytes };
    let Some(first) = clone_into_namespaces().map_err(|error| Trouble::new(Step::Namespaces, "", error))? else {
        drop((say_go, told));
        init::main(init::Start { orders, program, words, go, tell, data_bytes });
    };
    drop((go, tell));
    let mut running = Running { first, told, groups, say_go };
    let id = if as_root { BUILD_ID } else { rustix::process::geteuid().as_raw() };
    let group = if as_root { BUILD_ID } else { rustix::process::getegid().as_raw() };
    running.prepare(orders, id, group).inspect_err(|_| running.end())?;
    running.say_go.write_all(&[1]).map_err(piped)?;
    Ok(running)
}

impl Running {
    /// What only somebody outside can do for the first process.
    fn prepare(&self, orders: &Orders, id: u32, group: u32) -> Result<(), Trouble> {
        let own = Path::new("/proc").join(self.first.as_raw_pid().to_string());
        let mapping = |error| Trouble::new(Step::IdMap, "", error);
        fs::write(own.join("setgroups"), "deny").map_err(mapping)?;
        fs::write(own.join("uid_map"), format!("{INSIDE_ID} {id} 1")).map_err(mapping)?;
        fs::write(own.join("gid_map"), format!("{INSIDE_ID} {group} 1")).map_err(mapping)?;
        // when the machine's memory ends, builds go first
        fs::write(own.join("oom_score_adj"), "1000").map_err(|e| Trouble::new(Step::Confine, "oom_score_adj", e))?;
        self.groups.join(self.first.as_raw_pid()).map_err(|e| Trouble::new(Step::Confine, "its cgroup", e))?;
        if let Some(percent) = orders.cpu_percent.filter(|_| !self.groups.cpu) {
            self.bind_to_cores(percent).map_err(|e| Trouble::new(Step::Confine, "the number of cores", e))?;
        }
        Ok(())
    }

    /// Without a cgroup for the processors: as many of them as the limit begins.
    fn bind_to_cores(&self, percent: u32) -> io::Result<()> {
        let allowed = rustix::thread::sched_getaffinity(None)?;
        let mut some = rustix::thread::CpuSet::new();
        let cores = (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        cores.take(usize::try_from(percent.div_ceil(100)).unwrap_or(1)).for_each(|core| some.set(core));
        Ok(rustix::thread::sched_setaffinity(Some(self.first), &some)?)
    }

    fn end(&self) {
        // fails only when it has ended
        let _ = rustix::process::kill_process(self.first, Signal::KILL);
    }

    /// Waits until everything has ended, or ends it when the lifeline closes or the memory is used up.
    fn follow(mut self, orders: &Orders) -> Report {
        let first = self.first;
        std::thread::spawn(move || {
            supervisor::wait_for_lifeline();
            let _ = rustix::process::kill_process(first, Signal::KILL);
        });
        let too_much = Arc::new(AtomicBool::new(false));
        let memory_by = if self.groups.memory { MemoryLimit::Cgroup } else { MemoryLimit::Watched };
        if memory_by == MemoryLimit::Watched {
            let (limit, too_much) = (orders.memory_bytes, too_much.clone());
            std::thread::spawn(move || watch_memory(first, limit, &too_much));
        }
        let mut text = String::new();
        let read = self.told.read_to_string(&mut text);
        // The first process's end is only told when every other one of its namespace has ended.
        while let Err(rustix::io::Errno::INTR) = rustix::process::waitpid(Some(first), WaitOptions::empty()) {}
        let out_of_memory = too_much.load(Ordering::SeqCst) || self.groups.was_out_of_memory();
        match read.ok().and_then(|_| serde_json::from_str(&text).ok()) {
            Some(Told::Trouble(trouble)) => not_isolated(&trouble),
            Some(Told::Ended(report)) => Report { out_of_memory, memory_by: Some(memory_by), ..report },
            None => {
                let signal = Some(Signal::KILL.as_raw());
                Report { signal, out_of_memory, memory_by: Some(memory_by), ..Report::default() }
            }
        }
    }
}

/// Kills the first process when all together hold more memory than allowed.
fn watch_memory(first: Pid, limit: u64, too_much: &AtomicBool) {
    loop {
        std::thread::sleep(MEMORY_LOOK);
        if memory_below(first.as_raw_pid()) > limit {
            too_much.store(true, Ordering::SeqCst);
            let _ = rustix::process::kill_process(first, Signal::KILL);
            return;
        }
    }
}

/// A child in new namespaces of every kind, the first process of its own: `None` in the child.
fn clone_into_namespaces() -> io::Result<Option<Pid>> {
    let flags = libc::c_long::from(NAMESPACES | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and without a stack this is fork(2) with namespaces. This process has one thread, so that
    // the child's copy of memory is whole, and the child leaves only through `_exit`.
    let answer = unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, 0_usize, 0_usize, 0_usize) };
    match i32::try_from(answer) {
        Ok(0) => Ok(None),
        Ok(id) if id > 0 => Ok(Pid::from_raw(id)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether this machine, or the container that looks like one, has the build's user. A container may know only a few.
fn knows_build_id() -> bool {
    let mapped = |file: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().any(|line| {
            let numbers: Vec<u64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
            let [first, _, count] = numbers[..] else { return false };
            (first..first.saturating_add(count)).contains(&u64::from(BUILD_ID))
        })
    };
    mapped("/proc/self/uid_map") && mapped("/proc/self/gid_map")
}

/// Makes the build's user the owner of a folder with all in it. Nothing of the build runs yet or any more.
fn give_away(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, lchown};
    let own = fs::symlink_metadata(folder)?;
    if own.uid() == BUILD_ID || !own.is_dir() {
        return Ok(());
    }
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
            lchown(entry.path(), Some(BUILD_ID), Some(BUILD_ID))?;
        }
    }
    // last, because it says that all of it was given away
    lchown(folder, Some(BUILD_ID), Some(BUILD_ID))
}

/// The trouble as a sentence, with what the operator can do about it.
fn advice(trouble: &Trouble) -> String {
    let Trouble { step, what, error, errno } = trouble;
    let denied = matches!(*errno, Some(libc::EPERM | libc::EACCES));
    let setting = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let (failed, way_out) = match step {
        Step::Namespaces if setting("/proc/sys/kernel/unprivileged_userns_clone") == "0" => (
            "this machine does not let Titan make namespaces".to_owned(),
            "allow it: sysctl kernel.unprivileged_userns_clone=1",
        ),
        Step::Namespaces if matches!(*errno, Some(libc::ENOSPC | libc::EUSERS)) => {
            ("this machine has no more user namespaces".to_owned(), "allow more: sysctl user.max_user_namespaces=10000")
        }
        Step::Namespaces | Step::IdMap | Step::Mount
            if denied && setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" =>
        {
            (
                "AppArmor keeps Titan from using namespaces".to_owned(),
                "allow it: sysctl kernel.apparmor_restrict_unprivileged_userns=0, or give Titan's program an AppArmor \
                 profile with `userns,`, or run Titan as root",
            )
        }
        Step::Namespaces | Step::IdMap | Step::Mount if denied => (
            format!(
                "this machine does not let Titan isolate a build ({})",
                if what.is_empty() { "namespaces" } else { what }
            ),
            "in Docker, start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
             --security-opt systempaths=unconfined; in Kubernetes, give the pod a security context that allows user \
             namespaces",
        ),
        Step::Proc => (
            "this machine does not let Titan mount a /proc for the build".to_owned(),
            "in Docker, start the container with --security-opt systempaths=unconfined",
        ),
        Step::Folders => (
            format!("the folder {what} cannot be shown to the build as it is"),
            "it must exist, be readable, and have no symbolic link on its way",
        ),
        Step::Shown => (what.clone(), "move it out of the folders that builds see, or show others"),
        Step::Check => (
            format!("the isolation was made but does not hold: {what}"),
            "look for what is special about this machine's kernel or container",
        ),
        Step::Namespaces | Step::IdMap | Step::Mount | Step::Network | Step::Confine => (
            format!("a part of the isolation could not be made: {}", if what.is_empty() { "namespaces" } else { what }),
            "Titan needs Linux 5.12 or later with user namespaces and seccomp",
        ),
    };
    format!("{failed}: {error}; {way_out}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trouble_comes_with_a_way_out() {
        let from = |step, errno| advice(&Trouble::new(step, "", io::Error::from_raw_os_error(errno)));
        assert!(from(Step::Namespaces, libc::ENOSPC).contains("user.max_user_namespaces"));
        assert!(from(Step::Proc, libc::EPERM).contains("systempaths=unconfined"));
        assert!(from(Step::Mount, libc::EINVAL).contains("Linux 5.12"));
        let denied = from(Step::Namespaces, libc::EPERM);
        assert!(denied.contains("seccomp=unconfined") || denied.contains("sysctl"), "{denied}");
        assert!(denied.contains("Operation not permitted"));
    }
}
