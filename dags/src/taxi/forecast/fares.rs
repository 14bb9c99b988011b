//! Fares: a model of `ml.fare_prediction_features`, judged against a straight line through the distance, and the trips that it
//! finds unusual.

use super::contracts;
use super::models::{self, State, Version};
use super::options::{Fares, asked_date, until};
use super::tasks::add;
use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::days::Days;
use crate::common::nyc::publish::{Publish, Published};
use crate::common::nyc::sources::{self, filled, needed};
use crate::common::nyc::table::{Table, computed, date, maybe_number, number, text};
use arrow::array::{Array as _, AsArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Float64Type};
use chrono::{NaiveDate, TimeDelta};
use futures::TryStreamExt as _;
use iceberg::spec::Transform::Identity;
use orch::prelude::*;
use orch_forecast::fares::{COUNT, LEAST_TRIPS, Model, NAMES, SETTINGS, Trip};
use orch_lake::frame::blocking;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const NAME: &str = "fare";
const FEATURES: &str = "ml.fare_prediction_features";
/// A model learns from so many trips at most: more make it slower and hardly better.
const MOST_TRIPS: usize = 200_000;
/// Nothing drives faster through New York, in miles an hour.
const MOST_SPEED: f64 = 80.0;
/// In minutes.
const MOST_DURATION: f64 = 360.0;

/// A trip, as its table has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub id: String,
    pub day: NaiveDate,
    pub trip: Trip,
    pub minutes: f64,
}

/// A trip with something unusual.
#[derive(Debug, PartialEq)]
pub struct Unusual {
    id: String,
    day: NaiveDate,
    kind: &'static str,
    value: f64,
    expected: Option<f64>,
    lower: Option<f64>,
    upper: Option<f64>,
    version: Arc<str>,
}

pub static TRIPS: Table<Unusual> = Table {
    namespace: "ml",
    name: "trip_anomalies",
    key: &["trip_id", "kind"],
    partition: &[("feature_date", Identity)],
    day: "feature_date",
    columns: &[
        text("trip_id", |of| &of.id),
        date("feature_date", |of| of.day),
        text("kind", |of| of.kind),
        number("value", |of| of.value),
        maybe_number("expected", |of| of.expected),
        maybe_number("lower", |of| of.lower),
        maybe_number("upper", |of| of.upper),
        text("model_version", |of| &of.version),
        computed("created_at"),
    ],
    chart: "select kind, count(*) as trips from ml.trip_anomalies group by 1 order by 2 desc",
};

/// Fits a model of fares to the days up to the reference date, judges it by the last of them, and adds it to `ml.models`. Skipped
/// where too few trips are there.
#[task(retries = 2, retry_delay = secs(10), timeout = hours(1))]
pub async fn train_fares(ctx: Ctx, asked: Fares) -> TaskResult<NaiveDate> {
    let asked = asked.checked()?;
    let place = Lakehouse::of(&ctx).await?;
    let Some(table) = filled(&place, FEATURES).await? else {
        return Err(skip(format!(
            "`{FEATURES}` has no trips yet\nhint: run `comprehensive_analytics_pipeline`, which fills it"
        )));
    };
    let reference = match asked_date(asked.reference_date.as_deref())? {
        Some(date) => date,
        None => sources::newest_day(&place).await?,
    };
    let days = until(reference, asked.days.into());
    let rows = sample(&table, days).await?;
    let held_out = reference - TimeDelta::days(asked.held_out_days.into());
    let calibration = held_out - TimeDelta::days(asked.held_out_days.into());
    let count = rows.len();
    let fitted = blocking(move |_| {
        let part = |from: Option<NaiveDate>, until: NaiveDate| -> Vec<Trip> {
            let of_days = rows.iter().filter(|row| from.is_none_or(|from| row.day > from) && row.day <= until);
            of_days.map(|row| row.trip.clone()).collect()
        };
        let held = part(Some(held_out), reference);
        Ok(Model::fit(&part(None, calibration), &part(Some(calibration), held_out), &held))
    })
    .await?;
    let Some(model) = fitted else {
        return Err(skip(format!(
            "too few trips for a model: {count} from {} to {reference}, of which {LEAST_TRIPS} up to {calibration} are needed\n\
             hint: run `comprehensive_analytics_pipeline` for more days",
            days.first
        )));
    };
    let snapshot = table.current_snapshot().map(|snapshot| snapshot.snapshot_id()).unwrap_or_default();
    let snapshots = BTreeMap::from([(FEATURES.to_owned(), snapshot)]);
    let written = models::write(&place, NAME, reference, &snapshots, &model).await?;
    let judged = model.judged;
    ctx.info(format!(
        "version {}: {:.2} dollars off on {} trips held out, a straight line {:.2}",
        written.version, judged.mae, judged.trips, judged.baseline_mae
    ));
    let state = State::of(model.is_good());
    if state == State::WorseThanBaseline {
        ctx.warning("a straight line through the distance is nearer to the truth: the version is kept and not used");
    }
    let version = Version {
        name: NAME,
        version: written.version,
        reference,
        state,
        first_day: days.first,
        held_out_from: held_out + TimeDelta::days(1),
        table: FEATURES,
        snapshot,
        training_snapshots: serde_json::to_string(&snapshots)?,
        parameters: serde_json::to_string(&json!({ "trees": SETTINGS, "features": model.features }))?,
        metrics: serde_json::to_string(&judged)?,
        rows: count as i64,
        mase: if judged.baseline_mae > 0.0 { judged.mae / judged.baseline_mae } else { 1.0 },
        coverage: judged.coverage,
        mae: judged.mae,
        baseline_mae: judged.baseline_mae,
        artefact: written.artefact,
        sha256: written.sha256,
    };
    add(&ctx, &place, version).await?;
    Ok(reference)
}

