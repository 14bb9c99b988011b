//! Values that a field, a window, a folder or a table cannot hold. Their records are quarantined with the reason, all
//! others are in the table, and the stream keeps running.

use crate::steer::reset;
use crate::world::{WAREHOUSE, World, named, readings, stream, text, world};
use arrow::array::{AsArray as _, Date32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use iceberg::spec::{PrimitiveType, Transform};
use orch_lake::TableDef;
use orch_store::stream::ResetTo;
use orch_streams::{Changes, Stream, Windows};
use sqlx::AssertSqlSafe;
use std::sync::Arc;
use std::time::Duration;

const LAST: &str = r#"{"id":99,"city":"last"}"#;

/// Publishes these values as offsets 0, 1, … of one partition.
async fn published(world: &World, stream: &Stream, values: &[String], aside: i64) {
    world.topic().await;
    let records: Vec<_> = values.iter().map(|value| text(value, 0)).collect();
    world.produce(&records).await;
    let host = world.host(stream);
    let many = i64::try_from(values.len()).unwrap();
    let row = world.until(|row| row.records == many).await;
    assert_eq!((row.quarantined, row.failures), (aside, 0), "{:?}", row.error);
    // The next record is published too.
    world.produce(&[text(LAST, 0)]).await;
    world.until(|row| row.records == many + 1).await;
    host.end().await;
}

async fn ids_in_postgres(world: &World) -> Vec<i64> {
    let ids = sqlx::query_scalar("select id::bigint from mart.readings order by id");
    ids.fetch_all(&mut world.db().await).await.unwrap()
}

async fn aside_in_postgres(world: &World) -> Vec<(i64, String, String)> {
    let aside = "select \"offset\", quarantine_reason, value from mart.readings_quarantine order by \"offset\"";
    sqlx::query_as(aside).fetch_all(&mut world.db().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_postgres_cannot_keep_stops_no_other() {
    let world = world().await;
    let fields = [
        Field::new("id", DataType::Int64, false),
        Field::new("city", DataType::Utf8, true),
        Field::new("day", DataType::Date32, true),
    ];
    let stream = stream().json(Schema::new(fields.to_vec())).append_postgres(WAREHOUSE, "mart.readings");
    // A table that users created accepts less than the records contain.
    sqlx::raw_sql(
        "create schema mart; create table mart.readings (id bigint check (id between 1 and 99 and id <> 7), city text check (length(city) <= 20), day date)",
    )
    .execute(&mut world.db().await)
    .await
    .unwrap();
    let values = [
        r#"{"id":1,"city":"Oslo"}"#.to_string(),
        r#"{"id":2,"city":"a\u0000b"}"#.into(),
        r#"{"id":3000000000}"#.into(),
        r#"{"id":4,"day":"2026-02-30"}"#.into(),
        format!(r#"{{"id":5,"city":"{}"}}"#, "x".repeat(21)),
        r#"{"id":6,"day":"2026-11-30"}"#.into(),
        r#"{"id":7}"#.into(),
        r#"{"id":8}"#.into(),
    ];
    published(&world, &stream, &values, 5).await;
    assert_eq!(ids_in_postgres(&world).await, [1, 6, 8, 99]);
    let aside = aside_in_postgres(&world).await;
    let reasons: Vec<_> = aside.iter().map(|(offset, reason, _)| (*offset, reason.as_str())).collect();
    for ((offset, reason), (expected, words)) in reasons.iter().zip([
        (1, "NUL"),
        (2, "check constraint"),
        (3, "2026-02-30"),
        (4, "check constraint"),
        (6, "check constraint"),
    ]) {
        assert!(*offset == expected && reason.contains(words), "{reasons:?}");
    }
    assert!(aside[1].2.contains("3000000000"), "the value is kept: {aside:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_refused_are_found_among_many() {
    let world = world().await;
    sqlx::raw_sql("create schema mart; create table mart.readings (id bigint check (id % 100 <> 50), city text)")
        .execute(&mut world.db().await)
        .await
        .unwrap();
    let stream = readings().append_postgres(WAREHOUSE, "mart.readings");
    let values: Vec<_> = (100..2_100).map(|id| format!(r#"{{"id":{id},"city":"c"}}"#)).collect();
    published(&world, &stream, &values, 20).await;
    let ids = ids_in_postgres(&world).await;
    let expected: Vec<i64> = [99].into_iter().chain((100..2_100).filter(|id| id % 100 != 50)).collect();
    assert_eq!(ids, expected);
    let aside: Vec<i64> = aside_in_postgres(&world).await.into_iter().map(|(offset, ..)| offset).collect();
    assert_eq!(aside, (50..2_000).step_by(100).collect::<Vec<i64>>());
}

/// Number of transactions that sessions of the database have ended.
async fn transactions(world: &World) -> i64 {
    let ended = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()";
    sqlx::query_scalar(ended).fetch_one(&mut world.db().await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_records_take_few_transactions() {
    const RECORDS: i64 = 20_000;
    let world = world().await;
    sqlx::raw_sql("create schema mart; create table mart.readings (id bigint check (id < 100), city text)")
        .execute(&mut world.db().await)
        .await
        .unwrap();
    let stream = readings().append_postgres(WAREHOUSE, "mart.readings");
    let values: Vec<_> = (100..100 + RECORDS).map(|id| format!(r#"{{"id":{id},"city":"c"}}"#)).collect();
    let before = transactions(&world).await;
    published(&world, &stream, &values, RECORDS).await;
    let ended = transactions(&world).await - before;
    assert!(ended < RECORDS / 20, "{RECORDS} refused records take {ended} transactions");
    assert_eq!(ids_in_postgres(&world).await, [99]);
    let aside = aside_in_postgres(&world).await;
    assert!((0..RECORDS).eq(aside.iter().map(|(offset, ..)| *offset)), "each record is quarantined once");
    assert!(aside.iter().all(|(_, reason, _)| reason.contains("check constraint")), "{:?}", aside[0]);
}

/// Sets `day` of some records to a date that Postgres does not have.
fn with_day(rows: &RecordBatch) -> RecordBatch {
    let ids = rows.column_by_name("id").unwrap().as_primitive::<Int64Type>();
    let days: Date32Array = ids.values().iter().map(|id| Some(if id % 100 == 51 { i32::MIN } else { 0 })).collect();
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("day", DataType::Date32, true)));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(days));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_quarantines_what_is_refused_and_a_replay_does_not_again() {
    let world = world().await;
    let table = "create table mart.readings (id bigint primary key check (id % 100 <> 50), city text unique, day date)";
    sqlx::raw_sql(AssertSqlSafe(format!("create schema mart; {table}; insert into mart.readings values (1, 'taken')")))
        .execute(&mut world.db().await)
        .await
        .unwrap();
    let stream = readings().transform(|rows| Ok(with_day(&rows))).upsert_postgres(
        WAREHOUSE,
        "mart.readings",
        &["id"],
        Some("id"),
    );
    let value = |id: i64| match id {
        777 => r#"{"id":777,"city":"taken"}"#.to_string(),
        id => format!(r#"{{"id":{id},"city":"c{id}"}}"#),
    };
    let values: Vec<_> = (100..2_100).map(value).collect();
    published(&world, &stream, &values, 41).await;
    let is_refused = |id: &i64| [50, 51].contains(&(id % 100)) || *id == 777;
    let expected: Vec<i64> = [1, 99].into_iter().chain((100..2_100).filter(|id| !is_refused(id))).collect();
    let offsets: Vec<i64> = (100..2_100).filter(is_refused).map(|id| id - 100).collect();
    let check = async |about: &str| {
        assert_eq!(ids_in_postgres(&world).await, expected, "{about}");
        let aside = aside_in_postgres(&world).await;
        let found: Vec<i64> = aside.iter().map(|(offset, ..)| *offset).collect();
        assert_eq!(found, offsets, "{about}");
        for (offset, reason, _) in &aside {
            let words = match offset % 100 {
                50 => "check constraint",
                51 => "`day` has a time that Postgres cannot keep",
                _ => "unique constraint",
            };
            assert!(reason.contains(words), "{about}: {offset}: {reason}");
        }
    };
    check("first").await;
    reset(&world, ResetTo::Earliest, false).await;
    let host = world.host(&stream);
    world.until(|row| row.records >= 2 * 2_001).await;
    host.end().await;
    check("replayed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_quarantines_changes_that_are_refused() {
    let world = world().await;
    sqlx::raw_sql(
        "create schema mart; create table mart.readings (id bigint primary key, city text check (city <> 'bad'));
        insert into mart.readings values (1, 'pinned'), (2, 'goes');
        create table mart.pinned as select 1::bigint as id;
        alter table mart.pinned add foreign key (id) references mart.readings",
    )
    .execute(&mut world.db().await)
    .await
    .unwrap();
    let row = Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("city", DataType::Utf8, true)]);
    let stream = stream().changes(Changes::of(row)).mirror_postgres(WAREHOUSE, "mart.readings", &["id"]);
    let change = |op: &str, id: i64, city: &str| {
        let row = format!(r#"{{"id":{id},"city":"{city}"}}"#);
        text(&format!(r#"{{"op":"{op}","before":{row},"after":{row}}}"#), 0)
    };
    let mut changes: Vec<_> = (1_000..1_600).map(|id| change("c", id, "Oslo")).collect();
    changes.extend([change("d", 1, "pinned"), change("c", 3, "bad"), change("d", 2, "goes"), change("u", 4, "Bergen")]);
    world.topic().await;
    world.produce(&changes).await;
    let host = world.host(&stream);
    let row = world.until(|row| row.records == 604).await;
    host.end().await;
    assert_eq!((row.quarantined, row.failures), (2, 0), "{:?}", row.error);
    let ids: Vec<i64> = [1, 4].into_iter().chain(1_000..1_600).collect();
    assert_eq!(ids_in_postgres(&world).await, ids);
    let aside = aside_in_postgres(&world).await;
    let reasons: Vec<_> = aside.iter().map(|(offset, reason, _)| (*offset, reason.contains("foreign key"))).collect();
    assert_eq!(reasons, [(600, true), (601, false)], "{aside:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_would_change_is_put_aside() {
    let world = world().await;
    let fields = [
        Field::new("id", DataType::Int64, false),
        Field::new("city", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true),
        Field::new("temp", DataType::Float64, true),
    ];
    let table = TableDef::new()
        .optional("id", PrimitiveType::Long)
        .optional("city", PrimitiveType::String)
        .optional("at", PrimitiveType::Timestamptz)
        .optional("temp", PrimitiveType::Double);
    let stream = stream().json(Schema::new(fields.to_vec())).append(named("test.readings"), table);
    let values = [
        r#"{"id":3.7}"#,
        r#"{"id":1,"at":1772000000}"#,
        r#"{"id":2,"temp":1e999}"#,
        r#"{"id":3,"temp":"NaN"}"#,
        r#"{"id":4.0,"at":"2026-11-30T00:00:00Z","temp":-1.5}"#,
    ];
    published(&world, &stream, &values.map(str::to_owned), 4).await;
    assert_eq!(world.ids().await, [4, 99]);
    let reasons = world.lines("test.readings_quarantine", &["offset", "quarantine_reason"]).await;
    assert_eq!(
        reasons,
        [
            "0 `id` is 3.7, which is not a whole number",
            "1 `at` is the number 1772000000, and a time is written as text",
            "2 `temp` is not a finite number",
            "3 `temp` is not a finite number",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_may_have_a_name_that_is_too_long_for_a_folder() {
    let world = world().await;
    let table = TableDef::new()
        .optional("id", PrimitiveType::Long)
        .optional("city", PrimitiveType::String)
        .partition("city", Transform::Identity);
    let stream = readings().append(named("test.readings"), table);
    let long = "å".repeat(300);
    let values = [format!(r#"{{"id":1,"city":"{long}"}}"#), r#"{"id":2,"city":"Oslo"}"#.to_string()];
    published(&world, &stream, &values, 0).await;
    let mut lines = world.lines("test.readings", &["id", "city"]).await;
    lines.sort();
    assert_eq!(lines, [format!("1 {long}"), "2 Oslo".into(), "99 last".into()]);
}

/// A transformation may return NaN, and types that depend on its rows.
#[tokio::test(flavor = "multi_thread")]
async fn windows_take_what_can_be_measured() {
    let world = world().await;
    let fields = [
        Field::new("id", DataType::Int64, false),
        Field::new("city", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true),
        Field::new("a", DataType::Float64, true),
        Field::new("b", DataType::Float64, true),
    ];
    let windows = Windows::tumbling(Duration::from_mins(1)).by(&["city"]).at("at").allow_late(Duration::from_mins(5));
    let stream = stream()
        .json(Schema::new(fields.to_vec()))
        .transform(|rows| {
            use arrow::array::{ArrayRef, AsArray as _, Float64Array};
            use arrow::datatypes::Float64Type;
            let column = |name: &str| rows.column_by_name(name).unwrap().as_primitive::<Float64Type>().clone();
            let (a, b) = (column("a"), column("b"));
            let ratio: Float64Array = a.iter().zip(b.iter()).map(|(a, b)| Some(a? / b?)).collect();
            let is_nullable = arrow::array::Array::null_count(&ratio) > 0;
            let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
            fields.push(std::sync::Arc::new(Field::new("ratio", DataType::Float64, is_nullable)));
            let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
            columns.push(std::sync::Arc::new(ratio));
            Ok(arrow::array::RecordBatch::try_new(std::sync::Arc::new(Schema::new(fields)), columns)?)
        })
        .windows(windows.count("n").average("ratio", "mean"))
        .upsert_postgres(WAREHOUSE, "mart.readings", &["city", "window_start"], None);
    world.topic().await;
    let value = |id: i64, city: &str, rest: &str| {
        text(&format!(r#"{{"id":{id},"city":"{city}","at":"2026-01-01T00:00:0{id}Z"{rest}}}"#), 0)
    };
    world
        .produce(&[
            value(1, "Oslo", r#","a":1,"b":2"#),
            value(2, "Oslo", r#","a":0,"b":0"#),
            text("broken", 0),
            value(3, "Oslo", r#","a":null,"b":1"#),
            value(4, "Oslo", r#","a":3,"b":2"#),
            value(5, r"a\u0000b", r#","a":3,"b":2"#),
        ])
        .await;
    let host = world.host(&stream);
    let row = world.until(|row| row.records == 6).await;
    assert_eq!((row.quarantined, row.failures), (3, 0), "{:?}", row.error);
    // The second batch adds to the windows of the first.
    world.produce(&[value(6, "Oslo", r#","a":4,"b":1"#)]).await;
    world.until(|row| row.records == 7).await;
    let lines: Vec<String> = sqlx::query_scalar("select format('%s %s %s', city, n, mean) from mart.readings")
        .fetch_all(&mut world.db().await)
        .await
        .unwrap();
    assert_eq!(lines, ["Oslo 4 2"]);
    let aside: Vec<i64> = aside_in_postgres(&world).await.into_iter().map(|(offset, ..)| offset).collect();
    assert_eq!(aside, [1, 2, 5]);
    host.end().await;
}

/// Records that are read again after a reset are in the quarantine once, in the lake and in Postgres.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_quarantined_once_however_often_it_is_read() {
    let values: Vec<String> =
        (0..20).map(|id| if id % 4 == 0 { "{".into() } else { format!(r#"{{"id":{id}}}"#) }).collect();
    let records: Vec<_> = values.iter().map(|value| text(value, 0)).collect();
    let fields = [Field::new("id", DataType::Int64, false)];
    for is_in_postgres in [false, true] {
        let world = world().await;
        world.topic().await;
        world.produce(&records).await;
        let stream = if is_in_postgres {
            stream().json(Schema::new(fields.to_vec())).append_postgres(WAREHOUSE, "mart.readings")
        } else {
            readings()
        };
        let host = world.host(&stream);
        world.until(|row| row.records == 20).await;
        reset(&world, ResetTo::Earliest, false).await;
        let row = world.until(|row| row.records == 40).await;
        assert_eq!(row.failures, 0, "{:?}", row.error);
        host.end().await;
        let aside = if is_in_postgres {
            aside_in_postgres(&world).await.into_iter().map(|(offset, ..)| offset.to_string()).collect()
        } else {
            world.lines("test.readings_quarantine", &["offset"]).await
        };
        assert_eq!(aside.len(), 5, "{aside:?}");
    }
}

/// An existing table may require a column that records may lack.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_lake_cannot_keep_stops_no_other() {
    let world = world().await;
    let strict = TableDef::new().required("id", PrimitiveType::Long).required("city", PrimitiveType::String);
    world.lake().create(&named("test.readings"), &strict).await.unwrap();
    let values = [r#"{"id":1,"city":"Oslo"}"#, r#"{"id":2}"#, r#"{"id":3,"city":null}"#, r#"{"id":4,"city":"Bergen"}"#];
    published(&world, &readings(), &values.map(str::to_owned), 2).await;
    assert_eq!(world.ids().await, [1, 4, 99]);
    let aside = world.lines("test.readings_quarantine", &["offset", "quarantine_reason"]).await;
    assert!(aside.len() == 2 && aside.iter().all(|line| line.contains("`city` is null")), "{aside:?}");
}
