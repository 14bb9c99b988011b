//! Values of MariaDB rows in records.

use super::super::key;
use super::super::lines;
use super::{of, own_shop, shop};
use crate::world::SOURCE;
use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use chrono::{DateTime, Utc};
use orch_lake::contract::{Contract, Facts, Policy};
use orch_lake::source::mysql::{MysqlSource, read};
use orch_streams::Capture;
use serde_json::{Value, json};

/// The table of the Debezium recordings, with the same row.
const EVERY: &str = "create table item (id bigint primary key, cust int, total decimal(10,2), wide decimal(38,9), ts timestamp(6) null, dt datetime(6),
    d date, t time(6), y year, b1 tinyint(1), bits bit(12), e enum('a','b c'), s set('x','y','z'), doc json, txt text character set utf8mb4,
    bl blob, fl float, du double, ch char(5), vb varbinary(10), ub bigint unsigned, mi mediumint unsigned, u uuid, one bit(1), six inet6,
    four inet4, fixed binary(4), latin varchar(20) character set latin1, wide_text varchar(20) character set utf16, t0 time, dt0 datetime,
    ts3 timestamp(3) null, si smallint, big decimal(65,30), place point)";
const ROWS: &str = r#"set time_zone = '+00:00'; set sql_mode = '';
    insert into item values (1, 7, 12.50, 12345678901234567890123456789.123456789, '2025-03-30 01:59:59.123456', '2025-03-30 01:59:59.123456',
        '2025-03-30', '-838:59:59', 2025, 1, b'101010101010', 'b c', 'x,z', '{"a":[1,2]}', 'snap é 日本 😀', x'deadbeef', 1.5, 2.5, 'ab', x'00ff',
        18446744073709551615, 16777215, '11111111-2222-3333-4444-555555555555', b'1', '2001:db8::1', '10.0.0.1', x'01', '€é', '日本😀', '12:30:01',
        '2025-03-30 01:59:59', '2025-03-30 01:59:59.5', -5, -123.000000000000000000000000000001, point(1, 2)),
    (4, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
        '019ab4d6-1111-7222-8333-444444444444', null, null, null, null, null, null, null, null, null, null, null, null),
    (2, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
        null, null, null, null, null, null, null, null, null, null, null),
    (3, -1, -0.05, 0, '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00', '-00:00:00.5', 0, 0, 0, '', '', '[]', '', '', 299.98, 1e300, '', '',
        0, 0, '6f1e7a3c-1111-4222-8333-444444444444', b'0', '::', '0.0.0.0', '', '', '', '-00:00:01', '1000-01-01 00:00:00', null, 32767, 0, null)"#;

