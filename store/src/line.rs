//! Lines: admission queues. A line contains the waiting attempts with the same queue and the same gates (pools and
//! concurrency limits). Rows of these attempts in the queue tables contain the negated line id. A line never changes,
//! so it can be cached.

use crate::{StoreError, StoreResult};
use orch_core::gates::Gates;
use orch_core::plan::Plan;
use sqlx::postgres::PgConnection;
use std::collections::{BTreeSet, HashMap};

#[derive(Debug)]
pub struct QueueLine {
    pub id: i32,
    pub queue: i32,
    pub gates: Gates,
}

/// Ids of lines (admission queues), by queue id and gates. The gates are a JSON text.
pub(crate) type LineIds = HashMap<(i32, String), i32>;

/// Returns the gates (pools and limits) of each task of a plan as the JSON text that the database stores, in task
/// order.
pub(crate) fn gates_of(plan: &Plan) -> impl Iterator<Item = String> + '_ {
    plan.tasks.iter().map(|task| text(&task.gates))
}

fn text(gates: &Gates) -> String {
    serde_json::to_string(gates).expect("gates have string keys only")
}

/// Returns the ids of lines (admission queues). Creates lines that do not exist.
pub(crate) async fn line_ids(db: &mut PgConnection, wanted: &BTreeSet<(i32, String)>) -> StoreResult<LineIds> {
    let (queues, gates): (Vec<i32>, Vec<String>) = wanted.iter().cloned().unzip();
    let found = known(db, &queues, &gates).await?;
    if found.len() == wanted.len() {
        return Ok(found);
    }
    sqlx::query!(
        "insert into line (queue, gates) select * from unnest($1::integer[], $2::text[]) on conflict do nothing",
        &queues,
        &gates
    )
    .execute(&mut *db)
    .await?;
    known(db, &queues, &gates).await
}

async fn known(db: &mut PgConnection, queues: &[i32], gates: &[String]) -> StoreResult<LineIds> {
    let rows = sqlx::query!(
        "select l.id, l.queue, l.gates from unnest($1::integer[], $2::text[]) as w (queue, gates)
        join line l on l.queue = w.queue and md5(l.gates) = md5(w.gates)",
        queues,
        gates
    );
    Ok(rows.fetch_all(db).await?.into_iter().map(|row| ((row.queue, row.gates), row.id)).collect())
}

pub(crate) async fn load(db: &mut PgConnection, ids: &[i32]) -> StoreResult<Vec<QueueLine>> {
    let rows = sqlx::query!("select id, queue, gates from line where id = any($1)", ids).fetch_all(db).await?;
    let line = |id, queue, gates: &str| {
        let corrupt = |e| StoreError::corrupt(format!("the gates of line {id}: {e}"));
        Ok(QueueLine { id, queue, gates: serde_json::from_str(gates).map_err(corrupt)? })
    };
    rows.iter().map(|row| line(row.id, row.queue, &row.gates)).collect()
}
