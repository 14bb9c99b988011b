//! A connection is changed part by part. What people saw as `***` and send back as that stays as it is, and what they do
//! not touch needs no key.

use super::{ConnectionRow, seat};
use crate::part::Becomes;
use crate::seal::{Keyring, SecretError};
use orch_core::secret::MASK;
use orch_core::task::Connection;
use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;

/// The parts that become other ones.
#[derive(Clone, Default)]
pub struct ConnectionChange {
    pub conn_type: Option<String>,
    pub description: Option<Becomes<String>>,
    pub host: Option<Becomes<String>>,
    pub port: Option<Becomes<u16>>,
    pub login: Option<Becomes<String>>,
    pub password: Option<Becomes<String>>,
    pub schema: Option<Becomes<String>>,
    pub extra: Option<Map<String, Value>>,
}

impl ConnectionChange {
    /// All parts of it.
    pub fn to(new: Connection) -> Self {
        ConnectionChange {
            conn_type: Some(new.conn_type),
            description: Some(Becomes(new.description)),
            host: Some(Becomes(new.host)),
            port: Some(Becomes(new.port)),
            login: Some(Becomes(new.login)),
            password: Some(Becomes(new.password)),
            schema: Some(Becomes(new.schema)),
            extra: Some(new.extra),
        }
    }

    /// The connection when it is carried out, for a trial of it.
    pub fn applied(self, stored: &Connection) -> Connection {
        let sent = Connection {
            id: stored.id.clone(),
            conn_type: self.conn_type.unwrap_or_else(|| stored.conn_type.clone()),
            description: becomes(self.description, stored.description.as_ref()),
            host: becomes(self.host, stored.host.as_ref()),
            port: becomes(self.port, stored.port.as_ref()),
            login: becomes(self.login, stored.login.as_ref()),
            password: becomes(self.password, stored.password.as_ref()),
            schema: becomes(self.schema, stored.schema.as_ref()),
            extra: self.extra.unwrap_or_else(|| stored.extra.clone()),
        };
        sent.restored(stored)
    }
}

fn becomes<T: Clone>(sent: Option<Becomes<T>>, stored: Option<&T>) -> Option<T> {
    sent.map_or_else(|| stored.cloned(), |Becomes(new)| new)
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
        Some(Becomes(Some(sent))) if sent == MASK && row.password.is_some() => row.password.clone(),
        Some(Becomes(Some(sent))) => Some(keys.seal(seat(id, "password"), sent)?),
        Some(Becomes(None)) => None,
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
