//! The tasks of `fare_prediction`: a model of `ml.fare_prediction_features`, compared with a linear fit over the
//! distance, and the trips that it finds unusual.

use super::models::{self, Version, state_of};
use super::options::Fares;
use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::days::{DAY, Days, day_of, reference_date};
use crate::common::nyc::sources::{self, filled, needed};
use crate::common::nyc::table::{DailyTable, batch_of, row};
use arrow::array::RecordBatch;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures::TryStreamExt as _;
use iceberg::spec::Transform::Identity;
use orch::prelude::*;
use orch_forecast::fares::{LEAST_TRIPS, Model, NAMES, SETTINGS, Trip};
use orch_lake::batches::Batches;
use orch_lake::frame::{blocking, from_batches};
use orch_lake::publish::{Published, Publisher};
use orch_lake::{Table, TableSpec};
use polars::prelude::DataType;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const NAME: &str = "fare";
const FEATURES: &str = "ml.fare_prediction_features";
/// Maximum number of training trips: more make training slower and hardly improve the model.
const MAX_TRIPS: usize = 200_000;
/// Maximum plausible speed in New York, in miles per hour.
const MAX_SPEED: f64 = 80.0;
const MAX_MINUTES: f64 = 360.0;

/// A trip of the features table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub id: String,
    pub day: NaiveDate,
    pub trip: Trip,
    pub minutes: f64,
}

row! {
    /// A trip with an unusual fare, speed or duration.
    pub Unusual {
        trip_id: String, feature_date: NaiveDate, kind: String, value: f64, expected: Option<f64>, lower: Option<f64>,
        upper: Option<f64>, model_version: String, created_at: DateTime<Utc>,
    }
}

pub static TRIPS: DailyTable = DailyTable {
    spec: TableSpec::new("ml", "trip_anomalies", &["trip_id", "kind"], Unusual::COLUMNS)
        .partition(&[("feature_date", Identity)])
        .chart("select kind, count(*) as trips from ml.trip_anomalies group by 1 order by 2 desc"),
    day: "feature_date",
    rules: |contract| contract,
};

