//! A bare repository on disk, spoken to through the `git` program.
//!
//! Everything the simulated GitHub knows about commits, trees and differences comes from real git objects. Git runs
//! without the configuration of the person who started it and with a fixed identity. This file reads and writes
//! objects and refs; it knows no pull requests, no permissions and no HTTP. Calls block for some milliseconds each.

mod compare;
mod merge;
mod write;

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

pub use compare::{ChangedFile, Comparison};
pub use merge::MergeFailure;
pub use write::{FileMode, Signature, TreeChange};

/// The commit id that stands for "there is none" in push events and ref updates.
pub const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// Any commit may be fetched by its id, partial clones are fine, and nothing is ever cleaned away.
const CONFIG: &str = "[uploadpack]\n\tallowReachableSHA1InWant = true\n\tallowAnySHA1InWant = true\n\tallowFilter = true\n\
    [gc]\n\tauto = 0\n[receive]\n\tautogc = false\n";

/// What git could not do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GitError {
    /// The program could not be started or its pipes broke.
    #[error("git could not be run: {0}")]
    Spawn(String),
    /// Git ended with an error; its own words.
    #[error("git {command} failed: {message}")]
    Failed {
        /// The subcommand.
        command: String,
        /// Its standard error, trimmed.
        message: String,
    },
    /// Git's answer was not in the form that was asked for.
    #[error("git {0} answered in an unknown form")]
    Unreadable(&'static str),
}

/// A commit object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Full id, 40 hex characters.
    pub sha: String,
    /// The id of its tree.
    pub tree: String,
    /// In the object's order; empty for a first commit.
    pub parents: Vec<String>,
    /// Who wrote it.
    pub author: Signature,
    /// Who put it here.
    pub committer: Signature,
    /// Without the final line break.
    pub message: String,
}

/// An entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Six octal digits, as git writes them: `100644`.
    pub mode: String,
    /// `blob`, `tree` or `commit` (a submodule).
    pub kind: String,
    /// The object's id.
    pub sha: String,
    /// Bytes; only for blobs.
    pub size: Option<u64>,
    /// From the tree that was listed, with slashes.
    pub path: String,
}

/// A ref and what it points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ref {
    /// Full name: `refs/heads/main`.
    pub name: String,
    /// `commit` or `tag`.
    pub kind: String,
    /// The object's id.
    pub sha: String,
}

/// What came out for a base and a head; commits never change, so it stays true.
type Remembered<T> = Arc<Mutex<HashMap<(String, String), T>>>;

/// A bare repository. A clone is the same repository and shares the memory of past comparisons.
#[derive(Debug, Clone)]
pub struct Git {
    dir: PathBuf,
    /// All refs, until one is changed; nothing else writes to this repository.
    refs: Arc<Mutex<Option<Vec<Ref>>>>,
    commits: Arc<Mutex<HashMap<String, Commit>>>,
    compared: Remembered<Arc<Comparison>>,
    merged: Remembered<Result<String, MergeFailure>>,
}

impl Git {
    /// Makes an empty bare repository in `dir`. Any commit in it may be asked for by its id.
    pub fn init(dir: &Path, default_branch: &str) -> Result<Self, GitError> {
        std::fs::create_dir_all(dir).map_err(|error| GitError::Spawn(error.to_string()))?;
        let git = Self {
            dir: dir.to_owned(),
            refs: Arc::default(),
            commits: Arc::default(),
            compared: Arc::default(),
            merged: Arc::default(),
        };
        git.run(&["init", "--bare", "--quiet", "--initial-branch", default_branch, "."], None)?;
        // One file written is several programs not started.
        let config = std::fs::OpenOptions::new().append(true).open(dir.join("config"));
        let written = config.and_then(|mut file| file.write_all(CONFIG.as_bytes()));
        written.map_err(|error| GitError::Spawn(error.to_string()))?;
        Ok(git)
    }

