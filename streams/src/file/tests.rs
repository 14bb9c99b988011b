//! Asserts that stream files become streams, or result in errors that refer to positions in the file.

use super::*;
use arrow::array::{AsArray as _, Int32Array, Int64Array, RecordBatch, StringArray};

fn read(text: &str) -> Result<Stream, String> {
    Stream::read("readings.stream.yaml", text.as_bytes())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

const READINGS: &str = "topic: weather
fields: {city: text, celsius: number, at: timestamp}
columns: {city: upper(city), fahrenheit: celsius * 1.8 + 32, at: at}
where: city <> 'nowhere'
contract:
- not_null: [city, at]
- between: {column: fahrenheit, least: -100, most: 140}
table: weather.readings
key: city
newest_by: at
partition_by: bucket(16, city)
";

#[test]
fn a_file_says_what_rust_would() {
    let stream = read(READINGS).expect("it is right");
    let registered = stream.registered();
    assert_eq!(registered.spec["table"], "weather.readings");
    assert_eq!(registered.spec["write"], "upsert");
    assert_eq!(registered.spec["columns"][1], "fahrenheit = celsius * 1.8 + 32");
    assert_eq!(registered.spec["fields"][1], "celsius number");
    assert_eq!(registered.spec["checks"][2], "fahrenheit is between -100 and 140 (quarantine)");
    let same = read(&format!("# by day\n{READINGS}")).expect("it is right").registered();
    assert_eq!(same.version, registered.version, "a comment makes no version");
    for (what, instead) in [("<> 'nowhere'", "= 'London'"), ("least: -100", "least: 0"), ("bucket(16", "bucket(8")] {
        let other = read(&READINGS.replace(what, instead)).expect("it is right").registered();
        assert_ne!(other.version, registered.version, "{instead}");
    }
}

#[test]
fn rows_get_the_columns_of_the_file_and_keep_their_origin() {
    let stream = read("topic: a\nfields: {n: integer, t: text}\nwhere: n > 1\ncolumns: {t: upper(t)}\ntable: a.b\n");
    let stream = stream.expect("it is right");
    let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
        ("n", Arc::new(Int64Array::from(vec![1, 2]))),
        ("t", Arc::new(StringArray::from(vec!["a", "b"]))),
        (PARTITION, Arc::new(Int32Array::from(vec![0, 0]))),
        (OFFSET, Arc::new(Int64Array::from(vec![7, 8]))),
    ];
    let rows = RecordBatch::try_from_iter(columns).expect("a batch");
    let rows = stream.transform.expect("it has expressions")(rows).expect("they are computed");
    assert_eq!(rows.num_rows(), 1);
    assert_eq!(rows["t"].as_string::<i32>().value(0), "B");
    assert_eq!(rows[OFFSET].as_primitive::<arrow::datatypes::Int64Type>().value(0), 8);
    assert!(rows.column_by_name("n").is_none());
}

#[test]
fn windows_changes_and_captures_have_the_tables_that_they_need() {
    let windows = read(
        "topic: w\nfields: {city: text, at: timestamp, t: number}\ntable: weather.five\n\
        windows: {tumbling: 5m, by: city, at: at, allow_late: 10m, measures: {n: count, mean: average(t)}}\n",
    );
    let windows = windows.expect("it is right").registered().spec;
    assert_eq!((&windows["windows"], &windows["key"][1]), (&"tumbling, 5 min".into(), &"window_start".into()));
    let mirror =
        "topic: shop.orders\nfields: {id: integer, total: 'decimal(10, 2)'}\nchanges: true\nkey: id\ntable: a.b\n";
    assert_eq!(read(mirror).expect("it is right").registered().spec["write"], "mirror");
    let all = read(&mirror.replace("key: id\n", "where: total > 0\n")).expect("it is right").registered().spec;
    assert_eq!((&all["write"], &all["values"]), (&"append".into(), &"changes".into()));
    let capture = read("capture: {database: postgres, connection: shop_db, tables: [public.orders], topics: shop}\n");
    assert!(!capture.expect("it is right").registered().spec["captures"].is_null());
    let copied = "topic: shop.orders\nfields: {id: integer}\nchanges: true\nkey: id\ntable: mirror.orders\n\
                  snapshot_from: {connection: shop_db, table: public.orders}\n";
    assert_eq!(read(copied).expect("it is right").registered().spec["snapshot_from"], "public.orders");
    let checked = format!("{copied}contract: [{{not_null: id}}]\n");
    assert!(read(&checked).expect_err("a copy is not checked").contains("without a transformation and checks"));
    assert!(read("topic: o\nruns: {dag: process_order, most_open: 3}\n").is_ok());
}

