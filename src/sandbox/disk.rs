//! What a build writes on the disk: watched while it runs, and removed afterwards whatever shape it has.
//!
//! There is no limit of the kernel for a folder that works on every file system and without rights, so the folder's
//! size is looked at again and again. The room that is left on the disk is looked at much more often, because that is
//! one call.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};

use super::processes::unnamed_bytes_below;

/// The room on the disk is looked at so often.
const LOOK: Duration = Duration::from_millis(100);
/// The folder's size is measured so often at most.
const MEASURE: Duration = Duration::from_secs(1);
/// Measuring may take one part in so many of the time.
const SHARE: u32 = 10;
/// So much of the disk stays free for everybody else.
const RESERVE_BYTES: u64 = 256 * 1024 * 1024;
/// An entry counts at least so much: its place in a folder and its inode are on the disk too.
const ENTRY_BYTES: u64 = 1024;
/// Folders deeper than this are over any limit: no project nests so, and walking down costs a file each.
const DEEPEST: usize = 200;

/// Why a build must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// It has written more than it may.
    Build,
    /// The disk has hardly any room left.
    Disk,
}

/// Returns as soon as the folders hold too much together, with what the processes below `supervisor` hold open without a
/// name, or the disk is nearly full.
pub(super) async fn watch(folders: Vec<PathBuf>, supervisor: i32, limit: u64) -> Full {
    let Some(first) = folders.first().cloned() else { return std::future::pending().await };
    let mut free_at_last = free(&first);
    let mut next = Instant::now() + LOOK;
    loop {
        tokio::time::sleep(LOOK).await;
        let free_now = free(&first);
        if free_now.is_some_and(|bytes| bytes < RESERVE_BYTES) {
            return Full::Disk;
        }
        // when much went since the last time, look before the time
        let shrunk = free_at_last.zip(free_now).is_some_and(|(then, now)| then.saturating_sub(now) > limit / 8);
        if Instant::now() < next && !shrunk {
            continue;
        }
        free_at_last = free_now;
        let began = Instant::now();
        let measured = folders.clone();
        let size = tokio::task::spawn_blocking(move || {
            let named: u64 = measured.iter().map(|folder| size(folder, limit)).fold(0, u64::saturating_add);
            let device = fs::metadata(&measured[0]).map(|seen| std::os::unix::fs::MetadataExt::dev(&seen));
            named.saturating_add(device.map_or(0, |device| unnamed_bytes_below(supervisor, device)))
        });
        if size.await.is_ok_and(|size| size > limit) {
            return Full::Build;
        }
        next = Instant::now() + MEASURE.max(began.elapsed() * SHARE);
    }
}

