//! The raw table → averages of time windows, by whole days: one object per day, and the same rows in Postgres.
//! Idempotent.

use super::SILVER_BUCKET;
use super::raw::{INGESTED, MEASURED, RAW};
use crate::common::connections::RETAIL_POSTGRES;
use crate::common::data_end;
use crate::common::engine::{Format, Job, Layer, Target, View};
use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::sources::filled;
use crate::common::rows::select;
use arrow::array::RecordBatch;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use futures::{FutureExt as _, StreamExt as _};
use orch::prelude::*;
use orch_lake::contract::Contract;
use orch_lake::format::parquet;
use orch_lake::frame::sql::SqlFrames;
use orch_lake::frame::{blocking, conform, from_batches};
use orch_lake::load::{Load, connect, ensure_database};
use orch_lake::table::spec::Decimal;
use orch_lake::{Batches, Filter, Table, TableSpec, columns};
use orch_lake_sql::BatchSource;
use std::sync::Arc;

/// The days to compute, in UTC. Default: the day of the run, and the day before while its responses may still arrive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Days {
    #[schemars(with = "Option<String>")]
    pub from: Option<NaiveDate>,
    #[schemars(with = "Option<String>")]
    pub to: Option<NaiveDate>,
}

/// Maximum delay after the end of a day with which its responses arrive.
const LATE: TimeDelta = TimeDelta::hours(3);
const MAX_DAYS: i64 = 366;

impl Days {
    fn all(&self, now: DateTime<Utc>) -> TaskResult<Vec<NaiveDate>> {
        let to = self.to.unwrap_or_else(|| now.date_naive());
        let from = self.from.unwrap_or_else(|| to.min((now - LATE).date_naive()));
        let days = (to - from).num_days() + 1;
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(fatal(format!("`from` {from} to `to` {to} are {days} days\nhint: name 1 to {MAX_DAYS} days")));
        }
        Ok(from.iter_days().take(usize::try_from(days)?).collect())
    }
}

/// Number of computed days and windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counted {
    pub days: usize,
    pub windows: u64,
}

/// Length of windows. Their start times are multiples of it since the Unix epoch.
#[derive(Debug, Clone, Copy)]
struct Grain {
    /// Value of the column `grain`, and folder of the objects.
    name: &'static str,
    /// Name of the table of sums.
    table: &'static str,
    seconds: i64,
}

const FIVE_MINUTES: Grain = Grain { name: "5min", table: "five_minutes", seconds: 300 };
const HOURLY: Grain = Grain { name: "hourly", table: "hourly", seconds: 3_600 };
const DAILY: Grain = Grain { name: "daily", table: "daily", seconds: 86_400 };

/// Input of the sums. Times are seconds since the Unix epoch, because engines differ in their functions for timestamps.
const READINGS: TableSpec = TableSpec::new(
    "weather",
    "readings",
    &[],
    columns! { city: String, temp: Option<f64>, humidity: Option<f64>, at_second: i64 },
);

/// Output of the sums. Sums of decimals do not depend on the order of additions, unlike sums of doubles.
const SUMS: TableSpec = TableSpec::new(
    "weather",
    "sums",
    &["city", "begins"],
    columns! {
        city: String, begins: i64, temp: Option<Decimal<28, 6>>, temps: i64,
        humidity: Option<Decimal<28, 6>>, humidities: i64, n: i64,
    },
);

/// Postgres table of hourly and daily windows.
const WEATHER_BT: TableSpec = TableSpec::new(
    "public",
    "weather_bt",
    &["grain", "city", "window_start"],
    columns! {
        grain: String, city: String, window_start: DateTime<Utc>, window_end: DateTime<Utc>,
        avg_temp: Option<f64>, avg_humidity: Option<f64>, n: i64,
    },
);
/// Postgres table of 5-minute windows, without the column `grain`.
const WEATHER_RT: TableSpec =
    TableSpec::new("public", "weather_rt", &["city", "window_start"], WEATHER_BT.columns.split_at(1).1);