/// Trips of the last days whose fare is outside the band of 99 % of the newest good model, or that are faster or longer than trips
/// in a city can be: `ml.trip_anomalies`. Replaces these days.
#[task(retries = 5, retry_delay = secs(2), retry_backoff = 2.0, timeout = hours(1))]
pub async fn flag_trips(ctx: Ctx, asked: Fares, reference: NaiveDate) -> TaskResult<Published> {
    let place = Lakehouse::of(&ctx).await?;
    let versions = models::versions(&place, NAME, &NAMES, reference).await?;
    let used = match models::newest_good(&versions) {
        None => None,
        Some(found) => Some((Arc::from(&*found.version), models::read(&place, found).await?)),
    };
    let used: Arc<Option<(Arc<str>, Model)>> = Arc::new(used);
    let table = needed(&place, FEATURES, "comprehensive_analytics_pipeline").await?;
    let days = until(reference, asked.held_out_days.into());
    let mut batches = table.scan().columns(columns()).filter(days.rows("feature_date")).stream().await?;
    let mut found = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        let used = used.clone();
        found.extend(
            blocking(move |_| {
                Ok(read(&batch)?.iter().flat_map(|row| unusual(row, (*used).as_ref())).collect::<Vec<_>>())
            })
            .await?,
        );
    }
    let mut publish = Publish::begin(&ctx, &place).await?;
    let report = contracts::trips().check(&[TRIPS.batch(&found, publish.now)?], &publish.facts)?;
    publish.replace(&TRIPS, days.rows(TRIPS.day), report).await?;
    publish.end()
}

/// What is unusual about a trip.
fn unusual(row: &Row, used: Option<&(Arc<str>, Model)>) -> Vec<Unusual> {
    let version = used.map_or_else(|| "-".into(), |(version, _)| version.clone());
    let of = |kind, value| {
        let (id, day, version) = (row.id.clone(), row.day, version.clone());
        Unusual { id, day, kind, value, expected: None, lower: None, upper: None, version }
    };
    let mut found = Vec::new();
    if let Some(expected) = used.map(|(_, model)| model.expected(&row.trip)).filter(|of| !of.of_99.has(row.trip.fare)) {
        let (lower, upper) = (Some(expected.of_99.lower), Some(expected.of_99.upper));
        found.push(Unusual { expected: Some(expected.mean), lower, upper, ..of("fare", row.trip.fare) });
    }
    let speed = row.trip.features[0] / (row.minutes / 60.0);
    if row.minutes > 0.0 && speed > MOST_SPEED {
        found.push(Unusual { upper: Some(MOST_SPEED), ..of("speed", speed) });
    }
    if row.minutes <= 0.0 || row.minutes > MOST_DURATION {
        found.push(Unusual { lower: Some(0.0), upper: Some(MOST_DURATION), ..of("duration", row.minutes) });
    }
    found
}

/// The trips of some days, in the order of a hash of their names: the same ones in whatever order files are read, and not those
/// of one vendor first.
async fn sample(table: &orch_lake::Table, days: Days) -> TaskResult<Vec<Row>> {
    let mut batches = table.scan().columns(columns()).filter(days.rows("feature_date")).stream().await?;
    let mut rows: BTreeMap<([u8; 32], String), Row> = BTreeMap::new();
    while let Some(batch) = batches.try_next().await? {
        for row in read(&batch)? {
            rows.insert((Sha256::digest(&row.id).into(), row.id.clone()), row);
            if rows.len() > MOST_TRIPS {
                rows.pop_last();
            }
        }
    }
    Ok(rows.into_values().collect())
}

fn columns() -> impl Iterator<Item = &'static str> {
    ["trip_id", "feature_date", "fare_amount", "trip_duration_minutes"].into_iter().chain(NAMES)
}

fn read(batch: &RecordBatch) -> TaskResult<Vec<Row>> {
    let ids = batch.column(0).as_string::<i32>();
    let days = batch.column(1).as_primitive::<Date32Type>();
    let numbers = batch.columns()[2..].iter().map(|column| cast(column, &DataType::Float64));
    let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
    let numbers: Vec<&Float64Array> = numbers.iter().map(AsArray::as_primitive::<Float64Type>).collect();
    let row = |at: usize| {
        // What is not known is missing, not 0.
        let number = |column: usize| {
            let column = numbers[column];
            if column.is_valid(at) { column.value(at) } else { f64::NAN }
        };
        let mut features = [0.0; COUNT];
        features.iter_mut().enumerate().for_each(|(place, feature)| *feature = number(2 + place));
        Some(Row {
            id: ids.value(at).into(),
            day: Date32Type::to_naive_date_opt(days.value(at))?,
            trip: Trip { features, fare: number(0) },
            minutes: number(1),
        })
    };
    Ok((0..batch.num_rows()).filter_map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_and_endless_trips_are_told_without_a_model() {
        let row = |miles: f64, minutes: f64| {
            let mut features = [0.0; COUNT];
            features[0] = miles;
            let (id, day) = ("1".to_owned(), NaiveDate::default());
            let found = unusual(&Row { id, day, trip: Trip { features, fare: 10.0 }, minutes }, None);
            found.iter().map(|of| of.kind).collect::<Vec<_>>().join(" ")
        };
        let kinds = [(2.0, 10.0), (20.0, 10.0), (1.0, 0.0), (1.0, -3.0), (5.0, 1_400.0)]
            .map(|(miles, minutes)| row(miles, minutes));
        assert_eq!(kinds, ["", "speed", "duration", "duration", "duration"]);
    }
}
