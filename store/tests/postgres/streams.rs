//! Streams: each runs in one process, its offsets advance only with a commit of the newest epoch, and users can pause,
//! restart and move it.

use crate::fixture::{database, one};
use chrono::{DateTime, Utc};
use orch_store::StoreError;
use orch_store::list::Search;
use orch_store::stream::{
    Beat, Beaten, Covered, Lease, NewStream, OpenWindow, PartitionOfStream, Progress, Reset, ResetTo, StartAt,
    StreamRow, StreamState, WindowChanges, WindowSpan, beat, by, commit_stream, commit_windows, delete_stream,
    fail_stream, failures_of, find_streams, get_stream, left_behind, minutes_of_stream, open_windows,
    partitions_of_stream, pause_stream, register_streams, release_streams, reset_stream, restart_stream, resume_stream,
    start_stream,
};
use orch_store::topic::{NewRecord, get_topic, produce};
use orch_test_support::TestDb;
use serde_json::json;
use sqlx::postgres::PgConnection;
use std::time::Duration;
use tokio::task::JoinSet;

pub(crate) const LONG: Duration = Duration::from_hours(1);
/// A lease duration that has already passed when the next statement starts.
pub(crate) const OVER: Duration = Duration::ZERO;

fn stream(name: &str, version: &str) -> NewStream {
    let spec = json!({ "topic": "events", "table": format!("shop.{name}") });
    NewStream { name: name.into(), version: version.into(), spec }
}

pub(crate) async fn with_streams(names: &[&str]) -> (TestDb, PgConnection, Vec<NewStream>) {
    let database = database().await;
    let mut db = one(&database).await;
    let streams: Vec<NewStream> = names.iter().map(|name| stream(name, "1")).collect();
    register_streams(&mut db, "shop", &streams, false).await.expect("they register");
    (database, db, streams)
}

/// Sends the heartbeat of a process with capacity for one more stream.
async fn beat_of(
    db: &mut PgConnection,
    process: &str,
    offered: &[NewStream],
    held: &[Lease],
    lease: Duration,
) -> Beaten {
    beat(db, &Beat { bundle: "shop", process, offered, held, room: 1, lease }).await.expect("it beats")
}

/// Acquires the only stream for `process`.
pub(crate) async fn take(db: &mut PgConnection, process: &str, offered: &[NewStream]) -> Lease {
    let mut taken = beat_of(db, process, offered, &[], LONG).await.taken;
    assert_eq!(taken.len(), 1, "it is free");
    taken.remove(0)
}

pub(crate) async fn start(db: &mut PgConnection, lease: &Lease, partitions: i32) {
    let at = |partition| StartAt { partition, offset: 0, end_offset: 100, moves: false };
    let at: Vec<StartAt> = (0..partitions).map(at).collect();
    let placed = start_stream(db, lease, "log:1", &at).await.expect("it starts");
    assert_eq!(placed, (0..partitions).map(|partition| (partition, 0)).collect::<Vec<_>>());
}

/// Commits offsets of a stream. If the commit fails, the transaction is rolled back.
async fn commit(db: &mut PgConnection, lease: &Lease, covered: &[(i32, i64, i64)]) -> Result<(), StoreError> {
    use sqlx::Connection as _;
    let mut tx = db.begin().await.expect("the server is there");
    let covered = covered.iter().map(|&(partition, from, to)| Covered { partition, from, to, end_offset: 100 });
    let covered: Vec<Covered> = covered.collect();
    let records = covered.iter().map(|one| one.to - one.from).sum();
    let progress = Progress { covered, records, ..Progress::default() };
    commit_stream(&mut tx, lease, &progress).await?;
    tx.commit().await.expect("it commits");
    Ok(())
}

async fn row(db: &mut PgConnection, name: &str) -> StreamRow {
    get_stream(db, name).await.expect("it is read").expect("it is there")
}

async fn offsets(db: &mut PgConnection, name: &str) -> Vec<i64> {
    let partitions = partitions_of_stream(db, name).await.expect("they are read");
    partitions.into_iter().map(|one| one.next_offset).collect()
}

