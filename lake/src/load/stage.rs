//! Executes a load into Postgres, from the first row to the commit. Copies the rows into a staging table inside the
//! transaction, then writes the differences to the target table. Other writers are locked out of the target only
//! during the second step, or during both steps if rows are compared while they arrive (`compare`). If the target
//! does not exist, rows are copied directly into the new table, which other transactions cannot see before the
//! commit.

mod compare;

use super::refusal::{RowsRefused, about_rows, is_about_rows};
use super::target::{self, State};
use super::types::{names, quoted};
use super::{Load, Loaded, encode, ledger, shared};
use crate::batches::Batches;
use anyhow::Context;
use arrow::datatypes::SchemaRef;
use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt, stream};
use orch_sdk::task::{Connection, TaskResult, fatal};
use std::pin::Pin;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, CopyInSink, Error};

/// Number of bytes per `copy` message.
const CHUNK: usize = 1 << 18;
/// Maximum time to wait for a lock held by another writer. After that the task fails and is retried.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '30s'";
/// Disables the idle timeout, because a source may send rows slowly and the server would terminate a session that is
/// idle in a transaction.
const NO_IDLE_LIMIT: &str = "set local idle_in_transaction_session_timeout = 0";
/// Disables nested loop joins. The planner has no statistics of the staging table and could choose one for millions
/// of rows, which need a hash join.
const NO_NESTED_LOOPS: &str = "set local enable_nestloop = off";
const STAGING: &str = "pg_temp.orch_staging";
/// Minimum number of staged rows for which index statistics on the key are collected. With them, the planner joins
/// through the index instead of sorting whole rows.
const MANY: u64 = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoadMode {
    Replace,
    Upsert,
    Append,
    /// Inserts only rows that the target does not have yet. Rows are compared by these columns.
    Absent(&'static [&'static str]),
    /// Keeps one row per key: the one with the greatest version, and of several such rows the last to arrive.
    Latest,
    /// Deletes the target rows with the keys of the incoming rows.
    Delete,
}

pub(super) async fn load(load: &Load, connection: &Connection, batches: Batches, how: LoadMode) -> TaskResult<Loaded> {
    let schema = batches.schema();
    check(load, &schema, how)?;
    let db = super::connect(connection).await?;
    if let Some(rows) = ledger::find(load, &db).await? {
        return Ok(loaded_before(load, rows));
    }
    begin(&db).await?;
    let batches = begun(batches).await.map_err(about_rows).with_context(|| format!("loading {}", load.name()))?;
    let is_first = how == LoadMode::Replace && make_first(load, &schema, connection, &db).await?;
    let (rows, bytes, written);
    if is_first {
        (rows, bytes) = copy(load, &load.name(), batches, &db).await?;
        // The primary key is added after the copy. Building an index over existing rows sorts them once, while
        // maintaining it during the copy costs as much as the copy itself.
        target::add_key(load, &db).await.map_err(|error| refused(load, error))?;
        target::show(load, &db).await?;
        written = rows;
    } else if how == LoadMode::Replace && compare::is_possible(load, &schema, &db).await? {
        take(load, connection, &db).await?;
        if let Some(rows) = ledger::find(load, &db).await? {
            return Ok(loaded_before(load, rows));
        }
        (rows, bytes, written) = compare::replace(load, connection, batches, &db).await?;
    } else {
        stage(&schema, &db).await?;
        (rows, bytes) = copy(load, STAGING, batches, &db).await?;
        take(load, connection, &db).await?;
        if let Some(rows) = ledger::find(load, &db).await? {
            return Ok(loaded_before(load, rows));
        }
        written = settle(load, &schema, how, rows, &db).await?;
    }
    ledger::record(load, rows, &db).await?;
    db.batch_execute("commit").await.with_context(|| format!("it is not known whether {} was loaded", load.name()))?;
    Ok(Loaded { table: format!("{}.{}", load.schema, load.table), rows, written, bytes, was_loaded: false })
}

/// Waits for the first rows, so that a source that fails immediately does not leave an empty schema behind.
async fn begun(mut batches: Batches) -> TaskResult<Batches> {
    let (schema, first) = (batches.schema(), batches.next().await.transpose()?);
    Ok(Batches::new(schema, stream::iter(first.map(Ok)).chain(batches)))
}

/// Creates the target's schema if needed, and locks the table name until the end of the transaction.
async fn take(load: &Load, connection: &Connection, db: &Client) -> TaskResult<()> {
    shared::ensure(&load.schema, load.once.as_ref().map(|_| &ledger::TABLE), connection, db)
        .await
        .with_context(|| format!("loading {}", load.name()))?;
    target::lock(load, db).await.with_context(|| format!("another load has {}", load.name()))
}

