//! The bodies of the tasks of `demand_forecast`.

use super::contracts;
use super::demand::{BOROUGHS, DEMAND, Used, forecast};
use super::drift::{ANOMALIES, DRIFT, judge};
use super::known::DemandHistory;
use super::made::boroughs_before;
use super::models::{self, MODELS, State, Version};
use super::options::{Forecast, asked_date, until};
use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::days::{Days, day_of};
use crate::common::nyc::grid::HOUR;
use crate::common::nyc::publish::{Publish, Published};
use crate::common::nyc::sources::{self, TRIPS};
use chrono::{NaiveDate, TimeDelta};
use orch::prelude::*;
use orch_forecast::demand::{Model, Plan, SETTINGS, TooLittle};
use orch_forecast::features::{HORIZON, LOOK_BACK, NAMES};
use orch_lake::frame::blocking;
use std::collections::BTreeMap;

/// What versions of the model of demand are called.
pub const NAME: &str = "demand";

/// What a run knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The last day that is known.
    pub reference: NaiveDate,
    /// What a model is fitted to.
    pub days: Days,
}

/// What became of the training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Training {
    /// A version was added, and is good.
    Fitted,
    /// A version was added. A week before is better, so that it is not used.
    WorseThanBaseline,
    /// The newest version is new enough.
    Kept,
    /// The trips that are known are too few for a model.
    TooLittleHistory,
}

/// Looks for trips up to the reference date. Without any the run is skipped.
#[task(retries = 2, retry_delay = secs(10), timeout = mins(10))]
pub async fn look_at_history(ctx: Ctx, asked: Forecast) -> TaskResult<History> {
    let asked = asked.checked()?;
    let place = Lakehouse::of(&ctx).await?;
    if sources::filled(&place, TRIPS).await?.is_none() {
        return Err(skip(format!("`{TRIPS}` has no trips yet\nhint: run `nyc_taxi_iceberg_etl`, which fills it")));
    }
    let reference = match asked_date(asked.reference_date.as_deref())? {
        Some(date) => date,
        None => sources::newest_day(&place).await?,
    };
    let week = until(reference, 7);
    let trips = sources::trips_table(&place).await?.scan().filter(week.rows("pickup_datetime")).count().await?;
    if trips == 0 {
        return Err(skip(format!("no trip began from {} to {reference}: nothing can be foretold", week.first)));
    }
    ctx.info(format!("{trips} trips began in the week up to {reference}"));
    Ok(History { reference, days: asked.days_until(reference) })
}

/// Fits a model if the newest one is too old, judges it by weeks that it did not see, and adds it to `ml.models`. What is known
/// may be too little; then the forecast is as a week before.
#[task(retries = 2, retry_delay = secs(10), timeout = hours(2))]
pub async fn train_demand(ctx: Ctx, asked: Forecast, history: History) -> TaskResult<Training> {
    let place = Lakehouse::of(&ctx).await?;
    let versions = models::versions(&place, NAME, &NAMES, history.reference).await?;
    if let Some(newest) = models::newest(&versions) {
        let age = (history.reference - newest.reference).num_days();
        if age < i64::from(asked.retrain_after_days) {
            ctx.info(format!("version {} is {age} days old: no other one is fitted", newest.version));
            return Ok(Training::Kept);
        }
    }
    let known = DemandHistory::read(&ctx, &place, history.days).await?;
    let (first, end) = known.hours();
    let weeks = i64::from(asked.held_out_weeks);
    let plan = Plan { first, end, held_out_weeks: weeks, calibration_weeks: weeks };
    let (boroughs, snapshots) = (known.boroughs(), known.snapshots);
    let model = match blocking(move |_| Ok(Model::fit(&boroughs, plan))).await? {
        Ok(model) => model,
        Err(missing) => {
            ctx.warning(too_little(&missing, weeks));
            return Ok(Training::TooLittleHistory);
        }
    };
    let written = models::write(&place, NAME, history.reference, &snapshots, &model).await?;
    let (judged, state) = (model.judged, State::of(model.is_good()));
    ctx.info(format!(
        "version {}: MASE {:.3} on {} hours held out, {:.1} % of them inside the interval of 80 %",
        written.version,
        judged.mase,
        judged.hours,
        judged.coverage * 100.0
    ));
    let day = |hour: i64| day_of(hour * HOUR);
    let of_boroughs: BTreeMap<_, _> = model.boroughs.iter().map(|(name, of)| (name, of.judged)).collect();
    let version = Version {
        name: NAME,
        version: written.version,
        reference: history.reference,
        state,
        first_day: day(model.plan.first),
        held_out_from: day(model.plan.held_out().start),
        table: TRIPS,
        snapshot: snapshots.get(TRIPS).copied().unwrap_or_default(),
        training_snapshots: serde_json::to_string(&snapshots)?,
        parameters: serde_json::to_string(
            &json!({ "trees": SETTINGS, "plan": model.plan, "features": model.features }),
        )?,
        metrics: json!({ "all": judged, "boroughs": of_boroughs }).to_string(),
        rows: model.boroughs.len() as i64 * (model.plan.end - model.plan.first),
        mase: judged.mase,
        coverage: judged.coverage,
        mae: judged.mae,
        baseline_mae: judged.naive_mae,
        artefact: written.artefact,
        sha256: written.sha256,
    };
    add(&ctx, &place, version).await?;
    match state {
        State::Good => Ok(Training::Fitted),
        State::WorseThanBaseline => {
            ctx.warning("the same hour a week before is nearer to the truth: the version is kept and not used");
            Ok(Training::WorseThanBaseline)
        }
    }
}

