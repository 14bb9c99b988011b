//! Loads objects of a bucket into Postgres tables.

use crate::rows::{Format, ObjectLocation, schema};
use orch::{BoxFuture, Call, Ctx, Operator, TaskResult};
use orch_lake::load::{Load, Loaded};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketToPostgres {
    pub from: ObjectLocation,
    /// Default: by the extension of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// One map per column, in order: `{ "id": "bigint not null" }`. Not needed for Parquet, which contains its types.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<BTreeMap<String, String>>,
    /// Id of a connection of type `postgres`.
    pub connection: String,
    #[serde(default = "public")]
    pub schema: String,
    pub table: String,
    /// Columns of the primary key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// Name of a view of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// If true, rows are inserted or updated by key. Otherwise they replace all rows of the table.
    #[serde(default)]
    pub upsert: bool,
    /// Version column: of two rows with the same key, the one with the larger value is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

fn public() -> String {
    "public".into()
}

/// Loads an object into a table in one transaction. Readers see either the old or the new rows, and are never
/// blocked.
#[track_caller]
pub fn bucket_to_postgres<'d>(transfer: BucketToPostgres) -> Call<'d, Loaded> {
    transfer.call()
}

/// Returns the config to load a complete table: `load_to_postgres("retail_postgres", "retail", "sales", from)`.
pub fn load_to_postgres(connection: &str, schema: &str, table: &str, from: ObjectLocation) -> BucketToPostgres {
    BucketToPostgres {
        from,
        format: None,
        columns: Vec::new(),
        connection: connection.into(),
        schema: schema.into(),
        table: table.into(),
        key: Vec::new(),
        alias: None,
        upsert: false,
        version: None,
    }
}

impl BucketToPostgres {
    /// Adds a column with its Postgres type: `.column("price", "numeric(12,2)")`.
    #[must_use]
    pub fn column(mut self, name: &str, of: &str) -> BucketToPostgres {
        self.columns.push(BTreeMap::from([(name.into(), of.into())]));
        self
    }

    /// Sets the columns of the primary key.
    #[must_use]
    pub fn key<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> BucketToPostgres {
        self.key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Creates a view of the table with this name.
    #[must_use]
    pub fn alias(mut self, view: &str) -> BucketToPostgres {
        self.alias = Some(view.into());
        self
    }

    /// Inserts or updates rows by key, instead of replacing all rows.
    #[must_use]
    pub fn upsert(mut self) -> BucketToPostgres {
        self.upsert = true;
        self
    }

    /// Sets the version column: of two rows with the same key, the one with the larger value is kept.
    #[must_use]
    pub fn version(mut self, column: &str) -> BucketToPostgres {
        self.version = Some(column.into());
        self
    }
}

async fn go(transfer: BucketToPostgres, ctx: &Ctx) -> TaskResult<Loaded> {
    let bucket = transfer.from.bucket(ctx).await?;
    let format = Format::of(transfer.format, &transfer.from.key)?;
    let rows = format.read(&bucket, &transfer.from.key, schema(&transfer.columns)?).await?.report_progress(ctx);
    let mut load = Load::into(&transfer.schema, &transfer.table).key(transfer.key).once_in(ctx);
    if let Some(view) = &transfer.alias {
        load = load.alias(view);
    }
    if let Some(column) = &transfer.version {
        load = load.version(column);
    }
    let connection = ctx.connection(&transfer.connection).await?;
    let loaded =
        if transfer.upsert { load.upsert(&connection, rows).await? } else { load.replace(&connection, rows).await? };
    let Loaded { table, rows, written, .. } = &loaded;
    ctx.info(if loaded.was_loaded {
        format!("`{table}` was loaded by this try before")
    } else {
        format!("{rows} rows for `{table}`, {written} of them new or changed")
    });
    Ok(loaded)
}

impl Operator for BucketToPostgres {
    const KIND: &'static str = "bucket_to_postgres";
    type Output = Loaded;

    fn run(self, ctx: Ctx) -> BoxFuture<TaskResult<Loaded>> {
        Box::pin(async move { go(self, &ctx).await })
    }
}
