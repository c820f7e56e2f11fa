//! Reads the files that a change touches: GitHub's list, and git's trees, which have every file with both of its sides.
//! Judges nothing.

use std::path::PathBuf;
use std::time::Duration;

use super::{JobError, Services, fetch};
use crate::checkout::{self, CheckoutError, TreeDiff};
use crate::domain::ids::{CommitSha, PrNumber};
use crate::domain::paths::{ChangedFile, Collisions, Links, unite};
use crate::domain::snapshot::FilesFact;
use crate::github::reads::{FileList, PullRequest};
use crate::github::{GitHubError, RepoClient};

/// Fetching the trees of two commits takes at most so long.
const FETCH_LIMIT: Duration = Duration::from_secs(180);
/// When as many trees are being fetched as may be, the job gives its worker back and looks again after this time.
const SLOT_POLL: chrono::TimeDelta = chrono::TimeDelta::milliseconds(500);
/// So often the list is read again when somebody pushes meanwhile.
const TRIES: usize = 3;

/// The pull request with GitHub's list of its files, both of the same head.
///
/// # Errors
/// [`JobError::Later`] when GitHub cannot be asked, or pushes came faster than the list could be read.
pub async fn list(client: &RepoClient, number: PrNumber) -> Result<(PullRequest, FileList), JobError> {
    let mut pull = client.get_pull_request(number).await?;
    for _ in 0..TRIES {
        let list = client.list_files(number).await?;
        // GitHub lists the files of the head it has now, so the list is this head's only if nothing moved meanwhile.
        let after = client.get_pull_request(number).await?;
        if after.head == pull.head && after.base_ref == pull.base_ref {
            return Ok((after, list));
        }
        pull = after;
    }
    Err(JobError::Later { at: None, why: "the head moves faster than its files can be listed".to_owned() })
}

/// Everything that a change touches.
#[derive(Debug)]
pub struct WholeChange {
    /// Where the base branch is.
    pub base: CommitSha,
    /// Where the change left it.
    pub merge_base: CommitSha,
    /// Every file of git's trees and of GitHub's list.
    pub files: Vec<ChangedFile>,
    /// The symbolic links before and after.
    pub links: [Links; 2],
    /// New names that some file systems take for another name of the tree after.
    pub collisions: Collisions,
    /// Whether GitHub's list has exactly the files of the trees.
    pub agrees: bool,
}

/// Reads both trees and brings them together with GitHub's list. The inner error tells people why the trees cannot be
/// read; trying again would not help.
///
/// # Errors
/// [`JobError::Later`] when GitHub cannot be asked now.
pub async fn whole(
    services: &Services,
    client: &RepoClient,
    pull: &PullRequest,
    list: &FileList,
) -> Result<Result<WholeChange, String>, JobError> {
    let base = client.get_branch_head(&pull.base_ref).await?;
    let merge_base = match client.compare(base.as_str(), pull.head.as_str()).await {
        Ok(comparison) => comparison.merge_base,
        Err(GitHubError::NotFound(_)) => return Ok(Err("the commits have no common ancestor".to_owned())),
        Err(error) => return Err(error.into()),
    };
    match trees(services, client, [&merge_base, &pull.head], &pull.base_ref).await? {
        Ok(TreeDiff { files, links, collisions }) => {
            let (files, agrees) = unite(files, &list.files);
            Ok(Ok(WholeChange { base, merge_base, files, links, collisions, agrees }))
        }
        Err(error @ (CheckoutError::Transient(_) | CheckoutError::TimedOut | CheckoutError::Folder(_))) => {
            Err(JobError::Later { at: None, why: error.to_string() })
        }
        Err(error @ (CheckoutError::NoGit(_) | CheckoutError::Unauthorized(_))) => {
            Err(JobError::Later { at: None, why: error.to_string() })
        }
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// A folder that is gone when the trees are read.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "could not remove a folder of fetched trees");
        }
    }
}

async fn trees(
    services: &Services,
    client: &RepoClient,
    commits: [&CommitSha; 2],
    branch: &str,
) -> Result<Result<TreeDiff, CheckoutError>, JobError> {
    if commits[0] == commits[1] {
        return Ok(Ok(TreeDiff::default()));
    }
    let Ok(_slot) = services.tree_slots.clone().try_acquire_owned() else {
        let at = Some(crate::clock::now() + SLOT_POLL);
        return Err(JobError::Later { at, why: "other trees are being read".to_owned() });
    };
    let folder = Folder(services.scratch.trees().join(uuid::Uuid::now_v7().to_string()));
    let deadline = tokio::time::Instant::now() + FETCH_LIMIT;
    let url = client.git_url();
    let (url, folder) = (&url, &folder.0);
    fetch::with_token(client, move |token| async move {
        checkout::diff_trees(url, Some(&token), commits, branch, folder, deadline).await
    })
    .await
}

/// The files as a decision needs them. GitHub's list is enough for it when it is whole, because every head that goes
/// further was judged by its trees when it was proposed; else the trees are read now.
///
/// # Errors
/// [`JobError::Later`] when GitHub cannot be asked now.
pub async fn fact(
    services: &Services,
    client: &RepoClient,
    pull: &PullRequest,
    list: FileList,
) -> Result<FilesFact, JobError> {
    if is_whole(&list, pull.changed_files) {
        return Ok(FilesFact::Complete(list.files));
    }
    Ok(match whole(services, client, pull, &list).await? {
        Ok(whole) => FilesFact::Complete(whole.files),
        Err(why) => {
            tracing::info!(why, "the trees cannot be read in place of a list that was cut off");
            FilesFact::CutOff { listed: list.files.len(), expected: pull.changed_files }
        }
    })
}

/// The changed files as GitHub lists them, or that the list is not whole.
pub fn listed(pull: &PullRequest, list: FileList) -> FilesFact {
    match is_whole(&list, pull.changed_files) {
        true => FilesFact::Complete(list.files),
        false => FilesFact::CutOff { listed: list.files.len(), expected: pull.changed_files },
    }
}

/// Whether GitHub's list has every file, named exactly: its own count must agree, and no name may hold what stands for
/// bytes that are no text.
fn is_whole(list: &FileList, counted: Option<u64>) -> bool {
    let exact = |file: &ChangedFile| {
        let names = std::iter::once(&file.path).chain(&file.previous_path);
        names.into_iter().all(|name| !name.lossy().contains('\u{fffd}'))
    };
    list.complete && counted.is_none_or(|n| n == list.files.len() as u64) && list.files.iter().all(exact)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::paths::FileStatus;

    #[test]
    fn a_list_that_disagrees_with_githubs_count_or_hides_bytes_is_not_whole() {
        let list = |complete, names: &[&str]| FileList {
            files: names.iter().map(|name| ChangedFile::listed(*name, FileStatus::Added, None)).collect(),
            complete,
        };
        assert!(is_whole(&list(true, &[]), Some(0)));
        assert!(is_whole(&list(true, &["a"]), None));
        assert!(!is_whole(&list(true, &[]), Some(2)));
        assert!(!is_whole(&list(false, &[]), Some(0)));
        assert!(!is_whole(&list(true, &["a\u{fffd}"]), Some(1)));
    }
}
