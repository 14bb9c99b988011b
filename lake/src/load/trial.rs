//! Finds the rows of a batch that the database rejects, in a transaction that the caller rolls back.
//!
//! Uses bisection: a range of rows is written inside a savepoint, and halved if the database rejects it. The rows of
//! a short range are sent one by one without waiting for responses (pipelining). A batch in which every row is
//! rejected therefore costs about one statement per row.

use super::follow::{TableBatch, put_all};
use super::refusal::RowsRefused;
use super::target::State;
use super::types::{quoted, type_of};
use super::{Load, encode, stage, target};
use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use bytes::BytesMut;
use futures::future::maybe_done;
use futures::poll;
use orch_sdk::task::TaskResult;
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt;
use std::ops::Range;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};

/// Maximum number of rows in a range whose rows are sent one by one.
const PIPELINED_ROWS: usize = 512;

/// Returns the indexes of the rejected rows, each with the error message of the database.
pub(super) async fn find_refused(
    rows: usize,
    parts: impl Fn(Range<usize>) -> TaskResult<Vec<TableBatch>>,
    db: &Client,
) -> TaskResult<BTreeMap<usize, String>> {
    let mut refused = BTreeMap::new();
    let mut ranges: Vec<_> = std::iter::once(0..rows).collect();
    while let Some(range) = ranges.pop() {
        db.batch_execute("savepoint trial").await?;
        if range.len() <= PIPELINED_ROWS {
            refused.extend(try_each(range, &parts, db).await?);
        } else if let Err(error) = put_all(parts(range.clone())?, db).await {
            reason(error)?;
            let middle = range.start + range.len() / 2;
            ranges.extend([range.start..middle, middle..range.end]);
        }
        db.batch_execute("rollback to savepoint trial; release savepoint trial").await?;
    }
    Ok(refused)
}

/// Returns the message with which the database rejected rows. Any other error is returned as an error.
fn reason(error: anyhow::Error) -> TaskResult<String> {
    RowsRefused::reason(&error).ok_or(error)
}

/// Writes each row of a range separately to find the rejected ones.
async fn try_each(
    range: Range<usize>,
    parts: impl Fn(Range<usize>) -> TaskResult<Vec<TableBatch>>,
    db: &Client,
) -> TaskResult<Vec<(usize, String)>> {
    // Allows nested loop joins, because a hash join would read the whole target table for each row.
    db.batch_execute("set local enable_nestloop = on").await?;
    let (mut refused, mut trials, mut statements) = (Vec::new(), Vec::new(), HashMap::new());
    for row in range {
        match writes_of(&parts(row..row + 1)?, &mut statements, db).await {
            Ok(writes) => trials.push((row, writes)),
            Err(error) => refused.push((row, reason(error)?)),
        }
    }
    db.batch_execute("savepoint trial_row").await?;
    let mut responses = Vec::with_capacity(trials.len());
    for (row, writes) in &trials {
        let mut written = Vec::with_capacity(writes.len());
        for Write { load, statement, values } in writes {
            let mut response = Box::pin(maybe_done(db.execute_raw(statement, values)));
            // The first poll makes tokio-postgres send the request without waiting for its response.
            let _sent = poll!(response.as_mut());
            written.push((load, response));
        }
        let mut undone = Box::pin(maybe_done(db.batch_execute("rollback to savepoint trial_row")));
        let _sent = poll!(undone.as_mut());
        responses.push((*row, written, undone));
    }
    for (row, written, mut undone) in responses {
        let mut error = None;
        for (load, mut response) in written {
            response.as_mut().await;
            if let Some(Err(refusal)) = response.as_mut().take_output() {
                // Only the first error of a row is kept. Its later statements fail as a consequence.
                error.get_or_insert_with(|| stage::refused(load, refusal));
            }
        }
        undone.as_mut().await;
        undone.as_mut().take_output().transpose()?;
        if let Some(error) = error {
            refused.push((row, reason(error)?));
        }
    }
    Ok(refused)
}

struct Write {
    load: Load,
    statement: Statement,
    values: Vec<Binary>,
}

/// Returns the statements that write the rows, in order. `statements` caches prepared statements by their SQL text.
async fn writes_of(
    parts: &[TableBatch],
    statements: &mut HashMap<String, Statement>,
    db: &Client,
) -> TaskResult<Vec<Write>> {
    let mut writes = Vec::new();
    for TableBatch { load, put, rows } in parts {
        let (mode, schema) = (put.mode(), rows.schema());
        let all_values = if mode.is_some() { values_of(rows)? } else { vec![Vec::new()] };
        for values in all_values {
            let sql = match mode {
                Some(mode) => {
                    let source = format!("(select {})", parameters(&schema)?);
                    stage::statements(load, &schema, mode, State::Known, &source).concat()
                }
                None => format!("delete from {}", load.name()),
            };
            let statement = match statements.get(&sql) {
                Some(statement) => statement.clone(),
                None => {
                    match mode {
                        Some(mode) => drop(stage::prepare(load, &schema, mode, db).await?),
                        None if !target::is_there(load, db).await? => continue,
                        None => {}
                    }
                    let statement = db.prepare(&sql).await.map_err(|error| stage::refused(load, error))?;
                    statements.entry(sql).or_insert(statement).clone()
                }
            };
            writes.push(Write { load: load.clone(), statement, values });
        }
    }
    Ok(writes)
}

/// Returns the columns of a schema as statement parameters: `$1::bigint as "id", …`.
fn parameters(schema: &Schema) -> TaskResult<String> {
    let parameter =
        |(nth, field): (usize, &FieldRef)| Ok(format!("${}::{} as {}", nth + 1, type_of(field)?, quoted(field.name())));
    Ok(schema.fields().iter().enumerate().map(parameter).collect::<TaskResult<Vec<_>>>()?.join(", "))
}

fn values_of(rows: &RecordBatch) -> TaskResult<Vec<Vec<Binary>>> {
    let mut encoded = BytesMut::new();
    let values = |row| {
        encoded.clear();
        encode::rows(&rows.slice(row, 1), &mut encoded)?;
        // Skips the number of fields at the start of the encoded row.
        let mut rest = encoded.get(size_of::<i16>()..).unwrap_or_default();
        let mut values = Vec::with_capacity(rows.num_columns());
        while let Some((value, others)) = encode::split_field(rest) {
            values.push(Binary(value.map(Into::into)));
            rest = others;
        }
        Ok(values)
    };
    (0..rows.num_rows()).map(values).collect()
}

/// A statement parameter that is already encoded in the binary format of its type.
struct Binary(Option<Box<[u8]>>);

/// Hides the value, because tokio-postgres can log parameters, and rows must not appear in logs.
impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binary").finish_non_exhaustive()
    }
}

impl ToSql for Binary {
    fn to_sql(&self, _: &Type, into: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(value) = &self.0 else { return Ok(IsNull::Yes) };
        into.extend_from_slice(value);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
