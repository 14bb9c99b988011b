//! Test fixture: a dump of the previous release's database, taken after its processes were killed with runs in flight
//! (see tests/upgrade/README.md).

use crate::TestDb;
use flate2::read::GzDecoder;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, PgConnection};
use std::borrow::Cow;
use std::io::Read as _;

/// Folder with the DAG files of these runs.
pub const DAGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../upgrade/dags");
/// Effects of the tasks that had finished.
pub const EFFECTS: &str = include_str!("../../upgrade/version-24.effects");
static DUMP: &[u8] = include_bytes!("../../upgrade/version-24.sql.gz");

/// Timestamps that processes wait for or compare with the current time.
const MOVED: [(&str, &str); 12] = [
    ("worker", "heartbeat_at"),
    ("worker", "expires_at"),
    ("process", "heartbeat_at"),
    ("duty", "done_at"),
    ("waiting", "wake_at"),
    ("waiting", "give_up_at"),
    ("alert", "at"),
    ("alert", "due_at"),
    ("deadline", "due_at"),
    ("dag_run", "run_after"),
    ("ready", "queued_at"),
    ("slot", "taken_at"),
];

impl TestDb {
    /// Restores the database and moves its timestamps, as if its processes had been killed an hour ago, so that tests
    /// do not depend on the age of the fixture.
    pub async fn of_the_previous_release() -> TestDb {
        let nothing = Migrator { migrations: Cow::Borrowed(&[]), ..Migrator::DEFAULT };
        let database = TestDb::new(&nothing).await;
        let mut text = String::new();
        GzDecoder::new(DUMP).read_to_string(&mut text).expect("the fixture is packed text");
        let mut db = database.connect().await;
        send(&mut db, "drop table _sqlx_migrations".into()).await;
        send(&mut db, text).await;
        send(&mut db, "reset search_path".into()).await;
        send(&mut db, "create temporary table killed as select max(heartbeat_at) as at from worker".into()).await;
        for (table, column) in MOVED {
            let moved = format!("{column} + (now() - interval '1 hour' - (select at from killed))");
            send(&mut db, format!("update {table} set {column} = {moved} where {column} is not null")).await;
        }
        database
    }
}

/// Executes SQL of the fixture, which is trusted.
async fn send(db: &mut PgConnection, text: String) {
    sqlx::raw_sql(AssertSqlSafe(text)).execute(db).await.expect("the fixture can be restored");
}
