//! Finds installed server binaries: in the PATH, in Debian's versioned folders (which are not in the PATH), and in the
//! folders of Homebrew and of the Postgres project's RPMs.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::ClusterError;

/// Minimum version that supports the SQL of orch.
const OLDEST: u32 = 13;

/// Folders that contain an installation per version: parent, prefix of the version folder's name, path to the binaries.
const VERSIONED: [(&str, &str, &str); 4] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
];

/// A folder with `postgres` and `initdb` of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Installation {
    pub(crate) bin: PathBuf,
    pub(crate) major: u32,
}

impl Installation {
    /// Returns the installation for a new cluster: the one in the PATH, because the user selected it, otherwise the
    /// newest.
    pub(crate) fn newest() -> Result<Self, ClusterError> {
        Self::newest_of(search_path().as_deref(), versioned)
    }

    /// Like `newest`, for a given PATH. `versioned` is called only if the PATH has no suitable installation, because it
    /// reads folders.
    fn newest_of(path: Option<&OsStr>, versioned: impl FnOnce() -> Vec<Self>) -> Result<Self, ClusterError> {
        in_path(path)
            .find(|found| found.major >= OLDEST)
            .or_else(|| versioned().into_iter().filter(|found| found.major >= OLDEST).max_by_key(|found| found.major))
            .ok_or(ClusterError::NotInstalled { oldest: OLDEST })
    }

    /// Returns the installation for an existing cluster. Only the same major version can read its files.
    pub(crate) fn of_major(major: u32, data_dir: &Path) -> Result<Self, ClusterError> {
        versioned()
            .into_iter()
            .find(|found| found.major == major)
            .or_else(|| in_path(search_path().as_deref()).find(|found| found.major == major))
            .ok_or_else(|| ClusterError::OtherVersion { data_dir: data_dir.to_owned(), major })
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// Returns the path of a client program for a server of this version, such as `pg_dump`. Prefers the oldest versioned
/// installation that is not older than the server, because the server may be on another machine.
pub fn client_program(name: &'static str, major: u32) -> Result<PathBuf, ClusterError> {
    let holds = |bin: &Path| bin.join(name).is_file();
    let newer = folders(holds).into_iter().filter(|found| found.major >= major).min_by_key(|found| found.major);
    if let Some(found) = newer {
        return Ok(found.program(name));
    }
    let in_path = search_path().map(|path| std::env::split_paths(&path).map(|folder| folder.join(name)).collect());
    let in_path: Vec<PathBuf> = in_path.unwrap_or_default();
    let suits = |program: &PathBuf| program.is_file() && ask_version(program).is_some_and(|found| found >= major);
    in_path.into_iter().find(suits).ok_or(ClusterError::NoClient { program: name, major })
}

fn versioned() -> Vec<Installation> {
    folders(holds_server)
}

/// Returns the versioned installations. The version is part of the folder's name, so no binary has to be run.
fn folders(holds: impl Fn(&Path) -> bool) -> Vec<Installation> {
    let mut found = Vec::new();
    for (parent, prefix, bin) in VERSIONED {
        let Ok(entries) = std::fs::read_dir(parent) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let major = name.to_str().and_then(|name| name.strip_prefix(prefix)).and_then(|major| major.parse().ok());
            let bin = entry.path().join(bin);
            if let Some(major) = major
                && holds(&bin)
            {
                found.push(Installation { bin, major });
            }
        }
    }
    found
}

#[expect(clippy::disallowed_methods, reason = "the PATH is where programs are found, not configuration of orch")]
fn search_path() -> Option<OsString> {
    std::env::var_os("PATH")
}

/// Returns the installations in the PATH. Follows links, because the server finds its libraries relative to the real
/// folder.
fn in_path(path: Option<&OsStr>) -> impl Iterator<Item = Installation> {
    let folders: Vec<PathBuf> = path.map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
    folders.into_iter().filter_map(|folder| {
        let real = folder.join("postgres").canonicalize().ok()?;
        let bin = real.parent()?.to_owned();
        holds_server(&bin).then_some(())?;
        let major = ask_version(&real)?;
        Some(Installation { bin, major })
    })
}

fn holds_server(bin: &Path) -> bool {
    bin.join("postgres").is_file() && bin.join("initdb").is_file()
}

fn ask_version(postgres: &Path) -> Option<u32> {
    let output = Command::new(postgres).arg("--version").output().ok()?;
    major_of(&String::from_utf8_lossy(&output.stdout))
}

/// Returns the major version: 15 for `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_releases_and_betas() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major_of("something else"), None);
    }

    #[test]
    fn a_path_without_servers_yields_none() {
        assert_eq!(in_path(Some(OsStr::new("/nowhere:/etc"))).count(), 0);
        assert_eq!(in_path(None).count(), 0);
    }

    #[test]
    fn without_a_server_the_package_that_brings_one_is_named() {
        let old = || vec![Installation { bin: "/usr/lib/postgresql/9/bin".into(), major: 9 }];
        for (path, versioned) in [(None, Vec::new()), (Some(OsStr::new("/nowhere:/etc")), old())] {
            let error = Installation::newest_of(path, || versioned).unwrap_err();
            assert_eq!(
                error.to_string(),
                "no Postgres server of version 13 or newer is installed: neither the PATH nor the usual folders hold `postgres` and `initdb`"
            );
            let package =
                if cfg!(target_os = "macos") { "`brew install postgresql@17`" } else { "`apt-get install postgresql`" };
            let hint = error.hint().unwrap();
            assert_eq!(hint, format!("install it with {package}, or name a server with `--database-url`"));
        }
        let newest =
            Installation::newest_of(None, || [old(), vec![Installation { bin: "/new".into(), major: 17 }]].concat());
        assert_eq!(newest.unwrap().major, 17);
    }

    #[test]
    fn a_client_is_not_older_than_the_server() {
        let program = client_program("pg_dump", OLDEST).unwrap();
        assert!(program.is_file(), "{}", program.display());
        let error = client_program("pg_dump", 4_000).unwrap_err();
        assert_eq!(error.to_string(), "no `pg_dump` of Postgres 4000 or newer is installed");
        assert!(error.hint().unwrap().contains("postgresql-client-4000"));
    }

    #[test]
    fn a_missing_version_is_named_with_its_remedy() {
        let error = Installation::of_major(4, Path::new("/data")).unwrap_err();
        assert_eq!(error.to_string(), "the database in `/data` was made by Postgres 4, which is not installed");
        assert!(error.hint().unwrap().contains("postgresql"));
    }
}
