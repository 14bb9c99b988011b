//! The DAG of the analytics pipeline.

use super::options::Analytics;
use super::tables::{ACTIVITY, AGGREGATIONS, CORRELATION, FARES, FEATURES, ML_FEATURES, PERFORMANCE};
use super::tasks::{analytics_transform, check_availability, ml_features, realtime_cdc, wait_for_sources};
use crate::common::nyc::schema::{HOURLY, ZONES};
use orch::prelude::*;

/// `wait_for_sources` → `check_availability` → [`analytics_transform`, `realtime_cdc`] → `ml_features`, every two hours.
pub fn dags() -> Vec<Dag> {
    let analytics = dag("comprehensive_analytics_pipeline")
        .describe("Trips, weather and changes → analytics, realtime and ml: how zones do, and what models learn from")
        .schedule(cron("0 */2 * * *"))
        .start("2024-01-01")
        .tags(["analytics", "nyc"])
        .owners(["airflow"])
        .max_active_runs(1)
        .build(|d| {
            let asked = d.params::<Analytics>();
            let waited = d.add(wait_for_sources(asked));
            let available = d.add(check_availability(asked).after(waited));
            let trips = asset("lake://nyc_taxi/trips");
            let analytics = analytics_transform(available).inlet(trips.clone()).inlet(asset(&HOURLY.uri()));
            let analytics = analytics.outlet(CORRELATION.asset()).outlet(PERFORMANCE.asset()).outlet(FEATURES.asset());
            let analytics = d.add(analytics);
            let realtime = realtime_cdc(available).inlet(asset("lake://taxi_cdc/trips_cdc")).inlet(asset(&ZONES.uri()));
            let realtime = d.add(realtime.outlet(AGGREGATIONS.asset()).outlet(ACTIVITY.asset()));
            let ml = ml_features(available).inlet(trips).inlet(asset(&HOURLY.uri()));
            d.add(ml.outlet(ML_FEATURES.asset()).outlet(FARES.asset()).after(analytics).after(realtime));
        });
    vec![analytics]
}
