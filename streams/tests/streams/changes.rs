//! Recorded events of Debezium in five of its configurations: the tables must end equal to the source tables.

use crate::world::{COMMIT, WAREHOUSE, World, named, world};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use flate2::read::GzDecoder;
use iceberg::spec::PrimitiveType;
use orch_lake::TableDef;
use orch_lake::contract::{Contract, Policy};
use orch_store::topic::{NewRecord, ensure_topic};
use orch_streams::{Changes, LSN, OP, Stream};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};

fn recorded(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/data/{name}.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
    let lines = BufReader::new(GzDecoder::new(std::fs::File::open(path).unwrap())).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

fn events(variant: &str, table: &str) -> Vec<NewRecord> {
    events_of("postgres", variant, table)
}

fn events_of(source: &str, variant: &str, table: &str) -> Vec<NewRecord> {
    let text = |value: &Value| (!value.is_null()).then(|| value.to_string().into_bytes());
    let topic = format!("{variant}.shop.{table}");
    let events = recorded(&format!("debezium_{source}_{variant}"));
    let events = events.into_iter().filter(|event| event["topic"] == topic.as_str());
    let record = |event: Value| NewRecord {
        key: text(&event["key"]),
        value: text(&event["value"]),
        partition: Some(0),
        headers: event["headers"].as_object().unwrap().clone(),
    };
    events.map(record).collect()
}

const MICROS: TimeUnit = TimeUnit::Microsecond;

/// Columns with the same values in every configuration. `iv`, `tz` and `p` have a different text in each.
fn columns(table: &str) -> Vec<(&'static str, DataType, PrimitiveType)> {
    let long = |name| (name, DataType::Int64, PrimitiveType::Long);
    let text = |name| (name, DataType::Utf8, PrimitiveType::String);
    let decimal = |name, precision: u8, scale: i8| {
        let kept = PrimitiveType::Decimal { precision: precision.into(), scale: scale.unsigned_abs().into() };
        (name, DataType::Decimal128(precision, scale), kept)
    };
    match table {
        "trips" => vec![
            long("id"),
            ("vendor", DataType::Int32, PrimitiveType::Int),
            decimal("fare", 10, 2),
            decimal("tip", 28, 9),
            ("dist", DataType::Float64, PrimitiveType::Double),
            ("r", DataType::Float32, PrimitiveType::Float),
            ("picked", DataType::Timestamp(MICROS, Some("+00:00".into())), PrimitiveType::Timestamptz),
            ("dropped", DataType::Timestamp(MICROS, None), PrimitiveType::Timestamp),
            ("d", DataType::Date32, PrimitiveType::Date),
            ("t", DataType::Time64(MICROS), PrimitiveType::Time),
            text("note"),
            text("big"),
            text("doc"),
            ("ok", DataType::Boolean, PrimitiveType::Boolean),
            text("u"),
            ("b", DataType::Binary, PrimitiveType::Binary),
            text("tags"),
            text("names"),
            text("m"),
            text("c"),
            text("ip"),
            decimal("mo", 20, 2),
            text("rng"),
        ],
        "composite" => vec![long("a"), text("b"), text("extra")],
        "late" => vec![long("id"), text("w")],
        "fresh" => vec![long("id"), text("v")],
        "full_id" => vec![long("id"), text("a"), text("big")],
        other => panic!("no columns of `{other}`"),
    }
}

fn key(table: &str) -> &'static [&'static str] {
    if table == "composite" { &["a", "b"] } else { &["id"] }
}

fn changes(variant: &str, table: &str) -> Changes {
    let fields = columns(table).into_iter().map(|(name, data, _)| Field::new(name, data, true));
    let changes = Changes::of(Schema::new(fields.collect::<Vec<_>>())).ignore_unknown_columns();
    match variant {
        "plain" => changes.decimals_as_bytes(),
        "double" => changes.times_in_milliseconds(),
        _ => changes,
    }
}

fn mirror(variant: &str, table: &str) -> Stream {
    let definition = columns(table).into_iter().fold(TableDef::new(), |definition, (name, _, kept)| {
        if key(table).contains(&name) { definition.required(name, kept) } else { definition.optional(name, kept) }
    });
    Stream::new("readings").topic("readings").commit_every(COMMIT).changes(changes(variant, table)).mirror(
        named("test.mirror"),
        definition,
        key(table),
    )
}

