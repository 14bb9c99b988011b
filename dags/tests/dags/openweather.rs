//! The weather of openweathermap.org on both paths, as scheduled DAGs and as streams: golden tables even if processes
//! are killed.

use crate::data;
use crate::streams::assert_close;
use crate::world::World;
use orch_test_support::Sail;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) const TOPIC: &str = "openweather";
const LOTS: usize = 4;

/// Returns the recorded topic in batches of values by partition.
pub(crate) fn lots() -> Vec<BTreeMap<String, Vec<String>>> {
    let recorded = data::text("streams/openweather.jsonl");
    let recorded: Vec<Value> = recorded.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let lot = recorded.len().div_ceil(LOTS);
    let by_partition = |records: &[Value]| {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for record in records {
            values.entry(record["partition"].to_string()).or_default().push(record["value"].to_string());
        }
        values
    };
    recorded.chunks(lot).map(by_partition).collect()
}

fn records(lots: &[BTreeMap<String, Vec<String>>]) -> (i64, i64) {
    let values = || lots.iter().flat_map(|lot| lot.values().flatten());
    (values().count() as i64, values().filter(|value| value.contains("\"_error\":true")).count() as i64)
}

/// Returns a conf with all days of the recording.
fn days() -> Value {
    json!({ "from": "2025-08-31", "to": "2025-09-03" })
}

impl World {
    pub(crate) fn tell(&self, lot: &BTreeMap<String, Vec<String>>) {
        for (partition, values) in lot {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            self.produce(TOPIC, &["--partition", partition], &values);
        }
    }

    /// Recomputes the windows of all days on another engine than the worker's. `run` names the runs.
    pub(crate) fn sum_up_openweather(&self, run: &str) {
        for (dag, task) in [("stream_5min_dag", "weather_5min_agg"), ("batch_hourly_dag", "weather_hourly_batch")] {
            self.run(&["dags", "unpause", dag]).done();
            self.good(dag, run, &days());
            let log = self.run(&["tasks", "logs", dag, task, run]).done();
            assert!(log.contains("rows for `readings` to `"), "{log}");
        }
    }

    /// Compares a table of windows with its golden file.
    pub(crate) async fn assert_view(&self, table: &str, grain: Option<&str>, golden: &str) {
        let of_grain = grain.map_or(String::new(), |grain| format!("where grain = '{grain}'"));
        let select = format!(
            "select city, extract(epoch from window_start)::bigint, extract(epoch from window_end)::bigint, avg_temp, avg_humidity, n \
             from {table} {of_grain} order by city collate \"C\", window_start"
        );
        assert_close(&self.csv(&select).await, golden, 3);
    }

