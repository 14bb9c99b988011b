//! Statements that Spark runs on tables of the lake, where it knows that as its catalog `orch` (docs/guides/catalog.md).

use crate::common::connections::SPARK;
use crate::common::engine::LOCAL;
use orch::prelude::*;
use orch::{Connection, Spark};
use serde::de::DeserializeOwned;

/// What Spark calls the catalog of the lake.
pub(crate) const CATALOG: &str = "orch";
const STATEMENTS: &str = "spark.orch.statements";
const SCRIPT: &str = r#"
import json

answers = []
for statement in json.loads(conf("spark.orch.statements")):
    answers.append([row.asDict() for row in spark.sql(statement).collect()])
print(json.dumps(answers))
"#;

/// Whether there is a Spark that knows the tables of the lake.
pub(crate) async fn knows_the_lake(ctx: &Ctx) -> TaskResult<bool> {
    let connection: Connection = ctx.connection(SPARK).await?;
    let conf = connection.extra_field("conf").and_then(|conf| conf.as_object());
    let names_lake = conf.is_some_and(|conf| conf.contains_key(&format!("spark.sql.catalog.{CATALOG}")));
    Ok(connection.conn_type != LOCAL && names_lake)
}

/// One after the other, as one application. Gives the rows of the last one.
pub(crate) async fn run<T: DeserializeOwned>(ctx: &Ctx, name: &str, statements: &[String]) -> TaskResult<Vec<T>> {
    for statement in statements {
        ctx.info(format!("Spark is asked: {statement}"));
    }
    let asked = serde_json::to_string(statements)?;
    let said = Spark::default().name(name).conf(STATEMENTS, asked).submit_script(ctx, SCRIPT).await?;
    let answers: Vec<serde_json::Value> = serde_json::from_value(said.value)?;
    let last = answers.into_iter().next_back().unwrap_or_else(|| serde_json::json!([]));
    serde_json::from_value(last).map_err(|error| fatal(format!("Spark did not say what it did: {error}")))
}
