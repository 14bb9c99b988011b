//! The DAGs of the forecasts.

use super::demand::{BOROUGHS, DEMAND};
use super::drift::{ANOMALIES, DRIFT};
use super::fares::{TRIPS, flag_trips, train_fares};
use super::models::MODELS;
use super::options::{Fares, Forecast};
use super::tasks::{judge_forecasts, look_at_history, predict_demand, train_demand};
use crate::common::nyc::schema::{HOURLY, ZONES};
use crate::common::nyc::table::table_asset;
use orch::prelude::*;

/// Table that `comprehensive_analytics_pipeline` computes.
const FARES: &str = "lake://ml/fare_prediction_features";

/// `look_at_history` → `train_demand` → `predict_demand`, and in parallel `judge_forecasts`, each morning.
pub fn demand_forecast() -> Dag {
    dag("demand_forecast")
        .describe("Trips by borough and hour → ml.demand_forecast: a fitted model, its forecasts, and how they did")
        .schedule(cron("30 5 * * *"))
        .start("2024-01-01")
        .tags(["forecast", "nyc"])
        .owners(["airflow"])
        .max_active_runs(1)
        .build(|d| {
            let asked = d.params::<Forecast>();
            let (trips, zones) = (asset("lake://nyc_taxi/trips"), asset(&ZONES.uri()));
            let history = d.add(look_at_history(asked).inlet(trips.clone()));
            let train = train_demand(asked, history).inlet(trips.clone()).inlet(zones.clone());
            let trained = d.add(train.outlet(table_asset(&MODELS)));
            let predict =
                predict_demand(history, trained).inlet(trips.clone()).inlet(zones).inlet(asset(&HOURLY.uri()));
            d.add(predict.inlet(table_asset(&MODELS)).outlet(DEMAND.asset()).outlet(BOROUGHS.asset()));
            let judge = judge_forecasts(asked, history).inlet(trips);
            d.add(judge.inlet(BOROUGHS.asset()).outlet(DRIFT.asset()).outlet(ANOMALIES.asset()));
        })
}

/// `train_fares` → `flag_trips`, each morning.
pub fn fare_prediction() -> Dag {
    dag("fare_prediction")
        .describe("ml.fare_prediction_features → a model of fares, and trips whose fare, speed or duration is unusual")
        .schedule(cron("0 6 * * *"))
        .start("2024-01-01")
        .tags(["forecast", "nyc"])
        .owners(["airflow"])
        .max_active_runs(1)
        .build(|d| {
            let asked = d.params::<Fares>();
            let trained = d.add(train_fares(asked).inlet(asset(FARES)).outlet(table_asset(&MODELS)));
            d.add(flag_trips(asked, trained).inlet(asset(FARES)).inlet(table_asset(&MODELS)).outlet(TRIPS.asset()));
        })
}