impl Grain {
    /// Returns the table with the sums of each window. A value with more than twelve digits before its decimal point
    /// counts as missing.
    fn target(&self) -> Target {
        let begins = format!("at_second - at_second % {}", self.seconds);
        let statement = format!(
            "SELECT city, {begins} AS begins, SUM(temp) AS temp, COUNT(temp) AS temps, SUM(humidity) AS humidity, \
             COUNT(humidity) AS humidities, COUNT(*) AS n \
             FROM (SELECT city, at_second, TRY_CAST(temp AS DECIMAL(18, 6)) AS temp, \
             TRY_CAST(humidity AS DECIMAL(18, 6)) AS humidity FROM readings) AS decimals \
             GROUP BY city, {begins}"
        );
        let (uri, key) = (format!("bucket://{SILVER_BUCKET}/{}", self.name), || SUMS.key.iter().copied());
        let contract = Contract::of(uri).key(key()).unique(key());
        Target::new(self.table, SUMS.schema(), statement, contract)
    }

    /// Returns the statement that computes the windows of a day from the sums. The averages are the same on every
    /// engine and in every run.
    fn windows(&self, day: NaiveDate, table: &TableSpec) -> String {
        let first = day.and_time(NaiveTime::MIN).and_utc().timestamp();
        let (name, seconds, next) = (self.name, self.seconds, first + DAILY.seconds);
        let columns = table.column_names().collect::<Vec<_>>().join(", ");
        format!(
            "SELECT {columns} FROM (SELECT '{name}' AS grain, city, CAST(begins * 1000000 AS TIMESTAMP) AS window_start, \
             CAST((begins + {seconds}) * 1000000 AS TIMESTAMP) AS window_end, CAST(temp AS DOUBLE) / temps AS avg_temp, \
             CAST(humidity AS DOUBLE) / humidities AS avg_humidity, n \
             FROM sums WHERE begins >= {first} AND begins < {next}) AS windows ORDER BY city, window_start"
        )
    }
}

#[task(retries = 1, retry_delay = mins(1), timeout = mins(30))]
pub async fn weather_5min_agg(ctx: Ctx, days: Days) -> TaskResult<Counted> {
    count(&ctx, &days, INGESTED, &[FIVE_MINUTES], &WEATHER_RT).await
}

#[task(retries = 1, retry_delay = mins(1), timeout = mins(30))]
pub async fn weather_hourly_batch(ctx: Ctx, days: Days) -> TaskResult<Counted> {
    let counted = count(&ctx, &days, MEASURED, &[HOURLY, DAILY], &WEATHER_BT).await?;
    if counted.windows == 0 {
        // The database may not exist yet.
        return Ok(counted);
    }
    // Each grain also has a view. An existing view is not replaced, because that would wait for its readers.
    let db = connect(&ctx.connection(RETAIL_POSTGRES).await?).await?;
    for Grain { name, .. } in [HOURLY, DAILY] {
        db.batch_execute(&format!(
            "do $$ begin
                if to_regclass('public.weather_bt_{name}') is null then
                    create or replace view public.weather_bt_{name} as
                    select city, window_start, window_end, avg_temp, avg_humidity, n from public.weather_bt where grain = '{name}';
                end if;
            end $$"
        ))
        .await?;
    }
    Ok(counted)
}

/// Computes the windows of some days and writes them to objects and a Postgres table. `by` is the column of the raw
/// table that assigns rows to windows.
async fn count(
    ctx: &Ctx,
    days: &Days,
    by: &'static str,
    grains: &'static [Grain],
    table: &'static TableSpec,
) -> TaskResult<Counted> {
    let days = days.all(data_end(ctx))?;
    let place = Lakehouse::of(ctx).await?;
    let windows = match filled(&place, &RAW.id()?.to_string()).await? {
        Some(raw) => windows(ctx, &place, readings(raw, by, &days)?, (&days, grains, table)).await?,
        None => Vec::new(),
    };
    let count = windows.iter().map(|rows| rows.num_rows() as u64).sum();
    if count == 0 {
        ctx.info(format!("the raw table has no rows of these {} days", days.len()));
        return Ok(Counted { days: days.len(), windows: 0 });
    }
    let target = ctx.connection(RETAIL_POSTGRES).await?;
    ensure_database(&target).await?;
    let load = Load::into(table.namespace, table.name).key(table.key.iter().copied()).once_in(ctx);
    let loaded = load.upsert(&target, Batches::of(table.schema(), windows)).await?;
    ctx.info(format!("{count} windows of {} days are in `{}`; {} changed", days.len(), loaded.table, loaded.written));
    Ok(Counted { days: days.len(), windows: count })
}