pub(crate) fn is_fenced<T: std::fmt::Debug>(done: &Result<T, StoreError>) -> bool {
    matches!(done, Err(StoreError::FenceLost))
}

#[tokio::test]
async fn a_commit_of_an_older_epoch_moves_nothing() {
    let (_database, mut db, streams) = with_streams(&["a"]).await;
    let old = take(&mut db, "one", &streams).await;
    start(&mut db, &old, 2).await;
    commit(&mut db, &old, &[(0, 0, 10), (1, 0, 5)]).await.expect("it is its own");
    release_streams(&mut db, "one").await.unwrap();
    let new = take(&mut db, "two", &streams).await;
    assert!(new.epoch > old.epoch);
    assert!(is_fenced(&commit(&mut db, &old, &[(0, 10, 20)]).await));
    assert!(is_fenced(&left_behind(&mut db, &old).await));
    assert!(is_fenced(&start_stream(&mut db, &old, "log:1", &[start_at(0, 0)]).await));
    assert!(is_fenced(&fail_stream(&mut db, &old, "late", None).await));
    let seen = row(&mut db, "a").await;
    assert_eq!((seen.commits, seen.records, seen.failures, seen.state()), (1, 15, 0, StreamState::Running));
    assert_eq!(offsets(&mut db, "a").await, [10, 5]);
    let minutes = minutes_of_stream(&mut db, "a", 10).await.unwrap();
    assert_eq!(minutes.iter().map(|minute| minute.records).sum::<i64>(), 15);
    assert_eq!(minutes.last().map(|minute| minute.lag), Some(185));
    commit(&mut db, &new, &[(0, 10, 20)]).await.expect("the new one goes on");
}

fn start_at(partition: i32, offset: i64) -> StartAt {
    StartAt { partition, offset, end_offset: 100, moves: false }
}

#[tokio::test]
async fn offsets_that_are_not_where_they_are_expected_are_refused_whole() {
    let (_database, mut db, streams) = with_streams(&["a"]).await;
    let lease = take(&mut db, "one", &streams).await;
    start(&mut db, &lease, 2).await;
    commit(&mut db, &lease, &[(0, 0, 10)]).await.unwrap();
    for covered in [&[(0, 0, 10)][..], &[(0, 10, 20), (1, 1, 2)], &[(0, 10, 20), (7, 0, 1)]] {
        assert!(is_fenced(&commit(&mut db, &lease, covered).await), "{covered:?}");
    }
    assert_eq!(offsets(&mut db, "a").await, [10, 0]);
    assert_eq!(row(&mut db, "a").await.records, 10);
}

#[tokio::test]
async fn two_processes_never_hold_one_stream() {
    let names = ["a", "b", "c", "d", "e"];
    let (database, mut db, streams) = with_streams(&names).await;
    let mut processes = JoinSet::new();
    for number in 0..8 {
        let (mut db, streams) = (one(&database).await, streams.clone());
        processes.spawn(async move { beat_of(&mut db, &format!("p{number}"), &streams, &[], LONG).await.taken });
    }
    let taken: Vec<Lease> = processes.join_all().await.into_iter().flatten().collect();
    let mut held: Vec<&str> = taken.iter().map(|lease| lease.name.as_str()).collect();
    held.sort_unstable();
    held.dedup();
    assert_eq!(held.len(), taken.len(), "each is held once: {taken:?}");
    assert!(!taken.is_empty());
    // Heartbeats skip streams that another session has locked. The next heartbeat acquires them.
    let late = Beat { bundle: "shop", process: "late", offered: &streams, held: &[], room: 9, lease: LONG };
    let rest = beat(&mut db, &late).await.unwrap().taken;
    assert_eq!(taken.len() + rest.len(), names.len());
}

