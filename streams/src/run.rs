//! Runs one stream. The next batch is read while the previous one is published.

use crate::declare::{Start, Stream};
use crate::publish::{Lot, NotPublished, Target};
use crate::records::{Record, Records};
use crate::sort::{PutAside, SortContext, sort};
use crate::topic::{Bounds, Most, Position, TopicReader, ensure_same_topic};
use crate::upkeep::Upkeep;
use crate::windows::{EventTime, Windows};
use anyhow::Context as _;
use chrono::{DateTime, Utc};
use orch_sdk::task::{TaskResult, fatal};
use orch_store::stream::{
    Covered, Reset, ResetTo, SkippedRecord, StartAt, StreamCheckpoint, left_behind, skipped_records,
};
use sqlx::PgPool;
use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Maximum size of one read, which is decoded in one go.
const CHUNK: Most = Most { records: 16_384, bytes: 4 << 20 };
/// Idle time after which the stream stores offsets that contain no record and checks for new partitions. Longer than
/// [`LOOK_AT_ENDS`], so the end offsets of the topic are up to date by then.
const QUIET: Duration = Duration::from_mins(5);
/// Interval for refreshing the end offsets of the topic, from which the lag of the stream is computed for users.
const LOOK_AT_ENDS: Duration = Duration::from_mins(1);

/// Runs a stream. Returns only on an error, because a stream has no end.
pub(crate) async fn run_stream(
    stream: Arc<Stream>,
    target: Target,
    mut reader: Box<dyn TopicReader>,
) -> TaskResult<()> {
    let now = Clock::of(&target.pool).await?;
    let upkeep = Upkeep::start(&target.to, now);
    loop {
        let mut at = settle(&stream, &target, reader.as_mut()).await?;
        reader.seek(&at.positions()).await?;
        read_on(&stream, reader.as_mut(), &mut at, &now, |lot| {
            let (stream, target, turn) = (stream.clone(), target.clone(), upkeep.turn());
            async move {
                let publishing = turn.publishing().await;
                let records = NotPublished::of(&lot.covered);
                target.publish(&stream, lot).await.context(records)?;
                drop(publishing);
                turn.committed();
                Ok(())
            }
        })
        .await?;
    }
}

/// Reads a batch while the previous one is published. Returns when the topic has gained partitions.
pub(crate) async fn read_on<F: Future<Output = TaskResult<()>> + Send + 'static>(
    stream: &Stream,
    reader: &mut dyn TopicReader,
    at: &mut TopicPosition,
    now: &Clock,
    mut publish: impl FnMut(Lot) -> F,
) -> TaskResult<()> {
    let mut publishing: JoinSet<TaskResult<()>> = JoinSet::new();
    loop {
        let lot = {
            let mut gathering = pin!(gather(stream, reader, at, now));
            loop {
                tokio::select! {
                    lot = &mut gathering => break lot?,
                    Some(done) = publishing.join_next() => done??,
                }
            }
        };
        while let Some(done) = publishing.join_next().await {
            done??;
        }
        let Some(lot) = lot else { return Ok(()) };
        publishing.spawn(publish(lot));
    }
}

/// Read position of a stream in its topic, by partition. May cover only a part of the partitions.
pub(crate) struct TopicPosition {
    /// Identity of the topic for which the offsets are valid.
    topic_identity: String,
    /// First offset of the next batch, by partition.
    next: BTreeMap<i32, i64>,
    /// End offsets of the topic as of the last refresh.
    ends: BTreeMap<i32, i64>,
    seen: Instant,
    time: EventTime,
    /// True if other processes read the remaining partitions of the topic.
    is_of_share: bool,
    /// Records that users chose to skip: user name by partition and offset.
    skipped: HashMap<(i32, i64), String>,
}

impl TopicPosition {
    pub(crate) fn new(identity: String, placed: &[(i32, i64)], bounds: &[Bounds], time: EventTime) -> TopicPosition {
        let ends = bounds.iter().map(|one| (one.partition, one.next)).collect();
        let next = placed.iter().copied().collect();
        TopicPosition {
            topic_identity: identity,
            next,
            ends,
            seen: Instant::now(),
            time,
            is_of_share: false,
            skipped: HashMap::new(),
        }
    }

    /// Sets the records that are quarantined without being decoded.
    pub(crate) fn skipping(self, records: Vec<SkippedRecord>) -> TopicPosition {
        let skipped = records.into_iter().map(|one| ((one.partition, one.offset), one.username)).collect();
        TopicPosition { skipped, ..self }
    }

