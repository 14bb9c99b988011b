//! The bundle of the attacked installation: the lake with its catalog, published queries and stream files. It has no
//! DAGs, so no schedule disturbs a measurement.

use orch::{Connection, TaskResult};
use orch_dags::common::connections::{BUCKETS, LAKE, defaults};
use orch_lake::Lake;
use orch_lake::bucket::Buckets;
use std::process::ExitCode;

fn open_lake(connections: &[Connection]) -> TaskResult<Lake> {
    let [lake, buckets] = connections else { unreachable!("the source names two connections") };
    Lake::of(lake, Buckets::of(buckets)?.options())
}

fn main() -> ExitCode {
    orch::Binary::new(Vec::new)
        .connections(defaults)
        .lake(orch_dags::lake())
        .server(orch_dags::taxi::serving::server())
        .server(orch_dags::common::catalog::server())
        .streams(orch_streams::source(Vec::new, &[LAKE, BUCKETS], open_lake))
        .main()
}