#[tokio::test]
async fn a_stream_goes_to_another_process_when_its_lease_is_over() {
    let (_database, mut db, streams) = with_streams(&["a"]).await;
    let first = beat_of(&mut db, "one", &streams, &[], LONG).await.taken;
    assert!(beat_of(&mut db, "two", &streams, &[], LONG).await.taken.is_empty(), "it is held");
    assert_eq!(beat_of(&mut db, "one", &streams, &first, OVER).await.kept, first, "renewed, for no time at all");
    assert_eq!(row(&mut db, "a").await.state(), StreamState::Unassigned);
    let second = beat_of(&mut db, "two", &streams, &[], LONG).await.taken;
    assert_eq!(second.len(), 1);
    assert_eq!(beat_of(&mut db, "one", &streams, &first, LONG).await, Beaten::default(), "it has lost it");
    assert_eq!(beat_of(&mut db, "two", &streams, &second, LONG).await.kept, second);
    release_streams(&mut db, "one").await.unwrap();
    assert_eq!(row(&mut db, "a").await.process.as_deref(), Some("two"), "a process gives back only its own");
}

#[tokio::test]
async fn a_pause_and_a_restart_take_the_stream_away_at_once() {
    let (_database, mut db, streams) = with_streams(&["a"]).await;
    let first = take(&mut db, "one", &streams).await;
    start(&mut db, &first, 1).await;
    assert!(pause_stream(&mut db, "a").await.unwrap());
    assert!(is_fenced(&commit(&mut db, &first, &[(0, 0, 10)]).await));
    assert_eq!(beat_of(&mut db, "one", &streams, &[first], LONG).await, Beaten::default(), "no process runs it");
    assert_eq!(row(&mut db, "a").await.state(), StreamState::Paused);
    assert!(resume_stream(&mut db, "a").await.unwrap());
    let second = take(&mut db, "one", &streams).await;
    fail_stream(&mut db, &second, "no table", None).await.unwrap();
    let failed = row(&mut db, "a").await;
    assert_eq!((failed.state(), failed.waits_for_restart, failed.retry_at), (StreamState::Failed, true, None));
    assert_eq!(failures_of(&mut db, "a").await.unwrap(), 1);
    assert!(beat_of(&mut db, "one", &streams, &[], LONG).await.taken.is_empty(), "it waits for a person");
    assert!(restart_stream(&mut db, "a").await.unwrap());
    let third = take(&mut db, "one", &streams).await;
    restart_stream(&mut db, "a").await.unwrap();
    assert!(is_fenced(&commit(&mut db, &third, &[(0, 0, 10)]).await));
    let fourth = take(&mut db, "two", &streams).await;
    commit(&mut db, &fourth, &[(0, 0, 10)]).await.expect("it goes on from its last commit");
    for name in ["none", ""] {
        let done = [pause_stream(&mut db, name).await, resume_stream(&mut db, name).await];
        assert!(done.into_iter().all(|done| !done.unwrap()), "there is no `{name}`");
    }
}

#[tokio::test]
async fn what_failed_is_tried_again_when_it_is_time_and_a_commit_forgets_it() {
    let (_database, mut db, streams) = with_streams(&["a"]).await;
    let lease = take(&mut db, "one", &streams).await;
    start(&mut db, &lease, 1).await;
    fail_stream(&mut db, &lease, "later", Some(LONG)).await.unwrap();
    let failed = row(&mut db, "a").await;
    assert!(!failed.waits_for_restart && failed.retry_at > failed.failed_at, "{failed:?}");
    assert!(beat_of(&mut db, "one", &streams, &[], LONG).await.taken.is_empty());
    resume_stream(&mut db, "a").await.unwrap();
    let lease = take(&mut db, "one", &streams).await;
    fail_stream(&mut db, &lease, "now", Some(Duration::ZERO)).await.unwrap();
    let lease = take(&mut db, "one", &streams).await;
    assert_eq!(row(&mut db, "a").await.failures, 2);
    commit(&mut db, &lease, &[(0, 0, 10)]).await.unwrap();
    let seen = row(&mut db, "a").await;
    assert_eq!((seen.failures, seen.state(), seen.error), (0, StreamState::Running, None));
}

