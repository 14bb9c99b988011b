//! A copy that is made of the records alone is the table, whatever broke meanwhile.

use super::super::copies::Dice;
use super::super::{Told, replay};
use super::{ITEMS, is_of, items, key, own_shop, run, shop};
use crate::world::{Host, SOURCE, WAREHOUSE};
use arrow::datatypes::{DataType, Field, Schema};
use orch_lake::{TableDef, TableName};
use orch_sdk::task::Connection;
use orch_store::stream::restart_stream;
use orch_streams::{Capture, Changes, Stream};
use orch_test_lake::MariaDb;
use std::collections::BTreeSet;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A statement on one of five keys.
fn statement(dice: &mut Dice) -> String {
    let (id, other, n) = (dice.below(5), dice.below(5), dice.below(1_000));
    match dice.below(20) {
        0..7 => format!("insert into item values ({id}, {n}, 'new') on duplicate key update n = {n}"),
        7..11 => format!("update item set n = {n} where id = {id}"),
        11..14 => format!("delete from item where id = {id}"),
        14..17 => format!("update ignore item set id = {other} where id = {id}"),
        17 => format!("update item set n = n + 1, note = repeat('{n}', 700) where id <= {id}"),
        18 => format!("replace into item values ({id}, {n}, 'replaced')"),
        _ => format!("delete from item where id = {id}; insert into item values ({id}, {n}, null)"),
    }
}

/// Some statements; parts of it, or all, are undone.
fn transaction(dice: &mut Dice) -> String {
    if dice.below(40) == 0 {
        return "truncate item".into();
    }
    let mut sql = String::from("begin; ");
    for _ in 0..=dice.below(4) {
        let (before, after) = match dice.below(6) {
            0 => ("savepoint a; ", "; rollback to a; "),
            1 => ("savepoint a; ", "; release savepoint a; "),
            _ => ("", "; "),
        };
        sql.extend([before, &statement(dice), after]);
    }
    sql + if dice.below(8) == 0 { "rollback" } else { "commit" }
}

/// Sessions at both ends break, people restart the stream and processes end, and no change is missing or there twice.
#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_a_binlog_is_told_once_whatever_breaks() {
    let shop = own_shop(ITEMS).await;
    let mut dice = Dice(0x5eed);
    let stream = items();
    let mut hosts: Vec<Host> = vec![shop.host(&stream), shop.host(&stream)];
    shop.until_following().await;
    let mut db = shop.at_source().await;
    for nth in 0..2_000_i64 {
        run(&mut db, &transaction(&mut dice)).await;
        if nth % 40 == 39 {
            let mut orch = shop.world.db().await;
            match dice.below(5) {
                0 => {
                    restart_stream(&mut orch, "readings").await.unwrap();
                    shop.world.steered();
                }
                1 => shop.cut().await,
                2 => {
                    let cut = "select pg_terminate_backend(pid) from pg_stat_activity
                        where datname = current_database() and application_name = 'orch streams'";
                    sqlx::raw_sql(cut).execute(&mut orch).await.unwrap();
                }
                3 => run(&mut db, "flush binary logs").await,
                _ => {
                    hosts.remove(0).end().await;
                    hosts.push(shop.host(&stream));
                }
            }
            shop.try_again().await;
        }
        if nth % 400 == 399 {
            let marker = 1_000 + nth;
            run(&mut db, &format!("insert into item values ({marker}, 0, 'm'); delete from item where id = {marker}"))
                .await;
            shop.until_last("item", |told| told.op == "d" && is_of(told, marker)).await;
        }
    }
    run(&mut db, "insert into item values (-1, 0, 'the end')").await;
    let told = shop.until_last("item", |told| is_of(told, -1)).await;
    assert_eq!(replay(&told), shop.rows("item").await);
    let row = shop.world.row().await.unwrap();
    assert!(row.epoch > 10, "it was taken away often: {}", row.epoch);
    assert_eq!(row.records, i64::try_from(told.len()).unwrap(), "what the stream counts");
    assert!(told.iter().filter(|one| one.op == "t").count() > 10 && told.iter().any(|one| one.headers.is_some()));
    let files: BTreeSet<_> = told.iter().map(|one| one.source["file"].to_string()).collect();
    assert!(files.len() > 3, "over several files: {files:?}");
    assert_places_rise(&told);
    for host in hosts {
        host.end().await;
    }
}

