//! The retail pipelines and the weather of cities on Spark: their tables equal the local engine's tables, and a killed
//! process leaves no partial table. These tests take minutes; `make torture` runs them.

mod merge;
mod tables;
mod upkeep;

use crate::layers::{assert_loaded_is_golden, content, published};
use crate::openweather;
use crate::retail::{assert_gold_is_as_in_process, world_of_a_dirty_shop};
use crate::shop;
use crate::world::World;
use orch_test_support::{Spark, iceberg_jars, spark};
use serde_json::{Value, json};
use std::process::Command;
use tokio::sync::{Mutex, MutexGuard};

/// Lock for the cluster, held by the test that uses it.
static TURN: Mutex<()> = Mutex::const_new(());

/// Replaces the worker by one with this Spark connection.
fn with_spark(world: &mut World, worker: u32, connection: String) -> u32 {
    world.kill(worker);
    world.set("ORCH_CONN_SPARK_DEFAULT", connection);
    start_patient_worker(world)
}

/// Returns a world with a worker, and a connection to a Spark that has its lake as a catalog. The guard reserves the
/// Spark.
async fn world_with_spark() -> (MutexGuard<'static, ()>, World, u32, String) {
    let turn = TURN.lock().await;
    let spark = spark().await;
    let mut world = World::new().await.at_work();
    let worker = world.first_worker();
    let connection = connect_catalog(&mut world, spark).await;
    (turn, world, worker, connection)
}

/// Returns a connection to this Spark with the lake of the world as catalog `orch`, which a server of the bundle
/// serves.
async fn connect_catalog(world: &mut World, spark: &Spark) -> String {
    let token = world.add_key("op", "all").await;
    let (_, address) = world.start_server(&["catalog", "--port", "0"]);
    let mut connection: Value = serde_json::from_str(&spark.connection(&spark.master())).unwrap();
    let extra = &mut connection["extra"];
    extra["jars"] = json!(format!("{},{}", extra["jars"].as_str().unwrap(), iceberg_jars().join(",")));
    let catalog = "spark.sql.catalog.orch";
    extra["conf"][catalog] = json!("org.apache.iceberg.spark.SparkCatalog");
    for (key, value) in [("type", "rest"), ("uri", &format!("http://{address}")), ("token", &token)] {
        extra["conf"][format!("{catalog}.{key}")] = json!(value);
    }
    connection.to_string()
}

/// Starts a worker with a long lease: next to Java it may miss heartbeats, and would lose its tasks.
fn start_patient_worker(world: &mut World) -> u32 {
    world.start(&["worker", "--lease", "15s", "--paused-at-creation=false"])
}