/// Snapshot and changes write values in the same format, which is Debezium's.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_mariadb_are_written_as_debezium_does() {
    let shop = shop(EVERY).await;
    shop.run_statements(ROWS).await;
    let host = shop.host(&of(&["item"]));
    shop.until_following().await;
    shop.run_statements("create table copied as select * from item; delete from item").await;
    shop.run_statements("set sql_mode = ''; insert into item select * from copied order by id").await;
    let told = shop.until_last("item", |told| told.op == "c" && told.key == Some(key(4))).await;
    let of = |op: &str| told.iter().filter(|one| one.op == op).map(|one| one.after.clone()).collect::<Vec<_>>();
    for (one, other) in of("r").iter().zip(of("c")) {
        for (name, value) in one.as_object().unwrap() {
            assert_eq!(*value, other[name], "{name}");
        }
    }
    assert_eq!((of("r").len(), of("c").len()), (4, 4));
    assert_eq!(of("c")[3]["u"], "019ab4d6-1111-7222-8333-444444444444");
    // Equal to the recordings of `mdb_plain`, except that decimals are digits and the largest unsigned number is exact.
    let expected = json!({
        "id": 1, "cust": 7, "total": "12.50", "wide": "12345678901234567890123456789.123456789", "ts": "2025-03-30T01:59:59.123456Z",
        "dt": 1_743_299_999_123_456_i64, "d": 20_177, "t": -3_020_399_000_000_i64, "y": 2025, "b1": 1, "bits": "qgo=", "e": "b c", "s": "x,z",
        "doc": "{\"a\":[1,2]}", "txt": "snap é 日本 😀", "bl": "3q2+7w==", "fl": 1.5, "du": 2.5, "ch": "ab", "vb": "AP8=",
        "ub": 18_446_744_073_709_551_615_u64, "mi": 16_777_215, "u": "11111111-2222-3333-4444-555555555555", "one": true, "six": "2001:db8::1",
        "four": "10.0.0.1", "fixed": "AQAAAA==", "latin": "€é", "wide_text": "日本😀", "t0": 45_001_000_000_i64, "dt0": 1_743_299_999_000_000_i64,
        "ts3": "2025-03-30T01:59:59.5Z", "si": -5, "big": "-123.000000000000000000000000000001",
        "place": of("r")[0]["place"],
    });
    assert_eq!(of("r")[0], expected);
    assert!(of("r")[1].as_object().unwrap().iter().all(|(name, value)| name == "id" || value.is_null()));
    let zeros = &of("c")[2];
    let found = ["ts", "dt", "d", "t", "y", "e", "s", "fl", "du", "total", "t0", "dt0", "u", "one", "six", "fixed"]
        .map(|name| zeros[name].clone());
    assert_eq!(
        Value::from(found.to_vec()),
        json!([
            null,
            null,
            null,
            -500_000,
            0,
            "",
            "",
            299.98,
            1e300,
            "-0.05",
            -1_000_000,
            -30_610_224_000_000_000_i64,
            "6f1e7a3c-1111-4222-8333-444444444444",
            false,
            "::",
            "AAAAAA=="
        ])
    );
    let source = &told.last().unwrap().source;
    assert_eq!(
        (&source["connector"], &source["table"], &source["server_id"]),
        (&json!("mariadb"), &json!("item"), &json!(77))
    );
    assert!(source["gtid"].as_str().unwrap().starts_with("0-77-") && source["row"] == 3, "{source}");
    host.end().await;
}

/// Dates that are not in the calendar are null, even in `not null` columns: in snapshot, binlog and batch.
#[tokio::test(flavor = "multi_thread")]
async fn zero_dates_are_null_in_a_snapshot_in_the_binlog_and_in_a_batch() {
    const NAMES: [&str; 5] = ["d", "day", "dt", "ts", "at"];
    const ROWS: &str = "set time_zone = '+00:00'; set sql_mode = 'allow_invalid_dates'; insert into zeros values
        (1, '2020-05-01', '2020-05-01', '2020-05-01 10:00:00.5', '2020-05-01 10:00:00', '2020-05-01 10:00:00'),
        (2, '0000-00-00', '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00 00:00:00'),
        (3, '2020-00-15', '2020-05-00', '2020-00-00 10:00:00.5', null, '0000-00-00 00:00:00'),
        (4, null, '2020-02-30', '2020-02-30 10:00:00', null, '0000-00-00 00:00:00')";
    let shop = shop(
        "create table zeros (id int primary key, d date, day date not null, dt datetime(6) not null, ts timestamp null,
            at timestamp not null default 0)",
    )
    .await;
    shop.run_statements(ROWS).await;
    let host = shop.host(&of(&["zeros"]));
    shop.until_following().await;
    shop.run_statements(&format!("delete from zeros; {ROWS}")).await;
    let told = shop.until_last("zeros", |told| told.op == "c" && told.key == Some(key(4))).await;
    host.end().await;
    let micros = |text: &String| text.parse::<DateTime<Utc>>().unwrap().timestamp_micros();
    let cells = |row: &Value| {
        NAMES.map(|name| if let Value::String(text) = &row[name] { Some(micros(text)) } else { row[name].as_i64() })
    };
    let of = |op: &str| told.iter().filter(|one| one.op == op).map(|one| cells(&one.after)).collect::<Vec<_>>();
    let batch = read(&shop.source.connection, MysqlSource::table("zeros")).await.unwrap().collect().await.unwrap();
    let columns = NAMES.map(|name| cast(&batch[name], &DataType::Int64).unwrap());
    let cell = |column: &ArrayRef, row| column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row));
    let of_batch: Vec<_> =
        (0..batch.num_rows()).map(|row| columns.each_ref().map(|column| cell(column, row))).collect();
    let (day, at) = (Some(18_383), Some(1_588_327_200_000_000));
    let expected = [[day, day, at.map(|at| at + 500_000), at, at], [None; 5], [None; 5], [None; 5]];
    assert_eq!((of("r"), of("c"), of_batch), (expected.to_vec(), expected.to_vec(), expected.to_vec()));
    let contract = Contract::of("lake://mirror/zeros").not_null(["day"]).or(Policy::Quarantine);
    assert_eq!(contract.check(&[batch], &Facts::at(DateTime::UNIX_EPOCH)).unwrap().rows_quarantined(), 3);
}

