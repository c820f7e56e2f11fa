//! The folder of one running Titan, for builds and checkouts. Several Titans may share the folder above it: each holds a
//! lock on a file of its own for as long as it lives, and what a killed one left is removed by whoever finds its lock free.
//!
//! A process that is killed gives its locks back by itself, whatever became of its id meanwhile. On a file system that
//! knows no locks nothing is removed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

/// Below `OUTPUT_DIR`.
const ABOVE: &str = "work";
const LOCK: &str = "lock";
/// What is still being written cannot be removed; it is tried so often, with so much time between.
const TRIES: usize = 5;
const AGAIN: Duration = Duration::from_millis(500);

/// A living Titan's own folder. It is removed with the last clone.
#[derive(Debug, Clone)]
pub struct Scratch(Arc<Own>);

#[derive(Debug)]
struct Own {
    above: PathBuf,
    folder: PathBuf,
    lock_path: PathBuf,
    /// Held for as long as this lives.
    _lock: File,
}

impl Scratch {
    /// Makes a folder below this one, an absolute path without symbolic links, and holds it.
    ///
    /// # Errors
    /// When the folder or its lock cannot be made.
    pub fn new(output_dir: &Path) -> io::Result<Self> {
        let above = output_dir.join(ABOVE);
        std::fs::create_dir_all(&above)?;
        loop {
            let name = Uuid::now_v7().to_string();
            let lock_path = above.join(&name).with_extension(LOCK);
            // The lock is there before the folder, so that a folder without one is nobody's.
            let lock = OpenOptions::new().create_new(true).write(true).open(&lock_path)?;
            match lock.try_lock() {
                // Another Titan that starts now took it for a dead one's.
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => tracing::warn!(
                    %error,
                    "OUTPUT_DIR knows no locks; what a killed Titan leaves there is not removed"
                ),
                Ok(()) if !is_still_there(&lock, &lock_path) => continue,
                Ok(()) => {}
            }
            let folder = above.join(name);
            std::fs::create_dir(&folder)?;
            return Ok(Self(Arc::new(Own { above, folder, lock_path, _lock: lock })));
        }
    }

    /// Where builds go.
    pub fn builds(&self) -> PathBuf {
        self.0.folder.join("builds")
    }

    /// Where commits are compared.
    pub fn trees(&self) -> PathBuf {
        self.0.folder.join("trees")
    }

    /// Removes what Titans left that were killed. Whatever cannot be removed is left for the next time.
    pub async fn remove_left_behind(&self) {
        let above = self.0.above.clone();
        let removing = move || {
            for _ in 1..TRIES {
                match remove_left_behind(&above) {
                    // A build of the killed Titan ends a moment after it.
                    Err(_) => std::thread::sleep(AGAIN),
                    Ok(count) => return Ok(count),
                }
            }
            remove_left_behind(&above)
        };
        match tokio::task::spawn_blocking(removing).await {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => tracing::info!(count, "removed the folders of Titans that were killed"),
            Ok(Err(error)) => tracing::warn!(%error, "cannot remove what a killed Titan left; will try again"),
            Err(error) => tracing::error!(%error, "removing what a killed Titan left panicked"),
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.folder, &self.lock_path) {
            tracing::warn!(%error, "could not remove the folder for builds and checkouts; the next start does");
        }
    }
}

/// The lock goes last: a folder without one would never be found again.
fn remove(folder: &Path, lock_path: &Path) -> io::Result<()> {
    crate::sandbox::remove(folder)?;
    std::fs::remove_file(lock_path)
}

/// Whether the path still leads to the file that was opened.
fn is_still_there(opened: &File, path: &Path) -> bool {
    let ids = |seen: std::fs::Metadata| (seen.dev(), seen.ino());
    matches!((opened.metadata().map(ids), std::fs::metadata(path).map(ids)), (Ok(one), Ok(other)) if one == other)
}

fn remove_left_behind(above: &Path) -> io::Result<usize> {
    let mut removed = 0;
    let mut failed = None;
    for entry in std::fs::read_dir(above)? {
        let lock_path = entry?.path();
        if lock_path.extension().is_none_or(|extension| extension != LOCK) {
            continue;
        }
        // Gone meanwhile: its own Titan ended, or another one was faster.
        let Ok(lock) = OpenOptions::new().write(true).open(&lock_path) else { continue };
        if lock.try_lock().is_err() || !is_still_there(&lock, &lock_path) {
            continue;
        }
        match remove(&lock_path.with_extension(""), &lock_path) {
            Ok(()) => removed += 1,
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(removed), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(above: &Path) -> Vec<String> {
        let name = |entry: io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<String> =
            std::fs::read_dir(above).expect("a folder").map(|entry| name(entry).into_string().expect("text")).collect();
        names.sort();
        names
    }

    #[test]
    fn only_what_nobody_holds_is_removed() {
        let place = tempfile::tempdir().expect("a folder");
        let (mine, other) = (Scratch::new(place.path()).expect("one"), Scratch::new(place.path()).expect("another"));
        let above = place.path().join(ABOVE);
        // As a process leaves it that was killed: everything there, and nobody's lock.
        let dead = above.join("dead");
        std::fs::create_dir_all(dead.join("builds/1-1/workspace")).expect("folders");
        std::fs::write(dead.join("builds/1-1/workspace/file"), "left").expect("a file");
        std::fs::write(above.join("dead.lock"), "").expect("a file");
        std::fs::create_dir_all(other.builds()).expect("a folder");
        assert_eq!(remove_left_behind(&above).expect("it can"), 1);
        assert!(!dead.exists() && other.builds().exists());
        drop(other);
        assert_eq!(names(&above).len(), 2, "a folder and its lock are left: {:?}", names(&above));
        assert_eq!(remove_left_behind(&above).expect("it can"), 0);
        drop(mine);
        assert_eq!(names(&above), Vec::<String>::new());
    }
}
