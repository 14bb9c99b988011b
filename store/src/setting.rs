//! Settings that an installation generates and stores in its database, such as the key that signs tokens.

use crate::{StoreResult, boxed};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

#[boxed]
pub async fn setting(db: &mut PgConnection, key: &str) -> StoreResult<Option<String>> {
    Ok(sqlx::query_scalar!("select value from setting where key = $1", key).fetch_optional(db).await?)
}

#[boxed]
pub async fn set_setting(db: &mut PgConnection, key: &str, value: &str) -> StoreResult<()> {
    sqlx::query!(
        "insert into setting (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value",
        key,
        value
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns the permanent id of this installation. It distinguishes installations that share a Kafka cluster.
#[boxed]
pub async fn installation_id(db: &mut PgConnection) -> StoreResult<String> {
    setting_or_insert(db, "installation", &Uuid::new_v4().to_string()).await
}

/// Returns the stored setting. If it does not exist, stores and returns `value`. Concurrent calls with different values
/// all return the same value.
#[boxed]
pub async fn setting_or_insert(db: &mut PgConnection, key: &str, value: &str) -> StoreResult<String> {
    let kept = sqlx::query_scalar!(
        "insert into setting as s (key, value) values ($1, $2)
        on conflict (key) do update set value = s.value returning value",
        key,
        value
    );
    Ok(kept.fetch_one(db).await?)
}
