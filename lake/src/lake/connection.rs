//! Opens a lake from a connection: a Postgres database with the catalog, whose `extra` has the warehouse, or an
//! external catalog of the type `iceberg`.

use super::{Lake, LakeConfig};
use crate::bucket::Options;
use crate::catalog::RestCatalog;
use orch_sdk::task::{Connection, TaskResult, fatal};
use orch_store::connect;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Default name of the catalog, overridden by `catalog` in the extra.
const CATALOG: &str = "orch";
/// Maximum number of catalog sessions. Each is used for milliseconds at a time.
const SESSIONS: u32 = 8;
/// Timeout for a free session; users of a web page may be waiting for it.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle sessions are closed, so an idle process holds none.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

impl Lake {
    /// Opens the lake of a connection, with `storage` as the options for its files. Sends no requests yet.
    ///
    /// # Errors
    /// A fatal error if the connection has another type, or lacks a required field.
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
    /// Parses a connection such as `postgres://orch:secret@db/orch?warehouse=s3%3A%2F%2Flakehouse`, with `storage` as
    /// the options for files. Sends no requests yet.
    ///
    /// # Errors
    /// A fatal error if the connection has another type, or no warehouse.
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
