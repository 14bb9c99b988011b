//! Records on their way into a topic, wherever the connection `topics` says that topics are.

use crate::common::connections::TOPICS;
use orch::prelude::*;
use orch_streams::topic::LOG;
use orch_streams::topic::kafka::KafkaProducer;

/// In the built-in log the records are there if and only if the task succeeds. Kafka has them before that, and again after a
/// retry: what reads the topic must not mind.
///
/// # Errors
/// The connection has no topics, or the brokers do not take the records.
pub(crate) async fn publish(ctx: &Ctx, topic: &str, partitions: i32, records: Vec<NewRecord>) -> TaskResult<()> {
    let connection = ctx.connection(TOPICS).await?;
    if connection.conn_type == LOG {
        return ctx.produce(topic, records);
    }
    let producer = KafkaProducer::open(&connection)?;
    // An account may be allowed to write and not to create topics: if the topic is missing, the brokers say so.
    if let Err(error) = producer.create_topic(topic, partitions).await {
        ctx.debug(format!("{error:#}"));
    }
    producer.produce(topic, &records).await.map(drop)
}
