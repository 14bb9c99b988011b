//! The raw table → averages of windows of time, by whole days: an object for each day, and the same rows in Postgres. A day that is
//! counted again gives the same object and the same rows.

use super::SILVER_BUCKET;
use super::raw::{INGESTED, MEASURED, ensure};
use crate::connections::RETAIL_POSTGRES;
use crate::place::Lakehouse;
use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use chrono::{DateTime, Days as Day, NaiveDate, NaiveTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use orch::prelude::*;
use orch_lake::format::parquet;
use orch_lake::load::{Load, connect, ensure_database};
use orch_lake::table::Op;
use orch_lake::{Batches, Filter, Table};
use std::collections::BTreeMap;
use std::sync::Arc;

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

/// Of which windows a view is made.
struct View {
    grain: &'static str,
    /// The folder of its objects.
    folder: &'static str,
    seconds: i64,
    /// The column of the raw table that says which window a row is in.
    by: &'static str,
}

const FIVE_MINUTES: View = View { grain: "5min", folder: "5min", seconds: 300, by: INGESTED };
const HOURLY: View = View { grain: "hourly", folder: "hourly", seconds: 3_600, by: MEASURED };
const DAILY: View = View { grain: "daily", folder: "daily", seconds: 86_400, by: MEASURED };

#[task(retries = 1, retry_delay = mins(1), timeout = mins(30))]
pub async fn weather_5min_agg(ctx: Ctx, days: Days) -> TaskResult<Counted> {
    let load = Load::into("public", "weather_rt").key(["city", "window_start"]);
    count(&ctx, &days, &[FIVE_MINUTES], load, false).await
}

#[task(retries = 1, retry_delay = mins(1), timeout = mins(30))]
pub async fn weather_hourly_batch(ctx: Ctx, days: Days) -> TaskResult<Counted> {
    let load = Load::into("public", "weather_bt").key(["grain", "city", "window_start"]);
    let counted = count(&ctx, &days, &[HOURLY, DAILY], load, true).await?;
    if counted.windows == 0 {
        // The database may not be there yet.
        return Ok(counted);
    }
    // Each grain under a name of its own, as the document has them.
    let db = connect(&ctx.connection(RETAIL_POSTGRES).await?).await?;
    for View { grain, .. } in [HOURLY, DAILY] {
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

async fn count(ctx: &Ctx, days: &Days, views: &[View], load: Load, has_grain: bool) -> TaskResult<Counted> {
    let days = days.all(ctx.run_after())?;
    let place = Lakehouse::of(ctx).await?;
    let raw = ensure(&place).await?;
    let silver = place.bucket(SILVER_BUCKET).await?;
    let mut found = Vec::new();
    for view in views {
        for day in &days {
            let windows = windows(&raw, view, *day).await?;
            if windows.is_empty() {
                continue;
            }
            let rows = rows(view, &windows, has_grain)?;
            let key = format!("{}/{day}.parquet", view.folder);
            parquet::write(&silver, &key, Batches::of(rows.schema(), vec![rows.clone()])).await?;
            found.push(rows);
        }
    }
    let windows = found.iter().map(|rows| rows.num_rows() as u64).sum();
    if windows > 0 {
        let target = ctx.connection(RETAIL_POSTGRES).await?;
        ensure_database(&target).await?;
        let loaded = load.once_in(ctx).upsert(&target, Batches::from(found)).await?;
        ctx.info(format!(
            "{windows} windows of {} days are in `{}`; {} changed",
            days.len(),
            loaded.table,
            loaded.written
        ));
    } else {
        ctx.info(format!("the raw table has nothing of these {} days", days.len()));
    }
    Ok(Counted { days: days.len(), windows })
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Mean {
    sum: f64,
    many: i64,
}

impl Mean {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            (self.sum, self.many) = (self.sum + value, self.many + 1);
        }
    }

    fn get(self) -> Option<f64> {
        (self.many > 0).then(|| self.sum / self.many as f64)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Window {
    temp: Mean,
    humidity: Mean,
    rows: i64,
}

/// By city and start, in seconds since 1970.
type Windows = BTreeMap<(String, i64), Window>;

/// The windows that begin on a day.
async fn windows(raw: &Table, view: &View, day: NaiveDate) -> TaskResult<Windows> {
    let mut windows = Windows::new();
    if raw.current_snapshot().is_none() {
        return Ok(windows);
    }
    let start = day.and_time(NaiveTime::MIN).and_utc();
    let end = start.checked_add_days(Day::new(1)).context("a day after the last one")?;
    let limit = |op, at: DateTime<Utc>| Filter::Compare { column: view.by.into(), op, value: at.into() };
    let rows = raw.scan().columns(["city", "temp", "humidity", view.by]);
    let mut rows = rows.filter(limit(Op::GtEq, start).and(limit(Op::Lt, end))).stream().await?;
    while let Some(batch) = rows.try_next().await? {
        let city = batch.column(0).as_string::<i32>();
        let (temp, humidity) =
            (batch.column(1).as_primitive::<Float64Type>(), batch.column(2).as_primitive::<Float64Type>());
        let at = batch.column(3).as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            let second = at.value(row).div_euclid(1_000_000);
            let start = second.div_euclid(view.seconds) * view.seconds;
            let window = windows.entry((city.value(row).to_owned(), start)).or_default();
            window.temp.add(temp.is_valid(row).then(|| temp.value(row)));
            window.humidity.add(humidity.is_valid(row).then(|| humidity.value(row)));
            window.rows += 1;
        }
    }
    Ok(windows)
}

fn rows(view: &View, windows: &Windows, has_grain: bool) -> TaskResult<RecordBatch> {
    let time = |after: i64| -> ArrayRef {
        let micros = windows.keys().map(|(_, start)| (start + after) * 1_000_000);
        Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("+00:00"))
    };
    let mean = |of: fn(&Window) -> Mean| -> ArrayRef {
        Arc::new(windows.values().map(|window| of(window).get()).collect::<Float64Array>())
    };
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("city", Arc::new(StringArray::from_iter_values(windows.keys().map(|(city, _)| city)))),
        ("window_start", time(0)),
        ("window_end", time(view.seconds)),
        ("avg_temp", mean(|window| window.temp)),
        ("avg_humidity", mean(|window| window.humidity)),
        ("n", Arc::new(Int64Array::from_iter_values(windows.values().map(|window| window.rows)))),
    ];
    if has_grain {
        columns.insert(0, ("grain", Arc::new(StringArray::from_iter_values(windows.keys().map(|_| view.grain)))));
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
