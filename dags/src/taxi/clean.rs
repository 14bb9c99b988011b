//! The rules by which a row of a file is a trip, and what the table knows of a trip besides.
//!
//! A row without its times, or of no distance, fare, total or number of passengers that can be, is left out and
//! counted. A trip that ended before it began, or lies in another month than its file, stays: it is only told.

use super::schema::{COLUMNS, Column, Mapping, trips};
use super::typed::{Unfit, typed};
use crate::common::nyc::month::Month;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, RecordBatch, Scalar, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::kernels::cmp::{gt, gt_eq, lt, lt_eq};
use arrow::compute::{and, and_kleene, cast, filter_record_batch, is_not_null, is_null, or, or_kleene};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use chrono::Datelike;
use orch::{TaskResult, fatal};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const MOST_PASSENGERS: i32 = 6;
const MICROS_OF_A_DAY: i64 = 86_400_000_000;
/// Days from 0001-01-01 to 1970-01-01.
const DAYS_BEFORE_1970: i32 = 719_163;

/// What was found in the rows of a file. A row may count more than once; `dropped` counts each once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CleaningCounts {
    pub rows: u64,
    pub dropped: u64,
    pub no_time: u64,
    pub null_passenger: u64,
    pub zero_passenger: u64,
    pub many_passengers: u64,
    pub bad_distance: u64,
    pub bad_fare: u64,
    pub bad_total: u64,
    pub negative_duration: u64,
    pub out_of_month: u64,
}

/// Makes trips of the rows of one file.
#[derive(Debug)]
pub struct Cleaner {
    location: String,
    source_file: String,
    mapping: Mapping,
    month: (i64, i64),
    loaded_at: i64,
    schema: SchemaRef,
    pub found: CleaningCounts,
}

impl Cleaner {
    /// `loaded_at` in microseconds since 1970.
    pub fn new(location: &str, source_file: &str, mapping: Mapping, month: Month, loaded_at: i64) -> Cleaner {
        // Where the table wants a place there may still be none: the contract puts such a row aside.
        let fields = trips(&mapping.later())
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect::<Vec<_>>();
        let schema = Arc::new(Schema::new(fields));
        Cleaner {
            location: location.into(),
            source_file: source_file.into(),
            mapping,
            month: month.micros(),
            loaded_at,
            schema,
            found: CleaningCounts::default(),
        }
    }

    /// Of the batches it makes.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// # Errors
    /// A fatal error that names the row and the column of a value which does not fit.
    pub fn batch(&mut self, rows: &RecordBatch) -> TaskResult<RecordBatch> {
        let typed = self.typed(rows)?;
        let kept = self.judge(&typed, rows)?;
        self.found.rows += rows.num_rows() as u64;
        self.found.dropped += (rows.num_rows() - kept.true_count()) as u64;
        let typed = if kept.true_count() == rows.num_rows() { typed } else { filter_record_batch(&typed, &kept)? };
        Ok(self.with_added(&typed)?)
    }

