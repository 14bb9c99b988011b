//! Handles requests of users to a Kafka cluster: lists topics, offsets and records, and appends records.
//!
//! Each request opens a new client. Users may have chosen the address, so error messages do not reveal what listens
//! there.

use super::client::{Client, Consumer, hear};
use super::producer::KafkaProducer;
use super::settings::Settings;
use super::{ANSWER_WITHIN, NOT_READ, failure, partitions, pass_over_markers, plain};
use chrono::DateTime;
use orch_sdk::task::{Connection, TaskError};
use orch_store::cluster::{Bounds, ClusterQuestion, ClusterRecords, ClusterTopic, ReadAt, WhichRecords};
use orch_store::lake_view::{LakeError, LakeResult};
use orch_store::topic::{KEYS_LOOKED_AT, RecordRow, no_longer_kept, no_such_partition, partition_of};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Timeout for reading the records of one response. Starts after the cluster has returned their offsets.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// Timeout for appending records. Must be below 30 s, after which the server kills the process that handles a request.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Maximum size of the keys and values in one response. A single record may exceed it.
const MOST_BYTES: usize = 4 << 20;

/// Handles a request and returns the JSON that `ClusterDoor` expects.
pub(crate) async fn answer(at: Connection, question: ClusterQuestion) -> LakeResult<Value> {
    let settings = Settings::of(&at).map_err(refused)?;
    match question {
        ClusterQuestion::Brokers => ask(settings, ClusterInspector::brokers).await,
        ClusterQuestion::Topics => ask(settings, ClusterInspector::topics).await,
        ClusterQuestion::Bounds(topic) => ask(settings, move |look| look.bounds(&topic)).await,
        ClusterQuestion::Read(topic, from) => ask(settings, move |look| look.read(&topic, &from)).await,
        ClusterQuestion::Produce(topic, records) => {
            // Check that the topic exists, because a producer would create a missing topic.
            let name = topic.clone();
            ask(settings, move |look| look.bounds(&name)).await?;
            let producer = KafkaProducer::open(&at).map_err(refused)?;
            let Ok(placed) = timeout(WRITE_WITHIN, producer.produce(&topic, &records)).await else {
                return Err(LakeError::Unavailable(format!(
                    "Kafka did not acknowledge the records within {} s: some may be there\nhint: look at the end of the topic \
                     before they are appended again",
                    WRITE_WITHIN.as_secs()
                )));
            };
            json(&placed.map_err(refused)?)
        }
    }
}

async fn ask<T: Serialize + 'static>(
    settings: Settings,
    question: impl FnOnce(&ClusterInspector) -> LakeResult<T> + Send + 'static,
) -> LakeResult<Value> {
    let asked = tokio::task::spawn_blocking(move || {
        let client = Client::open(&settings).map_err(refused)?;
        let look = ClusterInspector { settings, consumer: client.share(), _closes: client };
        json(&question(&look)?)
    });
    asked.await.unwrap_or_else(|_| Err(LakeError::Unavailable("a question to Kafka ended early".into())))
}

fn json(answer: &impl Serialize) -> LakeResult<Value> {
    serde_json::to_value(answer).map_err(|error| LakeError::Unavailable(error.to_string()))
}

/// Converts an error. After a fatal error, the user must correct the connection or the record. After other errors, a
/// retry may succeed.
fn refused(error: anyhow::Error) -> LakeError {
    match TaskError::from(error) {
        fatal @ TaskError::Fatal { .. } => LakeError::Refused(fatal.to_string()),
        other => LakeError::Unavailable(other.to_string()),
    }
}

struct ClusterInspector {
    settings: Settings,
    consumer: Arc<Consumer>,
    _closes: Client,
}

impl ClusterInspector {
    /// Returns the addresses of all brokers, from the metadata of a broker that the connection names. librdkafka
    /// connects to the other brokers only when it needs them.
    fn brokers(&self) -> LakeResult<Vec<String>> {
        let metadata =
            self.consumer.fetch_metadata(None, ANSWER_WITHIN).map_err(|error| self.lake_error(&plain(error)))?;
        Ok(metadata.brokers().iter().map(|broker| format!("{}:{}", broker.host(), broker.port())).collect())
    }

