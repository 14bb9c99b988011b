//! Variables: texts by key, sealed like the secrets of connections, for many of them are some.

mod change;
mod search;

pub use change::{VariableChange, change_variable};
pub use search::{VariableOrder, VariableSearch, count_variables, search_variables};

use crate::StoreResult;
use crate::seal::{Keyring, Seat, SecretError};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

/// Shown at once at most.
pub const MOST_VARIABLES: i64 = 10_000;

/// A variable as it is stored.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct VariableRow {
    pub key: String,
    pub value: Vec<u8>,
    pub description: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

fn seat(key: &str) -> Seat<'_> {
    Seat { table: "variable", id: key, column: "value" }
}

impl VariableRow {
    pub fn open(&self, keys: &Keyring) -> Result<String, SecretError> {
        keys.open(seat(&self.key), &self.value)
    }
}

pub async fn get_variable(db: &mut PgConnection, key: &str) -> StoreResult<Option<VariableRow>> {
    let row = sqlx::query_as!(
        VariableRow,
        "select key, value, description, created_at, updated_at from variable where key = $1",
        key
    );
    Ok(row.fetch_optional(db).await?)
}

/// By key, behind `after`.
pub async fn list_variables(db: &mut PgConnection, after: Option<&str>, most: i64) -> StoreResult<Vec<VariableRow>> {
    let rows = sqlx::query_as!(
        VariableRow,
        "select key, value, description, created_at, updated_at from variable
        where key > coalesce($1::text, '') order by key limit $2",
        after,
        most.clamp(0, MOST_VARIABLES)
    );
    Ok(rows.fetch_all(db).await?)
}

/// Whether there was none of that key, and now there is.
pub async fn add_variable(
    db: &mut PgConnection,
    key: &str,
    value: &str,
    description: Option<&str>,
    keys: &Keyring,
) -> Result<bool, SecretError> {
    let sealed = keys.seal(seat(key), value)?;
    let done = sqlx::query!(
        "insert into variable (key, value, description) values ($1, $2, $3) on conflict do nothing",
        key,
        sealed,
        description
    );
    Ok(done.execute(db).await?.rows_affected() == 1)
}

/// Whether there was one.
pub async fn delete_variable(db: &mut PgConnection, key: &str) -> StoreResult<bool> {
    let done = sqlx::query!("delete from variable where key = $1", key).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// The same value, sealed anew.
pub(crate) async fn set_sealed(
    db: &mut PgConnection,
    key: &str,
    value: &str,
    keys: &Keyring,
) -> Result<(), SecretError> {
    let sealed = keys.seal(seat(key), value)?;
    sqlx::query!("update variable set value = $2 where key = $1", key, sealed).execute(db).await?;
    Ok(())
}
