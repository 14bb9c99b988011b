//! The catalog of the lake for engines outside of orch: `orch-pipelines catalog`, and `/catalog` of a standalone.

use crate::common::connections::{BUCKETS, LAKE};
use crate::common::lakehouse;
use orch::{BundleServer, Connection, TaskResult, fatal};
use orch_lake_rest::{Means, router};
use serde_json::Value;

/// As the catalogs of others.
const PORT: u16 = 8181;
/// Fields of the lake's connection: whether tables may be in any folder of this machine, and whether clients may be given the keys of
/// the storage.
const ANY_LOCATION: &str = "any_location";
const GIVE_KEYS: &str = "give_keys";

/// The command of the binary.
pub fn server() -> BundleServer {
    let about = "Serve the catalog of the lake to Spark, PyIceberg and others, by Iceberg's REST protocol";
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
    match connection.extra_field(field) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(is_set)) => Ok(*is_set),
        // A URI has texts only.
        Some(Value::String(text)) if text == "true" => Ok(true),
        Some(Value::String(text)) if text == "false" => Ok(false),
        Some(other) => Err(fatal(format!(
            "connection `{}` has `{field}`: {other} in its extra\nhint: write true or false",
            connection.id
        ))),
    }
}
