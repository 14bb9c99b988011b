//! `orch standalone` from its first start to its last, with crashes, signals and restarts.

use crate::binary::{CommandOutput, command, plain, run};
use crate::remote::{PASSWORD, token};
use crate::world::read_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_test_support::until;
use sqlx::{Connection as _, PgConnection};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Connects to the private database of the standalone that runs in that folder.
pub(crate) async fn db_of(home: &Path) -> PgConnection {
    let left = std::fs::read(home.join("data/standalone.json")).unwrap();
    let left: serde_json::Value = serde_json::from_slice(&left).unwrap();
    PgConnection::connect(left["url"].as_str().unwrap()).await.unwrap()
}

/// A standalone in a folder; killed on drop.
pub(crate) struct Standalone {
    child: Child,
    pub(crate) url: String,
    said: Vec<String>,
}

impl Standalone {
    pub(crate) fn start(home: &Path, arguments: &[&str]) -> Standalone {
        Standalone::start_by(command(home), arguments)
    }

    /// Starts a standalone with the environment of the command.
    pub(crate) fn start_by(mut command: Command, arguments: &[&str]) -> Standalone {
        command.args(["standalone", "--port", "0", "--lease", "2s"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = read_until(child.stderr.as_mut().unwrap(), "  stop      Ctrl-C");
        let url = if arguments.contains(&"--no-web") {
            String::new()
        } else {
            read_until(child.stdout.as_mut().unwrap(), "http").remove(0)
        };
        Standalone { child, url, said }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Sends the signal and waits. Returns the exit code, `None` after a kill, and the remaining output.
    fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        self.signal(signal);
        let code = self.child.wait().unwrap().code();
        let mut rest = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut rest).unwrap();
        (code, rest)
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// Returns the status line of a GET.
fn get(url: &str) -> String {
    use std::io::Write as _;
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn it_starts_works_is_killed_recovers_and_stops() {
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let first = Standalone::start(home.path(), &[]);
    assert_eq!(get(&format!("{}/healthz", first.url)), "HTTP/1.1 200 OK");
    let password = first.said.iter().find(|line| line.contains("user admin, password ")).unwrap();
    assert!(password.contains("(told once)"), "{password}");
    let data = home.path().join("data");
    let mut files = vec![data.clone()];
    files.extend(std::fs::read_dir(&data).unwrap().map(|file| file.unwrap().path()));
    assert!(files.contains(&data.join("standalone.json")) && files.contains(&data.join("dags")), "{files:?}");
    for file in files {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "other users can access {}: {mode:o}", file.display());
    }

    assert_eq!(run(home.path(), ["dags", "trigger", "example_chain", "--wait"]).code, 0);
    run(home.path(), ["dags", "trigger", "test_lingering", "--run-id", "cut-short"]).done();

    let second = run(home.path(), ["standalone", "--port", "0"]).refused();
    assert_eq!(
        second,
        "error: the data folder `<path>` is in use by <pid>\n\
        hint: use the running instance, stop it with `<pid>`, or choose another `--data-dir`\n"
    );

    // SIGKILL, so that it cannot clean up.
    assert_eq!(first.end(Signal::SIGKILL).0, None);
    let alone = run(home.path(), ["dags", "list-runs", "example_chain", "-o", "json"]).json();
    assert_eq!(alone[0]["state"], "success", "a command reads the database of a dead standalone");
    let refused = run(home.path(), ["dags", "trigger", "example_chain", "--wait"]).refused();
    assert!(
        refused.starts_with(
            "error: no scheduler and no worker is running: the standalone of this data folder is stopped\n"
        ),
        "{refused}"
    );

    let third = Standalone::start(home.path(), &[]);
    assert!(!third.said.iter().any(|line| line.contains("password")), "{:?}", third.said);
    assert_eq!(run(home.path(), ["dags", "trigger", "example_diamond", "--wait"]).code, 0);
    // Tasks of the killed standalone run again when its lease has expired.
    let began = Instant::now();
    let taken_over = || {
        let doctor = run(home.path(), ["doctor", "-o", "plain"]);
        doctor.out.contains("1 lost lately") && doctor.out.contains("1 of 256 slots busy")
    };
    while !taken_over() {
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", run(home.path(), ["doctor"]));
    }
    run(home.path(), ["runs", "cancel", "cut-short"]).done();

    let (code, said) = third.end(Signal::SIGINT);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with("stopping: what runs is given time to end; once more stops at once\n"), "{said}");
    let postmaster = home.path().join("data/postgres/data/postmaster.pid");
    assert!(!postmaster.exists(), "the private server stops with its owner");
    // Commands also work with a stopped standalone.
    let listed = run(home.path(), ["runs", "list", "--state", "success", "-o", "json"]).json();
    // One DAG has a schedule, which may have started a run meanwhile.
    let by_hand = |run: &&serde_json::Value| run["run_id"].as_str().unwrap().starts_with("manual__");
    assert_eq!(listed.as_array().unwrap().iter().filter(by_hand).count(), 2, "{listed}");
}

#[test]
fn a_second_signal_does_not_wait_for_what_runs() {
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let standalone = Standalone::start(home.path(), &["--no-web", "--grace", "10m"]);
    run(home.path(), ["dags", "trigger", "example_hello", "--wait"]).done();
    let stubborn = run(home.path(), ["dags", "trigger", "test_lingering"]);
    assert_eq!(stubborn.code, 0);
    let busy = || run(home.path(), ["doctor", "-o", "plain"]).out.contains("1 of 256 slots busy");
    let began = Instant::now();
    while !busy() {
        assert!(began.elapsed() < Duration::from_secs(30));
    }
    standalone.signal(Signal::SIGTERM);
    let mut standalone = standalone;
    read_until(standalone.child.stderr.as_mut().unwrap(), "stopping: ");
    let began = Instant::now();
    let (code, said) = standalone.end(Signal::SIGTERM);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("stopping at once\n"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_second_signal_does_not_wait_for_the_database() {
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let mut standalone = Standalone::start(home.path(), &["--no-web"]);
    let file = home.path().join("data/postgres/data/postmaster.pid");
    let text = std::fs::read_to_string(&file).unwrap();
    let postmaster = Pid::from_raw(text.lines().next().unwrap().parse().unwrap());
    // A server that does not stop, for example because of a slow disk.
    kill(postmaster, Signal::SIGSTOP).unwrap();
    standalone.signal(Signal::SIGINT);
    read_until(standalone.child.stderr.as_mut().unwrap(), "stopping: ");
    let began = Instant::now();
    let (_, said) = standalone.end(Signal::SIGINT);
    let took = began.elapsed();
    // The watchdog has sent the stop signal.
    kill(postmaster, Signal::SIGCONT).unwrap();
    while file.exists() {
        assert!(began.elapsed() < Duration::from_secs(30), "the server stops");
    }
    assert!(took < Duration::from_secs(3), "{took:?}: {said}");
}

#[test]
fn a_port_that_is_taken_is_told_before_anything_is_started() {
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = run(home.path(), ["standalone", "--port", &port]).refused();
    let expected = format!(
        "error: cannot listen at 127.0.0.1:{port}: Address already in use (os error 98)\n\
        hint: choose another `--port`, or `--port 0` for a free one\n"
    );
    assert_eq!(refused, expected);
    assert!(!home.path().join("data").exists());
}

#[test]
fn another_server_can_be_named() {
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let db = runtime.block_on(orch_test_support::TestDb::new(&orch_store::MIGRATOR));
    // The server trusts connections over its socket, so any password is accepted.
    let url = format!("{}&password=canary-url", db.url());
    let refused = run(home.path(), ["standalone", "--no-web", "--database-url", &url, "--task-role", "nobody_has_it"]);
    let refused = refused.refused();
    assert!(
        refused.contains("error: the role `nobody_has_it` of the setting `task_role` does not exist\nhint: "),
        "{refused}"
    );
    let standalone = Standalone::start(home.path(), &["--database-url", &url, "--no-web"]);
    let warned = standalone.said.iter().any(|line| line.contains("set `task_role` to a role for tasks"));
    assert!(warned, "tasks log in as the owner: {:?}", standalone.said);
    let found = std::fs::read_to_string(home.path().join("data/standalone.json")).unwrap();
    assert!(found.contains("user=orch_owner") && !found.contains("canary-url"), "{found}");
    assert!(!home.path().join("data/postgres").exists(), "no private server is made");
    // Commands find the configured database by the folder.
    let ended: CommandOutput = run(home.path(), ["dags", "trigger", "example_chain", "--wait"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let second = run(home.path(), ["standalone", "--port", "0", "--database-url", &db.url()]).refused();
    assert!(plain(&second).starts_with("error: the data folder `<path>` is in use by "), "{second}");
    assert_eq!(standalone.end(Signal::SIGTERM).0, Some(0));
    runtime.block_on(async { drop(db) });
}

/// A first start opens its port long before its DAGs are registered.
#[test]
fn the_right_password_is_accepted_by_the_first_response() {
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = command(home.path());
    command.args(["standalone", "--port", &port.to_string(), "--admin-password", PASSWORD]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let standalone = Standalone { child, url: format!("http://127.0.0.1:{port}"), said: Vec::new() };
    until("the server to listen", || {
        std::net::TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())
    });
    // The server responds once it is ready: earlier requests wait in its backlog.
    assert!(!token(&standalone.url).is_empty(), "no token");
}
