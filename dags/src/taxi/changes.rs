//! Change data capture of the taxi database: topics `lakehouse.*` → `taxi_cdc.trips_cdc`, which has every change of a
//! trip, and `taxi_cdc.trips`, `payment_types` and `vendors`, which mirror the current rows of the database.

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use iceberg::spec::{PrimitiveType, Transform};
use orch::prelude::*;
use orch_lake::table::spec::{Column, Timestamp};
use orch_lake::{TableDef, TableName, columns};
use orch_streams::{
    Changes, EVENT_TS, LSN, OFFSET, OP, PARTITION, SOURCE_DB, SOURCE_TABLE, SOURCE_TS_MS, Stream, TX_ID,
};
use std::sync::Arc;

pub const TRIPS_TOPIC: &str = "lakehouse.trips";
/// All changes of one trip are in the same partition.
pub const TRIPS_PARTITIONS: i32 = 3;

const TRIP: &[Column] = columns! {
    id: Option<i32>, vendor_id: Option<i32>, pickup_datetime: Option<Timestamp>, dropoff_datetime: Option<Timestamp>,
    passenger_count: Option<i32>, trip_distance: Option<f64>, pickup_longitude: Option<f64>,
    pickup_latitude: Option<f64>, dropoff_longitude: Option<f64>, dropoff_latitude: Option<f64>,
    payment_type: Option<i32>, fare_amount: Option<f64>, extra: Option<f64>, mta_tax: Option<f64>,
    tip_amount: Option<f64>, tolls_amount: Option<f64>, total_amount: Option<f64>,
    created_at: Option<Timestamp>, updated_at: Option<Timestamp>,
};

/// Columns of `taxi.payment_types` and `taxi.vendors`.
const LOOKUP: &[Column] = columns! { id: Option<i32>, name: Option<String>, description: Option<String> };

/// Columns of `trips_cdc` that describe a change, each with its name and type in the stream.
const CHANGE: [(&str, &str, PrimitiveType); 7] = [
    ("op", OP, PrimitiveType::String),
    ("source_ts_ms", SOURCE_TS_MS, PrimitiveType::Long),
    ("lsn", LSN, PrimitiveType::Long),
    ("tx_id", TX_ID, PrimitiveType::Long),
    ("kafka_partition", PARTITION, PrimitiveType::Int),
    ("kafka_offset", OFFSET, PrimitiveType::Long),
    ("event_ts", EVENT_TS, PrimitiveType::Timestamptz),
];

pub fn streams() -> Vec<Stream> {
    let of = |name: &str, text: &str, topic: &str, row: &[Column]| {
        Stream::new(name).describe(text).topic(topic).changes(Changes::of(schema(row))).commit_every(secs(5))
    };
    let all = of("taxi_trips_cdc", "Every change of a trip", TRIPS_TOPIC, TRIP).partitions(TRIPS_PARTITIONS);
    let all = all.transform(|changes| describe_changes(&changes)).append(named("trips_cdc"), all_changes());
    let trips = of("taxi_trips", "The trips that the database has", TRIPS_TOPIC, TRIP).partitions(TRIPS_PARTITIONS);
    let trips = trips.mirror(named("trips"), trips_table(), &["id"]);
    let types = of("taxi_payment_types", "The payment types that the database has", "lakehouse.payment_types", LOOKUP);
    let types = types.mirror(named("payment_types"), mirror(LOOKUP), &["id"]);
    let vendors = of("taxi_vendors", "The vendors that the database has", "lakehouse.vendors", LOOKUP);
    vec![all, trips, types, vendors.mirror(named("vendors"), mirror(LOOKUP), &["id"])]
}

fn named(table: &str) -> TableName {
    TableName::new("taxi_cdc", table).expect("the name is valid")
}

fn schema(row: &[Column]) -> Schema {
    Schema::new(row.iter().map(Column::field).collect::<Vec<_>>())
}

fn table(row: &[Column]) -> TableDef {
    TableDef::of(&schema(row)).expect("Iceberg has these types")
}

/// Returns a table with the columns of a database row and of the change that wrote it.
fn mirror(row: &[Column]) -> TableDef {
    table(row)
        .key(["id"])
        .optional(OP, PrimitiveType::String)
        .optional(SOURCE_TS_MS, PrimitiveType::Long)
        .optional(SOURCE_DB, PrimitiveType::String)
        .optional(SOURCE_TABLE, PrimitiveType::String)
}

fn trips_table() -> TableDef {
    mirror(TRIP).partition("pickup_datetime", Transform::Day).history(
        "select op, event_ts, tx_id, pickup_datetime, dropoff_datetime, passenger_count, trip_distance, payment_type, \
         fare_amount, tip_amount, total_amount, updated_at from taxi_cdc.trips_cdc where id = {id} order by kafka_offset",
    )
}

fn all_changes() -> TableDef {
    let table = table(TRIP).optional("kafka_topic", PrimitiveType::String);
    CHANGE
        .into_iter()
        .fold(table, |table, (name, _, of)| table.optional(name, of))
        .partition("event_ts", Transform::Hour)
        .chart(
            "select date_trunc('hour', event_ts) as hour, count(*) as changes from taxi_cdc.trips_cdc group by 1 \
             order by 1",
        )
}

/// Renames the columns that describe a change, and adds the topic.
fn describe_changes(changes: &RecordBatch) -> TaskResult<RecordBatch> {
    let topic: ArrayRef = Arc::new(StringArray::from(vec![TRIPS_TOPIC; changes.num_rows()]));
    let names = CHANGE.map(|(name, of, _)| (name, of));
    let schema = changes.schema();
    let row = schema.fields().iter().map(|field| (field.name().as_str(), field.name().as_str()));
    let mut columns = vec![("kafka_topic", topic, true)];
    for (name, of) in names.into_iter().chain(row) {
        let column = changes.column_by_name(of).with_context(|| format!("there is no column `{of}`"))?;
        columns.push((name, column.clone(), true));
    }
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}
