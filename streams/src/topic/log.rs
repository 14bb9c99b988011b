//! Reads topics of the built-in log, which is stored in orch's database.

use super::{Bounds, Most, Position, TopicReader};
use crate::records::{NEW_KEY, OLD_KEY, Record, Records};
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use orch_sdk::task::{TaskResult, fatal};
use orch_store::hint::{Hint, Hints};
use orch_store::stream::ends_of_log;
use orch_store::topic::{self, ReadFrom, Topic};
use sqlx::{PgConnection, PgPool};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Polling interval, in case a hint (a NOTIFY wake-up signal) is lost.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Delay after a hint, so that hints in quick succession cause one query.
const GATHER: Duration = Duration::from_millis(5);
/// Retry delay after a failed query.
const RETRY: Duration = Duration::from_secs(1);

type Ends = Arc<HashMap<(i32, i16), i64>>;

/// End offsets of all partitions of the built-in log. Shared by all streams of a process, so that idle streams send no
/// queries.
#[derive(Debug, Clone)]
pub struct LogEnds(watch::Receiver<Ends>);

impl LogEnds {
    /// Returns the end offsets, and a future that refreshes them. The future must be polled while a stream reads.
    pub fn watch(pool: PgPool, hints: Hints) -> (LogEnds, impl Future<Output = ()> + Send) {
        let (tell, told) = watch::channel(Ends::default());
        let look = async move {
            loop {
                let produced = hints.on(Hint::Topic).notified();
                match read_log_ends(&pool).await {
                    Ok(ends) => {
                        tell.send_if_modified(|known| {
                            let is_new = **known != ends;
                            *known = Arc::new(ends);
                            is_new
                        });
                        tokio::time::timeout(LOOK_AGAIN, produced).await.unwrap_or_default();
                        tokio::time::sleep(GATHER).await;
                    }
                    Err(error) => {
                        tracing::debug!(error = format!("{error:#}"), "the ends of topics are not known for a moment");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            }
        };
        (LogEnds(told), look)
    }

    /// Returns end offsets that are refreshed only on request, for readers that stop at a known end.
    pub fn asked() -> (AskEnds, LogEnds) {
        let (tell, told) = watch::channel(Ends::default());
        (AskEnds(tell), LogEnds(told))
    }

    fn of(&self, topic_no: i32, partition: i16) -> i64 {
        self.0.borrow().get(&(topic_no, partition)).copied().unwrap_or(0)
    }

    async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // No sender is left, because the process is shutting down.
            std::future::pending::<()>().await;
        }
    }
}

/// Refreshes the end offsets of all partitions on request.
#[derive(Debug)]
pub struct AskEnds(watch::Sender<Ends>);

impl AskEnds {
    pub async fn ask(&self, pool: &PgPool) -> TaskResult<()> {
        self.0.send_replace(Arc::new(read_log_ends(pool).await?));
        Ok(())
    }
}

async fn read_log_ends(pool: &PgPool) -> TaskResult<HashMap<(i32, i16), i64>> {
    let mut db = pool.acquire().await?;
    let ends = ends_of_log(&mut db).await?;
    Ok(ends.into_iter().map(|(topic, partition, end)| ((topic, partition), end)).collect())
}

/// A topic of the built-in log.
#[derive(Debug)]
pub struct LogTopic {
    pool: PgPool,
    name: String,
    topic: Topic,
    ends: LogEnds,
    positions: BTreeMap<i16, i64>,
    /// Index of the partition to read first. It rotates, so that a busy partition does not starve the others.
    turn: usize,
}

impl LogTopic {
    /// Opens a topic. A missing topic is created with this number of partitions.
    pub async fn open(pool: &PgPool, ends: &LogEnds, name: &str, partitions: i32) -> TaskResult<LogTopic> {
        let topic = topic::ensure_topic(&mut *pool.acquire().await?, name, i16::try_from(partitions)?).await?;
        let (pool, ends) = (pool.clone(), ends.clone());
        Ok(LogTopic { pool, name: name.into(), topic, ends, positions: BTreeMap::new(), turn: 0 })
    }

