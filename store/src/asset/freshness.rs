//! Marks and lists stale assets, which were not updated within their promised time.

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use orch_core::asset::{Freshness, freshness};
use sqlx::postgres::PgConnection;

/// An asset that is marked as stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleAsset {
    pub id: i32,
    pub uri: String,
    pub name: String,
    pub since: DateTime<Utc>,
    pub last_event_at: Option<DateTime<Utc>>,
}

/// Marks at most `most` assets that became stale. Returns only assets that no other scheduler has marked.
#[boxed]
pub async fn mark_stale(db: &mut PgConnection, most: i64) -> StoreResult<Vec<StaleAsset>> {
    let due = sqlx::query!(
        r#"select now() as "now!", id, fresh_within_ms, created_at, last_event_at from asset
        where fresh_until < now() and stale_since is null order by fresh_until limit $1"#,
        most
    )
    .fetch_all(&mut *db)
    .await?;
    let mut marked = Vec::new();
    for asset in due {
        let within = asset.fresh_within_ms.and_then(|ms| u64::try_from(ms).ok());
        let Freshness::Stale { since } = freshness(within, asset.created_at, asset.last_event_at, asset.now) else {
            continue;
        };
        // Another scheduler may have marked the asset, or an event may have updated it.
        let stale = sqlx::query_as!(
            StaleAsset,
            r#"update asset set stale_since = $2 where id = $1 and stale_since is null
              and last_event_at is not distinct from $3
            returning id, uri, name, stale_since as "since!", last_event_at"#,
            asset.id,
            since,
            asset.last_event_at
        );
        marked.extend(stale.fetch_optional(&mut *db).await?);
    }
    Ok(marked)
}

/// Returns the stale assets, starting with the asset that has been stale the longest.
#[boxed]
pub async fn stale_assets(db: &mut PgConnection, most: i64) -> StoreResult<Vec<StaleAsset>> {
    let stale = sqlx::query_as!(
        StaleAsset,
        r#"select id, uri, name, stale_since as "since!", last_event_at from asset where stale_since is not null
        order by stale_since limit $1"#,
        most
    );
    Ok(stale.fetch_all(db).await?)
}
