//! Connections in files as Airflow reads and writes them.

use crate::pages::kept::transfer::Transfers;
use orch_deeds::Connection;
use orch_document::kept::{Document, FileFormat, Serialization, write_connections};
use orch_sdk::task;
use orch_spec::ids::ConnectionId;
use orch_store::connection::columns;
use orch_store::kept::Record;
use orch_store::seal::Keyring;
use orch_wire::NounBody;
use serde_json::json;

impl Transfers for Connection {
    const EXAMPLE: &'static str =
        "{\"sales\": {\"conn_type\": \"postgres\", \"host\": \"db\", \"login\": \"me\", \"password\": \"…\"}}";
    const FORMATS: &'static [FileFormat] = &FileFormat::ALL;

    fn read(document: &Document<'_>) -> Result<Vec<NounBody>, String> {
        let all = document.connections().map_err(|error| error.to_string())?;
        let body = |(name, connection): (String, task::Connection)| {
            ConnectionId::new(&name).map_err(|error| error.to_string())?;
            if connection.conn_type.is_empty() {
                return Err(format!("connection `{name}` has no type"));
            }
            // An empty `extra` takes away what was there.
            let set =
                |(column, value)| if column == "extra" { (column, json!(connection.extra)) } else { (column, value) };
            Ok(NounBody { name, columns: columns(&connection).into_iter().map(set).collect() })
        };
        all.into_iter().map(body).collect()
    }

    fn write(records: &[Record], keys: &Keyring, format: FileFormat) -> String {
        let all: Vec<_> = records.iter().map(|row| Connection::visible(row, keys, true)).collect();
        write_connections(&all, format, Serialization::Json)
    }
}
