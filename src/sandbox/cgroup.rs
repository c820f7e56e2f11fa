//! The kernel's limits for all processes of a command together: memory, number, share of the processors.
//!
//! Whether there are such groups, of which version, and whether Titan may make one is found out each time. What cannot
//! be had is told, and the caller limits in another way. It moves nobody into a group but the command and, when Titan is
//! alone in its own group of version 2, Titan itself, because such a group may hold processes or groups, not both.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::processes::{ancestors_within, processes};

/// Our groups are named so, with the supervisor's number behind it.
const NAME: &str = "titan-build-";
/// Where Titan itself goes when its own group is to hold groups.
const OWN: &str = "titan-main";
/// The controllers that limit something here.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
/// The kernel's default, in microseconds; a quota is a part of it.
const CPU_PERIOD: u64 = 100_000;

/// What to limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) memory_bytes: u64,
    pub(super) processes: u32,
    pub(super) cpu_percent: Option<u32>,
}

/// The groups of one command. They are removed when this goes; their processes must have ended.
#[derive(Debug)]
pub(super) struct Groups {
    made: Vec<PathBuf>,
    /// Whether memory is limited.
    pub(super) memory: bool,
    /// Whether the processors are limited.
    pub(super) cpu: bool,
}

impl Groups {
    /// Makes what can be made.
    pub(super) fn make(limits: Limits) -> Self {
        let mut groups = Self { made: Vec::new(), memory: false, cpu: false };
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        for place in find_places(&mounts, &own) {
            let made = match &place {
                Place::One { controller, folder } => groups.make_one(folder, controller, limits),
                Place::Two { folder } => groups.make_two(folder, limits),
            };
            // not an error: the caller limits in another way then, and says so
            let _ = made;
        }
        groups
    }

    /// A group of version 1, for one controller.
    fn make_one(&mut self, base: &Path, controller: &str, limits: Limits) -> io::Result<()> {
        if controller == "cpu" && limits.cpu_percent.is_none() {
            return Ok(());
        }
        let folder = self.make_folder(base)?;
        match controller {
            "memory" => {
                let bytes = limits.memory_bytes.to_string();
                fs::write(folder.join("memory.limit_in_bytes"), &bytes)?;
                // absent where swap is not counted
                let _ = fs::write(folder.join("memory.memsw.limit_in_bytes"), &bytes);
                self.memory = true;
            }
            "pids" => fs::write(folder.join("pids.max"), limits.processes.to_string())?,
            _ => {
                fs::write(folder.join("cpu.cfs_period_us"), CPU_PERIOD.to_string())?;
                fs::write(folder.join("cpu.cfs_quota_us"), quota(limits).to_string())?;
                self.cpu = true;
            }
        }
        Ok(())
    }

    /// A group of version 2, for all controllers.
    fn make_two(&mut self, own: &Path, limits: Limits) -> io::Result<()> {
        let base = match own.file_name().is_some_and(|name| name == OWN) {
            true => own.parent().unwrap_or(own),
            false => own,
        };
        let there = fs::read_to_string(base.join("cgroup.controllers"))?;
        let there: Vec<&str> =
            CONTROLLERS.into_iter().filter(|name| there.split_whitespace().any(|t| t == *name)).collect();
        if there.is_empty() {
            return Ok(());
        }
        hand_down(base, &there)?;
        let folder = self.make_folder(base)?;
        if there.contains(&"memory") && !self.memory {
            fs::write(folder.join("memory.max"), limits.memory_bytes.to_string())?;
            // absent where swap is not counted, and before Linux 4.19
            let _ = fs::write(folder.join("memory.swap.max"), "0");
            let _ = fs::write(folder.join("memory.oom.group"), "1");
            self.memory = true;
        }
        if there.contains(&"pids") {
            fs::write(folder.join("pids.max"), limits.processes.to_string())?;
        }
        if there.contains(&"cpu") && limits.cpu_percent.is_some() {
            fs::write(folder.join("cpu.max"), format!("{} {CPU_PERIOD}", quota(limits)))?;
            self.cpu = true;
        }
        Ok(())
    }

    fn make_folder(&mut self, base: &Path) -> io::Result<PathBuf> {
        remove_left(base);
        let folder = base.join(format!("{NAME}{}", std::process::id()));
        fs::create_dir(&folder)?;
        self.made.push(folder.clone());
        Ok(folder)
    }

    /// Puts a process in, and with it all that it will start.
    pub(super) fn join(&self, process: i32) -> io::Result<()> {
        self.made.iter().try_for_each(|folder| fs::write(folder.join("cgroup.procs"), process.to_string()))
    }

    /// Whether the kernel killed something because the memory limit was reached.
    pub(super) fn was_out_of_memory(&self) -> bool {
        let count = |file: &str| {
            self.made.iter().filter_map(|folder| fs::read_to_string(folder.join(file)).ok()).any(|text| killed(&text))
        };
        count("memory.events") || count("memory.oom_control")
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for folder in &self.made {
            // the kernel may need a moment to let go of the last process
            for _ in 0..50 {
                match fs::remove_dir(folder) {
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                        std::thread::sleep(std::time::Duration::from_millis(2));
                    }
                    _ => break,
                }
            }
        }
    }
}

fn quota(limits: Limits) -> u64 {
    CPU_PERIOD * u64::from(limits.cpu_percent.unwrap_or(100)) / 100
}

/// `oom_kill 3` in either version's file.
fn killed(text: &str) -> bool {
    text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
}

