//! Random records of which most cannot be kept as they are. Each is in the table with its value, or in the quarantine, and no stream stops.

use crate::world::{WAREHOUSE, World, named, stream, text, world};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use chrono::{DateTime, Utc};
use iceberg::spec::{PrimitiveType, Transform};
use orch_lake::TableDef;
use orch_store::stream::StreamRow;
use orch_store::topic::NewRecord;
use orch_streams::{Stream, Windows};
use orch_test_support::rng::Rng;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[expect(clippy::disallowed_methods, reason = "it says how long a test takes")]
fn records() -> i64 {
    if std::env::var_os("ORCH_TEST_LONG").is_some() { 10_000 } else { 1_000 }
}

fn fields() -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("city", DataType::Utf8, true),
        Field::new("n", DataType::Int32, true),
        Field::new("x", DataType::Float64, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true),
        Field::new("amount", DataType::Decimal128(10, 2), true),
    ])
}

/// The values of a field, as they are written in a record. A table can keep the values of the first list.
fn value(rng: &mut Rng, good: &[&str], bad: &[&str]) -> String {
    if rng.one_in(3) { (*rng.pick(bad)).to_owned() } else { (*rng.pick(good)).to_owned() }
}

fn record(rng: &mut Rng, id: i64) -> Vec<u8> {
    if rng.one_in(20) {
        let broken: [&[u8]; 6] = [b"{", b"", b"[1,2]", b"null", b"{\"id\":}", b"{\"id\":1,\"city\":\"\xff\xfe\"}"];
        return rng.pick(&broken).to_vec();
    }
    let city = match rng.below(200) {
        0 => format!("\"{}\"", "x".repeat(900_000)),
        1..20 => format!("\"{}\"", "\u{e5}".repeat(300)),
        _ => value(
            rng,
            &["\"Oslo\"", "null", "\"a/b\"", "\"\""],
            &["\"a\\u0000b\"", "\"\\ud800\"", "7", "[\"a\"]", "true"],
        ),
    };
    let n = value(
        rng,
        &["1", "-5", "null", "2147483647", "4.0"],
        &["3.7", "2147483648", "1e400", "\"three\"", "NaN", "9223372036854775808"],
    );
    let x = value(rng, &["0.5", "-1e308", "null", "0"], &["1e309", "-1e400", "\"NaN\"", "NaN", "Infinity", "\"x\""]);
    let at = value(
        rng,
        &["\"2026-11-30T00:00:00Z\"", "\"2026-11-30T00:00:30.25Z\"", "null"],
        &["\"2026-02-30T00:00:00Z\"", "1772000000", "\"0000-00-00\"", "\"99999-01-01T00:00:00Z\"", "\"soon\""],
    );
    let amount =
        value(rng, &["12.34", "-0.5", "null", "99999999.99"], &["123456789012.5", "1e30", "\"much\"", "0.125"]);
    format!("{{\"id\":{id},\"city\":{city},\"n\":{n},\"x\":{x},\"at\":{at},\"amount\":{amount}}}").into_bytes()
}

fn produced(seed: u64) -> Vec<Vec<u8>> {
    let mut rng = Rng::new(seed);
    (0..records()).map(|id| record(&mut rng, id)).collect()
}

async fn publish(world: &World, stream: &Stream, values: &[Vec<u8>]) -> StreamRow {
    world.topic().await;
    for part in values.chunks(100) {
        let records: Vec<_> =
            part.iter().map(|value| NewRecord { value: Some(value.clone()), ..text("", 0) }).collect();
        world.produce(&records).await;
    }
    let host = world.host(stream);
    let many = i64::try_from(values.len()).unwrap();
    let row = world.until(|row| row.records == many || row.waits_for_restart).await;
    host.end().await;
    assert_eq!((row.records, row.failures), (many, 0), "{:?}", row.error);
    row
}

/// Rows by id, as texts; `None` is null.
type Rows = BTreeMap<i64, [Option<String>; 5]>;

