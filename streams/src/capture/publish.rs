//! Publishes the changes of a capture and stores its position in the source's log.
//!
//! For the built-in log, records and position are written in one transaction. For Kafka, the records are committed
//! first, in a separate transaction: if the process ends before the position is stored, the records are published again
//! (at-least-once). Only the lease holder can write, because each new holder fences the previous one.

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

/// Partition whose offset is the position in the source's log. A capture has no other partition.
const PARTITION: i32 = 0;

/// Destination of a capture while the process holds its lease.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) pool: PgPool,
    pub(crate) lease: Lease,
    pub(crate) hints: Hints,
    pub(crate) kafka: Option<Arc<KafkaProducer>>,
}

/// A batch, and the position of the capture after it.
pub(super) struct PositionedLot {
    pub(super) lot: Lot,
    /// End position of the previous batch.
    pub(super) from: u64,
    pub(super) position: CapturePosition,
    /// End of the source's log as of the last poll.
    pub(super) written: u64,
}

impl Target {
    /// Opens the system that contains the topics. Returns a fatal error if it is neither the built-in log nor a Kafka
    /// cluster.
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

    /// Stores the start position of the capture. Afterwards, a previous lease holder can no longer publish.
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

    /// Publishes a batch and returns its end position.
    ///
    /// # Errors
    /// Returns `StoreError::FenceLost` if this process no longer holds the lease. Nothing has been published then,
    /// except to Kafka: the next lease holder publishes those records again (at-least-once).
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
        // Check the fencing token first, which locks the lease: no process can take over the stream until this
        // transaction ends.
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
