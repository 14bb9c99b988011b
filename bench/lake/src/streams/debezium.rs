//! Debezium for comparison: how fast it copies a Postgres table, and its changes, into a Kafka topic.

use super::LOOK_EVERY;
use anyhow::{Context as _, Result};
use orch_sdk::task::Connection;
use orch_streams::topic::TopicReader as _;
use orch_streams::topic::kafka::{KafkaProducer, KafkaTopic};
use orch_test_support::{Connect, Kafka};
use serde_json::json;
use std::time::Instant;

const CONNECTOR: &str = "orders";
const TOPIC: &str = "debezium.public.orders";

pub(super) struct Debezium {
    connect: Connect,
    topics: Connection,
    _broker: Kafka,
}

impl Debezium {
    /// Starts a broker, Kafka Connect, and a connector that starts with a snapshot.
    pub(super) async fn start(source: &Connection) -> Result<Debezium> {
        let broker = Kafka::start().await;
        let topics = Connection::from_uri("topics", &format!("kafka://{}", broker.address()))?;
        KafkaProducer::open(&topics)?.create_topic(TOPIC, 1).await?;
        let connect = Connect::start(&broker).await;
        let config = json!({
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "database.hostname": "127.0.0.1",
            "database.port": source.port.map(|port| port.to_string()),
            "database.user": source.login,
            "database.password": source.password,
            "database.dbname": source.schema,
            "plugin.name": "pgoutput",
            "publication.autocreate.mode": "filtered",
            "slot.name": "debezium",
            "table.include.list": "public.orders",
            "topic.prefix": "debezium",
        });
        connect.put(CONNECTOR, &config.to_string()).await;
        Ok(Debezium { connect, topics, _broker: broker })
    }

    /// Returns the records per second, from the first one after `before` to the last of `many`.
    pub(super) async fn rate(&self, before: u64, many: u64) -> Result<f64> {
        self.until(before + 1).await?;
        let start = Instant::now();
        self.until(before + many).await?;
        Ok(many as f64 / start.elapsed().as_secs_f64())
    }

    /// Stops the connector, makes the changes, and measures the records per second after its restart.
    pub(super) async fn catches_up(
        self,
        before: u64,
        many: u64,
        changes: impl Future<Output = Result<()>>,
    ) -> Result<f64> {
        self.connect.steer(CONNECTOR, "stop").await;
        changes.await?;
        self.connect.steer(CONNECTOR, "resume").await;
        self.rate(before, many).await
    }

    async fn until(&self, records: u64) -> Result<()> {
        let mut topic = KafkaTopic::open(&self.topics, TOPIC)?;
        loop {
            let bounds = topic.bounds().await?;
            if bounds.first().context("it has a partition")?.next >= records as i64 {
                return Ok(());
            }
            // Brokers do not push end offsets, and reading the records would slow down what is measured.
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