    /// Removes the records that users chose to skip, and returns them as quarantined records.
    fn take_skipped(&self, records: &mut Records) -> Vec<PutAside> {
        let user = |record: &Record<'_>| self.skipped.get(&(record.partition, record.offset));
        if self.skipped.is_empty() || records.iter().all(|record| user(&record).is_none()) {
            return Vec::new();
        }
        let (mut kept, mut aside) = (Records::default(), Vec::new());
        for record in records.iter() {
            match user(&record) {
                Some(user) => aside.push(PutAside::of(&record, format!("skipped by {user}"))),
                None => kept.push(&record),
            }
        }
        *records = kept;
        aside
    }

    pub(crate) fn of_a_share(self) -> TopicPosition {
        TopicPosition { is_of_share: true, ..self }
    }

    pub(crate) fn partitions(&self) -> usize {
        self.next.len()
    }

    pub(crate) fn positions(&self) -> Vec<Position> {
        self.next.iter().map(|(&partition, &offset)| Position { partition, offset }).collect()
    }

    fn has_new_partitions(&self) -> bool {
        !self.is_of_share && self.ends.len() > self.next.len()
    }

    async fn refresh_ends(&mut self, reader: &mut dyn TopicReader) -> TaskResult<()> {
        self.ends = reader.bounds().await?.into_iter().map(|one| (one.partition, one.next)).collect();
        self.seen = Instant::now();
        Ok(())
    }

    /// Closes windows whose time has passed. Waits if a partition without a watermark has unread records.
    async fn close_windows(&mut self, windows: &Windows, reader: &mut dyn TopicReader) -> TaskResult<()> {
        if !self.time.knows(self.next.keys().copied()) {
            self.refresh_ends(reader).await?;
        }
        let is_read = |(partition, next): (&i32, &i64)| self.ends.get(partition).is_none_or(|end| next >= end);
        let unknown = self.next.iter().filter(|(partition, _)| !self.time.knows([**partition].into_iter()));
        if unknown.into_iter().all(is_read) {
            self.time.close(windows);
        }
        Ok(())
    }

    /// Returns the offset ranges between the end of the last batch and the reader's position. Omits partitions that did
    /// not advance.
    fn cover(&mut self, reader: &dyn TopicReader) -> Vec<Covered> {
        let mut covered = Vec::new();
        for Position { partition, offset: to } in reader.positions() {
            let Some(from) = self.next.insert(partition, to) else { continue };
            if from != to {
                let end_offset = self.ends.get(&partition).map_or(to, |end| to.max(*end));
                covered.push(Covered { partition, from, to, end_offset });
            }
        }
        covered
    }
}

/// Determines and stores the start offset of each partition.
pub(crate) async fn settle(
    stream: &Stream,
    target: &Target,
    reader: &mut dyn TopicReader,
) -> TaskResult<TopicPosition> {
    let identity = reader.identity().await?;
    let bounds = reader.bounds().await?;
    let left = left_behind(&mut *target.pool.acquire().await?, &target.lease).await?;
    if stream.windows.is_some() && left.reset_to.as_ref().is_some_and(|reset| reset.partition.is_some()) {
        return Err(fatal(format!(
            "windows are made of all partitions, so stream `{}` cannot go elsewhere in one of them\n\
             hint: reset it without `--partition`",
            stream.name
        )));
    }
    let mut starts = Vec::new();
    for partition in &bounds {
        let wanted = wanted(stream, &left, &identity, partition)?;
        let offset = match wanted.place {
            ResetTo::Earliest => partition.first,
            ResetTo::Latest => partition.next,
            ResetTo::Offset(offset) => offset,
            ResetTo::Time(at) => reader.offset_at(partition.partition, at).await?,
        };
        if wanted.moves && !(partition.first..=partition.next).contains(&offset) {
            return Err(fatal(format!(
                "partition {} of topic `{}` has offsets {} to {}, so the stream cannot go to {offset}\n\
                 hint: reset it to one of these",
                partition.partition, stream.topic, partition.first, partition.next
            )));
        }
        let Bounds { partition, next, .. } = *partition;
        starts.push(StartAt { partition, offset, end_offset: next, moves: wanted.moves });
    }
    let placed = target.start(&left, &identity, &starts).await?;
    ensure_kept(stream, &placed, &bounds)?;
    let is_moved = starts.iter().any(|one| one.moves);
    let time = if is_moved { EventTime::default() } else { EventTime::of(&left) };
    let skipped = skipped_records(&mut *target.pool.acquire().await?, &target.lease).await?;
    Ok(TopicPosition::new(identity, &placed, &bounds, time).skipping(skipped))
}

/// Returns a fatal error if the topic no longer contains the next offsets.
pub(crate) fn ensure_kept(stream: &Stream, placed: &[(i32, i64)], bounds: &[Bounds]) -> TaskResult<()> {
    for (partition, offset) in placed {
        let bounds = bounds.iter().find(|one| one.partition == *partition);
        if let Some(Bounds { first, next, .. }) = bounds.filter(|one| !(one.first..=one.next).contains(offset)) {
            return Err(fatal(format!(
                "the stream has read topic `{}` up to offset {offset} of partition {partition}, and the topic has {first} to \
                 {next}: records are missing\n\
                 hint: accept that and go on with `orch streams reset {} --to-earliest`, or `--to-latest`",
                stream.topic, stream.name
            )));
        }
    }
    Ok(())
}

