//! The tasks: they read sources, compute rows with SQL, and replace the days of each table when they succeed.

use super::fares::{self, FareHistory};
use super::options::Analytics;
use super::outlines::Index;
use super::tables::{ACTIVITY, AGGREGATIONS, CORRELATION, FARES, FEATURES, ML_FEATURES, PERFORMANCE};
use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::days::{Days, day_of, reference_date};
use crate::common::nyc::forecast::DEMAND;
use crate::common::nyc::sources::{self, aggregate, collect, filled, pickups, publisher, scan_for, trips_table, zones};
use crate::common::nyc::table::frame_of;
use arrow::array::RecordBatch;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use iceberg::spec::{Datum, PrimitiveLiteral};
use orch::prelude::*;
use orch_lake::batches::Batches;
use orch_lake::frame::sql::SqlFrames;
use orch_lake::frame::{blocking, from_batches};
use orch_lake::publish::Published;
use orch_lake::{Filter, Table};
use polars::prelude::{ChunkedArray, DataFrame, Int32Type, IntoColumn as _, NewChunkedArray as _};
use serde_json::Value;

/// The DAGs that load the sources.
const SOURCES: [&str; 2] = ["nyc_taxi_iceberg_etl", "nyc_weather_etl"];
/// Table with every change of a trip in the taxi database.
const CHANGES: &str = "taxi_cdc.trips_cdc";
/// Number of days before a day whose trips determine its demand features.
const DEMAND_HISTORY_DAYS: i64 = 30;
/// Maximum number of hours that one run of `nyc_weather_etl` loads.
const MAX_WEATHER_HOURS: usize = 744;

/// The days that a run computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Available {
    pub days: Days,
    /// Days of the change log; `None` if it has no rows.
    pub changes: Option<Days>,
}

/// Waits without a slot until trips and weather were loaded by any successful run of the last hours. Their schedules differ, so
/// no run has the same logical date.
#[task(retries = 1, retry_delay = mins(5), timeout = mins(5))]
pub async fn wait_for_sources(ctx: Ctx, asked: Analytics) -> TaskResult<Value> {
    if let Some(ended) = ctx.resumed() {
        let runs = ended.value().cloned().unwrap_or_default();
        ctx.info(format!("sources were loaded: {runs}"));
        return Ok(runs);
    }
    let since = Lakehouse::of(&ctx).await?.now().await? - TimeDelta::hours(asked.sources_within_hours.into());
    let loaded = SOURCES.map(|dag| wait::dag(dag, wait::RunSelector::EndedSince(since)).awaited());
    ctx.info(format!("waiting for successful runs of {} since {since}", SOURCES.join(" and ")));
    Err(defer(wait::all(loaded).poke_every(secs(15)).timeout(mins(asked.wait_minutes.into()))))
}

/// Selects the days to compute. Fails without trips or zones, warns about hours without weather, and accepts a missing change log.
#[task(retries = 2, retry_delay = secs(10), timeout = mins(10))]
pub async fn check_availability(ctx: Ctx, asked: Analytics) -> TaskResult<Available> {
    let place = Lakehouse::of(&ctx).await?;
    let date = reference_date(asked.reference_date.as_deref())?;
    let newest = match date {
        Some(date) => date,
        None => sources::newest_day(&place).await?,
    };
    let days = asked.days_until(newest)?;
    let trips = trips_table(&place).await?.scan().filter(days.rows("pickup_datetime")).count().await?;
    ctx.info(format!("{} to {}: {trips} trips, {} zones", days.first, days.last, zones(&place).await?.num_rows()));
    if trips == 0 {
        ctx.warning("no trip began on these days: their rows are removed from the tables");
    }
    let weather = sources::hours(&place, days).await?;
    let missing = weather.column("condition")?.null_count();
    if missing > 0 {
        // The last hours of a New York day are in the next UTC day.
        let (end, count) = (days.last + TimeDelta::days(1), (weather.height() + 8).min(MAX_WEATHER_HOURS));
        ctx.warning(format!(
            "the weather of {missing} of {} hours is not known\n\
             hint: `orch backfill create --dag-id nyc_weather_etl --date {end}T06:00:00Z --dag-run-conf '{{\"hours\": {count}}}'`",
            weather.height()
        ));
    }
    let changes = match (filled(&place, CHANGES).await?, date) {
        (None, _) => None,
        (Some(_), Some(_)) => Some(days),
        (Some(found), None) => newest_change(&found).await?.map(|newest| asked.days_until(newest)).transpose()?,
    };
    if changes.is_none() {
        ctx.info(format!("`{CHANGES}` has no rows, so `realtime` is not computed"));
    }
    Ok(Available { days, changes })
}

