//! `orch standalone` in a temporary folder with the bundle next to it, like `make run` starts them.

use crate::world::{FinishedCommand, command};
use orch_test_support::until;
use std::io::BufRead as _;
use std::path::Path;
use std::process::{Child, Stdio};
use tempfile::TempDir;

pub(crate) const PASSWORD: &str = "correct horse battery staple";

pub(crate) struct Standalone {
    pub(crate) home: TempDir,
    pub(crate) url: String,
    child: Child,
}

impl Standalone {
    pub(crate) fn start() -> Standalone {
        Standalone::start_with("")
    }

    /// Starts a standalone with this `orch.toml`.
    pub(crate) fn start_with(settings: &str) -> Standalone {
        let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
        std::fs::create_dir(home.path().join("data")).unwrap();
        std::fs::write(home.path().join("data/orch.toml"), settings).unwrap();
        let mut child = command(home.path())
            .args(["standalone", "--port", "0", "--admin-password", PASSWORD])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let url = std::io::BufReader::new(child.stdout.take().unwrap()).lines().next();
        let standalone = Standalone { home, url: url.expect("it says its address").unwrap(), child };
        // The bundle joins later.
        standalone.wait_for(&["dags", "list", "-o", "plain"], |listed| listed.out.contains("retail_medallion"));
        standalone
    }

    /// Runs a command until its result matches.
    pub(crate) fn wait_for(&self, arguments: &[&str], is_it: impl Fn(&FinishedCommand) -> bool) {
        until(&format!("what {arguments:?} is to say"), || {
            let ended = self.run(arguments);
            if is_it(&ended) { Ok(()) } else { Err(format!("{ended:?}")) }
        });
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> FinishedCommand {
        run_in(self.home.path(), arguments)
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        self.child.wait().unwrap();
    }
}

pub(crate) fn run_in(home: &Path, arguments: &[&str]) -> FinishedCommand {
    FinishedCommand::of(&command(home).args(arguments).output().unwrap())
}
