//! A database, a folder and `orch` processes that work on them.

use orch_test_lake::MIGRATOR;
use orch_test_support::{TestDb, until};
use serde_json::Value;
use sqlx::postgres::PgListener;
use sqlx::{Connection as _, PgConnection};
use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use tempfile::TempDir;

/// Lease of workers: time after which a dead worker is noticed.
const LEASE: &str = "2s";
/// Default name of the lake.
const CATALOG: &str = "orch";
/// DAGs whose scheduled runs would interfere with tests.
const BY_THEMSELVES: [&str; 13] = [
    "batch_hourly_dag",
    "comprehensive_analytics_pipeline",
    "demand_forecast",
    "fare_prediction",
    "kafka_to_raw_dag",
    "lake_upkeep",
    "logging_client",
    "nyc_weather_etl",
    "producer_weather_kafka",
    "stream_5min_dag",
    "users_producer",
    "weather_producer",
    "weather_silence",
];

pub(crate) struct World {
    db: TestDb,
    home: TempDir,
    processes: Vec<Child>,
    environment: Vec<(&'static str, String)>,
}

/// The result of a command.
pub(crate) struct FinishedCommand {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    /// Creates a migrated database without processes. Each test has its own database, so loads write into the same one.
    pub(crate) async fn new() -> World {
        let db = TestDb::new(&MIGRATOR).await;
        let target = ("ORCH_CONN_RETAIL_POSTGRES", db.url());
        // Scheduled runs of the taxi pipeline find no trips.
        let trips = ("ORCH_CONN_NYC_TAXI", "sample://taxi?trips=0".into());
        let environment = vec![target, trips];
        World { db, home: tempfile::tempdir().unwrap(), processes: Vec::new(), environment }
    }

    /// Sets an environment variable of all processes that start later, such as a connection.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.into()));
    }

    pub(crate) fn database_url(&self) -> String {
        self.db.url()
    }

    /// Starts a worker and a scheduler. All DAGs are registered, and those that only run when triggered are unpaused.
    pub(crate) fn at_work(mut self) -> World {
        self.start_worker();
        self.with_scheduler()
    }

    /// Pauses scheduled DAGs that tests do not use, then starts the scheduler.
    fn with_scheduler(mut self) -> World {
        self.wait_for("the DAGs", &["dags", "list", "-o", "plain"], |ended| ended.out.contains("retail_medallion"));
        for dag in BY_THEMSELVES {
            self.run(&["dags", "pause", dag]).done();
        }
        self.start(&["scheduler"]);
        self
    }

