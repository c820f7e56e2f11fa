//! What differs between two commits, read from git's own trees: every file, both sides, byte for byte.
//!
//! GitHub's list of a pull request's files ends at 3000, knows no modes and shows bytes that are no text as U+FFFD. The
//! trees have none of these limits. Only commits, trees and small files (the targets of links) are fetched where the
//! host can leave the rest out, nothing is checked out, and no name from the repository becomes an argument.

use std::collections::HashMap;
use std::path::Path;

use secrecy::SecretString;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::{Access, CheckoutError, Git, Group, prepare, read};
use crate::domain::ids::CommitSha;
use crate::domain::paths::{ChangedFile, Collisions, FileKind, FileMode, FileStatus, Links, RepoPath, TreeEntry};

/// More changed files are not judged. A change of this size is no proposal that a person could look at.
const MOST_FILES: usize = 200_000;
/// More bytes of commits, trees and links are not fetched.
const MOST_BYTES: u64 = 2 << 30;
/// More symbolic links in a tree are not followed.
const MOST_LINKS: usize = 50_000;
/// The longest target that Linux follows; also the largest file that is fetched.
const LONGEST_TARGET: usize = 4096;
/// No record of git's lists is longer: a path of git's has at most this many bytes and little more stands beside it.
const LONGEST_RECORD: u64 = 64 * 1024;

/// The difference between two commits.
#[derive(Debug, Default)]
pub struct TreeDiff {
    /// Every file that differs, in git's order; a rename is one file gone and one new.
    pub files: Vec<ChangedFile>,
    /// The symbolic links of the tree before, and of the tree after.
    pub links: [Links; 2],
    /// New names that some file systems take for another name of the tree after.
    pub collisions: Collisions,
}

/// Reads what differs between `base` and `head`. `into` is used for the fetched objects and removed first; the caller
/// removes it afterwards. `branch` is fetched when the host gives `base` only as a part of a branch.
///
/// # Errors
/// Each variant of [`CheckoutError`]; `Failed` also when there is more than can be judged.
pub async fn diff_trees(
    git_url: &Url,
    token: Option<&SecretString>,
    [base, head]: [&CommitSha; 2],
    branch: &str,
    into: &Path,
    deadline: Instant,
) -> Result<TreeDiff, CheckoutError> {
    super::check_address(git_url)?;
    prepare(into).await.map_err(CheckoutError::Folder)?;
    let git = Git::new(into, git_url, token, MOST_BYTES, deadline)?;
    let format = if head.as_str().len() == 64 { "sha256" } else { "sha1" };
    git.run(&["init", "--quiet", "--template=", &format!("--object-format={format}")], Access::Local).await?;
    fetch(&git, git_url, [base, head], branch).await?;
    let (base, head) = (base.as_str(), head.as_str());
    let mut files = changed_files(&git, base, head).await?;
    let before = links_of(&git, base, |_| {}).await?;
    let mut collisions = Collisions::of(&files);
    let after = links_of(&git, head, |path| collisions.see(path)).await?;
    let mut wanted: Vec<&str> = before.iter().chain(&after).map(|(_, object)| object.as_str()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let targets = read_targets(&git, &wanted).await?;
    for side in files.iter_mut().flat_map(|file| file.old.iter_mut().chain(&mut file.new)) {
        if side.mode.kind() == FileKind::Symlink {
            side.target = targets.get(&side.object).cloned();
        }
    }
    let resolve = |links: Vec<(RepoPath, String)>| {
        Links::new(links.into_iter().filter_map(|(path, object)| Some((path, targets.get(&object)?.clone()))))
    };
    Ok(TreeDiff { files, links: [resolve(before), resolve(after)], collisions })
}

/// Fetches both commits by their ids; where the host gives only tips of branches, the branch with its history.
async fn fetch(git: &Git, url: &Url, commits: [&CommitSha; 2], branch: &str) -> Result<(), CheckoutError> {
    let filter = format!("--filter=blob:limit={}", LONGEST_TARGET + 1);
    let common = ["fetch", "--quiet", "--no-tags", "--no-auto-maintenance", "--no-write-fetch-head", filter.as_str()];
    let [base, head] = commits.map(CommitSha::as_str);
    let by_id = [&common[..], &["--depth=1", "--", url.as_str(), base, head]].concat();
    match git.run(&by_id, Access::Remote).await {
        Err(CheckoutError::NotFound(_) | CheckoutError::Failed(_)) => {}
        other => return other.map(drop),
    }
    let branch = format!("refs/heads/{branch}");
    let by_branch = [&common[..], &["--", url.as_str(), head, &branch]].concat();
    git.run(&by_branch, Access::Remote).await?;
    git.run(&["cat-file", "-e", &format!("{base}^{{tree}}")], Access::Local).await.map(drop)
}

/// Every file that differs. Renames are not looked for: both sides are there without it, and looking needs contents.
async fn changed_files(git: &Git, base: &str, head: &str) -> Result<Vec<ChangedFile>, CheckoutError> {
    let mut files = Vec::new();
    let mut record: Option<Vec<u8>> = None;
    let arguments = ["diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--end-of-options", base, head];
    git.records(&arguments, |field| {
        match record.take() {
            None => record = Some(field),
            Some(about) => {
                let file = changed_file(&about, field).ok_or_else(unreadable)?;
                files.push(file);
            }
        }
        if files.len() > MOST_FILES {
            return Err(CheckoutError::Failed(format!(
                "more than {MOST_FILES} files differ, which is too much to judge"
            )));
        }
        Ok(())
    })
    .await?;
    Ok(files)
}

fn unreadable() -> CheckoutError {
    CheckoutError::Failed("git lists the files in a form that is not known".to_owned())
}

/// Reads `:OLDMODE NEWMODE OLDID NEWID STATUS`.
fn changed_file(about: &[u8], path: Vec<u8>) -> Option<ChangedFile> {
    let about = std::str::from_utf8(about).ok()?.strip_prefix(':')?;
    let mut words = about.split(' ');
    let (old_mode, new_mode) = (words.next()?, words.next()?);
    let (old_id, new_id) = (words.next()?, words.next()?);
    let status = match words.next()? {
        "A" => FileStatus::Added,
        "D" => FileStatus::Removed,
        "M" if old_id == new_id => FileStatus::Changed,
        "M" => FileStatus::Modified,
        "T" => FileStatus::Changed,
        _ => FileStatus::Unknown,
    };
    let side = |mode: &str, object: &str| match mode {
        "000000" => Some(None),
        mode => Some(Some(TreeEntry { mode: FileMode::parse(mode)?, object: object.to_owned(), target: None })),
    };
    let (old, new) = (side(old_mode, old_id)?, side(new_mode, new_id)?);
    Some(ChangedFile { path: RepoPath::new(path), previous_path: None, status, old, new })
}

/// The symbolic links of a tree with the ids of their targets; every path of the tree is shown to `see`.
async fn links_of(
    git: &Git,
    commit: &str,
    mut see: impl FnMut(&[u8]),
) -> Result<Vec<(RepoPath, String)>, CheckoutError> {
    let mut links = Vec::new();
    git.records(&["ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit], |field| {
        let tab = field.iter().position(|b| *b == b'\t').ok_or_else(unreadable)?;
        see(&field[tab + 1..]);
        if let Some(rest) = field.strip_prefix(b"120000 blob ") {
            let tab = rest.iter().position(|b| *b == b'\t').ok_or_else(unreadable)?;
            let object = String::from_utf8(rest[..tab].to_vec()).map_err(|_| unreadable())?;
            links.push((RepoPath::new(&rest[tab + 1..]), object));
        }
        if links.len() > MOST_LINKS {
            return Err(CheckoutError::Failed(format!("the tree has more than {MOST_LINKS} symbolic links")));
        }
        Ok(())
    })
    .await?;
    Ok(links)
}

/// The contents of these objects. What is too long for a target, or was left out of the fetch for that, is not in the
/// result.
async fn read_targets(git: &Git, objects: &[&str]) -> Result<HashMap<String, RepoPath>, CheckoutError> {
    let mut found = HashMap::new();
    if objects.is_empty() {
        return Ok(found);
    }
    let mut command = git.command(&["cat-file", "--batch"], Access::Local);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().map_err(CheckoutError::NoGit)?;
    let mut group = Group::of(&child);
    let input = objects.join("\n") + "\n";
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            stdin.write_all(input.as_bytes()).await?;
        }
        std::io::Result::Ok(())
    };
    let read = async {
        let Some(stdout) = stdout else { return Ok(()) };
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        for object in objects {
            line.clear();
            stdout.read_line(&mut line).await?;
            // `ID blob SIZE` and the content, or `ID missing`.
            let Some(size) = line.trim_end().split(' ').nth(2).and_then(|size| size.parse::<u64>().ok()) else {
                continue;
            };
            let mut content = Vec::new();
            (&mut stdout).take(size + 1).read_to_end(&mut content).await?;
            content.pop();
            if content.len() <= LONGEST_TARGET && !content.is_empty() {
                found.insert((*object).to_owned(), RepoPath::new(content));
            }
        }
        std::io::Result::Ok(())
    };
    let both = async {
        tokio::try_join!(write, read)?;
        child.wait().await
    };
    let status = match timeout_at(git.deadline, both).await {
        Ok(ended) => ended.map_err(|error| CheckoutError::Failed(error.to_string()))?,
        Err(_) => return Err(CheckoutError::TimedOut),
    };
    group.0 = None;
    if status.success() { Ok(found) } else { Err(CheckoutError::Failed(format!("git cat-file: {status}"))) }
}

