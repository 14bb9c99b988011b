//! Database sessions: their number per process, and the supported poolers.

use crate::world::{World, read_until};
use sqlx::postgres::PgConnectOptions;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

const WIDE: &str = r#"
dag_id: wide
tasks:
  it: {map: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], bash: {command: 'echo "$1"', args: ["{{ element }}"]}}
  all: {value: "{{ upstream.it.output | length }}"}
"#;

/// `pgbouncer` in front of the server of a test.
struct Pooler {
    bouncer: Child,
    port: u16,
    _folder: TempDir,
    _ways: JoinSet<()>,
}

impl Pooler {
    fn before(server: &str, mode: &str) -> Pooler {
        let server: PgConnectOptions = server.parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut ways = JoinSet::new();
        let (users, settings) = (folder.path().join("users"), folder.path().join("pgbouncer.ini"));
        fs::write(&users, format!("\"{}\" \"\"\n", server.get_username())).unwrap();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
            unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\nmax_client_conn = 100\n",
            way_to(&server, &mut ways),
            users.display()
        );
        fs::write(&settings, text).unwrap();
        let mut bouncer = bouncer(&settings);
        read_until(bouncer.stderr.take().unwrap(), "process up");
        Pooler { bouncer, port, _folder: folder, _ways: ways }
    }

    fn url_of(&self, server: &str) -> String {
        let server: PgConnectOptions = server.parse().unwrap();
        let database = server.get_database().unwrap();
        format!("postgres://{}@127.0.0.1:{}/{database}", server.get_username(), self.port)
    }
}

/// Forwards a TCP port to the socket of the server: `pgbouncer` runs as another user, who cannot open its folder.
fn way_to(server: &PgConnectOptions, ways: &mut JoinSet<()>) -> u16 {
    let socket = server.get_socket().expect("test servers have sockets");
    let socket = socket.join(format!(".s.PGSQL.{}", server.get_port()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    ways.spawn(async move {
        let mut sessions = JoinSet::new();
        while let Ok((mut ours, _)) = listener.accept().await {
            let mut theirs = UnixStream::connect(&socket).await.unwrap();
            sessions.spawn(async move { copy_bidirectional(&mut ours, &mut theirs).await });
        }
    });
    port
}

/// Starts `pgbouncer`, which refuses to run as root.
fn bouncer(settings: &Path) -> Child {
    let mut command = Command::new("pgbouncer");
    if nix::unistd::Uid::effective().is_root() {
        command.args(["-u", "nobody"]);
    }
    command.env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin");
    let spawned = command.arg(settings).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    spawned.unwrap_or_else(|error| {
        panic!("pgbouncer does not start ({error}): install it with `apt-get install pgbouncer`")
    })
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.bouncer.kill().ok(); // the process may have ended
        self.bouncer.wait().ok();
    }
}

fn with_wide_dag(world: &mut World) {
    let folder = world.path().join("dag-files");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("wide.yaml"), WIDE).unwrap();
    world.set("ORCH_DAGS_FOLDER", folder.to_str().unwrap());
}

fn begin(world: &mut World) {
    world.start(&["worker", "--lease", "2s", "--paused-at-creation=false"]);
    world.start(&["scheduler"]);
    world.wait_for(&["dags", "export", "wide"], |ended| ended.code == 0);
}

#[tokio::test]
async fn a_process_has_few_sessions_however_much_it_does() {
    let mut world = World::new().await;
    with_wide_dag(&mut world);
    begin(&mut world);
    for run in ["one", "two", "three"] {
        world.run(&["dags", "trigger", "wide", "--run-id", run]).done();
    }
    let mut db = world.db().await;
    let mut most = BTreeMap::new();
    let ended = "select count(*) from dag_run where state = 'success' and run_id in ('one', 'two', 'three')";
    loop {
        // Counted before the sessions: sessions of runs that end in between are still in the pools.
        let ended: i64 = sqlx::query_scalar(ended).fetch_one(&mut db).await.unwrap();
        let sessions = "select case when application_name like 'orch worker%' then 'worker'
            when application_name like 'orch scheduler%' then 'scheduler'
            when application_name = 'orch hints' then 'hints' else 'others' end, count(*)
            from pg_stat_activity where datname = current_database() group by 1";
        let sessions: Vec<(String, i64)> = sqlx::query_as(sessions).fetch_all(&mut db).await.unwrap();
        for (name, now) in sessions {
            most.entry(name).and_modify(|most: &mut i64| *most = now.max(*most)).or_insert(now);
        }
        if ended == 3 {
            break;
        }
    }
    // Including the session for hints, a worker has at most 8 and a scheduler 6: docs/guides/database.md.
    assert!((3..=7).contains(&most["worker"]), "{most:?}");
    assert!((1..=5).contains(&most["scheduler"]), "{most:?}");
    assert_eq!(most["hints"], 2, "{most:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orch_works_through_a_pooler_of_sessions() {
    let mut world = World::new().await;
    let pooler = Pooler::before(&world.url(), "session");
    with_wide_dag(&mut world);
    world.set("ORCH_DATABASE_URL", pooler.url_of(&world.url()));
    begin(&mut world);
    world.run(&["dags", "trigger", "wide", "--run-id", "one", "--wait"]).done();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_of_transactions_is_refused() {
    let mut world = World::new().await;
    let pooler = Pooler::before(&world.url(), "transaction");
    world.set("ORCH_DATABASE_URL", pooler.url_of(&world.url()));
    for role in ["worker", "scheduler"] {
        let process = world.start(&[role]);
        assert_eq!(world.wait_for_end(process), Some(2), "{}", world.said());
    }
    let said = world.said();
    let refusal = "this database is behind a pooler that shares one session between connections\n\
        hint: set `pool_mode = session` for it, or name the address of Postgres itself in `ORCH_DATABASE_URL`";
    assert_eq!(said.matches(refusal).count(), 2, "{said}");
}
