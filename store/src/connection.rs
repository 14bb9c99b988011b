//! What tasks and people get of a stored connection, and the columns of one that is to be stored.

use crate::kept::{Columns, Record};
use crate::seal::{Keyring, Seat, SecretError};
use orch_core::secret::MASK;
use orch_core::task::Connection;
use serde_json::{Map, Value, json};

/// With its secrets.
pub fn open(record: &Record, keys: &Keyring) -> Result<Connection, SecretError> {
    let password = record.open("password", keys)?;
    Ok(Connection { password, extra: open_extra(record, keys)?, ..without_secrets(record) })
}

pub fn open_extra(record: &Record, keys: &Keyring) -> Result<Map<String, Value>, SecretError> {
    let Some(text) = record.open("extra", keys)? else { return Ok(Map::new()) };
    let seat = Seat { table: "connection", id: record.name(), column: "extra" };
    serde_json::from_str(&text).map_err(|_| SecretError::Damaged { seat: seat.to_string() })
}

/// As people may see it: `***` for what is secret. Of `extra` the fields, if there is a key to read them by.
pub fn masked(record: &Record, keys: &Keyring) -> Result<Connection, SecretError> {
    Ok(Connection { extra: open_extra(record, keys)?, password: mask(record), ..without_secrets(record) }.masked())
}

/// The same with nothing opened, for those who may see no value of `extra`.
pub fn closed(record: &Record) -> Connection {
    let extra = record.holds("extra").then(|| (MASK.to_string(), MASK.into())).into_iter().collect();
    Connection { extra, password: mask(record), ..without_secrets(record) }.masked()
}

/// What can be told without a key.
pub fn without_secrets(record: &Record) -> Connection {
    let text = |column: &str| record.text(column).map(String::from);
    Connection {
        id: record.name().into(),
        conn_type: text("conn_type").unwrap_or_default(),
        description: text("description"),
        host: text("host"),
        port: record.get("port").as_u64().and_then(|port| u16::try_from(port).ok()),
        login: text("login"),
        password: None,
        schema: text("schema"),
        extra: Map::new(),
    }
}

pub fn columns(connection: &Connection) -> Columns {
    let Connection { id: _, conn_type, description, host, port, login, password, schema, extra } = connection;
    vec![
        ("conn_type", json!(conn_type)),
        ("description", json!(description)),
        ("host", json!(host)),
        ("port", json!(port)),
        ("login", json!(login)),
        ("schema", json!(schema)),
        ("password", json!(password)),
        ("extra", if extra.is_empty() { Value::Null } else { json!(extra) }),
    ]
}

fn mask(record: &Record) -> Option<String> {
    record.holds("password").then(|| MASK.into())
}
