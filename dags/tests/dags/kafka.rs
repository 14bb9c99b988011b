//! The tests of streams with Apache Kafka instead of the built-in log: golden tables, killed workers, replayed topics.

use crate::data;
use crate::streams::{assert_logged_is_golden, assert_users_are_golden};
use crate::taxi_changes;
use crate::world::World;
use orch::{Connection, NewRecord};
use orch_dags::taxi::changes::{TRIPS_PARTITIONS, TRIPS_TOPIC};
use orch_streams::topic::kafka::KafkaProducer;
use orch_test_support::Kafka;
use serde_json::Value;

const LOTS: usize = 5;

/// Topic, number of partitions, and file with its recorded records.
const TOPICS: [(&str, i32, &str); 3] =
    [("weather", 1, "logging_weather"), ("users", 4, "users"), ("openweather", 3, "openweather")];

fn recorded(name: &str) -> Vec<NewRecord> {
    let text = data::text(&format!("streams/{name}.jsonl"));
    let record = |line: &str| {
        let read: Value = serde_json::from_str(line).unwrap();
        match (&read["value"], read["partition"].as_i64()) {
            (value, Some(partition)) if !value.is_null() => NewRecord {
                value: Some(value.to_string().into()),
                partition: i16::try_from(partition).ok(),
                ..NewRecord::default()
            },
            _ => NewRecord { value: Some(line.into()), partition: Some(0), ..NewRecord::default() },
        }
    };
    text.lines().map(record).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_kafka_the_tables_are_golden_as_well() {
    // A separate broker, because other tests use topics with these names on the shared one.
    let broker = Kafka::start().await;
    let topics = Connection::from_uri("topics", &format!("kafka://{}", broker.address())).unwrap();
    let producer = KafkaProducer::open(&topics).unwrap();
    for (topic, partitions, _) in TOPICS {
        producer.create_topic(topic, partitions).await.unwrap();
    }
    let mut world = World::new().await;
    world.set("ORCH_CONN_TOPICS", topics.to_uri());
    let mut worker = world.start_worker();
    producer.create_topic(TRIPS_TOPIC, TRIPS_PARTITIONS).await.unwrap();
    let mut recorded = TOPICS.map(|(topic, _, name)| (topic, recorded(name))).to_vec();
    recorded.push((TRIPS_TOPIC, taxi_changes::recorded()));
    for lot in 0..LOTS {
        for (topic, records) in &recorded {
            let size = records.len().div_ceil(LOTS);
            producer.produce(topic, records.chunks(size).nth(lot).unwrap_or_default()).await.unwrap();
        }
        world.kill(worker);
        worker = world.start_worker();
    }
    assert_eq!(world.streamed("logging_weather", 12_000).await, 0);
    assert_logged_is_golden(&world);
    assert_eq!(world.streamed("users_mesh", 6_000).await, 23);
    assert_users_are_golden(&world);
    let views = ["weather_rt", "weather_bt_hourly", "weather_bt_daily"];
    let all = recorded[2].1.len() as i64;
    for stream in views {
        world.streamed(stream, all).await;
    }
    world.assert_views("live").await;
    taxi_changes::assert_trips_came(&world, 1).await;
    // Replay all topics from the earliest offset. The record counts double, but the tables must end up the same.
    world.run(&["streams", "reset", "logging_weather", "--to-earliest", "--empty-table"]).done();
    world.run(&["streams", "reset", "taxi_trips_cdc", "--to-earliest", "--empty-table"]).done();
    for stream in ["users_mesh", "weather_rt", "weather_bt_hourly", "weather_bt_daily", "taxi_trips"] {
        world.run(&["streams", "reset", stream, "--to-earliest"]).done();
    }
    world.streamed("logging_weather", 24_000).await;
    world.streamed("users_mesh", 12_000).await;
    for stream in views {
        world.streamed(stream, 2 * all).await;
    }
    assert_logged_is_golden(&world);
    assert_users_are_golden(&world);
    world.assert_views("live").await;
    taxi_changes::assert_trips_came(&world, 2).await;
}