impl Git {
    /// Runs one subcommand on what was fetched and gives each record of its output, which ends in a zero byte.
    pub(super) async fn records(
        &self,
        arguments: &[&str],
        mut take: impl FnMut(Vec<u8>) -> Result<(), CheckoutError>,
    ) -> Result<(), CheckoutError> {
        let mut child = self.command(arguments, Access::Local).spawn().map_err(CheckoutError::NoGit)?;
        let mut group = Group::of(&child);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let both = async {
            let (output, words) = tokio::join!(each_record(stdout, &mut take), read(stderr));
            output?;
            let failed = |error: std::io::Error| CheckoutError::Failed(error.to_string());
            Ok((child.wait().await.map_err(failed)?, words.map_err(failed)?))
        };
        let (status, words) = timeout_at(self.deadline, both).await.map_err(|_| CheckoutError::TimedOut)??;
        group.0 = None;
        if status.success() { Ok(()) } else { Err(super::classify(&self.redactor.clean(&words), status)) }
    }
}

async fn each_record(
    stream: Option<impl AsyncRead + Unpin>,
    take: &mut impl FnMut(Vec<u8>) -> Result<(), CheckoutError>,
) -> Result<(), CheckoutError> {
    let Some(stream) = stream else { return Ok(()) };
    let mut stream = BufReader::new(stream);
    loop {
        let mut record = Vec::new();
        let mut limited = (&mut stream).take(LONGEST_RECORD);
        let length = limited.read_until(0, &mut record).await.map_err(|e| CheckoutError::Failed(e.to_string()))?;
        match record.pop() {
            None if length == 0 => return Ok(()),
            Some(0) => take(record)?,
            // A list without its end is not the whole list.
            _ => return Err(unreadable()),
        }
    }
}
