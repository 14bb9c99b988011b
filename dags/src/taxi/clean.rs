//! Cleaning: the rules that a row of a file must pass to count as a trip, and its conversion to a row of
//! `nyc_taxi.trips`.
//!
//! The rules read unrounded amounts from the file: a fare of 0.004 dollars is above 0.

use super::raw::RawTrips;
use super::schema::{SOURCE_FILE, TRIPS, file_type};
use crate::common::nyc::month::Month;
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use futures::StreamExt as _;
use orch::{TaskResult, fatal};
use orch_lake::batches::Batches;
use orch_lake::contract::{Contract, Policy};
use orch_lake::frame::conform;
use orch_lake::table::spec::Kind;
use std::sync::Arc;

/// Rules whose violation removes a row. Removed rows are counted.
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

/// Rules whose violations are only counted.
const WARNING: &[(&str, &str)] = &[
    ("negative_duration", "dropoff_datetime >= pickup_datetime"),
    ("out_of_month", "year = file_year AND month = file_month"),
];

/// Columns that only the rules read. They follow the columns of the table.
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
    month: NaiveDate,
    schema: SchemaRef,
}

impl Reader {
    pub(super) fn new(file: &RawTrips, month: Month) -> Reader {
        let found = file.mapping.found.iter().map(|(column, _)| Field::new(column.name, file_type(column), true));
        let added = ["year", "month", "day"].into_iter().chain(HELPERS);
        let added = added.map(|name| Field::new(name, DataType::Int32, true));
        let schema = Arc::new(Schema::new(found.chain(added).collect::<Vec<_>>()));
        Reader { file: file.clone(), month: month.first(), schema }
    }

    /// Returns the rows of the file with the columns that the rules read.
    pub(super) fn read(self, rows: Batches) -> Batches {
        let (schema, mut before) = (self.schema.clone(), 0);
        let read = rows.map(move |batch| {
            let batch = batch?;
            before += batch.num_rows();
            self.batch(&batch, before - batch.num_rows())
        });
        Batches::new(schema, read).ahead()
    }

    fn batch(&self, rows: &RecordBatch, before: usize) -> TaskResult<RecordBatch> {
        let mut columns = rows.columns().to_vec();
        for ((column, name), values) in self.file.mapping.found.iter().zip(&mut columns) {
            let Some(numbers) = values.as_primitive_opt() else { continue };
            let (known, problem) = match column.kind {
                Kind::Int => (known(numbers, is_int), "must be a whole number of 32 bits"),
                _ => (known(numbers, is_amount), "must be below 10,000,000,000"),
            };
            let unfit = |row| fatal(format!("{}: column `{name}` {problem}", self.file.row_name(before + row)));
            *values = Arc::new(known.map_err(unfit)?);
        }
        let (year, month, day) = calendar(rows["pickup_datetime"].as_primitive());
        let ints = |value: i32| Int32Array::from_value(value, rows.num_rows());
        let of_file = (ints(self.month.year()), ints(self.month.month().cast_signed()));
        let added = [year, month, day, of_file.0, of_file.1].map(|values| Arc::new(values) as ArrayRef);
        Ok(RecordBatch::try_new(self.schema.clone(), columns.into_iter().chain(added).collect())?)
    }
}

fn is_int(number: f64) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "a number that is cut off differs")]
    let whole = number as i32;
    number - f64::from(whole) == 0.0
}

/// Returns true if a number has at most 12 digits when it is rounded to hundredths.
fn is_amount(number: f64) -> bool {
    number.abs() < 9_999_999_999.995
}

/// Replaces NaN, which means "not known", by null. The error is the index of the first row with a number that does not
/// fit.
fn known(numbers: &Float64Array, fits: impl Fn(f64) -> bool) -> Result<Float64Array, usize> {
    // Not `all`: a loop without an early exit is several times faster.
    if numbers.values().iter().fold(true, |all, number| all & fits(*number)) {
        return Ok(numbers.clone());
    }
    let is_unfit = |number: Option<f64>| number.is_some_and(|number| !number.is_nan() && !fits(number));
    match numbers.iter().position(is_unfit) {
        Some(row) => Err(row),
        None => Ok(numbers.iter().map(|number| number.filter(|number| !number.is_nan())).collect()),
    }
}

/// Returns the year, month and day of the pickups. Most pickups have the same day as the previous one, so few dates are
/// computed.
fn calendar(pickups: &TimestampMicrosecondArray) -> (Int32Array, Int32Array, Int32Array) {
    const MICROS_PER_DAY: i64 = 86_400_000_000;
    const DAYS_BEFORE_1970: i64 = 719_163;
    let (mut day, mut date) = (0, NaiveDate::default());
    let dates = pickups.values().iter().map(|micros| {
        let of_pickup = micros.div_euclid(MICROS_PER_DAY);
        if of_pickup != day {
            day = of_pickup;
            let days = i32::try_from(day.saturating_add(DAYS_BEFORE_1970)).ok();
            date = days.and_then(NaiveDate::from_num_days_from_ce_opt).unwrap_or_default();
        }
        (date.year(), date.month().cast_signed(), date.day().cast_signed())
    });
    let (years, months, days): (Vec<i32>, Vec<i32>, Vec<i32>) = dates.collect();
    let column = |values: Vec<i32>| Int32Array::new(values.into(), pickups.nulls().cloned());
    (column(years), column(months), column(days))
}

/// Converts rows that have passed the rules to the columns and types of the table.
pub(super) fn trips_of(rows: Batches, schema: SchemaRef, source_file: String, now: DateTime<Utc>) -> Batches {
    let into = schema.clone();
    let trips = rows.map(move |batch| {
        let batch = batch?;
        let rows = batch.num_rows();
        let columns = into.fields().iter().map(|field| -> (&String, ArrayRef) {
            let column: ArrayRef = match field.name().as_str() {
                "load_date" => Arc::new(TimestampMicrosecondArray::from_value(now.timestamp_micros(), rows)),
                SOURCE_FILE => Arc::new(StringArray::new_repeated(&source_file, rows)),
                name => batch.column_by_name(name).cloned().unwrap_or_else(|| new_null_array(field.data_type(), rows)),
            };
            (field.name(), column)
        });
        conform(&RecordBatch::try_from_iter(columns)?, &into)
    });
    Batches::new(schema, trips)
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

    /// Cleans a file whose trips differ from a valid trip in one value each.
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
        let rows = Reader::new(&raw, month).read(raw.rows(&bucket).await?);
        let (kept, cleaned) = rules().check_on_the_way(Facts::at(DateTime::UNIX_EPOCH), rows, None);
        let trips = trips_of(kept, raw.mapping.trips_schema(), "x".into(), DateTime::UNIX_EPOCH).collect().await?;
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
