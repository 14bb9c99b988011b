//! A writer that never ends: rows of several tables and how far it has come change in one transaction of the target.
//!
//! Its row in `orch_stream`, in the schema of the target, is its fence: it holds the greatest epoch that has written, and a lower one is refused.

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

/// Name of the sessions that write for a stream, from [`Follower::writer`]. It is hashed, because servers cut names off after 63 bytes.
const SESSION_NAME: &str = "'orch stream ' || hashtextextended($1, 0)";

/// The next offset of each partition.
pub type Offsets = BTreeMap<i32, i64>;

/// A stream that writes into a schema of a Postgres database.
#[derive(Debug, Clone)]
pub struct Follower {
    connection: Connection,
    schema: String,
    stream: String,
    owner: String,
    epoch: i64,
    /// Kept from one publication to the next.
    session: Arc<Mutex<Option<Session>>>,
}

/// How rows go into a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Append,
    /// Rows that the table does not have. Two rows are equal if these columns are; nulls are equal.
    Absent(&'static [&'static str]),
    /// One row for each key of the [`Load`]. It takes the place of the row that is there unless that has a newer [`Load::version`].
    Latest,
    /// The rows are keys, and those of the table that have them go.
    Delete,
    /// All rows of the table go.
    Empty,
}

impl Put {
    /// Returns `None` for [`Put::Empty`].
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

/// Rows for one table.
#[derive(Debug, Clone)]
pub struct TableBatch {
    pub load: Load,
    pub put: Put,
    pub rows: RecordBatch,
}

/// What a stream does when it begins.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Where a person moved partitions to.
    pub moved: &'a [(i32, i64)],
    /// Tables whose rows go.
    pub emptied: &'a [Load],
}

impl Follower {
    /// `owner` tells the stream from another one of its name: of another orch, or one that was deleted.
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

    /// From here on no process with a lower epoch publishes.
    ///
    /// # Errors
    /// `StoreError::FenceLost`: one with a higher epoch has published. A fatal error: the table is kept by another stream of this name.
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

    /// Publishes rows of the offsets from..to of each partition. `parts` is told which offsets the tables have already: it leaves out
    /// rows of records below these, unless they may be written again.
    ///
    /// # Errors
    /// `StoreError::FenceLost`: they are claimed by another process. [`super::RowsRefused`]: the database does not take some of the rows. A fatal error:
    /// the tables have less than they had.
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

    /// Returns the rows of a batch that the database refuses, by index, each with its message. Writes nothing. `parts` returns the rows of
    /// tables that a range of the batch becomes. Takes one transaction.
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

    /// The offsets of the tables, which stay so until the end of the transaction.
    async fn held(&self, db: &Client) -> TaskResult<Offsets> {
        let (owner, epoch, offsets) = self.known(db).await?;
        if owner != self.owner || epoch != self.epoch {
            return Err(StoreError::FenceLost.into());
        }
        Ok(offsets)
    }

    /// One transaction, on the session that is there. After an error it is dropped, and what it began is undone.
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

    /// Ends the sessions of earlier processes of this stream. A frozen process keeps its locks, and no timeout of the server ends a
    /// session that waits for more rows of a `copy`.
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

    /// Identifies the stream among all that write to the server.
    fn writer(&self) -> String {
        format!("{} {} {}", self.owner, self.schema, self.stream)
    }

    /// Owner, epoch and offsets. Holds the row until the end of the transaction.
    async fn known(&self, db: &Client) -> TaskResult<(String, i64, Offsets)> {
        let known =
            format!("select owner, epoch, offsets from {} where stream = $1 for update", TABLE.name_in(&self.schema));
        let known = db.query_opt(&known, &[&self.stream]).await?.ok_or(StoreError::FenceLost)?;
        let offsets = serde_json::from_str(known.get(2)).context("the offsets in `orch_stream`")?;
        Ok((known.get(0), known.get(1), offsets))
    }
}

/// The end of a transaction.
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

/// A table that is not there is empty.
async fn empty(load: &Load, db: &Client) -> TaskResult<()> {
    if target::is_there(load, db).await? {
        db.batch_execute(&format!("delete from {}", load.name())).await?;
    }
    Ok(())
}

fn text(offsets: &Offsets) -> String {
    serde_json::to_string(offsets).unwrap_or_default()
}