#[tokio::test]
async fn a_reset_is_taken_once() {
    let (_database, mut db, streams) = with_streams(&["a"]).await;
    let first = take(&mut db, "one", &streams).await;
    start(&mut db, &first, 2).await;
    commit(&mut db, &first, &[(0, 0, 10), (1, 0, 10)]).await.unwrap();
    let reset = Reset { partition: Some(1), to: ResetTo::Offset(3), empty_table: false };
    assert!(reset_stream(&mut db, "a", &reset).await.unwrap());
    assert!(is_fenced(&commit(&mut db, &first, &[(0, 10, 20)]).await), "who runs it lets go");
    let second = take(&mut db, "two", &streams).await;
    let left = left_behind(&mut db, &second).await.unwrap();
    assert_eq!((left.reset_to, left.positions), (Some(reset), vec![(0, 10), (1, 10)]));
    let at = [start_at(0, 0), StartAt { moves: true, ..start_at(1, 3) }];
    assert_eq!(start_stream(&mut db, &second, "log:1", &at).await.unwrap(), [(0, 10), (1, 3)]);
    assert_eq!(left_behind(&mut db, &second).await.unwrap().reset_to, None);
    assert_eq!(row(&mut db, "a").await.reset_to, None);
}

#[tokio::test]
async fn a_damaged_position_is_not_reported_as_a_lost_lease() {
    let (_database, mut db, streams) = with_streams(&["a"]).await;
    let lease = take(&mut db, "one", &streams).await;
    // `reset_to` is parsed before `capture`, so the second iteration reports `reset_to` although both are damaged.
    for column in ["capture", "reset_to"] {
        let damage = sqlx::AssertSqlSafe(format!("update stream set {column} = '7'"));
        sqlx::query(damage).execute(&mut db).await.unwrap();
        let error = left_behind(&mut db, &lease).await.unwrap_err();
        let start = format!("stored data cannot be read: `{column}` of stream `a`: ");
        assert!(error.to_string().starts_with(&start), "{error}");
    }
}

#[tokio::test]
async fn what_a_bundle_no_longer_declares_is_left_and_can_be_deleted() {
    let (_database, mut db, streams) = with_streams(&["a", "b"]).await;
    let held = beat_of(&mut db, "one", &streams[..1], &[], LONG).await.taken;
    register_streams(&mut db, "shop", &streams[1..], false).await.unwrap();
    register_streams(&mut db, "other", &[stream("c", "1")], true).await.unwrap();
    assert_eq!(beat_of(&mut db, "one", &streams[..1], &held, LONG).await, Beaten::default(), "it is let go");
    let seen = row(&mut db, "a").await;
    assert_eq!((seen.version, row(&mut db, "b").await.version.as_deref()), (None, Some("1")));
    assert_eq!(row(&mut db, "c").await.state(), StreamState::Paused, "as new streams are there");
    assert!(!delete_stream(&mut db, "b").await.unwrap(), "it is declared");
    assert!(delete_stream(&mut db, "a").await.unwrap() && !delete_stream(&mut db, "a").await.unwrap());
    let names = async |db: &mut PgConnection, search: &Search| {
        find_streams(db, search).await.unwrap().rows.into_iter().map(|row| row.name).collect::<Vec<_>>()
    };
    let all = Search::default;
    assert_eq!(names(&mut db, &all()).await, ["b", "c"]);
    assert_eq!(names(&mut db, &all().and(by::NAME.begins(["c", "_"]))).await, ["c"]);
    assert_eq!(names(&mut db, &all().and(by::NAME.contains(["B"]))).await, ["b"]);
}

#[tokio::test]
async fn processes_with_an_older_declaration_leave_the_stream_to_the_others() {
    let (_database, mut db, old) = with_streams(&["a"]).await;
    let held = beat_of(&mut db, "old", &old, &[], LONG).await.taken;
    let new = [stream("a", "2")];
    register_streams(&mut db, "shop", &new, false).await.unwrap();
    assert_eq!(beat_of(&mut db, "old", &old, &held, LONG).await, Beaten::default());
    release_streams(&mut db, "old").await.unwrap();
    assert!(beat_of(&mut db, "old", &old, &[], LONG).await.taken.is_empty());
    assert_eq!(beat_of(&mut db, "new", &new, &[], LONG).await.taken.len(), 1);
}

