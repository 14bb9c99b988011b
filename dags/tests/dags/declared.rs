//! Checks of the DAGs, streams and dashboards that the bundle declares. They are not in the library, because a library
//! test that refers to tasks compiles all their code again.

use orch::{Dag, Dashboard};
use orch_dags::retail::tables::{self, GOLD, SILVER};
use orch_dags::{DASHBOARDS, MAINTENANCE};
use orch_lake::table::spec::Kind;

#[test]
fn every_dag_and_every_stream_is_right() {
    for dag in orch_dags::dags() {
        let id = dag.spec().dag_id.clone();
        dag.check().unwrap_or_else(|problems| panic!("{id}: {problems:?}"));
    }
    for stream in orch_dags::streams() {
        stream.check().unwrap();
    }
    assert_eq!(orch_dags::retail::capture::streams().len(), 7);
    for id in ["mysql_to_minio_ingestion", "nyc_taxi_iceberg_etl", "demand_forecast", "fare_prediction"] {
        assert!(named(id).tasks().iter().all(|task| !task.doc.is_empty()), "{id}");
    }
}

#[test]
fn the_maintenance_of_the_lake_is_among_the_dags() {
    let tagged = orch_dags::dags().into_iter().filter(|dag| dag.spec().tags == ["lake"]);
    let mut tagged: Vec<String> = tagged.map(|dag| dag.spec().dag_id.clone()).collect();
    let mut maintenance = MAINTENANCE.map(String::from);
    tagged.sort_unstable();
    maintenance.sort_unstable();
    assert_eq!(tagged, maintenance);
}

#[test]
fn passwords_stay_in_raw_and_money_is_exact() {
    for table in tables::lake() {
        assert!(!table.key.is_empty(), "{}", table.name);
        for column in table.columns {
            assert!(!column.name.contains("password"), "{}.{}", table.name, column.name);
            let is_money = ["revenue", "subtotal", "price"].iter().any(|word| column.name.ends_with(word));
            assert_eq!(is_money, column.kind == Kind::Decimal(12, 2), "{}.{}", table.name, column.name);
        }
    }
}

#[test]
fn tasks_wait_for_those_of_the_documents() {
    for (id, tasks) in [
        (
            "mysql_to_minio_ingestion",
            "ingest_categories; ingest_customers; ingest_departments; ingest_order_items; ingest_orders; ingest_products",
        ),
        ("ingest_mysql_to_raw_spark", "ingest_mysql_raw_spark; trigger_raw_to_silver < ingest_mysql_raw_spark"),
        ("process_raw_to_silver", "raw_to_silver; trigger_silver_to_gold < raw_to_silver"),
        ("process_silver_to_gold", "silver_to_gold; trigger_silver_gold_to_postgres < silver_to_gold"),
        ("silver_gold_to_postgres", "write_silver_gold_to_postgres"),
        (
            "retail_master_pipeline",
            "gold_to_postgres < silver_to_gold; ingest_mysql_to_raw; raw_to_silver < ingest_mysql_to_raw; \
             silver_to_gold < raw_to_silver",
        ),
        (
            "nyc_taxi_iceberg_etl",
            "extract_taxi_data; process_to_iceberg < validate_data; update_control_table < process_to_iceberg; \
             validate_data < extract_taxi_data",
        ),
        (
            "nyc_weather_etl",
            "create_locations; fetch_weather; location_to_iceberg < validate; \
             validate < create_locations fetch_weather; weather_to_iceberg < validate",
        ),
        (
            "comprehensive_analytics_pipeline",
            "analytics_transform < check_availability; check_availability < wait_for_sources; \
             ml_features < analytics_transform check_availability realtime_cdc; realtime_cdc < check_availability; \
             wait_for_sources",
        ),
        (
            "demand_forecast",
            "judge_forecasts < look_at_history; look_at_history; predict_demand < look_at_history train_demand; \
             train_demand < look_at_history",
        ),
        ("fare_prediction", "flag_trips < train_fares; train_fares"),
        (
            "weather_master_pipeline",
            "kafka_to_raw_once; weather_5min_agg < kafka_to_raw_once; weather_hourly_batch < weather_5min_agg",
        ),
    ] {
        assert_eq!(tasks_of(&named(id)), tasks, "{id}");
    }
    let dag = named("minio_to_postgres");
    let (first, then): (Vec<_>, Vec<_>) = dag.tasks().iter().partition(|task| task.task_id.starts_with("load_silver_"));
    assert_eq!((first.len(), then.len()), (SILVER.len(), GOLD.len()));
    assert!(then.iter().all(|task| task.upstreams().len() == 5));
}

#[test]
fn dags_are_known_by_the_names_of_the_documents() {
    for (id, alias) in [
        ("mysql_to_minio_ingestion", "ingest-retail-data-mysql"),
        ("silver_retail_etl", "retail-silver-data-etl"),
        ("gold_retail_etl", "retail-gold-data-etl"),
        ("minio_to_postgres", "load-silver-gold-retail-postgres"),
        ("ingest_mysql_to_raw_spark", "ingest_mysql_to_raw"),
        ("silver_gold_to_postgres", "silver_gold_postgres_dag"),
        ("retail_master_pipeline", "master_raw_silver_gold_retail_spark"),
        ("nyc_taxi_iceberg_etl", "simple_nyc_taxi_etl"),
        ("producer_weather_kafka", "produce_weather_to_kafka"),
        ("kafka_to_raw_dag", "dag_kafka_to_raw"),
        ("stream_5min_dag", "dag_stream_5min"),
        ("batch_hourly_dag", "dag_batch_hourly"),
    ] {
        assert!(named(id).spec().aliases.iter().any(|one| one == alias), "{id}");
    }
}

#[test]
fn a_pipeline_that_reads_what_it_wrote_has_one_run_at_a_time() {
    for id in ["nyc_taxi_iceberg_etl", "comprehensive_analytics_pipeline"] {
        assert_eq!(named(id).spec().max_active_runs, Some(1), "{id}");
    }
}

#[test]
fn every_dashboard_can_be_read_and_says_which_dags_fill_it() {
    let dags = orch_dags::dags();
    let is_there = |id: &String| dags.iter().any(|dag| dag.spec().dag_id == *id);
    for (file, text) in DASHBOARDS {
        let dashboard = Dashboard::read(file, text.as_bytes()).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert!(file.starts_with(&dashboard.name), "{file}");
        let named = dashboard.panels.iter().flat_map(|panel| dashboard.dags_of(panel));
        assert!(named.clone().count() >= dashboard.panels.len() && named.clone().all(is_there), "{file}");
    }
}

fn named(id: &str) -> Dag {
    orch_dags::dags().into_iter().find(|dag| dag.spec().dag_id == id).unwrap_or_else(|| panic!("{id}"))
}

/// Returns `task; task < its upstreams`, sorted by name.
fn tasks_of(dag: &Dag) -> String {
    let mut tasks: Vec<String> = dag
        .tasks()
        .iter()
        .map(|task| {
            let mut upstreams = task.upstreams();
            upstreams.sort_unstable();
            let upstreams = upstreams.join(" ");
            if upstreams.is_empty() { task.task_id.clone() } else { format!("{} < {upstreams}", task.task_id) }
        })
        .collect();
    tasks.sort_unstable();
    tasks.join("; ")
}
