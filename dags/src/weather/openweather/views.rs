//! The raw table → averages of windows of time, by whole days: an object for each day, and the same rows in Postgres. A day that is
//! counted again gives the same object and the same rows.

use super::SILVER_BUCKET;
use super::raw::{INGESTED, MEASURED, ensure};
use crate::common::connections::RETAIL_POSTGRES;
use crate::common::engine::{Format, Job, Layer, Target, View};
use crate::common::lakehouse::Lakehouse;
use arrow::array::{
    ArrayRef, AsArray as _, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use chrono::{DateTime, Days as Day, NaiveDate, NaiveTime, TimeDelta, Utc};
use futures::{FutureExt as _, StreamExt as _};
use orch::prelude::*;
use orch_lake::contract::Contract;
use orch_lake::format::parquet;
use orch_lake::load::{Load, connect, ensure_database};
use orch_lake::table::Op;
use orch_lake::{Batches, Filter, Table};
use orch_lake_sql::BatchSource;
use std::sync::{Arc, LazyLock};

/// Which days are counted, by the UTC clock. Without them, the day of the run, and the one before as long as answers of it may come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Days {
    #[schemars(with = "Option<String>")]
    pub from: Option<NaiveDate>,
    #[schemars(with = "Option<String>")]
    pub to: Option<NaiveDate>,
}

/// Answers of a day come until so long after its end.
const LATE: TimeDelta = TimeDelta::hours(3);
const MOST_DAYS: i64 = 366;

impl Days {
    fn all(&self, now: DateTime<Utc>) -> TaskResult<Vec<NaiveDate>> {
        let to = self.to.unwrap_or_else(|| now.date_naive());
        let from = self.from.unwrap_or_else(|| to.min((now - LATE).date_naive()));
        let days = (to - from).num_days() + 1;
        if !(1..=MOST_DAYS).contains(&days) {
            return Err(fatal(format!("`from` {from} to `to` {to} are {days} days\nhint: name 1 to {MOST_DAYS} days")));
        }
        Ok(from.iter_days().take(usize::try_from(days).unwrap_or(0)).collect())
    }
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counted {
    pub days: usize,
    pub windows: u64,
}

/// How long the windows of a view are.
struct Grain {
    /// In the table `weather_bt`, and as the folder of its objects.
    name: &'static str,
    /// For the engine.
    table: &'static str,
    seconds: i64,
}

const FIVE_MINUTES: Grain = Grain { name: "5min", table: "five_minutes", seconds: 300 };
const HOURLY: Grain = Grain { name: "hourly", table: "hourly", seconds: 3_600 };
const DAILY: Grain = Grain { name: "daily", table: "daily", seconds: 86_400 };

/// What is summed up. Windows begin at whole multiples of their length since 1970.
static READINGS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("city", DataType::Utf8, false),
        Field::new("temp", DataType::Float64, true),
        Field::new("humidity", DataType::Float64, true),
        Field::new("at_second", DataType::Int64, false),
    ]))
});

/// Sums of decimals are the same in whatever order an engine adds them up; averages of doubles are not.
static SUMS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let sum = DataType::Decimal128(28, DECIMALS);
    Arc::new(Schema::new(vec![
        Field::new("city", DataType::Utf8, false),
        Field::new("begins", DataType::Int64, false),
        Field::new("temp", sum.clone(), true),
        Field::new("temps", DataType::Int64, false),
        Field::new("humidity", sum, true),
        Field::new("humidities", DataType::Int64, false),
        Field::new("n", DataType::Int64, false),
    ]))
});
const DECIMALS: i8 = 6;

impl Grain {
    /// A value with more than twelve digits before its point counts as missing.
    fn statement(&self) -> String {
        let begins = format!("at_second - at_second % {}", self.seconds);
        format!(
            "SELECT city, {begins} AS begins, SUM(temp) AS temp, COUNT(temp) AS temps, SUM(humidity) AS humidity, \
             COUNT(humidity) AS humidities, COUNT(*) AS n \
             FROM (SELECT city, at_second, TRY_CAST(temp AS DECIMAL(18, {DECIMALS})) AS temp, \
             TRY_CAST(humidity AS DECIMAL(18, {DECIMALS})) AS humidity FROM readings) AS decimals \
             GROUP BY city, {begins}"
        )
    }

    fn target(&self) -> Target {
        let contract = Contract::of(format!("bucket://{SILVER_BUCKET}/{}", self.name));
        let contract = contract.key(["city", "begins"]).unique(["city", "begins"]);
        Target::new(self.table, SUMS.clone(), self.statement(), contract)
    }
}

