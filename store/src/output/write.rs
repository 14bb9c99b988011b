//! Creates, changes and deletes task outputs on request of a user. If the task later returns an output itself, it
//! replaces the user's value.

use super::in_parts;
use crate::StoreResult;
use crate::narrow;
use orch_core::plan::TaskIdx;
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Postgres, Transaction};
use uuid::Uuid;

#[derive(Debug, Clone, Copy)]
pub struct OutputAddress<'a> {
    pub run: Uuid,
    pub task: TaskIdx,
    pub map_index: i32,
    pub key: &'a str,
}

/// Creates a task output. Returns `false` if it already exists.
pub async fn create_output(db: &mut PgConnection, place: OutputAddress<'_>, value: &Value) -> StoreResult<bool> {
    let (is_list, parts) = in_parts(value);
    let mut tx = db.begin().await?;
    let made = sqlx::query!(
        "insert into output (run, task, map_index, key, value, parts, is_list)
        values ($1, $2, $3, $4, $5::text::json, $6, $7) on conflict do nothing",
        place.run,
        place.task as i16,
        place.map_index,
        place.key,
        parts.is_empty().then(|| value.to_string()),
        narrow::int(parts.len()),
        is_list
    );
    let many = made.execute(&mut *tx).await?.rows_affected();
    with_parts(tx, place, many, &parts).await
}

/// Changes the value of a task output. Returns `false` if the output does not exist.
pub async fn change_output(db: &mut PgConnection, place: OutputAddress<'_>, value: &Value) -> StoreResult<bool> {
    let (is_list, parts) = in_parts(value);
    let mut tx = db.begin().await?;
    let changed = sqlx::query!(
        "update output set value = $5::text::json, parts = $6, is_list = $7
        where run = $1 and task = $2 and map_index = $3 and key = $4",
        place.run,
        place.task as i16,
        place.map_index,
        place.key,
        parts.is_empty().then(|| value.to_string()),
        narrow::int(parts.len()),
        is_list
    );
    let many = changed.execute(&mut *tx).await?.rows_affected();
    with_parts(tx, place, many, &parts).await
}

/// Deletes a task output. Returns `false` if it does not exist.
pub async fn delete_output(db: &mut PgConnection, place: OutputAddress<'_>) -> StoreResult<bool> {
    let mut tx = db.begin().await?;
    let gone = sqlx::query!(
        "delete from output where run = $1 and task = $2 and map_index = $3 and key = $4",
        place.run,
        place.task as i16,
        place.map_index,
        place.key
    );
    let many = gone.execute(&mut *tx).await?.rows_affected();
    with_parts(tx, place, many, &[]).await
}

/// Replaces the parts of an output and commits, provided that the caller wrote the output's row, which locks it.
/// Returns whether the row was written.
async fn with_parts(
    mut tx: Transaction<'_, Postgres>,
    place: OutputAddress<'_>,
    rows: u64,
    parts: &[String],
) -> StoreResult<bool> {
    if rows == 0 {
        return Ok(false);
    }
    sqlx::query!(
        "with gone as (delete from output_part
          where run = $1 and task = $2 and map_index = $3 and key = $4 and part >= cardinality($5::text[]))
        insert into output_part (run, task, map_index, key, part, value)
        select $1, $2, $3, $4, p.place - 1, p.value from unnest($5::text[]) with ordinality as p (value, place)
        on conflict (run, task, map_index, key, part) do update set value = excluded.value",
        place.run,
        place.task as i16,
        place.map_index,
        place.key,
        parts
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(true)
}
