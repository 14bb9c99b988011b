//! The pipelines, and the connections that they find where no others were set up: what the bundle `orch-pipelines` is made of.

pub mod connections;
mod place;
pub mod retail;
pub mod taxi;
pub mod transactions;
mod warehouse;
pub mod weather;

use orch::{Binary, Dag, LakeSource};

/// All of them.
pub fn dags() -> Vec<Dag> {
    let pipelines =
        [retail::pipelines::dags(), transactions::dags(), taxi::pipelines::dags(), weather::pipelines::dags()];
    pipelines.into_iter().flatten().collect()
}

/// The bundle `orch-pipelines`: these DAGs, connections that need no server, the lake they write to, and archives in buckets.
pub fn binary() -> Binary {
    Binary::new(dags).connections(connections::defaults).lake(lake()).archive(orch_lake::bucket::archives())
}

/// The lake for pages and for SQL, by the connections that tasks use.
pub fn lake() -> LakeSource {
    orch_lake_sql::source(orch_lake_sql::SqlLimits::default(), &[connections::LAKE, connections::BUCKETS], place::look)
}
