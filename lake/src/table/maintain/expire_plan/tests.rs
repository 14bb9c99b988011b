//! Tests which snapshots expire by age, number and references.

use std::collections::HashMap;

use chrono::TimeDelta;
use iceberg::TableCreation;
use iceberg::spec::{Operation, PrimitiveType, Schema, Snapshot, Summary, TableMetadataBuilder, Type};

use super::*;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Builds a table from a test notation. A snapshot is `id<parent@day`, with `!` if it contains offsets. A reference
/// is `name=id`, with `~days` for its maximum age. `main` and names that start with `b` are branches, others are
/// tags.
fn table(history: &str, properties: &[(&str, &str)]) -> TableMetadata {
    let column = iceberg::spec::NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long));
    let schema = Schema::builder().with_fields([column.into()]).build().unwrap();
    let properties = properties.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    let creation = TableCreation::builder().name("t".into()).location("memory:/t".into()).schema(schema);
    let creation = creation.properties(properties).build();
    let metadata = TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata;
    let mut written = serde_json::to_value(metadata).unwrap();
    written["last-updated-ms"] = serde_json::json!(1_700_000_000_000_i64);
    let metadata: TableMetadata = serde_json::from_value(written).unwrap();
    let begin = metadata.last_updated_ms();
    let mut builder = metadata.into_builder(None);
    let mut names = Vec::new();
    for (place, word) in history.split_whitespace().enumerate() {
        if let Some((name, to)) = word.split_once('=') {
            let (to, life) = to.split_once('~').map_or((to, None), |(to, days)| (to, Some(days)));
            let max_ref_age_ms = life.map(|days| days.parse::<i64>().unwrap() * DAY_MS);
            let retention = if name == "main" || name.starts_with('b') {
                SnapshotRetention::branch(None, None, max_ref_age_ms)
            } else {
                SnapshotRetention::Tag { max_ref_age_ms }
            };
            let reference = SnapshotReference { snapshot_id: to.parse().unwrap(), retention };
            names.push((name, reference));
            continue;
        }
        let (word, offsets) = word.strip_suffix('!').map_or((word, false), |word| (word, true));
        let (id, rest) = word.split_once('<').unwrap();
        let (parent, day) = rest.split_once('@').unwrap();
        let key = offsets.then(|| ("orch.kafka.rides.offsets".to_string(), "{}".to_string()));
        let snapshot = Snapshot::builder()
            .with_snapshot_id(id.parse().unwrap())
            .with_parent_snapshot_id(parent.parse().ok())
            .with_sequence_number(place as i64 + 1)
            .with_timestamp_ms(begin + day.parse::<i64>().unwrap() * DAY_MS)
            .with_manifest_list(format!("memory:/t/{id}"))
            .with_summary(Summary { operation: Operation::Append, additional_properties: HashMap::from_iter(key) })
            .with_schema_id(0)
            .build();
        builder = builder.add_snapshot(snapshot).unwrap();
    }
    let builder = builder.build().unwrap().metadata.into_builder(None);
    let named = names.into_iter().fold(builder, |builder, (name, to)| builder.set_ref(name, to).unwrap());
    named.build().unwrap().metadata
}

/// Asserts which snapshots expire on day 10.
fn check_with(properties: &[(&str, &str)], history: &str, asked: &str, expected: &str) {
    let metadata = table(history, properties);
    let begin = DateTime::from_timestamp_millis(metadata.snapshots().map(|s| s.timestamp_ms()).min().unwrap()).unwrap();
    let day = |day: i64| begin + TimeDelta::days(day - 1);
    let mut expiry = Expiry::new();
    for word in asked.split_whitespace() {
        expiry = match word.split_once('=').unwrap() {
            ("keep", count) => expiry.keep_last(count.parse().unwrap()),
            (_, older) => expiry.older_than(day(older.parse().unwrap())),
        };
    }
    let found = match plan(&metadata, &expiry, day(10)) {
        Ok(plan) => plan.snapshots.iter().map(ToString::to_string).chain(plan.refs).collect::<Vec<_>>().join(" "),
        Err(error) => error.to_string().lines().next().unwrap().to_owned(),
    };
    assert_eq!(found, expected, "{history} | {asked}");
}

#[test]
fn old_snapshots_go_and_named_ones_stay() {
    let check = |history: &str, asked: &str, expected: &str| check_with(&[], history, asked, expected);
    let three = "1<-@1 2<1@4 3<2@9 main=3";
    check(three, "", "1 2");
    check(three, "older=3", "1");
    check(three, "older=10", "1 2");
    check(three, "older=10 keep=2", "1");
    check(three, "older=10 keep=9", "");
    check(three, "older=1", "");
    check(three, "keep=0", "no snapshot would be kept");
    check(&format!("{three} tag=1"), "older=10", "2");
    check(&format!("{three} tag=1~3"), "older=10", "1 2 tag");
    check(&format!("{three} tag=1~30"), "older=10", "2");
    // A branch keeps its head and its young snapshots.
    check("1<-@1 2<1@4 3<1@9 4<3@9 main=2 branch=4", "older=10", "1 3");
    check("1<-@1 2<1@4 3<1@9 4<3@9 main=2 branch=4", "older=9", "1");
    // Snapshots without a reference, after a rollback, expire by age.
    check("1<-@1 2<1@4 3<1@9 main=1", "older=9", "2");
    check_with(
        &[("gc.enabled", "false")],
        three,
        "older=10",
        "snapshots of this table must not expire: its property `gc.enabled` is false",
    );
    let properties =
        [("history.expire.max-snapshot-age-ms", "172800000"), ("history.expire.min-snapshots-to-keep", "2")];
    check_with(&properties, "1<-@1 2<1@4 3<2@6 main=3", "", "1");
}

#[test]
fn the_newest_snapshot_that_says_how_far_a_source_was_read_stays() {
    let check = |history: &str, expected: &str| check_with(&[], history, "older=10", expected);
    check("1<-@1! 2<1@2! 3<2@3 4<3@4 main=4", "1 3");
    check("1<-@1! 2<1@2! 3<2@3! main=3", "1 2");
    // Each branch keeps its newest snapshot with offsets, because branches are read and written separately.
    check("1<-@1! 2<1@2 3<1@3! main=2 branch=3", "");
}