/// Lets groups below `base` have these controllers.
fn hand_down(base: &Path, controllers: &[&str]) -> io::Result<()> {
    let file = base.join("cgroup.subtree_control");
    let has = fs::read_to_string(&file)?;
    let missing: Vec<String> = controllers
        .iter()
        .filter(|name| !has.split_whitespace().any(|there| there == **name))
        .map(|name| format!("+{name}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = missing.join(" ");
    match fs::write(&file, &wanted) {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            step_aside(base)?;
            fs::write(&file, &wanted)
        }
        other => other,
    }
}

/// Moves Titan into a group of its own below, when nobody but Titan (and a container's first process) is in `base`.
fn step_aside(base: &Path) -> io::Result<()> {
    let members: Vec<i32> =
        fs::read_to_string(base.join("cgroup.procs"))?.lines().filter_map(|line| line.parse().ok()).collect();
    let titan = std::os::unix::process::parent_id().cast_signed();
    let all = processes();
    if !members.iter().all(|member| *member == 1 || ancestors_within(*member, titan, &all)) {
        return Err(io::Error::other("others live in Titan's group"));
    }
    let own = base.join(OWN);
    match fs::create_dir(&own) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    members.iter().try_for_each(|member| fs::write(own.join("cgroup.procs"), member.to_string()))
}

/// Removes what killed supervisors left; a group that is still in use cannot be removed.
fn remove_left(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(NAME));
        if owner.is_some_and(|number| !Path::new("/proc").join(number).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Where groups may be made.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Version 1: one tree for each controller.
    One { controller: &'static str, folder: PathBuf },
    /// Version 2: one tree.
    Two { folder: PathBuf },
}

/// Titan's own groups, from `/proc/self/mountinfo` and `/proc/self/cgroup` (proc(5), cgroups(7)).
fn find_places(mounts: &str, own: &str) -> Vec<Place> {
    let mut places = Vec::new();
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let (Some(root), Some(mounted), Some(kind)) = (left.get(3), left.get(4), right.first()) else { continue };
        let folder = |path: &str| {
            let below = path.strip_prefix(*root).unwrap_or(path).trim_start_matches('/');
            Path::new(mounted).join(below)
        };
        // `5:cpu,cpuacct:/path`, and `0::/path` for version 2
        let groups = own.lines().filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            Some((fields.next()?, fields.next()?))
        });
        for (names, path) in groups {
            match *kind {
                "cgroup2" if names.is_empty() => places.push(Place::Two { folder: folder(path) }),
                "cgroup" => {
                    let options = right.get(2).copied().unwrap_or_default();
                    let here =
                        |name: &&str| options.split(',').any(|o| o == *name) && names.split(',').any(|n| n == *name);
                    let found = CONTROLLERS.into_iter().filter(here);
                    places.extend(found.map(|controller| Place::One { controller, folder: folder(path) }));
                }
                _ => {}
            }
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_in_either_version_and_inside_of_containers() {
        let two = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
        assert_eq!(
            find_places(two, "0::/system.slice/titan.service\n"),
            [Place::Two { folder: "/sys/fs/cgroup/system.slice/titan.service".into() }]
        );
        let one = "\
            33 32 0:29 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            34 32 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            35 32 0:31 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n\
            36 32 0:32 / / rw - ext4 /dev/vda rw";
        let own = "5:memory:/docker/abc\n4:cpu,cpuacct:/x\n3:freezer:/\n1:name=systemd:/\n0::/\n";
        assert_eq!(
            find_places(one, own),
            [
                Place::One { controller: "memory", folder: "/sys/fs/cgroup/memory".into() },
                Place::One { controller: "cpu", folder: "/sys/fs/cgroup/cpu,cpuacct/x".into() },
            ]
        );
        assert!(find_places("", "").is_empty());
    }

    #[test]
    fn a_kill_for_want_of_memory_is_seen() {
        assert!(killed("low 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 1\n"));
        assert!(killed("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"));
        assert!(!killed("oom_kill_disable 1\nunder_oom 0\noom_kill 0\n") && !killed(""));
    }

    #[test]
    fn a_group_of_version_two_gets_every_limit() {
        let base = tempfile::tempdir().expect("a folder");
        fs::write(base.path().join("cgroup.controllers"), "cpuset cpu io memory pids\n").expect("a file");
        fs::write(base.path().join("cgroup.subtree_control"), "memory pids cpu\n").expect("a file");
        let mut groups = Groups { made: Vec::new(), memory: false, cpu: false };
        let limits = Limits { memory_bytes: 1 << 30, processes: 64, cpu_percent: Some(150) };
        groups.make_two(base.path(), limits).expect("a group");
        let made = groups.made[0].clone();
        let read = |name: &str| fs::read_to_string(made.join(name)).expect(name);
        assert_eq!((read("memory.max"), read("pids.max")), ("1073741824".to_owned(), "64".to_owned()));
        assert_eq!((read("cpu.max"), read("memory.oom.group")), ("150000 100000".to_owned(), "1".to_owned()));
        assert!(groups.memory && groups.cpu);
        let mut inner = Groups { made: Vec::new(), memory: false, cpu: false };
        let own = base.path().join(OWN);
        fs::create_dir(&own).expect("a folder");
        fs::remove_dir_all(&made).expect("it can be removed");
        inner.make_two(&own, limits).expect("a group beside Titan's own, not below it");
        assert_eq!(inner.made, [made]);
    }
}
