//! The DAG of the analytics.

use super::demand::{FEATURES, ML_FEATURES};
use super::fares::FARES;
use super::hourly::{CORRELATION, PERFORMANCE};
use super::options::Analytics;
use super::realtime::{ACTIVITY, AGGREGATIONS};
use super::tasks::{analytics_transform, check_availability, ml_features, realtime_cdc, wait_for_sources};
use crate::common::nyc::schema::{HOURLY, ZONES};
use orch::prelude::*;

pub fn dags() -> Vec<Dag> {
    vec![comprehensive_analytics_pipeline()]
}

/// `wait_for_sources` → `check_availability` → [`analytics_transform`, `realtime_cdc`] → `ml_features`, every two hours.
fn comprehensive_analytics_pipeline() -> Dag {
    dag("comprehensive_analytics_pipeline")
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
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::nyc::table::Table;

    #[test]
    fn keys_days_and_partitions_are_columns_that_are_never_null() {
        fn check<R>(table: &Table<R>) {
            let schema = table.schema();
            let partition = table.partition.iter().map(|(column, _)| column);
            for column in table.key.iter().chain(partition).chain([&table.day]) {
                assert!(!schema.field_with_name(column).expect(column).is_nullable(), "{}: {column}", table.uri());
            }
            assert!(table.definition().is_ok() && table.id().is_ok(), "{}", table.uri());
        }
        check(&CORRELATION);
        check(&PERFORMANCE);
        check(&FEATURES);
        check(&ML_FEATURES);
        check(&FARES);
        check(&AGGREGATIONS);
        check(&ACTIVITY);
    }
}
