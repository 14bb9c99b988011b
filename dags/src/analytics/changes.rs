//! The change log of the taxi database, read as the events that `realtime` counts.

use super::realtime::Event;
use crate::common::nyc::days::{Days, day_of};
use crate::common::nyc::grid::HOUR;
use crate::common::nyc::sources::{hundredths, ints, longs};
use arrow::array::{Array as _, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use chrono::{NaiveDate, TimeDelta};
use futures::TryStreamExt as _;
use iceberg::spec::{Datum, PrimitiveLiteral};
use orch::{Ctx, TaskResult, fatal};
use orch_lake::{Filter, Table};
use std::collections::HashMap;

/// Every change of a trip in the taxi database.
pub const CHANGES: &str = "taxi_cdc.trips_cdc";

/// The newest day of the change log. `None`: the log has no rows yet. Each file says what its newest row
/// is, so no rows are read.
///
/// # Errors
/// The lake cannot be read, or the table has other columns.
pub async fn newest_change(changes: &Table) -> TaskResult<Option<NaiveDate>> {
    let column = changes.schema().field_id_by_name("event_ts");
    let column = column.ok_or_else(|| fatal(format!("`{CHANGES}` has no column `event_ts`")))?;
    let mut newest = None;
    for file in changes.plan(&Filter::All).await?.files {
        match file.file.data().upper_bounds().get(&column).map(Datum::literal) {
            Some(PrimitiveLiteral::Long(micros)) => newest = newest.max(Some(*micros)),
            _ => return Err(fatal(format!("`{}` does not say when its newest event was", file.file.path()))),
        }
    }
    Ok(newest.map(day_of))
}

/// Trips that were made or changed on these days and in the hour before, by the time of the event. Each event once, by its
/// place in the topic.
///
/// # Errors
/// The lake cannot be read, or the table has other columns.
pub async fn events(ctx: &Ctx, changes: &Table, days: Days) -> TaskResult<Vec<Event>> {
    let columns = [
        "op",
        "event_ts",
        "kafka_partition",
        "kafka_offset",
        "vendor_id",
        "trip_distance",
        "fare_amount",
        "total_amount",
        "pickup_longitude",
        "pickup_latitude",
        "dropoff_longitude",
        "dropoff_latitude",
    ];
    let around = Days { first: days.first - TimeDelta::days(1), last: days.last };
    let from = days.micros().0 - HOUR;
    let mut rows = changes.scan().columns(columns).filter(around.rows("event_ts")).stream().await?.report_progress(ctx);
    let mut all: HashMap<(i64, i64), Event> = HashMap::new();
    while let Some(batch) = rows.try_next().await? {
        let ops = cast(batch.column(0), &DataType::Utf8)?;
        let ops: &StringArray = ops.as_string();
        let [at, partition, offset] = [1, 2, 3].map(|column| longs(batch.column(column)));
        let (at, partition, offset, vendor) = (at?, partition?, offset?, ints(batch.column(4))?);
        let [distance, fare, total] = [5, 6, 7].map(|column| hundredths(batch.column(column)));
        let (distance, fare, total) = (distance?, fare?, total?);
        let places = [8, 9, 10, 11].map(|column| cast(batch.column(column), &DataType::Float64));
        let [west, south, to_west, to_south] = places;
        let places = [west?, south?, to_west?, to_south?];
        let places = places.each_ref().map(AsArray::as_primitive::<Float64Type>);
        let point = |longitude: usize, latitude: usize, row: usize| {
            let (longitude, latitude) = (places[longitude], places[latitude]);
            (longitude.is_valid(row) && latitude.is_valid(row)).then(|| (longitude.value(row), latitude.value(row)))
        };
        for row in 0..batch.num_rows() {
            let (Some(fare), Some(total), Some(distance)) = (fare[row], total[row], distance[row]) else { continue };
            // What is read once more at the start of a connector (`r`) is no event, and what is deleted no trip.
            if !["c", "u"].contains(&ops.value(row)) || fare <= 0 || at.value(row) < from {
                continue;
            }
            let event = Event {
                at: at.value(row),
                vendor: vendor.is_valid(row).then(|| vendor.value(row)),
                distance,
                fare,
                total,
                pickup: point(0, 1, row),
                dropoff: point(2, 3, row),
            };
            all.insert((partition.value(row), offset.value(row)), event);
        }
    }
    Ok(all.into_values().collect())
}
