//! Outputs of tasks. Small values are stored in the row of `output`. Large values, and long lists over which tasks are
//! mapped, are stored in parts.

mod list;
mod preview;
mod sealed;
mod write;

pub use list::{OUTPUTS, OutputRow, by};
pub use preview::{Preview, previews};
pub use sealed::{mask_sealed, opened, sealed, shown_text};
pub use write::{OutputAddress, change_output, create_output, delete_output};

use crate::bounded::Collected;
use crate::{StoreError, StoreResult, boxed, narrow, step::Lease};
use futures::TryStreamExt as _;
use orch_core::plan::TaskIdx;
use serde_json::Value;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// Key of a task's return value, the same as in Airflow.
pub const RETURN_VALUE: &str = "return_value";
/// Maximum size of a value that is stored directly in its row. Larger values are stored in parts, which keeps the rows
/// of the hot table small.
pub const INLINE_BYTES: usize = 256 * 1024;
/// Maximum number of list elements per part. To run one mapped element, a worker reads a single part.
pub const PART_ELEMENTS: usize = 1_000;
/// Maximum size of an output. A limit is needed because outputs are held in memory and converted from and to JSON
/// several times.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Maximum total size of the outputs of a mapped task's elements when they are read together.
pub const MAX_COLLECTED_BYTES: usize = 256 << 20;

#[derive(Debug, Clone)]
pub enum Stored {
    Value(Value),
    /// Number of parts in which the list is stored, each with at most `PART_ELEMENTS` elements. `part` reads one of
    /// them.
    Parts(i32),
}

/// Returns the outputs of tasks in a run, by task and map index. Instances without an output have no entry.
///
/// # Errors
/// Returns `StoreError::TooManyBytes` if the outputs have more than `max_bytes` bytes as JSON text.
#[boxed]
pub async fn of_tasks(
    db: &mut PgConnection,
    run: Uuid,
    tasks: &[TaskIdx],
    max_bytes: usize,
) -> StoreResult<Vec<(TaskIdx, i32, Value)>> {
    let tasks: Vec<i16> = tasks.iter().map(|&t| t as i16).collect();
    let mut rows = sqlx::query!(
        r#"select task, map_index, parts, value, coalesce(octet_length(value::text), (select sum(octet_length(p.value))
          from output_part p where p.run = o.run and p.task = o.task and p.map_index = o.map_index and p.key = o.key), 0)::bigint as "bytes!"
        from output o where run = $1 and task = any($2) and key = 'return_value' order by task, map_index"#,
        run,
        &tasks
    )
    .fetch(&mut *db);
    let mut found = Collected::new(max_bytes);
    while let Some(row) = rows.try_next().await? {
        let bytes = usize::try_from(row.bytes).unwrap_or(usize::MAX);
        found.push((row.task as TaskIdx, row.map_index, row.parts, row.value), bytes)?;
    }
    drop(rows);
    let mut outputs = Vec::with_capacity(found.items().len());
    for (task, index, parts, value) in found.into_vec() {
        let value = match value {
            Some(value) if parts == 0 => value,
            _ => get(db, run, task, index, RETURN_VALUE).await?.unwrap_or(Value::Null),
        };
        outputs.push((task, index, value));
    }
    Ok(outputs)
}

/// Returns the output of a task instance in its stored form: either the value or the number of parts.
#[boxed]
pub async fn stored(db: &mut PgConnection, run: Uuid, task: TaskIdx, map_index: i32) -> StoreResult<Option<Stored>> {
    read_stored(db, (run, task, map_index, RETURN_VALUE)).await
}

async fn read_stored(
    db: &mut PgConnection,
    (run, task, map_index, key): (Uuid, TaskIdx, i32, &str),
) -> StoreResult<Option<Stored>> {
    let row = sqlx::query!(
        "select parts, is_list, value from output where run = $1 and task = $2 and map_index = $3 and key = $4",
        run,
        task as i16,
        map_index,
        key
    )
    .fetch_optional(&mut *db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(if row.parts == 0 {
        Stored::Value(row.value.unwrap_or(Value::Null))
    } else if row.is_list {
        Stored::Parts(row.parts)
    } else {
        Stored::Value(joined(db, run, task, map_index, key).await?)
    }))
}

/// Returns the complete value of an output, assembled from its parts if necessary.
#[boxed]
pub async fn get(
    db: &mut PgConnection,
    run: Uuid,
    task: TaskIdx,
    map_index: i32,
    key: &str,
) -> StoreResult<Option<Value>> {
    Ok(match read_stored(db, (run, task, map_index, key)).await? {
        None => None,
        Some(Stored::Value(value)) => Some(value),
        Some(Stored::Parts(parts)) => {
            let mut list = Vec::new();
            for n in 0..parts {
                list.extend(part_of(db, (run, task, map_index, key), n).await?);
            }
            Some(Value::Array(list))
        }
    })
}

