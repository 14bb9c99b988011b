//! Child processes of tasks: they end with their worker and at their limits, with all their descendants; their output
//! arrives even if the connection for logs breaks; and they can read only what they need.

use crate::binary::{CommandOutput, command, plain, run};
use crate::standalone::Standalone;
use crate::world::World;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection as _, PgConnection};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Usually takes half a second on an idle machine.
const GONE_WITHIN: Duration = Duration::from_secs(5);
/// Processes that write their pid to a file of this name.
const FAMILY: [&str; 3] = ["body", "child", "session"];

/// Starts a child in the background and a grandchild in its own session. They and the shell ignore SIGTERM.
fn starts_family(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "trap '' TERM; sleep 300 & echo $! > {folder}/child; \
        setsid sh -c 'echo $$ > {folder}/session; exec sleep 300' & \
        echo $$ > {folder}/body;"
    )
}

/// Returns a shell command that waits for its family.
fn family(folder: &Path) -> String {
    format!("{} wait; sleep 300", starts_family(folder))
}

/// Starts a worker and a scheduler, and waits until they have registered one DAG file.
async fn with_file(dag_id: &str, text: &str) -> (World, u32) {
    let mut world = World::new().await;
    let folder = world.path().join("dag-files");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(format!("{dag_id}.yaml")), text).unwrap();
    world.set("ORCH_DAGS_FOLDER", folder.to_str().unwrap());
    let worker = world.start(&["worker", "--lease", "2s", "--paused-at-creation=false"]);
    world.start(&["scheduler"]);
    world.wait_for(&["dags", "export", dag_id], |ended| ended.code == 0);
    (world, worker)
}