    fn topics(&self) -> LakeResult<Vec<ClusterTopic>> {
        let metadata =
            self.consumer.fetch_metadata(None, ANSWER_WITHIN).map_err(|error| self.lake_error(&plain(error)))?;
        let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
        let mut found: BTreeMap<&str, Vec<Bounds>> = topics.clone().map(|topic| (topic.name(), Vec::new())).collect();
        let all = topics.flat_map(|topic| topic.partitions().iter().map(|partition| (topic.name(), partition.id())));
        for (topic, bounds) in self.ends(&all.collect::<Vec<_>>())? {
            found.entry(topic).or_default().push(bounds);
        }
        Ok(found.into_iter().map(|(name, partitions)| ClusterTopic { name: name.into(), partitions }).collect())
    }

    fn bounds(&self, topic: &str) -> LakeResult<Vec<Bounds>> {
        let topic = self.settings.topic(topic);
        self.bounds_of(topic, &self.partition_ids(topic)?)
    }

    /// Returns all partitions, including those without a leader. `topic` is the name in the cluster.
    fn partition_ids(&self, topic: &str) -> LakeResult<Vec<i32>> {
        let found = partitions(&self.consumer, topic).map_err(|error| self.lake_error(&error))?;
        found.ok_or_else(|| {
            LakeError::NotFound(format!("Kafka at `{}` has no topic `{topic}`", self.settings.brokers()))
        })
    }

    /// Returns the offset bounds of all partitions that have a leader. `topic` is the name in the cluster.
    fn bounds_of(&self, topic: &str, partition_ids: &[i32]) -> LakeResult<Vec<Bounds>> {
        let all: Vec<_> = partition_ids.iter().map(|&partition| (topic, partition)).collect();
        Ok(self.ends(&all)?.into_iter().map(|(_, bounds)| bounds).collect())
    }

