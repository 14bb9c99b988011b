//! Scenes that every kind of source must pass.

use super::source::{Source, transaction};
use super::{CapturedRecord, Dice, Shop, capture, is_of, items, lines, replay};
use crate::world::Host;
use orch_store::stream::restart_stream;
use orch_streams::Stream;
use std::collections::{BTreeMap, BTreeSet};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Processes that run a stream, and the disturbances that they get.
struct Trouble<'a, S> {
    shop: &'a Shop<S>,
    stream: Stream,
    hosts: Vec<Host>,
}

impl<S: Source> Trouble<'_, S> {
    async fn happens(&mut self, dice: &mut Dice) {
        let mut orch = self.shop.world.db().await;
        match dice.below(5) {
            0 => {
                restart_stream(&mut orch, "readings").await.unwrap();
                self.shop.world.steered();
            }
            1 => self.shop.source.cut().await,
            2 => {
                let cut = "select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and application_name = 'orch streams'";
                sqlx::raw_sql(cut).execute(&mut orch).await.unwrap();
            }
            3 => self.shop.run_statements(S::NEXT_FILE).await,
            _ => {
                self.hosts.remove(0).end().await;
                self.hosts.push(self.shop.host(&self.stream));
            }
        }
        self.shop.world.try_again().await;
    }
}

/// Sessions at both ends break, the stream is restarted and processes end. No change is missing or duplicated.
pub(super) async fn each_change_is_told_once<S: Source>(shop: &Shop<S>) -> Vec<CapturedRecord> {
    let (mut dice, stream) = (Dice(0x5eed), items::<S>());
    let hosts = vec![shop.host(&stream), shop.host(&stream)];
    let mut trouble = Trouble { shop, stream, hosts };
    shop.until_following().await;
    let mut db = shop.source.session().await;
    for nth in 0..10_000_i64 {
        S::run(&mut db, &transaction::<S>(&mut dice)).await;
        if nth % 200 == 199 {
            trouble.happens(&mut dice).await;
        }
        if nth % 2_000 == 1_999 {
            let marker = 1_000 + nth;
            let both = format!("insert into item values ({marker}, 0, 'm'); delete from item where id = {marker}");
            S::run(&mut db, &both).await;
            shop.until_last("item", |told| told.op == "d" && is_of(told, marker)).await;
        }
    }
    let told = shop.until_the_end().await;
    assert_eq!(replay(&told), shop.source.rows("item").await);
    let row = shop.world.row().await.unwrap();
    assert!(row.epoch > 10, "it was taken away often: {}", row.epoch);
    assert_eq!(row.records, i64::try_from(told.len()).unwrap(), "what the stream counts");
    assert!(told.iter().filter(|one| one.op == "t").count() > 10 && told.iter().any(|one| one.headers.is_some()));
    for (one, next) in told.iter().zip(&told[1..]) {
        assert!(S::position(one) <= S::position(next), "positions never go back: {one:?} {next:?}");
    }
    for host in trouble.hosts {
        host.end().await;
    }
    told
}

/// Starts two sessions that write until they are stopped, to separate rows, so that neither waits for the other.
/// Returns the number of statements of each.
pub(super) async fn writers<S: Source>(
    shop: &Shop<S>,
    statement: fn(&mut Dice, u64) -> String,
) -> (JoinSet<u64>, CancellationToken) {
    let (mut writers, stop) = (JoinSet::new(), CancellationToken::new());
    for writer in 0..2_u64 {
        let (stop, mut db) = (stop.clone(), shop.source.session().await);
        writers.spawn(async move {
            let (mut dice, mut many) = (Dice(77 + writer), 0);
            while !stop.is_cancelled() {
                S::run(&mut db, &statement(&mut dice, writer)).await;
                many += 1;
            }
            many
        });
    }
    (writers, stop)
}

/// A transaction in which a row temporarily has another number.
pub(super) fn update(id: u64, n: u64) -> String {
    format!("begin; update item set n = n + 1 where id = {id}; update item set n = {n} where id = {id}; commit")
}

/// No existing row and no change is missing, and none is in both the snapshot and the changes.
pub(super) async fn the_snapshot_and_the_changes_fit<S: Source>(shop: &Shop<S>) {
    shop.run_statements(&format!("insert into item select id, 0, 'old' from {}", S::ids(0, 4_999))).await;
    let (writers, stop) = writers(shop, |dice, writer| {
        let (id, n) = (dice.below(2_500) * 2 + writer, dice.below(1_000));
        match dice.below(6) {
            0 => format!("delete from item where id = {id}"),
            1 => S::upsert(id, n),
            _ => update(id, n),
        }
    })
    .await;
    let host = shop.host(&items::<S>());
    shop.until_following().await;
    let of_snapshot = shop.world.row().await.unwrap().records;
    shop.until_records(of_snapshot + 500).await;
    stop.cancel();
    assert!(writers.join_all().await.into_iter().all(|many| many > 100), "they wrote all the time");
    let told = shop.until_the_end().await;
    assert_eq!(replay(&told), shop.source.rows("item").await);
    let read: Vec<_> = told.iter().filter(|one| one.op == "r").collect();
    // Writers delete and insert equally often, so half of the rows are left even for a snapshot that starts late.
    assert!(read.len() > 1_000, "{} rows were read", read.len());
    assert!(told[..read.len()].iter().all(|one| one.op == "r"), "the snapshot comes first");
    let snapshot: BTreeSet<_> = read[..read.len() - 1].iter().map(|one| one.source["snapshot"].as_str()).collect();
    assert_eq!((snapshot, &read[read.len() - 1].source["snapshot"]), ([Some("true")].into(), &"last".into()));
    host.end().await;
}

