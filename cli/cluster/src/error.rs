//! Failures of the private server, with hints for users.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Maximum number of lines of a program's output in an error.
const MAX_OUTPUT_LINES: usize = 10;

/// Any failure of this crate. [`ClusterError::hint`] returns the next step.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No folder with `postgres` and `initdb` was found.
    #[error(
        "no Postgres server of version {oldest} or newer is installed: neither the PATH nor the usual folders hold `postgres` and `initdb`"
    )]
    NotInstalled { oldest: u32 },

    /// The data folder was created by a version that is not installed.
    #[error("the database in `{}` was made by Postgres {major}, which is not installed", data_dir.display())]
    OtherVersion { data_dir: PathBuf, major: u32 },

    #[error("no `{program}` of Postgres {major} or newer is installed")]
    NoClient { program: &'static str, major: u32 },

    #[error("the data folder `{}` is in use by {}", data_dir.display(), holder(*pid))]
    InUse { data_dir: PathBuf, pid: Option<u32> },

    /// Postgres refuses to run as root, and neither `postgres` nor `nobody` exists.
    #[error("Postgres does not run as root, and there is neither a user `postgres` nor a user `nobody` here")]
    NoAccount,

    /// Another user owns the database files, and this process does not run as root.
    #[error("the database in `{}` belongs to another user (uid {uid})", data_dir.display())]
    OtherOwner { data_dir: PathBuf, uid: u32 },

    /// `initdb` or the creation of the database failed.
    #[error("creating a database in `{}` failed: {output}", data_dir.display())]
    Initialize { data_dir: PathBuf, output: String },

    /// Postgres cannot write to the data folder. `reason` is the line of its output that reports it.
    #[error("the disk of `{}` is full: {reason}", data_dir.display())]
    DiskFull { data_dir: PathBuf, reason: String },

    /// The server exited during the start.
    #[error("Postgres did not start; the end of `{}` says: {tail}", log.display())]
    Start { log: PathBuf, tail: String },

    /// The server neither exited nor accepted connections in time.
    #[error("Postgres did not answer within {seconds} s; see `{}`", log.display())]
    Slow { log: PathBuf, seconds: u64 },

    /// A postmaster of this folder did not exit after any signal.
    #[error("Postgres (pid {pid}) in `{}` does not stop", data_dir.display())]
    Unstoppable { data_dir: PathBuf, pid: u32 },

    /// An operation on a file or program failed.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl ClusterError {
    /// Returns the next step for the user, if there is one.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotInstalled { .. } if cfg!(target_os = "macos") => {
                "install it with `brew install postgresql@17`, or name a server with `--database-url`".into()
            }
            Self::NotInstalled { .. } => {
                "install it with `apt-get install postgresql`, or name a server with `--database-url`".into()
            }
            Self::OtherVersion { major, .. } if cfg!(target_os = "macos") => {
                format!("install it with `brew install postgresql@{major}`, or choose another `--data-dir`")
            }
            Self::OtherVersion { major, .. } => {
                format!("install it with `apt-get install postgresql-{major}`, or choose another `--data-dir`")
            }
            Self::NoClient { major, .. } if cfg!(target_os = "macos") => {
                format!("install it with `brew install postgresql@{major}`")
            }
            Self::NoClient { major, .. } => format!("install it with `apt-get install postgresql-client-{major}`"),
            Self::InUse { pid: Some(pid), .. } => {
                format!("use the running instance, stop it with `kill {pid}`, or choose another `--data-dir`")
            }
            Self::InUse { .. } => "use the running instance, or choose another `--data-dir`".into(),
            Self::NoAccount => "start as an ordinary user, or create one with `useradd --system postgres`".into(),
            Self::OtherOwner { .. } => "start as that user or as root, or choose another `--data-dir`".into(),
            Self::Unstoppable { pid, .. } => format!("end it with `kill -QUIT {pid}`"),
            Self::DiskFull { .. } => {
                "free space on it, then start again; do not delete files in `postgres`: they are the database".into()
            }
            Self::Io { source, .. } if source.kind() == ErrorKind::StorageFull => {
                "free space on the disk of that path, then start again".into()
            }
            Self::Initialize { .. } | Self::Start { .. } | Self::Slow { .. } | Self::Io { .. } => return None,
        })
    }

    /// Converts an I/O error: `.map_err(ClusterError::io("create", path))`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// Returns the first line of Postgres output that reports a full disk. Servers before version 16 do not print the
/// reason for a failed write of `pg_internal.init`, the init file.
pub(crate) fn full_disk(output: &str) -> Option<&str> {
    let reports = |line: &&str| line.contains("No space left on device") || line.contains("could not write init file");
    output.lines().find(reports).map(str::trim)
}

/// Returns the lines of an output that report errors, because Postgres also prints the failed statement, which may have
/// hundreds of lines. Short outputs are returned completely. If a long output has no such lines, returns its end.
pub(crate) fn error_lines(output: &str) -> String {
    let lines: Vec<&str> = output.trim().lines().collect();
    if lines.len() <= MAX_OUTPUT_LINES {
        return lines.join("\n");
    }
    let words = ["ERROR:", "FATAL:", "PANIC:", "DETAIL:", "HINT:", "error:"];
    let is_report = |line: &&&str| words.iter().any(|word| line.contains(word));
    let reports: Vec<&str> = lines.iter().filter(is_report).take(MAX_OUTPUT_LINES).copied().collect();
    if reports.is_empty() { lines[lines.len() - MAX_OUTPUT_LINES..].join("\n") } else { reports.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_reports_a_full_disk_is_found() {
        let output = "running bootstrap script ...\n\
            2026-12-01 04:00:00 UTC [7] FATAL:  could not write to file \"pg_wal/xlogtemp.7\": No space left on device\n\
            STATEMENT:  create view x\n";
        assert!(full_disk(output).is_some_and(|line| line.ends_with("xlogtemp.7\": No space left on device")));
        assert_eq!(full_disk("FATAL:  could not write init file\n"), Some("FATAL:  could not write init file"));
        assert_eq!(full_disk("FATAL:  lock file \"postmaster.pid\" already exists\n"), None);
        let error = ClusterError::DiskFull { data_dir: "/data/orch".into(), reason: "no".into() };
        assert_eq!(error.to_string(), "the disk of `/data/orch` is full: no");
        assert!(error.hint().is_some_and(|hint| hint.starts_with("free space on it")));
        let write = ClusterError::io("write", Path::new("/data/orch/postgres.password"));
        assert!(write(ErrorKind::StorageFull.into()).hint().is_some_and(|hint| hint.starts_with("free space")));
    }

    #[test]
    fn of_a_long_output_only_the_errors_are_shown() {
        assert_eq!(error_lines("initdb: error: no\n"), "initdb: error: no");
        let statement = "  line of a statement\n".repeat(400);
        let output = format!("creating\nFATAL:  no\nSTATEMENT:  create view x as\n{statement}child process exited\n");
        assert_eq!(error_lines(&output), "FATAL:  no");
        assert_eq!(error_lines(&statement).lines().count(), MAX_OUTPUT_LINES);
    }
}
