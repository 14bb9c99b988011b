//! Who may log in. Only hashes are kept here; making and checking them is the web's.

use crate::StoreResult;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

#[derive(Debug, Clone)]
pub struct UserRow {
    pub name: String,
    pub password_hash: String,
    /// `viewer`, `user`, `op` or `admin`.
    pub role: String,
    pub created_at: DateTime<Utc>,
}

pub async fn get_user(db: &mut PgConnection, name: &str) -> StoreResult<Option<UserRow>> {
    let row =
        sqlx::query_as!(UserRow, "select name, password_hash, role, created_at from api_user where name = $1", name);
    Ok(row.fetch_optional(db).await?)
}

pub async fn list_users(db: &mut PgConnection) -> StoreResult<Vec<UserRow>> {
    let rows = sqlx::query_as!(
        UserRow,
        "select name, password_hash, role, created_at from api_user order by name limit 10000"
    );
    Ok(rows.fetch_all(db).await?)
}

/// Creates a user or changes password and role.
pub async fn set_user(db: &mut PgConnection, name: &str, password_hash: &str, role: &str) -> StoreResult<()> {
    sqlx::query!(
        "insert into api_user (name, password_hash, role) values ($1, $2, $3)
        on conflict (name) do update set password_hash = excluded.password_hash, role = excluded.role",
        name,
        password_hash,
        role
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Creates a user unless there is one of that name; whether it did.
pub async fn add_user(db: &mut PgConnection, name: &str, password_hash: &str, role: &str) -> StoreResult<bool> {
    let done = sqlx::query!(
        "insert into api_user (name, password_hash, role) values ($1, $2, $3) on conflict do nothing",
        name,
        password_hash,
        role
    );
    Ok(done.execute(db).await?.rows_affected() == 1)
}

pub async fn delete_user(db: &mut PgConnection, name: &str) -> StoreResult<bool> {
    let done = sqlx::query!("delete from api_user where name = $1", name).execute(db).await?;
    Ok(done.rows_affected() == 1)
}