struct PartitionStart {
    place: ResetTo,
    /// True if the offset replaces the stored position of a partition that the stream has already read.
    moves: bool,
}

fn wanted(stream: &Stream, left: &StreamCheckpoint, identity: &str, partition: &Bounds) -> TaskResult<PartitionStart> {
    let is_other = left.topic_identity.as_deref().is_some_and(|known| known != identity);
    let reset = left.reset_to.as_ref();
    let concerns = |reset: &&Reset| reset.partition.is_none_or(|named| named == partition.partition);
    match reset.filter(concerns) {
        Some(reset) => Ok(PartitionStart { place: reset.to.clone(), moves: true }),
        None if is_other && reset.is_none() => Err(fatal(format!(
            "topic `{}` is not the one that the stream has read so far: it was deleted and created again, or the connection \
             leads elsewhere, so its offsets mean other records\n\
             hint: begin with it by `orch streams reset {} --to-earliest`, or `--to-latest`",
            stream.topic, stream.name
        ))),
        None if is_other => Ok(PartitionStart { place: ResetTo::Earliest, moves: true }),
        // Partitions that are added while the stream runs are read from their first record.
        None if left.positions.is_empty() && stream.start == Start::Latest => {
            Ok(PartitionStart { place: ResetTo::Latest, moves: false })
        }
        None => Ok(PartitionStart { place: ResetTo::Earliest, moves: false }),
    }
}

/// Reads until a batch must be published. Returns `None` if the topic has gained partitions.
async fn gather(
    stream: &Stream,
    reader: &mut dyn TopicReader,
    at: &mut TopicPosition,
    clock: &Clock,
) -> TaskResult<Option<Lot>> {
    let mut lot = Lot::default();
    // New partitions were detected during the previous batch. Check here, because a busy stream is never idle for
    // `QUIET`.
    if at.has_new_partitions() {
        return Ok(None);
    }
    let (mut records, mut bytes, mut moving) = (Records::default(), 0, 0);
    let mut until = Instant::now() + QUIET;
    loop {
        // A key change is a delete of the old row and an insert of the new one, which may need values of the old row.
        // Wait up to `commit_every` longer to publish the delete and the insert in one batch.
        let end = if stream.mirrors() && moving > 0 { until + stream.commit.every } else { until };
        let left = usize::try_from(lot.records).map_or(0, |read| stream.commit.records.saturating_sub(read));
        // Continue to read even if the batch is full, to find the insert of a key change.
        let most = if left == 0 { CHUNK } else { Most { records: CHUNK.records.min(left), ..CHUNK } };
        reader.read(&mut records, most, end).await?;
        if !records.is_empty() {
            if lot.records == 0 {
                until = Instant::now() + stream.commit.every;
            }
            let (read, read_bytes, read_moving) = (records.len(), records.bytes(), records.moving());
            let last_record_at = records.iter().filter_map(|record| record.at()).max();
            lot.aside.extend(at.take_skipped(&mut records));
            let facts = SortContext { at: clock.now(), partitions: at.next.len() };
            let sorted = sort(stream, &records, &mut at.time, facts)
                .with_context(|| NotPublished::new(records.iter().map(|record| (record.partition, record.offset))))?;
            // The rows that a transformation returns may be larger than the records that it receives.
            let built = stream.transform.as_ref().map_or(0, |_| sorted.rows.get_array_memory_size());
            lot.records += i64::try_from(read).unwrap_or(i64::MAX);
            lot.last_record_at = lot.last_record_at.max(last_record_at);
            lot.rows.push(sorted.rows);
            lot.calls.extend(sorted.calls);
            lot.gone.extend(sorted.gone);
            lot.aside.extend(sorted.aside);
            lot.is_marked |= sorted.is_marked;
            bytes += read_bytes.max(built);
            moving += read_moving;
            records.clear();
        }
        let is_full = lot.is_marked
            || bytes >= stream.commit.bytes
            || usize::try_from(lot.records).is_ok_and(|records| records >= stream.commit.records);
        let is_whole = !stream.mirrors() || moving <= 0 || Instant::now() >= until + stream.commit.every;
        if !is_whole || (!is_full && Instant::now() < until) {
            continue;
        }
        if at.seen.elapsed() >= LOOK_AT_ENDS {
            at.refresh_ends(reader).await?;
        }
        lot.covered = at.cover(reader);
        if !lot.covered.is_empty() {
            ensure_same_topic(reader, &stream.topic, &at.topic_identity).await?;
            lot.watermarks = at.time.watermarks();
            if let Some(windows) = &stream.windows {
                at.close_windows(windows, reader).await?;
                lot.closed_before = at.time.closed_before();
            }
            return Ok(Some(lot));
        }
        if at.has_new_partitions() {
            return Ok(None);
        }
        until = Instant::now() + QUIET;
    }
}