/// Fits a model of fares to the days up to the reference date, judges it by the last of them, and adds it to `ml.models`. Skipped
/// if there are too few trips.
#[task(retries = 2, retry_delay = secs(10), timeout = hours(1))]
pub async fn train_fares(ctx: Ctx, asked: Fares) -> TaskResult<NaiveDate> {
    let asked = asked.checked()?;
    let place = Lakehouse::of(&ctx).await?;
    let Some(table) = filled(&place, FEATURES).await? else {
        return Err(skip(format!(
            "`{FEATURES}` has no trips yet\nhint: run `comprehensive_analytics_pipeline`, which fills it"
        )));
    };
    let reference = match reference_date(asked.reference_date.as_deref())? {
        Some(date) => date,
        None => sources::newest_day(&place).await?,
    };
    let days = Days::until(reference, asked.days);
    let rows = sample(&table, days).await?;
    let held_out = reference - TimeDelta::days(asked.held_out_days.into());
    let calibration = held_out - TimeDelta::days(asked.held_out_days.into());
    let count = rows.len();
    let fitted = blocking(move |_| {
        let part = |is_in: &dyn Fn(NaiveDate) -> bool| -> Vec<Trip> {
            rows.iter().filter(|row| is_in(row.day)).map(|row| row.trip.clone()).collect()
        };
        let training = part(&|day| day <= calibration);
        let calibrating = part(&|day| day > calibration && day <= held_out);
        Ok(Model::fit(&training, &calibrating, &part(&|day| day > held_out)))
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
    let written = models::write(&place, NAME, reference, FEATURES, &snapshots, &model).await?;
    let judged = model.judged;
    ctx.info(format!(
        "version {}: {:.2} dollars off on {} trips held out, a straight line {:.2}",
        written.version, judged.mae, judged.trips, judged.baseline_mae
    ));
    if !model.is_good() {
        ctx.warning("a straight line through the distance is a better prediction: the version is kept and not used");
    }
    let version = Version {
        state: state_of(model.is_good()),
        parameters: json!({ "trees": SETTINGS, "features": model.features }).to_string(),
        training_from: days.first,
        held_out_from: held_out + TimeDelta::days(1),
        training_rows: count as i64,
        mase: if judged.baseline_mae > 0.0 { judged.mae / judged.baseline_mae } else { 1.0 },
        coverage: judged.coverage,
        mae: judged.mae,
        baseline_mae: judged.baseline_mae,
        metrics: serde_json::to_string(&judged)?,
        ..written
    };
    models::add(&ctx, &place, version).await?;
    Ok(reference)
}

/// Finds trips of the last days whose fare is outside the band of 99 % of the newest good model, or that are faster or longer than
/// trips in a city can be. Replaces these days.
#[task(retries = 5, retry_delay = secs(2), retry_backoff = 2.0, timeout = hours(1))]
pub async fn flag_trips(ctx: Ctx, asked: Fares, reference: NaiveDate) -> TaskResult<Published> {
    let place = Lakehouse::of(&ctx).await?;
    let used = Arc::new(models::read_newest_good(&place, NAME, &NAMES, reference).await?);
    let mut publisher = Publisher::new(&ctx, &place.lake).await?;
    let now = publisher.now;
    let days = Days::until(reference, asked.held_out_days);
    let mut batches = scan(&needed(&place, FEATURES, "comprehensive_analytics_pipeline").await?, days).await?;
    let mut found = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        let used = used.clone();
        let unusual = blocking(move |_| {
            let rows = read(batch)?;
            Ok(rows.iter().flat_map(|row| unusual(row, (*used).as_ref(), now)).collect::<Vec<_>>())
        });
        found.extend(unusual.await?);
    }
    publisher.add(TRIPS.replacing(days, batch_of(&TRIPS.spec, &found)?.into())).await?;
    publisher.publish()
}

/// Returns the unusual values of a trip.
fn unusual(row: &Row, used: Option<&(String, Model)>, now: DateTime<Utc>) -> Vec<Unusual> {
    let of = |kind: &str, value, lower, upper| Unusual {
        trip_id: row.id.clone(),
        feature_date: row.day,
        kind: kind.into(),
        value,
        expected: None,
        lower,
        upper,
        model_version: used.map_or("-", |(version, _)| version).into(),
        created_at: now,
    };
    let mut found = Vec::new();
    if let Some(expected) = used.map(|(_, model)| model.expected(&row.trip)).filter(|of| !of.of_99.has(row.trip.fare)) {
        let (lower, upper) = (Some(expected.of_99.lower), Some(expected.of_99.upper));
        found.push(Unusual { expected: Some(expected.mean), ..of("fare", row.trip.fare, lower, upper) });
    }
    let speed = row.trip.features[0] / (row.minutes / 60.0);
    if row.minutes > 0.0 && speed > MAX_SPEED {
        found.push(of("speed", speed, None, Some(MAX_SPEED)));
    }
    if row.minutes <= 0.0 || row.minutes > MAX_MINUTES {
        found.push(of("duration", row.minutes, Some(0.0), Some(MAX_MINUTES)));
    }
    found
}

/// Returns trips of some days, ordered by a hash of their IDs, so that the sample depends neither on the order of files
/// nor on the vendor.
async fn sample(table: &Table, days: Days) -> TaskResult<Vec<Row>> {
    let mut batches = scan(table, days).await?;
    let mut rows: BTreeMap<([u8; 32], String), Row> = BTreeMap::new();
    while let Some(batch) = batches.try_next().await? {
        for row in read(batch)? {
            rows.insert((Sha256::digest(&row.id).into(), row.id.clone()), row);
            if rows.len() > MAX_TRIPS {
                rows.pop_last();
            }
        }
    }
    Ok(rows.into_values().collect())
}

async fn scan(table: &Table, days: Days) -> TaskResult<Batches> {
    let columns = ["trip_id", "feature_date", "fare_amount", "trip_duration_minutes"].into_iter().chain(NAMES);
    Ok(table.scan().columns(columns).filter(days.rows("feature_date")).stream().await?)
}

/// Reads the rows of a batch. Missing numbers are NaN, not 0.
fn read(batch: RecordBatch) -> TaskResult<Vec<Row>> {
    let frame = from_batches(&[batch])?;
    let numbers = |name: &str| {
        let column = frame.column(name)?.cast(&DataType::Float64)?;
        TaskResult::Ok(column.f64()?.iter().map(|number| number.unwrap_or(f64::NAN)).collect::<Vec<f64>>())
    };
    let features = NAMES.iter().map(|name| numbers(name)).collect::<TaskResult<Vec<_>>>()?;
    let (fares, minutes) = (numbers("fare_amount")?, numbers("trip_duration_minutes")?);
    let days = frame.column("feature_date")?.cast(&DataType::Int32)?;
    let ids = frame.column("trip_id")?.str()?;
    let row = |(at, (id, day)): (usize, (&str, i32))| Row {
        id: id.into(),
        day: day_of(i64::from(day) * DAY),
        trip: Trip { features: std::array::from_fn(|feature| features[feature][at]), fare: fares[at] },
        minutes: minutes[at],
    };
    Ok(ids.iter().flatten().zip(days.i32()?.into_no_null_iter()).enumerate().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_forecast::fares::COUNT;

    #[test]
    fn fast_and_endless_trips_are_found_without_a_model() {
        let row = |miles: f64, minutes: f64| {
            let mut features = [0.0; COUNT];
            features[0] = miles;
            let row = Row { id: "1".into(), day: NaiveDate::default(), trip: Trip { features, fare: 10.0 }, minutes };
            let found = unusual(&row, None, DateTime::UNIX_EPOCH);
            found.iter().map(|of| of.kind.clone()).collect::<Vec<_>>().join(" ")
        };
        let kinds = [(2.0, 10.0), (20.0, 10.0), (1.0, 0.0), (1.0, -3.0), (5.0, 1_400.0)]
            .map(|(miles, minutes)| row(miles, minutes));
        assert_eq!(kinds, ["", "speed", "duration", "duration", "duration"]);
    }
}