    pub(crate) async fn assert_views(&self, schema: &str) {
        self.assert_view(&format!("{schema}.weather_rt"), None, "weather_rt_5min").await;
        for grain in ["hourly", "daily"] {
            self.assert_view(&format!("{schema}.weather_bt"), Some(grain), &format!("weather_bt_{grain}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_views_are_golden_whatever_is_killed() {
    let mut world = World::new().await;
    let mut worker = world.start_worker();
    world.wait_for("the topic", &["topics", "list"], |ended| ended.out.contains(TOPIC));
    let lots = lots();
    for lot in &lots {
        world.tell(lot);
        world.kill(worker);
        worker = world.start_worker();
    }
    let (all, refused) = records(&lots);
    assert!(refused > 0);
    for stream in ["weather_rt", "weather_bt_hourly", "weather_bt_daily"] {
        assert_eq!(world.streamed(stream, all).await, refused, "{stream}");
    }
    world.assert_views("live").await;
    let reasons = world.csv("select distinct quarantine_reason from live.weather_rt_quarantine").await;
    assert!(reasons.lines().skip(1).all(|reason| reason.starts_with("the API refused with status ")), "{reasons}");
    // Replay the topic from the earliest offset.
    world.run(&["streams", "reset", "weather_rt", "--to-earliest"]).done();
    world.streamed("weather_rt", 2 * all).await;
    world.assert_view("live.weather_rt", None, "weather_rt_5min").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scheduled_views_are_golden_whatever_is_killed_and_however_often_they_run() {
    let mut world = World::new().await.at_work();
    world.wait_for("the topic", &["topics", "list"], |ended| ended.out.contains(TOPIC));
    for dag in ["kafka_to_raw_dag", "stream_5min_dag", "batch_hourly_dag", "weather_master_pipeline"] {
        world.run(&["dags", "unpause", dag]).done();
    }
    let lots = lots();
    let mut worker = world.first_worker();
    for (nth, lot) in lots.iter().enumerate() {
        world.tell(lot);
        let run = format!("lot-{nth}");
        world.run(&["dags", "trigger", "kafka_to_raw_dag", "--run-id", &run]).done();
        if nth == 1 {
            // Kill the worker at an arbitrary time: before the task starts, while it reads or while it publishes.
            world.kill(worker);
            worker = world.start_worker();
        }
        world.wait_good("kafka_to_raw_dag", &run);
    }
    let (all, refused) = records(&lots);
    let raw = "select count(*) as n, count(distinct (kafka_partition || '/' || kafka_offset)) as records, count(city) as cities \
               from weather.openweather";
    let raw = world.run(&["sql", raw, "-o", "csv"]).done();
    let rows = all - refused;
    assert_eq!(raw.lines().nth(1), Some(format!("{rows},{rows},{rows}").as_str()));
    // Recompute existing days, and run without new records.
    world.good("kafka_to_raw_dag", "nothing-new", &json!({}));
    for run in ["first", "again"] {
        world.good("stream_5min_dag", run, &days());
        world.good("batch_hourly_dag", run, &days());
        world.assert_views("public").await;
    }
    world.good("weather_master_pipeline", "all", &days());
    world.assert_views("public").await;
    world.assert_view("public.weather_bt_daily", None, "weather_bt_daily").await;
    let runs = world.run(&["dags", "list-runs", "stream_5min_dag", "-o", "json"]).done();
    // Count the runs that read something, including scheduled runs; each has one output.
    let read = "select count(*) from output o join dag_run r on r.id = o.run
        where r.dag_id = 'kafka_to_raw_dag' and o.value::text like '\"operator_triggered__%'";
    let read: usize = world.csv(read).await.lines().nth(1).unwrap().parse().unwrap();
    assert!(read >= LOTS, "{read}");
    assert_eq!(runs.matches("operator_triggered__").count(), read, "{runs}");
    let objects = world.path().join("data/buckets/spark-weather-silver-data");
    for object in ["5min/2025-09-01.parquet", "hourly/2025-09-01.parquet", "daily/2025-09-01.parquet"] {
        assert!(objects.join(object).exists(), "{object}");
    }
    assert!(world.path().join("data/buckets/spark-raw-weather-data/openweather/metadata").is_dir());

    // The same statements produce the same rows on Sail.
    let sail = Sail::start();
    world.kill(worker);
    // The killed worker may have been executing a scheduled run.
    let writing = || -> Vec<_> {
        let found = std::fs::read_dir(objects.join("_writing")).into_iter().flatten();
        found.map(|entry| entry.unwrap().file_name()).collect()
    };
    let killed = writing();
    world.set("ORCH_CONN_SPARK_DEFAULT", sail.connection());
    world.start_worker();
    world.sum_up_openweather("sail");
    for (dag, task) in [("stream_5min_dag", "weather_5min_agg"), ("batch_hourly_dag", "weather_hourly_batch")] {
        let log = world.run(&["tasks", "logs", dag, task, "sail"]).done();
        assert!(log.contains("; 0 changed"), "{log}");
    }
    let left: Vec<_> = writing().into_iter().filter(|name| !killed.contains(name)).collect();
    assert!(left.is_empty(), "{left:?}");
}
