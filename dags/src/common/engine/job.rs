//! Jobs: views that an engine reads, and the tables that statements build from them.

use arrow::datatypes::SchemaRef;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use orch::{Connection, TaskResult};
use orch_lake::batches::Batches;
use orch_lake::bucket::{Bucket, Options};
use orch_lake::contract::{Contract, quarantine_of};
use orch_lake::format::csv::{self, Csv};
use orch_lake::format::{WrittenObject, parquet};
use orch_lake_sql::BatchSource;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// CSV with a header line.
    Csv,
    Parquet,
}

/// Tables of one bucket that are published together.
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) views: Vec<View>,
    /// A statement may read the views and the tables that precede its own.
    pub(crate) tables: Vec<Target>,
    pub(crate) format: Format,
    pub(crate) bucket: Bucket,
    /// Options of the object store, for Spark.
    pub(crate) options: Options,
    /// The folder of the attempt, [`Layer::place`](super::Layer::place). Engines write only below it.
    pub(crate) place: String,
}

/// Rows that statements read under a name.
pub(crate) struct View {
    pub(crate) name: &'static str,
    pub(crate) schema: SchemaRef,
    /// Opens the rows in this process.
    pub(crate) open: BatchSource,
    /// Source for Spark. `None` if only this process can read the rows: they are then copied into the bucket for Spark.
    pub(crate) outside: Option<Outside>,
}

/// Rows that Spark reads itself.
pub(crate) enum Outside {
    Objects {
        format: Format,
        locations: Vec<String>,
    },
    MySql {
        connection: Box<Connection>,
        table: &'static str,
        /// A column whose ranges Spark reads in parallel.
        key: Option<&'static str>,
    },
}

/// A table and the statement that builds it.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) schema: SchemaRef,
    pub(crate) statement: String,
    /// Rows that break a check with `Policy::Quarantine` are published in the table `{name}_quarantine`. Later
    /// statements of the job still read them.
    pub(crate) contract: Contract,
    /// Columns that the contracts of later tables refer to. Empty if none does, because the keys are held in memory.
    pub(crate) referenced_key: &'static [&'static str],
}

impl Job {
    /// Returns the folder that an engine writes the objects of a table into.
    pub(super) fn folder_of(&self, target: &Target) -> String {
        format!("{}/{}", self.place, target.name)
    }
}

impl Target {
    pub(crate) fn new(name: &'static str, schema: SchemaRef, statement: impl Into<String>, contract: Contract) -> Self {
        Target { name, schema, statement: statement.into(), contract, referenced_key: &[] }
    }

    /// Returns the name of the table with the quarantined rows.
    pub(super) fn quarantine(&self) -> String {
        quarantine_of(self.name)
    }
}

impl View {
    /// Returns a view of objects of a bucket, read with the types of a schema.
    pub(crate) fn of_objects(
        name: &'static str,
        schema: SchemaRef,
        bucket: &Bucket,
        (format, keys): (Format, Vec<String>),
    ) -> View {
        let locations = keys.iter().map(|key| bucket.location(key)).collect();
        let (bucket, columns) = (bucket.clone(), schema.clone());
        let open: BatchSource = Arc::new(move || {
            let rows = read_all(bucket.clone(), format, keys.clone(), columns.clone());
            std::future::ready(Ok(rows)).boxed()
        });
        View { name, schema, open, outside: Some(Outside::Objects { format, locations }) }
    }
}

impl Format {
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Parquet => "parquet",
        }
    }

    /// Reads an object with the types of a schema.
    pub(crate) async fn read(self, bucket: &Bucket, key: &str, schema: SchemaRef) -> TaskResult<Batches> {
        match self {
            Format::Csv => csv::read(bucket, key, schema, Csv::default()).await,
            Format::Parquet => parquet::read_as(bucket, key, schema).await,
        }
    }

    pub(crate) async fn write(self, bucket: &Bucket, key: &str, rows: Batches) -> TaskResult<WrittenObject> {
        match self {
            Format::Csv => csv::write(bucket, key, rows, Csv::default()).await,
            Format::Parquet => parquet::write(bucket, key, rows).await,
        }
    }
}

/// Reads objects sequentially.
pub(crate) fn read_all(bucket: Bucket, format: Format, keys: Vec<String>, schema: SchemaRef) -> Batches {
    let columns = schema.clone();
    let each = futures::stream::iter(keys).then(move |key| {
        let (bucket, schema) = (bucket.clone(), columns.clone());
        async move { format.read(&bucket, &key, schema).await }
    });
    Batches::new(schema, each.try_flatten())
}