    /// Returns the offset bounds of partitions with two requests per broker. Omits partitions without a leader.
    fn ends<'a>(&self, partitions: &[(&'a str, i32)]) -> LakeResult<Vec<(&'a str, Bounds)>> {
        let (first, next) = (self.offsets(partitions, Offset::Beginning)?, self.offsets(partitions, Offset::End)?);
        let bounds = partitions.iter().filter_map(|&(topic, partition)| {
            let key = (topic.to_owned(), partition);
            Some((topic, Bounds { partition, first: *first.get(&key)?, next: *next.get(&key)? }))
        });
        Ok(bounds.collect())
    }

    fn offsets(&self, partitions: &[(&str, i32)], which: Offset) -> LakeResult<BTreeMap<(String, i32), i64>> {
        // librdkafka returns an error for an empty list.
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        let added = partitions.iter().try_for_each(|(topic, partition)| {
            // Kafka accepts the special values for the start and the end in place of a timestamp.
            list.add_partition_offset(topic, *partition, which)
        });
        let asked = added.and_then(|()| self.consumer.offsets_for_times(list, ANSWER_WITHIN));
        let found = match asked {
            Ok(found) => found,
            // librdkafka returns this error if no requested partition has a leader.
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition) => {
                return Ok(BTreeMap::new());
            }
            Err(error) => return Err(self.lake_error(&plain(error))),
        };
        let found = found.elements().into_iter().filter_map(|one| match (one.error(), one.offset()) {
            (Ok(()), Offset::Offset(offset)) => Some(((one.topic().to_owned(), one.partition()), offset)),
            _ => None,
        });
        Ok(found.collect())
    }

    fn read(&self, topic: &str, from: &ReadAt) -> LakeResult<ClusterRecords> {
        let topic = self.settings.topic(topic);
        let partition_ids = self.partition_ids(topic)?;
        let partitions = self.bounds_of(topic, &partition_ids)?;
        let bounds = bounds_to_read(from, &partition_ids, &partitions)?;
        let partition = bounds.partition;
        let back = |most: i64| bounds.first.max(bounds.next - most);
        let begin = match &from.which {
            WhichRecords::From(offset) if *offset < bounds.first => {
                return Err(LakeError::NotFound(no_longer_kept(*offset, partition.into(), bounds.first)));
            }
            WhichRecords::From(offset) => *offset,
            WhichRecords::At(at) => self.offset_at(topic, bounds, at.timestamp_millis())?,
            WhichRecords::Newest => back(i64::try_from(from.most).unwrap_or(i64::MAX)),
            WhichRecords::Key(_) => back(KEYS_LOOKED_AT),
        };
        let (records, next) = self.records(topic, Bounds { first: begin, ..bounds }, from)?;
        Ok(ClusterRecords { partitions, bounds, records: records.into(), next })
    }

    fn offset_at(&self, topic: &str, bounds: Bounds, ms: i64) -> LakeResult<i64> {
        // Kafka interprets negative timestamps as the start and the end. Clamp them to 0.
        let found = self.offsets(&[(topic, bounds.partition)], Offset::Offset(ms.max(0)))?;
        // If Kafka returns no offset, all records are older than the timestamp.
        Ok(found.into_values().next().unwrap_or(bounds.next))
    }

    /// Reads the requested records with offsets from `first` up to `next`. Returns them with the start offset of the
    /// next request.
    fn records(&self, topic: &str, span: Bounds, from: &ReadAt) -> LakeResult<(VecDeque<RecordRow>, i64)> {
        let mut list = TopicPartitionList::new();
        let assigned = list
            .add_partition_offset(topic, span.partition, Offset::Offset(span.first))
            .and_then(|()| self.consumer.assign(&list));
        assigned.map_err(|error| self.lake_error(&plain(error)))?;
        let place = usize::try_from(span.partition).unwrap_or_default();
        let mut next = vec![NOT_READ; place + 1];
        next[place] = span.first;
        let (mut found, mut bytes, until) = (VecDeque::new(), 0, Instant::now() + READ_WITHIN);
        while next[place] < span.next && from.most > 0 {
            match self.consumer.poll(LOOK_AGAIN) {
                Some(Ok(message)) if message.offset() >= span.next => break,
                Some(Ok(message)) => {
                    next[place] = message.offset() + 1;
                    match &from.which {
                        WhichRecords::Key(key) if message.key() != Some(key.as_bytes()) => {}
                        WhichRecords::Key(_) => {
                            bytes += message.payload_len() + message.key_len();
                            found.push_back(row(&message));
                            keep_newest(&mut found, &mut bytes, from.most);
                        }
                        _ => {
                            bytes += message.payload_len() + message.key_len();
                            found.push_back(row(&message));
                            if found.len() >= from.most || bytes >= MOST_BYTES {
                                break;
                            }
                        }
                    }
                }
                Some(Err(error)) => {
                    if failure(error.clone()).is_some() {
                        return Err(self.lake_error(&plain(error)));
                    }
                }
                None => pass_over_markers(&self.consumer, &mut next),
            }
            if Instant::now() > until {
                return self.in_time(found, next[place], from);
            }
        }
        Ok((found, next[place]))
    }

    /// Returns the records found so far when the timeout expires before the last offset is read.
    fn in_time(&self, found: VecDeque<RecordRow>, next: i64, from: &ReadAt) -> LakeResult<(VecDeque<RecordRow>, i64)> {
        match from.which {
            WhichRecords::Key(_) => Err(LakeError::TooDear(format!(
                "the last {KEYS_LOOKED_AT} records were not read within {} s\nhint: look by offset or by time",
                READ_WITHIN.as_secs()
            ))),
            _ if found.is_empty() => Err(self.silent()),
            _ => Ok((found, next)),
        }
    }

    fn silent(&self) -> LakeError {
        let (brokers, seconds) = (self.settings.brokers(), ANSWER_WITHIN.as_secs());
        hear(&self.consumer);
        let problem = self.consumer.context().denial();
        let problem = problem.map_or_else(String::new, |problem| format!(": {problem}"));
        LakeError::Unavailable(format!(
            "Kafka at `{brokers}` does not answer within {seconds} s{problem}\n\
             hint: see that it runs and that the connection has its address, its login and `security.protocol`"
        ))
    }

    fn lake_error(&self, error: &anyhow::Error) -> LakeError {
        use RDKafkaErrorCode as Code;
        match error.downcast_ref::<Code>() {
            Some(code @ (Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed)) => {
                LakeError::Refused(format!(
                    "Kafka at `{}` does not allow it: {code}\nhint: grant READ and DESCRIBE to the account of the connection",
                    self.settings.brokers()
                ))
            }
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                LakeError::NotFound(format!("Kafka at `{}` has no such topic", self.settings.brokers()))
            }
            _ => {
                tracing::debug!("{error:#}");
                self.silent()
            }
        }
    }
}

