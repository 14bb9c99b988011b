//! Tests every partition transform: all rows are read back, and files that cannot match the filter are pruned.

use crate::world::{definition, world};
use arrow::array::{Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use iceberg::spec::{PrimitiveType, Transform};
use orch_lake::{Filter, TableDef};
use std::sync::Arc;

const HOUR: i64 = 3_600_000_000;

/// Returns one row for each of `hours` hours starting on 1969-12-31, and one row with nulls.
fn events(hours: i64) -> RecordBatch {
    let numbers: Vec<_> = (0..hours).map(Some).chain([None]).collect();
    let times = numbers.iter().map(|hour| hour.map(|hour| (hour - 24) * HOUR));
    let times: TimestampMicrosecondArray = times.collect();
    let names: StringArray = numbers.iter().map(|hour| hour.map(|hour| format!("city-{}", hour % 7))).collect();
    let ids: Vec<_> = (0..=hours).collect();
    RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(ids)) as Arc<dyn Array>),
        ("number", Arc::new(Int64Array::from(numbers.clone()))),
        ("name", Arc::new(names)),
        ("at", Arc::new(times.with_timezone("+00:00"))),
    ])
    .expect("columns of one length")
}

fn definition_of_events() -> TableDef {
    TableDef::new()
        .required("id", PrimitiveType::Long)
        .optional("number", PrimitiveType::Long)
        .optional("name", PrimitiveType::String)
        .optional("at", PrimitiveType::Timestamptz)
}

#[tokio::test]
async fn each_transform_prunes_and_loses_nothing() {
    let day = || Filter::ge("at", "1970-01-02").and(Filter::lt("at", "1970-01-03"));
    let hour = || Filter::ge("at", "1970-01-02T05:00:00Z").and(Filter::lt("at", "1970-01-02T06:00:00Z"));
    let cases = [
        // hours, transform, column, filter, matching rows, matching files, total files
        (1200, Transform::Identity, "name", Filter::eq("name", "city-3"), 171, 1, 8),
        (1200, Transform::Identity, "name", Filter::is_null("name"), 1, 1, 8),
        (1200, Transform::Identity, "name", Filter::is_in("name", ["city-1", "city-2"]), 344, 2, 8),
        (1200, Transform::Year, "at", Filter::lt("at", "1970-01-01"), 24, 1, 3),
        (1200, Transform::Month, "at", Filter::lt("at", "1970-02-01"), 768, 2, 4),
        (1200, Transform::Day, "at", day(), 24, 1, 51),
        (60, Transform::Hour, "at", hour(), 1, 1, 61),
        (1200, Transform::Bucket(4), "number", Filter::eq("number", 77), 1, 1, 5),
        (1200, Transform::Truncate(100), "number", Filter::ge("number", 1100), 100, 1, 13),
        (1200, Transform::Truncate(6), "name", Filter::eq("name", "city-6"), 171, 1, 8),
        (1200, Transform::Void, "name", Filter::eq("name", "city-0"), 172, 1, 1),
    ];
    for (hours, transform, column, filter, rows, files, all) in cases {
        let world = world().await;
        let table = world.table("weather.hourly", definition_of_events().partition(column, transform)).await;
        let change = table.append(events(hours)).await.unwrap();
        assert_eq!(change.add.len(), all, "{transform} of {column}");
        let table = change.commit(&world.lake).await.unwrap().table;
        assert_eq!(table.plan(&filter).await.unwrap().files.len(), files, "{transform}: {filter}");
        assert_eq!(table.scan().filter(filter.clone()).count().await.unwrap(), rows, "{transform}: {filter}");
        let read: usize = table.scan().collect().await.unwrap().iter().map(RecordBatch::num_rows).sum();
        assert_eq!(read as i64, hours + 1, "{transform}");
        // Deleting by the filter removes exactly the matching rows.
        let table = table.delete(filter.clone()).await.unwrap().commit(&world.lake).await.unwrap().table;
        assert_eq!(table.count().await.unwrap(), hours as u64 + 1 - rows, "{transform}: {filter}");
        assert_eq!(table.scan().filter(filter.clone()).count().await.unwrap(), 0, "{transform}: {filter}");
    }
}

#[tokio::test]
async fn a_filter_that_ends_where_partitions_end_takes_them_whole() {
    let world = world().await;
    let table = world.table("weather.hourly", definition_of_events().partition("at", Transform::Month)).await;
    let table = table.append(events(1200)).await.unwrap().commit(&world.lake).await.unwrap().table;
    let january = Filter::ge("at", "1970-01-01").and(Filter::lt("at", "1970-02-01"));
    let change = table.delete(january).await.unwrap();
    assert_eq!((change.remove.len(), change.add.len()), (1, 0), "nothing had to be read or written");
}

#[tokio::test]
async fn a_definition_that_names_an_unknown_column_is_refused() {
    let world = world().await;
    for wrong in
        [definition().partition("city", Transform::Identity), definition().key(["city"]), definition().sorted(["city"])]
    {
        let error = world.lake.create(&"retail.orders".parse().unwrap(), &wrong).await.unwrap_err().to_string();
        assert!(error.starts_with("there is no column `city`\nhint: the columns are `id`"), "{error}");
    }
}
