//! What schedulers do once in a while, whichever of them comes first.

use crate::StoreResult;
use sqlx::postgres::PgConnection;
use std::time::Duration;

/// Whether it is this caller's turn: the last turn was `every` ago, and nobody else took this one.
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
