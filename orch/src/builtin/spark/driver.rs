//! A driver that runs elsewhere, in deploy mode `cluster`. It does not end with `spark-submit`, so it is killed
//! through its master when the task ends first.

use super::super::process::ProcessExit;
use super::server::Server;
use crate::TaskResult;
use orch_workers::program;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// Timeout for killing a driver. A cancelled task has five seconds to clean up.
const PATIENCE: Duration = Duration::from_secs(4);

/// The command that kills a driver. `None` if the driver is a child process of the task.
pub(super) struct Driver {
    kill: Option<Vec<String>>,
}

impl Driver {
    pub(super) fn of(server: &Server, program: &str, settings: &str) -> Driver {
        let is_standalone = server.master.starts_with("spark://");
        let words = || [program, "--properties-file", settings, "--kill"].map(String::from).into();
        Driver { kill: (server.is_cluster && is_standalone).then(words) }
    }

    /// Returns the result of `spark-submit` unchanged. Kills the driver first if it is an error, for example
    /// because the task was cancelled.
    pub(super) async fn ended(&self, ended: TaskResult<ProcessExit>, id: Option<String>) -> TaskResult<ProcessExit> {
        if ended.is_err()
            && let (Some(words), Some(id)) = (&self.kill, id)
        {
            let mut command = Command::new(&words[0]);
            program::clean(command.as_std_mut());
            command.args(&words[1..]).arg(id).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            // Errors are ignored: a master that does not respond cannot kill the driver.
            timeout(PATIENCE, command.kill_on_drop(true).status()).await.ok();
        }
        ended
    }
}
