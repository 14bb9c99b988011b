//! Old logs are moved to an archive and can be recalled from it.

use crate::fixture::{database, number, one};
use crate::old::{MONDAY, NEXT_MONDAY, old_runs, there_and_archived};
use chrono::{DateTime, Utc};
use orch_sdk::task::BoxFuture;
use orch_store::StoreError;
use orch_store::archive::{Archive, ArchiveDoor, ArchiveError, ArchiveResult, Folder};
use orch_store::clean::{Cleaned, list_cleanups, retire, retire_to};
use orch_store::log::{self, Chunk, LogCursor, NewChunk};
use orch_store::partition::Retention;
use orch_store::rollover::{LogStorage, recall};
use sqlx::postgres::PgConnection;
use std::sync::Mutex;
use std::time::Duration;
use uuid::Uuid;

/// Returns a retention of one day for logs and unlimited retention for everything else.
fn logs_for_a_day() -> Retention {
    let ever = Duration::from_hours(24 * 365 * 30);
    Retention { runs: ever, logs: Duration::from_hours(24), audit: ever }
}

async fn now(db: &mut PgConnection) -> DateTime<Utc> {
    sqlx::query_scalar("select now()").fetch_one(db).await.expect("a row")
}

async fn some_run(db: &mut PgConnection) -> Uuid {
    sqlx::query_scalar("select id from dag_run order by id offset 3 limit 1").fetch_one(db).await.expect("a row")
}

async fn whole(db: &mut PgConnection, run: Uuid, attempt: Uuid) -> Vec<Chunk> {
    log::read(db, run, attempt, LogCursor::START, 1 << 20).await.expect("a log")
}

fn words(done: &[Cleaned]) -> Vec<String> {
    done.iter().map(|one| format!("{} {} {:?}", one.table, one.how, one.rows)).collect()
}

#[tokio::test]
async fn an_old_log_reads_the_same_when_it_comes_from_the_archive() {
    let database = database().await;
    let mut db = one(&database).await;
    old_runs(&mut db, "a", MONDAY, 10).await;
    let run = some_run(&mut db).await;
    let before = whole(&mut db, run, run).await;
    assert_eq!(before.len(), 3);
    let home = tempfile::tempdir().unwrap();
    let (folder, door, now) = (Folder::at(home.path()), ArchiveDoor::folder(home.path()), now(&mut db).await);
    assert_eq!(recall(&mut db, &door, run, run, now).await.unwrap(), LogStorage::Here);
    let done = retire_to(&mut db, &logs_for_a_day(), &folder).await.unwrap();
    assert_eq!(words(&done), ["log_chunk rolled over Some(30)"]);
    assert_eq!(there_and_archived(&mut db, "log_chunk").await, (0, 0));
    assert_eq!(number(&mut db, "select count(*) from pg_class where relname = 'log_chunk_2024w32'").await, 1);
    assert_eq!(whole(&mut db, run, run).await, []);
    // A process without access to the archive returns the location of the log instead.
    let place = format!("{}/logs/2024w32", home.path().display());
    let away = recall(&mut db, &ArchiveDoor::default(), run, run, now).await.unwrap();
    assert_eq!(away, LogStorage::Away { place: place.clone() });
    for _ in 0..2 {
        assert_eq!(recall(&mut db, &door, run, run, now).await.unwrap(), LogStorage::Recalled { place: place.clone() });
        assert_eq!(whole(&mut db, run, run).await, before);
    }
    let window = log::window(&mut db, run, run, 2, 1, 1).await.unwrap();
    assert_eq!((window.before, window.total, window.chunks.len()), (1, 3, 1));
    assert_eq!(log::tail(&mut db, run, run, 1).await.unwrap(), before[2..]);
    assert_eq!(log::end(&mut db, run, run).await.unwrap(), Some(before[2].place()));
    assert_eq!(log::lines_upto(&mut db, run, run, before[1].place()).await.unwrap(), 2);
    // A recalled log stays in the database for one day, and can be recalled again after that.
    sqlx::query("update recalled_log set recalled_at = now() - interval '2 days'").execute(&mut db).await.unwrap();
    assert_eq!(retire_to(&mut db, &logs_for_a_day(), &folder).await.unwrap(), []);
    assert_eq!(whole(&mut db, run, run).await, []);
    assert_eq!(recall(&mut db, &door, run, run, now).await.unwrap(), LogStorage::Recalled { place });
    assert_eq!(whole(&mut db, run, run).await, before);
}

