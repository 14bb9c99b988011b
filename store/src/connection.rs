//! Converts stored connections into connections for tasks and users, and connections into columns.

use crate::kept::{Columns, Record};
use crate::seal::{Keyring, Seat, SecretError};
use orch_sdk::secret::MASK;
use orch_sdk::task::Connection;
use serde_json::{Map, Value, json};

/// Returns the connection with its secrets.
pub fn open(record: &Record, keys: &Keyring) -> Result<Connection, SecretError> {
    let password = record.open("password", keys)?;
    Ok(Connection { password, extra: open_extra(record, keys)?, ..without_secrets(record) })
}

pub fn open_extra(record: &Record, keys: &Keyring) -> Result<Map<String, Value>, SecretError> {
    let Some(text) = record.open("extra", keys)? else { return Ok(Map::new()) };
    let seat = Seat { table: "connection", id: record.name(), column: "extra" };
    serde_json::from_str(&text).map_err(|_| SecretError::Damaged { seat: seat.to_string() })
}

/// Returns the connection for users, with `***` for secrets. Decrypts `extra`, in order to list its fields that are not
/// secret.
pub fn masked(record: &Record, keys: &Keyring) -> Result<Connection, SecretError> {
    Ok(Connection { extra: open_extra(record, keys)?, password: mask(record), ..without_secrets(record) }.masked())
}

/// Returns the connection for users without decrypting `extra`.
pub fn closed(record: &Record) -> Connection {
    let extra = record.holds("extra").then(|| (MASK.to_string(), MASK.into())).into_iter().collect();
    Connection { extra, password: mask(record), ..without_secrets(record) }.masked()
}

/// Returns the connection with only the fields that can be read without a key.
pub fn without_secrets(record: &Record) -> Connection {
    let mut connection = Connection { id: record.name().into(), ..Connection::default() };
    record.plain().for_each(|(column, value)| set(&mut connection, column, value));
    connection
}

/// A column of the table, and its conversion from and to a field of a connection.
struct Column {
    name: &'static str,
    value: fn(&Connection) -> Value,
    set: fn(&mut Connection, &Value),
}

macro_rules! column_of_text {
    ($name:ident) => {
        Column {
            name: stringify!($name),
            value: |connection| json!(connection.$name),
            set: |connection, value| connection.$name = text(value),
        }
    };
}

const COLUMNS: [Column; 8] = [
    Column {
        name: "conn_type",
        value: |connection| json!(connection.conn_type),
        set: |connection, value| connection.conn_type = text(value).unwrap_or_default(),
    },
    column_of_text!(description),
    column_of_text!(host),
    Column {
        name: "port",
        value: |connection| json!(connection.port),
        set: |connection, value| connection.port = value.as_u64().and_then(|port| u16::try_from(port).ok()),
    },
    column_of_text!(login),
    column_of_text!(schema),
    column_of_text!(password),
    Column {
        name: "extra",
        value: |connection| if connection.extra.is_empty() { Value::Null } else { json!(connection.extra) },
        set: |connection, value| connection.extra = value.as_object().cloned().unwrap_or_default(),
    },
];

pub fn columns(connection: &Connection) -> Columns {
    COLUMNS.iter().map(|column| (column.name, (column.value)(connection))).collect()
}

/// Sets a field of the connection to the value of a column. Other columns of the table are ignored.
pub fn set(connection: &mut Connection, column: &str, value: &Value) {
    if let Some(column) = COLUMNS.iter().find(|known| known.name == column) {
        (column.set)(connection, value);
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(String::from)
}

fn mask(record: &Record) -> Option<String> {
    record.holds("password").then(|| MASK.into())
}
