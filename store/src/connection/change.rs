//! A connection is changed part by part. What people saw as `***` and send back as that stays as it is, and what they do
//! not touch needs no key.

use super::{ConnectionRow, seat};
use crate::seal::{Keyring, SecretError};
use orch_core::secret::MASK;
use orch_core::task::Connection;
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;

/// The parts that become other ones.
#[derive(Clone, Default)]
pub struct ConnectionChange {
    pub conn_type: Option<String>,
    pub description: Option<Option<String>>,
    pub host: Option<Option<String>>,
    pub port: Option<Option<u16>>,
    pub login: Option<Option<String>>,
    pub password: Option<Option<String>>,
    pub schema: Option<Option<String>>,
    pub extra: Option<Map<String, Value>>,
}

impl ConnectionChange {
    /// All parts of it.
    pub fn to(new: Connection) -> Self {
        ConnectionChange {
            conn_type: Some(new.conn_type),
            description: Some(new.description),
            host: Some(new.host),
            port: Some(new.port),
            login: Some(new.login),
            password: Some(new.password),
            schema: Some(new.schema),
            extra: Some(new.extra),
        }
    }

    /// The connection when it is carried out, for a trial of it.
    pub fn applied(self, stored: &Connection) -> Connection {
        let sent = Connection {
            id: stored.id.clone(),
            conn_type: self.conn_type.unwrap_or_else(|| stored.conn_type.clone()),
            description: self.description.unwrap_or_else(|| stored.description.clone()),
            host: self.host.unwrap_or_else(|| stored.host.clone()),
            port: self.port.unwrap_or(stored.port),
            login: self.login.unwrap_or_else(|| stored.login.clone()),
            password: self.password.unwrap_or_else(|| stored.password.clone()),
            schema: self.schema.unwrap_or_else(|| stored.schema.clone()),
            extra: self.extra.unwrap_or_else(|| stored.extra.clone()),
        };
        sent.restored(stored)
    }
}

/// The connection as it is now; `None`: there is none of that name.
pub async fn change_connection(
    db: &mut PgConnection,
    id: &str,
    change: ConnectionChange,
    keys: &Keyring,
) -> Result<Option<ConnectionRow>, SecretError> {
    let row = sqlx::query_as!(
        ConnectionRow,
        "select conn_id, conn_type, description, host, port, login, schema, password, extra, created_at, updated_at
        from connection where conn_id = $1 for update",
        id
    );
    let Some(row) = row.fetch_optional(&mut *db).await? else { return Ok(None) };
    let password = match &change.password {
        Some(Some(sent)) if sent == MASK && row.password.is_some() => row.password.clone(),
        Some(Some(sent)) => Some(keys.seal(seat(id, "password"), sent)?),
        Some(None) => None,
        None => row.password.clone(),
    };
    // Only what was masked has to be opened.
    let stored = match &change.extra {
        Some(sent) if row.extra.is_some() && Value::Object(sent.clone()).to_string().contains(MASK) => {
            row.open_extra(keys)?
        }
        _ => Map::new(),
    };
    let extra_is_sent = change.extra.is_some();
    let opened = Connection { extra: stored, ..row.without_secrets() };
    let new = change.applied(&opened);
    let extra = match extra_is_sent {
        true if new.extra.is_empty() => None,
        true => Some(keys.seal(seat(id, "extra"), &Value::Object(new.extra).to_string())?),
        false => row.extra,
    };
    let row = sqlx::query_as!(
        ConnectionRow,
        "update connection set conn_type = $2, description = $3, host = $4, port = $5, login = $6, schema = $7,
            password = $8, extra = $9, updated_at = now()
        where conn_id = $1
        returning conn_id, conn_type, description, host, port, login, schema, password, extra, created_at, updated_at",
        id,
        new.conn_type,
        new.description,
        new.host,
        new.port.map(i32::from),
        new.login,
        new.schema,
        password,
        extra
    );
    Ok(Some(row.fetch_one(db).await?))
}