/// File, place and row of a change never go back.
fn assert_places_rise(told: &[Told]) {
    let place = |one: &Told| {
        let source = &one.source;
        (source["file"].as_str().unwrap().to_owned(), source["pos"].as_u64(), source["row"].as_u64())
    };
    for (one, next) in told.iter().zip(&told[1..]) {
        assert!(place(one) <= place(next), "{one:?} {next:?}");
    }
}

/// Of the rows that were there and of the changes none is missing, and none is told by both.
#[tokio::test(flavor = "multi_thread")]
async fn the_snapshot_and_the_binlog_fit_while_others_write() {
    let shop = shop(ITEMS).await;
    shop.run("insert into item select seq, 0, 'old' from seq_0_to_4999").await;
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
                    1 => format!("insert ignore into item values ({id}, {n}, 'new')"),
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
    let mut many = 0;
    while let Some(ended) = writers.join_next().await {
        many += ended.unwrap();
    }
    shop.run("insert into item values (-1, 0, 'the end')").await;
    let told = shop.until_last("item", |told| is_of(told, -1)).await;
    assert!(many > 100, "{many}");
    assert_eq!(replay(&told), shop.rows("item").await);
    let of_snapshot: Vec<_> =
        told.iter().filter(|one| one.op == "r").map(|one| one.source["snapshot"].clone()).collect();
    assert_eq!((of_snapshot[0].as_str(), of_snapshot.last().unwrap().as_str()), (Some("true"), Some("last")));
    host.end().await;
}

/// A transaction that is larger than what is read at once is published while it is read, and cut off in the middle it is told on.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_of_a_binlog_is_told_in_parts_and_once() {
    let shop = own_shop(ITEMS).await;
    let host = shop.host(&items());
    shop.until_following().await;
    shop.run("insert into item select seq, seq, repeat('x', 100) from seq_1_to_100000").await;
    let mut cuts = BTreeSet::new();
    shop.until("parts of it", async |row| {
        let within = row.capture.as_ref()?["within"]["changes"].as_u64()?;
        if cuts.len() < 3 && cuts.insert(within) {
            shop.cut().await;
        }
        (cuts.len() >= 3).then_some(())
    })
    .await;
    let row = shop.until_records(100_000).await;
    assert_eq!(row.records, 100_000);
    let told = shop.told("item").await;
    assert_eq!(replay(&told).len(), 100_000);
    assert!(told.iter().zip(1..).all(|(one, n)| one.after["id"] == n), "in the order of the transaction");
    let transactions: BTreeSet<_> = told.iter().map(|one| one.source["gtid"].to_string()).collect();
    assert_eq!(transactions.len(), 1);
    host.end().await;
}

/// A replica that takes the place of its server has other files; the stream goes on by the numbers of the transactions.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_promoted_is_followed_by_gtid() {
    use mysql_async::prelude::Queryable as _;
    let mut shop = own_shop(ITEMS).await;
    let replica = MariaDb::with_changes(78).await;
    let of_replica = Connection { id: SOURCE.into(), ..replica.connection("mysql") };
    let mut db = replica.session(&of_replica).await;
    let begun: String = shop.at_source().await.query_first("select @@gtid_binlog_pos").await.unwrap().unwrap();
    let database = shop.source.connection.schema.clone().unwrap();
    run(&mut db, &format!("create database {database}; use {database}; {ITEMS}; reset master")).await;
    // Its files are others, so that no place is the same.
    run(&mut db, &format!("set global gtid_slave_pos = '{begun}'; flush binary logs; flush binary logs")).await;
    let primary = shop.source.connection.clone();
    run(
        &mut db,
        &format!(
            "change master to master_host='127.0.0.1', master_port={}, master_user='{}', master_password='{}', \
             master_use_gtid=slave_pos, master_connect_retry=1; start slave",
            primary.port.unwrap(),
            primary.login.unwrap(),
            primary.password.unwrap()
        ),
    )
    .await;
    let stream = items();
    let running = shop.host(&stream);
    shop.until_following().await;
    shop.run("insert into item values (1, 1, null), (2, 2, null); update item set n = 3 where id = 1").await;
    shop.until_records(3).await;
    running.end().await;
    shop.run("delete from item where id = 2; insert into item values (4, 4, null)").await;
    let at: String = shop.at_source().await.query_first("select @@gtid_binlog_pos").await.unwrap().unwrap();
    let caught_up: Option<i64> = db.exec_first("select master_gtid_wait(?, 60)", (at.as_str(),)).await.unwrap();
    assert_eq!(caught_up, Some(0));
    run(&mut db, "stop slave; reset slave all; flush binary logs").await;
    shop.source.server = replica;
    shop.source.connection.port = Some(shop.source.server.port());
    shop.world.connections = vec![shop.source.connection.clone()];
    shop.run("update item set n = 5 where id = 4").await;
    let running = shop.host(&stream);
    let told = shop.until_last("item", |told| told.op == "u" && is_of(told, 4)).await;
    assert_eq!(replay(&told), shop.rows("item").await);
    assert_eq!(told.len(), 6, "no change twice: {told:?}");
    running.end().await;
}

