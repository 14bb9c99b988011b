//! Tests of the private Postgres: first start, restart, death of every process involved, refusals. Owners that must die
//! are separate processes of the crate's binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use orch_cluster::{Cluster, ClusterError, Settings};
use tempfile::TempDir;

/// Timeout that only a failing test reaches, even on slow machines.
const LIMIT: Duration = Duration::from_mins(1);

fn fast() -> Settings {
    Settings::without_durability()
}

fn query(url: &str, sql: &str) -> Result<String, String> {
    let output =
        Command::new("psql").args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql, url]).output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

#[expect(clippy::disallowed_methods, reason = "another process is watched from outside; it sends no events")]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LIMIT, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

fn is_running(pid: u32) -> bool {
    // A zombie whose parent does not wait for it counts as ended.
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    match state.rsplit(") ").next().and_then(|rest| rest.chars().next()) {
        Some(state) => state != 'Z',
        None => !cfg!(target_os = "linux") && kill(Pid::from_raw(pid.cast_signed()), None).is_ok(),
    }
}

fn recorded_pid(data_dir: &Path) -> u32 {
    let text = std::fs::read_to_string(data_dir.join("postgres/data/postmaster.pid")).unwrap();
    text.lines().next().unwrap().parse().unwrap()
}

/// A process of the crate's binary that holds a cluster open.
struct Owner {
    process: Child,
    url: String,
}

impl Owner {
    fn start(data_dir: &Path) -> Self {
        Self::start_command(&mut Command::new(env!("CARGO_BIN_EXE_orch-cluster")), data_dir)
    }

