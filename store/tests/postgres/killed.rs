//! Archiving of old rows and logs by a process that is killed repeatedly: before and after each message to the database
//! and each object that it writes. At any time, each row exists in exactly one location, and reading a log returns the
//! same lines.

use crate::fixture::{database, one};
use crate::old::{MONDAY, NEXT_MONDAY, old_runs, there_and_archived};
use chrono::{DateTime, Utc};
use flate2::read::MultiGzDecoder;
use orch_sdk::task::BoxFuture;
use orch_store::archive::{Archive, ArchiveDoor, ArchiveResult, Folder};
use orch_store::clean::{Cleaned, list_archived, retire_to};
use orch_store::log::{self, Chunk, LogCursor};
use orch_store::partition::Retention;
use orch_store::rollover::{LogStorage, recall};
use orch_store::{StoreError, StoreResult};
use orch_test_support::TestDb;
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use uuid::Uuid;

const DAY: Duration = Duration::from_hours(24);
/// Number of rows per table before cleaning. There are two weeks with eight runs of two tasks each.
const ALL: [(&str, i64); 5] =
    [("dag_run", 16), ("task_instance", 32), ("log_chunk", 48), ("output", 16), ("dag_run_detail", 16)];
/// Distance between the steps at which the process is killed. With `ORCH_TEST_LONG=1` it is killed at every step.
const STRIDE: i64 = 6;

/// Counts the messages that the process sends, and kills the process at a given one.
#[derive(Debug)]
struct Fate {
    left: AtomicI64,
    /// True if the server still receives the last message before the kill.
    arrives: bool,
    killed: Notify,
}

impl Fate {
    fn at(step: i64, arrives: bool) -> Arc<Fate> {
        Arc::new(Fate { left: AtomicI64::new(step), arrives, killed: Notify::new() })
    }