fn wait_for_log(world: &World, (dag, task, run): (&str, &str, &str), words: &str) {
    world.wait_for(words, &["tasks", "logs", dag, task, run], |ended| ended.out.contains(words));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_statements_make_the_same_tables_on_both_engines() {
    let _turn = TURN.lock().await;
    let spark = spark().await;
    let mut world = World::new().await;
    let shop = shop::whole().await;
    world.set("ORCH_CONN_RETAIL_MYSQL", shop.to_uri());
    let mut world = world.at_work();
    let buckets = world.path().join("data/buckets");

    world.good("retail_master_pipeline", "local", &json!({}));
    let local = published(&buckets);
    assert!(local.values().all(|(engine, ..)| engine == "local"));

    // An alias triggers the DAG. Each DAG triggers the next.
    let worker = world.first_worker();
    with_spark(&mut world, worker, spark.connection(&spark.master()));
    world.run(&["dags", "trigger", "ingest_mysql_to_raw", "--run-id", "spark"]).done();
    wait_for_log(&world, ("ingest_mysql_to_raw_spark", "ingest_mysql_raw_spark", "spark"), "making `categories`");
    let shown = Command::new("ps").args(["-A", "-ww", "-o", "args="]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("ExecutorBackend"), "an executor is at work");
    world.wait_good("ingest_mysql_to_raw_spark", "spark");
    world.wait_for(
        "the load",
        &["dags", "list-runs", "silver_gold_to_postgres", "--state", "success", "-o", "json"],
        |ended| ended.out.contains("operator_triggered"),
    );
    assert_loaded_is_golden(&world).await;
    let remote = published(&buckets);
    assert!(remote.values().all(|(engine, ..)| engine == "spark"), "{remote:?}");
    assert_eq!(content(&remote), content(&local));

    let log = world.run(&["tasks", "logs", "ingest_mysql_to_raw_spark", "ingest_mysql_raw_spark", "spark"]).done();
    let secret = shop.password.as_deref().unwrap();
    assert!(!shown.contains(secret), "the password is on a command line");
    assert!(!log.contains(secret), "the password is in the log");
    assert!(log.contains("stage ") && log.contains(" tasks done"), "{log}");

    world.good("etl_minio_postgres", "spark", &json!({}));
    assert_eq!(
        world.csv("select * from transactions order by id").await,
        "id,name,amount\n1,Alice,110.00000000000001\n2,Bob,220.00000000000003\n3,Charlie,330\n"
    );
    assert_eq!((spark.executors(), Spark::drivers("orch-spark-")), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dirty_shop_has_the_same_gold_in_process_and_on_spark() {
    let _turn = TURN.lock().await;
    let spark = spark().await;
    let mut world = world_of_a_dirty_shop().await;
    let worker = world.first_worker();
    with_spark(&mut world, worker, spark.connection(&spark.master()));
    assert_gold_is_as_in_process(&world, "spark").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_weather_of_cities_is_golden_on_spark() {
    let _turn = TURN.lock().await;
    let spark = spark().await;
    let mut world = World::new().await.at_work();
    world.wait_for("the topic", &["topics", "list"], |ended| ended.out.contains(openweather::TOPIC));
    for lot in &openweather::lots() {
        world.tell(lot);
    }
    world.run(&["dags", "unpause", "kafka_to_raw_dag"]).done();
    world.good("kafka_to_raw_dag", "whole", &json!({}));
    let worker = world.first_worker();
    with_spark(&mut world, worker, spark.connection(&spark.master()));
    world.sum_up_openweather("spark");
    world.assert_views("public").await;
    world.assert_view("public.weather_bt_daily", None, "weather_bt_daily").await;
}

const SILVER: (&str, &str) = ("process_raw_to_silver", "raw_to_silver");

/// Starts the silver job and waits until it writes `orders_fact`.
fn begin(world: &World, run: &str) {
    world.run(&["dags", "trigger", SILVER.0, "--run-id", run]).done();
    wait_for_log(world, (SILVER.0, SILVER.1, run), "making `orders_fact`");
}

fn kill(pids: &[u32]) {
    for pid in pids {
        let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
}

/// Waits until all processes of a job have exited.
async fn gone(spark: &Spark, of: &str) {
    let begun = std::time::Instant::now();
    while !(spark.executors().is_empty() && Spark::drivers(of).is_empty()) {
        assert!(begun.elapsed() < std::time::Duration::from_mins(1), "a driver or an executor is left");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_processes_leave_no_partial_table_and_no_process() {
    let _turn = TURN.lock().await;
    let spark = spark().await;
    let mut world = World::new().await;
    // The temporary folder identifies the drivers of this test.
    let files = world.path().join("tmp");
    std::fs::create_dir(&files).unwrap();
    world.set("TMPDIR", files.display().to_string());
    world.set("ORCH_CONN_RETAIL_MYSQL", shop::whole().await.to_uri());
    let mut world = world.at_work();
    let files = files.display().to_string();
    world.run(&["dags", "pause", "process_silver_to_gold"]).done();
    world.good("retail_master_pipeline", "local", &json!({}));
    let buckets = world.path().join("data/buckets");
    let before = published(&buckets);

    let worker = world.first_worker();
    let worker = with_spark(&mut world, worker, spark.connection("spark://127.0.0.1:1"));
    world.run(&["dags", "trigger", SILVER.0, "--run-id", "down"]).done();
    let hint = "does not answer";
    world.wait_for("the error", &["tasks", "logs", SILVER.0, SILVER.1, "down"], |ended| {
        let all = format!("{}{}", ended.out, ended.err);
        all.contains("the Spark master `spark://127.0.0.1:1`") && all.contains(hint)
    });
    world.run(&["runs", "cancel", SILVER.0, "down"]).done();
    assert_eq!(published(&buckets), before);

    let worker = with_spark(&mut world, worker, spark.connection(&spark.master()));
    begin(&world, "cancelled");
    world.run(&["runs", "cancel", SILVER.0, "cancelled"]).done();
    gone(spark, &files).await;
    assert_eq!(published(&buckets), before);

    begin(&world, "driver");
    kill(&Spark::drivers(&files));
    world.wait_good(SILVER.0, "driver");
    gone(spark, &files).await;
    let repaired = published(&buckets);
    assert_eq!(content(&repaired), content(&before));
    assert_ne!(repaired, before, "the retry made silver on Spark");

    begin(&world, "worker");
    world.kill(worker);
    gone(spark, &files).await;
    assert_eq!(published(&buckets), repaired);
    start_patient_worker(&mut world);
    world.wait_good(SILVER.0, "worker");
    assert_eq!(content(&published(&buckets)), content(&before));
    gone(spark, &files).await;
}