fn too_little(missing: &TooLittle, weeks: i64) -> String {
    match missing {
        TooLittle::Weeks { known, needed } => format!(
            "too little history for a model: {known} weeks are left to learn from and {needed} are needed, besides {} that are held \
             out and 5 that the first row looks back to\nhint: load more months, or ask for fewer `held_out_weeks`",
            2 * weeks
        ),
        TooLittle::Trips => "too few trips for a model: no borough has one in four hours".into(),
    }
}

/// Writes down a version.
pub(super) async fn add(ctx: &Ctx, place: &Lakehouse, version: Version) -> TaskResult<Published> {
    let mut publish = Publish::begin(ctx, place).await?;
    let report = contracts::models().check(&[MODELS.batch(&[version], publish.now)?], &publish.facts)?;
    publish.upsert(&MODELS, report).await?;
    publish.end()
}

/// The 168 hours after the reference date, by zone and by borough, by the newest good model: `ml.demand_forecast` and
/// `ml.borough_forecast`. Replaces what was foretold from that date.
#[task(retries = 5, retry_delay = secs(2), retry_backoff = 2.0, timeout = hours(1))]
pub async fn predict_demand(ctx: Ctx, history: History, training: Training) -> TaskResult<Published> {
    let place = Lakehouse::of(&ctx).await?;
    let reference = history.reference;
    let versions = models::versions(&place, NAME, &NAMES, reference).await?;
    let used = match models::newest_good(&versions) {
        None => None,
        Some(found) => {
            let (model, version): (Model, _) = (models::read(&place, found).await?, found.version.as_str().into());
            Some(Used { version, model })
        }
    };
    match &used {
        Some(used) => ctx.info(format!("foretold by version {}", used.version)),
        None => ctx.warning(format!("no good model is there ({training:?}): foretold as a week before")),
    }
    let known = DemandHistory::read(&ctx, &place, until(reference, LOOK_BACK / 24 + 1)).await?;
    let next = Days { first: reference + TimeDelta::days(1), last: reference + TimeDelta::days(HORIZON / 24) };
    let weather = sources::weather(&place, next).await?;
    let mut publish = Publish::begin(&ctx, &place).await?;
    let (facts, now) = (publish.facts.clone(), publish.now);
    let [zones, boroughs] = blocking(move |_| {
        let (zones, boroughs) = forecast(&known, used.as_ref(), &weather);
        let zones = contracts::demand().check(&[DEMAND.batch(&zones, now)?], &facts)?;
        Ok([zones, contracts::boroughs().check(&[BOROUGHS.batch(&boroughs, now)?], &facts)?])
    })
    .await?;
    let day = Days { first: reference, last: reference };
    publish.replace(&DEMAND, day.rows(DEMAND.day), zones).await?;
    publish.replace(&BOROUGHS, day.rows(BOROUGHS.day), boroughs).await?;
    publish.end()
}

/// Holds earlier forecasts of the last days against what came: `ml.forecast_drift`, a row for each day and borough, and
/// `ml.anomalies`, a row for each hour outside the band of 99 %. Skipped until a forecast has an hour of these days.
#[task(retries = 5, retry_delay = secs(2), retry_backoff = 2.0, timeout = hours(1))]
pub async fn judge_forecasts(ctx: Ctx, asked: Forecast, history: History) -> TaskResult<Published> {
    let place = Lakehouse::of(&ctx).await?;
    let days = until(history.reference, asked.judged_days.into());
    let Some(said) = boroughs_before(&place, days).await? else {
        return Err(skip(format!("no forecast has an hour from {} to {}", days.first, days.last)));
    };
    let known = DemandHistory::read(&ctx, &place, days.and_before(7)).await?;
    let (drift, unusual) = judge(&said, &known.boroughs());
    for told in drift.iter().filter_map(super::drift::Day::drift_warning) {
        ctx.warning(told);
    }
    let mut publish = Publish::begin(&ctx, &place).await?;
    let drift = contracts::drift().check(&[DRIFT.batch(&drift, publish.now)?], &publish.facts)?;
    let unusual = contracts::anomalies().check(&[ANOMALIES.batch(&unusual, publish.now)?], &publish.facts)?;
    publish.replace(&DRIFT, days.rows(DRIFT.day), drift).await?;
    publish.replace(&ANOMALIES, days.rows(ANOMALIES.day), unusual).await?;
    publish.end()
}
