//! Change data capture of the taxi database from recorded Debezium records: a table with the current trips, and one
//! with all changes.

use crate::data;
use crate::streams::assert_close;
use crate::world::World;
use orch::NewRecord;
use orch_dags::taxi::changes::TRIPS_TOPIC;
use serde_json::Value;

const LOT: usize = 500;
/// Number of recorded Debezium records, with and without tombstones.
const RECORDS: i64 = 3_829;
const CHANGES: i64 = 3_580;

/// Returns the recorded records, each with its partition.
pub(crate) fn recorded() -> Vec<NewRecord> {
    let text = data::text("streams/lakehouse_trips.jsonl");
    let record = |line: &str| {
        let read: Value = serde_json::from_str(line).unwrap();
        NewRecord {
            key: Some(read["key"].to_string().into()),
            value: (!read["value"].is_null()).then(|| read["value"].to_string().into()),
            partition: read["partition"].as_i64().and_then(|partition| i16::try_from(partition).ok()),
            ..NewRecord::default()
        }
    };
    text.lines().map(record).collect()
}

/// Appends records like the capture of the taxi database, the only writer of its topic. The capture reads no database
/// in this test.
pub(crate) async fn capture(world: &World, records: &[NewRecord]) {
    // The hint makes streams poll the topic.
    let append = "select append_records(topic_no, $2, $3, $4, array_fill(null::jsonb, array[cardinality($2)])), pg_notify('orch', '- 128')
        from find_topic($1)";
    let partitions: Vec<i16> = records.iter().filter_map(|record| record.partition).collect();
    let keys: Vec<_> = records.iter().map(|record| record.key.as_deref()).collect();
    let values: Vec<_> = records.iter().map(|record| record.value.as_deref()).collect();
    let append = sqlx::query(append).bind(TRIPS_TOPIC).bind(partitions).bind(keys).bind(values);
    let appended = append.execute(&mut world.db().await).await.unwrap();
    assert_eq!(appended.rows_affected(), records.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn trips_are_golden_by_their_changes_whatever_is_killed() {
    let mut world = World::new().await;
    let mut worker = world.start_worker();
    world.wait_for("the topic", &["topics", "list"], |ended| ended.out.contains("lakehouse.trips"));
    let changes: Vec<NewRecord> = recorded().into_iter().filter(|record| record.value.is_some()).collect();
    for (number, lot) in changes.chunks(LOT).enumerate() {
        capture(&world, lot).await;
        if number % 2 == 0 {
            world.kill(worker);
            worker = world.start_worker();
        }
    }
    for stream in ["taxi_trips", "taxi_trips_cdc"] {
        assert_eq!(world.streamed(stream, CHANGES).await, 0);
    }
    assert_trips_are_golden(&world);
    // Replay from the earliest offset: deleted rows reappear and are deleted again.
    world.run(&["streams", "reset", "taxi_trips", "--to-earliest"]).done();
    world.run(&["streams", "reset", "taxi_trips_cdc", "--to-earliest", "--empty-table"]).done();
    for stream in ["taxi_trips", "taxi_trips_cdc"] {
        assert_eq!(world.streamed(stream, 2 * CHANGES).await, 0);
    }
    assert_trips_are_golden(&world);
}

/// Counts the tombstones, too, which Debezium writes by default.
pub(crate) async fn assert_trips_came(world: &World, times: i64) {
    for stream in ["taxi_trips", "taxi_trips_cdc"] {
        assert_eq!(world.streamed(stream, times * RECORDS).await, 0);
    }
    assert_trips_are_golden(world);
}

fn assert_trips_are_golden(world: &World) {
    let sql = |select: &str| world.run(&["sql", select, "-o", "csv", "--limit", "0"]).done();
    let numbers = |columns: [&str; 4]| columns.map(|column| format!("cast({column} as bigint) as {column}")).join(", ");
    let [picked, dropped, made, changed] = ["pickup_datetime", "dropoff_datetime", "created_at", "updated_at"];
    let numbers = numbers([picked, dropped, made, changed]);
    let trips = format!(
        "select id, vendor_id, pickup_datetime, dropoff_datetime, passenger_count, trip_distance, pickup_longitude, pickup_latitude, \
         dropoff_longitude, dropoff_latitude, payment_type, fare_amount, extra, mta_tax, tip_amount, tolls_amount, total_amount, \
         created_at, updated_at \
         from (select * exclude (pickup_datetime, dropoff_datetime, created_at, updated_at), {numbers} from taxi_cdc.trips) order by id"
    );
    assert_close(&sql(&trips), "cdc_trips_final_state", 0);
    let done = "select op, count(*), count(distinct kafka_partition * 10000 + kafka_offset) from taxi_cdc.trips_cdc group by op order by op";
    assert_eq!(sql(done).lines().skip(1).collect::<Vec<_>>(), ["c,2000,2000", "d,249,249", "r,400,400", "u,931,931"]);
    // The history of a trip.
    let one = "select count(*), max(source_ts_ms) = (select __source_ts_ms from taxi_cdc.trips where id = 109) from taxi_cdc.trips_cdc where id = 109";
    assert!(sql(one).trim_end().ends_with(",true"), "{}", sql(one));
    let table = world.run(&["lake", "show", "taxi_cdc.trips", "-o", "json"]).done();
    let table: serde_json::Value = serde_json::from_str(&table).unwrap();
    let history = table["properties"]["orch.history"].as_str().unwrap().replace("{id}", "109");
    let told = sql(&history).lines().count() - 1;
    assert!(told > 0 && sql(one).contains(&format!("\n{told},")), "{told} lines of {}", sql(one));
}