#[tokio::test]
async fn the_lag_of_a_topic_of_the_built_in_log_is_that_of_the_log_itself() {
    let (_database, mut db, streams) = with_streams(&["a"]).await;
    sqlx::query("insert into topic (name, partitions) values ('events', 1)").execute(&mut db).await.unwrap();
    let topic = get_topic(&mut db, "events").await.unwrap().expect("it was created");
    let record = |value: &str| NewRecord { value: Some(value.into()), ..NewRecord::default() };
    produce(&mut db, "events", &[record("1"), record("2"), record("3")]).await.unwrap();
    let lease = take(&mut db, "one", &streams).await;
    let at = StartAt { partition: 0, offset: 0, end_offset: 3, moves: false };
    start_stream(&mut db, &lease, &format!("log:{}", topic.no), &[at]).await.unwrap();
    let covered = vec![Covered { partition: 0, from: 0, to: 2, end_offset: 3 }];
    commit_stream(&mut db, &lease, &Progress { covered, records: 2, ..Progress::default() }).await.unwrap();
    pause_stream(&mut db, "a").await.unwrap();
    produce(&mut db, "events", &[record("4")]).await.unwrap();
    assert_eq!(row(&mut db, "a").await.lag, 2, "also while it does not run");
    let partitions = partitions_of_stream(&mut db, "a").await.unwrap();
    let expected = PartitionOfStream { partition: 0, next_offset: 2, end_offset: 4, process: None };
    assert_eq!(partitions, [expected], "no process reads it while it is paused");
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).expect("a time")
}

fn window(key: &str, start: i64) -> OpenWindow {
    OpenWindow { key: key.into(), start: at(start), end: at(start + 10), state: json!({ "n": [1, 0.5] }) }
}

async fn starts(db: &mut PgConnection, key: &str) -> Vec<i64> {
    let span = WindowSpan { key: key.into(), from: at(0), to: at(1_000) };
    let open = open_windows(db, "a", &[span]).await.expect("they are read");
    open.iter().map(|window| window.start.timestamp()).collect()
}

#[tokio::test]
async fn a_window_is_known_until_it_is_closed() {
    let (_database, mut db, streams) = with_streams(&["a"]).await;
    let lease = take(&mut db, "one", &streams).await;
    start(&mut db, &lease, 2).await;
    let changes = |watermarks: &[(i32, i64)], closed: Option<i64>| WindowChanges {
        watermarks: watermarks.iter().map(|&(partition, second)| (partition, at(second))).collect(),
        closed_before: closed.map(at),
        ..WindowChanges::default()
    };
    let written = vec![window("x", 0), window("x", 10), window("y", 0)];
    commit_windows(&mut db, "a", &WindowChanges { written, ..changes(&[(0, 100)], None) }).await.unwrap();
    assert_eq!(starts(&mut db, "x").await, [0, 10]);
    commit_windows(&mut db, "a", &changes(&[(1, 14)], Some(9))).await.unwrap();
    assert_eq!(starts(&mut db, "x").await, [0, 10]);
    commit_windows(&mut db, "a", &changes(&[(1, 15)], Some(10))).await.unwrap();
    assert_eq!((starts(&mut db, "x").await, starts(&mut db, "y").await), (vec![10], vec![]));
    commit_windows(&mut db, "a", &changes(&[], Some(7))).await.unwrap();
    // A commit replaces rewritten windows and deletes merged ones.
    let written = vec![OpenWindow { end: at(40), ..window("x", 10) }, window("x", 30)];
    commit_windows(&mut db, "a", &WindowChanges { written, ..changes(&[], None) }).await.unwrap();
    let merged = vec![("x".to_owned(), at(30))];
    commit_windows(&mut db, "a", &WindowChanges { merged, ..changes(&[], None) }).await.unwrap();
    assert_eq!(starts(&mut db, "x").await, [10]);
    let left = left_behind(&mut db, &lease).await.unwrap();
    assert_eq!((left.watermarks, left.closed_before), (vec![(0, at(100)), (1, at(15))], Some(at(10))));
    // If a user moves the stream, its windows are deleted.
    let to = StartAt { partition: 0, offset: 3, end_offset: 100, moves: true };
    start_stream(&mut db, &lease, "log:1", &[to]).await.unwrap();
    assert_eq!(starts(&mut db, "x").await, Vec::<i64>::new());
    let left = left_behind(&mut db, &lease).await.unwrap();
    assert_eq!((left.watermarks, left.closed_before), (vec![], None));
}
