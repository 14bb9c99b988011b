//! What an engine is asked for: views, and tables made of them by statements.

use arrow::datatypes::{DataType, SchemaRef};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use orch::{Connection, TaskResult, fatal};
use orch_lake::batches::Batches;
use orch_lake::bucket::{Bucket, Options};
use orch_lake::contract::Contract;
use orch_lake::format::csv::{self, Csv};
use orch_lake::format::parquet;
use orch_lake_sql::BatchSource;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How rows lie in objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// With a first line of names.
    Csv,
    Parquet,
}

/// Tables of one bucket that are published together.
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) views: Vec<View>,
    /// In order: a statement sees the tables before it, too.
    pub(crate) tables: Vec<Target>,
    pub(crate) format: Format,
    pub(crate) bucket: Bucket,
    /// How the buckets are reached from elsewhere.
    pub(crate) options: Options,
    /// Below which an engine writes, a folder for each table.
    pub(crate) place: String,
}

/// Rows by a name.
pub(crate) struct View {
    pub(crate) name: &'static str,
    pub(crate) schema: SchemaRef,
    /// How this process reads them.
    pub(crate) open: BatchSource,
    /// How others do; `None`: only this process can, and puts the rows into the bucket for them.
    pub(crate) outside: Option<Outside>,
}

/// Where rows are, for an engine elsewhere.
pub(crate) enum Outside {
    Objects {
        format: Format,
        locations: Vec<String>,
    },
    MySql {
        connection: Box<Connection>,
        table: &'static str,
        /// By ranges of it parts of the table are read side by side.
        key: Option<&'static str>,
    },
}

/// A table, and the statement that makes it.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) schema: SchemaRef,
    pub(crate) statement: String,
    /// What must hold of its rows, beside their types.
    pub(crate) contract: Contract,
    /// The contract of a later table of the job refers to its key.
    #[expect(dead_code, reason = "until the merge")]
    pub(crate) is_referenced: bool,
}

impl Target {
    pub(crate) fn new(name: &'static str, schema: SchemaRef, statement: String, contract: Contract) -> Target {
        Target { name, schema, statement, contract, is_referenced: false }
    }
}

impl Job {
    /// Where an engine writes the objects of a table.
    pub(crate) fn place_of(&self, target: &Target) -> String {
        format!("{}/{}", self.place, target.name)
    }
}

impl View {
    /// Rows that lie in objects, with the types of a schema.
    pub(crate) fn of_objects(
        name: &'static str,
        schema: SchemaRef,
        bucket: &Bucket,
        (format, keys): (Format, Vec<String>),
    ) -> View {
        let locations = keys.iter().map(|key| bucket.location(key)).collect();
        let (here, typed) = (bucket.clone(), schema.clone());
        let open: BatchSource = Arc::new(move || {
            let (bucket, schema, keys) = (here.clone(), typed.clone(), keys.clone());
            async move { Ok(read_all(bucket, format, keys, schema)) }.boxed()
        });
        View { name, schema, open, outside: Some(Outside::Objects { format, locations }) }
    }
}

impl Format {
    /// The end of an object's name.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Parquet => "parquet",
        }
    }

    /// An object with the types of a schema.
    pub(crate) async fn read(self, bucket: &Bucket, key: &str, schema: SchemaRef) -> TaskResult<Batches> {
        match self {
            Format::Csv => csv::read(bucket, key, schema, Csv::default()).await,
            Format::Parquet => parquet::read_as(bucket, key, schema).await,
        }
    }
}

/// One object after the other.
pub(crate) fn read_all(bucket: Bucket, format: Format, keys: Vec<String>, schema: SchemaRef) -> Batches {
    let typed = schema.clone();
    let each = futures::stream::iter(keys).then(move |key| {
        let (bucket, schema) = (bucket.clone(), typed.clone());
        async move { format.read(&bucket, &key, schema).await }
    });
    Batches::new(schema, each.try_flatten())
}

/// A type as statements of Spark call it.
pub(super) fn sql_type(of: &DataType) -> TaskResult<String> {
    Ok(match of {
        DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Utf8 => "STRING".into(),
        DataType::Date32 => "DATE".into(),
        DataType::Timestamp(_, None) => "TIMESTAMP_NTZ".into(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        other => return Err(fatal(format!("an engine elsewhere has no type `{other}`"))),
    })
}
