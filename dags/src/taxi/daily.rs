//! Sums of trips by day: exact, in parts that can be added up, so that a month is summed while it is written.

use super::schema::daily_summary;
use crate::common::nyc::schema::HUNDREDTHS;
use arrow::array::RecordBatch;
use orch::TaskResult;
use orch_lake::Filter;
use orch_lake::frame::{from_batches, to_batches};
use polars::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What of a trip is summed up.
pub const SUMMED: [&str; 6] =
    ["pickup_datetime", "passenger_count", "trip_distance", "fare_amount", "tip_amount", "total_amount"];
const AMOUNTS: [&str; 4] = ["trip_distance", "fare_amount", "tip_amount", "total_amount"];

/// The sums of some trips: one row a day.
///
/// # Errors
/// Never, for trips of the table.
pub fn sums(trips: &[RecordBatch]) -> TaskResult<DataFrame> {
    let trips = trips.iter().map(|batch| {
        let columns = SUMMED.map(|name| batch.schema_ref().index_of(name));
        batch.project(&columns.into_iter().collect::<Result<Vec<_>, _>>()?)
    });
    let trips = from_batches(&trips.collect::<Result<Vec<_>, _>>()?)?;
    if trips.width() == 0 {
        return Ok(DataFrame::empty());
    }
    let mut sums = vec![
        len().cast(DataType::Int64).alias("total_trips"),
        col("passenger_count").cast(DataType::Int64).sum().alias("total_passengers"),
        // Of no tip there is no mean.
        col("tip_amount").count().cast(DataType::Int64).alias("tips"),
    ];
    sums.extend(AMOUNTS.map(|name| summed(col(name))));
    let days = trips.lazy().group_by([col("pickup_datetime").cast(DataType::Date).alias("trip_date")]);
    Ok(days.agg(sums).collect()?)
}

/// The same of several parts.
///
/// # Errors
/// Never, for what [`sums`] gives.
pub fn together(parts: Vec<DataFrame>) -> TaskResult<DataFrame> {
    let parts: Vec<LazyFrame> = parts.into_iter().filter(|part| part.width() > 0).map(IntoLazy::lazy).collect();
    if parts.is_empty() {
        return Ok(DataFrame::empty());
    }
    let mut sums = ["total_trips", "total_passengers", "tips"].map(|name| col(name).sum()).to_vec();
    sums.extend(AMOUNTS.map(|name| summed(col(name))));
    let all = concat(parts, UnionArgs::default())?;
    Ok(all.group_by([col("trip_date")]).agg(sums).sort(["trip_date"], SortMultipleOptions::default()).collect()?)
}

fn summed(amount: Expr) -> Expr {
    // As wide as it gets: no year of a city is too much.
    amount.cast(DataType::Decimal(38, HUNDREDTHS.1 as usize)).sum()
}

/// The days of these sums.
///
/// # Errors
/// Never, for what [`sums`] gives.
pub fn days(sums: &DataFrame) -> TaskResult<BTreeSet<chrono::NaiveDate>> {
    if sums.width() == 0 {
        return Ok(BTreeSet::new());
    }
    Ok(sums.column("trip_date")?.date()?.as_date_iter().flatten().collect())
}

/// The rows of `daily_summary`. A mean is the sum through the number, as everybody divides.
///
/// # Errors
/// Never, for what [`together`] gives.
pub fn summary(sums: DataFrame, updated_at: i64) -> TaskResult<Vec<RecordBatch>> {
    if sums.width() == 0 {
        return Ok(Vec::new());
    }
    let mean = |name: &str, of: &str| {
        (col(name).cast(DataType::Float64) / col(of).cast(DataType::Float64)).alias(format!("avg_{name}"))
    };
    let rows = sums.lazy().select([
        col("trip_date"),
        col("trip_date").dt().year().cast(DataType::Int32).alias("year"),
        col("trip_date").dt().month().cast(DataType::Int32).alias("month"),
        col("total_trips"),
        col("total_passengers"),
        mean("trip_distance", "total_trips"),
        mean("fare_amount", "total_trips"),
        when(col("tips").gt(lit(0))).then(mean("tip_amount", "tips")).otherwise(lit(NULL)).alias("avg_tip_amount"),
        mean("total_amount", "total_trips"),
        lit(updated_at).cast(DataType::Datetime(TimeUnit::Microseconds, None)).alias("last_updated"),
    ]);
    to_batches(rows.collect()?, &Arc::new(daily_summary()))
}

/// The rows of these days, by a column of dates or of times. `None`: there are no days.
pub fn on_days(column: &str, days: &BTreeSet<chrono::NaiveDate>) -> Option<Filter> {
    let mut spans: Vec<(chrono::NaiveDate, chrono::NaiveDate)> = Vec::new();
    for day in days {
        let next = day.succ_opt()?;
        match spans.last_mut() {
            Some((_, end)) if end == day => *end = next,
            _ => spans.push((*day, next)),
        }
    }
    let within = |(first, end): (chrono::NaiveDate, chrono::NaiveDate)| {
        Filter::ge(column, first.to_string().as_str()).and(Filter::lt(column, end.to_string().as_str()))
    };
    let spans: Vec<Filter> = spans.into_iter().map(within).collect();
    match spans.len() {
        0 | 1 => spans.into_iter().next(),
        _ => Some(Filter::Or(spans)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Decimal128Array, Int32Array, TimestampMicrosecondArray};

    fn trips(of: &[(i64, Option<i128>)]) -> RecordBatch {
        let amounts = |values: Vec<Option<i128>>| -> ArrayRef {
            let values = Decimal128Array::from(values).with_precision_and_scale(HUNDREDTHS.0, HUNDREDTHS.1);
            Arc::new(values.expect("hundredths"))
        };
        let times: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from_iter_values(of.iter().map(|(day, _)| day * 86_400_000_000 + 1)));
        let ones = || amounts(vec![Some(110); of.len()]);
        let passengers: ArrayRef = Arc::new(Int32Array::from(vec![2; of.len()]));
        let tips = amounts(of.iter().map(|(_, tip)| *tip).collect());
        let columns = SUMMED.into_iter().zip([times, passengers, ones(), ones(), tips, ones()]);
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, of)| (name, of, true))).expect("rows")
    }

    #[test]
    fn parts_come_to_the_same_as_the_whole() {
        let all = [(1, Some(100)), (0, None), (1, Some(250)), (1, None), (3, Some(0))];
        let whole = together(vec![sums(&[trips(&all)]).expect("sums")]).expect("sums");
        let parts = all.iter().map(|one| sums(&[trips(&[*one])]).expect("sums")).collect();
        let (one, other) =
            (summary(whole.clone(), 7).expect("rows"), summary(together(parts).expect("sums"), 7).expect("rows"));
        assert_eq!(one, other);
        let shown = arrow::util::display::array_value_to_string;
        let tips: Vec<String> = (0..3).map(|row| shown(&one[0]["avg_tip_amount"], row).expect("a value")).collect();
        assert_eq!(tips, ["", "1.75", "0.0"]);
        assert!(
            sums(&[]).expect("nothing").height() == 0
                && summary(together(vec![]).expect("nothing"), 7).expect("").is_empty()
        );

        let filter = on_days("trip_date", &days(&whole).expect("days")).expect("there are days").to_string();
        assert_eq!(
            filter,
            "((trip_date >= '1970-01-01') and (trip_date < '1970-01-03')) or \
             ((trip_date >= '1970-01-04') and (trip_date < '1970-01-05'))"
        );
    }
}
