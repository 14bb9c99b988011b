//! The forecasts that were made, read back: of each hour the newest one that was made before its day.

use super::demand::{BOROUGHS, DEMAND};
use crate::analytics::demand::{Forecasts, Foretold};
use crate::analytics::grid::hour_of;
use crate::analytics::options::Days;
use crate::analytics::sources::{filled, ints, longs};
use crate::analytics::table::Table;
use crate::place::Lakehouse;
use arrow::array::{Array as _, AsArray as _, Float64Array};
use arrow::datatypes::{Date32Type, Float64Type};
use orch::TaskResult;
use orch_lake::Filter;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The forecasts of these days. A forecast knows its reference date and nothing after it, so that any that has an hour of a day
/// was made of what was there before that day.
fn rows_of<R>(table: &Table<R>, days: Days) -> Filter {
    days.rows("prediction_hour").and(Filter::lt(table.day, days.last.to_string()))
}

/// By zone and hour, for these days.
///
/// # Errors
/// The lake cannot be read.
pub(crate) async fn made_before(place: &Lakehouse, days: Days) -> TaskResult<Forecasts> {
    let Some(table) = filled(place, "ml.demand_forecast").await? else { return Ok(Forecasts::new()) };
    let columns = ["reference_date", "location_id", "prediction_hour", "predicted_demand", "confidence_score"];
    let mut newest: HashMap<(i32, i64), (i32, Foretold)> = HashMap::new();
    for batch in table.scan().columns(columns).filter(rows_of(&DEMAND, days)).collect().await? {
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

fn number(column: &Float64Array, at: usize) -> Option<f64> {
    column.is_valid(at).then(|| column.value(at))
}

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

/// The same for boroughs. `None`: no forecast has an hour of these days.
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
    for batch in table.scan().columns(columns).filter(rows_of(&BOROUGHS, days)).collect().await? {
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