    fn start_command(command: &mut Command, data_dir: &Path) -> Self {
        let mut process =
            command.arg(data_dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        if url.is_empty() {
            let mut said = String::new();
            process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("the owner did not start: {said}");
        }
        Self { process, url: url.trim().to_owned() }
    }

    /// Suspends the owner, so that it cannot restart processes that the test kills.
    fn process_stops(&self) {
        signal(self.process.id(), Signal::SIGSTOP);
    }

    fn die(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn leave(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }
}

#[test]
fn a_first_start_creates_a_cluster_that_survives_restarts() {
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("deep/data");
    let cluster = Cluster::open_with(&data_dir, &fast()).unwrap();
    assert_eq!(query(&cluster.url(), "select current_database() || current_user").unwrap(), "orchorch");
    query(&cluster.url(), "create table kept (n int); insert into kept values (42)").unwrap();
    let server = cluster.postmaster_pid().unwrap();
    cluster.stop();
    assert!(!is_running(server));

    let start = Instant::now();
    let cluster = Cluster::open_with(&data_dir, &fast()).unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "an existing cluster took {:?}", start.elapsed());
    assert_eq!(query(&cluster.url(), "select n from kept").unwrap(), "42");
}

#[test]
fn nobody_else_can_look_into_the_data_folder() {
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("data");
    let cluster = Cluster::open_with(&data_dir, &fast()).unwrap();
    for private in [data_dir.clone(), cluster.socket_dir(), data_dir.join("postgres"), data_dir.join("postgres/data")] {
        assert_eq!(private.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", private.display());
    }
    for private in ["orch.lock", "postgres.log", "postgres.password", "postgres/data/orch.conf"] {
        assert_eq!(data_dir.join(private).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{private}");
    }
    assert!(!data_dir.join("postgres/password.new").exists());
}

#[test]
fn a_second_owner_is_refused_by_naming_the_first() {
    let folder = TempDir::new().unwrap();
    let first = Cluster::open_with(folder.path(), &fast()).unwrap();
    let error = Cluster::open_with(folder.path(), &fast()).unwrap_err();
    assert!(matches!(error, ClusterError::InUse { pid: Some(pid), .. } if pid == std::process::id()));
    assert!(error.to_string().ends_with(&format!("is in use by process {}", std::process::id())));
    assert!(error.hint().unwrap().contains("--data-dir"));
    assert_eq!(query(&first.url(), "select 1").unwrap(), "1");
    drop(first);
    assert_eq!(query(&Cluster::open_with(folder.path(), &fast()).unwrap().url(), "select 1").unwrap(), "1");
}

#[test]
fn the_server_ends_with_an_owner_that_was_killed() {
    let folder = TempDir::new().unwrap();
    let owner = Owner::start(folder.path());
    query(&owner.url, "create table kept (n int)").unwrap();
    let server = recorded_pid(folder.path());
    owner.die();
    wait_until("the server has ended", || !is_running(server));

    let owner = Owner::start(folder.path());
    assert_eq!(query(&owner.url, "select count(*) from kept").unwrap(), "0");
    owner.leave();
}

#[test]
fn the_next_owner_does_not_wait_for_the_last_one_to_be_buried() {
    let folder = TempDir::new().unwrap();
    let mut url = String::new();
    for round in 0..3 {
        let owner = Owner::start(folder.path());
        url.clone_from(&owner.url);
        query(&url, &format!("create table round_{round} ()")).unwrap();
        owner.die();
    }
    let owner = Owner::start(folder.path());
    assert_eq!(query(&url, "select count(*) from pg_class where relname like 'round_%'").unwrap(), "3");
    owner.leave();
}

#[test]
fn a_server_without_owner_and_watchdog_is_replaced() {
    let folder = TempDir::new().unwrap();
    let owner = Owner::start(folder.path());
    let server = recorded_pid(folder.path());
    for watchdog in children_of(owner.process.id()).into_iter().filter(|child| *child != server) {
        signal(watchdog, Signal::SIGKILL);
    }
    owner.die();
    assert!(is_running(server));
    let owner = Owner::start(folder.path());
    assert!(!is_running(server));
    assert_ne!(recorded_pid(folder.path()), server);
    owner.leave();
}

#[test]
fn a_killed_server_is_started_again_under_the_same_address() {
    let folder = TempDir::new().unwrap();
    let cluster = Cluster::open(folder.path()).unwrap();
    query(&cluster.url(), "create table kept (n int); insert into kept select generate_series(1, 1000)").unwrap();
    for round in 1..=3 {
        let server = cluster.postmaster_pid().unwrap();
        signal(server, Signal::SIGKILL);
        wait_until("it was started again", || cluster.restarts() == round && cluster.postmaster_pid().is_some());
        assert_ne!(cluster.postmaster_pid().unwrap(), server);
        assert_eq!(query(&cluster.url(), "select count(*) from kept").unwrap(), "1000");
    }
}

#[test]
fn after_a_massacre_the_next_owner_recovers_every_commit() {
    let folder = TempDir::new().unwrap();
    let owner = Owner::start(folder.path());
    query(&owner.url, "create table kept (n int); insert into kept select generate_series(1, 100000)").unwrap();
    let family = children_of(owner.process.id());
    owner.process_stops();
    for child in family {
        signal(child, Signal::SIGKILL);
    }
    owner.die();
    let owner = Owner::start(folder.path());
    assert_eq!(query(&owner.url, "select count(*) from kept").unwrap(), "100000");
    owner.leave();
}

#[test]
fn a_pid_that_went_to_a_stranger_does_not_block_the_start() {
    let folder = TempDir::new().unwrap();
    Cluster::open_with(folder.path(), &fast()).unwrap().stop();
    let data = folder.path().join("postgres/data");
    // Postgres itself refuses to start if the pid belongs to a process of the server's own user.
    let mut stranger = Command::new("sleep");
    stranger.arg("600");
    let owner = std::os::unix::fs::MetadataExt::uid(&data.metadata().unwrap());
    if geteuid().is_root() {
        stranger.uid(owner);
    }
    let mut stranger = stranger.spawn().unwrap();
    std::fs::write(
        data.join("postmaster.pid"),
        format!("{}\n/x\n1\n5432\n/y\n\n  1         1\nready   \n", stranger.id()),
    )
    .unwrap();
    std::fs::write(
        folder.path().join("postgres/socket/.s.PGSQL.5432.lock"),
        format!("{}\n/x\n1\n5432\n/y\n", stranger.id()),
    )
    .unwrap();
    let opened = Cluster::open_with(folder.path(), &fast());
    let unharmed = stranger.try_wait().unwrap().is_none();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert_eq!(query(&opened.unwrap().url(), "select 1").unwrap(), "1");
    assert!(unharmed);
}

#[test]
fn a_killed_creation_is_begun_anew() {
    let folder = TempDir::new().unwrap();
    let half = folder.path().join("postgres/data.new");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("PG_VERSION"), "15\n").unwrap();
    let cluster = Cluster::open_with(folder.path(), &fast()).unwrap();
    assert_eq!(query(&cluster.url(), "select 1").unwrap(), "1");
    assert!(!half.exists());
}

#[test]
fn a_path_too_long_for_sockets_leads_to_loopback_with_a_password() {
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("d".repeat(100));
    let cluster = Cluster::open_with(&data_dir, &fast()).unwrap();
    assert!(cluster.url().contains("@127.0.0.1:"), "{}", cluster.url());
    assert_eq!(query(&cluster.url(), "select 1").unwrap(), "1");
    let password = std::fs::read_to_string(data_dir.join("postgres.password")).unwrap();
    let refused = query(&cluster.url().replace(&password, "wrong"), "select 1").unwrap_err();
    assert!(refused.contains("password authentication failed"), "{refused}");
}

#[test]
fn a_persons_own_settings_win_over_ours() {
    let folder = TempDir::new().unwrap();
    Cluster::open_with(folder.path(), &fast()).unwrap().stop();
    let config = folder.path().join("postgres/data/postgresql.conf");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + "work_mem = '77MB'\nautovacuum_naptime = '9s'\n").unwrap();
    let cluster = Cluster::open_with(folder.path(), &fast().set("work_mem", "5MB").set("jit_above_cost", "7")).unwrap();
    let shown = query(
        &cluster.url(),
        "select string_agg(setting, ' ' order by name) from pg_settings where name in ('work_mem', 'autovacuum_naptime', 'jit_above_cost')",
    );
    assert_eq!(shown.unwrap(), "9 7 78848");
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let folder = TempDir::new().unwrap();
    Cluster::open_with(folder.path(), &fast()).unwrap().stop();
    let error = Cluster::open_with(folder.path(), &fast().set("shared_buffers", "many")).unwrap_err();
    assert!(error.to_string().contains("invalid value for parameter \"shared_buffers\": \"many\""), "{error}");
    assert_eq!(query(&Cluster::open_with(folder.path(), &fast()).unwrap().url(), "select 1").unwrap(), "1");
}

#[test]
fn an_ordinary_user_runs_the_server_himself() {
    if !geteuid().is_root() {
        return; // all other tests already run as an ordinary user
    }
    let folder = TempDir::new_in("/tmp").unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (binary, home) = (copy_binary(folder.path()), folder.path().join("home"));
    std::fs::create_dir(&home).unwrap();
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    std::os::unix::fs::chown(&home, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw())).unwrap();
    let data_dir = home.join("data");
    let mut command = Command::new(&binary);
    command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
    let owner = Owner::start_command(&mut command, &data_dir);
    assert_eq!(query(&owner.url, "select 1").unwrap(), "1");
    assert_eq!(
        std::os::unix::fs::MetadataExt::uid(&data_dir.join("postgres/data").metadata().unwrap()),
        nobody.uid.as_raw()
    );
    owner.leave();

    // Root opens the cluster later under the same account, and then the user opens it again.
    Owner::start(&data_dir).leave();
    let mut command = Command::new(&binary);
    command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
    Owner::start_command(&mut command, &data_dir).leave();
}

fn copy_binary(folder: &Path) -> PathBuf {
    let copy = folder.join("orch-cluster");
    std::fs::copy(env!("CARGO_BIN_EXE_orch-cluster"), &copy).unwrap();
    copy
}

fn children_of(parent: u32) -> Vec<u32> {
    let output = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let rows = table.lines().filter_map(|line| {
        let mut columns = line.split_whitespace().map(|column| column.parse::<u32>().unwrap());
        Some((columns.next()?, columns.next()?))
    });
    rows.filter(|(_, ppid)| *ppid == parent).map(|(pid, _)| pid).collect()
}
