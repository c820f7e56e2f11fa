//! Who Postgres runs as and which folder it may use. It never makes a folder readable for others.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::PostgresError;

/// Accounts to run as, best first. Not `nobody`: other programs drop to it, and builds must not share the database's user.
const CANDIDATES: [&str; 2] = ["postgres", "daemon"];

/// An unprivileged account with an entry in `/etc/passwd`, which `initdb` insists on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The account to run as; `None` when Titan is not root and Postgres simply runs as Titan's user.
pub(super) fn unprivileged() -> Result<Option<Account>, PostgresError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let path = Path::new("/etc/passwd");
    let text = fs::read_to_string(path).map_err(|source| folder_error(path, source))?;
    CANDIDATES.iter().find_map(|name| parse_account(&text, name)).map(Some).ok_or(PostgresError::NoAccount)
}

/// One account of a `passwd` file; root under another name does not count.
fn parse_account(passwd: &str, name: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next().filter(|field| *field == name)?;
        let uid = fields.nth(1)?.parse().ok().filter(|uid| *uid != 0)?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { name: found.to_owned(), uid, gid })
    })
}

/// Makes `dir` a private folder of the account, or a folder under the system's temporary one when it cannot get there.
pub(super) fn private_home(dir: &Path, account: Option<&Account>) -> Result<PathBuf, PostgresError> {
    fs::create_dir_all(dir).map_err(|source| folder_error(dir, source))?;
    let dir = fs::canonicalize(dir).map_err(|source| folder_error(dir, source))?;
    if let Some(account) = account
        && let Some(closed) = closed_parent(&dir, account)
    {
        let instead = temporary_folder("titan-postgres", &dir, Some(account))?;
        tracing::warn!(
            folder = %instead.display(),
            "Postgres runs as {}, which may not enter {}; its data is in {} and is lost when the system empties its \
             temporary folder. Choose an OUTPUT_DIR outside of {} to keep it",
            account.name, closed.display(), instead.display(), closed.display(),
        );
        return Ok(instead);
    }
    make_private(&dir, account)?;
    Ok(dir)
}

/// A private folder with a short name under the system's temporary folder, the same one each time for the same `dir`.
/// Anyone may write there, so one that belongs to another user is refused.
pub(super) fn temporary_folder(prefix: &str, dir: &Path, account: Option<&Account>) -> Result<PathBuf, PostgresError> {
    let own = account.map_or(rustix::process::geteuid().as_raw(), |account| account.uid);
    let digest = hex::encode(Sha256::digest(dir.as_os_str().as_encoded_bytes()));
    let path = std::env::temp_dir().join(format!("{prefix}-{own}-{}", &digest[..10]));
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(folder_error(&path, error)),
        _ => {}
    }
    // not following links: a link made by someone else would lead anywhere
    let seen = fs::symlink_metadata(&path).map_err(|source| folder_error(&path, source))?;
    let trusted = [own, rustix::process::geteuid().as_raw()];
    if !seen.is_dir() || !trusted.contains(&seen.uid()) {
        return Err(PostgresError::NotPrivate { path, owner: seen.uid() });
    }
    make_private(&path, account)?;
    Ok(path)
}

/// The first folder above `dir` that the account may not pass through. Looks at the permission bits.
fn closed_parent<'a>(dir: &'a Path, account: &Account) -> Option<&'a Path> {
    dir.ancestors().skip(1).find(|parent| {
        fs::metadata(parent).is_ok_and(|seen| {
            let bit = match (seen.uid() == account.uid, seen.gid() == account.gid) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            seen.mode() & bit == 0
        })
    })
}

/// Only the account may enter the folder, and all in it is the account's. Postgres refuses to start otherwise.
fn make_private(dir: &Path, account: Option<&Account>) -> Result<(), PostgresError> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(|source| folder_error(dir, source))?;
    account.map_or(Ok(()), |account| give(dir, account))
}

/// Gives the folder and what is below to the account, without following links. The folder itself comes last, so that
/// one that is the account's already needs no second look, also after an interruption.
fn give(path: &Path, account: &Account) -> Result<(), PostgresError> {
    let failed = |source| folder_error(path, source);
    let seen = fs::symlink_metadata(path).map_err(failed)?;
    if (seen.uid(), seen.gid()) == (account.uid, account.gid) {
        return Ok(());
    }
    if seen.is_dir() {
        for entry in fs::read_dir(path).map_err(failed)? {
            give(&entry.map_err(failed)?.path(), account)?;
        }
    }
    lchown(path, Some(account.uid), Some(account.gid)).map_err(failed)
}

fn folder_error(path: &Path, source: io::Error) -> PostgresError {
    PostgresError::Folder { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_needs_a_whole_entry_and_must_not_be_root() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgres:x:0:0::/:/bin/sh\ndaemon:x:1:2:daemon:/:/bin/false\nx\n";
        assert_eq!(parse_account(passwd, "postgres"), None);
        assert_eq!(parse_account(passwd, "daemon"), Some(Account { name: "daemon".to_owned(), uid: 1, gid: 2 }));
        assert_eq!(parse_account(passwd, "x"), None);
    }

    #[test]
    fn a_closed_folder_above_is_found() {
        let place = tempfile::tempdir().expect("a folder");
        let inner = place.path().join("closed/inner");
        fs::create_dir_all(&inner).expect("folders");
        let closed = place.path().join("closed");
        let other = Account { name: "other".to_owned(), uid: 4_000_001, gid: 4_000_001 };
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).expect("open");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("closed");
        assert_eq!(closed_parent(&inner, &other), Some(closed.as_path()));
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o711)).expect("passable");
        assert_eq!(closed_parent(&inner, &other), None);
    }

    #[test]
    fn a_link_in_the_temporary_folder_is_not_trusted() {
        let place = tempfile::tempdir().expect("a folder");
        let own = rustix::process::geteuid().as_raw();
        let digest = hex::encode(Sha256::digest(place.path().as_os_str().as_encoded_bytes()));
        let trap = std::env::temp_dir().join(format!("titan-pg-{own}-{}", &digest[..10]));
        std::os::unix::fs::symlink(place.path(), &trap).expect("a link");
        let outcome = temporary_folder("titan-pg", place.path(), None);
        fs::remove_file(&trap).expect("the link");
        assert!(matches!(outcome, Err(PostgresError::NotPrivate { .. })), "{outcome:?}");
    }
}