async fn pids(folder: &Path) -> Vec<i32> {
    let of = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse().ok();
    let began = Instant::now();
    loop {
        let pids: Vec<i32> = FAMILY.iter().filter_map(|name| of(name)).collect();
        if pids.len() == FAMILY.len() {
            return pids;
        }
        assert!(began.elapsed() < Duration::from_mins(1), "only {pids:?} began");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Returns the pids that are alive. Zombies do not count.
fn living(pids: &[i32]) -> Vec<i32> {
    let lives = |pid: &&i32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    pids.iter().filter(lives).copied().collect()
}

async fn all_end(pids: &[i32]) {
    let began = Instant::now();
    while !living(pids).is_empty() {
        assert!(began.elapsed() < GONE_WITHIN, "{:?} of {pids:?} are alive after {GONE_WITHIN:?}", living(pids));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn why(world: &World, dag_id: &str, run_id: &str) -> String {
    plain(&world.run(&["tasks", "logs", dag_id, "it", run_id]).err)
}

#[tokio::test]
async fn a_killed_worker_takes_the_families_of_its_bodies_with_it() {
    for isolation in ["in_process", "process"] {
        let folder = tempfile::tempdir().unwrap();
        let command = family(folder.path());
        let text = format!("dag_id: family\ntasks:\n  it: {{bash: \"{command}\", isolation: {isolation}}}\n");
        let (mut world, worker) = with_file("family", &text).await;
        world.run(&["dags", "trigger", "family", "--run-id", "one"]).done();
        let pids = pids(folder.path()).await;
        assert_eq!(living(&pids), pids, "{isolation}: all of them run");
        // No new worker is started: another attempt would write other pids.
        world.kill(worker);
        all_end(&pids).await;
    }
}

#[tokio::test]
async fn a_program_that_succeeds_leaves_no_process_behind() {
    for isolation in ["in_process", "process"] {
        let folder = tempfile::tempdir().unwrap();
        // The shell ends when all processes of the family have started.
        let session = folder.path().join("session");
        let wait = format!("while [ ! -s {} ]; do sleep 0.01; done", session.display());
        let command = format!("{} {wait}", starts_family(folder.path()));
        let text = format!("dag_id: leaving\ntasks:\n  it: {{bash: \"{command}\", isolation: {isolation}}}\n");
        let (world, _) = with_file("leaving", &text).await;
        world.run(&["dags", "trigger", "leaving", "--run-id", "one", "--wait"]).done();
        let pids = pids(folder.path()).await;
        assert_eq!(living(&pids), Vec::<i32>::new(), "{isolation}: of {pids:?}");
    }
}

fn parent(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_killed_supervisor_or_child_process_leaves_no_process_of_its_task() {
    for (isolation, why_it_failed) in [
        ("in_process", "the process that supervises it was killed"),
        ("process", "its process ended without a result: signal: 9 (SIGKILL)"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let command = family(folder.path());
        let text =
            format!("dag_id: orphans\ntasks:\n  it: {{bash: \"{command}\", isolation: {isolation}, retries: 0}}\n");
        let (world, worker) = with_file("orphans", &text).await;
        world.run(&["dags", "trigger", "orphans", "--run-id", "one"]).done();
        let pids = pids(folder.path()).await;
        let supervisor = parent(pids[0]);
        let killed = if isolation == "process" { parent(supervisor) } else { supervisor };
        assert_ne!(
            u32::try_from(killed).unwrap(),
            worker,
            "{isolation}: a process is between the worker and the program"
        );
        kill(Pid::from_raw(killed), Signal::SIGKILL).unwrap();
        all_end(&pids).await;
        assert_eq!(world.run(&["runs", "wait", "orphans", "one"]).code, 1);
        let why = why(&world, "orphans", "one");
        assert!(why.contains(why_it_failed), "{isolation}: {why}");
    }
}

#[tokio::test]
async fn a_timeout_ends_the_family_of_a_body() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("import subprocess; subprocess.run(['sh', '-c', r'''{}'''])", family(folder.path()));
    let text = format!(
        "dag_id: late\ntasks:\n  it:\n    python:\n      script: |\n        {script}\n    timeout: 3s\n    retries: 0\n"
    );
    let (world, _) = with_file("late", &text).await;
    world.run(&["dags", "trigger", "late", "--run-id", "one"]).done();
    let pids = pids(folder.path()).await;
    assert_eq!(world.run(&["runs", "wait", "late", "one"]).code, 1);
    all_end(&pids).await;
    assert!(
        why(&world, "late", "one").contains("it took longer than its timeout of 3s"),
        "{}",
        why(&world, "late", "one")
    );
}

#[tokio::test]
async fn a_memory_limit_holds_for_all_that_a_body_starts() {
    for isolation in ["in_process", "process"] {
        let greedy = "x = b'x' * 400_000_000; import time; time.sleep(300)";
        let command = format!("setsid python3 -c \\\"{greedy}\\\" & wait");
        let text = format!(
            "dag_id: greedy\ntasks:\n  it: {{bash: \"{command}\", memory_mb: 200, retries: 0, isolation: {isolation}}}\n"
        );
        let (world, _) = with_file("greedy", &text).await;
        assert_eq!(world.run(&["dags", "trigger", "greedy", "--run-id", "one", "--wait"]).code, 1);
        let why = why(&world, "greedy", "one");
        assert!(why.starts_with("try 1 failed (memory): its processes had "), "{isolation}: {why}");
        assert!(why.ends_with(" MB in memory, more than its `memory_mb` of 200\n"), "{isolation}: {why}");
    }
}

/// Maps 120 MB of shared memory in four processes.
const SHARING: &str = "import mmap, os, time
        shared = mmap.mmap(-1, 120_000_000)
        piece = b'x' * 1_000_000
        for _ in range(120): shared.write(piece)
        for _ in range(3):
            if os.fork() == 0:
                used = [shared[i] for i in range(0, len(shared), 4096)]
                time.sleep(0.5)
                os._exit(0)
        for _ in range(3): assert os.wait()[1] == 0";

#[tokio::test]
async fn a_memory_limit_counts_shared_memory_once() {
    for (memory_mb, code) in [(300, 0), (100, 1)] {
        let text = format!(
            "dag_id: sharing\ntasks:\n  it:\n    python:\n      script: |\n        {SHARING}\n    memory_mb: {memory_mb}\n    retries: 0\n"
        );
        let (world, _) = with_file("sharing", &text).await;
        let ended = world.run(&["dags", "trigger", "sharing", "--run-id", "one", "--wait"]);
        let why = why(&world, "sharing", "one");
        assert_eq!(ended.code, code, "{memory_mb} MB: {ended:?} {why}");
        assert_eq!(why.contains("more than its `memory_mb` of 100"), code == 1, "{why}");
    }
}

#[tokio::test]
async fn a_last_line_that_is_too_long_for_an_output_fails_the_task() {
    let printing = |bytes: u32| format!("import json; print(json.dumps('x' * {}))", bytes - 2);
    let text = format!(
        "dag_id: long\ntasks:\n  it: {{python: {{script: \"{}\"}}, retries: 0}}\n  fits: {{python: {{script: \"{}\"}}}}\n",
        printing(65_537),
        printing(65_536)
    );
    let (world, _) = with_file("long", &text).await;
    assert_eq!(world.run(&["dags", "trigger", "long", "--run-id", "one", "--wait"]).code, 1);
    let why = why(&world, "long", "one");
    assert!(why.contains("the last line on standard output has 65537 bytes, more than the 65536"), "{why}");
    assert!(why.contains("hint: write the data to a file or the object store"), "{why}");
    let states = world.run(&["tasks", "states-for-dag-run", "long", "one", "-o", "plain"]).done();
    assert!(states.lines().any(|line| line.contains("fits") && line.contains("success")), "{states}");
}

/// Terminates the connection that stores the worker's logs, like a restart of the database.
async fn cut_logs(world: &World) {
    let mut db = world.db().await;
    let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
        where application_name = 'orch worker pool' and datname = current_database()";
    let cut: i64 = sqlx::query_scalar(cut).fetch_one(&mut db).await.unwrap();
    assert!(cut > 0, "the worker has written logs");
    db.close().await.unwrap();
}

fn says(word: &str) -> impl Fn(&CommandOutput) -> bool {
    move |ended| ended.out.contains(word)
}

const TALKING: &str = "dag_id: said\ntasks:\n  it: {bash: echo the word is said}\n";

#[tokio::test]
async fn a_log_that_could_not_be_written_is_sent_again_without_another_task() {
    let (world, _) = with_file("said", TALKING).await;
    world.run(&["dags", "trigger", "said", "--run-id", "one", "--wait"]).done();
    world.wait_for(&["tasks", "logs", "said", "it", "one"], says("the word is said"));
    cut_logs(&world).await;
    world.run(&["dags", "trigger", "said", "--run-id", "two", "--wait"]).done();
    world.wait_for(&["tasks", "logs", "said", "it", "two"], says("the word is said"));
}

#[tokio::test]
async fn a_worker_that_stops_sends_what_could_not_be_written() {
    let (mut world, worker) = with_file("said", TALKING).await;
    world.run(&["dags", "trigger", "said", "--run-id", "one", "--wait"]).done();
    world.wait_for(&["tasks", "logs", "said", "it", "one"], says("the word is said"));
    cut_logs(&world).await;
    world.run(&["dags", "trigger", "said", "--run-id", "two", "--wait"]).done();
    world.stop(worker);
    let log = world.run(&["tasks", "logs", "said", "it", "two"]);
    assert!(says("the word is said")(&log), "{log:?}");
}

#[tokio::test]
async fn a_body_finds_no_secret_of_orch_in_any_environment() {
    let home = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    let (data, found) = (home.path().join("data"), home.path().join("found"));
    let key = run(home.path(), ["secrets", "generate-key"]).done().trim().to_owned();
    let secrets = [
        ("ORCH_ADMIN_PASSWORD", "planted-admin-password".to_owned()),
        ("ORCH_SECRET_KEY", key),
        ("ORCH_CONN_PLANTED", "x://me:planted-connection@h".to_owned()),
        ("ORCH_VAR_PLANTED_TOKEN", "planted-variable".to_owned()),
    ];
    // Reads the environments of this process, of all parent processes, and of the database server.
    let look = format!(
        "env > {found}; p=$PPID; while [ \"$p\" -gt 1 ]; do cat /proc/$p/environ >> {found}; \
        p=$(sed -n 's/^PPid:[^0-9]*//p' /proc/$p/status); done; \
        cat /proc/$(head -1 {data}/postgres/data/postmaster.pid)/environ >> {found}",
        found = found.display(),
        data = data.display()
    );
    fs::create_dir_all(data.join("dags")).unwrap();
    let text = serde_json::json!({ "dag_id": "curious", "tasks": { "it": { "bash": look } } });
    fs::write(data.join("dags/curious.yaml"), text.to_string()).unwrap();
    let mut given = command(home.path());
    given.envs(secrets.iter().map(|(name, value)| (name, value)));
    let _standalone = Standalone::start_by(given, &["--no-web", "--paused-at-creation=false"]);
    let began = Instant::now();
    while run(home.path(), ["dags", "export", "curious"]).code != 0 {
        assert!(began.elapsed() < Duration::from_mins(1), "the file is not read");
    }
    let ended = run(home.path(), ["dags", "trigger", "curious", "--run-id", "one", "--wait"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let mode = fs::metadata(&found).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "a file of a task is readable by other users: {mode:o}");
    let found = String::from_utf8_lossy(&fs::read(&found).unwrap()).replace('\0', "\n");
    assert!(found.contains("ORCH_TASK_ID=it"), "{found}");
    assert!(found.matches("PATH=").count() > 3, "of several processes: {found}");
    for (name, value) in &secrets {
        assert!(!found.contains(value), "{name} is found in: {found}");
    }
}

#[tokio::test]
async fn the_role_of_default_connections_can_neither_read_the_metadata_nor_run_programs() {
    let folder = tempfile::Builder::new().prefix("orch-").tempdir().unwrap();
    // The path is too long for a socket, so the private server listens on TCP, where the role needs a password.
    let home = folder.path().join("x".repeat(100));
    fs::create_dir(&home).unwrap();
    let _standalone = Standalone::start(&home, &["--no-web"]);
    let found = fs::read(home.join("data/standalone.json")).unwrap();
    let found: serde_json::Value = serde_json::from_slice(&found).unwrap();
    let url = found["url"].as_str().unwrap();
    let lesser = orch_store::task_role::url(url, &home.join("data"), None);
    assert_ne!(lesser, url, "it is the private server of this folder");
    let mut db = PgConnection::connect(&lesser).await.unwrap();
    let readable: Vec<String> = sqlx::query_scalar(
        "select c.relname::text from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')
        and has_table_privilege(c.oid, 'select')",
    )
    .fetch_all(&mut db)
    .await
    .unwrap();
    assert_eq!(readable, Vec::<String>::new(), "tables of the metadata that it can read");
    for refused in [
        "copy (select 1) to program 'true'",
        "copy (select 1) to '/tmp/orch-refused'",
        "select pg_read_file('/etc/passwd')",
        "create role other superuser",
        "set role orch",
    ] {
        let error = sqlx::raw_sql(refused).execute(&mut db).await.expect_err(refused);
        let sqlx::Error::Database(error) = error else { panic!("{refused}: {error}") };
        assert_eq!(error.code().as_deref(), Some("42501"), "{refused}: {error}");
    }
    // The pipelines need these statements.
    for allowed in ["create table lake.mine (n int)", "select * from lake.iceberg_tables", "create database beside"] {
        sqlx::raw_sql(allowed).execute(&mut db).await.expect(allowed);
    }
    db.close().await.unwrap();
    // A role with `replication` could decode the changes of all tables, even without a publication, with
    // `test_decoding`.
    let capture = lesser.replace("orch_tasks", "orch_capture");
    let error = PgConnection::connect(&capture).await.expect_err("it has the password hashes");
    let sqlx::Error::Database(error) = error else { panic!("{error}") };
    assert_eq!(error.message(), "permission denied for database \"orch\"");
    let mut db = PgConnection::connect(&capture.replace("/orch?", "/beside?")).await.unwrap();
    let slot = "select pg_create_logical_replication_slot('beside', 'pgoutput', true)";
    sqlx::raw_sql(slot).execute(&mut db).await.expect("it may follow the changes of another database");
    db.close().await.unwrap();
}
