//! Reads commits from a bare git repository with the `git` program: the source that a service is deployed from.
//!
//! Never writes to the repository and never uses the person's own git settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// More files than this are refused: a sample, not a warehouse.
const MAX_FILES: usize = 5_000;
/// More bytes than this are refused.
const MAX_BYTES: u64 = 64 << 20;

/// Where a service's code comes from.
#[derive(Debug, Clone)]
pub struct GitSource {
    /// The folder of a bare git repository.
    pub repository: PathBuf,
    /// The branch that is deployed when nothing else is asked for.
    pub branch: String,
}

/// A commit as Render shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The full commit id.
    pub id: String,
    /// The whole message, without the last line break.
    pub message: String,
    /// The committer's time.
    pub created_at: DateTime<Utc>,
}

/// Why a commit could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The repository has no such commit.
    #[error("commit {0} was not found in the repository")]
    NotFound(String),
    /// The commit is there but is not something this Render can hold.
    #[error("the commit is too large for the simulated Render: {0}")]
    TooLarge(String),
    /// `git` could not be started or answered with an error.
    #[error("git {what} failed: {detail}")]
    Git {
        /// The subcommand.
        what: &'static str,
        /// The end of its standard error, or why it could not be started.
        detail: String,
    },
}

/// Whether the text can be a full or short commit id: 4 to 64 hexadecimal digits.
pub fn looks_like_commit(text: &str) -> bool {
    (4..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The commit that a full or short id, or a ref such as `refs/heads/main`, names.
///
/// # Errors
/// [`SourceError::NotFound`] when there is none, or when a short id fits several.
pub async fn find_commit(repository: &Path, name: &str) -> Result<Commit, SourceError> {
    let wanted = format!("{name}^{{commit}}");
    let resolved = git(repository, "rev-parse", &["--verify", "--quiet", "--end-of-options", &wanted], None).await;
    let id = match resolved {
        Ok(output) => String::from_utf8_lossy(&output).trim().to_owned(),
        Err(SourceError::Git { .. }) if repository.is_dir() => return Err(SourceError::NotFound(name.to_owned())),
        Err(error) => return Err(error),
    };
    let shown = git(repository, "show", &["--no-patch", "--no-show-signature", "--format=%cI%n%B", &id], None).await?;
    let shown = String::from_utf8_lossy(&shown);
    let (time, message) = shown.split_once('\n').unwrap_or((&shown, ""));
    let created_at = DateTime::parse_from_rfc3339(time.trim())
        .map_err(|error| SourceError::Git { what: "show", detail: format!("unreadable commit time: {error}") })?
        .with_timezone(&Utc);
    Ok(Commit { id, message: message.trim_end().to_owned(), created_at })
}

/// All regular files of a commit by path. Symbolic links and submodules are left out.
///
/// # Errors
/// When the commit is gone or too large, or git fails.
pub async fn read_files(repository: &Path, commit: &str) -> Result<BTreeMap<String, Bytes>, SourceError> {
    let listing = git(repository, "ls-tree", &["-r", "-z", "--long", "--full-tree", commit], None).await?;
    let mut wanted: Vec<(String, String)> = Vec::new();
    let mut total: u64 = 0;
    for entry in listing.split(|b| *b == 0).filter(|entry| !entry.is_empty()) {
        let entry = String::from_utf8_lossy(entry);
        let Some((facts, path)) = entry.split_once('\t') else { continue };
        let facts: Vec<&str> = facts.split_whitespace().collect();
        let [mode, "blob", object, size] = facts[..] else { continue };
        if mode == "120000" {
            continue;
        }
        total += size.parse::<u64>().unwrap_or(0);
        wanted.push((path.to_owned(), object.to_owned()));
    }
    if wanted.len() > MAX_FILES || total > MAX_BYTES {
        return Err(SourceError::TooLarge(format!("{} files, {total} bytes", wanted.len())));
    }
    let objects: String = wanted.iter().map(|(_, object)| format!("{object}\n")).collect();
    let contents = Bytes::from(git(repository, "cat-file", &["--batch"], Some(objects)).await?);
    split_batch(&contents, &wanted)
        .ok_or(SourceError::Git { what: "cat-file", detail: "its answer was cut short".to_owned() })
}

/// Takes `git cat-file --batch` output apart: for each object a line `<id> blob <size>`, the bytes and a line break.
fn split_batch(contents: &Bytes, wanted: &[(String, String)]) -> Option<BTreeMap<String, Bytes>> {
    let mut files = BTreeMap::new();
    let mut at = 0;
    for (path, _) in wanted {
        let line_end = at + contents.get(at..)?.iter().position(|b| *b == b'\n')?;
        let size: usize = std::str::from_utf8(contents.get(at..line_end)?).ok()?.rsplit(' ').next()?.parse().ok()?;
        let start = line_end + 1;
        if contents.len() < start + size + 1 {
            return None;
        }
        files.insert(path.clone(), contents.slice(start..start + size));
        at = start + size + 1;
    }
    Some(files)
}

/// Runs one git command against the repository and gives its standard output.
async fn git(
    repository: &Path,
    what: &'static str,
    arguments: &[&str],
    input: Option<String>,
) -> Result<Vec<u8>, SourceError> {
    let failed = |detail: String| SourceError::Git { what, detail };
    let mut command = Command::new("git");
    command.arg("--git-dir").arg(repository).arg(what).args(arguments).kill_on_drop(true);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
    for inherited in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_CEILING_DIRECTORIES"] {
        command.env_remove(inherited);
    }
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(format!("it could not be started: {error}")))?;
    let stdin = child.stdin.take();
    // Written beside the reading: git answers while it still reads, and a full pipe would stop both.
    let write = async move {
        if let (Some(mut stdin), Some(text)) = (stdin, input) {
            stdin.write_all(text.as_bytes()).await?;
        }
        Ok::<(), std::io::Error>(())
    };
    let (written, output) = tokio::join!(write, child.wait_with_output());
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    written.map_err(|error| failed(error.to_string()))?;
    Ok(output.stdout)
}
