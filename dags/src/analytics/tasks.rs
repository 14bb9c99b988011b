//! The bodies of the tasks: sources, then rows, then the days of each table replaced, in the transaction that records the
//! success of the task.

use super::changes::{self, CHANGES};
use super::contracts;
use super::demand::{self, FEATURES, ML_FEATURES};
use super::fares::{self, FARES, Fare, FareHistory};
use super::hourly::{self, CORRELATION, Cells, PERFORMANCE};
use super::options::Analytics;
use super::outlines::Index;
use super::realtime::{self, ACTIVITY, AGGREGATIONS, Windows};
use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::days::Days;
use crate::common::nyc::forecasts::made_before;
use crate::common::nyc::grid::Grid;
use crate::common::nyc::publish::{Publish, Published};
use crate::common::nyc::sources::{self, Hours, Zones};
use arrow::array::RecordBatch;
use chrono::TimeDelta;
use orch::prelude::*;
use orch_lake::contract::Contract;
use orch_lake::frame::blocking;
use serde_json::Value;
use tokio::runtime::Handle;

/// The DAGs that fill what is read here.
const SOURCES: [&str; 2] = ["nyc_taxi_iceberg_etl", "nyc_weather_etl"];

/// A run of `nyc_weather_etl` tells so many hours at most.
const MOST_HOURS: usize = 744;

/// What a run computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Available {
    pub days: Days,
    /// Of the change log. `None`: it has no rows.
    pub changes: Option<Days>,
}

/// Waits until the trips and the weather were loaded, each by any run that ended well within the last hours: their schedules
/// are others, so that no run has the same logical date. It takes no slot.
#[task(retries = 1, retry_delay = mins(5), timeout = mins(5))]
pub async fn wait_for_sources(ctx: Ctx, asked: Analytics) -> TaskResult<Value> {
    if let Some(ended) = ctx.resumed() {
        let runs = ended.value().cloned().unwrap_or_default();
        ctx.info(format!("the sources are there: {runs}"));
        return Ok(runs);
    }
    let since = Lakehouse::of(&ctx).await?.now().await? - TimeDelta::hours(asked.sources_within_hours.into());
    let loaded = SOURCES.map(|dag| wait::dag(dag, wait::RunSelector::EndedSince(since)).awaited());
    ctx.info(format!("waits for runs of {} that ended well since {since}", SOURCES.join(" and ")));
    Err(defer(wait::all(loaded).poke_every(secs(15)).timeout(mins(asked.wait_minutes.into()))))
}

/// Looks at what there is, and says which days are computed. Trips and zones have to be there; hours without weather are
/// told, and a change log that is missing is no mistake.
#[task(retries = 2, retry_delay = secs(10), timeout = mins(10))]
pub async fn check_availability(ctx: Ctx, asked: Analytics) -> TaskResult<Available> {
    let place = Lakehouse::of(&ctx).await?;
    let date = asked.asked_date()?;
    let newest = match date {
        Some(date) => date,
        None => sources::newest_day(&place).await?,
    };
    let days = asked.days_until(newest)?;
    let trips = sources::trips_table(&place).await?.scan().filter(days.rows("pickup_datetime")).count().await?;
    let zones = sources::zones(&place).await?;
    let weather = sources::weather(&place, days).await?;
    ctx.info(format!("{} to {}: {trips} trips, {} zones", days.first, days.last, zones.all().len()));
    if trips == 0 {
        ctx.warning("no trip began on these days: what the tables have of them goes");
    }
    let hours = days.each().count() * 24;
    if weather.len() < hours {
        // The last hours of a day in New York are those of the next morning by UTC.
        let (end, count) = (days.last + TimeDelta::days(1), (hours + 8).min(MOST_HOURS));
        ctx.warning(format!(
            "the weather of {} of {hours} hours is not known\n\
             hint: `orch backfill create --dag-id nyc_weather_etl --date {end}T06:00:00Z --dag-run-conf '{{\"hours\": {count}}}'`",
            hours - weather.len()
        ));
    }
    let changes = match (sources::filled(&place, CHANGES).await?, date) {
        (None, _) => None,
        (Some(_), Some(_)) => Some(days),
        (Some(found), None) => match changes::newest_change(&found).await? {
            Some(newest) => Some(asked.days_until(newest)?),
            None => None,
        },
    };
    if changes.is_none() {
        ctx.info(format!("`{CHANGES}` is not there: nothing is computed of changes"));
    }
    Ok(Available { days, changes })
}

/// Trips by hour and weather, by zone, and what was known of each hour's demand: `analytics.trip_weather_correlation`,
/// `zone_performance_metrics` and `demand_prediction_features`. Replaces the days of the run, in all three at once.
#[task(retries = 5, retry_delay = secs(2), retry_backoff = 2.0, timeout = hours(1))]
pub async fn analytics_transform(ctx: Ctx, available: Available) -> TaskResult<Published> {
    let place = Lakehouse::of(&ctx).await?;
    let days = available.days;
    let mut publish = Publish::begin(&ctx, &place).await?;
    let DemandInputs { zones, weather, grid } = DemandInputs::of(&ctx, &place, days).await?;
    let trips = sources::trips_table(&place).await?;
    let mut cells = Cells::new(days);
    sources::each_trip(&ctx, &trips, days.and_before(1), |trip| cells.add(&trip)).await?;
    let facts = publish.facts.clone();
    let now = publish.now;
    let [hours, performance, features] = blocking(move |stop| {
        let hours = CORRELATION.batch(&hourly::by_hour(&cells, &weather), now)?;
        let performance = PERFORMANCE.batch(&hourly::by_zone(&cells, &weather, &zones), now)?;
        let mut features = Vec::new();
        for day in days.each() {
            stop.check()?;
            features.push(FEATURES.batch(&demand::of_day(&grid, &weather, &zones, day), now)?);
        }
        let check = |contract: Contract, rows: &[RecordBatch]| contract.check(rows, &facts);
        Ok([
            check(contracts::correlation(), &[hours])?,
            check(contracts::performance(), &[performance])?,
            check(contracts::features(), &features)?,
        ])
    })
    .await?;
    publish.replace(&CORRELATION, days.rows(CORRELATION.day), hours).await?;
    publish.replace(&PERFORMANCE, days.rows(PERFORMANCE.day), performance).await?;
    publish.replace(&FEATURES, days.rows(FEATURES.day), features).await?;
    publish.end()
}