/// Asserts that a file whose database row cannot be stored is reported as broken. All files are registered by one
/// statement, so such a row would block the others.
#[test]
fn a_file_whose_row_cannot_be_stored_is_broken() {
    let file = |line: &str| read(&format!("{line}\ntopic: a\nfields: {{n: integer}}\ntable: a.b\n"));
    assert!(file("description: 'a\\0b'").is_ok(), "a backslash and a digit");
    for line in ["description: \"a\\0b\"", "where: \"n > 1 or 'a' = '\\0'\""] {
        let wrong = file(line).expect_err("it has a NUL");
        assert!(wrong.contains("a text has a NUL character"), "{wrong}");
    }
}

#[test]
fn a_topic_has_a_name_that_the_log_and_kafka_take() {
    let named = |topic: &str| read(&format!("topic: \"{topic}\"\nfields: {{n: integer}}\ntable: a.b\n"));
    assert!(named("shop.public-orders_2").is_ok() && named(&"t".repeat(249)).is_ok());
    for topic in ["a b", "a/b", "\\0", "ä", &"t".repeat(250), &"t".repeat(100_000)] {
        let wrong = named(topic).expect_err("no topic has this name");
        assert!(wrong.contains("use up to 249 letters") && wrong.len() < 1_000, "{wrong}");
    }
}

#[test]
fn mistakes_that_no_table_of_keys_finds_are_told() {
    for (what, instead, said) in [
        ("upper(city)", "uper(city)", "`city`: "),
        ("celsius * 1.8 + 32", "sum(celsius)", "sees one row"),
        ("key: city", "key: town", "the rows have no column `town`, which `key` names"),
        (
            "newest_by: at",
            "newest_by: celsius",
            "which `newest_by` names\n  at readings.stream.yaml\nhint: the columns are `city`, `fahrenheit`, `at`",
        ),
        ("bucket(16, city)", "week(at)", "`partition_by` does not know `week(at)`"),
        ("[city, at]", "[city, day]", "the rows have no column `day`, which `contract` names"),
        ("bucket(16, city)", "month(day)", "the rows have no column `day`"),
        ("weather.readings", "readings", "`table`: "),
        ("least: -100, most: 140", "column2: a", "unknown key `column2` in `between`"),
        ("{column: fahrenheit, least: -100, most: 140}", "{column: fahrenheit}", "has no bound"),
    ] {
        let text = READINGS.replace(what, instead);
        assert_ne!(text, READINGS, "{what}");
        let told = read(&text).expect_err(said);
        assert!(told.contains(said), "{told}");
    }
    let told = read("capture: {database: mysql, connection: a, tables: a.b, slot: c}\n").expect_err("no slot");
    assert!(told.contains("`slot` does not belong to this kind of database"), "{told}");
}

#[test]
fn the_examples_of_the_guide_are_right() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guides/stream-files.md"));
    let guide = guide.expect("the guide is there");
    let examples: Vec<&str> = guide.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 6);
    for example in examples {
        if let Err(told) = read(example) {
            panic!("{told}\n{example}");
        }
    }
}
