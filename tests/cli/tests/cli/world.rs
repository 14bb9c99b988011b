//! A database for one test, with an optional worker and scheduler.

use crate::binary::{CommandOutput, command, run_with};
use orch_test_support::{TestDb, until};
use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Lease of a worker, after which a dead one is detected.
const LEASE: &str = "2s";
/// Timeout for everything that a test waits for.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct World {
    db: TestDb,
    home: TempDir,
    processes: Vec<Child>,
    environment: Vec<(&'static str, String)>,
}

impl World {
    /// Returns a migrated database without processes.
    pub(crate) async fn new() -> World {
        let db = TestDb::new(&orch_store::MIGRATOR).await;
        World { db, home: tempfile::tempdir().unwrap(), processes: Vec::new(), environment: Vec::new() }
    }

    /// Starts a worker and a scheduler. All DAGs are registered, and unpaused unless they declare otherwise.
    pub(crate) async fn at_work() -> World {
        let mut world = World::new().await;
        world.begin_work();
        world
    }

    /// Starts them in a world whose settings were changed.
    pub(crate) fn begin_work(&mut self) {
        self.start(&["worker", "--lease", LEASE, "--paused-at-creation=false"]);
        self.start(&["scheduler"]);
        self.wait_for(&["dags", "list", "-o", "plain"], |ended| ended.out.contains("test_scheduled"));
    }

    pub(crate) fn start(&mut self, arguments: &[&str]) -> u32 {
        let mut command = command(self.home.path());
        let said = std::fs::File::options().create(true).append(true).open(self.said_path()).unwrap();
        command.env("ORCH_DATABASE_URL", self.db.url()).envs(self.environment.iter().cloned());
        command.args(arguments).stdout(said.try_clone().unwrap()).stderr(said);
        let child = command.spawn().unwrap();
        let pid = child.id();
        self.processes.push(child);
        pid
    }

    /// Returns the pids of the running processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Child::id).collect()
    }

    /// Stops a process gracefully: it may finish its current work.
    pub(crate) fn stop(&mut self, pid: u32) {
        let place = self.processes.iter().position(|child| child.id() == pid).unwrap();
        let mut child = self.processes.remove(place);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), nix::sys::signal::Signal::SIGTERM)
            .unwrap();
        child.wait().unwrap();
    }

    /// Waits until a process exits. Returns its exit code, or `None` if it was killed.
    pub(crate) fn wait_for_end(&mut self, pid: u32) -> Option<i32> {
        let place = self.processes.iter().position(|child| child.id() == pid).unwrap();
        self.processes.remove(place).wait().unwrap().code()
    }

    /// Kills a process immediately, like a crash of the machine.
    pub(crate) fn kill(&mut self, pid: u32) {
        let place = self.processes.iter().position(|child| child.id() == pid).unwrap();
        let mut child = self.processes.remove(place);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sets a variable for processes and commands from now on.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.push((name, value.into()));
    }

    fn said_path(&self) -> std::path::PathBuf {
        self.home.path().join("processes.log")
    }

    /// Returns the output of all processes (stdout and stderr), only complete lines: a process writes a line in several
    /// pieces.
    pub(crate) fn said(&self) -> String {
        let mut said = std::fs::read_to_string(self.said_path()).unwrap_or_default();
        said.truncate(said.rfind('\n').map_or(0, |end| end + 1));
        said
    }

    /// Polls the output until it contains the words, because other processes send no events.
    pub(crate) async fn wait_until_said(&self, words: &str) {
        self.wait_until_said_often(words, 1).await;
    }

    /// Polls the output until it contains the words `times` times.
    pub(crate) async fn wait_until_said_often(&self, words: &str, times: usize) {
        let began = Instant::now();
        while self.said().matches(words).count() < times {
            assert!(began.elapsed() < PATIENCE, "nobody says {words:?}: {}", self.said());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn url(&self) -> String {
        self.db.url()
    }

    pub(crate) async fn db(&self) -> sqlx::PgConnection {
        self.db.connect().await
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> CommandOutput {
        self.run_at(&["--database-url", &self.db.url()], arguments)
    }

    /// Runs a command; `server` contains the flags that name the server.
    pub(crate) fn run_at(&self, server: &[&str], arguments: &[&str]) -> CommandOutput {
        let mut command = command(self.home.path());
        command.envs(self.environment.iter().cloned()).args(arguments).args(server);
        CommandOutput::of(&command.output().unwrap())
    }

    /// Returns a world with the same settings on a copy of the database, without processes.
    pub(crate) async fn copy(&self) -> World {
        let (db, home) = (self.db.copy().await, tempfile::tempdir().unwrap());
        World { db, home, processes: Vec::new(), environment: self.environment.clone() }
    }

    /// Starts a web server and returns its address.
    pub(crate) async fn serve(&mut self, admin_password: &str) -> String {
        self.start(&["web", "--port", "0", "--admin-password", admin_password]);
        let up = "orch web is up: ";
        self.wait_until_said(up).await;
        let said = self.said();
        said.split_once(up).unwrap().1.split_whitespace().next().unwrap().to_owned()
    }

    pub(crate) fn run_with(&self, input: &[u8], arguments: &[&str]) -> CommandOutput {
        let url = self.db.url();
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--database-url", &url]).collect();
        run_with(self.home.path(), &self.environment, input, &arguments)
    }

    /// Runs a command repeatedly until its result satisfies the condition.
    pub(crate) fn wait_for(&self, arguments: &[&str], is_it: impl Fn(&CommandOutput) -> bool) -> CommandOutput {
        until(&format!("what {arguments:?} is to say"), || {
            let ended = self.run(arguments);
            if is_it(&ended) { Ok(ended) } else { Err(format!("{ended:?}")) }
        })
    }

    /// Changes rows of the database directly.
    pub(crate) async fn sql(&self, text: &'static str) {
        let done = sqlx::query(text).execute(&mut self.db.connect().await).await.unwrap();
        assert!(done.rows_affected() > 0, "{text}");
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.home.path()
    }
}

impl Drop for World {
    /// Kills all processes of the test, even if it failed.
    fn drop(&mut self) {
        for child in &mut self.processes {
            let ended = child.kill().and_then(|()| child.wait());
            assert!(ended.is_ok() || std::thread::panicking(), "a process does not end");
        }
    }
}

/// Reads the lines of a child until one of them contains the word.
pub(crate) fn read_until(source: impl std::io::Read, word: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in BufReader::new(source).lines() {
        let line = line.unwrap();
        let is_it = line.contains(word);
        lines.push(line);
        if is_it {
            return lines;
        }
    }
    panic!("it ended without saying {word:?}: {lines:#?}");
}
