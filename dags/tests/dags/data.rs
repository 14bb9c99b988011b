//! RetailDB as the tests have it: packed files without headers, read into typed frames.

use arrow::datatypes::Field;
use flate2::read::GzDecoder;
use orch_dags::retail::schema::{self, Table};
use orch_dags::retail::silver::Raw;
use orch_lake::frame::from_batches;
use polars::prelude::*;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// The text of a file, unpacked where it is packed.
pub(crate) fn text(name: &str) -> String {
    let path = folder().join(name);
    let packed = path.with_added_extension("gz");
    let mut text = String::new();
    if packed.exists() {
        GzDecoder::new(std::fs::File::open(packed).unwrap()).read_to_string(&mut text).unwrap();
    } else {
        text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    text
}

pub(crate) fn raw() -> Raw {
    Raw::from_tables(|name| frame(schema::raw(name).unwrap())).unwrap()
}

fn frame(table: &Table) -> PolarsResult<DataFrame> {
    let fields = table.columns.iter().map(|column| Field::new(column.name, arrow::datatypes::DataType::Utf8, true));
    let schema = arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
    let text = text(&format!("{}.csv", table.name));
    let batches = arrow::csv::ReaderBuilder::new(Arc::new(schema)).build(text.as_bytes()).unwrap();
    let read = from_batches(&batches.collect::<Result<Vec<_>, _>>().unwrap()).unwrap();
    read.lazy().select(table.columns.iter().map(typed).collect::<Vec<_>>()).collect()
}

fn typed(column: &schema::Column) -> Expr {
    // An empty text is one here.
    let written = col(column.name).fill_null(lit(""));
    if column.kind == schema::RetailColumnType::Time {
        let format = StrptimeOptions { format: Some("%Y-%m-%d %H:%M:%S%.f".into()), ..StrptimeOptions::default() };
        return written.str().to_datetime(Some(TimeUnit::Microseconds), None, format, lit("raise"));
    }
    written.strict_cast(column.kind.frame())
}
