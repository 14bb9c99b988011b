//! Produces records to topics of Kafka, and creates topics.

use super::client::KafkaErrorContext;
use super::settings::Settings;
use super::{ANSWER_WITHIN, plain};
use anyhow::{Context as _, anyhow};
use chrono::DateTime;
use orch_sdk::task::{Connection, TaskResult, fatal};
use orch_store::cluster::ClusterPlace;
use orch_store::topic::NewRecord;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::{Delivery, DeliveryFuture};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Retry delay while the send queue is full of records of concurrent calls.
const QUEUE_IS_FULL: Duration = Duration::from_millis(20);
/// Timeout for initializing or committing a transaction.
const TRANSACTION_WITHIN: Duration = Duration::from_mins(1);
/// Replication factor -1: the default of the brokers.
const REPLICAS: TopicReplication<'_> = TopicReplication::Fixed(-1);

/// Writes records with acknowledgement of all replicas. Idempotent: a record that is sent again because a response was
/// lost is stored once.
pub struct KafkaProducer {
    settings: Settings,
    producer: FutureProducer<KafkaErrorContext>,
}

impl KafkaProducer {
    /// Creates a producer without connecting.
    ///
    /// # Errors
    /// Returns a fatal error if the connection is not of type `kafka`, or if it contains settings that producers set
    /// themselves.
    pub fn open(connection: &Connection) -> TaskResult<KafkaProducer> {
        let settings = Settings::of(connection)?;
        let producer = settings.producer(KafkaErrorContext::default())?;
        Ok(KafkaProducer { settings, producer })
    }

    /// Opens a producer that writes only in transactions, with this `transactional.id`.
    ///
    /// # Errors
    /// Returns the errors of [`KafkaProducer::open`].
    pub fn open_transactional(connection: &Connection, id: &str) -> TaskResult<KafkaProducer> {
        let settings = Settings::of(connection)?;
        let producer = settings.transactional(KafkaErrorContext::default(), id)?;
        Ok(KafkaProducer { settings, producer })
    }

