//! The Iceberg REST catalog of the lake for other engines: `orch-pipelines catalog`, and `/catalog` of a standalone.

use crate::common::connections::{BUCKETS, LAKE};
use crate::common::lakehouse;
use orch::{BundleServer, Connection};
use orch_lake_rest::{AssumedRole, GivenKeys, Means, router};
use serde_json::Value;

/// Default port of most Iceberg REST catalogs.
const PORT: u16 = 8181;
/// Fields of the connection `lake`: the role for credentials of a single table, and the address of STS if it is not the
/// object store itself.
const STS_ROLE: &str = "sts_role_arn";
const STS_ENDPOINT: &str = "sts_endpoint";

pub fn server() -> BundleServer {
    let about = "Serve the Iceberg REST catalog of the lake to Spark, PyIceberg and other engines";
    let server = BundleServer::new("catalog", about, PORT, |serving| {
        Box::pin(async move {
            let connections = [serving.connection(LAKE).await?, serving.connection(BUCKETS).await?];
            let keys = if serving.gives_keys { given_keys(&connections[0]) } else { GivenKeys::None };
            let lake = lakehouse::lake(&connections)?;
            let (pool, hints, is_behind_web) = (serving.pool().clone(), serving.hints().clone(), serving.is_behind_web);
            router(Means { lake, pool, hints, is_behind_web, keys }).await
        })
    });
    server.behind_web()
}

fn given_keys(connection: &Connection) -> GivenKeys {
    let text = |field: &str| connection.extra_field(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    match text(STS_ROLE) {
        Some(arn) => {
            GivenKeys::OfTable(AssumedRole { arn: arn.to_owned(), endpoint: text(STS_ENDPOINT).map(str::to_owned) })
        }
        None => GivenKeys::OfStorage,
    }
}
