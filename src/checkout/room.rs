//! How much a commit takes on the disk: counted before its files are written, and watched while it is fetched.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{CheckoutError, Git};

/// The folder is looked at so often while git fetches.
const LOOK: Duration = Duration::from_millis(250);
/// So much of the disk stays free for everybody else.
const RESERVE_BYTES: u64 = 256 * 1024 * 1024;
/// A file counts at least so much: its place in a folder and its inode are on the disk too.
const ENTRY_BYTES: u64 = 1024;

impl Git {
    /// The bytes that the files of a fetched commit take once they are written: each name counts, also when many names have
    /// one content.
    pub(super) async fn bytes_of(&self, commit: &str) -> Result<u64, CheckoutError> {
        let mut total = 0_u64;
        self.records(&["ls-tree", "-r", "-l", "-z", "--full-tree", "--end-of-options", commit], |record| {
            total = total.saturating_add(bytes_of_record(&record).max(ENTRY_BYTES));
            Ok(())
        })
        .await?;
        Ok(total)
    }
}

/// Reads the size in `MODE TYPE ID SIZE<TAB>PATH`; a submodule has none.
fn bytes_of_record(record: &[u8]) -> u64 {
    let about = record.split(|byte| *byte == b'\t').next().unwrap_or_default();
    let size = std::str::from_utf8(about).ok().and_then(|about| about.split_ascii_whitespace().nth(3)?.parse().ok());
    size.unwrap_or_default()
}

/// Returns only when a folder holds more than it may, or the disk is nearly full.
pub(super) async fn used_up(folder: &Path, limit: u64) -> CheckoutError {
    loop {
        tokio::time::sleep(LOOK).await;
        if free(folder).is_some_and(|bytes| bytes < RESERVE_BYTES) {
            return CheckoutError::Folder(io::Error::other("the disk is nearly full"));
        }
        let measured = folder.to_owned();
        if tokio::task::spawn_blocking(move || bytes_below(measured)).await.is_ok_and(|bytes| bytes > limit) {
            return CheckoutError::TooLarge { limit };
        }
    }
}

fn free(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// What git has written so far: few files, because nothing is unpacked. What vanishes meanwhile is nothing.
fn bytes_below(folder: PathBuf) -> u64 {
    let (mut total, mut left) = (0_u64, vec![folder]);
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(seen) if seen.is_dir() => left.push(entry.path()),
                Ok(seen) => total = total.saturating_add(seen.len()),
                Err(_) => {}
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_stands_before_the_name() {
        assert_eq!(bytes_of_record(b"100644 blob 0123     99\tsrc/7 8\tx"), 99);
        assert_eq!(bytes_of_record(b"160000 commit 0123       -\tlib"), 0);
        assert_eq!(bytes_of_record(b""), 0);
    }
}
