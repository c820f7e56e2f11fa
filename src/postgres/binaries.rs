//! Finds the Postgres programs that are installed on this machine. It starts nothing but `postgres --version`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::PostgresError;

/// The oldest major version that Titan's SQL runs on.
pub(super) const OLDEST: u32 = 13;

/// Folders with one subfolder for each installed major version, and what stands before the version in its name.
const VERSIONED: [(&str, &str); 4] = [
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
];

/// Where packages put programs; searched also when the process has a bare `PATH`.
const PLAIN: [&str; 5] = [
    "/usr/local/bin",
    "/usr/bin",
    "/usr/local/pgsql/bin",
    "/usr/libexec/postgresql",
    "/Applications/Postgres.app/Contents/Versions/latest/bin",
];

/// The folders that hold both `initdb` and `postgres`, best first.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// Canonical: Postgres finds its shared files relative to its real place, not to a link in `/usr/local/bin`.
    folders: Vec<PathBuf>,
    looked: String,
}

impl Binaries {
    /// Searches `chosen` only, when given (`TITAN_PG_BIN`); else the folders of `path` (the variable `PATH`), then the
    /// usual places, newest version first. Finding nothing is not an error yet: data may never be asked for.
    pub fn find(chosen: Option<&Path>, path: Option<&OsStr>) -> Self {
        let places = match chosen {
            Some(folder) => vec![folder.to_owned()],
            None => {
                let mut places: Vec<PathBuf> = path.map(|p| std::env::split_paths(p).collect()).unwrap_or_default();
                places.extend(versioned_folders());
                places.extend(PLAIN.map(PathBuf::from));
                places
            }
        };
        let mut folders: Vec<PathBuf> = Vec::new();
        for place in places {
            let found = real_folder(&place).filter(|folder| !folders.contains(folder));
            folders.extend(found);
        }
        let looked = match chosen {
            Some(folder) => folder.display().to_string(),
            None => format!("PATH, {}/*/bin, {}", VERSIONED[0].0, PLAIN[0]),
        };
        Self { folders, looked }
    }

    /// The folder whose Postgres made the data, or the best one when there is no data yet.
    pub(super) fn matching(&self, data: &Path) -> Result<PathBuf, PostgresError> {
        let wanted = fs::read_to_string(data.join("PG_VERSION")).ok().and_then(|text| leading_number(text.trim()));
        let mut installed = Vec::new();
        for folder in &self.folders {
            let Some(major) = major_version(&folder.join("postgres")).filter(|major| *major >= OLDEST) else {
                continue;
            };
            if wanted.is_none_or(|wanted| wanted == major) {
                return Ok(folder.clone());
            }
            installed.push(format!("Postgres {major}"));
        }
        match wanted {
            Some(wanted) if !installed.is_empty() => Err(PostgresError::VersionMismatch {
                path: data.to_owned(),
                data: wanted,
                installed: installed.join(" and "),
            }),
            _ => Err(PostgresError::NoBinaries { looked: self.looked.clone() }),
        }
    }
}

/// The real folder behind `place` when it has both programs side by side.
fn real_folder(place: &Path) -> Option<PathBuf> {
    let program = fs::canonicalize(place.join("postgres")).ok()?;
    let folder = program.parent()?;
    (program.is_file() && folder.join("initdb").is_file()).then(|| folder.to_owned())
}

/// `bin` folders of every version that distributions keep side by side, newest first.
fn versioned_folders() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = VERSIONED
        .into_iter()
        .filter_map(|(base, prefix)| Some((fs::read_dir(base).ok()?, prefix)))
        .flat_map(|(entries, prefix)| entries.flatten().map(move |entry| (entry, prefix)))
        .filter_map(|(entry, prefix)| {
            let version = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, folder)| folder).collect()
}

/// The major version of a `postgres` program, from `postgres (PostgreSQL) 15.4 (…)`.
fn major_version(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").env_clear().output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    leading_number(text.split("(PostgreSQL)").nth(1)?.trim())
}

/// The digits that `text` begins with.
fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A folder with an `initdb` and a `postgres` that only tells its version.
    fn install(folder: &Path, version: &str) {
        fs::create_dir_all(folder).expect("a folder");
        for name in ["initdb", "postgres"] {
            let file = folder.join(name);
            fs::write(&file, format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")).expect("a script");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("executable");
        }
    }

    #[test]
    fn a_link_on_the_path_leads_to_the_real_folder() {
        let place = tempfile::tempdir().expect("a folder");
        let (real, links) = (place.path().join("pg/bin"), place.path().join("links"));
        install(&real, "17.2 (Debian 17.2-1)");
        fs::create_dir(&links).expect("a folder");
        symlink(real.join("postgres"), links.join("postgres")).expect("a link");
        let found = Binaries::find(None, Some(links.as_os_str()));
        let folder = found.matching(&place.path().join("data")).expect("found");
        assert_eq!(folder, fs::canonicalize(&real).expect("canonical"));
    }

    #[test]
    fn data_of_another_major_version_is_not_started() {
        let place = tempfile::tempdir().expect("a folder");
        install(place.path(), "17.2");
        let data = place.path().join("data");
        fs::create_dir(&data).expect("a folder");
        fs::write(data.join("PG_VERSION"), "15\n").expect("a file");
        let error = Binaries::find(Some(place.path()), None).matching(&data).expect_err("15 is not 17");
        let text = error.to_string();
        assert!(text.contains("made by Postgres 15, but only Postgres 17 is installed"), "{text}");
    }

    #[test]
    fn nothing_installed_or_only_an_old_version_says_what_to_install() {
        let place = tempfile::tempdir().expect("a folder");
        for version in [None, Some("9.6.24")] {
            if let Some(version) = version {
                install(place.path(), version);
            }
            let error = Binaries::find(Some(place.path()), None).matching(&place.path().join("data"));
            let text = error.expect_err("nothing usable").to_string();
            assert!(text.contains("apt install postgresql"), "{text}");
        }
    }
}