/// Creates the target table without its key. Returns false if the table already exists, possibly because another load
/// created it concurrently.
async fn make_first(load: &Load, schema: &SchemaRef, connection: &Connection, db: &Client) -> TaskResult<bool> {
    if target::is_there(load, db).await? {
        return Ok(false);
    }
    take(load, connection, db).await?;
    let is_there = target::is_there(load, db).await?;
    if !is_there {
        target::create(load, schema, db).await?;
    }
    Ok(!is_there)
}

/// Starts a transaction for a load. If the caller stops before the commit, dropping the session rolls it back.
pub(super) async fn begin(db: &Client) -> TaskResult<()> {
    Ok(db.batch_execute(&["begin", LOCK_TIMEOUT, NO_IDLE_LIMIT, NO_NESTED_LOOPS].join("; ")).await?)
}

/// Copies rows to a staging table and writes them to the target in the caller's transaction. May be called several
/// times in one transaction. Returns the number of changed rows.
pub(super) async fn put(load: &Load, batches: Batches, how: LoadMode, db: &Client) -> TaskResult<u64> {
    let schema = batches.schema();
    check(load, &schema, how)?;
    stage(&schema, db).await?;
    let (rows, _) = copy(load, STAGING, batches, db).await?;
    target::lock(load, db).await.with_context(|| format!("another load has {}", load.name()))?;
    let written = settle(load, &schema, how, rows, db).await?;
    db.batch_execute(&format!("drop table {STAGING}")).await?;
    Ok(written)
}

/// Locks the target table and adds the columns that it lacks, as [`put`] does before it writes.
pub(super) async fn prepare(load: &Load, schema: &SchemaRef, how: LoadMode, db: &Client) -> TaskResult<State> {
    check(load, schema, how)?;
    target::lock(load, db).await.with_context(|| format!("another load has {}", load.name()))?;
    let state = target::prepare(load, schema, db).await?;
    lock(load, db).await?;
    Ok(state)
}

/// Adds missing columns to the target, then writes the `rows` staged rows to it. Returns the number of changed rows.
async fn settle(load: &Load, schema: &SchemaRef, how: LoadMode, rows: u64, db: &Client) -> TaskResult<u64> {
    let state = target::prepare(load, schema, db).await?;
    lock(load, db).await?;
    let written = move_over(load, schema, how, (state, rows), db).await.map_err(|error| refused(load, error))?;
    target::show(load, db).await?;
    Ok(written)
}

/// Locks the target table against other writers until the end of the transaction.
async fn lock(load: &Load, db: &Client) -> TaskResult<()> {
    let sql = format!("lock table {} in share row exclusive mode", load.name());
    db.batch_execute(&sql).await.with_context(|| format!("another task writes into {}", load.name()))
}

fn loaded_before(load: &Load, rows: u64) -> Loaded {
    Loaded { table: format!("{}.{}", load.schema, load.table), rows, written: 0, bytes: 0, was_loaded: true }
}

fn check(load: &Load, schema: &SchemaRef, how: LoadMode) -> TaskResult<()> {
    if matches!(how, LoadMode::Upsert | LoadMode::Latest | LoadMode::Delete) && load.key.is_empty() {
        return Err(fatal(format!("an upsert into {} needs a key\nhint: `.key([\"id\"])`", load.name())));
    }
    let version = load.version.as_ref().filter(|_| how != LoadMode::Delete);
    for column in load.key.iter().chain(version) {
        if schema.column_with_name(column).is_none() {
            let known = schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
            return Err(fatal(format!(
                "the rows for {} have no column `{column}`\nhint: they have {known}",
                load.name()
            )));
        }
    }
    Ok(())
}

async fn stage(schema: &SchemaRef, db: &Client) -> TaskResult<()> {
    let columns = schema.fields().iter().map(|field| target::column(field)).collect::<TaskResult<Vec<_>>>()?;
    Ok(db.batch_execute(&format!("create temp table orch_staging ({}) on commit drop", columns.join(", "))).await?)
}

/// Copies all rows into a table. Returns the number of rows and the number of bytes sent.
async fn copy(load: &Load, into: &str, batches: Batches, db: &Client) -> TaskResult<(u64, u64)> {
    copied(into, batches, db).await.map_err(about_rows).with_context(|| format!("loading {}", load.name()))
}

async fn copied(into: &str, mut batches: Batches, db: &Client) -> TaskResult<(u64, u64)> {
    let columns: Vec<String> = batches.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut copy = CopyIn::begin(into, &columns, db).await?;
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        encode::rows(&batch, &mut copy.chunk)?;
        rows += batch.num_rows() as u64;
        copy.send_full().await?;
    }
    Ok((rows, copy.end().await?))
}

struct CopyIn {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    /// Encoded rows that are not sent yet.
    chunk: BytesMut,
    sent: u64,
}