    /// Like `at_work`, but the worker cannot write files larger than `kilobytes` kB.
    pub(crate) fn at_work_with_files_of(mut self, kilobytes: u32) -> World {
        // Ignores the signal that would end the process, so that the write fails like on a full disk.
        let limited = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", kilobytes * 2);
        let worker = self.command(&["worker", "--lease", LEASE, "--paused-at-creation=false"]);
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(limited).arg(worker.get_program()).args(worker.get_args()).stdin(Stdio::null());
        for (name, value) in worker.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        self.processes.push(shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        self.with_scheduler()
    }

    pub(crate) fn start_worker(&mut self) -> u32 {
        self.start(&["worker", "--lease", LEASE, "--paused-at-creation=false"])
    }

    /// Returns the pid of the worker that `at_work` started.
    pub(crate) fn first_worker(&self) -> u32 {
        self.processes[0].id()
    }

    pub(crate) fn start(&mut self, arguments: &[&str]) -> u32 {
        let said = std::fs::File::options().create(true).append(true).open(self.path().join("said.log")).unwrap();
        let mut command = self.command(arguments);
        let child = command.stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap();
        let pid = child.id();
        self.processes.push(child);
        pid
    }

    /// Starts a server of the bundle, waits until it is up, and returns its pid and address.
    pub(crate) fn start_server(&mut self, arguments: &[&str]) -> (u32, String) {
        let mut child = self.command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut all = String::new();
        let address = loop {
            let from = all.len();
            assert!(said.read_line(&mut all).unwrap() > 0, "it ended: {all}");
            if let Some((_, address)) = all[from..].split_once(" is up: http://") {
                break address.trim_end().to_owned();
            }
        };
        let mut log = std::fs::File::options().create(true).append(true).open(self.path().join("said.log")).unwrap();
        log.write_all(all.as_bytes()).unwrap();
        let pid = child.id();
        child.stderr = Some(said.into_inner());
        self.processes.push(child);
        (pid, address)
    }

    /// Kills a process immediately, like a failing machine.
    pub(crate) fn kill(&mut self, pid: u32) {
        let place = self.processes.iter().position(|child| child.id() == pid).unwrap();
        let mut child = self.processes.remove(place);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits until a process exits.
    pub(crate) fn wait_for_end(&mut self, pid: u32) -> ExitStatus {
        let index = self.processes.iter().position(|child| child.id() == pid).unwrap();
        self.processes.remove(index).wait().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let of_bundle =
            arguments.first().is_some_and(|first| ["worker", "logging-server", "serving", "catalog"].contains(first));
        let binary = if of_bundle { bundle } else { command };
        let mut command = binary(self.path());
        command.env("ORCH_DATABASE_URL", self.db.url()).envs(self.environment.iter().cloned()).args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> FinishedCommand {
        FinishedCommand::of(&self.command(arguments).output().unwrap())
    }

    /// Like `run`, with a text on standard input.
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> FinishedCommand {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        FinishedCommand::of(&child.wait_with_output().unwrap())
    }

    /// Triggers a run, which must succeed. A failure shows the failed tasks.
    #[track_caller]
    pub(crate) fn good(&self, dag: &str, run: &str, conf: &Value) {
        let ended = self.trigger(dag, run, conf);
        self.assert_good(dag, run, &ended);
    }

    /// Waits for the end of a run, which must succeed.
    #[track_caller]
    pub(crate) fn wait_good(&self, dag: &str, run: &str) {
        let ended = self.run(&["runs", "wait", dag, run, "--timeout", "2m"]);
        self.assert_good(dag, run, &ended);
    }

    #[track_caller]
    fn assert_good(&self, dag: &str, run: &str, ended: &FinishedCommand) {
        if ended.code == 0 {
            return;
        }
        let states = self.run(&["tasks", "states-for-dag-run", dag, run, "-o", "json"]);
        let tasks: Vec<Value> = serde_json::from_str(&states.out).unwrap_or_default();
        let failed = tasks.iter().filter(|task| task["state"] == "failed").filter_map(|task| task["task_id"].as_str());
        let logs: Vec<String> = failed.map(|task| format!("{task}:\n{}", self.log(dag, task, run))).collect();
        panic!("run `{run}` of `{dag}` is not good: {ended:?}\n{}", logs.join("\n"));
    }

    /// Triggers a run and waits for its end.
    pub(crate) fn trigger(&self, dag: &str, run: &str, conf: &Value) -> FinishedCommand {
        self.run(&["dags", "trigger", dag, "--run-id", run, "--conf", &conf.to_string(), "--wait"])
    }

    /// Runs a command until its result matches.
    pub(crate) fn wait_for(
        &self,
        what: &str,
        arguments: &[&str],
        is_it: impl Fn(&FinishedCommand) -> bool,
    ) -> FinishedCommand {
        until(what, || {
            let ended = self.run(arguments);
            if is_it(&ended) { Ok(ended) } else { Err(format!("{ended:?}\n{}", self.said())) }
        })
    }

    /// Returns the log of a failed task, with its outcome.
    pub(crate) fn log(&self, dag: &str, task: &str, run: &str) -> String {
        let said = self.wait_for("the log", &["tasks", "logs", dag, task, run], |ended| !ended.err.is_empty());
        said.out + &said.err
    }

    /// Returns a table of the schema `retail` as CSV, sorted by key, with the exact text of every value.
    pub(crate) async fn loaded(&self, table: &str) -> String {
        self.loaded_in("retail", table).await
    }

    /// Like `loaded`, for another schema.
    pub(crate) async fn loaded_in(&self, schema: &str, table: &str) -> String {
        let table = orch_dags::retail::tables::lake().find(|one| one.name == table).unwrap();
        let columns: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
        let select =
            format!("select {} from {schema}.{} order by {}", columns.join(", "), table.name, table.key.join(", "));
        self.csv(&select).await
    }

    /// Returns the result of a statement as CSV with a header.
    pub(crate) async fn csv(&self, select: &str) -> String {
        let mut db = self.db.connect().await;
        let copy = format!("copy ({select}) to stdout (format csv, header)");
        let mut pieces = db.copy_out_raw(&copy).await.unwrap();
        let mut text = Vec::new();
        while let Some(piece) = futures::StreamExt::next(&mut pieces).await {
            text.extend_from_slice(&piece.unwrap());
        }
        drop(pieces);
        db.close().await.unwrap();
        String::from_utf8(text).unwrap()
    }

    /// Opens the lake of this world in the test process.
    pub(crate) fn lake(&self) -> orch_lake::Lake {
        let config = orch_lake::LakeConfig {
            catalog: self.db.pool(),
            name: CATALOG.into(),
            warehouse: self.warehouse(),
            storage: orch_lake::bucket::Options::default(),
        };
        orch_lake::Lake::open(config).unwrap()
    }

    /// Opens the lake in PyIceberg.
    pub(crate) fn python(&self) -> orch_test_lake::pyiceberg::PyIceberg {
        orch_test_lake::pyiceberg::PyIceberg::open(&self.db.url(), CATALOG, &self.warehouse())
    }

    fn warehouse(&self) -> String {
        format!("file://{}", self.path().join("data/lake").display())
    }

    pub(crate) async fn db(&self) -> PgConnection {
        self.db.connect().await
    }

    /// Adds a user with this role and returns a token of the user with this scope.
    pub(crate) async fn add_key(&self, role: &str, scope: &str) -> String {
        let key = format!("orch_{role}_{scope}");
        let add = "with person as (insert into api_user (name, password_hash, role) values ($2, 'none', $1) returning name, generation)
            insert into api_token (token_hash, user_name, name, generation, created_at, scope)
            select sha256(convert_to($2, 'utf8')), name, 'a notebook', generation, now(), $3 from person";
        sqlx::query(add).bind(role).bind(&key).bind(scope).execute(&mut self.db().await).await.unwrap();
        key
    }

    /// Listens on a database channel.
    pub(crate) async fn listen(&self, channel: &str) -> PgListener {
        let mut heard = PgListener::connect(&self.db.url()).await.unwrap();
        heard.listen(channel).await.unwrap();
        heard
    }

    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    /// Returns the output of all processes, for failure messages.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.path().join("said.log")).unwrap_or_default()
    }
}

impl Drop for World {
    /// Kills all processes that the test started, even if the test panics.
    fn drop(&mut self) {
        for child in &mut self.processes {
            let ended = child.kill().and_then(|()| child.wait());
            assert!(ended.is_ok() || std::thread::panicking(), "a process does not end");
        }
    }
}

/// Returns a command of the binary `orch`, which starts the bundle in its folder.
pub(crate) fn command(home: &Path) -> Command {
    let orch = Path::new(env!("CARGO_BIN_EXE_orch-pipelines")).with_file_name("orch");
    assert!(orch.exists(), "`{}` is missing: build it with `cargo build -p orch-control`", orch.display());
    without_settings(Command::new(orch), home)
}

pub(crate) fn bundle(home: &Path) -> Command {
    without_settings(Command::new(env!("CARGO_BIN_EXE_orch-pipelines")), home)
}

/// Removes all orch settings of this machine from the environment of a command.
fn without_settings(mut command: Command, home: &Path) -> Command {
    #[expect(clippy::disallowed_methods, reason = "to take things out of it, not to read it")]
    let foreign = std::env::vars_os().map(|(name, _)| name);
    for name in foreign.filter(|name| name.as_encoded_bytes().starts_with(b"ORCH_")) {
        command.env_remove(name);
    }
    command.env("HOME", home).env("ORCH_DATA_DIR", home.join("data")).stdin(Stdio::null());
    command
}

impl FinishedCommand {
    pub(crate) fn of(output: &Output) -> FinishedCommand {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or_else(|| panic!("it was killed: {}", output.status));
        FinishedCommand { code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Asserts success, and returns the standard output.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// Asserts exit code 1: the command ran, and its operation failed.
    #[track_caller]
    pub(crate) fn failed(self) {
        assert_eq!(self.code, 1, "{self:?}");
    }
}

impl fmt::Debug for FinishedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit code {}\n--- stdout\n{}--- stderr\n{}", self.code, self.out, self.err)
    }
}
