//! Declares tables in code. One list of columns, written like the fields of a struct, together with key, partitions
//! and chart, determines the schema, the table definition and the contract.
//!
//! ```
//! use orch_lake::{TableSpec, columns};
//! use orch_lake::table::spec::{Decimal, Timestamp};
//!
//! const ORDERS: TableSpec = TableSpec::new("shop", "orders", &["order_id"], columns! {
//!     order_id: i32, ordered_at: Timestamp, amount: Decimal<12, 2>, note: Option<String>,
//! });
//! assert_eq!(ORDERS.uri(), "lake://shop/orders");
//! assert!(ORDERS.column("note").is_some_and(|column| column.nullable));
//! ```

use super::definition::TableDef;
use super::name::TableName;
use crate::contract::Contract;
use crate::error::LakeResult;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use iceberg::spec::Transform;
use std::sync::Arc;

/// A table declaration: schema, key, partitions, and the properties set when the table is created.
#[derive(Debug, Clone, Copy)]
pub struct TableSpec {
    pub namespace: &'static str,
    pub name: &'static str,
    /// Description of the table in one sentence.
    pub doc: &'static str,
    pub key: &'static [&'static str],
    pub partition: &'static [(&'static str, Transform)],
    /// Columns by which the rows of each file are sorted.
    pub sorted: &'static [&'static str],
    /// SQL query for the chart on the table's page. Each result row must have a text or time, and a number.
    pub chart: Option<&'static str>,
    pub columns: &'static [Column],
}

/// A column of a [`TableSpec`]. The macro [`columns!`](crate::columns) creates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub nullable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Bool,
    Int,
    Long,
    Double,
    Decimal(u8, i8),
    Text,
    Date,
    Timestamp,
    TimestampUtc,
}

/// Maps a Rust type to a column type.
pub trait ColumnType {
    const KIND: Kind;
    const NULLABLE: bool = false;
}

/// Fixed-point decimal column, for values such as amounts of money.
#[derive(Debug, Clone, Copy)]
pub struct Decimal<const PRECISION: u8, const SCALE: i8>;

/// Date and time column without a time zone, with microsecond precision.
#[derive(Debug, Clone, Copy)]
pub struct Timestamp;

macro_rules! column_types {
    ($($of:ty => $kind:ident)+) => {$(
        impl ColumnType for $of {
            const KIND: Kind = Kind::$kind;
        }
    )+};
}

column_types! {
    bool => Bool
    i32 => Int
    i64 => Long
    f64 => Double
    String => Text
    NaiveDate => Date
    Timestamp => Timestamp
    NaiveDateTime => Timestamp
    DateTime<Utc> => TimestampUtc
}

impl<const PRECISION: u8, const SCALE: i8> ColumnType for Decimal<PRECISION, SCALE> {
    const KIND: Kind = Kind::Decimal(PRECISION, SCALE);
}

impl<T: ColumnType> ColumnType for Option<T> {
    const KIND: Kind = T::KIND;
    const NULLABLE: bool = true;
}

/// Lists columns as the fields of a struct: `order_id: i32, note: Option<String>`. A column is nullable if its type is
/// an `Option`.
#[macro_export]
macro_rules! columns {
    ($($name:ident: $of:ty),+ $(,)?) => {
        &[$($crate::table::spec::Column {
            name: stringify!($name),
            kind: <$of as $crate::table::spec::ColumnType>::KIND,
            nullable: <$of as $crate::table::spec::ColumnType>::NULLABLE,
        }),+]
    };
}

impl Column {
    pub fn field(&self) -> Field {
        Field::new(self.name, self.kind.arrow(), self.nullable)
    }
}

impl Kind {
    pub fn arrow(self) -> DataType {
        match self {
            Kind::Bool => DataType::Boolean,
            Kind::Int => DataType::Int32,
            Kind::Long => DataType::Int64,
            Kind::Double => DataType::Float64,
            Kind::Decimal(precision, scale) => DataType::Decimal128(precision, scale),
            Kind::Text => DataType::Utf8,
            Kind::Date => DataType::Date32,
            Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Kind::TimestampUtc => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        }
    }

