//! An archive in a bucket, opened through its connection, and an old run that is moved into an archive.

use crate::world::World;
use flate2::read::MultiGzDecoder;
use orch::{ArchiveDoor, fatal};
use orch_lake::bucket::{ARCHIVE, archives};
use orch_test_lake::S3Server;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Run id with a timestamp in week 28 of 2024.
const OLD: &str = "0190a000-0000-7000-8000-000000000000";
const GREET: &str = "dag_id: greet
tasks:
  greet: {bash: echo hello}
  shout: {bash: echo HELLO FROM ORCH, after: greet}
  done: {bash: 'echo done in run $ORCH_RUN_ID', after: shout}
";
const PASSWORD: &str = "correct horse battery staple";
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn what_is_put_in_a_bucket_is_listed_and_read_again() {
    let server = S3Server::start().await;
    std::fs::create_dir(server.folder().join("old")).expect("a folder can be made");
    let connection = server.connection();
    let find = Arc::new(move |id: &str| -> orch::BoxFuture<orch::TaskResult<orch::Connection>> {
        let found = if id == ARCHIVE { Ok(connection.clone()) } else { Err(fatal(format!("no `{id}`"))) };
        Box::pin(async move { found })
    });
    let door = ArchiveDoor::to("s3://old/orch", &archives(), find).expect("the binary opens buckets");
    let bucket = door.open().await.expect("it opens").expect("one is named");
    assert_eq!(bucket.place(), "s3://old/orch");
    for name in ["b", "a"] {
        bucket.put(format!("logs/2026w01/{name}"), name.into()).await.expect("it is written");
    }
    bucket.put("logs/2026w02/c".into(), b"c".to_vec()).await.expect("it is written");
    assert_eq!(bucket.list("logs/2026w01".into()).await.expect("a list"), ["logs/2026w01/a", "logs/2026w01/b"]);
    assert_eq!(bucket.list("logs/1999w01".into()).await.expect("a list"), [""; 0]);
    assert_eq!(bucket.get("logs/2026w02/c".into()).await.expect("it is there"), b"c");
    assert!(bucket.get("logs/2026w02/d".into()).await.is_err());
}

#[tokio::test]
async fn a_bucket_without_its_connection_is_refused_with_the_way_to_one() {
    let find = Arc::new(|id: &str| -> orch::BoxFuture<orch::TaskResult<orch::Connection>> {
        let error = fatal(format!("there is no connection `{id}`"));
        Box::pin(async move { Err(error) })
    });
    let door = ArchiveDoor::to("s3://old", &archives(), find).expect("the binary opens buckets");
    let Err(error) = door.open().await else { panic!("nobody said how it is reached") };
    assert!(error.to_string().contains("hint: add one with `orch connections add archive"), "{error}");
}

/// A web server, and the session of a logged-in user.
struct Visitor {
    port: u16,
    cookie: String,
    token: String,
}

impl Visitor {
    fn of(world: &mut World) -> Visitor {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        world.start(&["web", "--port", &port.to_string(), "--admin-password", PASSWORD]);
        let mut visitor = Visitor { port, cookie: String::new(), token: String::new() };
        let form = format!("username=admin&password={}&next=/", PASSWORD.replace(' ', "+"));
        let answer = visitor.ask("POST", "/login", "application/x-www-form-urlencoded", &form);
        let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("it lets us in");
        cookie.split(';').next().unwrap().clone_into(&mut visitor.cookie);
        let login = format!(r#"{{"username": "admin", "password": "{PASSWORD}"}}"#);
        let answer = visitor.ask("POST", "/auth/token", "application/json", &login);
        body(&answer)["access_token"].as_str().unwrap().clone_into(&mut visitor.token);
        visitor
    }

    fn ask(&self, method: &str, path: &str, kind: &str, body: &str) -> String {
        let began = Instant::now();
        let mut stream = loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => break stream,
                Err(error) => assert!(began.elapsed() < PATIENCE, "nobody listens: {error}"),
            }
        };
        let who = if path.starts_with("/api/") {
            format!("authorization: Bearer {}", self.token)
        } else {
            format!("cookie: {}", self.cookie)
        };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{who}\r\ncontent-type: {kind}\r\n\
            content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(&self, path: &str) -> String {
        self.ask("GET", path, "application/json", "")
    }
}

