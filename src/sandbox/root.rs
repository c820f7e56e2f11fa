//! The file system that a build sees: made anew for each command, from nothing, inside its own mount namespace.
//!
//! What is not named here is not there: not Titan's folders, not `/run` with its sockets, not `/sys`, no device but
//! five. Only the checkout, the home and two memory file systems of a fixed size can be written.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use super::orders::{INSIDE_HOME, INSIDE_ID, INSIDE_WORKSPACE, Orders, Step, Trouble};

/// The system's programs and libraries.
const SYSTEM: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// What programs need of `/etc`, when it is there. No folder with keys is among them.
const ETC: [&str; 11] = [
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
];

/// What of `/etc` is written anew, because the host's tells too much or leads nowhere inside.
const WRITTEN: [(&str, &str); 6] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nbuild:x:1000:1000:build:/home/build:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\nbuild:x:1000:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost build\n::1 localhost\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ("etc/resolv.conf", "# a build resolves no names; Titan's proxy does\n"),
    ("etc/hostname", "build\n"),
];

/// The only devices.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Parts of `/proc` that tell of or reach into the whole machine.
const PROC_HIDDEN: [&str; 6] =
    ["proc/kcore", "proc/keys", "proc/timer_list", "proc/sched_debug", "proc/kmsg", "proc/key-users"];
/// Parts of `/proc` that could change the whole machine, were it not for the user.
const PROC_READ_ONLY: [&str; 5] = ["proc/sys", "proc/sysrq-trigger", "proc/irq", "proc/bus", "proc/fs"];
/// No namespaces inside of namespaces, besides the filter of system calls.
const PROC_ZERO: &str = "proc/sys/user/max_user_namespaces";

const TMP_OPTIONS: [(&str, &str); 3] = [("size", "512M"), ("nr_inodes", "200k"), ("mode", "1777")];
const SHM_OPTIONS: [(&str, &str); 3] = [("size", "128M"), ("nr_inodes", "10k"), ("mode", "1777")];
const ROOT_OPTIONS: [(&str, &str); 3] = [("size", "1M"), ("nr_inodes", "4k"), ("mode", "755")];

const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;

/// A piece of the host that will be shown: taken hold of while this process may still reach it.
struct Piece {
    tree: OwnedFd,
    /// Relative to the new root.
    at: PathBuf,
    is_folder: bool,
}

/// Everything that the new root is made of, not yet put together.
pub(super) struct Pieces {
    shown: Vec<Piece>,
    links: Vec<(PathBuf, PathBuf)>,
    /// Where the new root is put for the moment before it becomes the root.
    place: OwnedFd,
}

impl Pieces {
    /// Takes hold of what will be shown. To be called in the new mount namespace, before the user is changed: the
    /// build's user may not reach these folders by their paths.
    pub(super) fn take(orders: &Orders) -> Result<Self, Trouble> {
        let folders = |path: &Path, error: io::Error| Trouble::new(Step::Folders, path.display().to_string(), error);
        let place = real_folder(&orders.workspace).map_err(|error| folders(&orders.workspace, error))?;
        let mut pieces = Self { shown: Vec::new(), links: Vec::new(), place };
        for path in SYSTEM.map(Path::new) {
            match fs::symlink_metadata(path) {
                Ok(seen) if seen.is_symlink() => {
                    let target = fs::read_link(path).map_err(|error| folders(path, error))?;
                    pieces.links.push((relative(path), target));
                }
                Ok(_) => pieces.show(path, READ_ONLY | NOSUID | NODEV).map_err(|error| folders(path, error))?,
                Err(_) => {}
            }
        }
        for path in ETC.map(Path::new).into_iter().filter(|path| path.exists()) {
            pieces.show(path, READ_ONLY | NOSUID | NODEV).map_err(|error| folders(path, error))?;
        }
        for path in &orders.tools {
            // a folder of tools may be missing on one of several machines
            if path.is_dir() && !SYSTEM.iter().any(|system| path.starts_with(system)) {
                pieces.show(path, READ_ONLY | NOSUID | NODEV).map_err(|error| folders(path, error))?;
            }
        }
        for path in DEVICES.map(Path::new) {
            pieces.show(path, NOSUID | libc::MOUNT_ATTR_NOEXEC).map_err(|error| folders(path, error))?;
        }
        for (path, inside) in [(&orders.workspace, INSIDE_WORKSPACE), (&orders.home, INSIDE_HOME)] {
            let shown =
                real_folder(path).and_then(|folder| pieces.put(&folder, "", Path::new(inside), true, NOSUID | NODEV));
            shown.map_err(|error| folders(path, error))?;
        }
        Ok(pieces)
    }

    /// A path of the host at the same path inside.
    fn show(&mut self, path: &Path, attributes: u64) -> io::Result<()> {
        let is_folder = fs::metadata(path)?.is_dir();
        self.put(&CWD.as_fd(), path, path, is_folder, attributes)
    }

