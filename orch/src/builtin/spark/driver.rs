//! A driver that runs elsewhere, in deploy mode `cluster`: it does not end with `spark-submit`, so it is ended through its
//! master when the task ends before it.

use super::super::process::ProcessExit;
use super::server::Server;
use crate::TaskResult;
use orch_workers::program;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// A cancelled task has five seconds to clean up.
const PATIENCE: Duration = Duration::from_secs(4);

/// How a driver that runs elsewhere is ended; `None` where it is a program of the task.
pub(super) struct Driver {
    kill: Option<Vec<String>>,
}

impl Driver {
    pub(super) fn of(server: &Server, program: &str, settings: &str) -> Driver {
        let is_standalone = server.master.starts_with("spark://");
        let words = || [program, "--properties-file", settings, "--kill"].map(String::from).into();
        Driver { kill: (server.is_cluster && is_standalone).then(words) }
    }

    /// Hands on how `spark-submit` ended. When that was before the driver, the driver is ended, too.
    pub(super) async fn ended(&self, ended: TaskResult<ProcessExit>, id: Option<String>) -> TaskResult<ProcessExit> {
        if ended.is_err()
            && let (Some(words), Some(id)) = (&self.kill, id)
        {
            let mut command = Command::new(&words[0]);
            program::clean(command.as_std_mut());
            command.args(&words[1..]).arg(id).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            // A master that does not answer cannot end it either.
            timeout(PATIENCE, command.kill_on_drop(true).status()).await.ok();
        }
        ended
    }
}
