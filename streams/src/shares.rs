//! Streams whose partitions are divided among several processes.
//!
//! The partitions form groups, called shares. The process that leases a share reads its partitions and writes their
//! rows to data files. The leader, the process that holds the stream's lease, reads nothing and publishes the files in
//! one snapshot per commit. The table therefore has a single writer, and the offsets are committed in its transaction
//! as for any other stream.

use crate::declare::Stream;
use crate::publish::{LakeTarget, Target, To, is_refused};
use crate::run::{Clock, TopicPosition, ensure_kept, read_on, settle};
use crate::topic::{TopicReader, ensure_same_topic};
use crate::upkeep::Upkeep;
use crate::windows::EventTime;
use anyhow::anyhow;
use orch_sdk::task::TaskResult;
use orch_store::hint::Hint;
use orch_store::stream::{
    NewLot, ShareLease, hand_over, open_shares, place_of_share, skipped_records, waiting_lots, waiting_of_share,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// Maximum number of unpublished batches up to which a process continues to read its partitions.
const AHEAD: i64 = 2;
/// Polling interval in case a hint is lost. Long, so that an idle stream sends few queries.
const LISTEN: Duration = Duration::from_mins(2);
const ASK_FOR_ROOM: Duration = Duration::from_secs(10);
/// Interval for detecting new partitions. Together with `LISTEN`, they are found within five minutes, as for any
/// stream.
const LOOK_FOR_PARTITIONS: Duration = Duration::from_mins(3);

/// Publishes the batches that all processes of the stream have written. Returns when the topic has gained partitions.
pub(crate) async fn lead(stream: Arc<Stream>, target: Target, mut reader: Box<dyn TopicReader>) -> TaskResult<()> {
    let lake = lake_of(&stream, &target)?;
    let now = Clock::of(&target.pool).await?;
    let at = settle(&stream, &target, reader.as_mut()).await?;
    open_shares(&mut *target.pool.acquire().await?, &target.lease, stream.shares).await?;
    target.hints.give(Hint::Stream);
    let upkeep = Upkeep::start(&target.to, now);
    let mut looked = Instant::now();
    loop {
        if looked.elapsed() >= LOOK_FOR_PARTITIONS {
            if reader.bounds().await?.len() > at.partitions() {
                return Ok(());
            }
            looked = Instant::now();
        }
        let told = target.hints.on(Hint::Lot).notified();
        let lots = waiting_lots(&mut *target.pool.acquire().await?, &target.lease).await?;
        if !lots.is_empty() {
            let next = Instant::now() + stream.commit.every;
            let turn = upkeep.turn();
            let publishing = turn.publishing().await;
            lake.publish_written(&target, &stream, &lots).await?;
            drop(publishing);
            target.hints.give(Hint::Lot);
            turn.committed();
            sleep_until(next).await;
            continue;
        }
        tokio::select! {
            () = told => {}
            () = sleep(LISTEN) => {}
        }
    }
}

/// Reads one share (a group of partitions) and writes its rows to files for the leader. Returns only on an error,
/// because a stream has no end.
pub(crate) async fn read(
    stream: Arc<Stream>,
    target: Target,
    mut reader: Box<dyn TopicReader>,
    share: ShareLease,
) -> TaskResult<()> {
    let lake = Arc::new(lake_of(&stream, &target)?.clone());
    let now = Clock::of(&target.pool).await?;
    let found = place_of_share(&mut *target.pool.acquire().await?, &share, stream.shares).await?;
    let Some(found) = found else {
        // Wait forever: either the share is empty because there are fewer partitions than shares, or its lease is lost,
        // which the next heartbeat detects.
        return std::future::pending().await;
    };
    // The previous process may have died between storing a batch and sending the hint to the leader.
    target.hints.give(Hint::Lot);
    ensure_same_topic(reader.as_mut(), &stream.topic, &found.topic_identity).await?;
    let bounds = reader.bounds().await?;
    ensure_kept(&stream, &found.positions, &bounds)?;
    let skipped = skipped_records(&mut *target.pool.acquire().await?, &share.stream).await?;
    let at = TopicPosition::new(found.topic_identity, &found.positions, &bounds, EventTime::default());
    let mut at = at.of_a_share().skipping(skipped);
    reader.seek(&at.positions()).await?;
    read_on(&stream, reader.as_mut(), &mut at, &now, |mut lot| {
        let (stream, target, lake, share) = (stream.clone(), target.clone(), lake.clone(), share.clone());
        async move {
            let files = match lake.write(&stream, &target.lease, &lot).await {
                Err(error) if is_refused(&error) && lake.put_aside_refused(&stream, &mut lot).await? => {
                    lake.write(&stream, &target.lease, &lot).await?
                }
                done => done?,
            };
            let lot = NewLot {
                files,
                covered: lot.covered,
                records: lot.records,
                quarantined: i64::try_from(lot.aside.len()).unwrap_or(i64::MAX),
                last_record_at: lot.last_record_at,
            };
            let handed = hand_over(&mut *target.pool.acquire().await?, &share, &lot).await;
            // Send the hint even after an error, because the batch may be stored although the response was lost.
            target.hints.give(Hint::Lot);
            let mut waiting = handed?;
            while waiting > AHEAD {
                let told = target.hints.on(Hint::Lot).notified();
                waiting = waiting_of_share(&mut *target.pool.acquire().await?, &share).await?;
                if waiting > AHEAD {
                    tokio::select! {
                        () = told => {}
                        () = sleep(ASK_FOR_ROOM) => {}
                    }
                }
            }
            Ok(())
        }
    })
    .await
}

fn lake_of<'a>(stream: &Stream, target: &'a Target) -> TaskResult<&'a LakeTarget> {
    match &target.to {
        To::Lake(lake) => Ok(lake),
        To::Postgres(_) | To::Runs(_) => Err(anyhow!("stream `{}` has shares and no table in the lake", stream.name)),
    }
}
