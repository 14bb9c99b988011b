//! Tasks that read a topic. Each attempt reads from the end of the last successful attempt to the end that the topic
//! had when the attempt started.
//!
//! The end offsets are stored in the transaction that records the success of the task. If an attempt fails or its
//! worker dies, the stored offsets do not change and the next attempt reads the same records. An attempt that has lost
//! its lease cannot change the offsets.

use crate::records::Records;
use crate::topic::{self, AskEnds, Bounds, LogEnds, Most, Position, TopicReader, ensure_same_topic};
use anyhow::anyhow;
use orch_sdk::task::{Ctx, TaskResult, fatal};
use orch_store::completion::{Commit as _, CompletionStep, StepFuture, database};
use orch_store::stream::ResetTo;
use orch_store::topic::reader::{Move, MoveOf, ReaderState, find_reader, move_reader};
use sqlx::PgConnection;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use tokio::time::Instant;

/// Maximum size of a batch that [`TopicReading::next`] returns.
const CHUNK: Most = Most { records: 16_384, bytes: 4 << 20 };
/// Timeout for a topic that has more records but returns none. The attempt then fails, and its retry opens the topic
/// again.
const PATIENCE: Duration = Duration::from_mins(1);

/// Reads a topic in an attempt of a task.
///
/// ```
/// # use orch_sdk::task::{Ctx, TaskResult};
/// # use orch_streams::{TOPICS, TopicReading};
/// async fn archive(ctx: Ctx) -> TaskResult<()> {
///     let mut reading = TopicReading::of(&ctx, "weather_archive", TOPICS, "weather").await?.most(100_000);
///     while let Some(records) = reading.next(&ctx).await? {
///         for record in records.iter() {
///             ctx.debug(format!("{}: {:?}", record.offset, record.value));
///         }
///     }
///     reading.done(&ctx).await
/// }
/// ```
#[must_use = "nothing is read before `next`, and the next try reads the same again unless `done` is called"]
pub struct TopicReading {
    topic: Box<dyn TopicReader>,
    /// Held to keep the channel open through which `topic` receives the end offsets of the built-in log.
    _ends: AskEnds,
    begun: Begun,
    /// Next offset to return, by partition.
    reached: BTreeMap<i32, i64>,
    most: Option<usize>,
    read: usize,
}

/// State of the reader at the start of the attempt.
struct Begun {
    to: Move,
    /// Offsets that this attempt reads, by partition. The ranges are half-open.
    ranges: BTreeMap<i32, Range<i64>>,
}

impl TopicReading {
    /// Opens a topic for the reader named `reader`, under which the offsets are stored. A new reader starts at the
    /// oldest record. `connection` is the id of a connection, as for a stream. A missing topic of the built-in log is
    /// created.
    ///
    /// # Errors
    /// Returns a fatal error if the topic was deleted and created again since the last attempt, or if unread records no
    /// longer exist.
    pub async fn of(ctx: &Ctx, reader: &str, connection: &str, topic: &str) -> TaskResult<TopicReading> {
        let pool = database(ctx)?;
        let at = ctx.connection(connection).await?;
        let found = find_reader(&mut *pool.acquire().await?, reader).await?;
        let (ask, ends) = LogEnds::asked();
        let mut opened = topic::open(&at, topic, 1, &pool, &ends).await?;
        let (dag_id, task_id, run_id) = (ctx.dag_id().into(), ctx.task_id().into(), ctx.run_id().into());
        let to = Move {
            reader: reader.into(),
            connection: connection.into(),
            topic: topic.into(),
            topic_identity: opened.identity().await?,
            epoch: found.epoch,
            dag_id,
            task_id,
            run_id,
            partitions: Vec::new(),
        };
        let bounds = opened.bounds().await?;
        // Must run after `bounds`: all records within the bounds are then guaranteed to exist.
        ask.ask(&pool).await?;
        let begun = begin(to, &found, opened.as_mut(), &bounds).await?;
        let reached: BTreeMap<i32, i64> =
            begun.ranges.iter().map(|(partition, range)| (*partition, range.start)).collect();
        let positions: Vec<_> = reached.iter().map(|(&partition, &offset)| Position { partition, offset }).collect();
        opened.seek(&positions).await?;
        Ok(TopicReading { topic: opened, _ends: ask, begun, reached, most: None, read: 0 })
    }

    /// Limits the number of records that one run reads. The next run continues after them.
    pub fn most(self, records: usize) -> TopicReading {
        TopicReading { most: Some(records), ..self }
    }

    /// Returns the next records, ordered by offset within a partition, or `None` at the end.
    ///
    /// # Errors
    /// Returns an error if the task is cancelled or the topic cannot be read.
    pub async fn next(&mut self, ctx: &Ctx) -> TaskResult<Option<Records>> {
        let mut until = Instant::now() + PATIENCE;
        while !self.is_over() {
            let left = self.most.map_or(usize::MAX, |most| most - self.read);
            let most = Most { records: CHUNK.records.min(left), ..CHUNK };
            let mut records = Records::default();
            // Read in short steps. A reader skips offsets without records only during a read, and `positions` then
            // reports the skipped offsets.
            let pause = Instant::now() + Duration::from_millis(100);
            tokio::select! {
                read = self.topic.read(&mut records, most, pause) => read?,
                () = ctx.cancelled() => return Err(anyhow!("the task was to end while it read topic `{}`", self.begun.to.topic)),
            }
            let records = self.take(&records);
            if !records.is_empty() {
                self.read += records.len();
                return Ok(Some(records));
            }
            if self.advance() {
                until = Instant::now() + PATIENCE;
            } else if Instant::now() >= until {
                return Err(anyhow!(
                    "topic `{}` has more records, and gave none for {PATIENCE:?}: it read up to {:?}",
                    self.begun.to.topic,
                    self.reached
                ));
            }
        }
        Ok(None)
    }

