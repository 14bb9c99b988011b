//! A table as one list: what each column is called, its type, and how it is told from a row. Schema, definition and
//! batches follow from it.

use super::schema::ZONES;
use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use iceberg::spec::Transform;
use orch::{Asset, TaskResult, asset};
use orch_lake::contract::Contract;
use orch_lake::{LakeResult, TableDef, TableName};
use std::fmt;
use std::sync::Arc;

/// A column, told from rows of one kind.
#[derive(Debug)]
pub struct Column<R: 'static> {
    pub name: &'static str,
    told: ColumnSource<R>,
}

#[derive(Debug)]
enum ColumnSource<R: 'static> {
    Date(fn(&R) -> NaiveDate),
    /// On the clocks of New York, without a zone, as trips have it.
    Clock(fn(&R) -> NaiveDateTime),
    Moment(fn(&R) -> DateTime<Utc>),
    Text(fn(&R) -> &str),
    /// A text that is written into the column and not stored in the row.
    Written(fn(&R, &mut dyn fmt::Write) -> fmt::Result),
    Truth(fn(&R) -> bool),
    Int(fn(&R) -> i32),
    MaybeInt(fn(&R) -> Option<i32>),
    Long(fn(&R) -> i64),
    MaybeLong(fn(&R) -> Option<i64>),
    Number(fn(&R) -> f64),
    MaybeNumber(fn(&R) -> Option<f64>),
    /// When the row was computed.
    Computed,
}

macro_rules! columns {
    ($($make:ident: $kind:ident($gives:ty);)+) => {$(
        pub const fn $make<R>(name: &'static str, from: fn(&R) -> $gives) -> Column<R> {
            Column { name, told: ColumnSource::$kind(from) }
        }
    )+};
}

columns! {
    date: Date(NaiveDate);
    clock: Clock(NaiveDateTime);
    moment: Moment(DateTime<Utc>);
    text: Text(&str);
    truth: Truth(bool);
    int: Int(i32);
    maybe_int: MaybeInt(Option<i32>);
    long: Long(i64);
    maybe_long: MaybeLong(Option<i64>);
    number: Number(f64);
    maybe_number: MaybeNumber(Option<f64>);
}

pub const fn written<R>(name: &'static str, write: fn(&R, &mut dyn fmt::Write) -> fmt::Result) -> Column<R> {
    Column { name, told: ColumnSource::Written(write) }
}

pub const fn computed<R>(name: &'static str) -> Column<R> {
    Column { name, told: ColumnSource::Computed }
}

/// Requires that each of these columns holds the number of a taxi zone.
pub(crate) fn in_zones(contract: Contract, columns: &[&str]) -> Contract {
    columns.iter().fold(contract, |contract, column| contract.references([*column], ZONES.uri()))
}

/// A table of rows of one kind.
#[derive(Debug)]
pub struct Table<R: 'static> {
    pub namespace: &'static str,
    pub name: &'static str,
    pub key: &'static [&'static str],
    pub partition: &'static [(&'static str, Transform)],
    /// Its days are replaced by this column.
    pub day: &'static str,
    pub columns: &'static [Column<R>],
    /// What the page of the table draws, in SQL: a word or a time and a number in each row.
    pub chart: &'static str,
}

impl<R> Table<R> {
    /// # Errors
    /// Never for the tables of this pipeline: their names are written here.
    pub fn id(&self) -> LakeResult<TableName> {
        TableName::new(self.namespace, self.name)
    }