#[task(retries = 1, retry_delay = mins(1), timeout = mins(30))]
pub async fn weather_5min_agg(ctx: Ctx, days: Days) -> TaskResult<Counted> {
    let load = Load::into("public", "weather_rt").key(["city", "window_start"]);
    count(&ctx, &days, INGESTED, &[FIVE_MINUTES], load).await
}

#[task(retries = 1, retry_delay = mins(1), timeout = mins(30))]
pub async fn weather_hourly_batch(ctx: Ctx, days: Days) -> TaskResult<Counted> {
    let load = Load::into("public", "weather_bt").key(["grain", "city", "window_start"]);
    let counted = count(&ctx, &days, MEASURED, &[HOURLY, DAILY], load).await?;
    if counted.windows == 0 {
        // The database may not be there yet.
        return Ok(counted);
    }
    // Each grain under a name of its own, as the document has them.
    let db = connect(&ctx.connection(RETAIL_POSTGRES).await?).await?;
    for Grain { name: grain, .. } in [HOURLY, DAILY] {
        let there =
            db.query_one("select to_regclass($1) is not null", &[&format!("public.weather_bt_{grain}")]).await?;
        if !there.get::<_, bool>(0) {
            db.batch_execute(&format!(
                "create or replace view public.weather_bt_{grain} as select city, window_start, window_end, avg_temp, avg_humidity, n \
                 from public.weather_bt where grain = '{grain}'"
            ))
            .await?;
        }
    }
    Ok(counted)
}

/// Makes the views of some days on an engine, and puts them where they belong. `by`: the column of the raw table that says in which
/// window a row is.
async fn count(ctx: &Ctx, days: &Days, by: &'static str, grains: &[Grain], load: Load) -> TaskResult<Counted> {
    let days = days.all(ctx.run_after())?;
    let place = Lakehouse::of(ctx).await?;
    let raw = ensure(&place).await?;
    let windows = if raw.current_snapshot().is_some() {
        summed(ctx, &place, raw, by, (&days, grains)).await?
    } else {
        Vec::new()
    };
    if windows.is_empty() {
        ctx.info(format!("the raw table has nothing of these {} days", days.len()));
        return Ok(Counted { days: days.len(), windows: 0 });
    }
    let silver = place.bucket(SILVER_BUCKET).await?;
    let mut found = Vec::new();
    for of_day in windows.chunk_by(|one, next| (one.grain, one.day()) == (next.grain, next.day())) {
        let rows = rows(of_day, grains.len() > 1)?;
        let key = format!("{}/{}.parquet", of_day[0].grain, of_day[0].day());
        parquet::write(&silver, &key, Batches::of(rows.schema(), vec![rows.clone()])).await?;
        found.push(rows);
    }
    let target = ctx.connection(RETAIL_POSTGRES).await?;
    ensure_database(&target).await?;
    let loaded = load.once_in(ctx).upsert(&target, Batches::from(found)).await?;
    let count = windows.len() as u64;
    ctx.info(format!("{count} windows of {} days are in `{}`; {} changed", days.len(), loaded.table, loaded.written));
    Ok(Counted { days: days.len(), windows: count })
}

/// Sums the readings of some days up, on Spark where one is set up, else in the worker: windows by grain, day, city and time.
async fn summed(
    ctx: &Ctx,
    place: &Lakehouse,
    raw: Table,
    by: &'static str,
    (days, grains): (&[NaiveDate], &[Grain]),
) -> TaskResult<Vec<Window>> {
    let bucket = place.bucket(SILVER_BUCKET).await?;
    let job = Job {
        name: "openweather_views",
        views: vec![readings(raw, by, days)?],
        tables: grains.iter().map(Grain::target).collect(),
        format: Format::Parquet,
        bucket: bucket.clone(),
        options: place.buckets.options().clone(),
        place: Layer::place(ctx),
    };
    Layer::give(ctx, &job, async |layer| {
        let mut windows = Vec::new();
        for grain in grains {
            let sums = layer.rows(&bucket, grain.table, SUMS.clone())?.collect().await?;
            let begin = windows.len();
            windows.extend((0..sums.num_rows()).map(|row| Window::of(grain, &sums, row)));
            windows[begin..].sort_by(|a, b| (a.day(), &a.city, a.begins).cmp(&(b.day(), &b.city, b.begins)));
        }
        Ok(windows)
    })
    .await
}