/// Streams that read the topic keep a table of the lake and one of Postgres as the source is.
#[tokio::test(flavor = "multi_thread")]
async fn mirrors_in_the_lake_and_in_postgres_end_as_the_source_is() {
    let shop = shop(ITEMS).await;
    shop.run("insert into item select seq, 0, 'old' from seq_0_to_99").await;
    let topic = format!("{SOURCE}.item");
    let mirror = |name: &str| {
        let row = Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("n", DataType::Int64, true),
            Field::new("note", DataType::Utf8, true),
        ]);
        let table = TableDef::of(&row).unwrap().key(["id"]);
        (Stream::new(name).topic(&topic).changes(Changes::of(row)).commit_every(crate::world::COMMIT), table)
    };
    let capturing = shop.host(&items());
    shop.until_following().await;
    let mut dice = Dice(11);
    let mut db = shop.at_source().await;
    for _ in 0..200 {
        run(&mut db, &transaction(&mut dice)).await;
    }
    run(&mut db, "insert into item values (-1, 0, 'the end')").await;
    shop.until_last("item", |told| is_of(told, -1)).await;
    capturing.end().await;
    let expected: BTreeSet<String> = shop.rows("item").await.into_keys().collect();
    // One after the other, by the name that worlds know.
    let (stream, table) = mirror("readings");
    let own = "delete from stream_partition; delete from stream";
    sqlx::raw_sql(own).execute(&mut shop.world.db().await).await.unwrap();
    let host = shop.host(&stream.clone().mirror(TableName::new("mirror", "item").unwrap(), table.clone(), &["id"]));
    shop.world.until(|row| row.lag == 0 && row.commits > 0).await;
    host.end().await;
    let ids = |lines: Vec<String>| lines.iter().map(|id| key(id.parse().unwrap())).collect::<BTreeSet<_>>();
    assert_eq!(ids(shop.world.lines("mirror.item", &["id"]).await), expected);
    let of_lake = shop.world.lines("mirror.item", &["id", "n", "note"]).await;
    sqlx::raw_sql(own).execute(&mut shop.world.db().await).await.unwrap();
    let host = shop.host(&stream.mirror_postgres(WAREHOUSE, "public.item", &["id"]));
    shop.world.until(|row| row.lag == 0 && row.commits > 0).await;
    host.end().await;
    let sql = "select concat_ws(' ', id, n, coalesce(note, '-')) from item";
    let mut of_postgres: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut shop.world.db().await).await.unwrap();
    of_postgres.sort();
    assert_eq!(of_postgres, of_lake);
    let at_source = shop.rows("item").await;
    let mut of_source: Vec<String> = at_source
        .values()
        .map(|row| format!("{} {} {}", row["id"], row["n"], row["note"].as_str().unwrap_or("-")))
        .collect();
    of_source.sort();
    assert_eq!(of_source, of_lake);
}

/// Changes of a table with several partitions keep the order of each key.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_binlog_stays_in_its_partition() {
    let shop = shop(ITEMS).await;
    let host = shop.host(&super::capture(Capture::mysql(SOURCE).tables(["item"]).partitions(3)));
    shop.until_following().await;
    let mut db = shop.at_source().await;
    for n in 0..100 {
        run(&mut db, &format!("insert into item values ({}, {n}, null) on duplicate key update n = {n}", n % 20)).await;
    }
    shop.until_records(100).await;
    assert_eq!(replay(&shop.told("item").await), shop.rows("item").await);
    host.end().await;
}