    /// Of the asset, and as its page calls it.
    pub fn uri(&self) -> String {
        format!("lake://{}/{}", self.namespace, self.name)
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(Column::field).collect::<Vec<_>>()))
    }

    /// # Errors
    /// Never for the tables of this pipeline.
    pub fn definition(&self) -> LakeResult<TableDef> {
        let definition = TableDef::of(&self.schema())?.key(self.key.iter().copied()).chart(self.chart);
        Ok(self.partition.iter().fold(definition, |table, (column, transform)| table.partition(column, *transform)))
    }

    /// The table as an asset, in the group of its namespace.
    pub fn asset(&self) -> Asset {
        asset(&self.uri()).named(&format!("{}.{}", self.namespace, self.name)).group(self.namespace)
    }

    /// Requires the declared columns, a unique key, and values wherever the schema has no nulls.
    pub fn contract(&self) -> Contract {
        let schema = self.schema();
        let required = schema.fields().iter().filter(|field| !field.is_nullable()).map(|field| field.name().clone());
        Contract::of(self.uri())
            .key(self.key.iter().copied())
            .schema(&schema)
            .not_null(required)
            .unique(self.key.iter().copied())
    }

    /// # Errors
    /// Never: columns and schema are one list.
    pub fn batch(&self, rows: &[R], now: DateTime<Utc>) -> TaskResult<RecordBatch> {
        let columns = self.columns.iter().map(|column| column.array(rows, now)).collect();
        Ok(RecordBatch::try_new(self.schema(), columns)?)
    }
}

impl<R> Column<R> {
    fn field(&self) -> Field {
        let micros = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        let (kind, null) = match self.told {
            ColumnSource::Date(_) => (DataType::Date32, false),
            ColumnSource::Clock(_) => (micros(None), false),
            ColumnSource::Moment(_) | ColumnSource::Computed => (micros(Some("+00:00")), false),
            ColumnSource::Text(_) | ColumnSource::Written(_) => (DataType::Utf8, false),
            ColumnSource::Truth(_) => (DataType::Boolean, false),
            ColumnSource::Int(_) => (DataType::Int32, false),
            ColumnSource::MaybeInt(_) => (DataType::Int32, true),
            ColumnSource::Long(_) => (DataType::Int64, false),
            ColumnSource::MaybeLong(_) => (DataType::Int64, true),
            ColumnSource::Number(_) => (DataType::Float64, false),
            ColumnSource::MaybeNumber(_) => (DataType::Float64, true),
        };
        Field::new(self.name, kind, null)
    }

    fn array(&self, rows: &[R], now: DateTime<Utc>) -> ArrayRef {
        let moments = |micros: Vec<i64>| TimestampMicrosecondArray::from(micros).with_timezone("+00:00");
        match &self.told {
            ColumnSource::Date(of) => {
                Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| Date32Type::from_naive_date(of(row)))))
            }
            ColumnSource::Clock(of) => {
                let micros = rows.iter().map(|row| of(row).and_utc().timestamp_micros());
                Arc::new(TimestampMicrosecondArray::from_iter_values(micros))
            }
            ColumnSource::Moment(of) => Arc::new(moments(rows.iter().map(|row| of(row).timestamp_micros()).collect())),
            ColumnSource::Computed => Arc::new(moments(vec![now.timestamp_micros(); rows.len()])),
            ColumnSource::Text(of) => Arc::new(StringArray::from_iter_values(rows.iter().map(of))),
            ColumnSource::Written(write) => {
                let mut texts = StringBuilder::new();
                for row in rows {
                    write(row, &mut texts).expect("a builder takes all text");
                    texts.append_value(""); // ends what was written
                }
                Arc::new(texts.finish())
            }
            ColumnSource::Truth(of) => Arc::new(rows.iter().map(|row| Some(of(row))).collect::<BooleanArray>()),
            ColumnSource::Int(of) => Arc::new(Int32Array::from_iter_values(rows.iter().map(of))),
            ColumnSource::MaybeInt(of) => Arc::new(rows.iter().map(of).collect::<Int32Array>()),
            ColumnSource::Long(of) => Arc::new(Int64Array::from_iter_values(rows.iter().map(of))),
            ColumnSource::MaybeLong(of) => Arc::new(rows.iter().map(of).collect::<Int64Array>()),
            ColumnSource::Number(of) => Arc::new(Float64Array::from_iter_values(rows.iter().map(of))),
            ColumnSource::MaybeNumber(of) => Arc::new(rows.iter().map(of).collect::<Float64Array>()),
        }
    }
}