/// The database's clock. The database is queried once; later times are computed from the offset to the local clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    then: DateTime<Utc>,
    asked: Instant,
}

impl Clock {
    pub(crate) async fn of(pool: &PgPool) -> TaskResult<Clock> {
        let asked = Instant::now();
        Ok(Clock { then: orch_store::stream::now(&mut *pool.acquire().await?).await?, asked })
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.then + self.asked.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field, Schema};
    use futures::future::BoxFuture;
    use orch_lake::TableDef;

    /// A topic with one record, whose identity changes after `same_for` calls.
    struct Replaced {
        same_for: usize,
        next: i64,
        looks: usize,
    }

    impl TopicReader for Replaced {
        fn identity(&mut self) -> BoxFuture<'_, TaskResult<String>> {
            let identity = if self.same_for > 0 { "kafka/a/users/1" } else { "kafka/a/users/2" };
            self.same_for = self.same_for.saturating_sub(1);
            Box::pin(async move { Ok(identity.into()) })
        }

        fn bounds(&mut self) -> BoxFuture<'_, TaskResult<Vec<Bounds>>> {
            self.looks += 1;
            Box::pin(async { Ok(vec![Bounds { partition: 0, first: 0, next: 3 }]) })
        }

        fn offset_at(&mut self, _: i32, _: DateTime<Utc>) -> BoxFuture<'_, TaskResult<i64>> {
            Box::pin(async { Ok(0) })
        }

        fn seek<'a>(&'a mut self, _: &'a [Position]) -> BoxFuture<'a, TaskResult<()>> {
            Box::pin(async { Ok(()) })
        }

        fn read<'a>(&'a mut self, into: &'a mut Records, _: Most, until: Instant) -> BoxFuture<'a, TaskResult<()>> {
            Box::pin(async move {
                if self.next == 3 {
                    tokio::time::sleep_until(until).await;
                    return Ok(());
                }
                into.push(&Record {
                    partition: 0,
                    offset: self.next,
                    at_ms: Some(0),
                    key: None,
                    value: Some(br#"{"id":3}"#),
                    old_key: None,
                    has_new_key: false,
                });
                self.next = 3;
                Ok(())
            })
        }

        fn positions(&self) -> Vec<Position> {
            vec![Position { partition: 0, offset: self.next }]
        }
    }

    fn users() -> Stream {
        let fields = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
        let table = "db.users".parse().unwrap();
        Stream::new("users").topic("users").json(fields).append(table, TableDef::new())
    }

    async fn gathered(mut reader: Replaced) -> TaskResult<Option<Lot>> {
        let stream = users();
        let clock = Clock { then: DateTime::UNIX_EPOCH, asked: Instant::now() };
        let (identity, bounds) = (reader.identity().await?, reader.bounds().await?);
        let mut at = TopicPosition::new(identity, &[(0, reader.next)], &bounds, EventTime::default());
        let lot = gather(&stream, &mut reader, &mut at, &clock).await?;
        // A partition is added while the reader receives records.
        at.ends.insert(1, 0);
        reader.next = 2;
        let after = gather(&stream, &mut reader, &mut at, &clock).await?;
        assert!(after.is_none(), "the new partition is read, too");
        Ok(lot)
    }

    #[tokio::test(start_paused = true)]
    async fn a_lot_of_a_topic_that_was_created_again_is_not_published() {
        let lot = gathered(Replaced { same_for: 2, next: 2, looks: 0 }).await.unwrap();
        assert_eq!(lot.unwrap().records, 1);
        let error = gathered(Replaced { same_for: 1, next: 2, looks: 0 }).await.unwrap_err();
        assert_eq!(error.to_string(), "topic `users` was created again while it was read");
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_stream_looks_at_its_topic_once_in_five_minutes() {
        let mut reader = Replaced { same_for: 1, next: 3, looks: 0 };
        let clock = Clock { then: DateTime::UNIX_EPOCH, asked: Instant::now() };
        let bounds = [Bounds { partition: 0, first: 0, next: 3 }];
        let mut at = TopicPosition::new("kafka/a/users/1".into(), &[(0, 3)], &bounds, EventTime::default());
        let stream = users();
        let quiet = gather(&stream, &mut reader, &mut at, &clock);
        tokio::time::timeout(Duration::from_mins(62), quiet).await.unwrap_err();
        assert_eq!(reader.looks, 12);
    }
}
