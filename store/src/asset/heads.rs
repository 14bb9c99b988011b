//! Reads the queued events of a DAG one partition key at a time, because the number of keys has no limit.

use crate::StoreResult;
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use orch_core::asset::Queued;
use sqlx::postgres::PgConnection;

/// The first queued event of an asset, alias and partition key, with the timestamp of the last event.
pub(super) struct Head {
    event: i64,
    uri: String,
    aliases: Vec<String>,
    partition_key: Option<String>,
    pub(super) last_at: DateTime<Utc>,
}

impl Head {
    pub(super) fn queued(&self) -> Queued<'_> {
        let partition_key = self.partition_key.as_deref();
        Queued { event: self.event, uri: &self.uri, aliases: &self.aliases, partition_key }
    }
}

/// Calls `each` with the first events of each partition key until it returns false, starting with the key that has the
/// oldest event. Unless `by_partition` is set, all keys count as one.
pub(super) async fn for_each_key(
    db: &mut PgConnection,
    dag_id: &str,
    by_partition: bool,
    mut each: impl FnMut(&[Head]) -> bool + Send,
) -> StoreResult<()> {
    let mut rows = sqlx::query_as!(
        Head,
        r#"select min(e.id) as "event!", e.uri, array_remove(array[e.alias], null) as "aliases!",
          case when $2::boolean then e.partition_key end as partition_key, max(e.at) as "last_at!"
        from asset_queue q join asset_event e on e.id = q.event where q.dag_id = $1
        group by e.uri, e.alias, case when $2::boolean then e.partition_key end
        order by min(min(e.id)) over (partition by case when $2::boolean then e.partition_key end), 4, 1"#,
        dag_id,
        by_partition
    )
    .fetch(db);
    let mut heads: Vec<Head> = Vec::new();
    while let Some(head) = rows.try_next().await? {
        if heads.first().is_some_and(|first| first.partition_key != head.partition_key) {
            if !each(&heads) {
                return Ok(());
            }
            heads.clear();
        }
        heads.push(head);
    }
    if !heads.is_empty() {
        each(&heads);
    }
    Ok(())
}
