//! Random records, most of which cannot be kept as they are. Each is in the table with its value or in the quarantine,
//! and no stream stops.

use crate::world::{COMMIT, WAREHOUSE, World, named, stream, text, world};
use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use arrow::util::display::array_value_to_string;
use chrono::{DateTime, Utc};
use iceberg::spec::{PrimitiveType, Transform};
use orch_lake::TableDef;
use orch_sdk::task::Connection;
use orch_store::stream::{StreamRow, get_stream};
use orch_store::topic::{NewRecord, ensure_topic};
use orch_streams::topic::kafka::KafkaProducer;
use orch_streams::{Stream, Windows};
use orch_test_support::kafka;
use orch_test_support::rng::Rng;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

#[expect(clippy::disallowed_methods, reason = "it says how long a test takes")]
pub(crate) fn is_long() -> bool {
    std::env::var_os("ORCH_TEST_LONG").is_some()
}

pub(crate) fn records() -> i64 {
    if is_long() { 10_000 } else { 1_000 }
}

pub(crate) fn fields() -> Schema {
    Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("city", DataType::Utf8, true),
        Field::new("n", DataType::Int32, true),
        Field::new("x", DataType::Float64, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true),
        Field::new("amount", DataType::Decimal128(10, 2), true),
    ])
}

pub(crate) fn table() -> TableDef {
    TableDef::new()
        .optional("id", PrimitiveType::Long)
        .optional("city", PrimitiveType::String)
        .optional("n", PrimitiveType::Int)
        .optional("x", PrimitiveType::Double)
        .optional("at", PrimitiveType::Timestamptz)
        .optional("amount", PrimitiveType::Decimal { precision: 10, scale: 2 })
        .partition("city", Transform::Identity)
}

/// Returns the text of a value. Tables can keep the values of the first list.
fn value(rng: &mut Rng, good: &[&str], bad: &[&str]) -> String {
    let is_bad = !bad.is_empty() && rng.one_in(3);
    (*rng.pick(if is_bad { bad } else { good })).to_owned()
}

fn record(rng: &mut Rng, id: i64, is_hostile: bool) -> Vec<u8> {
    if is_hostile && rng.one_in(20) {
        let broken: [&[u8]; 6] = [b"{", b"", b"[1,2]", b"null", b"{\"id\":}", b"{\"id\":1,\"city\":\"\xff\xfe\"}"];
        return rng.pick(&broken).to_vec();
    }
    let mut value = |good: &[&str], bad: &[&str]| value(rng, good, if is_hostile { bad } else { &[] });
    let city =
        value(&["\"Oslo\"", "null", "\"a/b\"", "\"\""], &["\"a\\u0000b\"", "\"\\ud800\"", "7", "[\"a\"]", "true"]);
    let n = value(
        &["1", "-5", "null", "2147483647", "4.0"],
        &["3.7", "2147483648", "1e400", "\"three\"", "NaN", "9223372036854775808"],
    );
    let x = value(&["0.5", "-1e308", "null", "0"], &["1e309", "-1e400", "\"NaN\"", "NaN", "Infinity", "\"x\""]);
    let at = value(
        &["\"2026-11-30T00:00:00Z\"", "\"2026-11-30T00:00:30.25Z\"", "null"],
        &["\"2026-02-30T00:00:00Z\"", "1772000000", "\"0000-00-00\"", "\"99999-01-01T00:00:00Z\"", "\"soon\""],
    );
    let amount = value(&["12.34", "-0.5", "null", "99999999.99"], &["123456789012.5", "1e30", "\"much\"", "0.125"]);
    let city = match rng.below(200) {
        0 => format!("\"{}\"", "x".repeat(900_000)),
        1..20 => format!("\"{}\"", "\u{e5}".repeat(300)),
        _ => city,
    };
    format!("{{\"id\":{id},\"city\":{city},\"n\":{n},\"x\":{x},\"at\":{at},\"amount\":{amount}}}").into_bytes()
}

fn produced(seed: u64) -> Vec<Vec<u8>> {
    let mut rng = Rng::new(seed);
    (0..records()).map(|id| record(&mut rng, id, true)).collect()
}

