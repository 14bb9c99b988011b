//! Reads a topic of Apache Kafka with librdkafka.
//!
//! Partitions are assigned with absolute offsets and no consumer group is joined. The offsets are stored with the table
//! that a stream writes, so there is no second copy in the cluster that could contradict them. Only committed records
//! are read. If the cluster no longer has an offset, the reader returns an error and never jumps to another offset.

mod abort;
mod client;
mod identity;
mod look;
mod producer;
mod settings;

pub(crate) use abort::AbortListener;
pub(crate) use look::answer;
pub use producer::KafkaProducer;

use self::client::{Client, Consumer};
use self::settings::Settings;
use super::{Bounds, Most, Position, TopicReader};
use crate::records::{NEW_KEY, OLD_KEY, Record, Records};
use anyhow::{Context as _, anyhow};
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use orch_sdk::task::{Connection, TaskResult, fatal};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{Message, Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

/// Timeout for one request to the Kafka cluster.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Time after which an unknown topic is considered missing. A broker that has just started may not have its metadata
/// yet.
const UNKNOWN_FOR: Duration = Duration::from_secs(2);
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Polling interval of the record queue. librdkafka signals that the queue is no longer empty, but the signal can be
/// missed.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Reader of one Kafka topic.
///
/// If the topic is deleted and created again during a read, the read may continue at the old offsets without an error.
/// See `ensure_same_topic`.
pub struct KafkaTopic {
    settings: Settings,
    topic: String,
    /// Client for metadata and offset requests. On the connection of `reads`, each request would wait half a second
    /// behind a fetch.
    asks: Client,
    /// Client that fetches records. `None` before the first seek.
    reads: Option<Client>,
    /// Next offset, indexed by partition; `NOT_READ` for partitions that are not read.
    next: Vec<i64>,
    /// Unfinished pull of a cancelled read. The next read takes its records.
    pulling: Option<JoinHandle<Pulled>>,
    failed: Option<Failure>,
    /// Buffer that is reused by the next pull.
    spare: Records,
}

const NOT_READ: i64 = -1;

struct Pulled {
    records: Records,
    next: Vec<i64>,
    failed: Option<Failure>,
}

#[derive(Debug, Clone)]
enum Failure {
    /// An offset is out of range. librdkafka reports neither the partition nor the offset.
    OutOfRange,
    NoSuchTopic,
    NotAllowed,
    /// Records of a pull were lost or out of order. Only a new seek recovers from this.
    Broken(String),
    /// A transient error: the next read may succeed.
    Passing(KafkaError),
}

impl KafkaTopic {
    /// Creates a reader without connecting.
    ///
    /// # Errors
    /// Returns a fatal error if the connection is not of type `kafka`, or if it contains settings that streams set
    /// themselves.
    pub fn open(connection: &Connection, topic: &str) -> TaskResult<KafkaTopic> {
        let settings = Settings::of(connection)?;
        let asks = Client::open(&settings)?;
        Ok(KafkaTopic {
            topic: settings.topic(topic).into(),
            settings,
            asks,
            reads: None,
            next: Vec::new(),
            pulling: None,
            failed: None,
            spare: Records::default(),
        })
    }

    /// Runs blocking calls of librdkafka on a blocking thread.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Consumer, &str) -> TaskResult<T> + Send + 'static,
    ) -> TaskResult<T> {
        let (consumer, topic, mark) = (self.asks.share(), self.topic.clone(), self.settings.mark());
        let asked = tokio::task::spawn_blocking(move || {
            mark.call(|| {
                let answer = question(&consumer, &topic);
                client::hear(&consumer);
                answer
            })
        });
        let answer = asked.await.context("a question to Kafka ended early")?;
        answer.map_err(|error| error.context(self.problem(&self.asks, "cannot be asked")))
    }

    fn problem(&self, client: &Client, what: &str) -> String {
        let (topic, brokers) = (&self.topic, self.settings.brokers());
        match client.trouble() {
            Some(trouble) => format!("topic `{topic}` of Kafka at `{brokers}` {what} ({trouble})"),
            None => format!("topic `{topic}` of Kafka at `{brokers}` {what}"),
        }
    }

    /// Not fatal, so the stream retries: a producer may create the topic later.
    fn missing(&self) -> anyhow::Error {
        anyhow!(
            "Kafka at `{}` has no topic `{}`\nhint: create it; it is looked for again by itself",
            self.settings.brokers(),
            self.topic
        )
    }

    /// Repeats a request until the topic exists, or for at most [`UNKNOWN_FOR`].
    async fn ask_for_topic<T: Send + 'static>(
        &self,
        question: fn(&Consumer, &str) -> TaskResult<Option<T>>,
    ) -> TaskResult<T> {
        let begun = Instant::now();
        loop {
            match self.ask(question).await? {
                Some(answer) => return Ok(answer),
                None if begun.elapsed() >= UNKNOWN_FOR => return Err(self.missing()),
                None => sleep(ASK_AGAIN).await,
            }
        }
    }

    async fn bounds(&self) -> TaskResult<Vec<Bounds>> {
        let partitions = self.ask_for_topic(partitions).await?;
        self.ask(move |consumer, topic| {
            partitions.iter().map(|partition| bounds_of(consumer, topic, *partition)).collect()
        })
        .await
    }

    async fn offset_at(&self, partition: i32, at: DateTime<Utc>) -> TaskResult<i64> {
        self.ask(move |consumer, topic| {
            let mut wanted = TopicPartitionList::new();
            // The timestamp is passed as an offset, and negative offsets have a special meaning in librdkafka.
            wanted.add_partition_offset(topic, partition, Offset::Offset(at.timestamp_millis().max(0)))?;
            let found = consumer.offsets_for_times(wanted, ANSWER_WITHIN).map_err(plain)?;
            let found = found.find_partition(topic, partition).context("Kafka did not answer for the partition")?;
            found.error().map_err(plain)?;
            match found.offset() {
                Offset::Offset(offset) => Ok(offset),
                _ => Ok(bounds_of(consumer, topic, partition)?.next),
            }
        })
        .await
    }

    async fn seek(&mut self, positions: &[Position]) -> TaskResult<()> {
        let mut next = Vec::new();
        for position in positions {
            let place = usize::try_from(position.partition).context("a partition has a number below zero")?;
            anyhow::ensure!(position.offset >= 0, "offset {} is below zero", position.offset);
            next.resize(next.len().max(place + 1), NOT_READ);
            next[place] = position.offset;
        }
        let mut assignment = TopicPartitionList::with_capacity(positions.len());
        for position in positions {
            assignment.add_partition_offset(&self.topic, position.partition, Offset::Offset(position.offset))?;
        }
        // Open a new client. The old one may still hold records from before the seek, and reports outdated positions
        // for a short time after an assignment. Opening blocks because certificates are read from files.
        self.reads = None;
        self.pulling = None;
        self.failed = None;
        let settings = self.settings.clone();
        let assigned = tokio::task::spawn_blocking(move || {
            let client = Client::open(&settings)?;
            client.share().assign(&assignment).map_err(plain)?;
            TaskResult::Ok(client)
        });
        self.reads = Some(assigned.await.context("assigning partitions ended early")??);
        self.next = next;
        Ok(())
    }

    async fn read(&mut self, into: &mut Records, most: Most, until: Instant) -> TaskResult<()> {
        let had = into.len();
        loop {
            if let Some(failure) = self.failed.clone() {
                let error = self.explained(&failure).await;
                if matches!(failure, Failure::Passing(_)) {
                    self.failed = None;
                }
                return Err(error);
            }
            let Some(client) = &self.reads else {
                sleep_until(until).await;
                return Ok(());
            };
            let (consumer, woken) = (client.share(), client.wakes());
            self.pull(consumer, into, most).await;
            if into.len() > had || Instant::now() >= until {
                return Ok(());
            }
            if self.failed.is_none() {
                let look_again = until.min(Instant::now() + LOOK_AGAIN);
                tokio::select! {
                    () = woken.notified() => {}
                    () = sleep_until(look_again) => {}
                }
            }
        }
    }

    /// Pulls records. Cancel-safe: if the future is dropped, the next call returns the pulled records.
    async fn pull(&mut self, consumer: Arc<Consumer>, into: &mut Records, most: Most) {
        let pulling = self.pulling.get_or_insert_with(|| {
            let (next, records, mark) = (self.next.clone(), std::mem::take(&mut self.spare), self.settings.mark());
            tokio::task::spawn_blocking(move || mark.call(|| pull(&consumer, records, next, most)))
        });
        let pulled = pulling.await;
        self.pulling = None;
        let mut pulled = match pulled {
            Ok(pulled) => pulled,
            Err(error) => {
                self.failed = Some(Failure::Broken(format!("records were lost on their way from Kafka: {error}")));
                return;
            }
        };
        self.next = pulled.next;
        self.failed = pulled.failed;
        if into.is_empty() {
            std::mem::swap(into, &mut pulled.records);
        } else {
            pulled.records.iter().for_each(|record| into.push(&record));
        }
        pulled.records.clear();
        self.spare = pulled.records;
    }

    async fn explained(&self, failure: &Failure) -> anyhow::Error {
        match failure {
            Failure::OutOfRange => self.out_of_range().await,
            Failure::NoSuchTopic => match self.ask_for_topic(partitions).await {
                Ok(_) => anyhow!("Kafka did not know all of topic `{}` for a moment", self.topic),
                Err(error) => error,
            },
            Failure::NotAllowed => fatal(format!(
                "Kafka at `{}` does not allow reading topic `{}`\nhint: grant READ and DESCRIBE on it to the account of the \
                 connection",
                self.settings.brokers(),
                self.topic
            )),
            Failure::Broken(what) => anyhow!("{what}"),
            Failure::Passing(error) => {
                let client = self.reads.as_ref().unwrap_or(&self.asks);
                plain(error.clone()).context(self.problem(client, "cannot be read"))
            }
        }
    }

    /// Builds an error that names the offset that is out of range.
    async fn out_of_range(&self) -> anyhow::Error {
        let bounds = match self.bounds().await {
            Ok(bounds) => bounds,
            Err(error) => return error,
        };
        let outside = self.next.iter().zip(0..).filter(|(next, _)| **next != NOT_READ).find_map(|(next, partition)| {
            let bounds = bounds.iter().find(|bounds| bounds.partition == partition)?;
            outside(&self.topic, *bounds, *next)
        });
        match outside {
            Some(problem) => fatal(problem),
            None => anyhow!(
                "Kafka does not continue topic `{}` at its offsets, though it has them: it may have been created again",
                self.topic
            ),
        }
    }
}

