//! The forecasts of zones in `ml.demand_forecast`, read back: of each hour the newest one that was made before its day.

use super::days::Days;
use super::grid::hour_of;
use super::sources::{filled, ints, longs};
use crate::common::lakehouse::Lakehouse;
use arrow::array::{Array as _, AsArray as _, Float64Array};
use arrow::datatypes::{Date32Type, Float64Type};
use orch::TaskResult;
use orch_lake::Filter;
use std::collections::HashMap;

/// The demand that a forecast predicts for a zone and an hour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Foretold {
    pub demand: f64,
    pub confidence: Option<f64>,
}

/// Forecasts by zone and hour.
pub type Forecasts = HashMap<(i32, i64), Foretold>;

/// The forecasts of these days. A forecast knows its reference date and nothing after it, so that any that has an hour of a day
/// was made of what was there before that day.
pub(crate) fn rows_of(reference: &str, days: Days) -> Filter {
    days.rows("prediction_hour").and(Filter::lt(reference, days.last.to_string()))
}

/// By zone and hour, for these days.
///
/// # Errors
/// The lake cannot be read.
pub(crate) async fn made_before(place: &Lakehouse, days: Days) -> TaskResult<Forecasts> {
    let Some(table) = filled(place, "ml.demand_forecast").await? else { return Ok(Forecasts::new()) };
    let columns = ["reference_date", "location_id", "prediction_hour", "predicted_demand", "confidence_score"];
    let mut newest: HashMap<(i32, i64), (i32, Foretold)> = HashMap::new();
    for batch in table.scan().columns(columns).filter(rows_of("reference_date", days)).collect().await? {
        let reference = batch.column(0).as_primitive::<Date32Type>();
        let (zone, hour) = (ints(batch.column(1))?, longs(batch.column(2))?);
        let [demand, confidence] = [3, 4].map(|at| batch.column(at).as_primitive::<Float64Type>());
        for at in 0..batch.num_rows() {
            let foretold = Foretold { demand: demand.value(at), confidence: number(confidence, at) };
            let made = (reference.value(at), foretold);
            let known = newest.entry((zone.value(at), hour_of(hour.value(at)))).or_insert(made);
            if known.0 < made.0 {
                *known = made;
            }
        }
    }
    Ok(newest.into_iter().map(|(key, (_, foretold))| (key, foretold)).collect())
}

pub(crate) fn number(column: &Float64Array, at: usize) -> Option<f64> {
    column.is_valid(at).then(|| column.value(at))
}
