//! Signals end a process at any time, also during its start.

use crate::binary::command;
use crate::world::World;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const END_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum time for the exit after a second signal, which skips all waits.
const SECOND_TIMEOUT: Duration = Duration::from_secs(2);
const SIGNALS: [Signal; 2] = [Signal::SIGINT, Signal::SIGTERM];

/// Sends a signal and returns the status of the process. Fails if the process does not end in time.
fn end(child: &mut Child, signal: Signal, timeout: Duration) -> ExitStatus {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
    let sent = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if sent.elapsed() > timeout {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("process {} is alive {timeout:?} after {signal}", child.id());
        }
        std::thread::yield_now();
    }
}

/// Restores the default action of SIGINT, which children inherit. Shells ignore the signal in commands that they run in the background.
#[expect(unsafe_code, reason = "there is no safe function that sets the action of a signal")]
fn restore_sigint() {
    // SAFETY: no handler is installed or replaced.
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }.unwrap();
}

/// Starts a command that is not a child of the world.
fn start(home: &Path, url: &str, arguments: &[&str]) -> Child {
    restore_sigint();
    let mut command = command(home);
    command.env("ORCH_DATABASE_URL", url).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_signal_ends_a_process_whose_database_does_not_respond() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://orch@{}/orch", silent.local_addr().unwrap());
    for arguments in [&["worker"][..], &["scheduler"], &["web", "--port", "0"], &["standalone", "--port", "0"]] {
        for signal in SIGNALS {
            let home = tempfile::tempdir().unwrap();
            let mut child = start(home.path(), &url, arguments);
            let (_connection, _) = silent.accept().unwrap();
            let status = end(&mut child, signal, END_TIMEOUT);
            let is_ended = status.success() || status.signal() == Some(signal as i32);
            assert!(is_ended, "{arguments:?} after {signal}: {status}");
        }
    }
}

/// Waits until a session waits for a lock that the test holds.
async fn wait_until_locked(world: &World) {
    let began = Instant::now();
    let waiting = "select exists (select from pg_locks where not granted and relation = 'import_error'::regclass
        and database = (select oid from pg_database where datname = current_database()))";
    while !sqlx::query_scalar::<_, bool>(waiting).fetch_one(&mut world.db().await).await.unwrap() {
        assert!(began.elapsed() < Duration::from_mins(1), "no session waits for the lock: {}", world.said());
    }
}

#[tokio::test]
async fn a_signal_ends_a_worker_that_registers_its_dag_files() {
    for signal in SIGNALS {
        // The session of an ended worker keeps waiting for the lock, so each worker has its own database.
        let world = World::new().await;
        let folder = world.path().join("dag-files");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("one.yaml"), "dag_id: one\ntasks:\n  say: {bash: echo hello}\n").unwrap();
        let mut db = world.db().await;
        sqlx::raw_sql("begin; lock table import_error").execute(&mut db).await.unwrap();
        let arguments = ["worker", "--dags-folder", folder.to_str().unwrap()];
        let mut child = start(world.path(), &world.url(), &arguments);
        wait_until_locked(&world).await;
        let status = end(&mut child, signal, END_TIMEOUT);
        assert!(status.success(), "{signal}: {status}");
    }
}

/// Reading takes longer than the start of a worker.
const FILES: usize = 400;

#[tokio::test]
async fn a_signal_ends_a_worker_that_reads_its_dag_files() {
    let world = World::new().await;
    let folder = world.path().join("dag-files");
    std::fs::create_dir(&folder).unwrap();
    let tasks: Vec<String> = (0..100).map(|task| format!("  say_{task}: {{bash: echo {task}}}\n")).collect();
    let tasks = tasks.concat();
    for file in 0..FILES {
        std::fs::write(folder.join(format!("{file}.yaml")), format!("dag_id: dag_{file}\ntasks:\n{tasks}")).unwrap();
    }
    let mut db = world.db().await;
    for signal in SIGNALS {
        let arguments = ["worker", "--dags-folder", folder.to_str().unwrap()];
        let mut child = start(world.path(), &world.url(), &arguments);
        // A worker starts to read its files when it is registered.
        let pid = child.id().cast_signed();
        let began = Instant::now();
        let registered = "select exists (select from worker where pid = $1)";
        while !sqlx::query_scalar::<_, bool>(registered).bind(pid).fetch_one(&mut db).await.unwrap() {
            assert!(began.elapsed() < Duration::from_mins(1), "the worker does not start");
        }
        let status = end(&mut child, signal, END_TIMEOUT);
        assert!(status.success(), "{signal}: {status}");
        let taken: i64 = sqlx::query_scalar("select count(*) from dag where dag_id like 'dag\\_%'")
            .fetch_one(&mut db)
            .await
            .unwrap();
        assert_eq!(taken, 0, "the signal came after the files were read");
    }
}

#[tokio::test]
async fn a_second_signal_ends_a_worker_immediately() {
    let mut world = World::new().await;
    world.start(&["scheduler"]);
    let worker = world.start(&["worker", "--grace", "20s", "--paused-at-creation=false"]);
    world.wait_for(&["dags", "list", "-o", "plain"], |ended| ended.out.contains("test_lingering"));
    world.run(&["dags", "trigger", "test_lingering", "--run-id", "long"]).done();
    let state = ["tasks", "state", "test_lingering", "linger", "long"];
    world.wait_for(&state, |ended| ended.out.contains("running"));
    let pid = Pid::from_raw(worker.cast_signed());
    kill(pid, Signal::SIGINT).unwrap();
    world.wait_until_said("stopping: what runs").await;
    kill(pid, Signal::SIGINT).unwrap();
    let sent = Instant::now();
    assert_eq!(world.wait_for_end(worker), Some(1));
    assert!(sent.elapsed() < SECOND_TIMEOUT, "{:?}", sent.elapsed());
}
