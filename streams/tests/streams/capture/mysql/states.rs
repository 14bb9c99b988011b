//! Errors that stop a capture of a binlog name the cause and the remedy.

use super::super::source::Source as _;
use super::super::{is_of, key, lines, replay, scenes};
use super::{ITEMS, Maria, Own, items, of, own_shop, shop};
use crate::world::{SOURCE, world};
use mysql_async::prelude::Queryable as _;
use orch_sdk::task::Connection;
use orch_streams::Capture;
use orch_test_lake::mariadb;

/// Checks that the stream reports a retryable error with this hint, and continues by itself after the repair.
async fn is_mended(shop: &Own, says: &str, hint: &str, mend: &str) {
    let error = shop.failure(|error| error.contains(says)).await;
    assert!(error.contains(hint), "{error}");
    assert!(!shop.world.row().await.unwrap().waits_for_restart, "it is tried again");
    shop.run_statements(mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_server_that_do_not_fit_are_said() {
    let shop = own_shop(ITEMS).await;
    shop.run_statements("set global binlog_format = 'MIXED'").await;
    let host = shop.host(&items());
    is_mended(
        &shop,
        "binlog_format = MIXED",
        "set global binlog_format = 'ROW'",
        "set global binlog_row_image = 'MINIMAL'; set global binlog_format = 'ROW'",
    )
    .await;
    is_mended(
        &shop,
        "binlog_row_image = MINIMAL",
        "set global binlog_row_image = 'FULL'",
        "set global binlog_row_image = 'FULL'",
    )
    .await;
    shop.until_following().await;
    // One session uses its own settings: its changes cannot be read, and are not skipped.
    shop.run_statements("insert into item values (1, 1, 'a')").await;
    shop.run_statements("set session binlog_row_image = 'MINIMAL'; update item set n = 2 where id = 1").await;
    let error = shop.failure(|error| error.contains("parts of rows")).await;
    assert!(error.contains("orch streams reset readings --to-earliest"), "{error}");
    assert!(shop.world.row().await.unwrap().waits_for_restart);
    shop.reset().await;
    shop.until_snapshot(2).await;
    shop.run_statements("set session binlog_format = 'STATEMENT'; update item set n = 3 where id = 1").await;
    let error = shop.failure(|error| error.contains("a statement is in the log instead of the rows")).await;
    assert!(error.contains("update item set n = 3") && error.contains("--to-earliest"), "{error}");
    shop.reset().await;
    shop.until_snapshot(3).await;
    assert_eq!(replay(&shop.told("item").await), shop.source.rows("item").await);
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_binlog_and_a_sample_say_so() {
    let mut world = world().await;
    let connection = Connection { id: SOURCE.into(), ..mariadb().await.database().await };
    world.connections.push(connection);
    let host = world.host(&items());
    let row = world.until(|row| row.error.is_some()).await;
    let error = row.error.clone().unwrap_or_default();
    assert!(error.contains("log_bin = OFF") && error.contains("binlog_format=ROW"), "{error}");
    assert!(!row.waits_for_restart, "it is tried again");
    host.end().await;
    let mut world = super::world().await;
    world.connections.push(Connection::from_uri(SOURCE, "sample://retail").unwrap());
    let host = world.host(&items());
    let row = world.until(|row| row.error.is_some()).await;
    let error = row.error.clone().unwrap_or_default();
    assert!(error.contains("there is no binlog to capture") && error.contains("hint: "), "{error}");
    assert!(row.waits_for_restart, "nothing changes by itself");
    host.end().await;
}

/// Changes that the server has purged are lost. A reset takes a new snapshot, and copies end equal to the table.
#[tokio::test(flavor = "multi_thread")]
async fn a_binlog_that_was_purged_is_said_and_a_reset_recovers() {
    let shop = own_shop(ITEMS).await;
    shop.run_statements("insert into item values (1, 1, null), (2, 2, null)").await;
    let host = shop.host(&items());
    shop.until_records(2).await;
    shop.until_following().await;
    host.end().await;
    shop.run_statements("delete from item where id = 1; insert into item values (3, 3, null); flush binary logs").await;
    shop.run_statements("insert into item values (6, 6, null); flush binary logs").await;
    // A session that still reads keeps its file from being purged.
    let mut db = shop.source.session().await;
    loop {
        shop.source.cut().await;
        Maria::run(&mut db, "purge binary logs to 'binlog.000003'").await;
        let first: (String, u64) = db.query_first("show binary logs").await.unwrap().unwrap();
        if first.0 == "binlog.000003" {
            break;
        }
    }
    scenes::a_reset_recovers_from(&shop, "changes are lost").await;
    // After `reset master`, the new log has the same file names.
    shop.run_statements("reset master").await;
    shop.run_statements("insert into item values (7, 7, null)").await;
    let host = shop.host(&items());
    shop.failure(|error| error.contains("changes are lost")).await;
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_a_binlog_that_is_cut_off_begins_again() {
    scenes::a_snapshot_that_is_cut_off_begins_again(&shop(ITEMS).await).await;
}

/// A wrong password and missing privileges are reported, and the stream retries.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_needs_two_rights() {
    let mut shop = own_shop(ITEMS).await;
    let database = shop.source.connection.schema.clone().unwrap();
    shop.run_statements(&format!("create user reader@'%' identified by 'secret'; grant select on {database}.* to reader@'%'; insert into item values (1, 1, null)")).await;
    let account = |password: &str| Connection {
        login: Some("reader".into()),
        password: Some(password.into()),
        ..shop.source.connection.clone()
    };
    let (wrong, right) = (account("wrong"), account("secret"));
    shop.world.connections = vec![wrong];
    let host = shop.host(&items());
    let error = shop.failure(|error| error.contains("Access denied")).await;
    assert!(error.contains("orch connections get") && !error.contains("wrong"), "{error}");
    assert!(!shop.world.row().await.unwrap().waits_for_restart, "it is tried again");
    host.end().await;
    shop.world.connections = vec![right];
    let host = shop.host(&items());
    let error = shop.failure(|error| error.contains("may not read the binlog")).await;
    assert!(error.contains("grant replication slave"), "{error}");
    shop.run_statements("grant binlog monitor on *.* to reader@'%'").await;
    shop.until("the snapshot", async |row| (row.records == 1).then_some(())).await;
    shop.failure(|error| error.contains("may not read the binlog")).await;
    shop.run_statements("grant replication slave on *.* to reader@'%'").await;
    shop.run_statements("insert into item values (2, 2, null)").await;
    shop.until_last("item", |told| is_of(told, 2)).await;
    host.end().await;
}

/// The capture waits for a missing table. A dropped table takes its rows along, and its replacement is read from the
/// start.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_come_go_and_change_their_names() {
    let shop = shop(ITEMS).await;
    let both = of(&["item", "later"]);
    let host = shop.host(&both);
    let error = shop.failure(|error| error.contains("has no table `later`")).await;
    assert!(error.contains("looked for again by itself"), "{error}");
    shop.run_statements(
        "create table later (id int primary key, n int not null, note text); insert into later values (1, 1, 'a')",
    )
    .await;
    shop.until_following().await;
    shop.run_statements("drop table later").await;
    shop.until("it is gone", async |row| (row.capture.as_ref()?["missing"][0] == "later").then_some(())).await;
    shop.run_statements(
        "create table later (id int primary key, n int not null, note text) as select 2 as id, 2 as n, 'b' as note",
    )
    .await;
    let told = shop.until_last("later", |told| is_of(told, 2)).await;
    assert_eq!(lines(&told).iter().map(|line| &line[..1]).collect::<String>(), "rtc");
    shop.until("it is back", async |row| row.capture.as_ref()?["missing"].is_null().then_some(())).await;
    shop.run_statements(
        "create or replace table later (id int primary key, other text); insert into later values (3, 'c')",
    )
    .await;
    let told = shop.until_last("later", |told| is_of(told, 3)).await;
    assert_eq!(lines(&told)[3..], ["t - null".to_string(), format!(r#"c {} {{"id":3,"other":"c"}}"#, key(3))]);
    shop.run_statements("rename table later to former").await;
    let error = shop.failure(|error| error.contains("was renamed to")).await;
    assert!(error.contains("--to-earliest"), "{error}");
    host.end().await;
}

/// Columns have the names of the time when the row was written, even for a stream that reads the row later.
#[tokio::test(flavor = "multi_thread")]
async fn columns_of_a_binlog_come_and_go_and_are_renamed() {
    let shop = shop("create table item (id int primary key, a text); insert into item values (1, 'x')").await;
    let host = shop.host(&items());
    shop.until_following().await;
    shop.run_statements(
        "update item set a = 'y'; alter table item add b int unsigned default 5; update item set a = 'z'",
    )
    .await;
    shop.until_last("item", |told| told.after["a"] == "z").await;
    host.end().await;
    // These changes are read after the columns have changed again, and the log contains no column names.
    shop.run_statements("update item set b = 4000000000; alter table item drop b, add c date first").await;
    shop.run_statements("update item set c = '2026-11-23'").await;
    let host = shop.host(&items());
    let told = shop.until_last("item", |told| told.after["c"] == 20_780).await;
    let expected = [
        r#"r {"id":1} {"a":"x","id":1}"#,
        r#"u {"id":1} {"a":"y","id":1}"#,
        r#"u {"id":1} {"a":"z","b":5,"id":1}"#,
        r#"u {"id":1} {"a":"z","b":4000000000,"id":1}"#,
        r#"u {"id":1} {"a":"z","c":20780,"id":1}"#,
    ];
    assert_eq!(lines(&told), expected);
    host.end().await;
    // After two changes the catalog has only the last columns, so the rows in between cannot be decoded without names.
    let two =
        "alter table item add d int; update item set d = 1; alter table item drop d, drop c; update item set a = 'w'";
    shop.run_statements(two).await;
    let host = shop.host(&items());
    let error = shop.failure(|error| error.contains("was changed again")).await;
    assert!(error.contains("binlog_row_metadata = 'FULL'") && error.contains("--to-earliest"), "{error}");
    shop.reset().await;
    shop.until_snapshot(2).await;
    host.end().await;
}

/// With `binlog_row_metadata=FULL` the log names the columns of each row.
#[tokio::test(flavor = "multi_thread")]
async fn a_binlog_that_names_columns_is_exact() {
    let shop = own_shop("create table item (id int unsigned primary key, a text)").await;
    shop.run_statements("set global binlog_row_metadata = 'FULL'").await;
    let host = shop.host(&items());
    shop.until_following().await;
    shop.run_statements("insert into item values (4000000000, 'x')").await;
    shop.until_records(1).await;
    host.end().await;
    shop.run_statements(
        "alter table item add d bigint unsigned, add e varchar(9); update item set d = 18446744073709551615, e = 'é'; \
        alter table item drop d, drop e, rename column a to b; update item set b = 'w'",
    )
    .await;
    let host = shop.host(&items());
    let told = shop.until("three", async |_| {
        let told = shop.told("item").await;
        (told.len() == 3).then_some(told)
    });
    let expected = [
        r#"c {"id":4000000000} {"a":"x","id":4000000000}"#,
        r#"u {"id":4000000000} {"a":"x","d":18446744073709551615,"e":"é","id":4000000000}"#,
        r#"u {"id":4000000000} {"b":"w","id":4000000000}"#,
    ];
    assert_eq!(lines(&told.await), expected);
    host.end().await;
}

/// Changes that are missing from the log are reported, never skipped.
#[tokio::test(flavor = "multi_thread")]
async fn changes_that_the_log_does_not_tell_are_said() {
    let shop = shop(
        "create table item (id int primary key, n int not null, note text) partition by hash (id) partitions 2;
        create table other (id int primary key) engine=Aria",
    )
    .await;
    let host = shop.host(&items());
    shop.until_following().await;
    shop.run_statements("insert into item values (1, 1, null), (2, 2, null); alter table item truncate partition p0")
        .await;
    shop.failure(|error| error.contains("came or went without being told")).await;
    shop.reset().await;
    shop.until_snapshot(2).await;
    assert_eq!(replay(&shop.told("item").await), shop.source.rows("item").await);
    shop.run_statements(
        "xa start 'x'; insert into item values (7, 7, null); xa end 'x'; xa prepare 'x'; xa rollback 'x'",
    )
    .await;
    shop.failure(|error| error.contains("transaction of XA")).await;
    host.end().await;
}

/// Two captures of one server get different server ids; a declared server id is used.
#[tokio::test(flavor = "multi_thread")]
async fn captures_of_one_server_do_not_collide() {
    let (one, other) = (shop(ITEMS).await, shop(ITEMS).await);
    let hosts =
        [one.host(&items()), other.host(&super::capture(Capture::mysql(SOURCE).tables(["item"]).server_id(4_711)))];
    for shop in [&one, &other] {
        shop.until_following().await;
        let mut db = shop.source.session().await;
        for id in 0..20 {
            Maria::run(&mut db, &format!("insert into item values ({id}, 0, null)")).await;
        }
        shop.until_records(20).await;
    }
    for shop in [&one, &other] {
        assert_eq!(shop.world.row().await.unwrap().failures, 0);
    }
    for host in hosts {
        host.end().await;
    }
}
