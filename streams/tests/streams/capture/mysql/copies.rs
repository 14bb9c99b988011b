//! A copy that is built from the records alone equals the table, after any interruption.

use super::super::source::{Source as _, transaction};
use super::super::{Dice, is_of, key, replay, scenes};
use super::{ITEMS, Maria, items, own_shop, shop};
use crate::world::{SOURCE, WAREHOUSE};
use arrow::datatypes::{DataType, Field, Schema};
use orch_lake::{TableDef, TableName};
use orch_sdk::task::Connection;
use orch_streams::{Changes, Stream};
use orch_test_lake::MariaDb;
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_a_binlog_is_told_once_whatever_breaks() {
    let told = scenes::each_change_is_told_once(&own_shop(ITEMS).await).await;
    let files: BTreeSet<_> = told.iter().map(|one| one.source["file"].to_string()).collect();
    assert!(files.len() > 3, "over several files: {files:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_snapshot_and_the_binlog_fit_while_others_write() {
    scenes::the_snapshot_and_the_changes_fit(&shop(ITEMS).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_of_a_binlog_is_told_in_parts_and_once() {
    scenes::a_large_transaction_is_told_in_parts(&own_shop(ITEMS).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_binlog_stays_in_its_partition() {
    scenes::a_key_stays_in_its_partition(&shop(ITEMS).await).await;
}

/// A promoted replica has different binlog files than the old primary; the stream continues by GTID.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_promoted_is_followed_by_gtid() {
    use mysql_async::prelude::Queryable as _;
    let mut shop = own_shop(ITEMS).await;
    let replica = MariaDb::with_changes(78).await;
    let of_replica = Connection { id: SOURCE.into(), ..replica.connection("mysql") };
    let mut db = replica.session(&of_replica).await;
    let begun: String = shop.source.session().await.query_first("select @@gtid_binlog_pos").await.unwrap().unwrap();
    let database = shop.source.connection.schema.clone().unwrap();
    Maria::run(&mut db, &format!("create database {database}; use {database}; {ITEMS}; reset master")).await;
    // Two flushes give the replica other file numbers, so that no position is the same.
    Maria::run(&mut db, &format!("set global gtid_slave_pos = '{begun}'; flush binary logs; flush binary logs")).await;
    let primary = shop.source.connection.clone();
    Maria::run(
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
    shop.run_statements("insert into item values (1, 1, null), (2, 2, null); update item set n = 3 where id = 1").await;
    shop.until_records(3).await;
    running.end().await;
    shop.run_statements("delete from item where id = 2; insert into item values (4, 4, null)").await;
    let at: String = shop.source.session().await.query_first("select @@gtid_binlog_pos").await.unwrap().unwrap();
    let caught_up: Option<i64> = db.exec_first("select master_gtid_wait(?, 60)", (at.as_str(),)).await.unwrap();
    assert_eq!(caught_up, Some(0));
    Maria::run(&mut db, "stop slave; reset slave all; flush binary logs").await;
    shop.source.server = replica;
    shop.source.connection.port = Some(shop.source.server.port());
    shop.world.connections = vec![shop.source.connection.clone()];
    shop.run_statements("update item set n = 5 where id = 4").await;
    let running = shop.host(&stream);
    let told = shop.until_last("item", |told| told.op == "u" && is_of(told, 4)).await;
    assert_eq!(replay(&told), shop.source.rows("item").await);
    assert_eq!(told.len(), 6, "no change twice: {told:?}");
    running.end().await;
}

/// Streams that read the topic keep a table of the lake and a table of Postgres equal to the source.
#[tokio::test(flavor = "multi_thread")]
async fn mirrors_in_the_lake_and_in_postgres_end_as_the_source_is() {
    let shop = shop(ITEMS).await;
    shop.run_statements("insert into item select seq, 0, 'old' from seq_0_to_99").await;
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
    for _ in 0..200 {
        shop.run_statements(&transaction::<Maria>(&mut dice)).await;
    }
    shop.until_the_end().await;
    capturing.end().await;
    let expected: BTreeSet<String> = shop.source.rows("item").await.into_keys().collect();
    // The streams run one after the other, because `World` finds its stream by name.
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
    let at_source = shop.source.rows("item").await;
    let mut of_source: Vec<String> = at_source
        .values()
        .map(|row| format!("{} {} {}", row["id"], row["n"], row["note"].as_str().unwrap_or("-")))
        .collect();
    of_source.sort();
    assert_eq!(of_source, of_lake);
}