fn outside(topic: &str, bounds: Bounds, next: i64) -> Option<String> {
    let Bounds { partition, first, next: end } = bounds;
    let problem = if next < first {
        format!(
            "topic `{topic}` no longer has offset {next} of partition {partition}: {first} is the first that is kept, \
             {} records were dropped before they were read",
            first - next
        )
    } else if next > end {
        format!(
            "topic `{topic}` has no offset {next} of partition {partition} yet: the next one is {end}, so records that were \
             read are gone, or the topic was created again"
        )
    } else {
        return None;
    };
    Some(format!(
        "{problem}\nhint: to continue with what is kept ({first} to {end}), say so with `orch streams reset`, or `orch topics seek` for a task"
    ))
}

/// Takes the available records. Runs on a blocking thread even though no call blocks, because a million records per
/// second keep a CPU busy.
fn pull(consumer: &Consumer, mut records: Records, mut next: Vec<i64>, most: Most) -> Pulled {
    let mut failed = None;
    // A poll also returns `None` after an event that is not a record, such as a log line. Poll a second time for
    // records behind the event.
    let mut looks = 0;
    while failed.is_none() && looks < 2 && records.len() < most.records.max(1) && records.bytes() < most.bytes.max(1) {
        match consumer.poll(Duration::ZERO) {
            None => looks += 1,
            Some(Ok(message)) => failed = take(&message, &mut records, &mut next).err(),
            Some(Err(error)) => failed = failure(error),
        }
    }
    pass_over_markers(consumer, &mut next);
    Pulled { records, next, failed }
}