    /// Returns the column kind for an Arrow type, or `None` if columns of declared tables do not support the type.
    pub fn of(data_type: &DataType) -> Option<Kind> {
        use Kind::{Bool, Date, Double, Int, Long, Text, Timestamp, TimestampUtc};
        let is_same = |kind: &Kind| kind.arrow() == *data_type;
        match data_type {
            DataType::Decimal128(precision, scale) => Some(Kind::Decimal(*precision, *scale)),
            DataType::UInt32 | DataType::UInt64 => Some(Long), // Row counts are unsigned in Arrow.
            _ => [Bool, Int, Long, Double, Text, Date, Timestamp, TimestampUtc].into_iter().find(is_same),
        }
    }
}

impl TableSpec {
    pub const fn new(
        namespace: &'static str,
        name: &'static str,
        key: &'static [&'static str],
        columns: &'static [Column],
    ) -> TableSpec {
        TableSpec { namespace, name, doc: "", key, partition: &[], sorted: &[], chart: None, columns }
    }

    #[must_use]
    pub const fn doc(self, doc: &'static str) -> TableSpec {
        TableSpec { doc, ..self }
    }

    /// Sets the partition fields, from the outermost to the innermost.
    #[must_use]
    pub const fn partition(self, partition: &'static [(&'static str, Transform)]) -> TableSpec {
        TableSpec { partition, ..self }
    }

    #[must_use]
    pub const fn sorted(self, sorted: &'static [&'static str]) -> TableSpec {
        TableSpec { sorted, ..self }
    }

    #[must_use]
    pub const fn chart(self, chart: &'static str) -> TableSpec {
        TableSpec { chart: Some(chart), ..self }
    }

    /// Returns the name of the table with its namespace.
    ///
    /// # Errors
    /// Returns an error if the namespace or the name is not a valid identifier.
    pub fn id(&self) -> LakeResult<TableName> {
        TableName::new(self.namespace, self.name)
    }

    /// Returns the URI of the table as an asset: `lake://namespace/name`.
    pub fn uri(&self) -> String {
        format!("lake://{}/{}", self.namespace, self.name)
    }

    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    pub fn column_names(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().map(|column| column.name)
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(Column::field).collect::<Vec<_>>()))
    }

    /// Returns the schema with all columns nullable. It is used for rows that the contract has not checked yet.
    pub fn unchecked_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(|column| column.field().with_nullable(true)).collect::<Vec<_>>()))
    }

    /// Returns the key columns if none of them is nullable, otherwise an empty list. Rows can be replaced by key only
    /// if no key column contains nulls.
    pub fn required_key(&self) -> &'static [&'static str] {
        let required = |name: &&str| self.column(name).is_some_and(|column| !column.nullable);
        if self.key.iter().all(required) { self.key } else { &[] }
    }

    /// Returns the definition from which the table is created.
    ///
    /// # Errors
    /// Returns an error if Iceberg has no type for a column.
    pub fn definition(&self) -> LakeResult<TableDef> {
        let keyed = TableDef::of(&self.schema())?.key(self.required_key().iter().copied());
        let sorted = keyed.sorted(self.sorted.iter().copied());
        let parted = self.partition.iter().fold(sorted, |table, (column, of)| table.partition(column, *of));
        Ok(self.chart.into_iter().fold(parted, TableDef::chart))
    }

    /// Returns a contract that requires exactly these columns, non-null values in columns that are not nullable, and
    /// a unique key.
    pub fn contract(&self) -> Contract {
        let required = self.columns.iter().filter(|column| !column.nullable).map(|column| column.name);
        let contract = Contract::of(self.uri()).key(self.key.iter().copied()).schema(&self.schema()).not_null(required);
        if self.key.is_empty() { contract } else { contract.unique(self.key.iter().copied()) }
    }
}
