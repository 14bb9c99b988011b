//! A copy that is made of the records alone is the table, whatever broke meanwhile.

use super::{ITEMS, Shop, capture, items, replay, run, shop};
use crate::world::{Host, SOURCE};
use orch_store::stream::restart_stream;
use orch_streams::{Capture, Stream};
use std::collections::{BTreeMap, BTreeSet};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Another number each time, the same in each run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// A statement on one of five keys.
fn statement(dice: &mut Dice) -> String {
    let (id, other, n) = (dice.below(5), dice.below(5), dice.below(1_000));
    match dice.below(20) {
        0..7 => format!("insert into item values ({id}, {n}, 'new') on conflict (id) do update set n = excluded.n"),
        7..11 => format!("update item set n = {n} where id = {id}"),
        11..14 => format!("delete from item where id = {id}"),
        14..17 => {
            format!("update item set id = {other} where id = {id} and not exists (select from item where id = {other})")
        }
        17 => format!("update item set n = n + 1, note = repeat('{n}', 700) where id <= {id}"),
        18 => "truncate item".into(),
        _ => format!("delete from item where id = {id}; insert into item values ({id}, {n}, null)"),
    }
}

/// Some statements; parts of it, or all, are undone.
fn transaction(dice: &mut Dice) -> String {
    let mut sql = String::from("begin; ");
    for _ in 0..=dice.below(4) {
        let (before, after) = match dice.below(6) {
            0 => ("savepoint a; ", "; rollback to a; "),
            1 => ("savepoint a; ", "; release a; "),
            _ => ("", "; "),
        };
        sql.extend([before, &statement(dice), after]);
    }
    sql + if dice.below(8) == 0 { "rollback" } else { "commit" }
}

/// Processes that run the stream, and what happens to them.
struct Trouble<'a> {
    shop: &'a Shop,
    stream: Stream,
    hosts: Vec<Host>,
}

impl Trouble<'_> {
    async fn happens(&mut self, dice: &mut Dice) {
        let mut db = self.shop.world.db().await;
        match dice.below(4) {
            0 => {
                restart_stream(&mut db, "readings").await.unwrap();
                self.shop.world.steered();
            }
            1 => {
                let cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'orch capture%'";
                self.shop.run(cut).await;
                self.shop.try_again().await;
            }
            2 => {
                let cut = "select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and application_name = 'orch streams'";
                run(&mut db, cut).await;
                self.shop.try_again().await;
            }
            _ => {
                self.hosts.remove(0).end().await;
                self.hosts.push(self.shop.host(&self.stream));
            }
        }
    }

    async fn end(self) {
        for host in self.hosts {
            host.end().await;
        }
    }
}