/// Rows by key. Two texts of a column are equal exactly if their values are.
type State = BTreeMap<String, BTreeMap<&'static str, String>>;

async fn found(world: &World, table: &str) -> State {
    let names: Vec<&str> = columns(table).into_iter().map(|(name, ..)| name).collect();
    let mut state = State::new();
    for name in names {
        let of_keys: Vec<&str> = key(table).iter().copied().chain([name]).collect();
        for line in world.lines("test.mirror", &of_keys).await {
            let (key, value) = split(&line, key(table).len());
            let is_json = matches!(name, "doc" | "tags" | "names") && value != "-";
            let value = match value {
                json if is_json => serde_json::from_str::<Value>(json).unwrap().to_string(),
                "NaN" | "inf" | "-inf" => value.to_owned(),
                number if matches!(name, "fare" | "tip" | "dist" | "r" | "mo") && number != "-" => float(number),
                other => other.to_owned(),
            };
            state.entry(key.to_owned()).or_default().insert(name, value);
        }
    }
    state
}

/// Splits a line at its nth blank, where n is `blanks`.
fn split(line: &str, blanks: usize) -> (&str, &str) {
    let (at, _) = line.match_indices(' ').nth(blanks - 1).unwrap();
    (&line[..at], &line[at + 1..])
}

fn float(text: &str) -> String {
    text.parse::<f64>().unwrap().to_string()
}

fn wanted(table: &str) -> State {
    let rows = recorded("debezium_postgres_final").into_iter().filter(|row| row["table"] == table);
    let of_row = |row: Value| {
        let row = &row["row"];
        let key: Vec<String> = key(table).iter().map(|name| plain(name, &row[*name])).collect();
        let cells = columns(table).into_iter().map(|(name, ..)| (name, plain(name, &row[name]))).collect();
        (key.join(" "), cells)
    };
    rows.map(of_row).collect()
}

fn plain(column: &str, value: &Value) -> String {
    match (column, value) {
        (_, Value::Null) => "-".into(),
        // The calendar of the table has no infinite dates, and decimals have no NaN.
        ("picked" | "dropped" | "d", Value::String(text)) if text.ends_with("infinity") => "-".into(),
        ("tip", Value::String(text)) if text == "NaN" => "-".into(),
        ("picked", Value::String(text)) if text.ends_with("BC") => "-0043-03-15T00:00:00Z".into(),
        ("d", Value::String(text)) if text.ends_with("BC") => "-0043-03-15".into(),
        ("picked", Value::String(text)) => text.replace("+00:00", "Z"),
        ("mo", Value::String(text)) => float(text.trim_start_matches('$')),
        ("b", Value::String(text)) => text.trim_start_matches("\\x").into(),
        (_, Value::String(text)) if text == "Infinity" => "inf".into(),
        (_, Value::String(text)) if text == "-Infinity" => "-inf".into(),
        (_, Value::String(text)) => text.clone(),
        ("fare" | "tip" | "dist" | "r" | "mo", number) => float(&number.to_string()),
        (_, other) => other.to_string(),
    }
}

/// Removes what a configuration loses at the source, which no reader can recover.
fn lose(variant: &str, table: &str, state: &mut State) {
    match (variant, table) {
        // Precision below milliseconds.
        ("double", "trips") => {
            for row in state.values_mut() {
                for column in ["dropped", "t"] {
                    if let Some(value) = row.get_mut(column)
                        && let Some(point) = value.find('.')
                    {
                        value.truncate(point + 4);
                    }
                }
            }
        }
        // The column was renamed after these rows were recorded, and only the incremental snapshot repeats them.
        ("plain" | "schema" | "double" | "flat", "late") => {
            for id in ["1", "2", "3", "4", "5", "9000000000"] {
                state.get_mut(id).unwrap().insert("w", "-".into());
            }
        }
        _ => {}
    }
}

