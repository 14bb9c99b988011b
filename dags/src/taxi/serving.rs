//! The API of the document: published queries over the tables of the taxi pipelines, and one over the shop's Postgres:
//! `orch-pipelines serving` and `/serving`.
//!
//! Each file of `serving/` is one endpoint.

use crate::common::connections::{BUCKETS, LAKE};
use crate::common::lakehouse;
use orch::{BundleServer, TaskResult};
use orch_serving::{Endpoint, Means, router};

const PORT: u16 = 8000;

macro_rules! endpoints {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("serving/", $name)))),+]
    };
}

const ENDPOINTS: [(&str, &str); 10] = endpoints![
    "analytics_time_series.yaml",
    "analytics_weather_impact.yaml",
    "analytics_zones.yaml",
    "dashboard_stats.yaml",
    "export_trips.yaml",
    "predictions_demand.yaml",
    "realtime_activity.yaml",
    "shop_departments.yaml",
    "trips.yaml",
    "trips_recent.yaml",
];

/// The command of the binary.
pub fn server() -> BundleServer {
    let about = "Answer published queries over HTTP, for callers with a key";
    let server = BundleServer::new("serving", about, PORT, |serving| {
        Box::pin(async move {
            let connections = [serving.connection(LAKE).await?, serving.connection(BUCKETS).await?];
            let (view, pool) = (serving.lake().clone(), serving.pool().clone());
            let (lake, find) = (lakehouse::lake(&connections)?, serving.finder());
            let (endpoints, folder) = (endpoints()?, serving.endpoints_folder());
            router(Means { endpoints, folder, lake, view, find, pool, is_behind_web: serving.is_behind_web })
        })
    });
    server.behind_web()
}

/// # Errors
/// A fatal error when one of them is wrong.
pub fn endpoints() -> TaskResult<Vec<Endpoint>> {
    ENDPOINTS.iter().map(|(file, text)| Endpoint::read(file, text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_of_the_document_is_there() {
        let mut paths: Vec<String> = endpoints().unwrap().into_iter().map(|endpoint| endpoint.path).collect();
        paths.sort();
        assert_eq!(
            paths,
            [
                "/api/v1/analytics/time-series",
                "/api/v1/analytics/weather-impact",
                "/api/v1/analytics/zones",
                "/api/v1/dashboard/stats",
                "/api/v1/export/trips",
                "/api/v1/predictions/demand",
                "/api/v1/realtime/activity",
                "/api/v1/shop/departments",
                "/api/v1/trips",
                "/api/v1/trips/recent",
            ]
        );
    }
}
