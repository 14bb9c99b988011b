//! Captures into topics of Apache Kafka: after an interruption, changes may be repeated and none is lost.

use super::source::Source as _;
use super::{items, shop};
use orch_sdk::task::Connection;
use orch_store::stream::restart_stream;
use orch_streams::Records;
use orch_streams::topic::kafka::KafkaTopic;
use orch_streams::topic::{Most, Position, TopicReader as _};
use orch_test_support::{PrivateServer, kafka};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

const MOST: Most = Most { records: 10_000, bytes: 16 << 20 };
const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_made_of_a_topic_of_kafka_is_the_table() {
    let mut shop = shop(PrivateServer::ITEMS).await;
    let cluster = Connection::from_uri("cluster", &format!("kafka://{}", kafka().await.address())).unwrap();
    shop.world.connections.push(cluster.clone());
    shop.run_statements("insert into item select n, n, 'before' from generate_series(1, 500) n").await;
    let host = shop.host(&items::<PrivateServer>().at("cluster"));
    shop.until_following().await;
    for nth in 0..40 {
        shop.run_statements(&format!(
            "begin; update item set n = n + {nth} where id % 10 = {}; delete from item where id = {nth}; \
             insert into item values ({}, {nth}, 'after'); commit",
            nth % 10,
            1_000 + nth
        ))
        .await;
        if nth % 8 == 7 {
            restart_stream(&mut shop.world.db().await, "readings").await.unwrap();
            shop.world.steered();
        }
    }
    shop.run_statements("insert into item values (-1, 0, 'the end')").await;
    let mut topic = KafkaTopic::open(&cluster, "shop.item").unwrap();
    topic.seek(&[Position { partition: 0, offset: 0 }]).await.unwrap();
    let until = Instant::now() + PATIENCE;
    let (mut records, mut copy) = (Records::default(), BTreeMap::new());
    while !copy.contains_key(r#"{"id":-1}"#) {
        assert!(Instant::now() < until, "the last change does not come: {} keys", copy.len());
        topic.read(&mut records, MOST, until).await.unwrap();
        for record in records.iter() {
            let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
            let mut value: Value = serde_json::from_slice(record.value.unwrap()).unwrap();
            match value["op"].as_str().unwrap() {
                "d" => drop(copy.remove(&key)),
                _ => drop(copy.insert(key, value["after"].take())),
            }
        }
        records.clear();
    }
    assert_eq!(copy, shop.source.rows("item").await);
    host.end().await;
}