async fn breaks_and_fits(stream: Stream, transactions: u64, seed: u64) {
    let shop = shop(ITEMS).await;
    let mut dice = Dice(seed);
    let hosts = vec![shop.host(&stream), shop.host(&stream)];
    let mut trouble = Trouble { shop: &shop, stream, hosts };
    shop.until_following().await;
    let mut db = shop.at_source().await;
    for nth in 0..transactions {
        run(&mut db, &transaction(&mut dice)).await;
        if nth % 40 == 39 {
            trouble.happens(&mut dice).await;
        }
        if nth % 400 == 399 {
            let marker = i64::try_from(nth).unwrap();
            run(
                &mut db,
                &format!("insert into item values ({marker}, 0, 'marker'); delete from item where id = {marker}"),
            )
            .await;
            let key = format!(r#"{{"id":{marker}}}"#);
            shop.until_last("item", |told| told.op == "d" && told.key.as_ref() == Some(&key)).await;
        }
    }
    run(&mut db, "insert into item values (-1, 0, 'the end')").await;
    let told = shop.until_last("item", |told| told.key.as_deref() == Some(r#"{"id":-1}"#)).await;
    assert_eq!(replay(&told), shop.rows("item").await, "seed {seed}");
    let row = shop.world.row().await.unwrap();
    assert!(row.epoch > 20, "it was taken away often: {}", row.epoch);
    assert_eq!(row.records, i64::try_from(told.len()).unwrap(), "what the stream counts");
    assert!(told.iter().filter(|one| one.op == "t").count() > 20 && told.iter().any(|one| one.headers.is_some()));
    assert_positions_rise(&told);
    trouble.end().await;
}

/// Last commit and position of a change never go back.
fn assert_positions_rise(told: &[super::Told]) {
    let position = |one: &super::Told| -> Vec<u64> {
        let both: Vec<String> = serde_json::from_str(one.source["sequence"].as_str().unwrap()).unwrap();
        both.iter().map(|lsn| lsn.parse().unwrap()).collect()
    };
    for (one, next) in told.iter().zip(&told[1..]) {
        assert!(position(one) <= position(next), "{one:?} {next:?}");
    }
}

/// Sessions at both ends break, people restart the stream and processes end, and no change is missing or there twice.
#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_told_once_whatever_breaks() {
    breaks_and_fits(items(), 2_000, 0x5eed).await;
}

/// Of the rows that were there and of the changes none is missing, and none is told by both.
#[tokio::test(flavor = "multi_thread")]
async fn the_snapshot_and_the_changes_fit_while_others_write() {
    let shop = shop(ITEMS).await;
    shop.run("insert into item select n, 0, 'old' from generate_series(0, 4999) n").await;
    let stop = CancellationToken::new();
    let mut writers: JoinSet<u64> = JoinSet::new();
    for writer in 0..2_u64 {
        let (stop, mut db) = (stop.clone(), shop.at_source().await);
        writers.spawn(async move {
            let (mut dice, mut many) = (Dice(77 + writer), 0);
            while !stop.is_cancelled() {
                // Writers have rows of their own, so that none waits for the other.
                let (id, n) = (dice.below(2_500) * 2 + writer, dice.below(1_000));
                let sql = match dice.below(6) {
                    0 => format!("delete from item where id = {id}"),
                    1 => format!("insert into item values ({id}, {n}, 'new') on conflict do nothing"),
                    _ => format!("begin; update item set n = n + 1 where id = {id}; update item set n = {n} where id = {id}; commit"),
                };
                run(&mut db, &sql).await;
                many += 1;
            }
            many
        });
    }
    let host = shop.host(&items());
    shop.until_following().await;
    let of_snapshot = shop.world.row().await.unwrap().records;
    shop.until_records(of_snapshot + 500).await;
    stop.cancel();
    assert!(writers.join_all().await.into_iter().all(|many| many > 100), "they wrote all the time");
    shop.run("insert into item values (-1, 0, 'the end')").await;
    let told = shop.until_last("item", |told| told.key.as_deref() == Some(r#"{"id":-1}"#)).await;
    assert_eq!(replay(&told), shop.rows("item").await);
    let read: Vec<_> = told.iter().filter(|one| one.op == "r").collect();
    assert!(read.len() > 4_000 && told[..read.len()].iter().all(|one| one.op == "r"), "the snapshot comes first");
    let snapshot: BTreeSet<_> = read[..read.len() - 1].iter().map(|one| one.source["snapshot"].as_str()).collect();
    assert_eq!((snapshot, &read[read.len() - 1].source["snapshot"]), ([Some("true")].into(), &"last".into()));
    host.end().await;
}

/// A transaction of 100,000 changes is published in parts; cut off in the middle of it, the stream goes on there.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_is_told_in_parts_and_once() {
    let shop = shop(ITEMS).await;
    let host = shop.host(&items());
    shop.until_following().await;
    shop.run("insert into item select n, n, repeat('x', 100) from generate_series(1, 100000) n").await;
    let mut cuts = BTreeSet::new();
    shop.until("half of it", async |row| {
        let within = row.capture.as_ref()?["within"]["changes"].as_u64()?;
        if cuts.len() < 3 && cuts.insert(within) {
            shop.run(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'orch capture%'",
            )
            .await;
        }
        (cuts.len() >= 3).then_some(())
    })
    .await;
    let row = shop.until_records(100_000).await;
    assert_eq!(row.records, 100_000);
    let told = shop.told("item").await;
    assert_eq!(replay(&told).len(), 100_000);
    assert!(told.iter().zip(1..).all(|(one, n)| one.after["id"] == n), "in the order of the transaction");
    let transactions: BTreeSet<_> = told.iter().map(|one| one.source["txId"].as_u64()).collect();
    assert_eq!(transactions.len(), 1);
    host.end().await;
}

/// Changes of a key stay in order in its partition.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_stays_in_its_partition() {
    let shop = shop(ITEMS).await;
    let host = shop.host(&capture(Capture::postgres(SOURCE).tables(["item"]).partitions(3)));
    shop.until_following().await;
    let mut db = shop.at_source().await;
    for n in 0..200 {
        let id = n % 20;
        run(&mut db, &format!("insert into item values ({id}, {n}, null) on conflict (id) do update set n = {n}"))
            .await;
    }
    shop.until_records(200).await;
    let told = shop.told("item").await;
    assert_eq!(replay(&told), shop.rows("item").await);
    let mut of_key: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for one in &told {
        of_key.entry(one.key.clone()).or_default().insert(one.partition);
    }
    assert!(of_key.values().all(|partitions| partitions.len() == 1), "{of_key:?}");
    assert_eq!(of_key.values().flatten().collect::<BTreeSet<_>>().len(), 3);
    host.end().await;
}