/// Returns one part of a list that a task returned. Long lists are stored in several parts.
#[boxed]
pub async fn part(
    db: &mut PgConnection,
    run: Uuid,
    task: TaskIdx,
    map_index: i32,
    part: i32,
) -> StoreResult<Vec<Value>> {
    part_of(db, (run, task, map_index, RETURN_VALUE), part).await
}

async fn part_of(
    db: &mut PgConnection,
    (run, task, map_index, key): (Uuid, TaskIdx, i32, &str),
    part: i32,
) -> StoreResult<Vec<Value>> {
    let text = sqlx::query_scalar!(
        "select value from output_part
        where run = $1 and task = $2 and map_index = $3 and key = $4 and part = $5",
        run,
        task as i16,
        map_index,
        key,
        part
    )
    .fetch_optional(db)
    .await?
    .ok_or_else(|| StoreError::corrupt(format!("part {part} of an output of run `{run}` is missing")))?;
    serde_json::from_str(&text).map_err(|e| StoreError::corrupt(format!("a part of an output of run `{run}`: {e}")))
}

async fn joined(db: &mut PgConnection, run: Uuid, task: TaskIdx, map_index: i32, key: &str) -> StoreResult<Value> {
    let pieces = sqlx::query_scalar!(
        "select value from output_part where run = $1 and task = $2 and map_index = $3 and key = $4 order by part",
        run,
        task as i16,
        map_index,
        key
    )
    .fetch_all(db)
    .await?;
    let text = pieces.concat();
    serde_json::from_str(&text).map_err(|e| StoreError::corrupt(format!("an output of run `{run}`: {e}")))
}

/// Stores an output outside the worker step: a value that was pushed under a key, a large value or a long list. Writes
/// nothing and returns `false` if the attempt's lease is no longer valid.
#[boxed]
pub async fn put(db: &mut PgConnection, lease: Lease, key: &str, value: &Value) -> StoreResult<bool> {
    let (is_list, parts) = in_parts(value);
    // Bind the value as text, because the driver sends JSON values as jsonb, which rejects some valid JSON.
    let whole = parts.is_empty().then(|| value.to_string());
    let written = sqlx::query!(
        "with mine as (select run, task, map_index from task_instance
          where run = $1 and task = $2 and map_index = $3 and attempt = $4 and lease_no = $5 and state = 'running' for share),
        gone as (delete from output_part p using mine
          where p.run = mine.run and p.task = mine.task and p.map_index = mine.map_index and p.key = $6 and p.part >= $7),
        whole as (insert into output (run, task, map_index, key, value, parts, is_list)
          select run, task, map_index, $6, $8::text::json, $7, $9 from mine
          on conflict (run, task, map_index, key) do update
            set value = excluded.value, parts = excluded.parts, is_list = excluded.is_list),
        pieces as (insert into output_part (run, task, map_index, key, part, value)
          select mine.run, mine.task, mine.map_index, $6, p.place - 1, p.value
          from mine, unnest($10::text[]) with ordinality as p (value, place)
          on conflict (run, task, map_index, key, part) do update set value = excluded.value)
        select 1 as one from mine",
        lease.run,
        lease.task as i16,
        lease.map_index,
        lease.attempt,
        lease.lease_no,
        key,
        narrow::int(parts.len()),
        whole,
        is_list,
        &parts
    )
    .fetch_optional(db)
    .await?;
    Ok(written.is_some())
}

/// Returns true if the value is small enough to be sent with the worker step. If false, it must first be stored with
/// `put`.
pub fn goes_with_the_step(value: &Value, text: &str) -> bool {
    text.len() <= INLINE_BYTES && value.as_array().is_none_or(|list| list.len() <= PART_ELEMENTS)
}

fn in_parts(value: &Value) -> (bool, Vec<String>) {
    if let Some(list) = value.as_array().filter(|list| list.len() > PART_ELEMENTS) {
        let parts = list.chunks(PART_ELEMENTS).map(|part| Value::from(part.to_vec()).to_string());
        return (true, parts.collect());
    }
    let text = value.to_string();
    if text.len() <= INLINE_BYTES {
        return (false, Vec::new());
    }
    let (mut parts, mut rest) = (Vec::new(), text.as_str());
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(rest.floor_char_boundary(INLINE_BYTES.min(rest.len())));
        parts.push(piece.to_string());
        rest = more;
    }
    (false, parts)
}