/// Returns the day of the newest change, from file statistics; `None` if the table has no rows.
async fn newest_change(changes: &Table) -> TaskResult<Option<NaiveDate>> {
    let column = changes.schema().field_id_by_name("event_ts");
    let column = column.with_context(|| format!("`{CHANGES}` has no column `event_ts`"))?;
    let mut newest = None;
    for file in changes.plan(&Filter::All).await?.files {
        match file.file.data().upper_bounds().get(&column).map(Datum::literal) {
            Some(PrimitiveLiteral::Long(micros)) => newest = newest.max(Some(*micros)),
            _ => return Err(fatal(format!("`{}` has no upper bound of `event_ts`", file.file.path()))),
        }
    }
    Ok(newest.map(day_of))
}

/// Computes trips by hour and weather, by zone, and what was known of the demand of each hour.
#[task(retries = 5, retry_delay = secs(2), retry_backoff = 2.0, timeout = hours(1))]
pub async fn analytics_transform(ctx: Ctx, available: Available) -> TaskResult<Published> {
    let place = Lakehouse::of(&ctx).await?;
    let days = available.days;
    let mut publisher = publisher(&ctx, &place).await?;
    let mut frames = demand_frames(&ctx, &place, days, publisher.now).await?;
    let trips = trips_table(&place).await?;
    // Trips of the day before may end on the first day.
    let began = days.and_before(1).rows("pickup_datetime");
    let (part, merge) = (include_str!("sql/cells.sql"), include_str!("sql/cell_sums.sql"));
    let trips = sources::scan_for(&trips, part).filter(began).stream().await?;
    frames.set("cells", aggregate(trips.report_progress(&ctx), part, merge).await?);
    for (table, statement) in [
        (&CORRELATION, include_str!("sql/trip_weather_correlation.sql")),
        (&PERFORMANCE, include_str!("sql/zone_performance_metrics.sql")),
        (&FEATURES, include_str!("sql/demand_prediction_features.sql")),
    ] {
        let rows = frames.make(&table.spec, statement).await?;
        publisher.add(table.replacing(days, rows.into())).await?;
    }
    publisher.publish()
}

/// Computes trips as they were made and changed, in windows of five minutes by the time of the event. Each event counts once, so
/// a trip that is changed counts again. Skipped without a change log.
#[task(retries = 5, retry_delay = secs(2), retry_backoff = 2.0, timeout = hours(1))]
pub async fn realtime_cdc(ctx: Ctx, available: Available) -> TaskResult<Published> {
    let place = Lakehouse::of(&ctx).await?;
    let (Some(days), Some(changes)) = (available.changes, filled(&place, CHANGES).await?) else {
        return Err(skip(format!("`{CHANGES}` has no rows\nhint: the stream `taxi_trips_cdc` fills it")));
    };
    let mut publisher = publisher(&ctx, &place).await?;
    // Events of the hour before these days count in the first windows.
    let occurred = days.and_before(1).rows("event_ts");
    // The partition and offset in the topic identify an event.
    let once = "SELECT DISTINCT ON (kafka_partition, kafka_offset) * FROM rows";
    let part = include_str!("sql/events.sql");
    let changes = sources::scan_for(&changes, part).filter(occurred).stream().await?;
    let events = aggregate(changes.report_progress(&ctx), part, once).await?;
    let outlines = sources::zones_of(&sources::zones_table(&place).await?).await?;
    let events = blocking(move |_| {
        let outlined = outlines.iter().filter_map(|zone| Some((zone.location_id, zone.geometry.as_deref()?)));
        with_zones(events, &Index::of(outlined)?)
    })
    .await?;
    let nowhere = events.column("from_zone")?.null_count();
    if nowhere > 0 {
        ctx.warning(format!("{nowhere} events began in no zone of the city: no window counts them"));
    }
    let mut frames = SqlFrames::default();
    frames.set("hours", days.span()?);
    frames.set("run", frame_of("now", vec![publisher.now.timestamp_micros()])?);
    // A window counts in the last hour of itself and of the eleven windows after it.
    frames.set("following", frame_of("later", (0..12).collect())?);
    frames.set("events", events);
    add_frame(&mut frames, "windows", include_str!("sql/windows.sql")).await?;
    let rows = frames.make(&AGGREGATIONS.spec, include_str!("sql/trip_aggregations.sql")).await?;
    publisher.add(AGGREGATIONS.replacing(days, rows.into())).await?;
    let rows = frames.make(&ACTIVITY.spec, include_str!("sql/zone_activity.sql")).await?;
    publisher.add(ACTIVITY.replacing(days, rows.into()).replacing(days.rows_by_end(ACTIVITY.day))).await?;
    publisher.publish()
}

