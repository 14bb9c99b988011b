//! Readers: how far tasks have read a topic. Users can seek and delete them.

use crate::{Actor, Refused, boxed};
use orch_store::audit::Deed;
use orch_store::stream::{Reset, ResetTo};
use orch_store::topic::reader::{ReaderRow, delete_reader, list_readers, seek_reader};
use serde_json::json;
use sqlx::PgConnection;

const WHICH_PARTITION: &str =
    "an offset belongs to one partition, and this reader reads several: name the partition, too";
const NO_SUCH_PARTITION: &str = "the reader has no partition of that number";

/// Moves a reader and returns its new state, one row per partition.
#[boxed]
pub async fn seek(
    tx: &mut PgConnection,
    actor: &Actor,
    name: &str,
    to: ResetTo,
    partition: Option<i32>,
) -> Result<Vec<ReaderRow>, Refused> {
    let known = of_name(tx, name).await?;
    match partition {
        _ if known.is_empty() => return Err(Refused::NotFound),
        None if matches!(to, ResetTo::Offset(_)) && known.len() > 1 => {
            return Err(Refused::Rule(WHICH_PARTITION.into()));
        }
        Some(wanted) if known.iter().all(|one| one.partition != wanted) => {
            return Err(Refused::Rule(NO_SUCH_PARTITION.into()));
        }
        _ => {}
    }
    let to = Reset { partition, to, empty_table: false };
    seek_reader(tx, name, &to).await?;
    let extra = json!({ "reader": name, "seek": to });
    actor.did(tx, Deed { event: "seek_topic_reader", extra: Some(extra), ..Deed::default() }).await?;
    of_name(tx, name).await
}

/// Deletes a reader. The next attempt of its task starts like a new reader.
#[boxed]
pub async fn forget(tx: &mut PgConnection, actor: &Actor, name: &str) -> Result<(), Refused> {
    if !delete_reader(tx, name).await? {
        return Err(Refused::NotFound);
    }
    let extra = json!({ "reader": name });
    Ok(actor.did(tx, Deed { event: "delete_topic_reader", extra: Some(extra), ..Deed::default() }).await?)
}

async fn of_name(db: &mut PgConnection, name: &str) -> Result<Vec<ReaderRow>, Refused> {
    let mut rows = list_readers(db, None).await?;
    rows.retain(|row| row.name == name);
    Ok(rows)
}
