//! A lake by a connection: a Postgres database with the catalog in it, and in `extra` where new tables go; or a catalog of
//! others, of the type `iceberg`.

use super::{Lake, LakeConfig};
use crate::bucket::Options;
use crate::catalog::RestCatalog;
use orch_sdk::task::{Connection, TaskResult, fatal};
use orch_store::connect;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Under which tables are known, unless the connection says another name in `catalog`.
const CATALOG: &str = "orch";
/// Sessions at the catalog: each is needed for milliseconds at a time.
const SESSIONS: u32 = 8;
/// Whoever looks at a page may wait this long for one.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Nobody needs one: it is closed, and an idle process holds none.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

impl Lake {
    /// Files are reached as `storage` says. Nothing is asked yet.
    ///
    /// # Errors
    /// A fatal error when the connection is for something else, or lacks what is needed.
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
    /// `postgres://orch:secret@db/orch?warehouse=s3%3A%2F%2Flakehouse`; files are reached as `storage` says. Nothing is asked
    /// yet.
    ///
    /// # Errors
    /// A fatal error when the connection is for something else, or does not say where tables go.
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
