//! SQL statements that Spark runs on tables of the lake. Spark needs the lake as its catalog `orch`
//! (docs/guides/catalog.md).

use crate::common::connections::SPARK;
use crate::common::engine::LOCAL;
use orch::Spark;
use orch::prelude::*;
use serde::de::DeserializeOwned;

/// Name of the lake's catalog in Spark.
pub(crate) const CATALOG: &str = "orch";
const STATEMENTS: &str = "spark.orch.statements";
const SCRIPT: &str = r#"
import json

rows = []
for statement in json.loads(conf("spark.orch.statements")):
    rows = [row.asDict() for row in spark.sql(statement).collect()]
print(json.dumps(rows))
"#;

/// Returns true if the connection `spark_default` has a Spark with the catalog of the lake.
pub(crate) async fn has_lake_catalog(ctx: &Ctx) -> TaskResult<bool> {
    let connection = ctx.connection(SPARK).await?;
    let conf = connection.extra_field("conf").and_then(|conf| conf.as_object());
    let has_catalog = conf.is_some_and(|conf| conf.contains_key(&format!("spark.sql.catalog.{CATALOG}")));
    Ok(connection.conn_type != LOCAL && has_catalog)
}

/// Runs statements in order as one Spark application. Returns the rows of the last one.
pub(crate) async fn run_statements<T: DeserializeOwned>(
    ctx: &Ctx,
    application: &str,
    statements: &[String],
) -> TaskResult<Vec<T>> {
    for statement in statements {
        ctx.info(format!("Spark runs: {statement}"));
    }
    let spark = Spark::default().name(application).conf(STATEMENTS, serde_json::to_string(statements)?);
    let output = spark.submit_script(ctx, SCRIPT).await?;
    serde_json::from_value(output.value)
        .map_err(|error| fatal(format!("the rows of the last statement have other columns than expected: {error}")))
}