/// A changed key makes another row. Excluded columns are in no record, and rows without a key make records without one.
#[tokio::test(flavor = "multi_thread")]
async fn keys_and_columns_that_are_left_out() {
    let shop = shop(
        "create table item (id int, part varchar(9), n int, secret varchar(9), primary key (id, part));
        create table keyless (a int, b int as (a * 2) virtual, c int as (a + 1) stored)",
    )
    .await;
    let stream = super::capture(Capture::mysql(SOURCE).tables(["item", "keyless"]).leave_out("item", ["secret"]));
    let host = shop.host(&stream);
    shop.until_following().await;
    shop.run_statements(
        "insert into item values (1, 'a', 1, 'hidden'); update item set part = 'b', n = 2; update item set secret = 'other';
        delete from item; insert into keyless (a) values (1), (1); update keyless set a = 2 limit 1; truncate keyless",
    )
    .await;
    let told = shop.until_last("keyless", |told| told.op == "t").await;
    let expected =
        [r#"c - {"a":1,"b":2,"c":2}"#, r#"c - {"a":1,"b":2,"c":2}"#, r#"u - {"a":2,"b":4,"c":3}"#, "t - null"];
    assert_eq!(lines(&told), expected);
    let told = shop.told("item").await;
    let expected = [
        r#"c {"id":1,"part":"a"} {"id":1,"n":1,"part":"a"}"#,
        r#"d {"id":1,"part":"a"} {"id":1,"n":1,"part":"a"}"#,
        r#"c {"id":1,"part":"b"} {"id":1,"n":2,"part":"b"}"#,
        r#"u {"id":1,"part":"b"} {"id":1,"n":2,"part":"b"}"#,
        r#"d {"id":1,"part":"b"} {"id":1,"n":2,"part":"b"}"#,
    ];
    assert_eq!(lines(&told), expected);
    assert_eq!(told[1].headers, Some(json!({ "__debezium.newkey": r#"{"id":1,"part":"b"}"# })));
    assert_eq!(told[2].headers, Some(json!({ "__debezium.oldkey": r#"{"id":1,"part":"a"}"# })));
    host.end().await;
}

/// A log that MariaDB compresses has the same changes. An unsupported charset is reported and can be excluded.
#[tokio::test(flavor = "multi_thread")]
async fn compressed_logs_are_read_and_odd_letters_are_named() {
    let shop =
        own_shop("create table item (id int primary key, n int, note text, odd varchar(9) character set sjis)").await;
    shop.run_statements("set global log_bin_compress = on; set global log_bin_compress_min_len = 10").await;
    let host = shop.host(&of(&["item"]));
    let error = shop.failure(|error| error.contains("charset sjis")).await;
    assert!(error.contains("column `odd`") && error.contains(".leave_out("), "{error}");
    host.end().await;
    let host = shop.host(&super::capture(Capture::mysql(SOURCE).tables(["item"]).leave_out("item", ["odd"])));
    shop.world.try_again().await;
    shop.until_following().await;
    shop.run_statements(
        "insert into item values (1, 1, repeat('x', 500), 'a'); update item set n = 2; delete from item",
    )
    .await;
    let told = shop.until_last("item", |told| told.op == "d").await;
    assert_eq!(told.iter().map(|one| one.op.as_str()).collect::<String>(), "cud");
    assert_eq!(told[1].after, json!({ "id": 1, "n": 2, "note": "x".repeat(500) }));
    host.end().await;
}