/// Adds the zones in which trips started and ended; null outside the city.
fn with_zones(mut events: DataFrame, index: &Index) -> TaskResult<DataFrame> {
    for (name, longitude, latitude) in
        [("from_zone", "pickup_longitude", "pickup_latitude"), ("to_zone", "dropoff_longitude", "dropoff_latitude")]
    {
        let points = events.column(longitude)?.f64()?.iter().zip(events.column(latitude)?.f64()?.iter());
        let zones = points.map(|(longitude, latitude)| index.zone((longitude?, latitude?)));
        let zones = ChunkedArray::<Int32Type>::from_iter_options(name.into(), zones);
        events.with_column(zones.into_column())?;
    }
    Ok(events)
}

/// Computes the features that models learn from: a row for each zone and hour, and a row for each trip.
#[task(retries = 5, retry_delay = secs(2), retry_backoff = 2.0, timeout = hours(1), trigger_rule = NoneFailedMinOneSuccess)]
pub async fn ml_features(ctx: Ctx, available: Option<Available>) -> TaskResult<Published> {
    // The task also runs if `realtime_cdc` was skipped, so the engine cannot guarantee that its input exists.
    let days = available.ok_or_else(|| skip("no days were found to compute"))?.days;
    let place = Lakehouse::of(&ctx).await?;
    let mut publisher = publisher(&ctx, &place).await?;
    let mut frames = demand_frames(&ctx, &place, days, publisher.now).await?;
    frames.set("forecasts", forecasts(&place, days).await?);
    let statement = include_str!("sql/ml_demand_prediction_features.sql");
    let rows = frames.make(&ML_FEATURES.spec, statement).await?;
    publisher.add(ML_FEATURES.replacing(days, rows.into())).await?;
    publisher.add(FARES.replacing(days, fare_rows(trips_table(&place).await?, days, frames))).await?;
    publisher.publish()
}

/// Returns the forecasts for some days that were made before the last of these days. A forecast has no hours before its
/// reference date.
async fn forecasts(place: &Lakehouse, days: Days) -> TaskResult<DataFrame> {
    let rows = match filled(place, "ml.demand_forecast").await? {
        None => RecordBatch::new_empty(DEMAND.spec.schema()),
        Some(table) => {
            let columns = ["reference_date", "location_id", "prediction_hour", "predicted_demand", "confidence_score"];
            let filter = days.rows("prediction_hour").and(Filter::lt(DEMAND.day, days.last.to_string()));
            collect(table.scan().columns(columns).filter(filter)).await?
        }
    };
    from_batches(&[rows])
}

/// Computes the rows of `FARES` day by day, each while the previous day is written. Memory holds two days of trips and
/// the fares of a week.
fn fare_rows(trips: Table, days: Days, frames: SqlFrames) -> Batches {
    let (trips_of_day, statement) = (include_str!("sql/fares.sql"), include_str!("sql/fare_prediction_features.sql"));
    Batches::read_ahead(FARES.spec.schema(), move |taker| async move {
        let (mut history, mut made) = (FareHistory::default(), Vec::new());
        for day in days.and_before(fares::HISTORY_DAYS).each() {
            let (trips, mut frames) = (&trips, frames.clone());
            let computed = async move {
                let scan = scan_for(trips, trips_of_day).filter(Days::only(day).rows("pickup_datetime"));
                let rows = collect(scan).await?;
                let step = blocking(move |_| {
                    frames.set("rows", from_batches(&[rows])?);
                    let trips = history.describe(frames.query(trips_of_day)?)?;
                    if !days.has(day) {
                        return Ok((history, Vec::new()));
                    }
                    frames.set("fares", fares::identify(trips)?);
                    Ok((history, frames.batches(statement, &[], &FARES.spec.schema())?))
                });
                step.await
            };
            let (computed, has_room) = tokio::join!(computed, taker.take_all(made));
            if !has_room {
                return Ok(());
            }
            (history, made) = computed?;
        }
        taker.take_all(made).await;
        Ok(())
    })
}

/// Returns the frames `zones`, `hours` of the days, `run`, and `demand`; `sql/demand.sql` describes the last one.
async fn demand_frames(ctx: &Ctx, place: &Lakehouse, days: Days, now: DateTime<Utc>) -> TaskResult<SqlFrames> {
    let history = days.and_before(DEMAND_HISTORY_DAYS);
    let mut frames = SqlFrames::default();
    frames.set("zones", from_batches(&[zones(place).await?])?);
    frames.set("hours", sources::hours(place, days).await?);
    frames.set("run", frame_of("now", vec![now.timestamp_micros()])?);
    frames.set("span", history.span()?);
    frames.set("pickups", pickups(ctx, &trips_table(place).await?, history).await?);
    add_frame(&mut frames, "demand", include_str!("sql/demand.sql")).await?;
    Ok(frames)
}

/// Runs a statement over the frames on a thread of the pool, and adds its result to the frames.
async fn add_frame(frames: &mut SqlFrames, name: &str, statement: &'static str) -> TaskResult<()> {
    let inputs = frames.clone();
    frames.set(name, blocking(move |_| inputs.query(statement)).await?);
    Ok(())
}
