//! `weather.hourly_weather` and `reference.taxi_zones`: columns, keys, partitions and the chart of their pages.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use iceberg::spec::Transform;
use orch_lake::{LakeResult, TableDef, TableName};
use std::sync::Arc;

/// Precision and scale of dollars and miles: a taximeter counts hundredths.
pub const HUNDREDTHS: (u8, i8) = (12, 2);

/// A table that several pipelines read.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    pub namespace: &'static str,
    pub name: &'static str,
    pub key: &'static [&'static str],
    partition: &'static [&'static str],
    columns: &'static [(&'static str, WeatherColumnType, Null)],
    /// What the page of the table draws, in SQL: a word and a number in each row.
    chart: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WeatherColumnType {
    /// A moment, on the UTC clock.
    Time,
    Text,
    Number,
    Int,
    Truth,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Null {
    Never,
    Allowed,
}

use Null::{Allowed, Never};
use WeatherColumnType::{Int, Number, Text, Time, Truth};

pub const HOURLY: Table = Table {
    namespace: "weather",
    name: "hourly_weather",
    key: &["location", "timestamp"],
    // By the clock of the place: as the trips there are dated.
    partition: &["year", "month", "day"],
    columns: &[
        ("timestamp", Time, Never),
        ("location", Text, Never),
        ("latitude", Number, Never),
        ("longitude", Number, Never),
        ("temperature_celsius", Number, Never),
        ("temperature_fahrenheit", Number, Never),
        ("humidity_percent", Number, Allowed),
        ("pressure_hpa", Number, Allowed),
        ("wind_speed_kmh", Number, Allowed),
        ("weather_condition", Text, Never),
        ("visibility_km", Number, Allowed),
        ("uv_index", Number, Allowed),
        ("hour", Int, Never),
        ("day_of_week", Int, Never),
        ("is_weekend", Truth, Never),
        ("load_date", Time, Never),
        ("year", Int, Never),
        ("month", Int, Never),
        ("day", Int, Never),
    ],
    chart: Some(
        "select \"timestamp\", temperature_celsius as \"temperature per hour\" from \
         (select \"timestamp\", avg(temperature_celsius) as temperature_celsius from weather.hourly_weather \
         group by 1 order by 1 desc limit 168) order by 1",
    ),
};

pub const ZONES: Table = Table {
    namespace: "reference",
    name: "taxi_zones",
    key: &["location_id"],
    partition: &[],
    columns: &[
        ("location_id", Int, Never),
        ("borough", Text, Never),
        ("zone", Text, Never),
        ("latitude", Number, Allowed),
        ("longitude", Number, Allowed),
        ("zone_type", Text, Never),
        ("is_tourist_area", Truth, Never),
        ("is_business_district", Truth, Never),
        ("created_at", Time, Never),
        ("load_date", Time, Never),
        ("geometry", Text, Allowed),
    ],
    chart: Some("select borough, count(*) as zones from reference.taxi_zones group by 1 order by 2 desc"),
};

impl Table {
    /// # Errors
    /// Never for these two: their names are written here.
    pub fn id(&self) -> LakeResult<TableName> {
        TableName::new(self.namespace, self.name)
    }

    /// Of the asset, and as its page calls it.
    pub fn uri(&self) -> String {
        format!("lake://{}/{}", self.namespace, self.name)
    }

    pub fn arrow(&self) -> SchemaRef {
        let field =
            |(name, kind, null): &(&str, WeatherColumnType, Null)| Field::new(*name, kind.arrow(), *null == Allowed);
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    pub fn required(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().filter(|(_, _, null)| *null == Never).map(|(name, ..)| *name)
    }

    /// # Errors
    /// Never for these two.
    pub fn definition(&self) -> LakeResult<TableDef> {
        let definition = TableDef::of(&self.arrow())?.key(self.key.iter().copied());
        let parted =
            self.partition.iter().fold(definition, |table, column| table.partition(column, Transform::Identity));
        Ok(self.chart.into_iter().fold(parted, TableDef::chart))
    }
}

impl WeatherColumnType {
    fn arrow(self) -> DataType {
        match self {
            Time => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            Text => DataType::Utf8,
            Number => DataType::Float64,
            Int => DataType::Int32,
            Truth => DataType::Boolean,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_partitions_are_columns_that_are_never_null() {
        for table in [HOURLY, ZONES] {
            let required: Vec<&str> = table.required().collect();
            assert!(
                !table.key.is_empty() && table.key.iter().chain(table.partition).all(|name| required.contains(name))
            );
            assert!(table.definition().is_ok() && table.id().is_ok());
        }
    }
}
