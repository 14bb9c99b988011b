//! The Iceberg REST catalog of the lake for other engines: `orch-pipelines catalog`, and `/catalog` of a standalone.

use crate::common::connections::{BUCKETS, LAKE};
use crate::common::lakehouse;
use orch::{BundleServer, Connection, TaskResult, fatal};
use orch_lake_rest::{Means, router};

/// The default port of most Iceberg REST catalogs.
const PORT: u16 = 8181;
/// Field of the connection `lake`: clients may create tables in any folder of this machine.
const ANY_LOCATION: &str = "any_location";
/// Field of the connection `lake`: clients may get the keys of the object store.
const GIVE_KEYS: &str = "give_keys";

/// The server of the catalog.
pub fn server() -> BundleServer {
    let about = "Serve the Iceberg REST catalog of the lake to Spark, PyIceberg and other engines";
    let server = BundleServer::new("catalog", about, PORT, |serving| {
        Box::pin(async move {
            let connections = [serving.connection(LAKE).await?, serving.connection(BUCKETS).await?];
            let is_set = |field: &str| is_set(&connections[0], field);
            let (takes_any_location, gives_keys) = (is_set(ANY_LOCATION)?, is_set(GIVE_KEYS)?);
            let lake = lakehouse::lake(&connections)?;
            let (pool, hints, is_behind_web) = (serving.pool().clone(), serving.hints().clone(), serving.is_behind_web);
            router(Means { lake, pool, hints, is_behind_web, takes_any_location, gives_keys }).await
        })
    });
    server.behind_web()
}

fn is_set(connection: &Connection, field: &str) -> TaskResult<bool> {
    let Some(value) = connection.extra_field(field).filter(|value| !value.is_null()) else { return Ok(false) };
    // In a connection URI all fields are strings.
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let id = &connection.id;
    text.parse()
        .map_err(|_| fatal(format!("connection `{id}` has `{field}`: {value} in its extra\nhint: write true or false")))
}