    fn put(
        &mut self,
        from: &impl AsFd,
        path: impl AsRef<Path>,
        at: &Path,
        is_folder: bool,
        attributes: u64,
    ) -> io::Result<()> {
        // with all that is mounted below, because a part of that may not be uncovered
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        flags.set(OpenTreeFlags::AT_EMPTY_PATH, path.as_ref().as_os_str().is_empty());
        let tree = rustix::mount::open_tree(from, path.as_ref(), flags)?;
        set_attributes(&tree, attributes, true)?;
        self.shown.push(Piece { tree, at: relative(at), is_folder });
        Ok(())
    }

    /// Puts the new root together and makes it the root of this process. Nothing of the old one is left.
    pub(super) fn become_root(self) -> Result<(), Trouble> {
        let mounting = |what: &str| {
            let what = what.to_owned();
            move |error: io::Error| Trouble::new(Step::Mount, what, error)
        };
        rustix::process::umask(Mode::WGRP | Mode::WOTH);
        let root = memory(&ROOT_OPTIONS).map_err(mounting("a new root"))?;
        attach(&root, &self.place, "").map_err(mounting("a new root"))?;
        rustix::process::fchdir(&root).map_err(|error| mounting("a new root")(error.into()))?;
        // first, so that a folder of tools below one of them is seen
        for (at, options) in [("tmp", TMP_OPTIONS), ("dev/shm", SHM_OPTIONS)] {
            let made = memory(&options).and_then(|made| put_at(&made, Path::new(at), true));
            made.map_err(mounting(at))?;
        }
        for piece in &self.shown {
            let what = piece.at.display().to_string();
            put_at(&piece.tree, &piece.at, piece.is_folder).map_err(mounting(&what))?;
        }
        for (at, target) in &self.links {
            std::os::unix::fs::symlink(target, at).map_err(mounting("a link of the system"))?;
        }
        for (at, text) in WRITTEN {
            write_new(Path::new(at), text).map_err(mounting(at))?;
        }
        for (at, target) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
            std::os::unix::fs::symlink(target, Path::new("dev").join(at)).map_err(mounting("dev"))?;
        }
        processes().map_err(|error| Trouble::new(Step::Proc, "", error))?;
        set_attributes(&root, READ_ONLY | NOSUID | NODEV, false).map_err(mounting("a read-only root"))?;
        pivot().map_err(mounting("the new root"))
    }
}

/// An own `/proc`, without what concerns the whole machine. To be called in the new process namespace.
fn processes() -> io::Result<()> {
    let made = rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(&made)?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = rustix::mount::fsmount(&made, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    put_at(&mount, Path::new("proc"), true)?;
    // not every kernel lets it be written here; the filter of system calls holds anyway
    let _ = fs::write(PROC_ZERO, "0");
    let cover = |from: &str, at: &str, attributes: u64| -> io::Result<()> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let tree = rustix::mount::open_tree(CWD, from, flags)?;
        set_attributes(&tree, attributes, true)?;
        attach(&tree, &CWD.as_fd(), at)
    };
    for at in PROC_READ_ONLY.into_iter().filter(|at| Path::new(at).exists()) {
        cover(at, at, READ_ONLY | NOSUID | NODEV)?;
    }
    for at in PROC_HIDDEN.into_iter().filter(|at| Path::new(at).exists()) {
        cover("dev/null", at, NOSUID | libc::MOUNT_ATTR_NOEXEC)?;
    }
    Ok(())
}

/// The working directory becomes the root, and the old root is let go.
fn pivot() -> io::Result<()> {
    rustix::process::pivot_root(".", ".")?;
    // the old root now lies over the new one
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    Ok(())
}

/// A folder that is one itself and has no symbolic link on its way.
fn real_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?)
}

/// A memory file system that belongs to the build.
fn memory(options: &[(&str, &str)]) -> io::Result<OwnedFd> {
    let made = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        rustix::mount::fsconfig_set_string(&made, *name, *value)?;
    }
    let id = INSIDE_ID.to_string();
    rustix::mount::fsconfig_set_string(&made, "uid", id.as_str())?;
    rustix::mount::fsconfig_set_string(&made, "gid", id.as_str())?;
    rustix::mount::fsconfig_create(&made)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(rustix::mount::fsmount(&made, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Makes the place, relative to the working directory, and mounts there.
fn put_at(tree: &OwnedFd, at: &Path, is_folder: bool) -> io::Result<()> {
    if is_folder {
        fs::create_dir_all(at)?;
    } else {
        write_new(at, "")?;
    }
    attach(tree, &CWD.as_fd(), at)
}

fn attach(tree: &OwnedFd, folder: &impl AsFd, at: impl AsRef<Path>) -> io::Result<()> {
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    flags.set(MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH, at.as_ref().as_os_str().is_empty());
    Ok(rustix::mount::move_mount(tree, "", folder, at.as_ref(), flags)?)
}

fn write_new(at: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = at.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(at, text)
}

/// Adds mount attributes, and lets no mount of the host come in later.
fn set_attributes(mount: &impl AsFd, attributes: u64, with_all_below: bool) -> io::Result<()> {
    let wanted = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if with_all_below { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, the structure is of the size that is told, and both outlive the call
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const wanted,
            size_of::<libc::mount_attr>(),
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// An absolute path as one from the root.
fn relative(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}
