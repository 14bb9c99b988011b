//! Cleaning: the rules by which a row of a file is a trip, and the row that `nyc_taxi.trips` gets.
//!
//! The rules read amounts as the file has them, before they are rounded to hundredths: a fare of 0.004 dollars is above 0.

use super::raw::RawTrips;
use super::schema::{SOURCE_FILE, TRIPS, file_type};
use crate::common::nyc::month::Month;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::{DateTime, Datelike as _, Utc};
use futures::StreamExt as _;
use orch::{TaskResult, fatal};
use orch_lake::batches::Batches;
use orch_lake::contract::{Contract, Policy};
use orch_lake::frame::sql::expression;
use orch_lake::frame::{conform, from_batches, to_batches};
use polars::prelude::{DataType as Type, Expr, IntoLazy as _, NULL, TimeUnit, col, lit};
use std::sync::Arc;

/// Rows that break one of these rules are removed and counted.
const REMOVING: [(&str, &str); 8] = [
    ("no_time", "pickup_datetime IS NOT NULL AND dropoff_datetime IS NOT NULL"),
    ("null_passenger", "passenger_count IS NOT NULL"),
    ("zero_passenger", "passenger_count > 0"),
    ("many_passengers", "passenger_count <= 6"),
    ("null_amount", "trip_distance IS NOT NULL AND fare_amount IS NOT NULL AND total_amount IS NOT NULL"),
    ("bad_distance", "trip_distance > 0"),
    ("bad_fare", "fare_amount > 0"),
    ("bad_total", "total_amount > 0"),
];

/// Rows that break one of these rules are counted and kept.
const WARNING: [(&str, &str); 2] = [
    ("negative_duration", "dropoff_datetime >= pickup_datetime"),
    ("out_of_month", "year = file_year AND month = file_month"),
];

/// Columns for the rules alone: they follow the columns of the table.
const HELPERS: [&str; 2] = ["file_year", "file_month"];

pub fn rules() -> Contract {
    Contract::of(TRIPS.uri()).rules(REMOVING).or_remove().rules(WARNING).or(Policy::Warn)
}

/// Prepares the rows of one file for the [`rules`].
#[derive(Debug)]
pub struct Reader {
    file: RawTrips,
    schema: SchemaRef,
    columns: Vec<Expr>,
    /// For each column that is stored with another type: its name in the file, the condition that a value fits, and the
    /// problem if it does not.
    fits: Vec<(String, Expr, &'static str)>,
}

impl Reader {
    /// # Errors
    /// Returns an error if a condition cannot be parsed.
    pub fn new(file: &RawTrips, source_file: &str, month: Month, now: DateTime<Utc>) -> TaskResult<Reader> {
        let found = |name: &str| file.mapping.found.iter().find(|(column, _)| column.name == name);
        let field = |field: &Arc<Field>| match found(field.name()) {
            Some((column, _)) => Field::new(column.name, file_type(column), true),
            None => field.as_ref().clone(),
        };
        let trips: Vec<Field> = file.mapping.trips_schema().fields().iter().map(field).collect();
        let helpers = HELPERS.map(|name| Field::new(name, DataType::Int32, false));
        let first = month.first();
        let value = |field: &Field| match (field.name().as_str(), field.data_type()) {
            ("year", _) => col("pickup_datetime").dt().year(),
            ("month", _) => col("pickup_datetime").dt().month(),
            ("day", _) => col("pickup_datetime").dt().day(),
            ("load_date", _) => lit(now.timestamp_micros()).cast(Type::Datetime(TimeUnit::Microseconds, None)),
            (SOURCE_FILE, _) => lit(source_file),
            ("file_year", _) => lit(first.year()),
            ("file_month", _) => lit(first.month().cast_signed()),
            (name, _) if found(name).is_none() => lit(NULL),
            // NaN means "not known".
            (name, DataType::Float64) => col(name).fill_nan(lit(NULL)),
            (name, _) => col(name),
        };
        let fields: Vec<Field> = trips.into_iter().chain(helpers).collect();
        let columns = fields.iter().map(|field| value(field).alias(field.name().as_str())).collect();
        let fits = file.mapping.found.iter().filter_map(|(column, name)| {
            let (condition, problem) = match column.kind.arrow() {
                DataType::Int32 => ("x = FLOOR(x) AND ABS(x) <= 2147483647", "is no whole number that fits"),
                DataType::Decimal128(..) => ("ABS(x) < 9999999999.995", "is no amount that fits"),
                _ => return None,
            };
            let condition = expression(&condition.replace('x', column.name));
            Some(condition.map(|fits| (name.clone(), fits.alias(column.name), problem)))
        });
        let fits = fits.collect::<TaskResult<_>>()?;
        Ok(Reader { file: file.clone(), schema: Arc::new(Schema::new(fields)), columns, fits })
    }

    /// The rows of the file with the columns that the rules read.
    pub fn read(self, rows: Batches) -> Batches {
        let (schema, mut before) = (self.schema.clone(), 0);
        let read = rows.map(move |batch| {
            let batch = batch?;
            let read = self.batch(&batch, before)?;
            before += batch.num_rows();
            Ok(read)
        });
        Batches::new(schema, read)
    }

