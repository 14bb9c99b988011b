//! The bundle `orch-pipelines`: DAGs, streams, dashboards and servers, with default connections that need no other
//! server.

pub mod analytics;
pub mod common;
pub mod retail;
pub mod taxi;
pub mod users;
pub mod weather;

use common::{catalog, connections, lakehouse};
use orch::{Binary, Dag, LakeSource};
use orch_streams::Stream;

pub fn dags() -> Vec<Dag> {
    let pipelines = [
        retail::dags::dags(),
        taxi::dags(),
        weather::dags(),
        analytics::dags::dags(),
        users::dags(),
        common::upkeep::dags(),
        common::merge::dags(),
    ];
    pipelines.into_iter().flatten().collect()
}

pub fn streams() -> Vec<Stream> {
    let pipelines = [weather::streams(), vec![users::stream()], retail::capture::streams(), taxi::streams()];
    pipelines.into_iter().flatten().collect()
}

/// The name and text of each dashboard file.
pub const DASHBOARDS: [(&str, &str); 3] = [
    ("retail.dashboard.yaml", include_str!("retail/retail.dashboard.yaml")),
    ("taxi.dashboard.yaml", include_str!("taxi/taxi.dashboard.yaml")),
    ("weather.dashboard.yaml", include_str!("weather/weather.dashboard.yaml")),
];

/// DAGs that are not examples: commands and pages of the lake trigger them, and `lake_upkeep` maintains all tables.
pub const MAINTENANCE: [&str; 4] = ["lake_upkeep", "lake_rollback", "lake_adopt", "lake_merge"];

/// Returns the bundle. All DAGs except [`MAINTENANCE`] are examples. Archives of runs are stored in buckets.
pub fn binary() -> Binary {
    Binary::new(dags)
        .examples(|dag_id| !MAINTENANCE.contains(&dag_id))
        .connections(connections::defaults)
        .lake(lake())
        .server(weather::logging::server())
        .server(taxi::serving::server())
        .server(catalog::server())
        .dashboards(&DASHBOARDS)
        .streams(orch_streams::source(streams, &LAKE, lakehouse::lake))
        .archive(orch_lake::bucket::archives())
}

/// Connections that the lake needs.
const LAKE: [&str; 2] = [connections::LAKE, connections::BUCKETS];

/// Returns the lake for pages and SQL queries. It uses the connections that tasks use.
pub fn lake() -> LakeSource {
    orch_lake_sql::source(orch_lake_sql::SqlLimits::default(), &LAKE, lakehouse::open_for_queries)
}
