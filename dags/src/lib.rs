//! The pipelines, and the connections that they find where no others were set up: what the bundle `orch-pipelines` is made of.

pub mod analytics;
pub mod catalog;
pub mod connections;
pub mod dashboards;
mod engine;
pub mod forecast;
pub mod logging;
pub mod merge;
mod on_spark;
pub mod openweather;
mod place;
pub mod retail;
pub mod retail_changes;
pub mod serving;
pub mod taxi;
pub mod taxi_changes;
pub mod taxi_source;
mod topics;
pub mod transactions;
pub mod upkeep;
pub mod users;
pub mod weather;
pub mod weather_events;

use orch::{Binary, Dag, LakeSource};
use orch_streams::Stream;

/// All of them.
pub fn dags() -> Vec<Dag> {
    let pipelines = [
        retail::pipelines::dags(),
        retail::spark::pipelines::dags(),
        transactions::dags(),
        taxi::pipelines::dags(),
        taxi_source::dags(),
        weather::pipelines::dags(),
        analytics::pipelines::dags(),
        forecast::pipelines::dags(),
        logging::dags(),
        users::dags(),
        weather_events::dags(),
        openweather::dags(),
        upkeep::dags(),
        merge::dags(),
    ];
    pipelines.into_iter().flatten().collect()
}

/// All streams.
pub fn streams() -> Vec<Stream> {
    let mut streams = vec![logging::stream(), users::stream(), weather_events::stream()];
    streams.extend(openweather::streams());
    streams.extend(retail_changes::streams());
    streams.extend(taxi_changes::streams());
    streams.extend(taxi_source::streams());
    streams
}

/// The bundle `orch-pipelines`: these DAGs and streams, the logging server, published queries, dashboards, connections that need no server, the lake they write to, and archives in
/// buckets.
pub fn binary() -> Binary {
    Binary::new(dags)
        .connections(connections::defaults)
        .lake(lake())
        .server(logging::server())
        .server(serving::server())
        .server(catalog::server())
        .dashboards(&dashboards::DASHBOARDS)
        .streams(orch_streams::source(streams, &LAKE, place::lake))
        .archive(orch_lake::bucket::archives())
}

/// What the lake is opened by.
const LAKE: [&str; 2] = [connections::LAKE, connections::BUCKETS];

/// The lake for pages and for SQL, by the connections that tasks use.
pub fn lake() -> LakeSource {
    orch_lake_sql::source(orch_lake_sql::SqlLimits::default(), &LAKE, place::open_for_queries)
}
