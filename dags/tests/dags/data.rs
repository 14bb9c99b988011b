//! RetailDB as test data: compressed files without headers, read into typed frames.

use arrow::datatypes::Field;
use flate2::read::GzDecoder;
use orch_dags::common::model::Model;
use orch_dags::retail::tables::{GOLD, RAW, SILVER};
use orch_lake::TableSpec;
use orch_lake::frame::sql::SqlFrames;
use orch_lake::frame::{empty_frame, from_batches};
use polars::prelude::*;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Returns true if the file exists, compressed or not.
pub(crate) fn exists(name: &str) -> bool {
    let path = folder().join(name);
    path.exists() || path.with_added_extension("gz").exists()
}

/// Returns the text of a file, which may be compressed.
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

#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub(crate) categories: DataFrame,
    pub(crate) customers: DataFrame,
    pub(crate) departments: DataFrame,
    pub(crate) order_items: DataFrame,
    pub(crate) orders: DataFrame,
    pub(crate) products: DataFrame,
}

pub(crate) fn raw() -> Raw {
    let [categories, customers, departments, order_items, orders, products] = RAW.each_ref().map(frame);
    Raw { categories, customers, departments, order_items, orders, products }
}

/// A table of silver or gold with its rows.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) model: &'static Model,
    pub(crate) frame: DataFrame,
}

/// Runs the SQL files of silver.
pub(crate) fn silver(raw: &Raw) -> Vec<Made> {
    let Raw { categories, customers, departments, order_items, orders, products } = raw.clone();
    let all = [categories, customers, departments, order_items, orders, products];
    made(&SILVER, RAW.iter().map(|table| table.name).zip(all))
}

/// Runs the SQL files of gold.
pub(crate) fn gold(silver: &[Made]) -> Vec<Made> {
    made(&GOLD, silver.iter().map(|made| (made.model.table.name, made.frame.clone())))
}

fn made(models: &'static [Model], inputs: impl Iterator<Item = (&'static str, DataFrame)>) -> Vec<Made> {
    let mut frames = SqlFrames::default();
    inputs.for_each(|(name, frame)| frames.set(name, frame));
    let run = |model: &'static Model| {
        let rows = frames.batches(model.statement, model.table.key, &model.table.schema()).unwrap();
        let frame = from_batches(&rows).unwrap();
        frames.set(model.table.name, frame.clone());
        Made { model, frame }
    };
    models.iter().map(run).collect()
}

fn frame(table: &TableSpec) -> DataFrame {
    let fields = table.column_names().map(|name| Field::new(name, arrow::datatypes::DataType::Utf8, true));
    let schema = arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
    let text = text(&format!("{}.csv", table.name));
    let batches = arrow::csv::ReaderBuilder::new(Arc::new(schema)).build(text.as_bytes()).unwrap();
    let read = from_batches(&batches.collect::<Result<Vec<_>, _>>().unwrap()).unwrap();
    let types = empty_frame(&table.schema()).unwrap();
    let typed = types.columns().iter().map(|column| typed(column.name(), column.dtype()));
    read.lazy().select(typed.collect::<Vec<_>>()).collect().unwrap()
}

fn typed(name: &str, of: &DataType) -> Expr {
    // In these files an empty field is an empty string, not null.
    let written = col(name).fill_null(lit(""));
    if matches!(of, DataType::Datetime(..)) {
        let format = StrptimeOptions { format: Some("%Y-%m-%d %H:%M:%S%.f".into()), ..StrptimeOptions::default() };
        return written.str().to_datetime(Some(TimeUnit::Microseconds), None, format, lit("raise"));
    }
    written.strict_cast(of.clone())
}
