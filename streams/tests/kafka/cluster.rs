//! A cluster with several brokers, one of which is killed.

use super::world::{MANY, PATIENCE, connection, record};
use orch_sdk::task::Connection;
use orch_streams::Records;
use orch_streams::topic::kafka::{KafkaProducer, KafkaTopic};
use orch_streams::topic::{Position, TopicReader};
use orch_test_support::Kafka;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::json;
use tokio::time::Instant;

const TOPIC: &str = "events";
const BATCH: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_leader_costs_no_record_and_doubles_none() {
    let mut brokers = Kafka::cluster(3).await;
    let addresses: Vec<String> = brokers.iter().map(Kafka::address).collect();
    let extra = [("bootstrap.servers".to_string(), json!(addresses.join(",")))].into_iter().collect();
    let connection = Connection { extra, host: None, port: None, ..connection(&brokers[0]) };
    let producer = KafkaProducer::open(&connection).unwrap();
    producer.create_topic(TOPIC, 1).await.unwrap();
    let mut reader = KafkaTopic::open(&connection, TOPIC).unwrap();
    reader.bounds().await.unwrap();
    reader.seek(&[Position { partition: 0, offset: 0 }]).await.unwrap();

    let (mut wanted, mut read) = (Vec::new(), Vec::new());
    let until = Instant::now() + 2 * PATIENCE;
    for batch in 0..8 {
        let values: Vec<String> = (0..BATCH).map(|number| (batch * BATCH + number).to_string()).collect();
        let records: Vec<_> = values.iter().map(|value| record(0, value)).collect();
        let produced = producer.produce(TOPIC, &records);
        if batch == 3 {
            let leader = leader(&addresses.join(",")).await;
            let dies = brokers.iter_mut().find(|broker| i32::try_from(broker.id()).unwrap() == leader).unwrap();
            // The broker dies while the batch is being sent.
            let (produced, ()) = futures::join!(produced, async { tokio::task::block_in_place(|| dies.kill()) });
            produced.unwrap();
        } else {
            produced.await.unwrap();
        }
        wanted.extend(values);
        let mut records = Records::default();
        while read.len() + records.len() < wanted.len() {
            assert!(Instant::now() < until, "{} of {} records came", read.len() + records.len(), wanted.len());
            // Two of three brokers are enough to read.
            reader.read(&mut records, MANY, until).await.unwrap();
        }
        read.extend(records.iter().map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
    }
    assert_eq!(read, wanted);
}

async fn leader(addresses: &str) -> i32 {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", addresses).create().unwrap();
    let metadata = tokio::task::spawn_blocking(move || consumer.fetch_metadata(Some(TOPIC), PATIENCE).unwrap());
    metadata.await.unwrap().topics()[0].partitions()[0].leader()
}