#[track_caller]
fn assert_same(found: &State, wanted: &State, when: &str) {
    let keys = |state: &State| state.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(found), keys(wanted), "{when}");
    for (key, row) in wanted {
        for (column, value) in row {
            assert_eq!(found[key].get(column), Some(value), "{when}: `{column}` of {key}");
        }
    }
}

async fn comes_to_the_end(variant: &str, table: &str) {
    let (events, mut wanted) = (events(variant, table), wanted(table));
    lose(variant, table, &mut wanted);
    let all = i64::try_from(events.len()).unwrap();
    let world = world().await;
    ensure_topic(&mut world.db().await, "readings", 1).await.unwrap();
    let stream = mirror(variant, table);
    // First all events together, then the second half again, as after a restart of Debezium, with one record per
    // commit.
    world.produce(&events).await;
    let host = world.host(&stream);
    let row = world.until(|row| row.records == all).await;
    assert_eq!(
        row.quarantined,
        0,
        "{variant} {table}: {:?}",
        world.lines("test.mirror_quarantine", &["quarantine_reason"]).await
    );
    assert_same(&found(&world, table).await, &wanted, &format!("{variant} {table}"));
    let again = &events[events.len() / 2..];
    for (event, so_far) in again.iter().zip(all + 1..) {
        world.produce(std::slice::from_ref(event)).await;
        world.until(|row| row.records == so_far).await;
    }
    assert_same(&found(&world, table).await, &wanted, &format!("{variant} {table}, told again, one by one"));
    host.end().await;
}

