//! Continuous writer of a stream into Postgres. Rows of several tables and the stream's read offsets change in one
//! transaction of the target database.
//!
//! Each stream has a row in the table `orch_stream` in the target's schema. The row is a fence: it holds the highest
//! epoch (fencing token) that has written, and writes with a lower epoch are rejected.

use super::shared::{self, SharedTable};
use super::stage::{self, LoadMode};
use super::target;
use super::trial;
use super::{Load, Session, connect, ensure_database};
use crate::{batches::Batches, boxed};
use anyhow::Context as _;
use arrow::array::RecordBatch;
use orch_sdk::task::{Connection, TaskResult, fatal};
use orch_store::StoreError;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_postgres::Client;

const TABLE: SharedTable = SharedTable {
    name: "orch_stream",
    columns: "stream text primary key, owner text not null, epoch bigint not null, offsets text not null, \
              published_at timestamptz not null default now()",
};

/// SQL expression for the application name of sessions that write for a stream; `$1` is [`Follower::writer`]. It is
/// hashed because servers truncate application names to 63 bytes.
const SESSION_NAME: &str = "'orch stream ' || hashtextextended($1, 0)";

/// The next offset to read, per partition of the stream.
pub type Offsets = BTreeMap<i32, i64>;

/// A stream that writes into a schema of a Postgres database.
#[derive(Debug, Clone)]
pub struct Follower {
    connection: Connection,
    schema: String,
    stream: String,
    owner: String,
    epoch: i64,
    /// Open session that is kept for the next publication.
    session: Arc<Mutex<Option<Session>>>,
}

/// Write mode: the way in which the rows of a stream are merged into a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Append,
    /// Inserts the rows that the table does not have yet. Two rows are equal if they agree in these columns; nulls
    /// are equal.
    Absent(&'static [&'static str]),
    /// Upserts one row per key of the [`Load`]. An existing row with a newer [`Load::version`] is kept.
    Latest,
    /// Deletes the table rows with the keys of the incoming rows.
    Delete,
    Empty,
}

impl Put {
    /// Returns the load mode for incoming rows. `None` for [`Put::Empty`], which has no rows.
    pub(super) fn mode(self) -> Option<LoadMode> {
        Some(match self {
            Put::Append => LoadMode::Append,
            Put::Absent(by) => LoadMode::Absent(by),
            Put::Latest => LoadMode::Latest,
            Put::Delete => LoadMode::Delete,
            Put::Empty => return None,
        })
    }
}

#[derive(Debug, Clone)]
pub struct TableBatch {
    pub load: Load,
    pub put: Put,
    pub rows: RecordBatch,
}

/// Work to do when a process claims the tables of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Partitions and their new offsets, as reset by a user.
    pub moved: &'a [(i32, i64)],
    /// Tables from which all rows are deleted.
    pub emptied: &'a [Load],
}

impl Follower {
    /// Creates a follower. `owner` distinguishes streams with the same name, for example those of another orch
    /// installation or of a deleted stream.
    pub fn new(connection: &Connection, schema: &str, stream: &str, owner: &str, epoch: i64) -> Follower {
        Follower {
            connection: connection.clone(),
            schema: schema.into(),
            stream: stream.into(),
            owner: owner.into(),
            epoch,
            session: Arc::default(),
        }
    }

    /// Fences off processes with a lower epoch and terminates their database sessions.
    ///
    /// # Errors
    /// Returns `StoreError::FenceLost` if a process with a higher epoch has published. Returns a fatal error if
    /// another stream with this name owns the tables.
    #[boxed]
    pub async fn claim(&self, claim: &Claim<'_>) -> TaskResult<()> {
        ensure_database(&self.connection).await?;
        self.within(async |db| {
            shared::ensure(&self.schema, Some(&TABLE), &self.connection, db).await?;
            self.end_other_sessions(db).await?;
            let table = TABLE.name_in(&self.schema);
            let first = format!(
                "insert into {table} (stream, owner, epoch, offsets) values ($1, $2, $3, '{{}}') on conflict do nothing"
            );
            db.execute(&first, &[&self.stream, &self.owner, &self.epoch]).await?;
            let (owner, epoch, mut offsets) = self.known(db).await?;
            if owner != self.owner {
                if claim.moved.is_empty() {
                    return Err(fatal(format!(
                        "the tables in schema `{}` are kept by another stream `{}`: of another orch, or one that was deleted\n\
                         hint: take them over with `orch streams reset {} --to-earliest --empty-table`",
                        self.schema, self.stream, self.stream
                    )));
                }
                offsets.clear();
            } else if epoch > self.epoch {
                return Err(StoreError::FenceLost.into());
            }
            offsets.extend(claim.moved.iter().copied());
            for load in claim.emptied {
                empty(load, db).await?;
            }
            let claimed = format!("update {table} set owner = $2, epoch = $3, offsets = $4 where stream = $1");
            db.execute(&claimed, &[&self.stream, &self.owner, &self.epoch, &text(&offsets)]).await?;
            Ok(End::Commit)
        })
        .await
    }

