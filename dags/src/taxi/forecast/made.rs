//! The forecasts of boroughs, read back: of each hour the newest one that was made before its day.

use super::demand::BOROUGHS;
use crate::common::lakehouse::Lakehouse;
use crate::common::nyc::days::Days;
use crate::common::nyc::forecasts::{number, rows_of};
use crate::common::nyc::grid::hour_of;
use crate::common::nyc::sources::{filled, longs};
use arrow::array::AsArray as _;
use arrow::datatypes::{Date32Type, Float64Type};
use orch::TaskResult;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a forecast said of a borough and an hour.
#[derive(Debug, Clone, PartialEq)]
pub struct BoroughForecast {
    pub reference: i32,
    pub demand: f64,
    pub of_99: Option<(f64, f64)>,
    pub error: Option<f64>,
    pub version: Arc<str>,
}

/// By hour and borough.
pub type BoroughForecasts = BTreeMap<(i64, String), BoroughForecast>;

/// The forecasts of boroughs for these days. `None`: no forecast has an hour of these days.
///
/// # Errors
/// The lake cannot be read.
pub(crate) async fn boroughs_before(place: &Lakehouse, days: Days) -> TaskResult<Option<BoroughForecasts>> {
    let Some(table) = filled(place, "ml.borough_forecast").await? else { return Ok(None) };
    let columns = [
        "reference_date",
        "borough",
        "prediction_hour",
        "predicted_demand",
        "lower_99",
        "upper_99",
        "expected_error",
        "model_version",
    ];
    let mut newest = BoroughForecasts::new();
    for batch in table.scan().columns(columns).filter(rows_of(BOROUGHS.day, days)).collect().await? {
        let reference = batch.column(0).as_primitive::<Date32Type>();
        let [borough, version] = [1, 7].map(|at| batch.column(at).as_string::<i32>());
        let hour = longs(batch.column(2))?;
        let [demand, lower, upper, error] = [3, 4, 5, 6].map(|at| batch.column(at).as_primitive::<Float64Type>());
        for at in 0..batch.num_rows() {
            let said = BoroughForecast {
                reference: reference.value(at),
                demand: demand.value(at),
                of_99: number(lower, at).zip(number(upper, at)),
                error: number(error, at),
                version: version.value(at).into(),
            };
            let key = (hour_of(hour.value(at)), borough.value(at).to_owned());
            let is_newer = newest.get(&key).is_none_or(|known| known.reference < said.reference);
            if is_newer {
                newest.insert(key, said);
            }
        }
    }
    Ok((!newest.is_empty()).then_some(newest))
}
