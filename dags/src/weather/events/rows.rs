//! Converts nested responses of weatherapi.com to rows of the table.

use crate::common::rows::select;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use iceberg::spec::{PrimitiveType, Transform};
use orch::TaskResult;
use orch_lake::TableDef;
use orch_streams::{OFFSET, PARTITION};

pub(super) const KEY: [&str; 2] = ["city_name", "event_timestamp_ms"];

/// Type in a response, type of the column, and the SQL that converts one to the other: `$` is the field. Values that do
/// not fit become null.
type Conversion = (DataType, PrimitiveType, &'static str);

const TEXT: Conversion = (DataType::Utf8, PrimitiveType::String, "$");
const NUMBER: Conversion = (DataType::Float64, PrimitiveType::Double, "$");
const LONG: Conversion = (DataType::Int64, PrimitiveType::Long, "$");
const INT: Conversion = (DataType::Int64, PrimitiveType::Int, "TRY_CAST($ AS INT)");
/// A flag that responses contain as 0 or 1.
const BOOLEAN: Conversion = (DataType::Int64, PrimitiveType::Boolean, "CAST($ AS BOOLEAN)");
/// Seconds since the Unix epoch that become milliseconds; null if the milliseconds do not fit 64 bits.
const SECONDS: Conversion = (
    DataType::Int64,
    PrimitiveType::Long,
    "CASE WHEN $ BETWEEN -9223372036854775 AND 9223372036854775 THEN $ * 1000 END",
);

/// Each column, its path in a response, and its types. A response may have other fields, and lack any of these.
const COLUMNS: [(&str, &str, Conversion); 33] = [
    ("city_name", "location.name", TEXT),
    ("region", "location.region", TEXT),
    ("country", "location.country", TEXT),
    ("lat", "location.lat", NUMBER),
    ("lon", "location.lon", NUMBER),
    ("tz_id", "location.tz_id", TEXT),
    ("event_timestamp_ms", "current.last_updated_epoch", SECONDS),
    ("localtime_epoch", "location.localtime_epoch", LONG),
    ("temperature_celsius", "current.temp_c", NUMBER),
    ("temperature_fahrenheit", "current.temp_f", NUMBER),
    ("feels_like_celsius", "current.feelslike_c", NUMBER),
    ("humidity_percent", "current.humidity", INT),
    ("pressure_mb", "current.pressure_mb", NUMBER),
    ("wind_kph", "current.wind_kph", NUMBER),
    ("wind_degree", "current.wind_degree", INT),
    ("wind_dir", "current.wind_dir", TEXT),
    ("gust_kph", "current.gust_kph", NUMBER),
    ("precip_mm", "current.precip_mm", NUMBER),
    ("cloud_percent", "current.cloud", INT),
    ("visibility_km", "current.vis_km", NUMBER),
    ("uv", "current.uv", NUMBER),
    ("is_day", "current.is_day", BOOLEAN),
    ("weather_description", "current.condition.text", TEXT),
    ("weather_code", "current.condition.code", INT),
    ("air_quality_co", "current.air_quality.co", NUMBER),
    ("air_quality_no2", "current.air_quality.no2", NUMBER),
    ("air_quality_o3", "current.air_quality.o3", NUMBER),
    ("air_quality_so2", "current.air_quality.so2", NUMBER),
    ("air_quality_pm2_5", "current.air_quality.pm2_5", NUMBER),
    ("air_quality_pm10", "current.air_quality.pm10", NUMBER),
    ("air_quality_us_epa_index", "current.air_quality.us-epa-index", INT),
    ("air_quality_gb_defra_index", "current.air_quality.gb-defra-index", INT),
    ("ingest_timestamp_ms", "ingest_timestamp_ms", LONG),
];

/// Returns the schema of a response, with all objects that contain columns.
pub(super) fn record() -> Schema {
    Schema::new(fields(&COLUMNS.map(|(_, path, (in_response, ..))| (path, in_response))))
}

/// Nests fields by the dots in their paths.
fn fields(paths: &[(&str, DataType)]) -> Fields {
    let mut fields: Vec<Field> = Vec::new();
    for (path, data_type) in paths {
        let name = path.split('.').next().unwrap_or(path);
        if fields.iter().any(|field| field.name() == name) {
            continue;
        }
        let prefix = format!("{name}.");
        let inside = paths.iter().filter_map(|(path, of)| Some((path.strip_prefix(&prefix)?, of.clone())));
        let inside: Vec<(&str, DataType)> = inside.collect();
        let of = if inside.is_empty() { data_type.clone() } else { DataType::Struct(self::fields(&inside)) };
        fields.push(Field::new(name, of, true));
    }
    fields.into()
}

pub(super) fn definition() -> TableDef {
    let columns = COLUMNS.into_iter().fold(TableDef::new(), |table, (name, _, (_, column, _))| {
        if KEY.contains(&name) { table.required(name, column) } else { table.optional(name, column) }
    });
    columns
        .optional("kafka_partition", PrimitiveType::Int)
        .optional("kafka_offset", PrimitiveType::Long)
        .key(KEY)
        .partition("city_name", Transform::Identity)
        .chart(
            "select to_timestamp_millis(event_timestamp_ms) as at, temperature_celsius from \
             weather_data_lake_iceberg.weather_events_by_location where city_name = 'London' order by 1",
        )
}

/// Converts responses to rows of the table, with the partition and offset of their records.
pub(super) fn flatten(responses: &RecordBatch) -> TaskResult<RecordBatch> {
    let column = |(name, path, (.., sql)): (&str, &str, Conversion)| {
        let field = format!("\"{}\"", path.replace('.', "\".\""));
        format!("{} AS {name}", sql.replace('$', &field))
    };
    let (columns, origin) = (COLUMNS.map(column).join(", "), format!("{PARTITION}, {OFFSET}"));
    let statement =
        format!("SELECT {columns}, {PARTITION} AS kafka_partition, {OFFSET} AS kafka_offset, {origin} FROM rows");
    select(responses, &statement)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::json::ReaderBuilder;
    use orch_test_lake::rows::{printed, row};
    use std::sync::Arc;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_response_is_a_row_whatever_it_lacks() {
        let origin = [Field::new(PARTITION, DataType::Int32, false), Field::new(OFFSET, DataType::Int64, false)];
        let fields = record().fields().iter().map(|field| field.as_ref().clone()).chain(origin).collect::<Vec<_>>();
        let schema = Arc::new(Schema::new(fields));
        let mut reader = ReaderBuilder::new(schema.clone()).build_decoder().expect("a reader");
        for response in [
            r#"{"_partition":0,"_offset":7,"location":{"name":"London","lat":51.5,"more":[1]},"current":{"last_updated_epoch":1639532700,
                "temp_c":11,"is_day":0,"humidity":87,"condition":{"text":"Mist"},"air_quality":{"pm2_5":8.6,"us-epa-index":1}}}"#,
            r#"{"_partition":0,"_offset":8,"location":null,"current":{"last_updated_epoch":9223372036854775807,
                "humidity":5000000000,"condition":null}}"#,
            r#"{"_partition":0,"_offset":9,"error":{"code":1006}}"#,
        ] {
            reader.decode(response.as_bytes()).expect("JSON");
        }
        let rows = flatten(&reader.flush().expect("responses").expect("some")).expect("rows");
        let found = rows.project(&[0, 6, 8, 11, 21, 22, 28, 30, 34]).expect("columns");
        let expected = ["- - - - - - - - 8", "- - - - - - - - 9", "London 1639532700000 11.0 87 false Mist 8.6 1 7"];
        assert_eq!(printed(&[found]), expected.map(row));
        let none = flatten(&RecordBatch::new_empty(schema)).expect("no rows");
        assert_eq!((none.num_rows(), none.schema()), (0, rows.schema()));
    }
}