/// Returns the offset bounds of the partition to read. `known` contains the bounds of the partitions that have a
/// leader.
fn bounds_to_read(from: &ReadAt, partition_ids: &[i32], known: &[Bounds]) -> LakeResult<Bounds> {
    let partition = match (from.partition, &from.which) {
        (Some(partition), _) => partition,
        // Producers hash keys over all partitions, including those without a leader.
        (None, WhichRecords::Key(key)) => {
            let count = i16::try_from(partition_ids.len()).unwrap_or(i16::MAX);
            partition_of(key.as_bytes(), count).into()
        }
        (None, WhichRecords::From(_) | WhichRecords::At(_) | WhichRecords::Newest) => 0,
    };
    match known.iter().find(|bounds| bounds.partition == partition) {
        Some(bounds) => Ok(*bounds),
        None if partition_ids.contains(&partition) => Err(LakeError::Unavailable(format!(
            "partition {partition} has no leader\nhint: check that the brokers with its replicas run, and try again"
        ))),
        None => Err(LakeError::NotFound(no_such_partition(partition.into(), partition_ids.len()))),
    }
}

/// Drops the oldest records until at most `max_records` remain and their keys and values fit into [`MOST_BYTES`]. The
/// newest record is kept even if it is larger. `bytes` is the size of all keys and values in `found`.
fn keep_newest(found: &mut VecDeque<RecordRow>, bytes: &mut usize, max_records: usize) {
    while found.len() > max_records || (*bytes > MOST_BYTES && found.len() > 1) {
        let Some(oldest) = found.pop_front() else { return };
        *bytes -= oldest.key.as_ref().map_or(0, Vec::len) + oldest.value.as_ref().map_or(0, Vec::len);
    }
}

fn row(message: &BorrowedMessage<'_>) -> RecordRow {
    let text = |value: Option<&[u8]>| value.map(|value| Value::from(String::from_utf8_lossy(value)));
    let headers = message.headers().map(|headers| {
        let pairs = headers.iter().map(|header| (header.key.to_owned(), text(header.value).unwrap_or_default()));
        Value::Object(pairs.collect::<Map<_, _>>())
    });
    RecordRow {
        offset: message.offset(),
        at: message.timestamp().to_millis().and_then(DateTime::from_timestamp_millis).unwrap_or_default(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(partition: i32) -> Bounds {
        Bounds { partition, first: 0, next: 10 }
    }

    fn at(partition: Option<i32>, which: WhichRecords) -> ReadAt {
        ReadAt { partition, which, most: 10 }
    }

    #[test]
    fn a_key_is_looked_up_in_its_partition_while_another_has_no_leader() {
        let known = [bounds(0), bounds(2)];
        for number in 0..100 {
            let key = number.to_string();
            let partition = i32::from(partition_of(key.as_bytes(), 3));
            let found = bounds_to_read(&at(None, WhichRecords::Key(key)), &[0, 1, 2], &known);
            if partition == 1 {
                let Err(LakeError::Unavailable(message)) = found else { panic!("{found:?}") };
                assert!(message.starts_with("partition 1 has no leader"), "{message}");
            } else {
                assert_eq!(found, Ok(bounds(partition)));
            }
        }
    }

    #[test]
    fn a_partition_without_a_leader_is_told_from_one_that_does_not_exist() {
        let find = |partition, which| bounds_to_read(&at(partition, which), &[0, 1], &[bounds(1)]);
        assert_eq!(find(Some(1), WhichRecords::From(3)), Ok(bounds(1)));
        let no_leader = find(None, WhichRecords::Newest);
        assert!(matches!(no_leader, Err(LakeError::Unavailable(_))), "{no_leader:?}");
        let missing = LakeError::NotFound("there is no partition 2: the topic has 2, from 0".into());
        assert_eq!(find(Some(2), WhichRecords::Newest), Err(missing));
    }

    #[test]
    fn the_newest_records_of_a_key_are_kept_within_both_limits() {
        let kept = |sizes: &[usize], max_records| {
            let (mut found, mut bytes) = (VecDeque::new(), 0);
            for (offset, size) in (0..).zip(sizes) {
                let value = Some(vec![0; size - 1]);
                found.push_back(RecordRow {
                    offset,
                    at: DateTime::default(),
                    key: Some(vec![0]),
                    value,
                    headers: None,
                });
                bytes += size;
                keep_newest(&mut found, &mut bytes, max_records);
            }
            let offsets: Vec<i64> = found.iter().map(|record| record.offset).collect();
            (offsets, bytes)
        };
        assert_eq!(kept(&[10, 20, 30], 2), (vec![1, 2], 50));
        assert_eq!(kept(&[MOST_BYTES / 2; 4], 10), (vec![2, 3], MOST_BYTES));
        assert_eq!(kept(&[5, MOST_BYTES + 1], 10), (vec![1], MOST_BYTES + 1));
        assert_eq!(kept(&[MOST_BYTES + 1, 5], 10), (vec![1], 5));
    }
}