impl CopyIn {
    async fn begin(into: &str, columns: &[String], db: &Client) -> TaskResult<CopyIn> {
        let sql = format!("copy {into} ({}) from stdin (format binary)", names(columns));
        let mut chunk = BytesMut::with_capacity(CHUNK * 2);
        chunk.extend_from_slice(encode::HEAD);
        Ok(CopyIn { sink: Box::pin(db.copy_in(&sql).await?), chunk, sent: 0 })
    }

    async fn send_full(&mut self) -> TaskResult<()> {
        if self.chunk.len() >= CHUNK { self.send().await } else { Ok(()) }
    }

    async fn send(&mut self) -> TaskResult<()> {
        self.sent += self.chunk.len() as u64;
        Ok(self.sink.send(self.chunk.split().freeze()).await?)
    }

    /// Finishes the copy and returns the number of bytes sent.
    async fn end(mut self) -> TaskResult<u64> {
        self.chunk.extend_from_slice(encode::TAIL);
        self.send().await?;
        self.sink.as_mut().finish().await?;
        Ok(self.sent)
    }
}

/// Returns the SQL statements, in order, that write the rows of `source` into the target. `source` is a table or a
/// subquery.
pub(super) fn statements(load: &Load, schema: &SchemaRef, how: LoadMode, state: State, source: &str) -> Vec<String> {
    let (name, key) = (load.name(), names(&load.key));
    let all: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let all_names = names(&all);
    let insert = format!("insert into {name} ({all_names}) select {all_names} from {source} s");
    let rest: Vec<&String> = all.iter().filter(|column| !load.key.contains(column)).collect();
    let of =
        |alias: &str| rest.iter().map(|column| format!("{alias}.{}", quoted(column))).collect::<Vec<_>>().join(", ");
    let same_key = same_key(load);
    let set = || {
        let set: Vec<String> = rest.iter().map(|column| format!("{0} = excluded.{0}", quoted(column))).collect();
        format!("update set {}", set.join(", "))
    };
    match (how, state) {
        (LoadMode::Append, _) | (LoadMode::Replace, State::New) => vec![insert],
        (LoadMode::Absent(by), _) => {
            let same = by.iter().map(|column| format!("s.{0} is not distinct from t.{0}", quoted(column)));
            // A hash join requires `=` as the operator, which is only correct for columns without nulls.
            let equal =
                by.iter().filter(|column| schema.field_with_name(column).is_ok_and(|field| !field.is_nullable()));
            let equal = equal.map(|column| format!("s.{0} = t.{0}", quoted(column)));
            let same = equal.chain(same).collect::<Vec<_>>().join(" and ");
            vec![format!("{insert} where not exists (select from {name} t where {same})")]
        }
        (LoadMode::Delete, _) => vec![format!("delete from {name} t using {source} s where {same_key}")],
        (LoadMode::Latest, _) => {
            let action = match &load.version {
                _ if rest.is_empty() => "nothing".into(),
                Some(version) => {
                    let version = quoted(version);
                    format!("{} where t.{version} is null or excluded.{version} >= t.{version}", set())
                }
                None => set(),
            };
            vec![format!(
                "insert into {name} as t ({all_names}) select {all_names} from {source} s on conflict ({key}) do {action}"
            )]
        }
        (LoadMode::Replace, State::Known) if load.key.is_empty() => vec![format!("delete from {name}"), insert],
        // Writes only rows that differ. Comparing an unchanged row costs two joins but leaves no dead row in the
        // table.
        (LoadMode::Replace, State::Known) => {
            let same = if rest.is_empty() {
                same_key.clone()
            } else {
                format!("{same_key} and ({}) is not distinct from ({})", of("s"), of("t"))
            };
            vec![
                format!("delete from {name} t where not exists (select from {source} s where {same})"),
                format!("{insert} where not exists (select from {name} t where {same_key})"),
            ]
        }
        (LoadMode::Upsert, _) => {
            let newest = match &load.version {
                Some(version) => format!(
                    "insert into {name} as t ({all_names}) select distinct on ({key}) {all_names} from {source} s \
                     order by {key}, {} desc",
                    quoted(version)
                ),
                None => format!("insert into {name} as t ({all_names}) select {all_names} from {source} s"),
            };
            let action = match (&load.version, rest.is_empty()) {
                (_, true) => "nothing".to_string(),
                (Some(version), _) => format!("{} where excluded.{1} > t.{1}", set(), quoted(version)),
                (None, _) => {
                    format!("{} where ({}) is distinct from ({})", set(), of("t"), of("excluded"))
                }
            };
            vec![format!("{newest} on conflict ({key}) do {action}")]
        }
    }
}

