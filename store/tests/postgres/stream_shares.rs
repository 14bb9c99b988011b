//! Shares of a stream (groups of partitions): which process reads them, and which writes are rejected.

use crate::streams::{LONG, OVER, is_fenced, start, take, with_streams};
use orch_store::stream::{
    Covered, Lease, NewLot, NewStream, ShareBeat, ShareLease, SharesBeaten, beat_shares, commit_stream, hand_over,
    open_shares, partitions_of_stream, place_of_share, release_streams, take_lots, waiting_lots, waiting_of_share,
};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};
use std::time::Duration;

const SHARES: i32 = 4;

async fn beat(
    db: &mut PgConnection,
    process: &str,
    offered: &[NewStream],
    held: &[ShareLease],
    lease: Duration,
) -> SharesBeaten {
    beat_shares(db, &ShareBeat { bundle: "shop", process, offered, held, lease }).await.expect("it beats")
}

fn numbers(leases: &[ShareLease]) -> Vec<i32> {
    let mut numbers: Vec<i32> = leases.iter().map(|lease| lease.share).collect();
    numbers.sort_unstable();
    numbers
}

/// Acquires the stream for one process and divides its partitions into shares.
async fn opened(db: &mut PgConnection, streams: &[NewStream]) -> Lease {
    let lease = take(db, "lead", streams).await;
    start(db, &lease, 8).await;
    open_shares(db, &lease, SHARES).await.expect("it is its own");
    lease
}

fn lot(partition: i32, from: i64, to: i64) -> NewLot {
    let covered = vec![Covered { partition, from, to, end_offset: 100 }];
    NewLot { covered, records: to - from, quarantined: 0, last_record_at: None, files: json!({}) }
}

#[tokio::test]
async fn processes_that_are_there_have_the_same_number_of_shares() {
    let (_database, mut db, streams) = with_streams(&["a"]).await;
    opened(&mut db, &streams).await;
    let one = beat(&mut db, "one", &streams, &[], LONG).await.taken;
    assert_eq!(numbers(&one), [0, 1, 2, 3], "it is alone");
    // After a second process appears, the first one releases shares until both read the same number.
    assert_eq!(beat(&mut db, "two", &streams, &[], LONG).await, SharesBeaten::default());
    let one = beat(&mut db, "one", &streams, &one, LONG).await.kept;
    let two = beat(&mut db, "two", &streams, &[], LONG).await.taken;
    assert_eq!((numbers(&one), numbers(&two)), (vec![0, 1], vec![2, 3]));
    // With four shares for three processes, each holds at most two.
    beat(&mut db, "three", &streams, &[], LONG).await;
    assert_eq!(numbers(&beat(&mut db, "one", &streams, &one, LONG).await.kept), [0, 1]);
    let by: Vec<_> = partitions_of_stream(&mut db, "a").await.unwrap().into_iter().map(|one| one.process).collect();
    let by: Vec<_> = by.iter().map(|process| process.as_deref().unwrap()).collect();
    assert_eq!(by, ["one", "one", "two", "two", "one", "one", "two", "two"]);
    // One process releases its shares, and another one stops sending heartbeats.
    release_streams(&mut db, "one").await.unwrap();
    beat(&mut db, "two", &streams, &two, OVER).await;
    assert_eq!(numbers(&beat(&mut db, "three", &streams, &[], LONG).await.taken), [0, 1, 2, 3]);
}

#[tokio::test]
async fn shares_are_read_while_their_stream_has_a_process() {
    let (_database, mut db, streams) = with_streams(&["a"]).await;
    let first = opened(&mut db, &streams).await;
    let held = beat(&mut db, "one", &streams, &[], LONG).await.taken;
    release_streams(&mut db, "lead").await.unwrap();
    assert_eq!(beat(&mut db, "one", &streams, &held, LONG).await, SharesBeaten::default());
    // The next owner of the stream opens the shares again, so leases with the older epoch are fenced.
    let next = opened(&mut db, &streams).await;
    assert!(next.epoch > first.epoch);
    let beaten = beat(&mut db, "one", &streams, &held, LONG).await;
    assert_eq!((numbers(&beaten.taken), beaten.kept), (vec![0, 1, 2, 3], vec![]));
    assert!(is_fenced(&hand_over(&mut db, &held[0], &lot(0, 0, 1)).await));
    assert!(is_fenced(&open_shares(&mut db, &first, SHARES).await));
}

#[tokio::test]
async fn a_share_reads_on_behind_what_it_has_handed_over() {
    let (_database, mut db, streams) = with_streams(&["a"]).await;
    let lease = opened(&mut db, &streams).await;
    let held = beat(&mut db, "one", &streams, &[], OVER).await.taken;
    let share = &held.iter().find(|held| held.share == 1).unwrap().clone();
    assert_eq!(hand_over(&mut db, share, &lot(1, 0, 10)).await.unwrap(), 1);
    assert_eq!(hand_over(&mut db, share, &lot(1, 10, 15)).await.unwrap(), 2);
    assert_eq!(hand_over(&mut db, share, &lot(5, 0, 3)).await.unwrap(), 3);
    // The process that reads the share dies. Another process continues at its last offset, and writes of the dead one
    // are rejected.
    let taken = beat(&mut db, "two", &streams, &[], LONG).await.taken;
    let next = taken.iter().find(|taken| taken.share == 1).expect("it is free").clone();
    assert!(is_fenced(&hand_over(&mut db, share, &lot(1, 15, 20)).await));
    let place = place_of_share(&mut db, &next, SHARES).await.unwrap().unwrap();
    assert_eq!(place.positions, [(1, 15), (5, 3)]);
    assert_eq!(place_of_share(&mut db, share, SHARES).await.unwrap(), None);

    // A single transaction publishes the batches and advances the offsets.
    let lots = waiting_lots(&mut db, &lease).await.unwrap();
    let ids: Vec<i64> = lots.iter().map(|lot| lot.id).collect();
    let covered: Vec<_> = lots.into_iter().map(|lot| lot.lot.covered[0]).collect();
    assert_eq!(covered.iter().map(|one| (one.partition, one.to)).collect::<Vec<_>>(), [(1, 10), (1, 15), (5, 3)]);
    let mut tx = db.begin().await.unwrap();
    take_lots(&mut tx, &ids).await.unwrap();
    assert!(is_fenced(&take_lots(&mut tx, &ids[..1]).await), "it is gone");
    tx.rollback().await.unwrap();
    assert_eq!(waiting_of_share(&mut db, &next).await.unwrap(), 3);
    let mut tx = db.begin().await.unwrap();
    let covered = vec![Covered { from: 0, ..covered[1] }, covered[2]];
    let progress = orch_store::stream::Progress { covered, records: 18, ..<_>::default() };
    commit_stream(&mut tx, &lease, &progress).await.unwrap();
    take_lots(&mut tx, &ids).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(place_of_share(&mut db, &next, SHARES).await.unwrap().unwrap().positions, [(1, 15), (5, 3)]);
    assert_eq!(waiting_of_share(&mut db, &next).await.unwrap(), 0);
}
