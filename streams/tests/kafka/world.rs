//! Topics on the broker that all tests of this binary share, and helpers for them.

use orch_sdk::task::{Connection, TaskError};
use orch_store::topic::NewRecord;
use orch_streams::Records;
use orch_streams::topic::kafka::{KafkaProducer, KafkaTopic};
use orch_streams::topic::{Most, Position, TopicReader};
use orch_test_support::{Kafka, kafka};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Much longer than any step of these tests takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const MANY: Most = Most { records: 100_000, bytes: 64 << 20 };

/// The topic of one test.
pub(crate) struct World {
    pub(crate) broker: &'static Kafka,
    pub(crate) topic: String,
    pub(crate) producer: KafkaProducer,
}

impl World {
    pub(crate) async fn new(partitions: i32) -> World {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let topic = format!("topic-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let broker = kafka().await;
        let producer = KafkaProducer::open(&connection(broker)).unwrap();
        assert!(producer.create_topic(&topic, partitions).await.unwrap(), "`{topic}` is new");
        World { broker, topic, producer }
    }

    pub(crate) fn open(&self) -> KafkaTopic {
        KafkaTopic::open(&connection(self.broker), &self.topic).unwrap()
    }

    pub(crate) async fn reader(&self, positions: &[(i32, i64)]) -> KafkaTopic {
        let mut reader = self.open();
        seek(&mut reader, positions).await;
        reader
    }

    pub(crate) async fn produce(&self, partition: i16, values: impl IntoIterator<Item = &str>) {
        let records: Vec<_> = values.into_iter().map(|value| record(partition, value)).collect();
        self.producer.produce(&self.topic, &records).await.unwrap();
    }

    /// Writes one transaction to partition 0.
    pub(crate) async fn transaction(&self, values: &[&str], end: End) -> OpenTransaction {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let id = format!("transaction-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.transaction_of(&id, values, end).await
    }

    /// Writes one transaction to partition 0 with this `transactional.id`.
    pub(crate) async fn transaction_of(&self, id: &str, values: &[&str], end: End) -> OpenTransaction {
        let (bootstrap, topic, id) = (self.broker.address(), self.topic.clone(), id.to_owned());
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        tokio::task::spawn_blocking(move || transaction((&bootstrap, &id), &topic, &values, end)).await.unwrap()
    }

    pub(crate) async fn delete_topic(&self) {
        let deleted = self.admin().delete_topics(&[&self.topic], &AdminOptions::new()).await.unwrap();
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    }

    /// Deletes the records below an offset, like retention does.
    pub(crate) async fn delete_records(&self, partition: i32, before: i64) {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.topic, partition, Offset::Offset(before)).unwrap();
        let deleted = self.admin().delete_records(&offsets, &AdminOptions::new()).await.unwrap();
        deleted.elements().iter().for_each(|partition| partition.error().unwrap());
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", self.broker.address()).create().unwrap()
    }
}

#[derive(Clone, Copy)]
pub(crate) enum End {
    Commit,
    Abort,
    StaysOpen,
}

/// The broker aborts it one minute after it was dropped.
pub(crate) struct OpenTransaction(BaseProducer);

impl OpenTransaction {
    pub(crate) async fn commit(self) {
        tokio::task::spawn_blocking(move || self.0.commit_transaction(PATIENCE).unwrap()).await.unwrap();
    }
}

fn transaction((bootstrap, id): (&str, &str), topic: &str, values: &[String], end: End) -> OpenTransaction {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", bootstrap).set("transactional.id", id).create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    for value in values {
        let record: BaseRecord<'_, [u8], String> = BaseRecord::to(topic).partition(0).payload(value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    // Records that are only in the producer's queue leave no trace when the transaction is aborted.
    producer.flush(PATIENCE).unwrap();
    match end {
        End::Commit => producer.commit_transaction(PATIENCE).unwrap(),
        End::Abort => producer.abort_transaction(PATIENCE).unwrap(),
        End::StaysOpen => {}
    }
    OpenTransaction(producer)
}

pub(crate) fn connection(broker: &Kafka) -> Connection {
    let (host, port) = address(&broker.address());
    Connection { id: "events".into(), conn_type: "kafka".into(), host, port, ..Connection::default() }
}

/// Returns a connection to the TLS listener of the broker, which requires a login.
pub(crate) fn encrypted(broker: &Kafka, password: &str) -> Connection {
    let (host, port) = address(&broker.encrypted_address());
    let (login, password) = (Some(Kafka::ACCOUNT.0.into()), Some(password.into()));
    let extra = [("ssl.ca.location".into(), json!(broker.certificate()))].into_iter().collect();
    Connection { host, port, login, password, extra, ..connection(broker) }
}

fn address(address: &str) -> (Option<String>, Option<u16>) {
    let (host, port) = address.rsplit_once(':').unwrap();
    (Some(host.into()), Some(port.parse().unwrap()))
}

pub(crate) fn record(partition: i16, value: &str) -> NewRecord {
    NewRecord { value: Some(value.into()), partition: Some(partition), ..NewRecord::default() }
}

pub(crate) async fn seek(reader: &mut KafkaTopic, positions: &[(i32, i64)]) {
    let positions: Vec<_> = positions.iter().map(|&(partition, offset)| Position { partition, offset }).collect();
    reader.seek(&positions).await.unwrap();
}

pub(crate) fn positions(reader: &KafkaTopic) -> Vec<(i32, i64)> {
    reader.positions().iter().map(|position| (position.partition, position.offset)).collect()
}

/// Reads until there are `count` records. Returns (partition, offset, value), sorted by partition and offset.
pub(crate) async fn read(reader: &mut KafkaTopic, count: usize) -> Vec<(i32, i64, String)> {
    let (mut records, until) = (Records::default(), Instant::now() + PATIENCE);
    while records.len() < count {
        reader.read(&mut records, MANY, until).await.unwrap();
        assert!(Instant::now() < until, "only {} of {count} records came", records.len());
    }
    let mut read = told(&records);
    read.sort();
    read
}

pub(crate) fn told(records: &Records) -> Vec<(i32, i64, String)> {
    let value = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    records.iter().map(|record| (record.partition, record.offset, value(record.value.unwrap()))).collect()
}

/// Returns the error of a failed read, as it is stored.
pub(crate) async fn failed_read(reader: &mut KafkaTopic) -> TaskError {
    let until = Instant::now() + PATIENCE;
    let mut records = Records::default();
    let error = reader.read(&mut records, MANY, until).await.err();
    TaskError::from(error.unwrap_or_else(|| panic!("no error, but {:?}", told(&records))))
}