    fn batch(&self, rows: &RecordBatch, before: usize) -> TaskResult<RecordBatch> {
        let mut read = from_batches(std::slice::from_ref(rows))?.lazy().select(self.columns.clone()).collect()?;
        let fits: Vec<Expr> = self.fits.iter().map(|(_, fits, _)| fits.clone()).collect();
        let fits = read.clone().lazy().select(fits).collect()?;
        for (column, (name, _, problem)) in fits.columns().iter().zip(&self.fits) {
            let fits = column.bool()?;
            if let Some(row) = (!fits.all()).then(|| fits.iter().position(|fits| fits == Some(false))).flatten() {
                return Err(fatal(format!("{}: column `{name}` {problem}", self.file.row_name(before + row))));
            }
        }
        read.rechunk_mut();
        Ok(to_batches(read, &self.schema)?.swap_remove(0))
    }
}

/// Rows that have passed the rules, with the columns and types of the table.
pub fn trips_of(rows: Batches, schema: SchemaRef) -> Batches {
    let (columns, into): (Vec<usize>, _) = ((0..schema.fields().len()).collect(), schema.clone());
    Batches::new(schema, rows.map(move |batch| conform(&batch?.project(&columns)?, &into)))
}

#[cfg(test)]
mod tests {
    use super::super::raw::Footer;
    use super::super::schema::{file_columns, map_columns};
    use super::*;
    use arrow::util::display::array_value_to_string;
    use orch_lake::bucket::Entry;
    use orch_lake::contract::Facts;
    use polars::prelude::{Column, DataFrame, IntoColumn as _, NamedFrom as _, Series};

    const NOON: i64 = 1_546_344_000_000_000;

    /// Trips of one dollar and one mile at noon of 2019-01-01, with other values in some columns.
    fn rows(file: &RawTrips, count: usize, other: &[(&str, usize, Option<f64>)]) -> RecordBatch {
        let columns = file_columns().map(|column| {
            let usual = if file_type(column) == DataType::Float64 { 1.0 } else { NOON as f64 };
            let mut values = vec![Some(usual); count];
            other.iter().filter(|(name, ..)| *name == column.name).for_each(|(_, row, value)| values[*row] = *value);
            let series = Series::new(column.name.into(), values);
            let cast = match file_type(column) {
                DataType::Timestamp(..) => series
                    .cast(&Type::Int64)
                    .and_then(|micros| micros.cast(&Type::Datetime(TimeUnit::Microseconds, None))),
                DataType::Float64 => Ok(series),
                _ => series.cast(&Type::String),
            };
            cast.expect("a column").into_column()
        });
        let frame = DataFrame::new(count, columns.collect::<Vec<Column>>()).expect("a frame");
        to_batches(frame, &file.schema()).expect("rows").swap_remove(0)
    }

    fn file() -> (RawTrips, Reader) {
        let names: Vec<String> = file_columns().map(|column| column.name.to_string()).collect();
        let mapping = map_columns("x", &names).expect("all columns");
        let object = Entry { key: "x".into(), bytes: 1, modified: DateTime::UNIX_EPOCH, e_tag: None };
        let footer = Some(Footer { rows: 0, nulls: Vec::new() });
        let file = RawTrips { location: "file:///x.parquet".into(), object, mapping, footer };
        let month = Month::parse("2019-01").expect("a month");
        let reader = Reader::new(&file, "x", month, DateTime::UNIX_EPOCH).expect("a reader");
        (file, reader)
    }

    #[tokio::test]
    async fn rules_count_rows_and_remove_those_that_are_not_trips() {
        let (file, reader) = file();
        let before = Some((NOON - 86_400_000_000) as f64);
        let other = [
            ("passenger_count", 1, None),
            ("passenger_count", 2, Some(0.0)),
            ("passenger_count", 3, Some(7.0)),
            ("dropoff_datetime", 3, before),
            ("trip_distance", 4, Some(0.0)),
            ("fare_amount", 5, Some(-0.004)),
            ("total_amount", 6, Some(0.0)),
            ("pickup_datetime", 7, before),
            ("tip_amount", 7, None),
            ("pickup_datetime", 8, None),
            ("fare_amount", 9, Some(f64::NAN)),
            ("fare_amount", 10, Some(0.004)),
            ("fare_amount", 11, Some(0.005)),
            ("fare_amount", 12, Some(0.1 + 0.2)),
        ];
        let rows = Batches::from(rows(&file, 13, &other));
        let (kept, cleaned) = rules().check_on_the_way(Facts::at(DateTime::UNIX_EPOCH), reader.read(rows), None);
        let trips = trips_of(kept, file.mapping.trips_schema()).collect().await.expect("trips");
        let removed = cleaned.take().expect("all rows were checked").report.removed;
        assert_eq!((removed.rows, removed.by_rule.len()), (8, REMOVING.len() + WARNING.len()));
        assert!(removed.by_rule.values().all(|rows| *rows == 1), "{removed:?}");
        let text = |row, name: &str| array_value_to_string(&trips[name], row).expect("it can be shown");
        let fares: Vec<String> = (0..5).map(|row| text(row, "fare_amount")).collect();
        assert_eq!(fares, ["1.00", "1.00", "0.00", "0.01", "0.30"]);
        assert_eq!(["year", "month", "day", "tip_amount"].map(|name| text(1, name)), ["2018", "12", "31", ""]);
    }

    #[tokio::test]
    async fn a_value_that_does_not_fit_is_reported_with_its_row() {
        for (name, value, problem) in [
            ("passenger_count", 1.5, "is no whole number that fits"),
            ("payment_type", 3e9, "is no whole number that fits"),
            ("fare_amount", 1e10, "is no amount that fits"),
            ("tip_amount", f64::INFINITY, "is no amount that fits"),
        ] {
            let (file, reader) = file();
            let bad = rows(&file, 3, &[(name, 1, Some(value))]);
            let batches = Batches::from(vec![rows(&file, 3, &[]), bad]);
            let error = reader.read(batches).collect().await.expect_err("the value does not fit").to_string();
            assert_eq!(error, format!("`file:///x.parquet`, row 5: column `{name}` {problem}"));
        }
    }
}
