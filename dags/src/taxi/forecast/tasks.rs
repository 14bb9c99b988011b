//! The tasks of `demand_forecast`.

use super::demand::{BOROUGHS, DEMAND, forecast};
use super::drift::{ANOMALIES, DRIFT};
use super::known::DemandHistory;
use super::models::{self, Version, state_of};
use super::options::Forecast;
use crate::common::lakehouse::Lakehouse;
use crate::common::model::columns_read;
use crate::common::nyc::days::{Days, HOUR, day_of, reference_date};
use crate::common::nyc::sources::{self, TRIPS, collect, filled, pickups, publisher, trips_table};
use crate::common::nyc::table::{batch_of, frame_of, structs_of};
use arrow::array::RecordBatch;
use chrono::{NaiveDate, TimeDelta};
use orch::prelude::*;
use orch_forecast::demand::{Model, Plan, SETTINGS, TooLittle};
use orch_forecast::features::{HORIZON, LOOK_BACK, NAMES};
use orch_lake::Filter;
use orch_lake::batches::Batches;
use orch_lake::frame::sql::{SqlFrames, query_rows};
use orch_lake::frame::{blocking, from_batches};
use orch_lake::publish::Published;
use std::collections::BTreeMap;

/// Name of the model's versions in `ml.models`.
pub const NAME: &str = "demand";
const JUDGED: &str = include_str!("sql/judged.sql");

/// The history that a run reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Last known day.
    pub reference: NaiveDate,
    /// Days that a model is fitted to.
    pub days: Days,
}

/// Outcome of the training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Training {
    /// Added a good version.
    Fitted,
    /// Added a version that is worse than repeating the week before, so it is not used.
    WorseThanBaseline,
    /// Kept the newest version, which is recent enough.
    Kept,
    /// There are too few trips for a model.
    TooLittleHistory,
}

/// Finds the reference date. Skipped if no trip began in the week up to it.
#[task(retries = 2, retry_delay = secs(10), timeout = mins(10))]
pub async fn look_at_history(ctx: Ctx, asked: Forecast) -> TaskResult<History> {
    let place = Lakehouse::of(&ctx).await?;
    if filled(&place, TRIPS).await?.is_none() {
        return Err(skip(format!("`{TRIPS}` has no trips yet\nhint: run `nyc_taxi_iceberg_etl`, which fills it")));
    }
    let reference = match reference_date(asked.reference_date.as_deref())? {
        Some(date) => date,
        None => sources::newest_day(&place).await?,
    };
    let week = Days::until(reference, 7);
    let trips = trips_table(&place).await?.scan().filter(week.rows("pickup_datetime")).count().await?;
    if trips == 0 {
        return Err(skip(format!("no trip began from {} to {reference}, so there is nothing to forecast", week.first)));
    }
    ctx.info(format!("{trips} trips began in the week up to {reference}"));
    Ok(History { reference, days: Days::until(reference, asked.weeks * 7) })
}

/// Fits a model if the newest one is too old, judges it by weeks that it did not see, and adds it to `ml.models`. With too little
/// history, or a bad model, forecasts repeat the week before.
#[task(retries = 2, retry_delay = secs(10), timeout = hours(2))]
pub async fn train_demand(ctx: Ctx, asked: Forecast, history: History) -> TaskResult<Training> {
    let place = Lakehouse::of(&ctx).await?;
    let History { reference, days } = history;
    if let Some(newest) = models::versions(&place, NAME, &NAMES, reference).await?.last() {
        let age = (reference - newest.reference_date).num_days();
        if age < i64::from(asked.retrain_after_days) {
            ctx.info(format!("version {} is {age} days old, so no new one is fitted", newest.version));
            return Ok(Training::Kept);
        }
    }
    let known = DemandHistory::read(&ctx, &place, days).await?;
    let weeks = i64::from(asked.held_out_weeks);
    let hours = days.hours();
    let plan = Plan { first: hours.start, end: hours.end, held_out_weeks: weeks, calibration_weeks: weeks };
    let (boroughs, snapshots) = (known.boroughs(), known.snapshots);
    let model = match blocking(move |_| Ok(Model::fit(&boroughs, plan))).await? {
        Ok(model) => model,
        Err(missing) => {
            ctx.warning(too_little(&missing, weeks));
            return Ok(Training::TooLittleHistory);
        }
    };
    let written = models::write(&place, NAME, reference, TRIPS, &snapshots, &model).await?;
    let judged = model.judged;
    ctx.info(format!(
        "version {}: MASE {:.3} on {} hours held out, {:.1} % of them inside the interval of 80 %",
        written.version,
        judged.mase,
        judged.hours,
        judged.coverage * 100.0
    ));
    let by_borough: BTreeMap<_, _> = model.boroughs.iter().map(|(name, of)| (name, of.judged)).collect();
    let version = Version {
        state: state_of(model.is_good()),
        parameters: json!({ "trees": SETTINGS, "plan": model.plan, "features": model.features }).to_string(),
        training_from: day_of(model.plan.first * HOUR),
        held_out_from: day_of(model.plan.held_out().start * HOUR),
        training_rows: model.boroughs.len() as i64 * (model.plan.end - model.plan.first),
        mase: judged.mase,
        coverage: judged.coverage,
        mae: judged.mae,
        baseline_mae: judged.naive_mae,
        metrics: json!({ "all": judged, "boroughs": by_borough }).to_string(),
        ..written
    };
    models::add(&ctx, &place, version).await?;
    if model.is_good() {
        return Ok(Training::Fitted);
    }
    ctx.warning("the week before is a better forecast, so the version is kept and not used");
    Ok(Training::WorseThanBaseline)
}

