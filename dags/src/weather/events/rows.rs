//! From an answer of weatherapi.com, with objects in objects, to a row of the table: one list says where each column is.

use arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema};
use iceberg::spec::{PrimitiveType, Transform};
use orch::TaskResult;
use orch::prelude::*;
use orch_lake::TableDef;
use orch_streams::{OFFSET, PARTITION};
use std::sync::Arc;

pub(super) const KEY: [&str; 2] = ["city_name", "event_timestamp_ms"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventColumnType {
    Text,
    Whole,
    Number,
    /// 0 and 1.
    Truth,
    /// Seconds that become milliseconds.
    Seconds,
    /// A whole number of 64 bits.
    Long,
}

use EventColumnType::{Long, Number, Seconds, Text, Truth, Whole};

/// Column, where it is in an answer, what it is there. An answer may have more, and may lack any of them.
const COLUMNS: [(&str, &str, EventColumnType); 33] = [
    ("city_name", "location.name", Text),
    ("region", "location.region", Text),
    ("country", "location.country", Text),
    ("lat", "location.lat", Number),
    ("lon", "location.lon", Number),
    ("tz_id", "location.tz_id", Text),
    ("event_timestamp_ms", "current.last_updated_epoch", Seconds),
    ("localtime_epoch", "location.localtime_epoch", Long),
    ("temperature_celsius", "current.temp_c", Number),
    ("temperature_fahrenheit", "current.temp_f", Number),
    ("feels_like_celsius", "current.feelslike_c", Number),
    ("humidity_percent", "current.humidity", Whole),
    ("pressure_mb", "current.pressure_mb", Number),
    ("wind_kph", "current.wind_kph", Number),
    ("wind_degree", "current.wind_degree", Whole),
    ("wind_dir", "current.wind_dir", Text),
    ("gust_kph", "current.gust_kph", Number),
    ("precip_mm", "current.precip_mm", Number),
    ("cloud_percent", "current.cloud", Whole),
    ("visibility_km", "current.vis_km", Number),
    ("uv", "current.uv", Number),
    ("is_day", "current.is_day", Truth),
    ("weather_description", "current.condition.text", Text),
    ("weather_code", "current.condition.code", Whole),
    ("air_quality_co", "current.air_quality.co", Number),
    ("air_quality_no2", "current.air_quality.no2", Number),
    ("air_quality_o3", "current.air_quality.o3", Number),
    ("air_quality_so2", "current.air_quality.so2", Number),
    ("air_quality_pm2_5", "current.air_quality.pm2_5", Number),
    ("air_quality_pm10", "current.air_quality.pm10", Number),
    ("air_quality_us_epa_index", "current.air_quality.us-epa-index", Whole),
    ("air_quality_gb_defra_index", "current.air_quality.gb-defra-index", Whole),
    ("ingest_timestamp_ms", "ingest_timestamp_ms", Long),
];

impl EventColumnType {
    fn read_as(self) -> DataType {
        match self {
            Text => DataType::Utf8,
            Number => DataType::Float64,
            Whole | Truth | Seconds | Long => DataType::Int64,
        }
    }

    fn column(self) -> PrimitiveType {
        match self {
            Text => PrimitiveType::String,
            Number => PrimitiveType::Double,
            Whole => PrimitiveType::Int,
            Truth => PrimitiveType::Boolean,
            Seconds | Long => PrimitiveType::Long,
        }
    }

    fn convert(self, read: &ArrayRef) -> TaskResult<ArrayRef> {
        Ok(match self {
            Text | Number | Long => read.clone(),
            // What does not fit is null.
            Whole => cast(read, &DataType::Int32)?,
            Truth => cast(read, &DataType::Boolean)?,
            Seconds => {
                let seconds = read.as_primitive::<Int64Type>();
                Arc::new(seconds.unary_opt::<_, Int64Type>(|seconds| seconds.checked_mul(1_000)))
            }
        })
    }
}

/// An answer, with all objects that columns are in.
pub(super) fn record() -> Schema {
    let paths = COLUMNS.map(|(_, path, kind)| (path.split('.').collect::<Vec<_>>(), kind));
    Schema::new(fields(&paths.iter().map(|(path, kind)| (path.as_slice(), *kind)).collect::<Vec<_>>()))
}

fn fields(paths: &[(&[&str], EventColumnType)]) -> Fields {
    let mut names: Vec<&str> = Vec::new();
    for (path, _) in paths {
        if !names.contains(&path[0]) {
            names.push(path[0]);
        }
    }
    let field = |name: &str| {
        let inside: Vec<(&[&str], EventColumnType)> =
            paths.iter().filter(|(path, _)| path[0] == name).map(|(path, kind)| (&path[1..], *kind)).collect();
        let data = match inside.as_slice() {
            [([], kind)] => kind.read_as(),
            inside => DataType::Struct(fields(inside)),
        };
        Field::new(name, data, true)
    };
    names.into_iter().map(field).collect()
}

pub(super) fn definition() -> TableDef {
    let columns = COLUMNS.into_iter().fold(TableDef::new(), |table, (name, _, kind)| {
        if KEY.contains(&name) { table.required(name, kind.column()) } else { table.optional(name, kind.column()) }
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

/// Rows of the table, with where each came from.
pub(super) fn flat(answers: &RecordBatch) -> TaskResult<RecordBatch> {
    let mut columns: Vec<(String, ArrayRef)> = Vec::with_capacity(COLUMNS.len() + 4);
    for (name, path, kind) in COLUMNS {
        columns.push((name.into(), kind.convert(&at(answers, path)?)?));
    }
    for (name, from) in
        [("kafka_partition", PARTITION), ("kafka_offset", OFFSET), (PARTITION, PARTITION), (OFFSET, OFFSET)]
    {
        columns.push((name.into(), answers.column_by_name(from).context("records have a place")?.clone()));
    }
    Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))?)
}

fn at(answers: &RecordBatch, path: &str) -> TaskResult<ArrayRef> {
    let mut names = path.split('.');
    let first = names.next().and_then(|name| answers.column_by_name(name)).cloned();
    // In an object that is null the reader has made all fields null.
    let found = names.try_fold(first, |column, name| {
        let object = column.as_ref()?.as_struct_opt()?;
        Some(object.column_by_name(name).cloned())
    });
    found.flatten().with_context(|| format!("answers have no `{path}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array as _, Int32Array, Int64Array};
    use arrow::datatypes::{Float64Type, Int32Type};
    use arrow::json::ReaderBuilder;

    fn rows(answers: &[&str]) -> RecordBatch {
        let mut reader = ReaderBuilder::new(Arc::new(record())).build_decoder().expect("a reader");
        answers.iter().for_each(|answer| {
            reader.decode(answer.as_bytes()).expect("JSON");
        });
        let read = reader.flush().expect("answers").expect("some");
        let mut fields: Vec<_> = read.schema().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(PARTITION, DataType::Int32, false)));
        fields.push(Arc::new(Field::new(OFFSET, DataType::Int64, false)));
        let mut columns = read.columns().to_vec();
        columns.push(Arc::new(Int32Array::from(vec![0; read.num_rows()])));
        columns.push(Arc::new(Int64Array::from_iter_values(0..read.num_rows() as i64)));
        flat(&RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("a batch")).expect("rows")
    }

    #[test]
    fn an_answer_is_a_row_whatever_it_lacks_or_has_beside() {
        let rows = rows(&[
            r#"{"location":{"name":"London","lat":51.5,"more":[1]},"current":{"last_updated_epoch":1639532700,"temp_c":11,
                "is_day":0,"humidity":87,"condition":{"text":"Mist","code":1030,"icon":"x"},"air_quality":{"pm2_5":8.6,"us-epa-index":1}}}"#,
            r#"{"location":null,"current":{"last_updated_epoch":9223372036854775807,"humidity":5000000000,"condition":null}}"#,
            r#"{"error":{"code":1006}}"#,
        ]);
        let column = |name: &str| rows.column_by_name(name).unwrap_or_else(|| panic!("{name}")).clone();
        assert_eq!(column("city_name").as_string::<i32>().iter().collect::<Vec<_>>(), [Some("London"), None, None]);
        assert_eq!(
            column("event_timestamp_ms").as_primitive::<Int64Type>().iter().collect::<Vec<_>>(),
            [Some(1_639_532_700_000), None, None]
        );
        assert_eq!(
            column("humidity_percent").as_primitive::<Int32Type>().iter().collect::<Vec<_>>(),
            [Some(87), None, None]
        );
        assert_eq!(column("temperature_celsius").as_primitive::<Float64Type>().iter().next(), Some(Some(11.0)));
        assert_eq!(
            column("weather_description").as_string::<i32>().iter().collect::<Vec<_>>(),
            [Some("Mist"), None, None]
        );
        assert_eq!(column("air_quality_pm2_5").as_primitive::<Float64Type>().iter().next(), Some(Some(8.6)));
        assert!(!column("is_day").as_boolean().value(0) && column("is_day").is_null(1));
        assert_eq!(column("kafka_offset").as_primitive::<Int64Type>().values(), &[0, 1, 2]);
    }

    #[test]
    fn the_table_has_a_column_for_each_and_where_it_came_from() {
        let definition = definition();
        let names: Vec<&str> = definition.fields().iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names.len(), COLUMNS.len() + 2);
        assert!(["city_name", "weather_description", "event_timestamp_ms"].iter().all(|name| names.contains(name)));
    }
}