    /// The columns of a trip, in the types of the table.
    fn typed(&self, rows: &RecordBatch) -> TaskResult<RecordBatch> {
        let of = |column: &'static Column| -> TaskResult<(&'static str, ArrayRef)> {
            let Some(at) = self.mapping.place_of(column) else {
                return Ok((column.name, new_null_array(&column.kind.arrow(), rows.num_rows())));
            };
            let values = typed(rows.column(at), column).map_err(|unfit| match unfit {
                Unfit::Arrow(error) => error.into(),
                Unfit::Row(row, problem) => {
                    let (number, name) = (self.found.rows + row as u64 + 1, rows.schema_ref().field(at).name().clone());
                    fatal(format!("`{}`, row {number}: column `{name}` {problem}", self.location))
                }
            });
            Ok((column.name, values?))
        };
        let columns = COLUMNS.iter().map(of).collect::<TaskResult<Vec<_>>>()?;
        let nullable = columns.into_iter().map(|(name, values)| (name, values, true));
        Ok(RecordBatch::try_from_iter_with_nullable(nullable)?)
    }

    /// Which rows are trips. Amounts are judged as the file has them: one of less than half a cent is there, though it is
    /// kept as zero.
    fn judge(&mut self, rows: &RecordBatch, file: &RecordBatch) -> Result<BooleanArray, ArrowError> {
        let column = |name: &str| &rows[name];
        let said = |name: &str| {
            let at = COLUMNS.iter().find(|column| column.name == name).and_then(|column| self.mapping.place_of(column));
            at.map_or_else(|| column(name).clone(), |at| file.column(at).clone())
        };
        let (pickup, dropoff) = (column("pickup_datetime"), column("dropoff_datetime"));
        let passengers = column("passenger_count");
        let number = |number: i32| Scalar::new(Int32Array::from(vec![number]));
        let moment = |micros: i64| Scalar::new(TimestampMicrosecondArray::from(vec![micros]));
        let nothing = Scalar::new(Float64Array::from(vec![0.0]));
        let found = &mut self.found;
        found.no_time += count(&or(&is_null(pickup)?, &is_null(dropoff)?)?);
        found.null_passenger += passengers.null_count() as u64;
        found.zero_passenger += count(&lt_eq(passengers, &number(0))?);
        found.many_passengers += count(&gt(passengers, &number(MOST_PASSENGERS))?);
        let mut kept = and(&is_not_null(pickup)?, &is_not_null(dropoff)?)?;
        for (name, bad) in [
            ("trip_distance", &mut found.bad_distance),
            ("fare_amount", &mut found.bad_fare),
            ("total_amount", &mut found.bad_total),
        ] {
            let amount = cast(&said(name), &DataType::Float64)?;
            // What is no number was never said.
            let is_said = is_not_null(column(name))?;
            *bad += count(&and_kleene(&is_said, &lt_eq(&amount, &nothing)?)?);
            kept = and_kleene(&kept, &and_kleene(&is_said, &gt(&amount, &nothing)?)?)?;
        }
        kept = and_kleene(&kept, &gt_eq(passengers, &number(1))?)?;
        kept = and_kleene(&kept, &lt_eq(passengers, &number(MOST_PASSENGERS))?)?;
        found.negative_duration += count(&lt(dropoff, pickup)?);
        let strays = or_kleene(&lt(pickup, &moment(self.month.0))?, &gt_eq(pickup, &moment(self.month.1))?)?;
        found.out_of_month += count(&strays);
        Ok(kept)
    }

    fn with_added(&self, trips: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let rows = trips.num_rows();
        let pickup = trips["pickup_datetime"].as_primitive::<TimestampMicrosecondType>();
        let mut calendar = Calendar::default();
        let mut part = |of: fn(&Calendar) -> i32| -> ArrayRef {
            let values = pickup.values().iter().map(|micros| {
                calendar.turn_to(*micros);
                of(&calendar)
            });
            Arc::new(Int32Array::from_iter_values(values))
        };
        let (year, month, day) = (part(|c| c.year), part(|c| c.month), part(|c| c.day));
        let columns = self.schema.fields().iter().map(|field| -> ArrayRef {
            match field.name().as_str() {
                "load_date" => Arc::new(TimestampMicrosecondArray::from(vec![self.loaded_at; rows])),
                "year" => year.clone(),
                "month" => month.clone(),
                "day" => day.clone(),
                "source_file" => {
                    Arc::new(StringArray::from_iter_values(std::iter::repeat_n(self.source_file.as_str(), rows)))
                }
                name => trips[name].clone(),
            }
        });
        RecordBatch::try_new(self.schema.clone(), columns.collect())
    }
}

/// Where a comparison is null there is nothing to count.
fn count(of: &BooleanArray) -> u64 {
    of.true_count() as u64
}

/// The day of a moment. Most rows are of the day of the row before.
#[derive(Default)]
struct Calendar {
    days: Option<i64>,
    year: i32,
    month: i32,
    day: i32,
}