    /// The folder on disk.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A `git` command in this repository that knows nothing of the surrounding user's settings.
    pub fn command(&self) -> Command {
        let mut command = Command::new("git");
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_CONFIG"] {
            command.env_remove(name);
        }
        command
            .current_dir(&self.dir)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .env("GIT_DIR", ".")
            .env("GIT_LITERAL_PATHSPECS", "1")
            .env("GIT_AUTHOR_NAME", "GitHub")
            .env("GIT_AUTHOR_EMAIL", "noreply@github.com")
            .env("GIT_COMMITTER_NAME", "GitHub")
            .env("GIT_COMMITTER_EMAIL", "noreply@github.com");
        command
    }

    /// Runs git with these arguments and returns its standard output.
    ///
    /// # Errors
    /// [`GitError::Failed`] when git ends with another status than 0.
    pub fn run(&self, args: &[&str], input: Option<&[u8]>) -> Result<Vec<u8>, GitError> {
        self.run_with(self.command(), args, input)
    }

    fn run_with(&self, mut command: Command, args: &[&str], input: Option<&[u8]>) -> Result<Vec<u8>, GitError> {
        let output = spawn(command.args(args), input)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(GitError::Failed { command: args.first().copied().unwrap_or_default().to_owned(), message })
    }

    /// The commit that a name stands for: an id, full or shortened, a branch, a tag or a full ref name.
    pub fn resolve(&self, name: &str) -> Option<String> {
        if name.is_empty() || name.contains(['\0', '\n', ':', '^', '~', '@', '?', '*', '[', '\\']) {
            return None;
        }
        if is_object_id(name) {
            return self.commit(name).map(|commit| commit.sha);
        }
        let known = [format!("refs/heads/{name}"), format!("refs/tags/{name}"), name.to_owned()];
        let refs = self.refs("refs/").ok()?;
        if let Some(found) = known.iter().find_map(|wanted| refs.iter().find(|found| found.name == *wanted)) {
            return self.peel(&found.sha);
        }
        let shortened = name.len() >= 4 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if shortened || name == "HEAD" { self.peel(name) } else { None }
    }

    fn peel(&self, name: &str) -> Option<String> {
        let wanted = format!("{name}^{{commit}}");
        let found = self.run(&["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted], None).ok()?;
        Some(String::from_utf8_lossy(&found).trim().to_owned())
    }

    /// The commit at the tip of a branch.
    pub fn branch(&self, branch: &str) -> Option<String> {
        self.find_ref(&format!("refs/heads/{branch}")).map(|found| found.sha)
    }

    /// The ref of exactly that full name.
    pub fn find_ref(&self, name: &str) -> Option<Ref> {
        self.refs(name).ok()?.into_iter().find(|found| found.name == name)
    }

    /// All refs whose full name begins with `prefix`, by name.
    pub fn refs(&self, prefix: &str) -> Result<Vec<Ref>, GitError> {
        let starts = |all: &[Ref]| all.iter().filter(|found| found.name.starts_with(prefix)).cloned().collect();
        if let Some(known) = lock(&self.refs).as_ref() {
            return Ok(starts(known));
        }
        let out = self.run(&["for-each-ref", "--format=%(objecttype) %(objectname) %(refname)"], None)?;
        let text = String::from_utf8_lossy(&out).into_owned();
        let mut found = Vec::new();
        for line in text.lines() {
            let mut words = line.splitn(3, ' ');
            let (Some(kind), Some(sha), Some(name)) = (words.next(), words.next(), words.next()) else {
                return Err(GitError::Unreadable("for-each-ref"));
            };
            found.push(Ref { name: name.to_owned(), kind: kind.to_owned(), sha: sha.to_owned() });
        }
        let answer = starts(&found);
        *lock(&self.refs) = Some(found);
        Ok(answer)
    }

    fn forget_refs(&self) {
        *lock(&self.refs) = None;
    }

    /// The type of an object: `commit`, `tree`, `blob` or `tag`; `None` when there is no such object.
    pub fn object_kind(&self, sha: &str) -> Option<String> {
        if !is_object_id(sha) {
            return None;
        }
        let kind = self.run(&["cat-file", "-t", sha], None).ok()?;
        Some(String::from_utf8_lossy(&kind).trim().to_owned())
    }

    /// A blob's bytes; `None` when there is no blob of that id.
    pub fn blob(&self, sha: &str) -> Option<Vec<u8>> {
        is_object_id(sha).then(|| self.run(&["cat-file", "blob", sha], None).ok()).flatten()
    }

    /// The commits of these ids, in the same order.
    ///
    /// # Errors
    /// [`GitError::Unreadable`] when one of them is not a commit of this repository.
    pub fn commits(&self, ids: &[String]) -> Result<Vec<Commit>, GitError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let input = ids.iter().map(|id| format!("{id}\n")).collect::<String>();
        let out = self.run(&["cat-file", "--batch"], Some(input.as_bytes()))?;
        let mut rest = out.as_slice();
        let mut commits = Vec::new();
        for _ in ids {
            let line_end = rest.iter().position(|byte| *byte == b'\n').ok_or(GitError::Unreadable("cat-file"))?;
            let head = String::from_utf8_lossy(&rest[..line_end]).into_owned();
            let mut words = head.split(' ');
            let (Some(sha), Some("commit"), Some(size)) = (words.next(), words.next(), words.next()) else {
                return Err(GitError::Unreadable("cat-file"));
            };
            let size: usize = size.parse().map_err(|_| GitError::Unreadable("cat-file"))?;
            let body = rest.get(line_end + 1..line_end + 1 + size).ok_or(GitError::Unreadable("cat-file"))?;
            commits.push(parse_commit(sha, &String::from_utf8_lossy(body)).ok_or(GitError::Unreadable("cat-file"))?);
            rest = rest.get(line_end + 2 + size..).unwrap_or_default();
        }
        Ok(commits)
    }

    /// One commit by its full id.
    pub fn commit(&self, sha: &str) -> Option<Commit> {
        if !is_object_id(sha) {
            return None;
        }
        if let Some(known) = lock(&self.commits).get(sha) {
            return Some(known.clone());
        }
        let commit = self.commits(&[sha.to_owned()]).ok()?.pop()?;
        lock(&self.commits).insert(sha.to_owned(), commit.clone());
        Some(commit)
    }

    /// The entries of a tree or of a commit's tree; with `recursive` also those below, and the trees themselves.
    pub fn tree(&self, sha: &str, recursive: bool) -> Result<Vec<TreeEntry>, GitError> {
        let mut args = vec!["ls-tree", "-z", "--long", "--full-tree"];
        if recursive {
            args.extend(["-r", "-t"]);
        }
        args.extend(["--end-of-options", sha]);
        let out = self.run(&args, None)?;
        parse_tree(&out).ok_or(GitError::Unreadable("ls-tree"))
    }

    /// The entry at a path of a commit; `None` when nothing is there.
    pub fn entry(&self, commit: &str, path: &str) -> Option<TreeEntry> {
        let out = self.run(&["ls-tree", "-z", "--long", "--full-tree", commit, "--", path], None).ok()?;
        parse_tree(&out)?.into_iter().find(|entry| entry.path == path)
    }

    /// Copies a commit with everything it needs from another repository, under `target_ref`.
    pub fn fetch(&self, from: &Git, sha: &str, target_ref: &str) -> Result<(), GitError> {
        let source = from.dir.to_string_lossy().into_owned();
        let spec = format!("+{sha}:{target_ref}");
        let fetched = self.run(&["fetch", "--quiet", "--no-tags", "--end-of-options", &source, &spec], None);
        self.forget_refs();
        fetched.map(|_| ())
    }
}

