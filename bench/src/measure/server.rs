//! The installation under test: a temporary data folder with this binary running in it as `standalone`.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::api::{self, Api, RunHandle};
use super::{log, pause};
use crate::bodies::{Dump, FOLDER_VARIABLE};
use crate::clock;
use crate::dags::{BESIDE_VARIABLE, Beside};

/// Password of an installation that only this machine can reach and that lives for minutes.
pub(crate) const PASSWORD: &str = "orch-bench-0123456789";
/// Timeout for a start. The first start creates a cluster, which is slow on a slow disk.
const START_PATIENCE: Duration = Duration::from_mins(1);
const STOP_PATIENCE: Duration = Duration::from_mins(1);
const HEALTH_INTERVAL: Duration = Duration::from_millis(2);
/// `/var/tmp` survives a reboot, so it is on a disk. `/tmp` is often in memory, where a commit costs nothing.
const DATA_ROOT: &str = "/var/tmp";

/// A data folder that is removed on drop.
#[derive(Debug)]
pub struct DataDir {
    folder: TempDir,
}

impl DataDir {
    pub fn new(root: Option<&Path>) -> Result<Self> {
        let default = PathBuf::from(DATA_ROOT);
        let root = match root {
            Some(root) => root.to_owned(),
            None if default.is_dir() => default,
            None => std::env::temp_dir(),
        };
        let folder = tempfile::Builder::new().prefix("orch-bench-").tempdir_in(&root);
        let folder = folder.with_context(|| format!("cannot make a folder in `{}`", root.display()))?;
        let data = DataDir { folder };
        std::fs::create_dir(data.dumps())?;
        Ok(data)
    }

    /// Returns the value of `--data-dir`.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    fn dumps(&self) -> PathBuf {
        self.folder.path().join("dumps")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("standalone.log")
    }

    /// Returns an orch command of this binary on this data folder.
    pub fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        #[expect(clippy::disallowed_methods, reason = "names are removed, so that nobody's settings are measured")]
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"ORCH_")) {
            command.env_remove(name);
        }
        command.args(words).arg("--data-dir").arg(self.data());
        // A benchmark client sends more requests than a user, so the limits per address are raised.
        command.env("ORCH_RATE_LIMIT", "0").env("ORCH_CONNECTIONS_PER_ADDRESS", "2000");
        command.env("ORCH_ADMIN_PASSWORD", PASSWORD).env(FOLDER_VARIABLE, self.dumps()).stdin(Stdio::null());
        Ok(command)
    }
}

#[derive(Debug)]
pub struct Server {
    child: Child,
    dumps: PathBuf,
    pub(crate) api: Api,
    pub url: String,
    pub database_url: String,
    /// Time from the start of the process to the first successful response.
    pub healthy_after_ms: f64,
}

impl Server {
    pub(crate) fn start(data: &DataDir, beside: Beside) -> Result<Self> {
        Server::start_with(data, &[(BESIDE_VARIABLE, &serde_json::to_string(&beside)?)])
    }

    /// Starts the server with additional environment variables.
    pub fn start_with(data: &DataDir, environment: &[(&str, &str)]) -> Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let url = format!("http://127.0.0.1:{port}");
        let output = File::create(data.log())?;
        let mut command = data.command(&["standalone", "--port", &port.to_string()])?;
        command.envs(environment.iter().copied());
        command.stdout(output.try_clone()?).stderr(output);

        let agent = api::agent();
        let start = clock::now();
        let mut child = Reaped(Some(command.spawn().context("cannot start `standalone`")?));
        pause::until("waiting for /healthz", HEALTH_INTERVAL, START_PATIENCE, || {
            if let Some(status) = child.get().try_wait()? {
                bail!("`standalone` ended with {status}:\n{}", log::tail(&data.log(), 20));
            }
            Ok(api::is_healthy(&agent, &url).then_some(()))
        })
        .with_context(|| format!("its log ends with:\n{}", log::tail(&data.log(), 20)))?;
        let healthy_after_ms = clock::millis_between(start, clock::now());

        let database_url = pause::until("waiting for its DAGs", HEALTH_INTERVAL, START_PATIENCE, || {
            Ok(database_url(&data.data(), child.get().id()))
        })?;
        let api = Api::log_in(&url, PASSWORD)?;
        Ok(Server { child: child.keep(), dumps: data.dumps(), api, url, database_url, healthy_after_ms })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Triggers a run and waits for it. Returns the time before the trigger.
    pub(crate) fn trigger_until_ended(
        &self,
        dag_id: &'static str,
        conf: &Value,
        quiet_ms: u64,
    ) -> Result<(u64, RunHandle)> {
        let asked = clock::now();
        let run = self.api.trigger(dag_id, conf)?;
        self.api.wait(&run, Duration::from_millis(quiet_ms), Duration::from_mins(2))?;
        Ok((asked, run))
    }

    pub fn succeed(&self, dag_id: &'static str) -> Result<()> {
        self.trigger_until_ended(dag_id, &json!({}), 1).map(drop)
    }

    /// Triggers a run with a logical date and a conf, and waits until it has succeeded.
    pub fn succeed_at(&self, dag_id: &'static str, date: Option<&str>, conf: &Value) -> Result<()> {
        let run = self.api.trigger_at(dag_id, date, conf)?;
        self.api.wait(&run, Duration::from_millis(1), Duration::from_mins(5))
    }

    /// Returns the notes of the task functions since the last dump.
    pub(crate) fn dump(&self, number: &mut u32) -> Result<Dump> {
        *number += 1;
        let file = format!("dump_{number}");
        self.trigger_until_ended("bench_dump", &json!({ "file": file }), 10)?;
        let path = self.dumps.join(file);
        let content = std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        std::fs::remove_file(path)?;
        Ok(serde_json::from_slice(&content)?)
    }

    /// Stops the server with SIGTERM and waits until it has exited.
    pub fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM)?;
        let status = pause::until("waiting for `standalone` to stop", Duration::from_millis(5), STOP_PATIENCE, || {
            Ok(self.child.try_wait()?)
        })?;
        if !status.success() && status.signal() != Some(Signal::SIGTERM as i32) {
            bail!("`standalone` ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Reads the database URL from `standalone.json`, which is written when everything is running. The server responds
/// before its DAGs are registered.
fn database_url(data_dir: &Path, pid: u32) -> Option<String> {
    let file = std::fs::read(data_dir.join("standalone.json")).ok()?;
    let said: Value = serde_json::from_slice(&file).ok()?;
    (said["pid"] == pid).then(|| said["url"].as_str().map(ToOwned::to_owned))?
}

/// Stops the child on drop if the start fails.
struct Reaped(Option<Child>);

impl Reaped {
    fn get(&mut self) -> &mut Child {
        self.0.as_mut().expect("it is taken only by `keep`, which consumes")
    }

    fn keep(mut self) -> Child {
        self.0.take().expect("it is taken only here")
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

/// Stops a child with SIGTERM and waits for it. After SIGKILL, only the watchdog would stop its Postgres.
fn end(child: &mut Child) {
    if child.try_wait().is_ok_and(|ended| ended.is_some()) {
        return;
    }
    if let Err(error) = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM) {
        eprintln!("cannot stop `standalone`: {error}");
    }
    let start = std::time::Instant::now();
    while start.elapsed() < STOP_PATIENCE {
        if child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "another process has no event for us, and Ctrl-C must not cut this"
        )]
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(child.kill());
    drop(child.wait());
}
