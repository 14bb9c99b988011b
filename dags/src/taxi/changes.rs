//! The taxi database, change by change: topics `lakehouse.*` → `taxi_cdc.trips_cdc`, which has all that was ever done to a trip, and
//! `taxi_cdc.trips`, `payment_types` and `vendors`, which have the rows that the database has.

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use iceberg::spec::{PrimitiveType, Transform};
use orch::prelude::*;
use orch_lake::{TableDef, TableName};
use orch_streams::{
    Changes, EVENT_TS, LSN, OFFSET, OP, PARTITION, SOURCE_DB, SOURCE_TABLE, SOURCE_TS_MS, Stream, TX_ID,
};
use std::sync::Arc;

pub const TRIPS_TOPIC: &str = "lakehouse.trips";
pub const PAYMENT_TYPES_TOPIC: &str = "lakehouse.payment_types";
pub const VENDORS_TOPIC: &str = "lakehouse.vendors";
/// The changes of a trip are all in one of these.
pub const TRIPS_PARTITIONS: i32 = 3;

/// What the trail says of a change, and where that comes from.
const TRAIL: [(&str, &str, PrimitiveType); 7] = [
    ("op", OP, PrimitiveType::String),
    ("source_ts_ms", SOURCE_TS_MS, PrimitiveType::Long),
    ("lsn", LSN, PrimitiveType::Long),
    ("tx_id", TX_ID, PrimitiveType::Long),
    ("kafka_partition", PARTITION, PrimitiveType::Int),
    ("kafka_offset", OFFSET, PrimitiveType::Long),
    ("event_ts", EVENT_TS, PrimitiveType::Timestamptz),
];

pub fn streams() -> Vec<Stream> {
    let of = |name: &str, text: &str, topic: &str, row: Schema| {
        Stream::new(name).describe(text).topic(topic).changes(Changes::of(row)).commit_every(secs(5))
    };
    let trail = of("taxi_trips_cdc", "All that was ever done to a trip", TRIPS_TOPIC, trip())
        .partitions(TRIPS_PARTITIONS)
        .transform(|changes| trail(&changes))
        .append(named("trips_cdc"), trail_table());
    let trips = of("taxi_trips", "The trips that the database has", TRIPS_TOPIC, trip())
        .partitions(TRIPS_PARTITIONS)
        .mirror(named("trips"), trips_table(), &["id"]);
    let payment_types =
        of("taxi_payment_types", "The ways to pay that the database has", PAYMENT_TYPES_TOPIC, lookup()).mirror(
            named("payment_types"),
            mirror(&lookup()),
            &["id"],
        );
    let vendors = of("taxi_vendors", "The vendors that the database has", VENDORS_TOPIC, lookup()).mirror(
        named("vendors"),
        mirror(&lookup()),
        &["id"],
    );
    vec![trail, trips, payment_types, vendors]
}

fn named(table: &str) -> TableName {
    TableName::new("taxi_cdc", table).expect("it is a name")
}

/// A row of `taxi.trips`. Amounts are doubles, as in the tables of trips that come from files.
fn trip() -> Schema {
    let long = |name: &str| Field::new(name, DataType::Int32, true);
    let number = |name: &str| Field::new(name, DataType::Float64, true);
    let time = |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, None), true);
    Schema::new(vec![
        long("id"),
        long("vendor_id"),
        time("pickup_datetime"),
        time("dropoff_datetime"),
        long("passenger_count"),
        number("trip_distance"),
        number("pickup_longitude"),
        number("pickup_latitude"),
        number("dropoff_longitude"),
        number("dropoff_latitude"),
        long("payment_type"),
        number("fare_amount"),
        number("extra"),
        number("mta_tax"),
        number("tip_amount"),
        number("tolls_amount"),
        number("total_amount"),
        time("created_at"),
        time("updated_at"),
    ])
}

/// A row of `taxi.payment_types` or `taxi.vendors`.
fn lookup() -> Schema {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Schema::new(vec![Field::new("id", DataType::Int32, true), text("name"), text("description")])
}

/// The row, and which change it is from.
fn mirror(row: &Schema) -> TableDef {
    let table = TableDef::of(row).expect("the lake has these types").key(["id"]);
    [
        (OP, PrimitiveType::String),
        (SOURCE_TS_MS, PrimitiveType::Long),
        (SOURCE_DB, PrimitiveType::String),
        (SOURCE_TABLE, PrimitiveType::String),
    ]
    .into_iter()
    .fold(table, |table, (name, data)| table.optional(name, data))
}

fn trips_table() -> TableDef {
    mirror(&trip()).partition("pickup_datetime", Transform::Day).history(
        "select op, event_ts, tx_id, pickup_datetime, dropoff_datetime, passenger_count, trip_distance, payment_type, fare_amount, tip_amount, \
         total_amount, updated_at from taxi_cdc.trips_cdc where id = {id} order by kafka_offset",
    )
}

fn trail_table() -> TableDef {
    let table = TableDef::of(&trip()).expect("the lake has these types").optional("kafka_topic", PrimitiveType::String);
    TRAIL
        .into_iter()
        .fold(table, |table, (name, _, data)| table.optional(name, data))
        .partition("event_ts", Transform::Hour)
        .chart("select date_trunc('hour', event_ts) as hour, count(*) as changes from taxi_cdc.trips_cdc group by 1 order by 1")
}

/// What is said of a change, under the names that the trail has for it.
fn trail(changes: &RecordBatch) -> TaskResult<RecordBatch> {
    let topic: ArrayRef = Arc::new(StringArray::from(vec![TRIPS_TOPIC; changes.num_rows()]));
    let mut columns = vec![("kafka_topic".to_owned(), topic, true)];
    for (name, of, _) in TRAIL {
        let column = changes.column_by_name(of).with_context(|| format!("column {of}"))?;
        columns.push((name.to_owned(), column.clone(), true));
    }
    for (field, column) in changes.schema().fields().iter().zip(changes.columns()) {
        columns.push((field.name().clone(), column.clone(), true));
    }
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}