/// Returns the JSON body of a response.
fn body(answer: &str) -> Value {
    let (start, end) = (answer.find('{').unwrap_or(0), answer.rfind('}').map_or(0, |end| end + 1));
    serde_json::from_str(&answer[start..end]).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// Returns the objects with a path component that has this prefix.
fn objects(folder: &Path, start: &str) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(inside) = open.pop() {
        for entry in std::fs::read_dir(inside).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.iter().any(|part| part.to_string_lossy().starts_with(start)) {
                found.push(path);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_long_ago_rolls_over_to_a_bucket_and_its_log_is_read_from_there() {
    let server = S3Server::start().await;
    std::fs::create_dir(server.folder().join("old")).unwrap();
    let mut world = World::new().await;
    world.set("ORCH_CONN_ARCHIVE", server.connection().to_uri());
    world.set("ORCH_ARCHIVE", "s3://old/orch");
    world.set("ORCH_LOG_RETENTION", "1d");
    world.set("ORCH_RUN_RETENTION", "36500d");
    let files = world.path().join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("greet.yaml"), GREET).unwrap();
    world.set("ORCH_DAGS_FOLDER", files.display().to_string());
    let worker = world.start_worker();
    world.wait_for("the DAG", &["dags", "list", "-o", "plain"], |ended| ended.out.contains("greet"));
    world.run(&["dags", "trigger", "greet", "--run-id", "long-ago", "--wait"]).done();
    let logs = ["tasks", "logs", "greet", "done", "long-ago"];
    let said = world.wait_for("the log", &logs, |ended| ended.out.contains("done in run long-ago")).done();
    world.kill(worker);
    let mut db = world.db().await;
    let tables = ["task_instance", "attempt", "failure", "output", "output_part", "log_chunk"];
    let moves = tables.map(|table| format!("update {table} set run = '{OLD}'"));
    let aged = format!(
        "select make_partitions('2024-07-11'); update dag_run set id = '{OLD}', ended_at = '2024-07-11' where run_id = 'long-ago'; {}",
        moves.join("; ")
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(aged)).execute(&mut db).await.unwrap();

    // The logs of the run are moved into the bucket; the command, the page and the API each read them from there.
    let scheduler = world.start(&["scheduler"]);
    let recalled = world.wait_for("the archive", &logs, |ended| ended.err.contains("it was read from the archive"));
    assert_eq!(recalled.done(), said);
    let bucket = server.folder().join("old/orch");
    assert!(!objects(&bucket.join("logs/2024w28").join(OLD), "").is_empty(), "objects of the run are in the bucket");
    assert_eq!(world.csv("select count(*) from log_chunk").await, "count\n0\n");
    let visitor = Visitor::of(&mut world);
    let forget = async |db: &mut sqlx::PgConnection| {
        let forgotten = sqlx::query("delete from recalled_log").execute(db).await.unwrap();
        assert!(forgotten.rows_affected() > 0, "it had come back for a day");
    };
    forget(&mut db).await;
    let page = visitor.get("/dags/greet/runs/long-ago/tasks/done");
    assert!(page.contains("it was read from the archive") && page.contains("done in run long-ago"), "{page}");
    forget(&mut db).await;
    let run = "/api/v2/dags/greet/dagRuns/long-ago";
    let log = visitor.get(&format!("{run}/taskInstances/done/logs/1"));
    assert!(log.contains("read from the archive") && log.contains("done in run long-ago"), "{log}");
    // Outputs are kept as long as their run.
    let output = format!("{run}/taskInstances/shout/xcomEntries/return_value");
    assert!(visitor.get(&output).contains("HELLO FROM ORCH"), "{}", visitor.get(&output));

    // Now the run itself is too old, and all its data is moved into the bucket.
    world.kill(scheduler);
    world.set("ORCH_RUN_RETENTION", "1d");
    sqlx::query("delete from duty").execute(&mut db).await.unwrap();
    world.start(&["scheduler"]);
    let began = Instant::now();
    let done = "select count(*) from retirement where done_at > (select coalesce(max(at), 'infinity') from cleanup where how = 'exported')
        and not exists (select from dag_run where run_id = 'long-ago')";
    while world.csv(done).await != "count\n1\n" {
        assert!(began.elapsed() < PATIENCE, "{}", world.said());
    }
    assert!(visitor.get(run).starts_with("HTTP/1.1 404") && visitor.get(&output).starts_with("HTTP/1.1 404"));
    assert_eq!(world.csv("select count(*) from pg_class where relname like 'archived%'").await, "count\n0\n");
    let found = objects(&bucket.join("tables"), "archived__output_2024w28__");
    let of = |name: &str| std::fs::read(found.iter().find(|path| path.ends_with(name)).expect("it is there")).unwrap();
    let manifest: Value = serde_json::from_slice(&of("manifest.json")).unwrap();
    assert_eq!(manifest["rows"], 3, "an output of each task: {manifest}");
    let mut rows = String::new();
    MultiGzDecoder::new(&of("part-00000.csv.gz")[..]).read_to_string(&mut rows).unwrap();
    assert!(rows.contains("HELLO FROM ORCH"), "{rows}");
}
