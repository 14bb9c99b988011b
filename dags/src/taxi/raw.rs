//! Downloaded files in the bucket: their format, columns and rows.

use super::schema::{Mapping, file_type, is_readable, map_columns};
use crate::common::nyc::month::Month;
use anyhow::ensure;
use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use futures::StreamExt as _;
use orch::{TaskResult, fatal};
use orch_lake::batches::Batches;
use orch_lake::bucket::{Bucket, Entry};
use orch_lake::format::csv::{self, Csv};
use orch_lake::format::parquet::{self, ParquetFooter};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// First bytes of every Parquet file.
const PARQUET: &[u8] = b"PAR1";

/// A file in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawFile {
    /// File name without its extension, so that a month as CSV replaces the same month as Parquet.
    pub source_file: String,
    pub month: Month,
    pub key: String,
    pub bytes: u64,
    /// Hexadecimal SHA-256 of the content.
    pub sha256: String,
    /// Address that the file was downloaded from.
    pub from: String,
}

/// A file whose columns were identified.
#[derive(Debug, Clone)]
pub struct RawTrips {
    location: String,
    object: Entry,
    pub mapping: Mapping,
    /// Footer of a Parquet file; `None` for CSV.
    pub footer: Option<ParquetFooter>,
}

/// Determines the format by the file name, or by the first bytes if the name has no known extension.
async fn is_parquet(bucket: &Bucket, file: &RawFile) -> TaskResult<bool> {
    match file.key.strip_suffix(".gz").unwrap_or(&file.key).rsplit_once('.') {
        Some((_, "parquet")) => Ok(true),
        Some((_, "csv")) => Ok(false),
        _ if file.bytes < PARQUET.len() as u64 => Ok(false),
        _ => Ok(bucket.range(&file.key, 0..PARQUET.len() as u64).await?.starts_with(PARQUET)),
    }
}

/// Finds the trip columns of a file.
pub(super) async fn inspect(bucket: &Bucket, file: &RawFile) -> TaskResult<RawTrips> {
    let location = bucket.location(&file.key);
    let object = bucket.find(&file.key).await?.filter(|object| object.bytes == file.bytes);
    let Some(object) = object else {
        return Err(fatal(format!(
            "`{location}` is not what was extracted\nhint: clear `extract_taxi_data` of this run"
        )));
    };
    if !is_parquet(bucket, file).await? {
        let names = csv::names(bucket, &file.key, Csv::default()).await?;
        return Ok(RawTrips { mapping: map_columns(&location, &names)?, location, object, footer: None });
    }
    let footer = parquet::read_footer(bucket, &file.key).await?;
    let names: Vec<String> = footer.schema.fields().iter().map(|field| field.name().clone()).collect();
    let mapping = map_columns(&location, &names)?;
    let unreadable = mapping.found.iter().filter_map(|(column, name)| {
        let of = footer.schema.field_with_name(name).expect("the name is from this schema").data_type();
        let wanted = column.kind.arrow();
        (!is_readable(column, of)).then(|| format!("has the type {of} in column `{name}`, not {wanted}"))
    });
    let unreadable: Vec<String> = unreadable.collect();
    if !unreadable.is_empty() {
        return Err(fatal(format!("`{location}` {}", unreadable.join(", "))));
    }
    Ok(RawTrips { location, object, mapping, footer: Some(footer) })
}

impl RawTrips {
    /// Reads all rows, with the trip columns of the file, named as in the table.
    pub(super) async fn rows(&self, bucket: &Bucket) -> TaskResult<Batches> {
        let (mut in_file, mut named) = (Vec::new(), Vec::new());
        for (column, name) in &self.mapping.found {
            in_file.push(Field::new(name, file_type(column), true));
            named.push(Field::new(column.name, file_type(column), true));
        }
        let (in_file, named) = (Arc::new(Schema::new(in_file)), Arc::new(Schema::new(named)));
        let key = &self.object.key;
        let rows = match self.footer {
            Some(_) => parquet::read_as(bucket, key, in_file).await?,
            None => csv::read(bucket, key, in_file, Csv::default()).await?,
        };
        let schema = named.clone();
        let rows = rows.map(move |batch| Ok(RecordBatch::try_new(named.clone(), batch?.columns().to_vec())?));
        Ok(Batches::new(schema, rows))
    }

    /// Returns the name of a row for an error message. `row` counts from 0; the first line of a CSV file is the header.
    pub(super) fn row_name(&self, row: usize) -> String {
        match self.footer {
            Some(_) => format!("`{}`, row {}", self.location, row + 1),
            None => format!("`{}`, line {}", self.location, row + 2),
        }
    }

    /// Checks after a read that the object was not replaced during it.
    pub(super) async fn check_unchanged(&self, bucket: &Bucket) -> TaskResult<()> {
        let now = bucket.find(&self.object.key).await?;
        ensure!(now.as_ref() == Some(&self.object), "`{}` was replaced while it was read", self.location);
        Ok(())
    }
}
