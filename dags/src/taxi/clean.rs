//! Cleaning: the rules by which a row of a file is a trip, and the row that `nyc_taxi.trips` gets.
//!
//! The rules read amounts as the file has them, before they are rounded to hundredths: a fare of 0.004 dollars is above 0.

use super::raw::RawTrips;
use super::schema::{SOURCE_FILE, TRIPS, file_type};
use crate::common::nyc::month::Month;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use orch::{TaskResult, fatal};
use orch_lake::batches::Batches;
use orch_lake::contract::{Contract, Policy};
use orch_lake::frame::sql::expression;
use orch_lake::frame::{blocking, conform, empty_frame, from_batches, to_batches};
use polars::prelude::{
    ChunkedArray, DataFrame, DataType as Type, Expr, Int32Chunked, IntoColumn as _, IntoLazy as _, NULL, TimeUnit, col,
    lit,
};
use std::sync::Arc;

/// Rows that break one of these rules are removed and counted.
const REMOVING: &[(&str, &str)] = &[
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
const WARNING: &[(&str, &str)] = &[
    ("negative_duration", "dropoff_datetime >= pickup_datetime"),
    ("out_of_month", "year = file_year AND month = file_month"),
];

/// Columns for the rules alone: they follow the columns of the table.
const HELPERS: [&str; 2] = ["file_year", "file_month"];

pub(super) fn rules() -> Contract {
    Contract::of(TRIPS.uri())
        .rules(REMOVING.iter().copied())
        .or_remove()
        .rules(WARNING.iter().copied())
        .or(Policy::Warn)
}

/// Prepares the rows of one file for the [`rules`].
#[derive(Debug)]
pub struct Reader {
    file: RawTrips,
    schema: SchemaRef,
    columns: Vec<Expr>,
    /// For each column that is stored with another type: its name in the file, the condition that all values fit, that one
    /// value fits, and the problem if it does not.
    fits: Vec<(String, Expr, Expr, &'static str)>,
}

impl Reader {
    pub(super) fn new(file: &RawTrips, source_file: &str, month: Month, now: DateTime<Utc>) -> TaskResult<Reader> {
        let found = |name: &str| file.mapping.found.iter().find(|(column, _)| column.name == name);
        let field = |field: &Arc<Field>| match found(field.name()) {
            Some((column, _)) => Field::new(column.name, file_type(column), true),
            None => field.as_ref().clone(),
        };
        let trips: Vec<Field> = file.mapping.trips_schema().fields().iter().map(field).collect();
        let helpers = HELPERS.map(|name| Field::new(name, DataType::Int32, false));
        let first = month.first();
        let value = |field: &Field| match (field.name().as_str(), field.data_type()) {
            (name @ ("year" | "month" | "day"), _) => col(name),
            ("load_date", _) => lit(now.timestamp_micros()).cast(Type::Datetime(TimeUnit::Microseconds, None)),
            (SOURCE_FILE, _) => lit(source_file),
            ("file_year", _) => lit(first.year()),
            ("file_month", _) => lit(first.month().cast_signed()),
            (name, _) if found(name).is_none() => lit(NULL),
            (name, _) => col(name),
        };
        let fields: Vec<Field> = trips.into_iter().chain(helpers).collect();
        let schema = Arc::new(Schema::new(fields));
        let types = empty_frame(&schema)?;
        let typed = schema.fields().iter().zip(types.columns());
        let columns =
            typed.map(|(field, of)| value(field).cast(of.dtype().clone()).alias(field.name().as_str())).collect();
        let fits = file.mapping.found.iter().filter_map(|(column, name)| {
            let (fit, fits, problem) = match column.kind.arrow() {
                DataType::Int32 => {
                    let fits = "x = FLOOR(x) AND ABS(x) <= 2147483647";
                    (None, fits, "must be a whole number of 32 bits")
                }
                DataType::Decimal128(..) => {
                    let fit = "MIN(x) > -9999999999.995 AND MAX(x) < 9999999999.995";
                    (Some(fit), "ABS(x) < 9999999999.995", "must be below 10,000,000,000")
                }
                _ => return None,
            };
            let parsed = |text: &str| Ok(expression(&text.replace('x', column.name))?.alias(column.name));
            let all = || fit.map_or_else(|| Ok(parsed(fits)?.all(true)), parsed);
            Some(all().and_then(|all| Ok((name.clone(), all, parsed(fits)?, problem))))
        });
        let fits = fits.collect::<TaskResult<_>>()?;
        Ok(Reader { file: file.clone(), schema, columns, fits })
    }

    /// The rows of the file with the columns that the rules read.
    pub(super) fn read(self, rows: Batches) -> Batches {
        let (schema, reader, mut before) = (self.schema.clone(), Arc::new(self), 0);
        let read = rows.and_then(move |batch| {
            let (reader, first) = (reader.clone(), before);
            before += batch.num_rows();
            blocking(move |_| reader.batch(&batch, first))
        });
        Batches::new(schema, read).ahead()
    }

    fn batch(&self, rows: &RecordBatch, before: usize) -> TaskResult<RecordBatch> {
        let mut rows = from_batches(std::slice::from_ref(rows))?;
        if has_nan(&rows) {
            // NaN means "not known".
            rows = rows.lazy().fill_nan(lit(NULL)).collect()?;
        }
        let rows = with_calendar(rows)?;
        let mut read = rows.lazy().select(self.columns.clone()).collect()?;
        let all: Vec<Expr> = self.fits.iter().map(|(_, all, ..)| all.clone()).collect();
        let all = read.clone().lazy().select(all).collect()?;
        for (fit, (name, _, fits, problem)) in all.columns().iter().zip(&self.fits) {
            if fit.bool()?.all() {
                continue;
            }
            let fits = read.clone().lazy().select([fits.clone()]).collect()?;
            if let Some(row) = fits.columns()[0].bool()?.iter().position(|fits| fits == Some(false)) {
                return Err(fatal(format!("{}: column `{name}` {problem}", self.file.row_name(before + row))));
            }
        }
        read.rechunk_mut();
        Ok(to_batches(read, &self.schema)?.swap_remove(0))
    }
}

fn has_nan(rows: &DataFrame) -> bool {
    let floats = rows.columns().iter().filter_map(|column| column.f64().ok());
    // Not `any`: a loop without an early end is several times faster.
    let has = |values: &[f64]| values.iter().fold(false, |has, value| has | value.is_nan());
    floats.flat_map(ChunkedArray::downcast_iter).any(|chunk| has(chunk.values()))
}

/// Adds the year, month and day of the pickups. Most pickups have the day of the one before, so few dates are computed.
fn with_calendar(mut rows: DataFrame) -> TaskResult<DataFrame> {
    const MICROS_PER_DAY: i64 = 86_400_000_000;
    const DAYS_BEFORE_1970: i64 = 719_163;
    let pickups = rows.column("pickup_datetime")?.cast(&Type::Datetime(TimeUnit::Microseconds, None))?;
    let pickups = pickups.datetime()?.physical().rechunk();
    let (mut day, mut date) = (0, NaiveDate::default());
    let dates = pickups.iter().map(|micros| {
        let of_pickup = micros.unwrap_or_default().div_euclid(MICROS_PER_DAY);
        if of_pickup != day {
            day = of_pickup;
            let days = i32::try_from(day.saturating_add(DAYS_BEFORE_1970)).ok();
            date = days.and_then(NaiveDate::from_num_days_from_ce_opt).unwrap_or_default();
        }
        (date.year(), date.month().cast_signed(), date.day().cast_signed())
    });
    let (years, months, days): (Vec<i32>, Vec<i32>, Vec<i32>) = dates.collect();
    let validity = pickups.downcast_iter().next().and_then(|chunk| chunk.validity().cloned());
    for (name, values) in [("year", years), ("month", months), ("day", days)] {
        rows.with_column(Int32Chunked::from_vec_validity(name.into(), values, validity.clone()).into_column())?;
    }
    Ok(rows)
}

/// Rows that have passed the rules, with the columns and types of the table.
pub(super) fn trips_of(rows: Batches, schema: SchemaRef) -> Batches {
    let (columns, into): (Vec<usize>, _) = ((0..schema.fields().len()).collect(), schema.clone());
    Batches::new(schema, rows.map(move |batch| conform(&batch?.project(&columns)?, &into)))
}

#[cfg(test)]
mod tests {
    use super::super::raw::{RawFile, inspect};
    use super::super::schema::file_columns;
    use super::*;
    use arrow::util::display::array_value_to_string;
    use orch_lake::bucket::{Bucket, Options};
    use orch_lake::contract::{Facts, Removed};
    use tempfile::TempDir;

    /// Cleans a file whose trips differ from a usual one by one value each.
    async fn clean(differences: &[(&str, &str)]) -> TaskResult<(RecordBatch, Removed)> {
        let names: Vec<&str> = file_columns().map(|column| column.name).collect();
        let line = |(column, value): &(&str, &str)| {
            let cells = names.iter().map(|name| match *name {
                name if name == *column => *value,
                "pickup_datetime" | "dropoff_datetime" => "2019-01-01 12:00:00",
                _ => "1",
            });
            cells.collect::<Vec<_>>().join(",")
        };
        let lines: Vec<String> = [names.join(",")].into_iter().chain(differences.iter().map(line)).collect();
        let (text, folder) = (lines.join("\n"), TempDir::new()?);
        let bucket = Bucket::open(&format!("file://{}", folder.path().display()), &Options::default())?;
        bucket.put("x.csv", text.clone()).await?;
        let month = Month::parse("2019-01")?;
        let (source_file, key, bytes) = ("x".into(), "x.csv".into(), text.len() as u64);
        let file = RawFile { source_file, month, key, bytes, sha256: String::new(), from: String::new() };
        let raw = inspect(&bucket, &file).await?;
        let rows = Reader::new(&raw, "x", month, DateTime::UNIX_EPOCH)?.read(raw.rows(&bucket).await?);
        let (kept, cleaned) = rules().check_on_the_way(Facts::at(DateTime::UNIX_EPOCH), rows, None);
        let trips = trips_of(kept, raw.mapping.trips_schema()).collect().await?;
        Ok((trips, cleaned.take().expect("all rows were checked").report.removed))
    }

    #[tokio::test]
    async fn rules_count_rows_and_remove_those_that_are_not_trips() {
        let differences = [
            ("passenger_count", ""),
            ("passenger_count", "0"),
            ("passenger_count", "7"),
            ("trip_distance", "0"),
            ("fare_amount", "-0.004"),
            ("total_amount", "-1"),
            ("fare_amount", "NaN"),
            ("dropoff_datetime", ""),
            ("dropoff_datetime", "2019-01-01 11:59:59"),
            ("pickup_datetime", "2018-12-31 00:00:00"),
            ("fare_amount", "0.004"),
            ("fare_amount", "0.005"),
            ("fare_amount", "0.30000000000000004"),
        ];
        let (trips, removed) = clean(&differences).await.expect("all values fit");
        assert_eq!((removed.rows, removed.by_rule.len()), (8, REMOVING.len() + WARNING.len()));
        assert!(removed.by_rule.values().all(|rows| *rows == 1), "{removed:?}");
        let text = |row, name: &str| array_value_to_string(&trips[name], row).expect("it can be shown");
        assert_eq!([0, 1, 2, 3, 4].map(|row| text(row, "fare_amount")), ["1.00", "1.00", "0.00", "0.01", "0.30"]);
        assert_eq!(["year", "month", "day"].map(|name| text(1, name)), ["2018", "12", "31"]);
    }

    #[tokio::test]
    async fn a_value_that_does_not_fit_is_reported_with_its_line() {
        for (name, value, problem) in [
            ("passenger_count", "1.5", "must be a whole number of 32 bits"),
            ("payment_type", "3e9", "must be a whole number of 32 bits"),
            ("fare_amount", "1e10", "must be below 10,000,000,000"),
            ("tip_amount", "inf", "must be below 10,000,000,000"),
        ] {
            let error = clean(&[("", ""), (name, value)]).await.expect_err("the value does not fit").to_string();
            assert!(error.ends_with(&format!("x.csv`, line 3: column `{name}` {problem}")), "{error}");
        }
    }
}
