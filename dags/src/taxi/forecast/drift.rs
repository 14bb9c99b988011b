//! Compares forecasts with the actual trips: the error of each day, and unusual hours.

use crate::common::nyc::table::DailyTable;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use iceberg::spec::Transform::Identity;
use orch_lake::{TableSpec, columns};

pub static DRIFT: DailyTable = DailyTable {
    spec: TableSpec::new("ml", "forecast_drift", &["day", "borough"], columns! {
        day: NaiveDate, borough: String, hours: i32, mae: f64, naive_mae: Option<f64>, expected_error: Option<f64>,
        ratio: Option<f64>, is_drifted: bool, model_version: String, created_at: DateTime<Utc>,
    })
    .chart("select day, avg(ratio) as \"error by that expected\" from ml.forecast_drift group by 1 order by 1 desc limit 60"),
    day: "day",
    rules: |contract| contract.rules([("hours of a day", "hours BETWEEN 1 AND 24"), ("error", "mae >= 0")]),
};

pub static ANOMALIES: DailyTable = DailyTable {
    spec: TableSpec::new("ml", "anomalies", &["anomaly_hour", "borough"], columns! {
        anomaly_hour: NaiveDateTime, borough: String, kind: String, actual: i64, expected: f64, lower: f64, upper: f64,
        model_version: String, created_at: DateTime<Utc>,
    })
    .partition(&[("kind", Identity)])
    .chart("select borough, count(*) as hours from ml.anomalies group by 1 order by 2 desc"),
    day: "anomaly_hour",
    rules: |contract| contract.rules([("trips", "actual >= 0"), ("lower bound", "lower >= 0")]),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::nyc::table::frame_of;
    use orch_lake::frame::sql::SqlFrames;
    use polars::prelude::{DataType, IntoLazy as _, TimeUnit, col, df};

    /// Forecasts for Queens: 10 trips (5 to 15) in each hour of three days. 11 trips start in each hour of the first
    /// day, except one hour without trips, and 20 in each hour of the second day. The third day was not loaded.
    #[test]
    fn a_day_far_off_is_drift_and_an_hour_beyond_the_band_is_unusual() {
        const FIRST: i64 = 7 * 24;
        let hours: Vec<i64> = (FIRST..FIRST + 72).collect();
        let all = |value: f64| vec![value; hours.len()];
        let micros: Vec<i64> = hours.iter().map(|hour| hour * 3_600_000_000).collect();
        let forecasts = df!("borough" => vec!["Queens"; 72], "prediction_hour" => micros, "reference_date" => vec![0; 72],
            "predicted_demand" => all(10.0), "lower_99" => all(5.0), "upper_99" => all(15.0), "expected_error" => all(1.0),
            "model_version" => vec!["v"; 72]).expect("a frame");
        let timestamps = col("prediction_hour").cast(DataType::Datetime(TimeUnit::Microseconds, None));
        let forecasts = forecasts.lazy().with_column(timestamps).collect();
        let came = |hour: &i64| if *hour < FIRST + 24 { 11 } else { 20 };
        let pickups: Vec<i64> = (0..FIRST + 48).filter(|hour| *hour != FIRST + 5).collect();
        let trips: Vec<i32> = pickups.iter().map(came).collect();
        let pickups = df!("hour" => &pickups, "zone" => vec![1; pickups.len()], "trips" => trips);
        let zones = df!("location_id" => [1], "borough" => ["Queens"]);
        let mut frames = SqlFrames::default();
        frames.set("span", frame_of("hour", (0..FIRST + 72).collect()).expect("a frame"));
        frames.set("run", frame_of("now", vec![0]).expect("a frame"));
        for (name, frame) in [("forecasts", forecasts), ("pickups", pickups), ("zones", zones)] {
            frames.set(name, frame.expect(name));
        }
        let judged = frames.query(include_str!("sql/judged.sql")).expect("rows");
        frames.set("judged", judged);
        let statement = include_str!("sql/forecast_drift.sql");
        frames.batches(statement, &[], &DRIFT.spec.schema()).expect("the columns of the table");
        let drift = frames.query(statement).expect("rows");
        frames.set("drift", drift);
        let drift = frames.query("SELECT ratio, is_drifted FROM drift ORDER BY day").expect("rows");
        assert_eq!(drift, df!("ratio" => [33.0 / 24.0, 10.0], "is_drifted" => [false, true]).expect("a frame"));
        let statement = include_str!("sql/anomalies.sql");
        frames.batches(statement, &[], &ANOMALIES.spec.schema()).expect("the columns of the table");
        let kinds = frames.query(statement).expect("rows");
        frames.set("kinds", kinds);
        let kinds = "SELECT kind, CAST(COUNT(*) AS BIGINT) AS hours FROM kinds GROUP BY kind ORDER BY kind";
        let kinds = frames.query(kinds).expect("rows");
        assert_eq!(kinds, df!("kind" => ["fewer", "more"], "hours" => [1_i64, 24]).expect("a frame"));
    }
}