/// Returns the SQL condition that a staged row `s` and a target row `t` have the same key.
fn same_key(load: &Load) -> String {
    load.key.iter().map(|column| format!("s.{0} = t.{0}", quoted(column))).collect::<Vec<_>>().join(" and ")
}

async fn move_over(
    load: &Load,
    schema: &SchemaRef,
    how: LoadMode,
    (state, rows): (State, u64),
    db: &Client,
) -> Result<u64, Error> {
    if how == LoadMode::Replace && state == State::Known && !load.key.is_empty() {
        // The unique index rejects duplicate keys among the staged rows. Without it, the first of two duplicates
        // could equal the row in the target, and the second would be lost silently.
        let key = names(&load.key);
        db.batch_execute(&format!("create unique index on {STAGING} ({key})")).await?;
        if rows >= MANY {
            db.batch_execute(&format!("analyze {STAGING} ({key})")).await?;
        }
    }
    let mut written = 0;
    for sql in statements(load, schema, how, state, STAGING) {
        // Counts inserted and updated rows only. The deletes of a replace are not counted because changed rows are
        // deleted and inserted again.
        let is_prepared = how == LoadMode::Replace && sql.starts_with("delete");
        let rows = db.execute(&sql, &[]).await?;
        written += if is_prepared { 0 } else { rows };
    }
    Ok(written)
}

/// Converts the error of a statement that writes rows. Returns [`RowsRefused`] if the database rejects some of the
/// rows.
pub(super) fn refused(load: &Load, error: Error) -> anyhow::Error {
    let (name, key) = (load.name(), load.key.join(", "));
    let Some(refusal) = error.as_db_error() else {
        return anyhow::Error::new(error).context(format!("loading {name}"));
    };
    let says = refusal.message();
    match *refusal.code() {
        SqlState::UNIQUE_VIOLATION | SqlState::CARDINALITY_VIOLATION => same_key_twice(load, says),
        SqlState::INVALID_COLUMN_REFERENCE => fatal(format!(
            "{name} has no primary key or unique constraint over ({key})\n\
             hint: `alter table {name} add primary key ({})`",
            names(&load.key)
        )),
        _ if is_about_rows(refusal.code()) => RowsRefused::because(says).context(format!("loading {name}")),
        _ if is_lasting(refusal.code()) => fatal(format!("the database refuses rows for {name}: {says}")),
        // Transient errors, such as a shutdown, a full disk or a lock timeout: a retry may succeed.
        _ => anyhow::Error::new(error).context(format!("loading {name}")),
    }
}

fn same_key_twice(load: &Load, says: &str) -> anyhow::Error {
    let (name, key) = (load.name(), load.key.join(", "));
    let says =
        format!("two rows for {name} have the same key ({key}): {says}\nhint: make them one before they are loaded");
    RowsRefused::because(says)
}

/// Returns true for permanent errors that affect the whole load, such as wrong names or missing privileges.
fn is_lasting(code: &SqlState) -> bool {
    ["27", "42"].iter().any(|class| code.code().starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    fn schema() -> SchemaRef {
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        Arc::new(Schema::new(vec![field("id"), field("v"), field("n")]))
    }

    #[test]
    fn only_what_differs_is_written_where_there_is_a_key() {
        let load = Load::into("s", "t").key(["id"]);
        let sql = statements(&load, &schema(), LoadMode::Replace, State::Known, STAGING);
        let expected = "delete from \"s\".\"t\" t where not exists (select from pg_temp.orch_staging s where \
                        s.\"id\" = t.\"id\" and (s.\"v\", s.\"n\") is not distinct from (t.\"v\", t.\"n\"))";
        assert_eq!(sql[0], expected);
        assert_eq!(statements(&load, &schema(), LoadMode::Replace, State::New, STAGING).len(), 1);
        let whole = statements(&Load::into("s", "t"), &schema(), LoadMode::Replace, State::Known, STAGING);
        assert_eq!(whole[0], "delete from \"s\".\"t\"");
    }

    #[test]
    fn of_two_that_are_equally_old_the_later_one_counts() {
        let load = Load::into("s", "t").key(["id"]).version("v");
        let sql = &statements(&load, &schema(), LoadMode::Latest, State::Known, STAGING)[0];
        assert!(sql.ends_with("where t.\"v\" is null or excluded.\"v\" >= t.\"v\""), "{sql}");
    }

    #[test]
    fn an_upsert_keeps_what_is_newer() {
        let load = Load::into("s", "t").key(["id"]).version("v");
        let sql = &statements(&load, &schema(), LoadMode::Upsert, State::Known, STAGING)[0];
        assert!(sql.contains("distinct on (\"id\")") && sql.contains("order by \"id\", \"v\" desc"), "{sql}");
        assert!(sql.ends_with("where excluded.\"v\" > t.\"v\""), "{sql}");
    }
}