/// Whether the text is a full object id.
pub fn is_object_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn spawn(command: &mut Command, input: Option<&[u8]>) -> Result<std::process::Output, GitError> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| GitError::Spawn(error.to_string()))?;
    let writer = child.stdin.take().zip(input.map(<[u8]>::to_vec)).map(|(mut pipe, bytes)| {
        // Git may end without reading everything; then its status tells why, not the broken pipe.
        std::thread::spawn(move || pipe.write_all(&bytes).ok())
    });
    let output = child.wait_with_output().map_err(|error| GitError::Spawn(error.to_string()))?;
    if let Some(writer) = writer {
        writer.join().ok();
    }
    Ok(output)
}

fn parse_commit(sha: &str, text: &str) -> Option<Commit> {
    let (head, message) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut commit = Commit {
        sha: sha.to_owned(),
        tree: String::new(),
        parents: Vec::new(),
        author: Signature::github(chrono::DateTime::UNIX_EPOCH),
        committer: Signature::github(chrono::DateTime::UNIX_EPOCH),
        message: message.trim_end_matches('\n').to_owned(),
    };
    for line in head.lines() {
        match line.split_once(' ')? {
            ("tree", id) => commit.tree = id.to_owned(),
            ("parent", id) => commit.parents.push(id.to_owned()),
            ("author", who) => commit.author = Signature::parse(who)?,
            ("committer", who) => commit.committer = Signature::parse(who)?,
            _ => {}
        }
    }
    Some(commit)
}

fn parse_tree(out: &[u8]) -> Option<Vec<TreeEntry>> {
    let text = String::from_utf8_lossy(out).into_owned();
    text.split_terminator('\0')
        .map(|record| {
            let (facts, path) = record.split_once('\t')?;
            let mut words = facts.split_ascii_whitespace();
            Some(TreeEntry {
                mode: words.next()?.to_owned(),
                kind: words.next()?.to_owned(),
                sha: words.next()?.to_owned(),
                size: words.next()?.parse().ok(),
                path: path.to_owned(),
            })
        })
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