    fn is_over(&self) -> bool {
        let is_read = |(partition, range): (&i32, &Range<i64>)| self.reached[partition] >= range.end;
        self.most.is_some_and(|most| self.read >= most) || self.begun.ranges.iter().all(is_read)
    }

    /// Takes the records that are within the ranges of this attempt.
    fn take(&mut self, read: &Records) -> Records {
        let is_mine = |partition: i32, offset: i64| {
            self.begun.ranges.get(&partition).is_some_and(|range| range.contains(&offset))
        };
        let mut mine = Records::default();
        read.iter().filter(|record| is_mine(record.partition, record.offset)).for_each(|record| mine.push(&record));
        if !mine.is_empty() {
            self.advance();
        }
        mine
    }

    /// Updates `reached` from the positions of the topic. Returns false if no position has changed.
    fn advance(&mut self) -> bool {
        let before = self.reached.clone();
        for Position { partition, offset } in self.topic.positions() {
            if let Some(range) = self.begun.ranges.get(&partition) {
                self.reached.insert(partition, offset.clamp(range.start, range.end));
            }
        }
        self.reached != before
    }

    /// Returns the half-open offset range, by partition, of the records that `next` has returned so far. Attempts that
    /// read the same records can derive identical output names from it.
    pub fn covered(&self) -> BTreeMap<i32, Range<i64>> {
        let covered =
            self.begun.ranges.iter().map(|(&partition, range)| (partition, range.start..self.reached[&partition]));
        covered.filter(|(_, range)| !range.is_empty()).collect()
    }

    /// Stores the end offsets of the returned records in the transaction that records the success of the task.
    ///
    /// # Errors
    /// Returns an error if the topic was deleted and created again during the attempt, and a fatal error in a child
    /// process, because a child process cannot register completion steps.
    pub async fn done(mut self, ctx: &Ctx) -> TaskResult<()> {
        let mut to = self.begun.to;
        ensure_same_topic(self.topic.as_mut(), &to.topic, &to.topic_identity).await?;
        for one in &mut to.partitions {
            one.next_offset = self.reached[&one.partition];
        }
        ctx.commit(MoveStep(to))
    }
}

/// Determines the start offset of each partition.
async fn begin(mut to: Move, found: &ReaderState, topic: &mut dyn TopicReader, bounds: &[Bounds]) -> TaskResult<Begun> {
    let known: BTreeMap<i32, i64> = found.positions.iter().copied().collect();
    let mut ranges = BTreeMap::new();
    for one in bounds {
        let Bounds { partition, first, next } = *one;
        let start = match place(&to, found, partition)? {
            StartPosition::Known(offset) => offset,
            StartPosition::To(ResetTo::Earliest) => first,
            StartPosition::To(ResetTo::Latest) => next,
            StartPosition::To(ResetTo::Offset(offset)) => offset,
            StartPosition::To(ResetTo::Time(at)) => topic.offset_at(partition, at).await?,
        };
        if !(first..=next).contains(&start) {
            return Err(fatal(format!(
                "reader `{}` is to read partition {partition} of topic `{}` from offset {start} on, and the topic has {first} to \
                 {next}: records are missing\n\
                 hint: accept that and go on with `orch topics seek {} --to-earliest`, or `--to-latest`",
                to.reader, to.topic, to.reader
            )));
        }
        let found = known.get(&partition).copied();
        to.partitions.push(MoveOf { partition, found, next_offset: start, end_offset: next });
        ranges.insert(partition, start..next);
    }
    Ok(Begun { to, ranges })
}

enum StartPosition {
    /// End offset of the last successful attempt.
    Known(i64),
    To(ResetTo),
}

fn place(to: &Move, found: &ReaderState, partition: i32) -> TaskResult<StartPosition> {
    let seek = found.seek_to.as_ref();
    let is_other = found.topic_identity.as_ref().is_some_and(|known| *known != to.topic_identity);
    let known = found.positions.iter().find(|(of, _)| *of == partition);
    match (seek.filter(|seek| seek.partition.is_none_or(|named| named == partition)), known) {
        (Some(seek), _) => Ok(StartPosition::To(seek.to.clone())),
        (None, _) if is_other && seek.is_none() => Err(fatal(format!(
            "topic `{}` is not the one that reader `{}` has read so far: it was deleted and created again, or the connection leads \
             elsewhere, so its offsets mean other records\n\
             hint: begin with it by `orch topics seek {} --to-earliest`, or `--to-latest`",
            to.topic, to.reader, to.reader
        ))),
        (None, Some((_, offset))) if !is_other => Ok(StartPosition::Known(*offset)),
        (None, _) => Ok(StartPosition::To(ResetTo::Earliest)),
    }
}

struct MoveStep(Move);

impl CompletionStep for MoveStep {
    fn name(&self) -> String {
        format!("move reader `{}` of topic `{}`", self.0.reader, self.0.topic)
    }

    fn run<'a>(&'a mut self, db: &'a mut PgConnection) -> StepFuture<'a> {
        Box::pin(async move {
            if move_reader(db, &self.0).await? {
                return Ok(());
            }
            let reader = &self.0.reader;
            Err(anyhow!(
                "reader `{reader}` was moved while this try read, by another task or by a person: the next try reads from there"
            ))
        })
    }
}