fn too_little(missing: &TooLittle, weeks: i64) -> String {
    match missing {
        TooLittle::Weeks { known, needed } => format!(
            "too little history for a model: {known} weeks are left for training and {needed} are needed, besides {} that are held \
             out and 5 that the first row looks back to\nhint: load more months, or set fewer `held_out_weeks`",
            2 * weeks
        ),
        TooLittle::Trips => "too few trips for a model: no borough has one in four hours".into(),
    }
}

/// Forecasts the 168 hours after the reference date by zone and by borough, with the newest good model. Replaces the forecasts
/// with that reference date.
#[task(retries = 5, retry_delay = secs(2), retry_backoff = 2.0, timeout = hours(1))]
pub async fn predict_demand(ctx: Ctx, history: History, training: Training) -> TaskResult<Published> {
    let place = Lakehouse::of(&ctx).await?;
    let reference = history.reference;
    let used = models::read_newest_good(&place, NAME, &NAMES, reference).await?;
    match &used {
        Some((version, _)) => ctx.info(format!("forecasts by version {version}")),
        None => ctx.warning(format!("there is no good model ({training:?}), so forecasts repeat the week before")),
    }
    let known = DemandHistory::read(&ctx, &place, Days::until(reference, LOOK_BACK / 24 + 1)).await?;
    let next = Days { first: reference + TimeDelta::days(1), last: reference + TimeDelta::days(HORIZON / 24) };
    let hours = sources::hours(&place, next).await?;
    let impacts = hours.column("weather_impact")?.f64()?.into_no_null_iter();
    let impacts: BTreeMap<i64, f64> = hours.column("hour")?.i64()?.into_no_null_iter().zip(impacts).collect();
    let mut publisher = publisher(&ctx, &place).await?;
    let now = publisher.now;
    let (zones, boroughs) = blocking(move |_| {
        let (zones, boroughs) = forecast(&known, used.as_ref(), &impacts, now);
        Ok((batch_of(&DEMAND.spec, &zones)?, batch_of(&BOROUGHS.spec, &boroughs)?))
    })
    .await?;
    publisher.add(DEMAND.replacing(Days::only(reference), zones.into())).await?;
    publisher.add(BOROUGHS.replacing(Days::only(reference), boroughs.into())).await?;
    publisher.publish()
}

/// Compares earlier forecasts of the last days with the trips that came. Skipped until a forecast has an hour of these days.
#[task(retries = 5, retry_delay = secs(2), retry_backoff = 2.0, timeout = hours(1))]
pub async fn judge_forecasts(ctx: Ctx, asked: Forecast, history: History) -> TaskResult<Published> {
    let place = Lakehouse::of(&ctx).await?;
    let days = Days::until(history.reference, asked.judged_days);
    let nothing = || skip(format!("no forecast has an hour from {} to {}", days.first, days.last));
    let table = filled(&place, "ml.borough_forecast").await?.ok_or_else(nothing)?;
    let columns = columns_read(JUDGED, &BOROUGHS.spec);
    let filter = days.rows("prediction_hour").and(Filter::lt(BOROUGHS.day, days.last.to_string()));
    let forecasts = collect(table.scan().columns(columns).filter(filter)).await?;
    if forecasts.num_rows() == 0 {
        return Err(nothing());
    }
    let mut publisher = publisher(&ctx, &place).await?;
    let known = days.and_before(7);
    let mut frames = SqlFrames::default();
    frames.set("forecasts", from_batches(&[forecasts])?);
    frames.set("zones", from_batches(&[sources::zones(&place).await?])?);
    frames.set("pickups", pickups(&ctx, &trips_table(&place).await?, known).await?);
    frames.set("span", known.span()?);
    frames.set("run", frame_of("now", vec![publisher.now.timestamp_micros()])?);
    let [drift, anomalies] = blocking(move |_| {
        let judged = frames.query(JUDGED)?;
        frames.set("judged", judged);
        let drift = frames.batches(include_str!("sql/forecast_drift.sql"), &[], &DRIFT.spec.schema())?;
        Ok([drift, frames.batches(include_str!("sql/anomalies.sql"), &[], &ANOMALIES.spec.schema())?])
    })
    .await?;
    warn_of_drift(&ctx, &drift)?;
    publisher.add(DRIFT.replacing(days, Batches::of(DRIFT.spec.schema(), drift))).await?;
    publisher.add(ANOMALIES.replacing(days, Batches::of(ANOMALIES.spec.schema(), anomalies))).await?;
    publisher.publish()
}

fn warn_of_drift(ctx: &Ctx, drift: &[RecordBatch]) -> TaskResult<()> {
    #[derive(Deserialize)]
    struct Drifted {
        day: NaiveDate,
        borough: String,
        mae: f64,
        ratio: f64,
    }
    let drifted = "SELECT day, borough, mae, ratio FROM rows WHERE is_drifted ORDER BY day, borough";
    for Drifted { day, borough, mae, ratio } in structs_of(query_rows(drift, drifted)?)? {
        ctx.warning(format!(
            "{borough}, {day}: forecasts were {mae:.1} trips an hour off, {ratio:.1} times as much as expected"
        ));
    }
    Ok(())
}