fn free(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The bytes on the disk below a folder; stops counting above `enough`. Follows no links. What vanishes meanwhile is
/// nothing; a folder that its owner closed is opened.
fn size(folder: &Path, enough: u64) -> u64 {
    let Ok(root) = open_folder(rustix::fs::CWD, folder.as_os_str()) else { return 0 };
    let mut total = 0_u64;
    let mut way = Vec::from_iter(Dir::read_from(&root).map(|entries| (root, entries)));
    while let Some((folder, entries)) = way.last_mut() {
        let Some(Ok(entry)) = entries.read() else {
            way.pop();
            continue;
        };
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let Ok(seen) = rustix::fs::statat(&*folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        total = total.saturating_add((u64::try_from(seen.st_blocks).unwrap_or(0) * 512).max(ENTRY_BYTES));
        if total > enough {
            break;
        }
        if FileType::from_raw_mode(seen.st_mode) == FileType::Directory {
            let below = open_folder(&*folder, OsStr::from_bytes(name.to_bytes()));
            let Ok(below) = below else { continue };
            if way.len() > DEEPEST {
                return u64::MAX;
            }
            way.extend(Dir::read_from(&below).map(|entries| (below, entries)));
        }
    }
    total
}

/// Opens a folder below another, and makes it readable for that when it is not.
fn open_folder(above: impl std::os::fd::AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&above, name, flags, Mode::empty()) {
        Err(rustix::io::Errno::ACCESS) => {
            rustix::fs::chmodat(&above, name, Mode::RWXU, AtFlags::empty())?;
            Ok(rustix::fs::openat(&above, name, flags, Mode::empty())?)
        }
        other => Ok(other?),
    }
}

/// Removes a folder with all below it, however deep it is nested and whatever rights its owner took from himself.
/// Nothing may be changing it. Follows no links.
///
/// # Errors
/// When something is left.
pub fn remove(folder: &Path) -> io::Result<()> {
    match fs::symlink_metadata(folder) {
        Ok(seen) if seen.is_dir() => {}
        Ok(_) => return fs::remove_file(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let root = open_folder(rustix::fs::CWD, folder.as_os_str())?;
    rustix::fs::fchmod(&root, Mode::RWXU)?;
    let mut moved = 0_u64;
    // Each folder directly below is emptied by moving its folders up here, so that nothing ever has to climb.
    loop {
        let (folders, files) = contents(&root)?;
        for name in &files {
            rustix::fs::unlinkat(&root, name.as_os_str(), AtFlags::empty())?;
        }
        if folders.is_empty() {
            break;
        }
        for name in folders {
            rustix::fs::chmodat(&root, name.as_os_str(), Mode::RWXU, AtFlags::empty())?;
            let below = open_folder(&root, &name)?;
            let (inner, files) = contents(&below)?;
            for name in files {
                rustix::fs::unlinkat(&below, name.as_os_str(), AtFlags::empty())?;
            }
            for name in inner {
                // a folder that is moved must be writable itself, because its `..` changes
                rustix::fs::chmodat(&below, name.as_os_str(), Mode::RWXU, AtFlags::empty())?;
                loop {
                    moved += 1;
                    let to = format!("titan-removes-{moved}");
                    match rustix::fs::renameat_with(
                        &below,
                        name.as_os_str(),
                        &root,
                        to.as_str(),
                        RenameFlags::NOREPLACE,
                    ) {
                        Err(rustix::io::Errno::EXIST) => {}
                        other => break other?,
                    }
                }
            }
            rustix::fs::unlinkat(&root, name.as_os_str(), AtFlags::REMOVEDIR)?;
        }
    }
    fs::remove_dir(folder)
}

/// The names of the folders in a folder, and of everything else.
fn contents(folder: &OwnedFd) -> io::Result<(Vec<OsString>, Vec<OsString>)> {
    let (mut folders, mut others) = (Vec::new(), Vec::new());
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let seen = rustix::fs::statat(folder, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(seen.st_mode)
            }
            known => known,
        };
        if kind == FileType::Directory { folders.push(name) } else { others.push(name) }
    }
    Ok((folders, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_of_any_shape_is_removed_and_no_link_is_followed() {
        let place = tempfile::tempdir().expect("a folder");
        let outside = place.path().join("outside");
        fs::create_dir(&outside).expect("a folder");
        fs::write(outside.join("kept"), "x").expect("a file");
        let tree = place.path().join("tree");
        fs::create_dir(&tree).expect("a folder");
        std::os::unix::fs::symlink(&outside, tree.join("link")).expect("a link");
        fs::create_dir_all(tree.join("a/titan-removes-1/c")).expect("folders");
        fs::write(tree.join("a/titan-removes-1/c/f"), "x").expect("a file");
        // deeper than a path can say and than files can be open
        let mut at = open_folder(rustix::fs::CWD, tree.as_os_str()).expect("a folder");
        for _ in 0..3_000 {
            rustix::fs::mkdirat(&at, "deeper", Mode::RWXU).expect("a folder");
            at = open_folder(&at, OsStr::new("deeper")).expect("a folder");
        }
        let closed = tree.join("a");
        rustix::fs::chmod(&closed, Mode::empty()).expect("its rights");
        remove(&tree).expect("it can be removed");
        assert!(!tree.exists() && outside.join("kept").exists());
        assert!(remove(&tree).is_ok(), "what is not there needs no removing");
    }

    #[tokio::test]
    async fn too_much_on_the_disk_is_seen_also_when_it_is_many_empty_files() {
        let place = tempfile::tempdir().expect("a folder");
        for number in 0..200 {
            fs::write(place.path().join(number.to_string()), "").expect("a file");
        }
        let watched = vec![place.path().to_owned()];
        assert_eq!(size(place.path(), u64::MAX), 200 * ENTRY_BYTES);
        assert_eq!(watch(watched.clone(), 0, 100 * ENTRY_BYTES).await, Full::Build);
        let longer = tokio::time::timeout(Duration::from_millis(400), watch(watched, 0, 300 * ENTRY_BYTES)).await;
        assert!(longer.is_err(), "and what is allowed goes on");
    }
}