    /// Makes this the only producer of its `transactional.id` that can write (fencing). The brokers abort the open
    /// transaction of an earlier producer, and reject everything that it sends later.
    ///
    /// # Errors
    /// Returns a fatal error if the account may not write in transactions.
    pub async fn fence_others(&self) -> TaskResult<()> {
        let (producer, mark) = (self.producer.clone(), self.settings.mark());
        let fenced = spawn_blocking(move || mark.call(|| producer.init_transactions(TRANSACTION_WITHIN))).await?;
        fenced.map_err(|error| {
            let brokers = self.settings.brokers();
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed) {
                return fatal(format!(
                    "Kafka at `{brokers}` does not let this account write in transactions\nhint: allow it to write and describe \
                     transactional IDs that begin with `orch-`"
                ));
            }
            plain(error).context(format!("Kafka at `{brokers}` does not begin transactions"))
        })
    }

    /// Writes records of several topics in one transaction. Readers of committed records see either all of them or
    /// none.
    ///
    /// # Errors
    /// Nothing is written if another producer has fenced this one. After any other error, the transaction may have been
    /// committed.
    pub async fn produce_in_transaction(&self, records: &BTreeMap<String, Vec<NewRecord>>) -> TaskResult<()> {
        self.producer.begin_transaction().map_err(|error| self.uncommitted(error))?;
        for (topic, records) in records {
            self.produce(topic, records).await?;
        }
        let (producer, mark) = (self.producer.clone(), self.settings.mark());
        let committed = spawn_blocking(move || mark.call(|| producer.commit_transaction(TRANSACTION_WITHIN))).await?;
        committed.map_err(|error| self.uncommitted(error))
    }

    fn uncommitted(&self, error: KafkaError) -> anyhow::Error {
        plain(error).context(format!("records for Kafka at `{}` were not committed", self.settings.brokers()))
    }

    /// Writes records and returns their offsets after all replicas have acknowledged them. Records with the same key
    /// stay in order.
    ///
    /// # Errors
    /// After an error, some records may have been written, and others may still be written later.
    pub async fn produce(&self, topic: &str, records: &[NewRecord]) -> TaskResult<Vec<ClusterPlace>> {
        let topic = self.settings.topic(topic);
        let mut sent = VecDeque::with_capacity(records.len());
        let mut placed = Vec::with_capacity(records.len());
        for record in records {
            let headers = headers(record);
            let mut next = of(topic, record, headers);
            loop {
                match self.producer.send_result(next) {
                    Ok(delivery) => {
                        sent.push_back(delivery);
                        break;
                    }
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                        next = refused;
                        match sent.pop_front() {
                            Some(delivery) => placed.push(self.delivered(topic, delivery).await?),
                            None => sleep(QUEUE_IS_FULL).await,
                        }
                    }
                    Err((error, _)) => return Err(self.undelivered(topic, error)),
                }
            }
        }
        for delivery in sent {
            placed.push(self.delivered(topic, delivery).await?);
        }
        Ok(placed)
    }

    async fn delivered(&self, topic: &str, delivery: DeliveryFuture) -> TaskResult<ClusterPlace> {
        match delivery.await.context("the producer ended before its records were delivered")? {
            Ok(Delivery { partition, offset, timestamp }) => {
                let at = timestamp.to_millis().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
                Ok(ClusterPlace { partition, offset, at })
            }
            Err((error, _)) => Err(self.undelivered(topic, error)),
        }
    }

    fn undelivered(&self, topic: &str, error: KafkaError) -> anyhow::Error {
        use RDKafkaErrorCode as Code;
        let what = format!("records for topic `{topic}` of Kafka at `{}`", self.settings.brokers());
        match error.rdkafka_error_code() {
            Some(
                Code::MessageSizeTooLarge
                | Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::UnknownPartition
                | Code::TopicAuthorizationFailed
                | Code::InvalidRecord,
            ) => fatal(format!("{what} were refused: {error}")),
            _ => plain(error).context(format!("{what} were not written")),
        }
    }

    /// Creates a topic. Returns false if it already exists.
    pub async fn create_topic(&self, name: &str, partitions: i32) -> TaskResult<bool> {
        let name = self.settings.topic(name);
        let admin: AdminClient<DefaultClientContext> = self.settings.admin()?;
        let options = AdminOptions::new().request_timeout(Some(ANSWER_WITHIN)).operation_timeout(Some(ANSWER_WITHIN));
        let created = admin.create_topics(&[NewTopic::new(name, partitions, REPLICAS)], &options).await;
        let brokers = self.settings.brokers();
        let created = created.with_context(|| format!("topic `{name}` was not created in Kafka at `{brokers}`"))?;
        match created.into_iter().next() {
            Some(Ok(_)) => Ok(true),
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(false),
            Some(Err((_, error))) => Err(anyhow!("Kafka at `{brokers}` does not create topic `{name}`: {error}")),
            None => Err(anyhow!("Kafka at `{brokers}` did not answer for topic `{name}`")),
        }
    }
}

fn of<'a>(topic: &'a str, record: &'a NewRecord, headers: Option<OwnedHeaders>) -> FutureRecord<'a, [u8], [u8]> {
    let partition = record.partition.map(i32::from);
    let (key, payload) = (record.key.as_deref(), record.value.as_deref());
    FutureRecord { topic, partition, payload, key, timestamp: None, headers }
}

fn headers(record: &NewRecord) -> Option<OwnedHeaders> {
    let pairs = record.headers.iter().map(|(key, value)| match value {
        Value::String(text) => (key, text.clone()),
        other => (key, other.to_string()),
    });
    (!record.headers.is_empty()).then(|| {
        pairs.fold(OwnedHeaders::new_with_capacity(record.headers.len()), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(&value) })
        })
    })
}