impl Calendar {
    fn turn_to(&mut self, micros: i64) {
        let days = micros.div_euclid(MICROS_OF_A_DAY);
        if self.days == Some(days) {
            return;
        }
        self.days = Some(days);
        let date = i32::try_from(days).ok().and_then(|days| days.checked_add(DAYS_BEFORE_1970));
        let date = date.and_then(chrono::NaiveDate::from_num_days_from_ce_opt).unwrap_or_default();
        (self.year, self.month, self.day) = (date.year(), date.month().cast_signed(), date.day().cast_signed());
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::mapping;
    use super::*;

    const JANUARY: i64 = 1_546_300_800_000_000;

    /// One trip of a dollar and a mile at noon, and others that differ from it in one column.
    fn rows() -> (Vec<String>, RecordBatch) {
        let noon = JANUARY + MICROS_OF_A_DAY / 2;
        let differ: [(&str, Option<f64>); 8] = [
            ("passenger_count", None),
            ("passenger_count", Some(0.0)),
            ("passenger_count", Some(7.0)),
            ("trip_distance", Some(0.0)),
            ("fare_amount", Some(-1.0)),
            ("total_amount", Some(0.0)),
            ("tip_amount", None),
            ("extra", Some(-2.5)),
        ];
        let columns = COLUMNS.iter().map(|column| {
            let name = column.name;
            if name.ends_with("datetime") {
                // The fourth row ends before it begins, the seventh is of the month before, the eighth has no time.
                let times = (0..9).map(|row| match (row, name) {
                    (7, _) => Some(JANUARY - 1),
                    (8, "pickup_datetime") => None,
                    (3, "dropoff_datetime") => Some(noon - 1),
                    _ => Some(noon),
                });
                return (name, Arc::new(times.collect::<TimestampMicrosecondArray>()) as ArrayRef);
            }
            if name == "store_and_fwd_flag" {
                return (name, Arc::new(StringArray::from(vec!["N"; 9])) as ArrayRef);
            }
            let other =
                |row: usize| differ.get(row.wrapping_sub(1)).filter(|(of, _)| *of == name).map(|(_, value)| *value);
            let values: Float64Array = (0..9).map(|row| other(row).unwrap_or(Some(1.0))).collect();
            (name, Arc::new(values) as ArrayRef)
        });
        let rows = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, of)| (name, of, true))).expect("rows");
        (COLUMNS.iter().map(|column| column.name.to_string()).collect(), rows)
    }

    #[test]
    fn what_is_no_trip_is_counted_by_rule_and_left_out() {
        let (names, rows) = rows();
        let mapping = mapping("file:///x.parquet", &names).expect("all columns");
        let month = Month::parse("2019-01").expect("a month");
        let mut cleaner = Cleaner::new("file:///x.parquet", "x", mapping, month, 7);
        let trips = cleaner.batch(&rows).expect("they can be read");
        let one = |rows| CleaningCounts {
            rows,
            dropped: 7,
            no_time: 1,
            null_passenger: 1,
            zero_passenger: 1,
            ..CleaningCounts::default()
        };
        let found = CleaningCounts { many_passengers: 1, bad_distance: 1, bad_fare: 1, bad_total: 1, ..one(9) };
        assert_eq!(cleaner.found, CleaningCounts { negative_duration: 1, out_of_month: 1, ..found });
        let ints = |name: &str| trips[name].as_primitive::<arrow::datatypes::Int32Type>().values().to_vec();
        assert_eq!((ints("year"), ints("month"), ints("day")), (vec![2019, 2018], vec![1, 12], vec![1, 31]));
        assert!(trips["tip_amount"].is_null(1) && trips.schema() == cleaner.schema());
    }

    #[test]
    fn an_amount_is_judged_before_it_is_rounded() {
        let (names, rows) = rows();
        let mapping = mapping("file:///x.parquet", &names).expect("all columns");
        let mut columns = rows.columns().to_vec();
        let fares = [0.004, 0.005, 0.0, -0.004, f64::NAN, 1.0, 1.0, 1.0, 1.0];
        for (column, values) in COLUMNS.iter().zip(&mut columns) {
            match column.name {
                "fare_amount" => *values = Arc::new(Float64Array::from(fares.to_vec())),
                name if name.ends_with("datetime") => {
                    *values = Arc::new(TimestampMicrosecondArray::from(vec![JANUARY; 9]));
                }
                "store_and_fwd_flag" => {}
                _ => *values = Arc::new(Float64Array::from(vec![1.0; 9])),
            }
        }
        let rows = RecordBatch::try_new(rows.schema(), columns).expect("rows");
        let month = Month::parse("2019-01").expect("a month");
        let mut cleaner = Cleaner::new("file:///x.parquet", "x", mapping, month, 7);
        let trips = cleaner.batch(&rows).expect("they can be read");
        let cents = trips["fare_amount"].as_primitive::<arrow::datatypes::Decimal128Type>().values().to_vec();
        assert_eq!(cents, [0, 1, 100, 100, 100, 100]);
        assert_eq!((cleaner.found.bad_fare, cleaner.found.dropped), (2, 3), "no number is no bad fare, and no trip");
    }

    #[test]
    fn a_value_that_does_not_fit_is_told_with_its_row() {
        let (names, rows) = rows();
        let mapping = mapping("file:///x.parquet", &names).expect("all columns");
        let month = Month::parse("2019-01").expect("a month");
        let mut cleaner = Cleaner::new("file:///x.parquet", "x", mapping, month, 7);
        cleaner.batch(&rows).expect("they can be read");
        let mut columns = rows.columns().to_vec();
        columns[3] = Arc::new(Float64Array::from(vec![1.0, 1.0, 1.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]));
        let half = RecordBatch::try_new(rows.schema(), columns).expect("rows");
        let error = cleaner.batch(&half).expect_err("half a passenger").to_string();
        assert_eq!(error, "`file:///x.parquet`, row 12: column `passenger_count` is no whole number that fits");
    }
}
