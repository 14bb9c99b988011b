//! `<data-dir>/standalone.json`: how commands find `orch standalone`. The file stays when the standalone ends and then names the
//! database that it used. Tasks run as the same user and can read it, so it does not contain the password of a named database.

use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

const FILE_NAME: &str = "standalone.json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standalone {
    pub pid: u32,
    /// URL of the database. Has a password only for a private server.
    pub url: String,
    /// Folder of the private server's socket; `None` if a setting names the database.
    pub socket: Option<PathBuf>,
    /// Address of the web server; `None` if it does not run.
    pub web: Option<String>,
    pub version: String,
}

impl Standalone {
    /// Reads the file of a data folder. Returns `None` if it is missing or cannot be read.
    pub fn read(data_dir: &Path) -> Option<Standalone> {
        let text = std::fs::read_to_string(data_dir.join(FILE_NAME)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Writes the file atomically and readable only for its owner.
    pub fn write(&self, data_dir: &Path) -> Result<(), Failure> {
        let (path, new) = (data_dir.join(FILE_NAME), data_dir.join("standalone.json.new"));
        let text = serde_json::to_string_pretty(self).expect("plain fields can be written as JSON");
        let written = match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new),
        };
        written
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| std::fs::rename(&new, &path))
            .map_err(Failure::io(format!("cannot write `{}`", path.display())))
    }

    /// Returns true if a process with this pid exists.
    pub fn is_alive(&self) -> bool {
        i32::try_from(self.pid).is_ok_and(|pid| {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None) != Err(nix::errno::Errno::ESRCH)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_left_can_be_found_by_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Standalone::read(folder.path()), None);
        let mut left = Standalone {
            pid: std::process::id(),
            url: "postgres:///orch".into(),
            socket: Some("/x".into()),
            web: None,
            version: "0.1.0".into(),
        };
        left.write(folder.path()).expect("it is written");
        left.web = Some("http://127.0.0.1:8080".into());
        left.write(folder.path()).expect("it is written again");
        assert_eq!(Standalone::read(folder.path()), Some(left.clone()));
        assert!(left.is_alive());
        let mode = folder.path().join(FILE_NAME).metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
