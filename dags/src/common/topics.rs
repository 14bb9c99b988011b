//! Publishes records into a topic of the connection `topics`: the built-in log, or a Kafka cluster.

use crate::common::connections::TOPICS;
use orch::prelude::*;
use orch_streams::topic::LOG;
use orch_streams::topic::kafka::KafkaProducer;

/// Publishes records. The built-in log stores them in the transaction that records the success of the task. Kafka
/// receives them immediately, and again after a retry (at-least-once), so its readers must tolerate duplicates.
///
/// # Errors
/// Returns an error if the connection has no topics, or the brokers reject the records.
pub(crate) async fn publish(ctx: &Ctx, topic: &str, partitions: i32, records: Vec<NewRecord>) -> TaskResult<()> {
    let connection = ctx.connection(TOPICS).await?;
    if connection.conn_type == LOG {
        return ctx.produce(topic, records);
    }
    let producer = KafkaProducer::open(&connection)?;
    // An account may have permission to write but not to create topics. If the topic is missing, `produce` fails below.
    if let Err(error) = producer.create_topic(topic, partitions).await {
        ctx.debug(format!("{error:#}"));
    }
    producer.produce(topic, &records).await.map(drop)
}