fn take(message: &BorrowedMessage<'_>, records: &mut Records, next: &mut [i64]) -> Result<(), Failure> {
    let (partition, offset) = (message.partition(), message.offset());
    let place = usize::try_from(partition).ok().and_then(|place| next.get_mut(place));
    match place {
        Some(next) if *next != NOT_READ && *next <= offset => *next = offset + 1,
        _ => return Err(Failure::Broken(format!("Kafka sent offset {offset} of partition {partition} out of order"))),
    }
    let (key, value) = (message.key(), message.payload());
    let headers = message.headers();
    let header = |name: &str| headers.and_then(|headers| headers.iter().find(|header| header.key == name)?.value);
    let (old_key, has_new_key) = (header(OLD_KEY), header(NEW_KEY).is_some());
    records.push(&Record {
        partition,
        offset,
        at_ms: message.timestamp().to_millis(),
        key,
        value,
        old_key,
        has_new_key,
    });
    Ok(())
}

/// Advances positions past transaction markers. librdkafka removes markers from its queue like records and counts them
/// in its own position.
fn pass_over_markers(consumer: &Consumer, next: &mut [i64]) {
    let Ok(positions) = consumer.position() else { return };
    for position in positions.elements() {
        let place = usize::try_from(position.partition()).ok().and_then(|place| next.get_mut(place));
        if let (Some(next), Offset::Offset(offset)) = (place, position.offset())
            && *next != NOT_READ
        {
            *next = offset.max(*next);
        }
    }
}