async fn all_come_to_the_end(variant: &str) {
    for table in ["trips", "composite", "late", "fresh", "full_id"] {
        comes_to_the_end(variant, table).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_mirrored_as_debezium_tells_them_by_default() {
    all_come_to_the_end("plain").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_mirrored_when_records_carry_their_schema() {
    all_come_to_the_end("schema").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_mirrored_when_decimals_and_times_are_text() {
    all_come_to_the_end("tuned").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_mirrored_when_decimals_are_numbers_and_times_are_milliseconds() {
    all_come_to_the_end("double").await;
}

/// One commit removes the row with the old key, and a later commit adds the row with the new key.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_another_key_keeps_what_the_source_does_not_tell() {
    let events = events("plain", "trips");
    let world = world().await;
    ensure_topic(&mut world.db().await, "readings", 1).await.unwrap();
    let host = world.host(&mirror("plain", "trips"));
    for (event, so_far) in events.iter().zip(1..) {
        world.produce(std::slice::from_ref(event)).await;
        world.until(|row| row.records == so_far).await;
    }
    assert_same(&found(&world, "trips").await, &wanted("trips"), "one by one");
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flattened_changes_are_mirrored_but_for_truncate() {
    for table in ["trips", "composite"] {
        let (events, wanted) = (events("flat", table), wanted(table));
        let world = world().await;
        ensure_topic(&mut world.db().await, "readings", 1).await.unwrap();
        world.produce(&events).await;
        let host = world.host(&mirror("flat", table));
        let row = world.until(|row| row.records == i64::try_from(events.len()).unwrap()).await;
        assert_eq!(row.quarantined, 0, "{:?}", row.error);
        let (found, more) = found(&world, table).await.into_iter().partition(|(key, _)| wanted.contains_key(key));
        assert_same(&found, &wanted, table);
        // `ExtractNewRecordState` drops TRUNCATE, so the rows from before it stay.
        let more: Vec<String> = State::into_keys(more).collect();
        let left = [
            "1 zz",
            "100 m",
            "101 m",
            "102 m",
            "103 m",
            "104 m",
            "7 first-started",
            "8 second-started-commits-first",
            "9 first-started",
        ];
        assert_eq!(more, if table == "composite" { &left[..] } else { &[] });
        host.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_postgres_is_mirrored_as_well() {
    for (table, select, lines) in [
        (
            "trips",
            "select id || ' ' || coalesce(note, '-') || ' ' || coalesce(length(big), 0) from mart.mirror order by id",
            &["1 reborn 0", "10 ins 0", "11 - 0", "12 - 0", "13 - 0", "60 - 0", "62 - 0", "1000 snap é 日本 9000"][..],
        ),
        (
            "composite",
            "select a || ' ' || b || ' ' || extra from mart.mirror order by a",
            &["1 a dflt", "2 b given", "3 c dflt"],
        ),
        ("full_id", "select id::text from mart.mirror", &[]),
    ] {
        let events = events("tuned", table);
        let world = world().await;
        ensure_topic(&mut world.db().await, "readings", 1).await.unwrap();
        let stream = mirror("tuned", table).mirror_postgres(WAREHOUSE, "mart.mirror", key(table));
        world.produce(&events).await;
        let host = world.host(&stream);
        let all = i64::try_from(events.len()).unwrap();
        world.until(|row| row.records == all).await;
        let rows = async || sqlx::query_scalar::<_, String>(select).fetch_all(&mut world.db().await).await.unwrap();
        assert_eq!(rows().await, lines, "{table}");
        // The second half again. A value that is missing from the event is left as it is.
        let again = &events[events.len() / 2..];
        world.produce(again).await;
        world.until(|row| row.records == all + i64::try_from(again.len()).unwrap()).await;
        assert_eq!(rows().await, lines, "{table}, told again");
        host.end().await;
    }
}

fn trail() -> Stream {
    let row = Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("city", DataType::Utf8, true)]);
    let table = [
        ("id", PrimitiveType::Long),
        ("city", PrimitiveType::String),
        (OP, PrimitiveType::String),
        (LSN, PrimitiveType::Long),
    ];
    let table = table.into_iter().fold(TableDef::new(), |table, (name, data)| table.optional(name, data));
    let known = Contract::of("lake://test/trail").not_null(["city"]).or(Policy::Quarantine);
    let changes = Changes::of(row);
    Stream::new("readings")
        .topic("readings")
        .partitions(2)
        .commit_every(COMMIT)
        .changes(changes)
        .contract(known)
        .append(named("test.trail"), table)
}

fn change(partition: i16, key: &str, value: &str) -> NewRecord {
    let value = (!value.is_empty()).then(|| value.into());
    NewRecord { key: Some(key.into()), value, partition: Some(partition), ..NewRecord::default() }
}

/// Each change becomes a row; checks apply to rows that the source has.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_a_row_each_and_what_is_no_change_is_put_aside() {
    let world = world().await;
    world.topic().await;
    let key = r#"{"id":1}"#;
    let records = [
        change(0, key, r#"{"op":"r","after":{"id":1,"city":"Oslo"},"source":{"lsn":7}}"#),
        change(0, key, r#"{"op":"u","after":{"id":1,"city":"Rome"},"source":{"lsn":9}}"#),
        change(0, key, r#"{"op":"d","before":null,"source":{"lsn":8}}"#),
        change(0, key, ""),
        change(1, "", r#"{"op":"t"}"#),
        change(1, key, r#"{"op":"c","after":{"id":2}}"#),
        change(1, key, r#"{"op":"c","after":{"id":2,"city":"Bonn","more":1}}"#),
        change(1, key, r#"{"op":"c","after":{"id":"two","city":"Bonn"}}"#),
        change(1, key, r#"{"op":"c"}"#),
        change(1, key, r#"{"op":"m","message":{}}"#),
        change(1, key, r#"{"id":1,"city":"Oslo"}"#),
        change(1, "no JSON", r#"{"op":"d"}"#),
        change(1, key, "\0"),
    ];
    world.produce(&records).await;
    let host = world.host(&trail());
    let row = world.until(|row| row.records == 13).await;
    assert_eq!((row.quarantined, row.failures), (8, 0), "{:?}", row.error);
    assert_eq!(
        world.lines("test.trail", &[OP, "id", "city", LSN]).await,
        ["d 1 - 8", "r 1 Oslo 7", "t - - -", "u 1 Rome 9"]
    );
    let reasons = world.lines("test.trail_quarantine", &["quarantine_reason"]).await.join("\n");
    for reason in [
        "city",
        "`more` is not one of",
        "\"two\", which is no integer",
        "it has no `after`",
        "`m`",
        "neither `op` nor",
        "its key is no JSON",
    ] {
        assert!(reasons.contains(reason), "{reason}: {reasons}");
    }
    host.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncate_is_put_aside_where_rows_are_in_several_partitions() {
    let world = world().await;
    world.topic().await;
    let row = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
    let stream = trail().changes(Changes::of(row)).contract(Contract::of("lake://test/mirror")).mirror(
        named("test.mirror"),
        TableDef::new().required("id", PrimitiveType::Long),
        &["id"],
    );
    let insert =
        |id: i64| change(i16::try_from(id % 2).unwrap(), "", &format!(r#"{{"op":"c","after":{{"id":{id}}}}}"#));
    world
        .produce(&[
            insert(1),
            insert(2),
            change(0, "", r#"{"op":"t"}"#),
            change(0, r#"{"id":2}"#, r#"{"op":"d"}"#),
            change(0, "{}", r#"{"op":"d"}"#),
        ])
        .await;
    let host = world.host(&stream);
    let row = world.until(|row| row.records == 5).await;
    assert_eq!((row.quarantined, row.failures), (2, 0), "{:?}", row.error);
    assert_eq!(world.lines("test.mirror", &["id"]).await, ["1"]);
    let reasons = world.lines("test.mirror_quarantine", &["quarantine_reason"]).await;
    assert!(reasons[0].contains("id is null") && reasons[1].contains("give the topic one partition"), "{reasons:?}");
    host.end().await;
}

/// Written manually from the statements that the connector received. An added, dropped or renamed column appears with
/// the next change of a row, so `xtra` of row `1 a` is unknown. Without a special setting the connector sends
/// 18446744073709551615 as -1.
#[tokio::test(flavor = "multi_thread")]
async fn tables_of_mariadb_are_mirrored() {
    let orders = ["1000 7 99.99 2025-03-30 ins -1", "11 21 - - - -", "12 2 - - - -"];
    let composite = ["1 a -", "100 zz -", "101 m -", "102 m -", "103 m -", "104 m -", "2 b r"];
    let later = ["1 late1", "2 late2", "3 late3", "4 late4", "5 late5", "8 after rename", "9000000000 big"];
    let cases: [(&str, &str, &[&str], &[&str]); 5] = [
        ("plain", "orders", &["id", "cust", "total", "d", "txt", "ub"], &orders),
        ("schema", "orders", &["id", "cust", "total", "d", "txt", "ub"], &orders),
        ("plain", "composite", &["a", "b", "xtra"], &composite),
        ("tuned", "composite", &["a", "b", "xtra"], &composite),
        ("tuned", "later", &["id", "v"], &later),
    ];
    for (variant, table, columns, wanted) in cases {
        let typed = columns.iter().map(|name| match *name {
            "id" | "a" | "ub" => (*name, DataType::Int64, PrimitiveType::Long),
            "cust" => (*name, DataType::Int32, PrimitiveType::Int),
            "total" => (*name, DataType::Decimal128(10, 2), PrimitiveType::Decimal { precision: 10, scale: 2 }),
            "d" => (*name, DataType::Date32, PrimitiveType::Date),
            _ => (*name, DataType::Utf8, PrimitiveType::String),
        });
        let typed: Vec<_> = typed.collect();
        let fields = typed.iter().map(|(name, data, _)| Field::new(*name, data.clone(), true)).collect::<Vec<_>>();
        let table_of = typed.into_iter().fold(TableDef::new(), |table, (name, _, kept)| table.optional(name, kept));
        let changes = Changes::of(Schema::new(fields)).ignore_unknown_columns();
        let changes = if variant == "plain" { changes.decimals_as_bytes() } else { changes };
        let events = events_of("mariadb", variant, table);
        let world = world().await;
        ensure_topic(&mut world.db().await, "readings", 1).await.unwrap();
        world.produce(&events).await;
        let stream = mirror("plain", "trips").changes(changes).mirror(named("test.mirror"), table_of, key(table));
        let host = world.host(&stream);
        let row = world.until(|row| row.records == i64::try_from(events.len()).unwrap()).await;
        assert_eq!(row.quarantined, 0, "{:?}", world.lines("test.mirror_quarantine", &["quarantine_reason"]).await);
        assert_eq!(world.lines("test.mirror", columns).await, wanted, "{variant} {table}");
        host.end().await;
    }
}
