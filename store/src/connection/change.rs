//! A connection is changed part by part. What people saw as `***` and send back as that stays as it is, unless the connection
//! leads elsewhere from then on; what they do not touch needs no key.

use super::{ConnectionRow, seat};
use crate::part::Becomes;
use crate::seal::{Keyring, SecretError};
use orch_core::secret::MASK;
use orch_core::task::{Changed, Connection};
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

    /// The connection when it is carried out. What is not sent stays, secrets as long as they lead to the same place.
    pub fn applied(self, stored: &Connection) -> Changed {
        // As people see it: of a secret that they do not send `***` stays.
        let shown = stored.masked();
        let sent = Connection {
            id: shown.id,
            conn_type: self.conn_type.unwrap_or(shown.conn_type),
            description: becomes(self.description, shown.description),
            host: becomes(self.host, shown.host),
            port: becomes(self.port, shown.port),
            login: becomes(self.login, shown.login),
            password: becomes(self.password, shown.password),
            schema: becomes(self.schema, shown.schema),
            extra: self.extra.unwrap_or(shown.extra),
        };
        sent.replacing(stored)
    }
}

fn becomes<T>(sent: Option<Becomes<T>>, stays: Option<T>) -> Option<T> {
    sent.map_or(stays, |Becomes(new)| new)
}

/// The connection as it is now, and the secrets it lost because it leads elsewhere; `None`: there is none of that name.
pub async fn change_connection(
    db: &mut PgConnection,
    id: &str,
    change: ConnectionChange,
    keys: &Keyring,
) -> Result<Option<(ConnectionRow, Vec<String>)>, SecretError> {
    let row = sqlx::query_as!(
        ConnectionRow,
        "select conn_id, conn_type, description, host, port, login, schema, password, extra, created_at, updated_at
        from connection where conn_id = $1 for update",
        id
    );
    let Some(row) = row.fetch_optional(&mut *db).await? else { return Ok(None) };
    let sends_extra = change.extra.is_some();
    let sends_masks = change.extra.as_ref().is_some_and(|sent| Value::Object(sent.clone()).to_string().contains(MASK));
    let (opened, is_locked) = match row.open_extra(keys) {
        Ok(opened) => (opened, false),
        Err(error) if sends_masks => return Err(error),
        // Where it led cannot be told: what replaces it leads elsewhere.
        Err(_) if sends_extra => (Map::from_iter([("host".into(), Value::Null)]), true),
        Err(_) => (Map::new(), true),
    };
    // The password is not opened: as `***` it stays what is sealed.
    let password = row.password.as_ref().map(|_| MASK.into());
    let stored = Connection { extra: opened, password, ..row.without_secrets() };
    let Changed { connection: new, has_moved, mut dropped } = change.applied(&stored);
    let password = match &new.password {
        Some(password) if password == MASK && row.password.is_some() => row.password,
        Some(password) => Some(keys.seal(seat(id, "password"), password)?),
        None => None,
    };
    let extra = if is_locked && !sends_extra && has_moved {
        dropped.extend(row.extra.is_some().then(|| "extra".into()));
        None
    } else if !sends_extra && new.extra == stored.extra {
        row.extra
    } else if new.extra.is_empty() {
        None
    } else {
        Some(keys.seal(seat(id, "extra"), &Value::Object(new.extra).to_string())?)
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
    Ok(Some((row.fetch_one(db).await?, dropped)))
}
