//! Queues new asset events for the DAGs that wait for them. Each transaction locks the events that it queues, so a
//! scheduler that dies neither loses nor duplicates an event.

use crate::{StoreResult, boxed};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

/// Distributes at most `most` new events, oldest first, and returns their number. Afterwards, the caller must evaluate
/// the conditions of the DAGs that received events (`begin`).
#[boxed]
pub async fn distribute(db: &mut PgConnection, most: i64) -> StoreResult<usize> {
    let mut tx = db.begin().await?;
    let events = sqlx::query!(
        "select id, asset, uri, alias from asset_event where not distributed order by id limit $1 for update skip locked",
        most
    )
    .fetch_all(&mut *tx)
    .await?;
    if events.is_empty() {
        tx.rollback().await?;
        return Ok(0);
    }
    let unknown: Vec<String> = events.iter().filter(|e| e.asset.is_none()).map(|e| e.uri.clone()).collect();
    if !unknown.is_empty() {
        // Sorted, as in all statements that insert several assets, to avoid deadlocks.
        sqlx::query!(
            "insert into asset (uri, name) select distinct u.uri, u.uri from unnest($1::text[]) as u (uri) order by u.uri
            on conflict (uri) do nothing",
            &unknown
        )
        .execute(&mut *tx)
        .await?;
    }
    let events: Vec<i64> = events.iter().map(|event| event.id).collect();
    sqlx::query_file!("queries/asset/know_aliases.sql", &events).execute(&mut *tx).await?;
    sqlx::query_file!("queries/asset/know_alias_assets.sql", &events).execute(&mut *tx).await?;
    sqlx::query_file!("queries/asset/note_events.sql", &events).execute(&mut *tx).await?;
    let waiting = sqlx::query_file_scalar!("queries/asset/enqueue.sql", &events).fetch_all(&mut *tx).await?;
    if !waiting.is_empty() {
        // Waits for transactions that are evaluating the conditions of these DAGs, so that the new events are evaluated
        // after them.
        sqlx::query!(
            "insert into asset_due as a (dag_id) select distinct d.dag_id from unnest($1::text[]) as d (dag_id)
            order by d.dag_id on conflict (dag_id) do update set dag_id = a.dag_id",
            &waiting
        )
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(events.len())
}
