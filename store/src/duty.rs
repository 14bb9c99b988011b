//! Periodic duties of schedulers. Each is done by the first scheduler that finds it due.

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// True if the caller must do the duty now: it was last done at least `every` ago, and no other caller took this turn.
#[boxed]
pub async fn duty_due(db: &mut PgConnection, name: &str, every: Duration) -> StoreResult<bool> {
    let turn = sqlx::query_scalar!(
        "insert into duty as d (name, done_at) values ($1, now())
        on conflict (name) do update set done_at = excluded.done_at
          where d.done_at <= now() - $2::float8 * interval '1 second' returning name",
        name,
        every.as_secs_f64()
    );
    Ok(turn.fetch_optional(db).await?.is_some())
}

/// Returns the time at which each duty was last done, sorted by name.
#[boxed]
pub async fn list_duties(db: &mut PgConnection) -> StoreResult<Vec<(String, DateTime<Utc>)>> {
    let rows = sqlx::query!("select name, done_at from duty where done_at > '-infinity' order by name limit 100");
    Ok(rows.fetch_all(db).await?.into_iter().map(|row| (row.name, row.done_at)).collect())
}
