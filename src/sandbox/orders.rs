//! What Titan tells the supervisor of a command, and what it hears of it: one line of JSON each way.
//!
//! Plain data. Nothing here does anything.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The port on the build's own loopback behind which Titan's proxy answers.
pub(super) const PROXY_PORT: u16 = 3128;
/// Where the checkout is for the build.
pub(super) const INSIDE_WORKSPACE: &str = "/build";
/// `HOME` of the build.
pub(super) const INSIDE_HOME: &str = "/home/build";
/// The user and group that a build is, as it sees itself.
pub(super) const INSIDE_ID: u32 = 1000;

/// How a command is to be isolated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Orders {
    /// The checkout on the host: an absolute path without symbolic links.
    pub(super) workspace: PathBuf,
    /// The home on the host: likewise.
    pub(super) home: PathBuf,
    /// Folders of the host that are shown read-only at their own path, besides the system's.
    pub(super) tools: Vec<PathBuf>,
    /// All processes together.
    pub(super) memory_bytes: u64,
    /// Processes and threads together.
    pub(super) processes: u32,
    /// Hundredths of a core; all cores when absent.
    pub(super) cpu_percent: Option<u32>,
    /// The largest single file.
    pub(super) file_bytes: u64,
    /// Whether a listener for the proxy is wanted.
    pub(super) listen: bool,
    /// Whether to look at the isolation from inside instead of running the command.
    pub(super) check: bool,
    /// What must not be seen from inside.
    pub(super) hidden: Vec<PathBuf>,
}

/// How a command ended.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    /// Its exit code.
    pub(super) exit: Option<i32>,
    /// The signal that ended it.
    pub(super) signal: Option<i32>,
    /// Why it could not be started, for people.
    pub(super) error: Option<String>,
    /// Why it could not be isolated, for people; then it was not started.
    pub(super) not_isolated: Option<String>,
    /// Whether the memory limit was reached and something was killed for it.
    #[serde(default)]
    pub(super) out_of_memory: bool,
    /// How the memory of all processes together is limited.
    pub(super) memory_by: Option<MemoryLimit>,
}

/// How the memory of all processes together is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryLimit {
    /// By the kernel, exactly.
    Cgroup,
    /// By looking several times a second, because no memory cgroup could be made.
    Watched,
}

impl std::fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cgroup => "a memory cgroup",
            Self::Watched => "looking at it several times a second, because no memory cgroup could be made",
        })
    }
}

/// A step of the isolation that failed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Trouble {
    /// Which.
    pub(super) step: Step,
    /// What it was about, for people; may be empty.
    pub(super) what: String,
    /// What the system said.
    pub(super) error: String,
    /// Its number, when it came from the kernel.
    pub(super) errno: Option<i32>,
}

/// The steps, as far as the advice differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    /// Making the namespaces.
    Namespaces,
    /// Saying which user of the host the build's user is.
    IdMap,
    /// Taking the folders that are shown.
    Folders,
    /// Mounting.
    Mount,
    /// Mounting `/proc`.
    Proc,
    /// The loopback.
    Network,
    /// Limits, capabilities, system calls.
    Confine,
    /// Seeing that nothing of Titan's is shown.
    Shown,
    /// Looking at the result from inside.
    Check,
}

impl Trouble {
    /// From an error of the system.
    pub(super) fn new(step: Step, what: impl Into<String>, error: impl Into<std::io::Error>) -> Self {
        let error = error.into();
        Self { step, what: what.into(), error: error.to_string(), errno: error.raw_os_error() }
    }
}

/// What the first process of a build tells the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// It could not isolate itself.
    Trouble(Trouble),
    /// The command's end.
    Ended(Report),
}