    /// Publishes the rows of an offset range of each partition in one transaction. `parts` is called with the offsets
    /// that the tables have already reached. It omits the rows of records below these offsets, unless they may be
    /// written again.
    ///
    /// # Errors
    /// Returns `StoreError::FenceLost` if another process has claimed the tables, [`super::RowsRefused`] if the
    /// database rejects some of the rows, and a fatal error if the tables are behind the offsets of the stream.
    pub async fn publish(
        &self,
        covered: &[(i32, i64, i64)],
        parts: impl FnOnce(&Offsets) -> TaskResult<Vec<TableBatch>>,
    ) -> TaskResult<()> {
        self.within(async |db| {
            let mut offsets = self.held(db).await?;
            let behind = covered.iter().find(|(partition, from, _)| offsets.get(partition).is_some_and(|at| at < from));
            if let Some((partition, from, _)) = behind {
                return Err(fatal(format!(
                    "the tables of stream `{}` have partition {partition} up to offset {}, and the stream is at {from}: was the \
                     database restored from a backup?\n\
                     hint: go back with `orch streams reset {} --to-offset {} --partition {partition}`",
                    self.stream, offsets[partition], self.stream, offsets[partition]
                )));
            }
            put_all(parts(&offsets)?, db).await?;
            for &(partition, _, to) in covered {
                let at = offsets.entry(partition).or_insert(to);
                *at = to.max(*at);
            }
            let moved = format!(
                "update {} set offsets = $2, published_at = now() where stream = $1",
                TABLE.name_in(&self.schema)
            );
            db.execute(&moved, &[&self.stream, &text(&offsets)]).await?;
            Ok(End::Commit)
        })
        .await
    }

    /// Returns the indexes of the rows of a batch that the database rejects, each with its error message. Runs in one
    /// transaction that writes nothing. `parts` returns the table rows for a range of the batch.
    ///
    /// # Errors
    /// Returns `StoreError::FenceLost` if another process has claimed the tables.
    pub async fn find_refused(
        &self,
        rows: usize,
        parts: impl Fn(&Offsets, Range<usize>) -> TaskResult<Vec<TableBatch>>,
    ) -> TaskResult<BTreeMap<usize, String>> {
        let mut refused = BTreeMap::new();
        self.within(async |db| {
            let offsets = self.held(db).await?;
            refused = trial::find_refused(rows, |range| parts(&offsets, range), db).await?;
            Ok(End::Rollback)
        })
        .await?;
        Ok(refused)
    }

    /// Returns the offsets stored with the tables, and locks them until the end of the transaction.
    async fn held(&self, db: &Client) -> TaskResult<Offsets> {
        let (owner, epoch, offsets) = self.known(db).await?;
        if owner != self.owner || epoch != self.epoch {
            return Err(StoreError::FenceLost.into());
        }
        Ok(offsets)
    }

    /// Runs one transaction on the kept session. If it fails, the session is dropped, which rolls the transaction
    /// back.
    async fn within(&self, work: impl AsyncFnOnce(&Client) -> TaskResult<End>) -> TaskResult<()> {
        let mut kept = self.session.lock().await;
        let db = match kept.take().filter(|session| !session.is_closed()) {
            Some(db) => db,
            None => {
                let db = connect(&self.connection).await?;
                let named = format!("select set_config('application_name', {SESSION_NAME}, false)");
                db.execute(&named, &[&self.writer()]).await?;
                db
            }
        };
        stage::begin(&db).await?;
        match work(&db).await? {
            End::Commit => {
                db.batch_execute("commit").await.context("it is not known whether the rows were published")?;
            }
            End::Rollback => db.batch_execute("rollback").await?,
        }
        *kept = Some(db);
        Ok(())
    }

    /// Terminates the sessions that earlier processes of this stream have left open. A frozen process keeps its
    /// locks, and no server timeout ends a session that waits for more rows of a `copy`.
    async fn end_other_sessions(&self, db: &Client) -> TaskResult<()> {
        let end = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where application_name = {SESSION_NAME} and pid <> pg_backend_pid() and usename = current_user
               and not exists (select from {} where stream = $2 and epoch > $3)",
            TABLE.name_in(&self.schema)
        );
        db.execute(&end, &[&self.writer(), &self.stream, &self.epoch]).await?;
        Ok(())
    }

    /// Returns a name that identifies the stream among all writers of the database server.
    fn writer(&self) -> String {
        format!("{} {} {}", self.owner, self.schema, self.stream)
    }

    /// Reads the fence row of the stream: owner, epoch and offsets. Locks the row until the end of the transaction.
    async fn known(&self, db: &Client) -> TaskResult<(String, i64, Offsets)> {
        let known =
            format!("select owner, epoch, offsets from {} where stream = $1 for update", TABLE.name_in(&self.schema));
        let known = db.query_opt(&known, &[&self.stream]).await?.ok_or(StoreError::FenceLost)?;
        let offsets = serde_json::from_str(known.get(2)).context("the offsets in `orch_stream`")?;
        Ok((known.get(0), known.get(1), offsets))
    }
}

enum End {
    Commit,
    Rollback,
}

pub(super) async fn put_all(parts: Vec<TableBatch>, db: &Client) -> TaskResult<()> {
    for TableBatch { load, put, rows } in parts {
        match put.mode() {
            Some(how) => {
                stage::put(&load, Batches::from(rows), how, db).await?;
            }
            None => empty(&load, db).await?,
        }
    }
    Ok(())
}

/// Deletes all rows of a table. Succeeds if the table does not exist.
async fn empty(load: &Load, db: &Client) -> TaskResult<()> {
    if target::is_there(load, db).await? {
        db.batch_execute(&format!("delete from {}", load.name())).await?;
    }
    Ok(())
}

fn text(offsets: &Offsets) -> String {
    serde_json::to_string(offsets).unwrap_or_default()
}
