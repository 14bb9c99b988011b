//! `orch-bench-lake`, the benchmark of the data plane, with its own MariaDB and Postgres. `orch-bench-lake measure`
//! runs the driver; every other argument is an ordinary `orch` command with all DAGs of this repository.

#![expect(clippy::cast_precision_loss, reason = "figures of some digits are made from counts and nanoseconds")]

mod analytics;
mod bucket;
mod endpoint;
mod peers;
mod place;
mod retail;
mod serving;
mod shop;
mod sources;
mod streams;
mod tables;
mod taxi;

use orch_bench::targets::{Target, memory, speed, time};
use orch_bench::{Group, Suite};
use std::process::ExitCode;

/// Targets for two cores that also run the database servers.
const TARGETS: [Target; 43] = [
    memory("stream10m_rss_mb", 512.0),
    speed("mysql_parquet_rows_per_s", 1_500_000.0),
    speed("mysql_iceberg_rows_per_s", 1_000_000.0),
    time("iceberg_commit_p50_ms", "ms", 10.0),
    time("iceberg_upsert1000_p50_ms", "ms", 30.0),
    Target { must: None, ..time("commit6_s3_0ms_s", "s", 0.0) },
    Target { must: None, ..time("commit6_s3_50ms_s", "s", 0.0) },
    time("commit6_s3_150ms_s", "s", 3.0),
    Target { must: None, ..speed("compaction_rows_per_s", 0.0) },
    Target { must: None, ..speed("scan_rows_per_s", 0.0) },
    time("silver_gold_ms", "ms", 300.0),
    Target { must: None, ..time("silver_gold_x20_s", "s", 0.0) },
    time("retail_full_run_s", "s", 3.0),
    time("retail_x20_s", "s", 12.0),
    memory("retail_x20_rss_mb", 800.0),
    Target { must: None, ..time("retail_local_s", "s", 0.0) },
    Target { must: None, ..time("retail_sail_s", "s", 0.0) },
    Target { must: None, ..time("retail_spark_s", "s", 0.0) },
    time("taxi3m_s", "s", 6.0),
    memory("taxi3m_rss_mb", 1_024.0),
    time("taxi_increment_ratio", "×", 1.3),
    time("analytics3m_s", "s", 5.0),
    memory("analytics3m_rss_mb", 1_024.0),
    speed("zone_points_per_s", 2_000_000.0),
    time("serving_cached_p95_ms", "ms", 20.0),
    time("serving_distinct_p95_ms", "ms", 250.0),
    memory("serving_rss_mb", 512.0),
    time("catalog_commit_p95_ms", "ms", 15.0),
    time("catalog_page_ms", "ms", 100.0),
    Target { must: None, ..speed("kafka_bare_records_per_s", 0.0) },
    speed("kafka_iceberg_records_per_s", 500_000.0),
    speed("kafka_iceberg_yaml_records_per_s", 300_000.0),
    memory("kafka_iceberg_rss_mb", 256.0),
    speed("kafka_upsert_rows_per_s", 40_000.0),
    time("kafka_freshness_p95_ms", "ms", 1_000.0),
    time("quiet_streams_statements_per_min", "/min", 30.0),
    time("quiet_streams_cpu_percent", "%", 1.0),
    speed("cdc_snapshot_rows_per_s", 1_000_000.0),
    speed("cdc_changes_per_s", 50_000.0),
    memory("cdc_rss_mb", 300.0),
    time("cdc_lag_p95_ms", "ms", 1_000.0),
    Target { must: None, ..speed("debezium_snapshot_rows_per_s", 0.0) },
    Target { must: None, ..speed("debezium_changes_per_s", 0.0) },
];

const GROUPS: [Group; 19] = [
    Group { rows: &["stream10m_rss_mb"], measure: sources::stream },
    Group { rows: &KAFKA, measure: streams::kafka::rows },
    Group { rows: &CHANGES, measure: streams::changes::rows },
    Group { rows: &["debezium_snapshot_rows_per_s", "debezium_changes_per_s"], measure: streams::changes::debezium },
    Group { rows: &["quiet_streams_statements_per_min", "quiet_streams_cpu_percent"], measure: streams::quiet::rows },
    Group { rows: &["taxi3m_s", "taxi3m_rss_mb"], measure: taxi::month },
    Group { rows: &["mysql_parquet_rows_per_s", "mysql_iceberg_rows_per_s"], measure: sources::copy },
    Group { rows: &["iceberg_commit_p50_ms", "iceberg_upsert1000_p50_ms"], measure: tables::commits },
    Group { rows: &["commit6_s3_0ms_s", "commit6_s3_50ms_s", "commit6_s3_150ms_s"], measure: bucket::commits },
    Group { rows: &["compaction_rows_per_s", "scan_rows_per_s"], measure: tables::reads },
    Group { rows: &["taxi_increment_ratio"], measure: taxi::increment },
    Group { rows: &["analytics3m_s", "analytics3m_rss_mb"], measure: analytics::month },
    Group { rows: &["zone_points_per_s"], measure: analytics::points },
    Group { rows: &["serving_cached_p95_ms", "serving_distinct_p95_ms", "serving_rss_mb"], measure: serving::load },
    Group { rows: &["catalog_commit_p95_ms", "catalog_page_ms"], measure: endpoint::requests },
    Group { rows: &["silver_gold_ms", "silver_gold_x20_s"], measure: retail::silver_gold },
    Group { rows: &["retail_full_run_s"], measure: retail::full_run },
    Group { rows: &["retail_x20_s", "retail_x20_rss_mb"], measure: retail::large_run },
    Group { rows: &["retail_local_s", "retail_sail_s", "retail_spark_s"], measure: retail::engines },
];

const KAFKA: [&str; 6] = [
    "kafka_bare_records_per_s",
    "kafka_iceberg_records_per_s",
    "kafka_iceberg_yaml_records_per_s",
    "kafka_iceberg_rss_mb",
    "kafka_upsert_rows_per_s",
    "kafka_freshness_p95_ms",
];

const CHANGES: [&str; 4] = ["cdc_snapshot_rows_per_s", "cdc_changes_per_s", "cdc_rss_mb", "cdc_lag_p95_ms"];

const LAKE: Suite = Suite {
    name: "orch-bench-lake",
    targets: &TARGETS,
    groups: &GROUPS,
    floor: &[],
    is_apart: true,
    orch: || orch_cli::main(orch_dags::binary().source()),
};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [streams::kafka::FILL, address, records] => streams::kafka::fill(address, records),
        _ => orch_bench::main(&LAKE),
    }
}