fn readings(raw: Table, by: &'static str, days: &[NaiveDate]) -> TaskResult<View> {
    let (first, last) = days.first().zip(days.last()).context("there are days")?;
    let end = last.checked_add_days(Day::new(1)).context("a day after the last one")?;
    let limit = |op, day: NaiveDate| {
        let at: DateTime<Utc> = day.and_time(NaiveTime::MIN).and_utc();
        Filter::Compare { column: by.into(), op, value: at.into() }
    };
    let filter = limit(Op::GtEq, *first).and(limit(Op::Lt, end));
    let open: BatchSource = Arc::new(move || {
        let (raw, filter) = (raw.clone(), filter.clone());
        async move {
            let rows = raw.scan().columns(["city", "temp", "humidity", by]).filter(filter).stream().await?;
            Ok(Batches::new(READINGS.clone(), rows.map(|batch| with_second(&batch?))))
        }
        .boxed()
    });
    Ok(View { name: "readings", schema: READINGS.clone(), open, outside: None })
}

/// The moment as seconds since 1970, which every engine counts with alike.
fn with_second(batch: &RecordBatch) -> TaskResult<RecordBatch> {
    let at = batch.column(3).as_primitive::<TimestampMicrosecondType>();
    let seconds: Int64Array = at.unary(|micros| micros.div_euclid(1_000_000));
    let [city, temp, humidity] = [0, 1, 2].map(|column| batch.column(column).clone());
    Ok(RecordBatch::try_new(READINGS.clone(), vec![city, temp, humidity, Arc::new(seconds)])?)
}

#[derive(Debug, Clone, PartialEq)]
struct Window {
    grain: &'static str,
    city: String,
    /// In seconds since 1970.
    begins: i64,
    seconds: i64,
    temp: Option<f64>,
    humidity: Option<f64>,
    rows: i64,
}

impl Window {
    fn of(grain: &Grain, sums: &RecordBatch, row: usize) -> Window {
        let number = |column: usize| sums.column(column).as_primitive::<Int64Type>().value(row);
        let mean = |column: usize| {
            let sum = sums.column(column).as_primitive::<Decimal128Type>();
            let many = number(column + 1);
            (many > 0).then(|| sum.value(row) as f64 / 10_f64.powi(DECIMALS.into()) / many as f64)
        };
        Window {
            grain: grain.name,
            city: sums.column(0).as_string::<i32>().value(row).to_owned(),
            begins: number(1),
            seconds: grain.seconds,
            temp: mean(2),
            humidity: mean(4),
            rows: number(6),
        }
    }

    fn day(&self) -> NaiveDate {
        DateTime::from_timestamp(self.begins, 0).unwrap_or_default().date_naive()
    }
}

fn rows(windows: &[Window], has_grain: bool) -> TaskResult<RecordBatch> {
    let time = |of: fn(&Window) -> i64| -> ArrayRef {
        let micros = windows.iter().map(|window| of(window) * 1_000_000);
        Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("+00:00"))
    };
    let mean =
        |of: fn(&Window) -> Option<f64>| -> ArrayRef { Arc::new(windows.iter().map(of).collect::<Float64Array>()) };
    let text =
        |of: fn(&Window) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(windows.iter().map(of))) };
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("city", text(|window| &window.city)),
        ("window_start", time(|window| window.begins)),
        ("window_end", time(|window| window.begins + window.seconds)),
        ("avg_temp", mean(|window| window.temp)),
        ("avg_humidity", mean(|window| window.humidity)),
        ("n", Arc::new(Int64Array::from_iter_values(windows.iter().map(|window| window.rows)))),
    ];
    if has_grain {
        columns.insert(0, ("grain", text(|window| window.grain)));
    }
    Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| {
        let is_nullable = name.starts_with("avg_");
        (name, column, is_nullable)
    }))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_days_counts_its_own_and_the_end_of_the_one_before() {
        let days = |from: Option<&str>, to: Option<&str>, now: &str| {
            let day = |day: Option<&str>| day.map(|day| day.parse().expect("a day"));
            Days { from: day(from), to: day(to) }.all(now.parse().expect("a time")).map(|days| days.len())
        };
        assert_eq!(days(None, None, "2026-01-02T02:00:00Z").unwrap(), 2);
        assert_eq!(days(None, None, "2026-01-02T04:00:00Z").unwrap(), 1);
        assert_eq!(days(Some("2025-09-01"), Some("2025-09-02"), "2026-01-02T04:00:00Z").unwrap(), 2);
        assert!(days(Some("2025-09-03"), Some("2025-09-02"), "2026-01-02T04:00:00Z").is_err());
        assert!(days(Some("1900-01-01"), None, "2026-01-02T04:00:00Z").unwrap_err().to_string().contains("366"));
    }
}
