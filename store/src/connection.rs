//! Connections: what is secret in them is sealed here on its way in and opened on its way out.

mod change;
mod rotate;
mod search;

pub use change::{ConnectionChange, change_connection};
pub use rotate::{Rotated, count_locked, rotate};
pub use search::{ConnectionOrder, ConnectionSearch, count_connections, search_connections};

use crate::StoreResult;
use crate::seal::{Keyring, Seat, SecretError};
use chrono::{DateTime, Utc};
use orch_core::secret::MASK;
use orch_core::task::Connection;
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;

/// Shown at once at most; those behind are asked for by their name.
pub const MOST_CONNECTIONS: i64 = 10_000;

/// A connection as it is stored: nothing of it is secret that is not sealed.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct ConnectionRow {
    pub conn_id: String,
    pub conn_type: String,
    pub description: Option<String>,
    pub host: Option<String>,
    pub port: Option<i32>,
    pub login: Option<String>,
    pub schema: Option<String>,
    pub password: Option<Vec<u8>>,
    pub extra: Option<Vec<u8>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

fn seat<'a>(id: &'a str, column: &'static str) -> Seat<'a> {
    Seat { table: "connection", id, column }
}

impl ConnectionRow {
    /// The connection with its secrets.
    pub fn open(&self, keys: &Keyring) -> Result<Connection, SecretError> {
        let id = &self.conn_id;
        let password = self.password.as_ref().map(|sealed| keys.open(seat(id, "password"), sealed)).transpose()?;
        Ok(Connection { password, extra: self.open_extra(keys)?, ..self.without_secrets() })
    }

    fn open_extra(&self, keys: &Keyring) -> Result<Map<String, Value>, SecretError> {
        let id = &self.conn_id;
        let extra = self.extra.as_ref().map(|sealed| keys.open(seat(id, "extra"), sealed)).transpose()?;
        let extra = extra.map(|text| serde_json::from_str::<Map<String, Value>>(&text)).transpose();
        Ok(extra.map_err(|_| SecretError::Damaged { seat: seat(id, "extra").to_string() })?.unwrap_or_default())
    }

    /// As people may see it: `***` for what is secret. Of `extra` the fields, if there is a key to read them by.
    pub fn masked(&self, keys: &Keyring) -> Result<Connection, SecretError> {
        let password = self.password.as_ref().map(|_| MASK.into());
        Ok(Connection { extra: self.open_extra(keys)?, password, ..self.without_secrets() }.masked())
    }

    /// The same with nothing opened: also for those who may not see any value of `extra`.
    pub fn closed(&self) -> Connection {
        let extra = self.extra.iter().map(|_| (MASK.into(), MASK.into())).collect();
        let password = self.password.as_ref().map(|_| MASK.into());
        Connection { extra, password, ..self.without_secrets() }.masked()
    }

    /// What can be told without any key.
    pub fn without_secrets(&self) -> Connection {
        Connection {
            id: self.conn_id.clone(),
            conn_type: self.conn_type.clone(),
            description: self.description.clone(),
            host: self.host.clone(),
            port: self.port.and_then(|port| u16::try_from(port).ok()),
            login: self.login.clone(),
            password: None,
            schema: self.schema.clone(),
            extra: Map::new(),
        }
    }
}

pub async fn get_connection(db: &mut PgConnection, id: &str) -> StoreResult<Option<ConnectionRow>> {
    let row = sqlx::query_as!(
        ConnectionRow,
        "select conn_id, conn_type, description, host, port, login, schema, password, extra, created_at, updated_at
        from connection where conn_id = $1",
        id
    );
    Ok(row.fetch_optional(db).await?)
}

/// By name, behind `after`.
pub async fn list_connections(
    db: &mut PgConnection,
    after: Option<&str>,
    most: i64,
) -> StoreResult<Vec<ConnectionRow>> {
    let rows = sqlx::query_as!(
        ConnectionRow,
        "select conn_id, conn_type, description, host, port, login, schema, password, extra, created_at, updated_at
        from connection where conn_id > coalesce($1::text, '') order by conn_id limit $2",
        after,
        most.clamp(0, MOST_CONNECTIONS)
    );
    Ok(rows.fetch_all(db).await?)
}

/// Whether there was none of that name, and now there is.
pub async fn add_connection(db: &mut PgConnection, new: &Connection, keys: &Keyring) -> Result<bool, SecretError> {
    let Sealed { password, extra } = Sealed::of(new, keys)?;
    let done = sqlx::query!(
        "insert into connection (conn_id, conn_type, description, host, port, login, schema, password, extra)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing",
        new.id,
        new.conn_type,
        new.description,
        new.host,
        new.port.map(i32::from),
        new.login,
        new.schema,
        password,
        extra
    );
    Ok(done.execute(db).await?.rows_affected() == 1)
}

/// Whether there was one.
pub async fn delete_connection(db: &mut PgConnection, id: &str) -> StoreResult<bool> {
    let done = sqlx::query!("delete from connection where conn_id = $1", id).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// Only what is sealed, sealed anew.
async fn set_sealed(db: &mut PgConnection, opened: &Connection, keys: &Keyring) -> Result<(), SecretError> {
    let Sealed { password, extra } = Sealed::of(opened, keys)?;
    sqlx::query!("update connection set password = $2, extra = $3 where conn_id = $1", opened.id, password, extra)
        .execute(db)
        .await?;
    Ok(())
}

struct Sealed {
    password: Option<Vec<u8>>,
    extra: Option<Vec<u8>>,
}

impl Sealed {
    fn of(connection: &Connection, keys: &Keyring) -> Result<Self, SecretError> {
        let id = &connection.id;
        let password = connection.password.as_ref().map(|text| keys.seal(seat(id, "password"), text)).transpose()?;
        let extra = (!connection.extra.is_empty()).then(|| Value::Object(connection.extra.clone()).to_string());
        let extra = extra.map(|text| keys.seal(seat(id, "extra"), &text)).transpose()?;
        Ok(Sealed { password, extra })
    }
}