/// A transaction of 100,000 changes is published in parts. After a cut in the middle, the stream continues there.
pub(super) async fn a_large_transaction_is_told_in_parts<S: Source>(shop: &Shop<S>) {
    let host = shop.host(&items::<S>());
    shop.until_following().await;
    shop.run_statements(&format!("insert into item select id, id, repeat('x', 100) from {}", S::ids(1, 100_000))).await;
    let mut cuts = BTreeSet::new();
    shop.until("three parts of it", async |row| {
        let within = row.capture.as_ref()?["within"]["changes"].as_u64()?;
        if cuts.len() < 3 && cuts.insert(within) {
            shop.source.cut().await;
        }
        (cuts.len() >= 3).then_some(())
    })
    .await;
    let row = shop.until_records(100_000).await;
    assert_eq!(row.records, 100_000);
    let told = shop.told("item").await;
    assert_eq!(replay(&told).len(), 100_000);
    assert!(told.iter().zip(1..).all(|(one, n)| one.after["id"] == n), "in the order of the transaction");
    let transactions: BTreeSet<_> = told.iter().map(S::transaction_of).collect();
    assert_eq!(transactions.len(), 1);
    host.end().await;
}

/// Changes of a key stay in order in its partition.
pub(super) async fn a_key_stays_in_its_partition<S: Source>(shop: &Shop<S>) {
    let host = shop.host(&capture(S::capture(&["item"]).partitions(3)));
    shop.until_following().await;
    let mut db = shop.source.session().await;
    for n in 0..200 {
        S::run(&mut db, &S::upsert(n % 20, n + 1)).await;
    }
    shop.until_records(200).await;
    let told = shop.told("item").await;
    assert_eq!(replay(&told), shop.source.rows("item").await);
    let mut of_key: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for one in &told {
        of_key.entry(one.key.clone()).or_default().insert(one.partition);
    }
    assert!(of_key.values().all(|partitions| partitions.len() == 1), "{of_key:?}");
    assert_eq!(of_key.values().flatten().collect::<BTreeSet<_>>().len(), 3);
    host.end().await;
}

/// An interrupted snapshot restarts, and the copies end equal to the table.
pub(super) async fn a_snapshot_that_is_cut_off_begins_again<S: Source>(shop: &Shop<S>) {
    shop.run_statements(&format!("insert into item select id, id, repeat('y', 200) from {}", S::ids(1, 60_000))).await;
    let host = shop.host(&items::<S>());
    shop.until("a part of it", async |row| {
        (row.records > 0 && row.capture.as_ref()?["phase"] == "snapshot").then_some(())
    })
    .await;
    host.end().await;
    let part = shop.world.row().await.unwrap().records;
    assert!((1..60_000).contains(&part), "{part}");
    shop.run_statements("delete from item where id <= 5").await;
    let host = shop.host(&items::<S>());
    shop.until_following().await;
    let told = shop.told("item").await;
    assert_eq!(replay(&told), shop.source.rows("item").await);
    assert_eq!(told.iter().filter(|one| one.op == "t").count(), 1);
    assert_eq!(told.len() as i64, part + 1 + 59_995);
    host.end().await;
}

/// The first two items are in the topic, and the log behind them was lost.
pub(super) async fn a_reset_recovers_from<S: Source>(shop: &Shop<S>, lost: &str) {
    let host = shop.host(&items::<S>());
    let error = shop.failure(|error| error.contains(lost)).await;
    assert!(error.contains("orch streams reset readings --to-earliest"), "{error}");
    let row = shop.world.row().await.unwrap();
    assert!(row.waits_for_restart, "{row:?}");
    shop.reset().await;
    shop.run_statements("insert into item values (4, 4, null)").await;
    shop.until_snapshot(2).await;
    shop.run_statements("insert into item values (5, 5, null)").await;
    let told = shop.until_last("item", |told| is_of(told, 5)).await;
    // A truncation removes the old rows from the copies first, because one of them no longer exists.
    assert_eq!(told.iter().position(|one| one.op == "t"), Some(2), "{:?}", lines(&told));
    assert_eq!(replay(&told), shop.source.rows("item").await);
    host.end().await;
}
