//! Tests of stream files: accepted content, and the messages for mistakes.

use super::*;

const READINGS: &str = "topic: weather
partitions: 3
fields:
  station: {id: integer, name: text}
  city: text
  at: timestamp
  temps: [number]
  price: decimal(10, 2)
columns:
  city: upper(city)
  at: at
  warmest: temps[1]
where: city is not null
contract:
  - not_null: [city, at]
  - between: {column: warmest, least: -90, most: 60}
  - {fresh: {column: at, within: 2h}, or: warn}
table: weather.readings
key: city
newest_by: at
partition_by: [day(at), bucket(16, city)]
commit_every: 10s
";

fn read(text: &str) -> Result<StreamFile, String> {
    StreamFile::read("folder/readings.stream.yaml", text.as_bytes())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_stream_is_read_from_a_file_in_its_order() {
    let stream = read(READINGS).expect("it is right");
    assert_eq!((stream.name.as_str(), stream.topic.as_str(), stream.partitions), ("readings", "weather", Some(3)));
    let fields: Vec<&str> = stream.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(fields, ["station", "city", "at", "temps", "price"]);
    assert_eq!(
        stream.fields[0].1,
        FieldType::Object(vec![("id".into(), FieldType::Integer), ("name".into(), FieldType::Text)])
    );
    assert_eq!(stream.fields[3].1, FieldType::List(Box::new(FieldType::Number)));
    assert_eq!(stream.fields[4].1, FieldType::Decimal(10, 2));
    assert_eq!(stream.columns[2], ("warmest".into(), "temps[1]".into()));
    assert_eq!(stream.contract[2].fresh.as_ref().and_then(|fresh| fresh.within), Some(Duration::from_hours(2)));
    assert_eq!(stream.partition_by, ["day(at)", "bucket(16, city)"], "a comma within brackets splits nothing");
    assert_eq!((stream.key.as_slice(), stream.commit_every), (&["city".to_owned()][..], Some(Duration::from_secs(10))));
}

#[test]
fn windows_runs_and_captures_are_said_in_a_few_lines() {
    let windows = "topic: w\nfields: {city: text, at: timestamp, t: number}\npostgres: {connection: db, table: w5}\n\
        windows: {hopping: {size: 10m, every: 5m}, by: city, at: at, measures: {n: count, mean: average(t)}}\n";
    let windows = read(windows).expect("it is right").windows.expect("it has windows");
    assert_eq!(windows.measures, [("n".into(), Measure::Count), ("mean".into(), Measure::Average("t".into()))]);
    assert_eq!(windows.hopping.and_then(|hopping| hopping.every), Some(Duration::from_mins(5)));
    let runs = read("topic: orders\nruns: {dag: process_order, per: key}\n").expect("it is right");
    assert_eq!(runs.runs.map(|runs| runs.per), Some(Per::Key));
    let capture = "capture: {database: mysql, connection: shop, tables: shop.orders, leave_out: {shop.orders: note}}\n";
    let capture = read(capture).expect("it is right").capture.expect("it captures");
    assert_eq!(capture.leave_out["shop.orders"], OneOrMore(vec!["note".into()]));
    let changes = "topic: a.b\nfields: {id: integer}\nchanges: true\nkey: id\ntable: a.b\n";
    assert_eq!(read(changes).expect("it is right").changes, Some(Changes::default()));
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (text, said) in [
        (
            READINGS.replace("decimal(10, 2)", "money"),
            "field `price` has the unknown type `money`\n  at folder/readings.stream.yaml:8:10",
        ),
        (
            READINGS.replace("where:", "filter:"),
            "unknown key `filter` in a stream\n  at folder/readings.stream.yaml:13:1\nhint: here it is called `where`",
        ),
        (READINGS.replace("table: weather.readings\n", ""), "a stream needs one of `table`, `postgres` and `runs`"),
        (READINGS.replace("key: city\n", ""), "`newest_by` needs a table with one row for each key"),
        (READINGS.replace("or: warn", "or: quarantine"), "`fresh` cannot quarantine single rows"),
        (READINGS.replace("not_null: [city, at]", "or: fail"), "a check needs exactly one rule"),
        (READINGS.replace("topic: weather", "name: a b"), "`a b` is not a name for a stream"),
        (READINGS.replace("topic: weather\n", ""), "a stream needs a `topic`"),
        (
            format!("{READINGS}runs: {{dag: a}}\n"),
            "the stream has both `table` and `runs`\n  at folder/readings.stream.yaml:23:7\nhint: keep one of them",
        ),
        (
            "topic: a\nruns: {dag: b}\nkey: c\n".into(),
            "`key` is not allowed in a stream with `runs`\n  at folder/readings.stream.yaml:3:1",
        ),
        (
            "topic: a\ncapture: {database: postgres, connection: b, tables: c}\n".into(),
            "`topic` is not allowed in a stream with `capture`",
        ),
        (
            "topic: a\nfields: {n: integer}\npostgres: {connection: b, table: c}\npartition_by: n\n".into(),
            "`partition_by` is not allowed in a stream with `postgres`",
        ),
        (
            "topic: a\nfields: {t: timestamp}\ntable: b.c\nwindows: {at: t, measures: {n: counted}}\n".into(),
            "`n` has the unknown measure `counted`",
        ),
        (
            "topic: a\nfields: {n: integer}\nchanges: true\nkey: n\ntable: b.c\nwhere: n > 1\n".into(),
            "a mirror has the rows of its source as they are\n  at folder/readings.stream.yaml:6:8",
        ),
        ("topic: a\n---\ntopic: b\n".into(), "2 documents"),
        (String::new(), "0 documents"),
        ("topic: [".into(), "it is not YAML"),
    ] {
        let told = read(&text).expect_err(said);
        assert!(told.contains(said), "{told}\n{text}");
    }
}

#[test]
fn only_certain_names_are_files_of_streams() {
    assert!(is_stream_file("a.stream.yaml") && is_stream_file("b/a.stream.json"));
    assert!(!["stream.yaml", ".stream.yaml", "a.yaml", "a.stream.txt"].into_iter().any(is_stream_file));
}

#[test]
fn the_guide_names_each_key_as_the_table_does() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guides/stream-files.md"));
    let guide = guide.expect("the guide is there");
    for (name, about) in crate::file::stream_keys() {
        assert!(guide.contains(&format!("\n| `{name}` | {about} |\n")), "{name}");
    }
}