fn record_of(value: &[u8]) -> NewRecord {
    NewRecord { value: Some(value.to_vec()), ..text("", 0) }
}

async fn produce(world: &World, values: &[Vec<u8>]) {
    world.topic().await;
    for part in values.chunks(100) {
        world.produce(&part.iter().map(|value| record_of(value)).collect::<Vec<_>>()).await;
    }
}

async fn publish(world: &World, stream: &Stream, values: &[Vec<u8>]) -> StreamRow {
    produce(world, values).await;
    read(world, stream, values.len()).await
}

/// Returns the row of the stream after it has read all records.
async fn read(world: &World, stream: &Stream, many: usize) -> StreamRow {
    let host = world.host(stream);
    let many = i64::try_from(many).unwrap();
    let row = world.until(|row| row.records == many || row.waits_for_restart).await;
    host.end().await;
    assert_eq!((row.records, row.failures), (many, 0), "{:?}", row.error);
    row
}

/// Rows by id, as text. `None` is null.
pub(crate) type Rows = BTreeMap<i64, [Option<String>; 5]>;

pub(crate) async fn lake_rows(world: &World, table: &str) -> Rows {
    let mut rows = Rows::new();
    for batch in world.rows(table).await {
        let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>();
        for (nth, column) in ["city", "n", "x", "at", "amount"].into_iter().enumerate() {
            let cells = batch.column_by_name(column).unwrap();
            for row in 0..batch.num_rows() {
                let cell = cells.is_valid(row).then(|| array_value_to_string(cells, row).unwrap());
                rows.entry(ids.value(row)).or_default()[nth] = cell;
            }
        }
    }
    rows
}

pub(crate) async fn postgres_rows(world: &World, table: &str) -> Rows {
    let mut db = world.db().await;
    sqlx::raw_sql("set time zone 'UTC'").execute(&mut db).await.unwrap();
    type Row = (i64, Option<String>, Option<String>, Option<String>, Option<String>, Option<String>);
    let at = "to_char(at, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    let sql = format!("select id, city, n::text, x::text, {at}, amount::text from {table}");
    let found: Vec<Row> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut db).await.unwrap();
    found.into_iter().map(|(id, city, n, x, at, amount)| (id, [city, n, x, at, amount])).collect()
}

/// Compares rows with the JSON of their values, whose index is the id. `quarantined` has the ids of records that are in
/// no table.
pub(crate) fn check(values: &[Vec<u8>], rows: &Rows, quarantined: &BTreeSet<i64>) {
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
        for (name, found) in [("n", n), ("x", x), ("amount", amount)] {
            let found = found.as_ref().map(|text| text.parse::<f64>().unwrap());
            // Captures write numbers that JSON does not have as text.
            let expected = json[name].as_f64().or_else(|| json[name].as_str()?.parse().ok());
            let is_equal =
                found == expected || found.zip(expected).is_some_and(|(one, other)| one.is_nan() && other.is_nan());
            assert!(is_equal, "`{name}` of {shown} became {found:?}");
        }
        let time = |text: &str| text.replace(' ', "T").parse::<DateTime<Utc>>().unwrap();
        assert_eq!(at.as_deref().map(time), json["at"].as_str().map(time), "{shown}");
        assert!(["n", "x", "at", "amount"].iter().all(|name| is_null(name) || !json[*name].is_boolean()));
    }
    assert!(
        rows.len() > values.len() / 20 && quarantined.len() > values.len() / 6,
        "some records are in the table, others in the quarantine"
    );
}