#[tokio::test]
async fn a_run_that_is_cleared_after_its_logs_went_says_more_and_both_are_read() {
    let database = database().await;
    let mut db = one(&database).await;
    old_runs(&mut db, "a", MONDAY, 5).await;
    let (run, second) = (some_run(&mut db).await, Uuid::now_v7());
    let home = tempfile::tempdir().unwrap();
    let (folder, door, now) = (Folder::at(home.path()), ArchiveDoor::folder(home.path()), now(&mut db).await);
    retire_to(&mut db, &logs_for_a_day(), &folder).await.unwrap();
    let chunk = NewChunk { run, attempt: second, lease_no: 1, seq: 0, lines: 1, body: "again".into() };
    log::append(&mut db, &[chunk]).await.unwrap();
    assert_eq!(recall(&mut db, &door, run, second, now).await.unwrap(), LogStorage::Here);
    assert!(matches!(recall(&mut db, &door, run, run, now).await.unwrap(), LogStorage::Recalled { .. }));
    let done = retire_to(&mut db, &logs_for_a_day(), &folder).await.unwrap();
    assert_eq!(words(&done), ["log_chunk rolled over Some(1)"]);
    sqlx::query("delete from recalled_log").execute(&mut db).await.unwrap();
    for (attempt, lines) in [(run, 3), (second, 1)] {
        assert!(matches!(recall(&mut db, &door, run, attempt, now).await.unwrap(), LogStorage::Recalled { .. }));
        assert_eq!(whole(&mut db, run, attempt).await.len(), lines);
    }
}

/// An archive with a fault: either a log line is written during the export, or the archive is full.
struct Troubled {
    folder: Folder,
    meddler: Mutex<Option<(String, NewChunk)>>,
    is_full: bool,
}

impl Archive for Troubled {
    fn place(&self) -> String {
        self.folder.place()
    }

    fn put(&self, key: String, content: Vec<u8>) -> BoxFuture<ArchiveResult<()>> {
        if self.is_full {
            return Box::pin(async { Err(ArchiveError("the archive is full".into())) });
        }
        let (put, meddler) = (self.folder.put(key, content), self.meddler.lock().expect("nobody panics").take());
        Box::pin(async move {
            if let Some((url, chunk)) = meddler {
                let mut db = orch_store::connect::one(&url, "test").await.expect("the server is there");
                log::append(&mut db, &[chunk]).await.expect("it is kept");
            }
            put.await
        })
    }

    fn get(&self, key: String) -> BoxFuture<ArchiveResult<Vec<u8>>> {
        self.folder.get(key)
    }

    fn list(&self, folder: String) -> BoxFuture<ArchiveResult<Vec<String>>> {
        self.folder.list(folder)
    }
}

#[tokio::test]
async fn logs_stay_when_somebody_writes_one_meanwhile_or_the_archive_is_full() {
    let database = database().await;
    let mut db = one(&database).await;
    old_runs(&mut db, "a", MONDAY, 5).await;
    let (run, home) = (some_run(&mut db).await, tempfile::tempdir().unwrap());
    let chunk = NewChunk { run, attempt: Uuid::nil(), lease_no: 1, seq: 0, lines: 1, body: "late".into() };
    let meddler = Mutex::new(Some((database.url(), chunk)));
    let mut archive = Troubled { folder: Folder::at(home.path()), meddler, is_full: true };
    let full = retire_to(&mut db, &logs_for_a_day(), &archive).await;
    assert!(matches!(full, Err(StoreError::Archive(_))), "{full:?}");
    assert_eq!(there_and_archived(&mut db, "log_chunk").await, (15, 0));
    archive.is_full = false;
    assert_eq!(retire_to(&mut db, &logs_for_a_day(), &archive).await.unwrap(), []);
    assert_eq!(there_and_archived(&mut db, "log_chunk").await, (16, 0), "what came meanwhile is nowhere else");
    let done = retire_to(&mut db, &logs_for_a_day(), &archive).await.unwrap();
    assert_eq!(words(&done), ["log_chunk rolled over Some(16)"]);
}

#[tokio::test]
async fn what_was_kept_long_enough_goes_to_the_archive_and_its_tables_after_it() {
    let database = database().await;
    let mut db = one(&database).await;
    old_runs(&mut db, "a", MONDAY, 10).await;
    old_runs(&mut db, "a", NEXT_MONDAY, 10).await;
    sqlx::query("insert into audit (at, actor, event) values ('2024-08-05', 'ada', 'x')")
        .execute(&mut db)
        .await
        .unwrap();
    let home = tempfile::tempdir().unwrap();
    let done = retire_to(&mut db, &Retention::default(), &Folder::at(home.path())).await.unwrap();
    let exported = |table: &str| -> i64 {
        done.iter().filter(|one| one.table == table && one.how == "exported").filter_map(|one| one.rows).sum()
    };
    assert_eq!(["dag_run", "task_instance", "output", "audit"].map(exported), [20, 40, 20, 1], "{done:?}");
    assert_eq!(number(&mut db, "select count(*) from pg_class where relname like 'archived%'").await, 0);
    assert_eq!(number(&mut db, "select count(*) from dag_run").await, 0);
    for one in done.iter().filter(|one| one.how == "exported") {
        let manifest = std::path::Path::new(one.place.as_deref().unwrap()).join("manifest.json");
        assert!(manifest.is_file(), "{}", manifest.display());
    }
    assert!(list_cleanups(&mut db, 1_000).await.unwrap().iter().all(|row| row.actor == "scheduler"));
    assert_eq!(retire(&mut db, &Retention::default()).await.unwrap(), [], "nothing is left for whoever has no archive");
}
