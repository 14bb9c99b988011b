//! `ml.demand_forecast`: the taxi forecasts write it, and the analytics pipeline reads it.

use super::table::{DailyTable, in_zones, row};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use iceberg::spec::Transform::Identity;
use orch_lake::TableSpec;

row! {
    /// The forecast of a zone for an hour.
    pub ZoneHour {
        reference_date: NaiveDate, location_id: i32, zone_name: String, borough: String, prediction_hour: NaiveDateTime,
        hours_ahead: i32, predicted_demand: f64, lower: Option<f64>, upper: Option<f64>, confidence_score: Option<f64>,
        weather_impact_factor: f64, historical_avg: Option<f64>, model: String, model_version: String,
        created_at: DateTime<Utc>,
    }
}

pub static DEMAND: DailyTable = DailyTable {
    spec: TableSpec::new(
        "ml",
        "demand_forecast",
        &["reference_date", "location_id", "prediction_hour"],
        ZoneHour::COLUMNS,
    )
    .partition(&[("reference_date", Identity)])
    .chart(
        "select prediction_hour, sum(predicted_demand) as trips from ml.demand_forecast where reference_date = \
             (select max(reference_date) from ml.demand_forecast) group by 1 order by 1",
    ),
    day: "reference_date",
    rules: |contract| {
        in_zones(contract, &["location_id"]).rules([
            ("horizon", "hours_ahead BETWEEN 1 AND 168"),
            ("demand", "predicted_demand >= 0"),
            ("lower bound", "lower >= 0"),
            ("confidence", "confidence_score BETWEEN 0 AND 1"),
            ("weather impact", "weather_impact_factor BETWEEN 1 AND 1.3"),
        ])
    },
};