    /// Reads new records of one partition. Returns false if no partition has new records.
    async fn read_some(&mut self, into: &mut Records, most: Most) -> TaskResult<bool> {
        let partitions: Vec<i16> = self.positions.keys().copied().collect();
        for nth in 0..partitions.len() {
            let partition = partitions[(self.turn + nth) % partitions.len()];
            let offset = self.positions[&partition];
            if self.ends.of(self.topic.no, partition) <= offset {
                continue;
            }
            let most_records = i64::try_from(most.records).unwrap_or(i64::MAX);
            let most_bytes = i64::try_from(most.bytes).unwrap_or(i64::MAX);
            let from = ReadFrom { partition, offset, most: most_records, most_bytes };
            let mut db = self.pool.acquire().await?;
            let read = topic::read_records(&mut db, &self.topic, from).await?;
            drop(db);
            // Offsets of the built-in log have no gaps, so a missing offset was deleted.
            if read.first().map(|record| record.offset) != Some(offset) {
                return Err(self.why_missing(partition, offset).await);
            }
            for record in &read {
                let header = |name: &str| record.headers.as_ref().and_then(|headers| headers.get(name)?.as_str());
                into.push(&Record {
                    partition: i32::from(partition),
                    offset: record.offset,
                    at_ms: Some(record.at.timestamp_millis()),
                    key: record.key.as_deref(),
                    value: record.value.as_deref(),
                    old_key: header(OLD_KEY).map(str::as_bytes),
                    has_new_key: header(NEW_KEY).is_some(),
                });
            }
            self.positions.insert(partition, read.last().map_or(offset, |record| record.offset + 1));
            self.turn = (self.turn + nth + 1) % partitions.len();
            return Ok(true);
        }
        Ok(false)
    }

    async fn why_missing(&mut self, partition: i16, offset: i64) -> anyhow::Error {
        let bounds = match self.bounds().await {
            Ok(bounds) => bounds,
            Err(error) => return error,
        };
        let first = bounds.iter().find(|one| one.partition == i32::from(partition)).map_or(0, |one| one.first);
        fatal(format!(
            "topic `{}` no longer has offset {offset} of partition {partition}: it begins at {first}, so records were dropped \
             before they were read\n\
             hint: keep them longer with `orch topics set {} --retention-hours`, and go on with what is left by \
             `orch streams reset <stream> --to-earliest`, or `orch topics seek <reader> --to-earliest` for a task",
            self.name, self.name
        ))
    }

    /// Reloads the topic, which may have gained partitions.
    async fn refresh_topic(&mut self, db: &mut PgConnection) -> TaskResult<()> {
        match topic::get_topic(db, &self.name).await? {
            Some(found) if found.no == self.topic.no => {
                self.topic = found;
                Ok(())
            }
            _ => Err(no_topic(&self.name)),
        }
    }
}

fn no_topic(name: &str) -> anyhow::Error {
    anyhow::anyhow!("there is no topic `{name}`\nhint: create it with `orch topics create {name}`")
}

impl TopicReader for LogTopic {
    fn identity(&mut self) -> BoxFuture<'_, TaskResult<String>> {
        Box::pin(async { Ok(format!("log:{}", self.topic.no)) })
    }

    fn bounds(&mut self) -> BoxFuture<'_, TaskResult<Vec<Bounds>>> {
        Box::pin(async {
            let mut db = self.pool.acquire().await?;
            self.refresh_topic(&mut db).await?;
            let rows = topic::list_partitions(&mut db, &self.topic).await?;
            let bounds = rows.into_iter().map(|row| Bounds {
                partition: i32::from(row.partition),
                first: row.first_offset,
                next: row.next_offset,
            });
            Ok(bounds.collect())
        })
    }

    fn offset_at(&mut self, partition: i32, at: DateTime<Utc>) -> BoxFuture<'_, TaskResult<i64>> {
        Box::pin(async move {
            let partition = i16::try_from(partition)?;
            Ok(topic::offset_at(&mut *self.pool.acquire().await?, &self.topic, partition, at).await?)
        })
    }

    fn seek<'a>(&'a mut self, positions: &'a [Position]) -> BoxFuture<'a, TaskResult<()>> {
        Box::pin(async move {
            let positions = positions.iter().map(|at| Ok((i16::try_from(at.partition)?, at.offset)));
            self.positions = positions.collect::<TaskResult<_>>()?;
            Ok(())
        })
    }

    fn read<'a>(&'a mut self, into: &'a mut Records, most: Most, until: Instant) -> BoxFuture<'a, TaskResult<()>> {
        Box::pin(async move {
            loop {
                self.ends.0.mark_unchanged();
                if self.read_some(into, most).await? {
                    return Ok(());
                }
                if tokio::time::timeout_at(until, self.ends.changed()).await.is_err() {
                    return Ok(());
                }
            }
        })
    }

    fn positions(&self) -> Vec<Position> {
        self.positions
            .iter()
            .map(|(partition, offset)| Position { partition: i32::from(*partition), offset: *offset })
            .collect()
    }
}
