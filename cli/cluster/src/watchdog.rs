//! Stops the server when its owner is killed. A shell reads from a pipe that only the owner holds open. When the pipe
//! is closed without a `farewell` line, the shell sends the server the signal for a fast shutdown.
//!
//! If the watchdog is killed too, the server keeps running and the next owner stops it (see `postmaster`).

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::error::ClusterError;
use crate::home::{Home, needed};

/// `$1` is the data folder. Each line is the pid of the current server, or `farewell`. The pid file is compared before
/// the signal is sent, because another process may have reused the pid.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
while read -r word; do
  [ "$word" = farewell ] && exit 0
  pid=$word
done
read -r current < "$1/postmaster.pid" && [ "$current" = "$pid" ] && kill -INT "$pid"
"#;

/// Stops the guarded server when this process dies or when it is dropped without `dismiss`.
#[derive(Debug)]
pub struct Watchdog {
    shell: Child,
    pipe: ChildStdin,
}

impl Watchdog {
    pub fn start(home: &Home) -> Result<Self, ClusterError> {
        let path = Path::new("/bin/sh");
        let mut shell = Command::new(path)
            .args(["-c", SCRIPT, "orch-watchdog"])
            .arg(home.data())
            .env_clear()
            .envs(needed())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(ClusterError::io("run", path))?;
        let pipe = shell.stdin.take().expect("stdin was asked for");
        Ok(Self { shell, pipe })
    }

    /// Sets the server to stop.
    pub fn guard(&mut self, pid: u32) {
        self.say(&pid.to_string());
    }

    /// Ends the watchdog without stopping the server.
    pub fn dismiss(mut self) {
        self.say("farewell");
        drop(self.pipe);
        if let Err(error) = self.shell.wait() {
            tracing::warn!(%error, "the watchdog of the private Postgres did not end");
        }
    }

    fn say(&mut self, word: &str) {
        if let Err(error) = self.pipe.write_all(format!("{word}\n").as_bytes()) {
            tracing::warn!(%error, "the watchdog of the private Postgres is gone; a killed owner would leave the server running");
        }
    }
}
