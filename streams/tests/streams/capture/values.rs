//! Values of rows in records.

use super::{CapturedRecord, capture, lines, shop};
use crate::world::SOURCE;
use orch_streams::Capture;
use serde_json::{Value, json};

fn all(tables: &[&str]) -> orch_streams::Stream {
    capture(Capture::postgres(SOURCE).tables(tables.iter().copied()))
}

/// Snapshot and changes write values in the same format.
#[tokio::test(flavor = "multi_thread")]
async fn values_are_written_as_debezium_does() {
    let shop = shop(
        "create type mood as enum ('fine', 'bad');
        create table every (id bigint primary key, small smallint, number integer, part real, double double precision,
            exact numeric(8,2), yes boolean, note text, code char(5), at timestamp, instant timestamptz, day date, clock time,
            bytes bytea, document jsonb, tags text[], who uuid, spirit mood, span interval, twice bigint generated always as (id * 2) stored);
        insert into every values (1, -2, 3, 0.1, 1e300, 12.50, true, E'tab\\tnew\\nline\\\\ \"x\"', 'ab', '2026-11-23 01:02:03.5',
            '2026-11-23 01:02:03+02', '2026-11-23', '12:30:00.000001', '\\x00ff', '{\"a\": 1}', array['a', 'b,c'],
            '6f1e7a3c-0000-0000-0000-000000000000', 'fine', '1 year 2 days');
        insert into every (id, part, double, exact, instant, at, day, note) values
            (2, 'NaN', 'Infinity', 'NaN', 'infinity', '-infinity', 'infinity', ''), (3, null, null, null, null, null, null, '\\N');",
    )
    .await;
    let host = shop.host(&all(&["every"]));
    shop.until_following().await;
    shop.run_statements(
        "create temp table copied as select * from every; alter table copied drop twice; delete from every;
        insert into every select * from copied order by id",
    )
    .await;
    let told = shop.until_last("every", |told| told.op == "c" && told.key.as_deref() == Some(r#"{"id":3}"#)).await;
    let of = |op: &str| told.iter().filter(|one| one.op == op).map(|one| one.after.clone()).collect::<Vec<_>>();
    assert_eq!(of("r"), of("c"));
    let expected = json!({
        "id": 1, "small": -2, "number": 3, "part": 0.1, "double": 1e300, "exact": "12.50", "yes": true,
        "note": "tab\tnew\nline\\ \"x\"", "code": "ab   ", "at": 1_795_395_723_500_000_i64, "instant": "2026-11-22T23:02:03Z",
        "day": 20_780, "clock": 45_000_000_001_i64, "bytes": "AP8=", "document": "{\"a\": 1}", "tags": "{a,\"b,c\"}",
        "who": "6f1e7a3c-0000-0000-0000-000000000000", "spirit": "fine", "span": "1 year 2 days",
    });
    assert_eq!(of("r")[0], expected);
    let special = ["part", "double", "exact", "instant", "at", "day", "note"].map(|name| of("r")[1][name].clone());
    assert_eq!(
        Value::from(special.to_vec()),
        json!(["NaN", "Infinity", "NaN", "infinity", i64::MIN, 2_146_033_979, ""])
    );
    assert_eq!((&of("r")[2]["note"], &of("r")[2]["exact"]), (&json!("\\N"), &Value::Null));
    let source = &told[0].source;
    assert_eq!(
        (&source["db"], &source["schema"], &source["table"]),
        (&json!("orch"), &json!("public"), &json!("every"))
    );
    host.end().await;
}

/// A changed key makes another row. A `TOAST`ed value is not in the change unless it changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_changes_and_large_values_that_do_not() {
    let shop = shop(
        "create table plain (id integer primary key, n integer, large text);
        create table whole (id integer primary key, n integer, large text); alter table whole replica identity full;
        alter table plain alter large set storage external; alter table whole alter large set storage external;",
    )
    .await;
    let host = shop.host(&all(&["plain", "whole"]));
    shop.until_following().await;
    for table in ["plain", "whole"] {
        shop.run_statements(&format!(
            "insert into {table} values (1, 1, repeat('x', 5000)); update {table} set n = 2 where id = 1;
            update {table} set id = 7 where id = 1; update {table} set large = 'small' where id = 7; delete from {table}"
        ))
        .await;
    }
    let large = "x".repeat(5_000);
    let short =
        |told: &[CapturedRecord]| lines(told).iter().map(|line| line.replace(&large, "LARGE")).collect::<Vec<_>>();
    let told = shop.until_last("plain", |told| told.op == "d" && told.key.as_deref() == Some(r#"{"id":7}"#)).await;
    let unknown = "__debezium_unavailable_value";
    let expected = [
        r#"c {"id":1} {"id":1,"large":"LARGE","n":1}"#.to_string(),
        format!(r#"u {{"id":1}} {{"id":1,"large":"{unknown}","n":2}}"#),
        r#"d {"id":1} {"id":1}"#.into(),
        format!(r#"c {{"id":7}} {{"id":7,"large":"{unknown}","n":2}}"#),
        r#"u {"id":7} {"id":7,"large":"small","n":2}"#.into(),
        r#"d {"id":7} {"id":7}"#.into(),
    ];
    assert_eq!(short(&told), expected);
    assert_eq!(told[2].headers, Some(json!({ "__debezium.newkey": r#"{"id":7}"# })));
    assert_eq!(told[3].headers, Some(json!({ "__debezium.oldkey": r#"{"id":1}"# })));
    assert_eq!(told[2].source["lsn"], told[3].source["lsn"]);
    let told = shop.until_last("whole", |told| told.op == "d" && told.key.as_deref() == Some(r#"{"id":7}"#)).await;
    let expected = [
        r#"c {"id":1} {"id":1,"large":"LARGE","n":1}"#,
        r#"u {"id":1} {"id":1,"large":"LARGE","n":2}"#,
        r#"d {"id":1} {"id":1,"large":"LARGE","n":2}"#,
        r#"c {"id":7} {"id":7,"large":"LARGE","n":2}"#,
        r#"u {"id":7} {"id":7,"large":"small","n":2}"#,
        r#"d {"id":7} {"id":7,"large":"small","n":2}"#,
    ];
    assert_eq!(short(&told), expected);
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_come_and_go_and_are_renamed() {
    let shop = shop("create table item (id integer primary key, a text); alter table item replica identity full; insert into item values (1, 'x')").await;
    let host = shop.host(&all(&["item"]));
    shop.until_following().await;
    // Earlier changes are read after the key was renamed.
    let ended = host;
    ended.end().await;
    shop.run_statements(
        "update item set a = 'y'; alter table item add b integer default 5; update item set a = 'z';
        alter table item rename a to c; alter table item rename id to number; update item set c = 'w';
        alter table item drop b; insert into item values (2, 'v'); alter table item rename to thing; truncate thing; insert into thing values (3, 'u')",
    )
    .await;
    let host = shop.host(&all(&["item"]));
    let told = shop.until_last("item", |told| told.key.as_deref() == Some(r#"{"number":3}"#)).await;
    let expected = [
        r#"r {"id":1} {"a":"x","id":1}"#,
        r#"u {"id":1} {"a":"y","id":1}"#,
        r#"u {"id":1} {"a":"z","b":5,"id":1}"#,
        r#"u {"number":1} {"b":5,"c":"w","number":1}"#,
        r#"c {"number":2} {"c":"v","number":2}"#,
        "t - null",
        r#"c {"number":3} {"c":"u","number":3}"#,
    ];
    assert_eq!(lines(&told), expected);
    assert_eq!(told[6].source["table"], "thing");
    host.end().await;
}

/// Rows without a key have records without a key, in one partition. A truncation of two tables is recorded for both.
#[tokio::test(flavor = "multi_thread")]
async fn tables_without_a_key_and_truncations_stay_in_order() {
    let shop = shop(
        "create table keyless (a integer); alter table keyless replica identity full; create table other (id integer primary key);
        insert into keyless values (1), (1);",
    )
    .await;
    let host = shop.host(&capture(Capture::postgres(SOURCE).tables(["keyless", "other"]).partitions(3)));
    shop.until_following().await;
    shop.run_statements("update keyless set a = 2; begin; insert into other values (5); truncate keyless, other; insert into keyless values (3); commit").await;
    let told = shop.until_last("keyless", |told| told.after["a"] == 3).await;
    let expected =
        [r#"r - {"a":1}"#, r#"r - {"a":1}"#, r#"u - {"a":2}"#, r#"u - {"a":2}"#, "t - null", r#"c - {"a":3}"#];
    assert_eq!(lines(&told), expected);
    assert!(told.iter().all(|one| one.partition == 0));
    let mut other = lines(&shop.told("other").await);
    other.sort();
    assert_eq!(other, [r#"c {"id":5} {"id":5}"#, "t - null"]);
    host.end().await;
}