fn check(values: &[Vec<u8>], rows: &Rows, quarantined: &BTreeSet<i64>) {
    for (id, value) in (0_i64..).zip(values) {
        let shown = String::from_utf8_lossy(&value[..value.len().min(300)]);
        let Some(row) = rows.get(&id) else {
            assert!(quarantined.contains(&id), "record {id} is lost: {shown}");
            continue;
        };
        assert!(!quarantined.contains(&id), "record {id} is in both tables: {shown}");
        let json: Value =
            serde_json::from_slice(value).unwrap_or_else(|error| panic!("{error}: {shown} became {row:?}"));
        let [city, n, x, at, amount] = row;
        let is_null = |name: &str| json[name].is_null();
        assert!(*city == json["city"].as_str().map(str::to_owned), "{shown} became {city:?}");
        let number = |of: &Option<String>| of.as_ref().map(|text| text.parse::<f64>().unwrap());
        for (name, found) in [("n", n), ("x", x), ("amount", amount)] {
            assert_eq!(number(found), json[name].as_f64(), "`{name}` of {shown}");
        }
        let time = |text: &str| text.replace(' ', "T").parse::<DateTime<Utc>>().unwrap();
        assert_eq!(at.as_deref().map(time), json["at"].as_str().map(time), "{shown}");
        assert!(["n", "x", "at", "amount"].iter().all(|name| is_null(name) || !json[*name].is_boolean()));
    }
    assert!(
        rows.len() > values.len() / 20 && quarantined.len() > values.len() / 4,
        "some records are in the table, others in the quarantine"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_records_are_in_the_lake_or_quarantined() {
    let world = world().await;
    let table = TableDef::new()
        .optional("id", PrimitiveType::Long)
        .optional("city", PrimitiveType::String)
        .optional("n", PrimitiveType::Int)
        .optional("x", PrimitiveType::Double)
        .optional("at", PrimitiveType::Timestamptz)
        .optional("amount", PrimitiveType::Decimal { precision: 10, scale: 2 })
        .partition("city", Transform::Identity);
    let values = produced(0xbad);
    publish(&world, &stream().json(fields()).append(named("test.readings"), table), &values).await;
    let mut rows = Rows::new();
    for (nth, column) in ["city", "n", "x", "at", "amount"].into_iter().enumerate() {
        for batch in world.rows("test.readings").await {
            let cells = batch.column_by_name(column).unwrap();
            let ids =
                arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(batch.column_by_name("id").unwrap());
            for row in 0..batch.num_rows() {
                let cell = arrow::array::Array::is_valid(cells, row)
                    .then(|| arrow::util::display::array_value_to_string(cells, row).unwrap());
                rows.entry(ids.value(row)).or_default()[nth] = cell;
            }
        }
    }
    let aside = world.lines("test.readings_quarantine", &["offset"]).await;
    check(&values, &rows, &aside.iter().map(|offset| offset.parse().unwrap()).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_records_are_in_postgres_or_quarantined() {
    let world = world().await;
    let values = produced(0xdead);
    publish(&world, &stream().json(fields()).append_postgres(WAREHOUSE, "mart.readings"), &values).await;
    let mut db = world.db().await;
    let sql = "set time zone 'UTC'; set datestyle = 'ISO'";
    sqlx::raw_sql(sql).execute(&mut db).await.unwrap();
    type Row = (i64, Option<String>, Option<String>, Option<String>, Option<String>, Option<String>);
    let found: Vec<Row> = sqlx::query_as(
        "select id, city, n::text, x::text, to_char(at, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), amount::text from mart.readings",
    )
    .fetch_all(&mut db)
    .await
    .unwrap();
    let rows = found.into_iter().map(|(id, city, n, x, at, amount)| (id, [city, n, x, at, amount])).collect();
    let aside: Vec<i64> =
        sqlx::query_scalar("select \"offset\" from mart.readings_quarantine").fetch_all(&mut db).await.unwrap();
    check(&values, &rows, &aside.into_iter().collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_records_are_in_a_window_or_quarantined() {
    let world = world().await;
    let windows = Windows::tumbling(Duration::from_mins(1)).by(&["city"]).at("at").allow_late(Duration::from_hours(1));
    let stream = stream().json(fields()).windows(windows.count("records").sum("x", "total")).upsert_postgres(
        WAREHOUSE,
        "mart.readings",
        &["city", "window_start"],
        None,
    );
    let values = produced(0xface);
    let row = publish(&world, &stream, &values).await;
    let counted: i64 = sqlx::query_scalar("select sum(records)::bigint from mart.readings")
        .fetch_one(&mut world.db().await)
        .await
        .unwrap();
    assert_eq!(counted + row.quarantined, records());
    assert!(counted > records() / 50, "{counted} records are in windows");
}
