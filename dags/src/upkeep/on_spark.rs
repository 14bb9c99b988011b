//! A large table compacted by Spark: one call of Iceberg's own procedure, which divides the files among executors.

use super::TableUpkeep;
use crate::connections::SPARK;
use crate::engine::LOCAL;
use crate::place::Lakehouse;
use iceberg::spec::Operation;
use orch::prelude::*;
use orch::{Connection, Spark};
use orch_lake::TableName;
use orch_lake::table::maintain::Compaction;

/// What Spark calls the catalog of the lake, as in docs/guides/catalog.md.
const CATALOG: &str = "orch";
const STATEMENT: &str = "spark.orch.statement";
const SCRIPT: &str = r#"
import json

[row] = spark.sql(conf("spark.orch.statement")).collect()
print(json.dumps(row.asDict()))
"#;

/// What the procedure says it did.
#[derive(Deserialize)]
struct Rewritten {
    rewritten_data_files_count: u64,
    rewritten_bytes_count: u64,
    added_data_files_count: u64,
    removed_delete_files_count: u64,
}

/// Whether there is a Spark that knows the tables of the lake.
pub(super) async fn is_there(ctx: &Ctx) -> TaskResult<bool> {
    let connection: Connection = ctx.connection(SPARK).await?;
    let conf = connection.extra_field("conf").and_then(|conf| conf.as_object());
    let names_lake = conf.is_some_and(|conf| conf.contains_key(&format!("spark.sql.catalog.{CATALOG}")));
    Ok(connection.conn_type != LOCAL && names_lake)
}

pub(super) async fn compact(ctx: &Ctx, name: &TableName, compaction: &Compaction) -> TaskResult<TableUpkeep> {
    let place = Lakehouse::of(ctx).await?;
    let is_sorted = !place.lake.table(name).await?.metadata().default_sort_order().is_unsorted();
    let statement = compaction.spark_statement(CATALOG, name, is_sorted);
    ctx.info(format!("Spark is asked: {statement}"));
    let said = Spark::default().name("lake_upkeep").conf(STATEMENT, statement).submit_script(ctx, SCRIPT).await?;
    let done: Rewritten = serde_json::from_value(said.value)
        .map_err(|error| fatal(format!("Spark did not say what it compacted: {error}")))?;
    let now = place.lake.table(name).await?;
    let last = now.metadata().snapshots().filter(|one| one.summary().operation == Operation::Replace);
    let last = last.max_by_key(|snapshot| snapshot.sequence_number()).filter(|_| done.added_data_files_count > 0);
    let bytes_after = last.and_then(|one| one.summary().additional_properties.get("added-files-size")?.parse().ok());
    Ok(TableUpkeep {
        table: name.to_string(),
        files_before: done.rewritten_data_files_count,
        files_after: done.added_data_files_count,
        bytes_before: done.rewritten_bytes_count,
        bytes_after: bytes_after.unwrap_or_default(),
        deletes: done.removed_delete_files_count,
        ..TableUpkeep::default()
    })
}
