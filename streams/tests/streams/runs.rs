//! Streams that start runs: each record gets one run, and the number of open runs respects the limit of the DAG.

use crate::world::{World, stream, text, world};
use orch_store::dag::pause;
use orch_store::locks::Locks;
use orch_store::registry::{NewBundle, register_bundle};
use orch_store::run::cancel_run;
use orch_store::stream::{Reset, ResetTo, StreamState, reset_stream, restart_stream};
use orch_store::topic::{NewRecord, ReadFrom, get_topic, read_records};
use orch_store::version::Versions;
use orch_streams::{Runs, Stream};
use serde_json::{Value, json};
use std::sync::Arc;

/// More than any test starts, so that the limit never blocks.
const ALL: u32 = 100_000;

fn starts(per: Runs) -> Stream {
    stream().start_runs("process", per).most_open_runs(ALL)
}

impl World {
    /// Registers a DAG with one task, which no worker runs.
    async fn dag(&self, more: Value) {
        let mut spec = json!({ "dag_id": "process", "max_active_runs": 100_000,
            "tasks": [{ "task_id": "a", "kind": "rust" }] });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let bundle = NewBundle { name: "dags".into(), dags: vec![Arc::new(serde_json::from_value(spec).unwrap())] };
        register_bundle(&mut self.db().await, &bundle, false).await.unwrap();
    }

    /// Returns the confs of the runs, ordered by run id.
    async fn confs(&self) -> Vec<Value> {
        let confs = "select d.conf from dag_run r join dag_run_detail d on d.run = r.id order by r.run_id";
        sqlx::query_scalar(confs).fetch_all(&mut self.db().await).await.unwrap()
    }

    async fn open(&self) -> Vec<(uuid::Uuid, String)> {
        let open = "select id, state::text from dag_run where state in ('queued', 'running') order by id";
        sqlx::query_as(open).fetch_all(&mut self.db().await).await.unwrap()
    }

    async fn again(&self) {
        let to = Reset { partition: None, to: ResetTo::Earliest, empty_table: false };
        reset_stream(&mut self.db().await, "readings", &to).await.unwrap();
        self.steered();
    }
}

/// Returns (partition, offset) of all records that runs were started for, including duplicates.
fn offsets(confs: &[Value]) -> Vec<(i64, i64)> {
    let mut offsets = Vec::new();
    for conf in confs {
        let one = [conf.clone()];
        for record in conf["records"].as_array().map_or(&one[..], Vec::as_slice) {
            offsets.push((record["partition"].as_i64().unwrap(), record["offset"].as_i64().unwrap()));
        }
    }
    offsets.sort_unstable();
    offsets
}

