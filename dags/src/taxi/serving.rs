//! The HTTP API of the taxi pipelines: published queries over their tables, and one over the shop's database. The
//! command is `orch-pipelines serving`, the path on the web server `/serving`.
//!
//! Each file in `serving/` is one endpoint.

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

pub fn server() -> BundleServer {
    let about = "Serve published queries over HTTP to callers with an API key";
    let server = BundleServer::new("serving", about, PORT, |serving| {
        Box::pin(async move {
            let connections = [serving.connection(LAKE).await?, serving.connection(BUCKETS).await?];
            let (view, pool) = (serving.lake().clone(), serving.pool().clone());
            let (lake, find) = (lakehouse::lake(&connections)?, serving.finder());
            let examples: &[(&str, &str)] = if serving.has_examples { &ENDPOINTS } else { &[] };
            let endpoints = examples.iter().map(|(file, text)| Endpoint::read(file, text));
            let (endpoints, folder) = (endpoints.collect::<TaskResult<_>>()?, serving.endpoints_folder());
            router(Means { endpoints, folder, lake, view, find, pool, is_behind_web: serving.is_behind_web })
        })
    });
    server.behind_web()
}