    fn is_now(&self) -> bool {
        self.left.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

/// Relays messages between the process and the server.
async fn relay(listener: TcpListener, server: impl AsyncRead + AsyncWrite + Send, fate: Arc<Fate>) -> io::Result<()> {
    let (client, _) = listener.accept().await?;
    client.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let (mut said, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = from_client.read(&mut said) => {
                let bytes = read?;
                let dies = bytes > 0 && fate.is_now();
                if bytes == 0 || (dies && !fate.arrives) {
                    fate.killed.notify_one();
                    return Ok(());
                }
                to_server.write_all(&said[..bytes]).await?;
                if dies {
                    // The server executes the statement, but the process does not receive the response.
                    let heard = from_server.read(&mut answered).await?;
                    fate.killed.notify_one();
                    return if heard == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) };
                }
            }
            read = from_server.read(&mut answered) => {
                let bytes = read?;
                to_client.write_all(&answered[..bytes]).await?;
                if bytes == 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// An archive whose writer may be killed before or after it has written an object.
struct Deadly {
    folder: Folder,
    fate: Arc<Fate>,
}

impl Archive for Deadly {
    fn place(&self) -> String {
        self.folder.place()
    }

    fn put(&self, key: String, content: Vec<u8>) -> BoxFuture<ArchiveResult<()>> {
        let (put, fate) = (self.folder.put(key, content), self.fate.clone());
        Box::pin(async move {
            let dies = fate.is_now();
            if !dies || fate.arrives {
                put.await?;
            }
            if dies {
                fate.killed.notify_one();
                std::future::pending::<()>().await;
            }
            Ok(())
        })
    }

    fn get(&self, key: String) -> BoxFuture<ArchiveResult<Vec<u8>>> {
        self.folder.get(key)
    }

    fn list(&self, folder: String) -> BoxFuture<ArchiveResult<Vec<String>>> {
        self.folder.list(folder)
    }
}

/// Runs one cleaning pass. Returns `None` if the process was killed.
async fn pass(database: &TestDb, archive: &Path, fate: Arc<Fate>) -> Option<StoreResult<Vec<Cleaned>>> {
    let real: PgConnectOptions = database.url().parse().expect("our own URL parses");
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let mut serving = JoinSet::new();
    let url = match real.get_socket() {
        Some(folder) => {
            let path = folder.join(format!(".s.PGSQL.{}", real.get_port()));
            let server = UnixStream::connect(path).await.expect("the server is there");
            serving.spawn(relay(listener, server, fate.clone()));
            format!("postgres://{}@127.0.0.1:{port}/{}?sslmode=disable", real.get_username(), database.name())
        }
        None => {
            let server = TcpStream::connect((real.get_host(), real.get_port())).await.expect("the server is there");
            serving.spawn(relay(listener, server, fate.clone()));
            database.url().replace(&format!(":{}/", real.get_port()), &format!(":{port}/"))
        }
    };
    let archive = Deadly { folder: Folder::at(archive), fate: fate.clone() };
    let keep = Retention { runs: DAY, logs: DAY, audit: DAY };
    let work = async {
        let mut db = orch_store::connect::one(&url, "test").await?;
        retire_to(&mut db, &keep, &archive).await
    };
    // A killed process does not shut down in an orderly way, so its pending work is simply dropped.
    tokio::select! {
        biased;
        () = fate.killed.notified() => None,
        done = work => Some(done),
    }
}

/// Counts the lines of a gzip file, which must be complete.
fn lines_of(path: &Path) -> i64 {
    let packed = std::fs::read(path).expect("it is there");
    let mut text = String::new();
    MultiGzDecoder::new(&packed[..]).read_to_string(&mut text).expect("it is whole");
    text.lines().count() as i64
}

/// Counts the exported rows of a table. Only folders with a manifest count, and only if the database no longer contains
/// their rows. Each file must match its manifest.
fn exported(archive: &Path, of: &str, here: &[String]) -> i64 {
    let Ok(folders) = std::fs::read_dir(archive.join("tables")) else { return 0 };
    let mut rows = 0;
    for folder in folders.map(|folder| folder.expect("an entry").path()) {
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let rest = name.strip_prefix("archived__").expect("an archived table");
        let is_of = rest.strip_prefix(of).is_some_and(|rest| rest.starts_with("__") || rest.starts_with("_2024w"));
        if !is_of || here.contains(&name) {
            continue;
        }
        let manifest = std::fs::read(folder.join("manifest.json")).expect("what is gone has a manifest");
        let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
        let mut lines = 0;
        for part in manifest["parts"].as_array().expect("a list") {
            lines += lines_of(&folder.join(part["name"].as_str().expect("a name")));
        }
        assert_eq!(manifest["rows"].as_i64(), Some(lines - 1), "{name}: all but the header");
        rows += lines - 1;
    }
    rows
}

/// Counts the log chunks that are in the archive and no longer in their weekly partition.
fn rolled_over(archive: &Path) -> i64 {
    let mut chunks = 0;
    for week in std::fs::read_dir(archive.join("logs")).into_iter().flatten() {
        for run in std::fs::read_dir(week.expect("an entry").path()).expect("a folder") {
            for object in std::fs::read_dir(run.expect("an entry").path()).expect("a folder") {
                let path = object.expect("an entry").path();
                if path.extension().is_none_or(|ending| ending != "gz") {
                    continue; // a writer was killed while writing it
                }
                chunks += lines_of(&path);
            }
        }
    }
    chunks
}

/// Reads a log like a page does: recalls it from the archive if necessary, and deletes the recalled copy.
async fn read(db: &mut PgConnection, archive: &Path, run: Uuid) -> (LogStorage, Vec<Chunk>) {
    let now: DateTime<Utc> = sqlx::query_scalar("select now()").fetch_one(&mut *db).await.expect("a row");
    let kept = recall(db, &ArchiveDoor::folder(archive), run, run, now).await.expect("the archive is read");
    let chunks = log::read(db, run, run, LogCursor::START, 1 << 20).await.expect("a log");
    sqlx::query("delete from recalled_log").execute(db).await.expect("it is forgotten");
    (kept, chunks)
}

/// Checks that each row exists in exactly one location.
async fn check(db: &mut PgConnection, archive: &Path, step: &str) {
    let here: Vec<String> = list_archived(db, &[]).await.expect("a list").into_iter().map(|found| found.name).collect();
    for (table, all) in ALL {
        let (there, archived) = there_and_archived(db, table).await;
        let exported = exported(archive, table, &here);
        // Log chunks count as in the database until their partition is empty, and as archived afterwards.
        let rolled = if table == "log_chunk" { gone(db).await } else { 0 };
        assert_eq!(
            there + archived + exported + rolled,
            all,
            "{step}: `{table}`: {there} there, {archived} archived, {exported} exported, {rolled} rolled over"
        );
    }
}

/// Returns the number of log chunks that the table `cleanup` records as moved to the archive.
async fn gone(db: &mut PgConnection) -> i64 {
    let text = "select coalesce(sum(rows), 0)::bigint from cleanup where how = 'rolled over'";
    sqlx::query_scalar(text).fetch_one(db).await.expect("a number")
}

#[expect(
    clippy::disallowed_methods,
    reason = "how much is tested is said in the environment, as of the other long tests"
)]
fn stride() -> i64 {
    if std::env::var_os("ORCH_TEST_LONG").is_some() { 1 } else { STRIDE }
}

#[tokio::test]
async fn whoever_archives_and_is_killed_at_any_step_loses_nothing_and_doubles_nothing() {
    let database = database().await;
    let mut db = one(&database).await;
    old_runs(&mut db, "a", MONDAY, 8).await;
    old_runs(&mut db, "a", NEXT_MONDAY, 8).await;
    let text = "select id from dag_run order by id";
    let runs: Vec<Uuid> = sqlx::query_scalar(text).fetch_all(&mut db).await.unwrap();
    let looked_at = [runs[3], runs[12]];
    let home = TempDir::new().unwrap();
    let mut logs = Vec::new();
    for run in looked_at {
        let (kept, chunks) = read(&mut db, home.path(), run).await;
        assert_eq!((kept, chunks.len()), (LogStorage::Here, 3));
        logs.push(chunks);
    }

    let (mut step, mut kills, mut recalled) = (1, 0, 0);
    loop {
        // Alternate between two faults: the message is lost, or only its response is lost.
        let arrives = kills % 2 == 1;
        let name = format!("step {step}, {}", if arrives { "after" } else { "before" });
        let ended = pass(&database, home.path(), Fate::at(step, arrives)).await;
        check(&mut db, home.path(), &name).await;
        for (run, before) in looked_at.iter().zip(&logs) {
            let (kept, chunks) = read(&mut db, home.path(), *run).await;
            assert_eq!(&chunks, before, "{name}: the log reads as ever, {kept:?}");
            recalled += i32::from(matches!(kept, LogStorage::Recalled { .. }));
        }
        match ended {
            None => {
                kills += 1;
                // Test both faults at about the same step before advancing, because work that is done is not repeated
                // in the next pass.
                step += if arrives { stride() } else { 0 };
            }
            // The server has not noticed yet that the killed process disconnected, so the process's lock is still held.
            Some(Err(StoreError::CleaningElsewhere)) => {}
            Some(Err(error)) => panic!("{name}: {error}: {}", error.source_text()),
            Some(Ok(_)) => break,
        }
    }
    eprintln!("{kills} kills up to step {step}");
    assert!(kills > 20 && recalled > 10, "{kills} kills, {recalled} logs were read from the archive");
    check(&mut db, home.path(), "at the end").await;
    assert_eq!(rolled_over(home.path()), 48, "each chunk is in one object");
    assert_eq!(list_archived(&mut db, &[]).await.unwrap(), [], "nothing is left behind");
    for (table, _) in ALL {
        assert_eq!(there_and_archived(&mut db, table).await, (0, 0), "{table}");
    }
}
