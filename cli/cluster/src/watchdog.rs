//! Stops the server when its owner dies without a word. A shell waits at the end of a pipe that only the owner
//! holds; when the pipe closes without a farewell, it sends the server the signal for a fast shutdown.
//!
//! If the watchdog is killed too, the server stays behind and the next owner ends it (see `postmaster`).

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::error::ClusterError;
use crate::home::{Home, needed};

/// `$1` is the data folder. Each line read is the pid of the server now in charge, or the farewell. The pid file
/// is asked again before the signal: the number may belong to another process by now.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
while read -r word; do
  [ "$word" = farewell ] && exit 0
  pid=$word
done
read -r current < "$1/postmaster.pid" && [ "$current" = "$pid" ] && kill -INT "$pid"
"#;

/// Stops the server it guards when this process dies. Dropped without a farewell it does the same.
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

    /// Names the server to stop.
    pub fn guard(&mut self, pid: u32) {
        self.say(&pid.to_string());
    }

    /// Ends the watch without a signal.
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
