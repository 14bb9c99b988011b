//! Objects of buckets as rows: locations, formats and schemas.

use arrow::datatypes::{Field, Schema, SchemaRef};
use orch::{Connection, Ctx, TaskResult, fatal};
use orch_lake::batches::Batches;
use orch_lake::bucket::{Bucket, Buckets};
use orch_lake::format::csv::Csv;
use orch_lake::format::{WrittenObject, csv, json, parquet};
use orch_lake::source::postgres::type_of;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Location of an object. Where a pattern is allowed, `*` and `?` match characters within one part of the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectLocation {
    /// Id of a connection of type `file` or `s3`.
    #[serde(default = "buckets")]
    pub connection: String,
    pub bucket: String,
    pub key: String,
}

pub(crate) fn buckets() -> String {
    "buckets".into()
}

/// File format of the rows in an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Csv,
    JsonLines,
    Parquet,
}

impl ObjectLocation {
    /// Returns a location in the connection `buckets`.
    pub fn new(bucket: &str, key: &str) -> ObjectLocation {
        ObjectLocation { connection: buckets(), bucket: bucket.into(), key: key.into() }
    }

    /// Sets the connection.
    #[must_use]
    pub fn of(mut self, connection: &str) -> ObjectLocation {
        self.connection = connection.into();
        self
    }

    pub(crate) async fn bucket(&self, ctx: &Ctx) -> TaskResult<Bucket> {
        self.bucket_of(&ctx.connection(&self.connection).await?)
    }

    pub(crate) fn bucket_of(&self, connection: &Connection) -> TaskResult<Bucket> {
        let bucket = Buckets::of(connection).and_then(|buckets| buckets.bucket(&self.bucket));
        bucket.map_err(|error| fatal(error.to_string()))
    }
}

impl Format {
    /// Returns the requested format, or else the format of the key's extension.
    pub(crate) fn of(asked: Option<Format>, key: &str) -> TaskResult<Format> {
        match (asked, key.rsplit_once('.').map(|(_, ending)| ending)) {
            (Some(format), _) => Ok(format),
            (None, Some("csv")) => Ok(Format::Csv),
            (None, Some("json" | "jsonl" | "ndjson")) => Ok(Format::JsonLines),
            (None, Some("parquet")) => Ok(Format::Parquet),
            _ => Err(fatal(format!(
                "the key `{key}` names no format\nhint: end it in .csv, .jsonl or .parquet, or say `format`"
            ))),
        }
    }

    pub(crate) async fn write(self, bucket: &Bucket, key: &str, rows: Batches) -> TaskResult<WrittenObject> {
        match self {
            Format::Csv => csv::write(bucket, key, rows, Csv::default()).await,
            Format::JsonLines => json::write(bucket, key, rows).await,
            Format::Parquet => parquet::write(bucket, key, rows).await,
        }
    }

    pub(crate) async fn read(self, bucket: &Bucket, key: &str, schema: Option<SchemaRef>) -> TaskResult<Batches> {
        match (self, schema) {
            (Format::Parquet, None) => parquet::read(bucket, key).await,
            (Format::Parquet, Some(schema)) => parquet::read_as(bucket, key, schema).await,
            (Format::Csv, Some(schema)) => csv::read(bucket, key, schema, Csv::default()).await,
            (Format::JsonLines, Some(schema)) => json::read(bucket, key, schema).await,
            (_, None) => Err(fatal(format!(
                "`{}` says nothing of its types\nhint: name its columns: `.column(\"id\", \"bigint not null\")`",
                bucket.location(key)
            ))),
        }
    }
}

/// Returns the schema of columns with Postgres types: `bigint not null`, `numeric(12,2)`, `timestamp`.
pub(crate) fn schema(columns: &[BTreeMap<String, String>]) -> TaskResult<Option<SchemaRef>> {
    let fields = columns.iter().flatten().map(|(name, written)| {
        let lower = written.trim().to_lowercase();
        let (of, required) = lower.strip_suffix("not null").map_or((lower.as_str(), false), |of| (of.trim(), true));
        let of = type_of(&of.replace("decimal(", "numeric(")).ok_or_else(|| {
            let hint = "hint: `bigint`, `text`, `numeric(12,2)`, `date`, `timestamp`, …";
            fatal(format!("column `{name}` cannot be a `{written}`\n{hint}"))
        })?;
        Ok(Field::new(name, of, !required))
    });
    let fields = fields.collect::<TaskResult<Vec<Field>>>()?;
    Ok((!fields.is_empty()).then(|| Arc::new(Schema::new(fields)) as SchemaRef))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_said_or_read_from_the_key() {
        for (asked, key, expected) in [
            (None, "a/b.csv", Some(Format::Csv)),
            (None, "b.parquet", Some(Format::Parquet)),
            (Some(Format::JsonLines), "b.csv", Some(Format::JsonLines)),
            (None, "b.txt", None),
            (None, "b", None),
        ] {
            assert_eq!(Format::of(asked, key).ok(), expected, "{key}");
        }
    }

    #[test]
    fn columns_are_typed_as_postgres_writes_it() {
        let column = |name: &str, of: &str| BTreeMap::from([(name.to_string(), of.to_string())]);
        let read = schema(&[column("z", "BIGINT NOT NULL"), column("a", "decimal(12,2)")]).expect("types");
        let read = read.expect("some columns");
        assert_eq!(read.field(0).name(), "z");
        assert!(!read.field(0).is_nullable() && read.field(1).is_nullable());
        assert!(schema(&[]).expect("none").is_none());
        assert!(schema(&[column("a", "money")]).is_err_and(|error| error.to_string().contains("column `a`")));
    }
}