async fn check_lake(world: &World, values: &[Vec<u8>]) {
    let offsets = world.lines("test.readings_quarantine", &["offset"]).await;
    let quarantined = offsets.iter().map(|offset| offset.parse().unwrap()).collect();
    check(values, &lake_rows(world, "test.readings").await, &quarantined);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_records_are_in_the_lake_or_quarantined() {
    let world = world().await;
    let values = produced(0xbad);
    publish(&world, &stream().json(fields()).append(named("test.readings"), table()), &values).await;
    check_lake(&world, &values).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_records_of_kafka_are_in_the_lake_or_quarantined() {
    let mut world = world().await;
    let events = Connection::from_uri("events", &format!("kafka://{}", kafka().await.address())).unwrap();
    let producer = KafkaProducer::open(&events).unwrap();
    world.connections.push(events);
    producer.create_topic("hostile", 1).await.unwrap();
    let values = produced(0xca1f);
    for part in values.chunks(100) {
        producer.produce("hostile", &part.iter().map(|value| record_of(value)).collect::<Vec<_>>()).await.unwrap();
    }
    let stream = Stream::new("readings").topic("hostile").at("events").commit_every(COMMIT);
    read(&world, &stream.json(fields()).append(named("test.readings"), table()), values.len()).await;
    check_lake(&world, &values).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_records_are_in_postgres_or_quarantined() {
    let world = world().await;
    let values = produced(0xdead);
    publish(&world, &stream().json(fields()).append_postgres(WAREHOUSE, "mart.readings"), &values).await;
    let offsets = sqlx::query_scalar::<_, i64>("select \"offset\" from mart.readings_quarantine");
    let quarantined = offsets.fetch_all(&mut world.db().await).await.unwrap().into_iter().collect();
    check(&values, &postgres_rows(&world, "mart.readings").await, &quarantined);
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

/// Returns how long each record of another stream of the process takes until it is published, while `values` are.
async fn delays_of_a_neighbor(values: &[Vec<u8>]) -> Vec<Duration> {
    let world = world().await;
    let readings = stream().json(fields()).append_postgres(WAREHOUSE, "mart.readings");
    let id = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    let neighbor = Stream::new("neighbor").topic("others").commit_every(COMMIT).json(id);
    let neighbor = neighbor.append(named("test.others"), TableDef::new().optional("id", PrimitiveType::Long));
    let host = world.host_of(vec![readings, neighbor]);
    let mut db = world.db().await;
    ensure_topic(&mut db, "others", 1).await.unwrap();
    let published = async |db: &mut PgConnection, many: i64| {
        let mut tx = db.begin().await.unwrap();
        orch_store::topic::produce(&mut tx, "others", &[record_of(b"{\"id\":1}")]).await.unwrap();
        tx.commit().await.unwrap();
        world.appended();
        let is_published = async |world: &World| {
            get_stream(&mut world.db().await, "neighbor").await.unwrap().filter(|row| row.records == many)
        };
        world.until_so(is_published).await;
    };
    published(&mut db, 1).await;
    let many = i64::try_from(values.len()).unwrap();
    let measure = async {
        let mut delays = Vec::new();
        while world.row().await.is_none_or(|row| row.records < many) {
            let start = Instant::now();
            published(&mut db, 2 + i64::try_from(delays.len()).unwrap()).await;
            delays.push(start.elapsed());
        }
        delays
    };
    let ((), delays) = tokio::join!(produce(&world, values), measure);
    host.end().await;
    delays
}

/// Finding the records that the database rejects takes one statement per record.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_records_delay_no_other_stream() {
    let records = |is_hostile| {
        let mut rng = Rng::new(0xbeef);
        (0..records()).map(|id| record(&mut rng, id, is_hostile)).collect::<Vec<_>>()
    };
    let (valid, hostile) = (records(false), records(true));
    let (mut beside_valid, mut beside_hostile) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        beside_valid.extend(delays_of_a_neighbor(&valid).await);
        beside_hostile.extend(delays_of_a_neighbor(&hostile).await);
    }
    let [valid, hostile] = [&mut beside_valid, &mut beside_hostile].map(|delays| {
        delays.sort();
        delays[delays.len() / 2]
    });
    // Next to other tests, medians of few delays differ by half.
    let max_ratio = if is_long() { 1.5 } else { 3.0 };
    assert!(
        hostile <= valid.mul_f64(max_ratio),
        "a record takes {hostile:?} beside hostile records, {valid:?} beside valid ones"
    );
}