/// Computes the windows, and writes an object for each grain and day that has any. The sums are computed on Spark if it
/// is configured, otherwise in the worker.
async fn windows(
    ctx: &Ctx,
    place: &Lakehouse,
    readings: View,
    (days, grains, table): (&[NaiveDate], &'static [Grain], &'static TableSpec),
) -> TaskResult<Vec<RecordBatch>> {
    let bucket = place.bucket(SILVER_BUCKET).await?;
    let job = Job {
        name: "openweather_views",
        views: vec![readings],
        tables: grains.iter().map(Grain::target).collect(),
        format: Format::Parquet,
        bucket: bucket.clone(),
        options: place.buckets.options().clone(),
        place: Layer::place(ctx),
    };
    Layer::give(ctx, &job, async |layer| {
        let mut all = Vec::new();
        for grain in grains {
            let sums = layer.rows(&bucket, grain.table, SUMS.schema())?.collect().await?;
            let days = days.to_vec();
            let of_grain = blocking(move |stop| {
                let (mut frames, mut windows) = (SqlFrames::default(), Vec::new());
                frames.set("sums", from_batches(&[sums])?);
                for day in days {
                    stop.check()?;
                    let rows = frames.batches(&grain.windows(day, table), &[], &table.schema())?;
                    if rows.iter().any(|batch| batch.num_rows() > 0) {
                        windows.push((format!("{}/{day}.parquet", grain.name), rows));
                    }
                }
                Ok(windows)
            });
            for (key, rows) in of_grain.await? {
                parquet::write(&bucket, &key, Batches::of(table.schema(), rows.clone())).await?;
                all.extend(rows);
            }
        }
        Ok(all)
    })
    .await
}

/// Returns the rows of the raw table on these days.
fn readings(raw: Table, by: &'static str, days: &[NaiveDate]) -> TaskResult<View> {
    let (first, last) = days.first().zip(days.last()).context("there are days")?;
    let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc().to_rfc3339();
    let end = last.succ_opt().context("`to` has a day after it")?;
    let filter = Filter::ge(by, midnight(*first)).and(Filter::lt(by, midnight(end)));
    let statement = format!("SELECT city, temp, humidity, DIV(CAST({by} AS BIGINT), 1000000) AS at_second FROM rows");
    let open: BatchSource = Arc::new(move || {
        let (raw, filter, statement) = (raw.clone(), filter.clone(), statement.clone());
        async move {
            let rows = raw.scan().columns(["city", "temp", "humidity", by]).filter(filter).stream().await?;
            let readings = move |batch: TaskResult<RecordBatch>| {
                let statement = statement.clone();
                blocking(move |_| conform(&select(&batch?, &statement)?, &READINGS.schema()))
            };
            Ok(Batches::new(READINGS.schema(), rows.then(readings)))
        }
        .boxed()
    });
    Ok(View { name: READINGS.name, schema: READINGS.schema(), open, outside: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_days_include_the_day_before_while_responses_may_arrive() {
        for (from, to, hour, expected) in [
            ("", "", "02", Some(2)),
            ("", "", "04", Some(1)),
            ("2025-09-01", "2025-09-02", "04", Some(2)),
            ("2025-09-03", "2025-09-02", "04", None),
            ("1900-01-01", "", "04", None),
        ] {
            let now = format!("2026-01-02T{hour}:00:00Z").parse().expect("a time");
            let days = Days { from: from.parse().ok(), to: to.parse().ok() }.all(now);
            assert_eq!(days.map(|days| days.len()).ok(), expected, "{from} {to} {hour}");
        }
    }
}