/// Trips as they were made and changed, in windows of five minutes: `realtime.trip_aggregations` and `zone_activity`. Skipped
/// where no change log is.
#[task(retries = 5, retry_delay = secs(2), retry_backoff = 2.0, timeout = hours(1))]
pub async fn realtime_cdc(ctx: Ctx, available: Available) -> TaskResult<Published> {
    let place = Lakehouse::of(&ctx).await?;
    let (Some(days), Some(changes)) = (available.changes, sources::filled(&place, CHANGES).await?) else {
        return Err(skip(format!("`{CHANGES}` is not there, so there are no changes to compute anything of")));
    };
    let mut publish = Publish::begin(&ctx, &place).await?;
    let zones = sources::zones(&place).await?;
    let events = changes::events(&ctx, &changes, days).await?;
    let (facts, now) = (publish.facts.clone(), publish.now);
    let (nowhere, aggregations, activity) = blocking(move |_| {
        let windows = Windows::of(&events, &Index::of(&zones)?);
        let aggregations = AGGREGATIONS.batch(&realtime::aggregations(&windows, days), now)?;
        let activity = ACTIVITY.batch(&realtime::activity(&windows, days), now)?;
        let aggregations = contracts::aggregations().check(&[aggregations], &facts)?;
        Ok((windows.nowhere, aggregations, contracts::activity().check(&[activity], &facts)?))
    })
    .await?;
    if nowhere > 0 {
        ctx.warning(format!("{nowhere} events began in no zone of the city: they are in no window"));
    }
    publish.replace(&AGGREGATIONS, days.rows(AGGREGATIONS.day), aggregations).await?;
    publish.replace(&ACTIVITY, days.rows_by_end(ACTIVITY.day), activity).await?;
    publish.end()
}

/// What models learn from: `ml.demand_prediction_features`, a row for each zone and hour, and `ml.fare_prediction_features`, a
/// row for each trip. Replaces the days of the run, in both at once.
#[task(retries = 5, retry_delay = secs(2), retry_backoff = 2.0, timeout = hours(1), trigger_rule = NoneFailedMinOneSuccess)]
pub async fn ml_features(ctx: Ctx, available: Option<Available>) -> TaskResult<Published> {
    // It runs also where the changes were skipped, so that the engine cannot promise it the days.
    let available = available.ok_or_else(|| skip("no days were found to compute"))?;
    let place = Lakehouse::of(&ctx).await?;
    let days = available.days;
    let mut publish = Publish::begin(&ctx, &place).await?;
    let DemandInputs { zones, weather, grid } = DemandInputs::of(&ctx, &place, days).await?;
    let forecasts = made_before(&place, days).await?;
    let (facts, now) = (publish.facts.clone(), publish.now);
    let mut known = FareHistory::new(days, zones.clone(), weather.clone());
    let features = blocking(move |stop| {
        let mut features = Vec::new();
        for day in days.each() {
            stop.check()?;
            let mut rows = demand::of_day(&grid, &weather, &zones, day);
            rows.iter_mut().for_each(|row| row.foretell(&forecasts));
            features.push(ML_FEATURES.batch(&rows, now)?);
        }
        Ok(contracts::ml_features().check(&features, &facts)?)
    })
    .await?;
    publish.replace(&ML_FEATURES, days.rows(ML_FEATURES.day), features).await?;
    let (trips, reading, handle) = (sources::trips_table(&place).await?, ctx.clone(), Handle::current());
    let fares = move |give: &dyn Fn(Vec<Fare>) -> bool| {
        for day in fares::history(days).each() {
            let (mut all, only) = (Vec::new(), Days { first: day, last: day });
            handle.block_on(sources::each_trip(&reading, &trips, only, |trip| all.push(trip)))?;
            if !days.has(day) {
                known.learn(all);
            } else if !give(known.rows(all)) {
                break;
            }
        }
        Ok(())
    };
    publish.replace_while_made(&FARES, days.rows(FARES.day), contracts::fares(), fares).await?;
    publish.end()
}

/// The zones, the weather of some days, and the demand of these and of all that they look back to.
struct DemandInputs {
    zones: Zones,
    weather: Hours,
    grid: Grid,
}

impl DemandInputs {
    async fn of(ctx: &Ctx, place: &Lakehouse, days: Days) -> TaskResult<DemandInputs> {
        let zones = sources::zones(place).await?;
        let weather = sources::weather(place, days).await?;
        let history = demand::history(days);
        let mut grid = Grid::new(history, zones.all().len());
        let trips = sources::trips_table(place).await?;
        sources::each_pickup(ctx, &trips, history, |pickup, zone| grid.add(zones.place(zone), pickup)).await?;
        Ok(DemandInputs { zones, weather, grid })
    }
}
