//! Publishes the changes of a capture and moves its position.
//!
//! Topics of the built-in log are written in the transaction that moves the position. Kafka commits the records first, in a transaction of
//! its own: if the process ends between the two, the same records are published again. Only the process that holds the
//! lease can write, because each new holder fences the one before it.

use super::Capture;
use super::lot::Lot;
use crate::topic::kafka::KafkaProducer;
use crate::topic::{KAFKA, LOG};
use anyhow::Context as _;
use chrono::DateTime;
use orch_sdk::task::{Connection, TaskResult, fatal};
use orch_store::hint::{Hint, Hints};
use orch_store::setting::installation_id;
use orch_store::stream::{
    CapturePosition, Covered, Lease, Progress, StartAt, StreamCheckpoint, commit_stream, left_behind, set_capture,
    start_stream,
};
use orch_store::topic::{ensure_topic, produce_as_writer};
use sqlx::PgPool;
use std::sync::Arc;

/// A position in the log of a source is that of a stream in its one partition.
const PARTITION: i32 = 0;

/// Where a capture publishes, for as long as it has its lease.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) pool: PgPool,
    pub(crate) lease: Lease,
    pub(crate) hints: Hints,
    pub(crate) kafka: Option<Arc<KafkaProducer>>,
}

/// A lot with where the capture is when it is published.
pub(super) struct PositionedLot {
    pub(super) lot: Lot,
    /// Where the last part has ended.
    pub(super) from: u64,
    pub(super) position: CapturePosition,
    /// Of the log of the source, as last seen.
    pub(super) written: u64,
}

impl Target {
    /// # Errors
    /// A fatal one when the connection is for something else.
    pub(crate) async fn open(pool: PgPool, lease: Lease, hints: Hints, topics: &Connection) -> TaskResult<Target> {
        let kafka = match topics.conn_type.as_str() {
            LOG => None,
            KAFKA => {
                let installation = installation_id(&mut *pool.acquire().await?).await?;
                let id = format!("orch-{installation}-{}", lease.name);
                Some(Arc::new(KafkaProducer::open_transactional(topics, &id)?))
            }
            other => {
                return Err(fatal(format!(
                    "connection `{}` is of type `{other}`, to which nothing is written\n\
                     hint: `{LOG}` is the built-in log, `{KAFKA}` a cluster",
                    topics.id
                )));
            }
        };
        Ok(Target { pool, lease, hints, kafka })
    }

    pub(super) async fn left(&self) -> TaskResult<StreamCheckpoint> {
        Ok(left_behind(&mut *self.pool.acquire().await?, &self.lease).await?)
    }

    /// Creates topics that are missing.
    pub(super) async fn ensure_topics(&self, capture: &Capture) -> TaskResult<()> {
        for table in &capture.tables {
            let (topic, partitions) = (capture.topic_of(table), capture.partitions_for(table));
            match &self.kafka {
                Some(kafka) => {
                    kafka.create_topic(&topic, partitions.into()).await?;
                }
                None => {
                    ensure_topic(&mut *self.pool.acquire().await?, &topic, partitions).await?;
                }
            }
        }
        Ok(())
    }

    /// Writes down where the capture begins. From here on no earlier holder of the lease publishes.
    pub(super) async fn start(
        &self,
        identity: &str,
        position: &CapturePosition,
        (written, moves): (u64, bool),
    ) -> TaskResult<()> {
        let (offset, end_offset) = (offset(position.lsn)?, offset(written)?);
        if let Some(kafka) = &self.kafka {
            kafka.fence_others().await?;
        }
        let mut tx = self.pool.begin().await?;
        let at = [StartAt { partition: PARTITION, offset, end_offset, moves }];
        start_stream(&mut tx, &self.lease, identity, &at).await?;
        set_capture(&mut tx, &self.lease.name, position).await?;
        Ok(tx.commit().await?)
    }

    /// # Errors
    /// `StoreError::FenceLost` if another process holds the lease now. Nothing was published then, or, in Kafka, the same records
    /// are published again.
    pub(super) async fn publish(&self, part: PositionedLot) -> TaskResult<u64> {
        let PositionedLot { lot, from, position, written } = part;
        if let Some(kafka) = &self.kafka
            && !lot.records.is_empty()
        {
            kafka.produce_in_transaction(&lot.records).await?;
        }
        let to = offset(position.lsn)?;
        let progress = Progress {
            covered: vec![Covered {
                partition: PARTITION,
                from: offset(from)?,
                to,
                end_offset: offset(written)?.max(to),
            }],
            records: i64::try_from(lot.count).unwrap_or(i64::MAX),
            last_record_at: lot.at_ms.and_then(DateTime::from_timestamp_millis),
            ..Progress::default()
        };
        let mut tx = self.pool.begin().await?;
        // First the fence: from here on nothing takes the stream away until this commits.
        commit_stream(&mut tx, &self.lease, &progress).await?;
        set_capture(&mut tx, &self.lease.name, &position).await?;
        if self.kafka.is_none() {
            for (topic, records) in &lot.records {
                produce_as_writer(&mut tx, topic, records)
                    .await
                    .with_context(|| format!("records for topic `{topic}`"))?;
            }
        }
        tx.commit().await?;
        if self.kafka.is_none() && lot.count > 0 {
            self.hints.give(Hint::Topic);
        }
        Ok(position.lsn)
    }
}

fn offset(lsn: u64) -> TaskResult<i64> {
    i64::try_from(lsn).context("a position in a log")
}
