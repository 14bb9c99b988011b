//! Inserts, updates and deletes named objects.

use super::Table;
use crate::{
    StoreResult, boxed,
    seal::{Keyring, Seat, SecretError},
};
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use std::fmt::Write as _;

/// Values by column name. Column names are constants of the program, and never come from a caller.
pub type Columns = Vec<(&'static str, Value)>;

/// Inserts an object. Returns false if the name exists already.
#[boxed]
pub async fn insert(
    db: &mut PgConnection,
    table: &'static Table,
    name: &str,
    columns: &Columns,
    keys: &Keyring,
) -> Result<bool, SecretError> {
    let Table { name: of, key, .. } = table;
    let mut row = sealed(table, name, columns, keys)?;
    row.insert((*key).into(), name.into());
    let names = columns.iter().fold(String::from(*key), |names, (column, _)| names + ", " + column);
    let sql = format!(
        "insert into {of} ({names}) select {names} from jsonb_populate_record(null::{of}, $1) on conflict do nothing"
    );
    let done = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(Value::Object(row)).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// Sets these columns of an object. Returns false if the object does not exist.
#[boxed]
pub async fn update(
    db: &mut PgConnection,
    table: &'static Table,
    name: &str,
    columns: &Columns,
    keys: &Keyring,
) -> Result<bool, SecretError> {
    let touched = if table.has_moments { ", updated_at = now()" } else { "" };
    set(db, table, name, columns, touched, keys).await
}

/// Replaces sealed values. Does not change `updated_at`, because no visible value has changed.
pub(super) async fn reseal(
    db: &mut PgConnection,
    table: &'static Table,
    name: &str,
    secrets: &Columns,
    keys: &Keyring,
) -> Result<bool, SecretError> {
    set(db, table, name, secrets, "", keys).await
}

async fn set(
    db: &mut PgConnection,
    table: &'static Table,
    name: &str,
    columns: &Columns,
    touched: &'static str,
    keys: &Keyring,
) -> Result<bool, SecretError> {
    let Table { name: of, key, .. } = table;
    // Setting the key to itself ensures that the `set` list is not empty.
    let mut set = format!("{key} = t.{key}{touched}");
    for (column, _) in columns {
        write!(set, ", {column} = r.{column}").expect("writing to a string cannot fail");
    }
    let sql = format!("update {of} t set {set} from jsonb_populate_record(null::{of}, $2) r where t.{key} = $1");
    let row = Value::Object(sealed(table, name, columns, keys)?);
    let done = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(name).bind(row).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes an object. Returns false if it does not exist.
#[boxed]
pub async fn delete(db: &mut PgConnection, table: &'static Table, name: &str) -> StoreResult<bool> {
    let sql = format!("delete from {} where {} = $1", table.name, table.key);
    let done = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(name).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// Returns the row as JSON, with secret columns sealed (encrypted). If a secret is not text, its JSON is sealed.
fn sealed(
    table: &'static Table,
    name: &str,
    columns: &Columns,
    keys: &Keyring,
) -> Result<Map<String, Value>, SecretError> {
    let mut row = Map::new();
    for (column, value) in columns {
        let value = match value {
            value if value.is_null() || !table.sealed.contains(column) => value.clone(),
            secret => {
                let text = secret.as_str().map_or_else(|| secret.to_string(), String::from);
                let bytes = keys.seal(Seat { table: table.name, id: name, column }, &text)?;
                let digits = bytes.iter().fold(String::from("\\x"), |mut digits, byte| {
                    write!(digits, "{byte:02x}").expect("writing to a string cannot fail");
                    digits
                });
                digits.into()
            }
        };
        row.insert((*column).into(), value);
    }
    Ok(row)
}
