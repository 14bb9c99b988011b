//! Opens a lake from a connection. The connection is either a Postgres database with the catalog, whose `extra`
//! contains the warehouse, or an external catalog of type `iceberg`.

use super::{Lake, LakeConfig};
use crate::bucket::Options;
use crate::catalog::RestCatalog;
use orch_sdk::task::{Connection, TaskResult, fatal};
use orch_store::connect;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Default name of the catalog. Overridden by `catalog` in the connection's extra.
const CATALOG: &str = "orch";
/// Maximum number of database sessions for the catalog. Each is used for milliseconds at a time.
const SESSIONS: u32 = 8;
/// Timeout while waiting for a free database session. It is short because a web page may be waiting for the result.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Closes idle database sessions after this time, so that an idle process holds none.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

impl Lake {
    /// Opens the lake of a connection. `storage` contains the options to access its files. Sends no requests yet.
    ///
    /// # Errors
    /// Returns a fatal error if the connection has another type or lacks a required field.
    pub fn of(connection: &Connection, storage: &Options) -> TaskResult<Lake> {
        if connection.conn_type == RestCatalog::CONN_TYPE {
            let catalog = RestCatalog::of(connection)?;
            let warehouse = catalog.warehouse().to_owned();
            return Ok(Lake::with_catalog(Arc::new(catalog), storage.clone(), &warehouse)?);
        }
        Ok(Lake::open(LakeConfig::of(connection, storage)?)?)
    }
}

impl LakeConfig {
    /// Reads the configuration of a lake from a connection such as
    /// `postgres://orch:secret@db/orch?warehouse=s3%3A%2F%2Flakehouse`. `storage` contains the options to access
    /// files. Sends no requests.
    ///
    /// # Errors
    /// Returns a fatal error if the connection has another type or no warehouse.
    pub fn of(connection: &Connection, storage: &Options) -> TaskResult<LakeConfig> {
        let text = |name: &str| connection.extra_field(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let warehouse = text("warehouse").ok_or_else(|| {
            fatal(format!(
                "connection `{}` does not say where tables go\n\
                 hint: add `warehouse` to its extra: `file:///folder` or `s3://bucket/folder`",
                connection.id
            ))
        })?;
        let catalog = connect::pool_options()
            .min_connections(0)
            .max_connections(SESSIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(IDLE_TIMEOUT)
            .connect_lazy_with(connect::outside(connection, None)?);
        Ok(LakeConfig {
            catalog,
            name: text("catalog").unwrap_or(CATALOG).into(),
            warehouse: warehouse.into(),
            storage: storage.clone(),
        })
    }
}
