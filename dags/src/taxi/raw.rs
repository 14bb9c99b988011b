//! Files as they came: which format, what is in them, and their rows.

use super::schema::{Mapping, mapping};
use crate::common::nyc::month::Month;
use anyhow::ensure;
use arrow::datatypes::{Field, Schema, SchemaRef};
use orch::{TaskResult, fatal};
use orch_lake::batches::Batches;
use orch_lake::bucket::{Bucket, Entry};
use orch_lake::format::csv::{self, Csv};
use orch_lake::format::parquet;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What such a file begins with.
const PARQUET: &[u8] = b"PAR1";

/// A file in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawFile {
    /// By this its rows are known in the table: the name without its ending, so that a month is the same one as CSV and
    /// as Parquet.
    pub source_file: String,
    pub month: Month,
    pub key: String,
    pub bytes: u64,
    /// Of all bytes, in hexadecimal digits.
    pub sha256: String,
    /// Where it came from.
    pub from: String,
}

/// What a file is, without its rows.
#[derive(Debug, Clone)]
pub struct RawFileSummary {
    pub mapping: Mapping,
    /// Names and types of its columns, in its own order; of a CSV those of the columns that are known.
    schema: SchemaRef,
    /// Where the file says so itself.
    pub rows: Option<u64>,
    /// Of each column that is known, in the order of the mapping, where the file says so.
    pub nulls: Vec<Option<u64>>,
    object: Entry,
}

/// As its name says, else as it begins: not every server gives names that say it.
async fn is_parquet(bucket: &Bucket, file: &RawFile) -> TaskResult<bool> {
    match file.key.strip_suffix(".gz").unwrap_or(&file.key).rsplit_once('.') {
        Some((_, "parquet")) => Ok(true),
        Some((_, "csv")) => Ok(false),
        _ if file.bytes < PARQUET.len() as u64 => Ok(false),
        _ => Ok(bucket.range(&file.key, 0..PARQUET.len() as u64).await?.starts_with(PARQUET)),
    }
}

/// Looks at a file, and finds out which of its columns are which.
///
/// # Errors
/// A fatal error when the file is not whole, lacks a column, or has one of a type that cannot be.
pub async fn see(bucket: &Bucket, file: &RawFile) -> TaskResult<RawFileSummary> {
    let location = bucket.location(&file.key);
    let object = bucket.find(&file.key).await?.filter(|object| object.bytes == file.bytes);
    let Some(object) = object else {
        return Err(fatal(format!(
            "`{location}` is not what was extracted\nhint: clear `extract_taxi_data` of this run"
        )));
    };
    if !is_parquet(bucket, file).await? {
        let names = csv::names(bucket, &file.key, Csv::default()).await?;
        let mut mapping = mapping(&location, &names)?;
        let field = |name: &str, of| Field::new(name, of, true);
        let fields = mapping.found.iter().map(|found| field(&names[found.at], found.column.kind.text()));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        // Only these are read.
        mapping.found.iter_mut().enumerate().for_each(|(at, found)| found.at = at);
        let nulls = vec![None; mapping.found.len()];
        return Ok(RawFileSummary { mapping, schema, rows: None, nulls, object });
    }
    let look = parquet::read_footer(bucket, &file.key).await?;
    let names: Vec<String> = look.schema.fields().iter().map(|field| field.name().clone()).collect();
    let mapping = mapping(&location, &names)?;
    let unfit = mapping.found.iter().filter_map(|found| {
        let (of, kind) = (look.schema.field(found.at).data_type(), found.column.kind);
        (!kind.takes(of)).then(|| format!("has the type {of} in column `{}`, not {}", names[found.at], kind.arrow()))
    });
    let unfit: Vec<String> = unfit.collect();
    if !unfit.is_empty() {
        return Err(fatal(format!("`{location}` {}", unfit.join(", "))));
    }
    let nulls = mapping.found.iter().map(|found| look.nulls[found.at]).collect();
    Ok(RawFileSummary { mapping, schema: look.schema, rows: Some(look.rows), nulls, object })
}

/// The rows of a file, as `seen` says.
///
/// # Errors
/// It cannot be opened; later, in the stream: a line that does not fit.
pub async fn rows(bucket: &Bucket, file: &RawFile, seen: &RawFileSummary) -> TaskResult<Batches> {
    if is_parquet(bucket, file).await? {
        parquet::read(bucket, &file.key).await
    } else {
        csv::read(bucket, &file.key, seen.schema.clone(), Csv::default()).await
    }
}

impl RawFileSummary {
    /// After its rows were read: are they all of one file?
    ///
    /// # Errors
    /// Another run has brought the file anew meanwhile.
    pub async fn is_still(&self, bucket: &Bucket) -> TaskResult<()> {
        let now = bucket.find(&self.object.key).await?;
        ensure!(
            now.as_ref() == Some(&self.object),
            "`{}` was replaced while it was read",
            bucket.location(&self.object.key)
        );
        Ok(())
    }
}