fn both(each: i64) -> Vec<(i64, i64)> {
    (0..2).flat_map(|partition| (0..each).map(move |offset| (partition, offset))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_starts_a_run_and_a_topic_that_is_read_again_none() {
    let world = world().await;
    world.topic().await;
    world.dag(json!({})).await;
    let host = world.host(&starts(Runs::PerRecord));
    world.produce_ids(0..20).await;
    let keyed = NewRecord { partition: Some(0), ..NewRecord::json(&json!({ "id": 20 })).unwrap().key("k") };
    let odd = NewRecord { partition: Some(1), value: Some(b"{".to_vec()), ..NewRecord::default() };
    world.produce(&[keyed, odd]).await;
    let row = world.until(|row| row.records == 22).await;
    assert_eq!((row.quarantined, row.lag), (1, 0));
    assert_eq!((row.spec["starts_runs_of"].as_str(), row.table()), (Some("process"), "dag process"));
    let confs = world.confs().await;
    let mut expected = both(10);
    expected.insert(10, (0, 10));
    assert_eq!(offsets(&confs), expected);
    let of_key = confs.iter().find(|conf| conf["offset"] == 10).unwrap();
    assert_eq!((&of_key["key"], &of_key["value"]), (&json!("k"), &json!({ "id": 20 })));
    assert!(of_key["timestamp"].as_str().unwrap().ends_with('Z'), "{of_key}");
    // An invalid record is in the quarantine topic, with the reason.
    let mut db = world.db().await;
    let topic = get_topic(&mut db, "readings_quarantine").await.unwrap().unwrap();
    let from = ReadFrom { partition: 0, offset: 0, most: 10, most_bytes: i64::MAX };
    let aside = read_records(&mut db, &topic, from).await.unwrap();
    let aside: Value = serde_json::from_slice(aside[0].value.as_deref().unwrap()).unwrap();
    assert_eq!((&aside["partition"], &aside["offset"], &aside["value"]), (&json!(1), &json!(10), &json!("{")));
    assert!(aside["quarantine_reason"].as_str().unwrap().contains("not JSON"), "{aside}");

    world.again().await;
    world.until(|row| row.records == 44).await;
    assert_eq!(world.confs().await.len(), 21);
    // The run names prevent duplicates even without the table of started runs.
    sqlx::query("delete from stream_started").execute(&mut db).await.unwrap();
    world.again().await;
    world.until(|row| row.records == 66).await;
    assert_eq!(world.confs().await.len(), 21);
    // A new topic with the same name has other records at these offsets.
    sqlx::query("delete from topic where name = 'readings'").execute(&mut db).await.unwrap();
    world.topic().await;
    world.produce_ids(0..4).await;
    world.again().await;
    world.until(|row| row.records == 70).await;
    assert_eq!(world.confs().await.len(), 25);
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_for_a_batch_or_a_key_has_all_of_its_records_once() {
    for per in [Runs::PerBatch, Runs::PerKey] {
        let world = world().await;
        world.topic().await;
        world.dag(json!({})).await;
        let host = world.host(&starts(per));
        for lot in 0..4 {
            let record = |nth: i64| text(&json!({ "id": nth }).to_string(), nth).key(format!("k{}", nth % 3));
            let records: Vec<NewRecord> = (lot * 10..(lot + 1) * 10).map(record).collect();
            world.produce(&records).await;
            world.until(|row| row.records >= lot * 10).await;
        }
        world.until(|row| row.records == 40).await;
        let confs = world.confs().await;
        assert_eq!(offsets(&confs), both(20), "{per:?}");
        let fits = |conf: &Value| {
            let records = conf["records"].as_array().unwrap();
            per == Runs::PerBatch || records.iter().all(|record| record["key"] == conf["key"])
        };
        assert!(confs.iter().all(fits), "{per:?}: {confs:?}");
        // Reading the whole topic at once would form other batches.
        world.again().await;
        world.until(|row| row.records == 80).await;
        assert_eq!(world.confs().await.len(), confs.len(), "{per:?}");
        // A start in the middle of a batch would give the runs other names.
        let to = Reset { partition: None, to: ResetTo::Offset(3), empty_table: false };
        reset_stream(&mut world.db().await, "readings", &to).await.unwrap();
        world.steered();
        world.until(|row| row.records == 114).await;
        assert_eq!(world.confs().await.len(), confs.len(), "{per:?}");
        host.end().await;
    }
}

/// Connections break, the stream is restarted, and processes start and end.
#[tokio::test(flavor = "multi_thread")]
async fn each_record_has_its_run_once_whatever_breaks() {
    let world = world().await;
    world.dag(json!({})).await;
    let produce = async |world: &World, ids| world.produce_ids(ids).await;
    let records = world.break_while(&starts(Runs::PerBatch), produce).await;
    assert_eq!(offsets(&world.confs().await), both(records / 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_wait_in_the_topic_while_a_dag_has_no_room() {
    let world = world().await;
    world.topic().await;
    world.dag(json!({})).await;
    let (mut db, mut versions) = (world.db().await, Versions::default());
    world.produce_ids(0..10).await;
    let host = world.host(&stream().start_runs("process", Runs::PerRecord).most_open_runs(3));
    for records in 3..=10 {
        let row = world.until(|row| row.records == records).await;
        assert_eq!(row.lag, 10 - records);
        let open = world.open().await;
        assert_eq!(open.len(), 3);
        cancel_run(&mut db, &Locks::begin().runs(), &mut versions, open[0].0).await.unwrap();
        world.ended();
    }
    assert_eq!(offsets(&world.confs().await), both(5));
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dag_that_is_paused_queues_runs_and_one_that_is_missing_is_waited_for() {
    let world = world().await;
    world.topic().await;
    let host = world.host(&starts(Runs::PerRecord));
    world.produce_ids(0..2).await;
    let row = world.until(|row| row.failures > 0 && row.state() == StreamState::Failed).await;
    assert!(row.error.as_ref().unwrap().contains("there is no such DAG"), "{row:?}");
    assert!(!row.waits_for_restart, "it is tried again");
    world.dag(json!({})).await;
    let mut db = world.db().await;
    pause(&mut db, &Locks::begin(), &["process".into()]).await.unwrap();
    restart_stream(&mut db, "readings").await.unwrap();
    world.steered();
    world.until(|row| row.records == 2).await;
    let states: Vec<String> = world.open().await.into_iter().map(|(_, state)| state).collect();
    assert_eq!(states, ["queued", "queued"]);
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_do_not_fit_the_params_of_a_dag_are_put_aside() {
    let world = world().await;
    world.topic().await;
    let params = json!({ "type": "object", "properties": { "value": { "type": "object", "required": ["id"] } } });
    world.dag(json!({ "params_schema": params })).await;
    let host = world.host(&starts(Runs::PerRecord));
    world.produce(&[text(r#"{"id": 1}"#, 0), text(r#"{"other": 1}"#, 1)]).await;
    let row = world.until(|row| row.records == 2).await;
    assert_eq!(row.quarantined, 1);
    assert_eq!(offsets(&world.confs().await), [(0, 0)]);
    host.end().await;
}