/// Returns the failure if an error stops reading. Other errors are ignored: librdkafka reconnects by itself, and
/// coordinator errors concern consumer groups, which streams do not use.
fn failure(error: KafkaError) -> Option<Failure> {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Some(Failure::OutOfRange),
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) => Some(Failure::NoSuchTopic),
        Some(Code::TopicAuthorizationFailed) => Some(Failure::NotAllowed),
        Some(
            Code::BrokerTransportFailure
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::GroupAuthorizationFailed
            | Code::CoordinatorNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::NotCoordinator,
        ) => None,
        _ => Some(Failure::Passing(error)),
    }
}

/// Converts an error of `rdkafka`, whose message and cause both contain the error code, without this repetition.
fn plain(error: KafkaError) -> anyhow::Error {
    match error.rdkafka_error_code() {
        Some(code) => code.into(),
        None => error.into(),
    }
}

/// Returns the partitions in ascending order, or `None` if the topic does not exist.
fn partitions(consumer: &Consumer, topic: &str) -> TaskResult<Option<Vec<i32>>> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER_WITHIN).map_err(plain)?;
    let found = metadata.topics().iter().find(|found| found.name() == topic).context("Kafka did not answer")?;
    if let Some(error) = found.error() {
        return unless_unknown(RDKafkaErrorCode::from(error));
    }
    let mut partitions: Vec<i32> = found.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect();
    partitions.sort_unstable();
    Ok(Some(partitions))
}

fn unless_unknown<T>(error: RDKafkaErrorCode) -> TaskResult<Option<T>> {
    match error {
        RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => Ok(None),
        error => Err(error.into()),
    }
}

/// Returns the offset bounds of a partition. `next` is the first offset that cannot be read yet because of an open
/// transaction or the end of the log.
fn bounds_of(consumer: &Consumer, topic: &str, partition: i32) -> TaskResult<Bounds> {
    let (first, next) = consumer.fetch_watermarks(topic, partition, ANSWER_WITHIN).map_err(plain)?;
    Ok(Bounds { partition, first, next })
}

impl TopicReader for KafkaTopic {
    fn identity(&mut self) -> BoxFuture<'_, TaskResult<String>> {
        Box::pin(self.ask_for_topic(identity::identity))
    }

    fn bounds(&mut self) -> BoxFuture<'_, TaskResult<Vec<Bounds>>> {
        Box::pin(KafkaTopic::bounds(self))
    }

    fn offset_at(&mut self, partition: i32, at: DateTime<Utc>) -> BoxFuture<'_, TaskResult<i64>> {
        Box::pin(KafkaTopic::offset_at(self, partition, at))
    }

    fn seek<'a>(&'a mut self, positions: &'a [Position]) -> BoxFuture<'a, TaskResult<()>> {
        Box::pin(KafkaTopic::seek(self, positions))
    }

    fn read<'a>(&'a mut self, into: &'a mut Records, most: Most, until: Instant) -> BoxFuture<'a, TaskResult<()>> {
        Box::pin(KafkaTopic::read(self, into, most, until))
    }

    fn positions(&self) -> Vec<Position> {
        let read = self.next.iter().zip(0..).filter(|(offset, _)| **offset != NOT_READ);
        read.map(|(offset, partition)| Position { partition, offset: *offset }).collect()
    }
}
