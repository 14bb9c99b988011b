//! What a table is to be when it is made: columns, key, partitions, order, place, properties.

use super::evolve::Partition;
use super::types::plain_types;
use crate::error::{LakeError, LakeResult};
use arrow::datatypes::Schema as ArrowSchema;
use iceberg::TableCreation;
use iceberg::arrow::arrow_schema_to_schema_auto_assign_ids;
use iceberg::spec::{
    NestedField, NullOrder, Schema, SortDirection, SortField, SortOrder, Transform, Type, UnboundPartitionSpec,
};
use orch_store::lake_view::{CHART, HISTORY};
use std::collections::HashMap;
use std::sync::Arc;

/// zstd is what most readers know and packs best; `format-version` 2 is what all readers know.
const DEFAULTS: [(&str, &str); 1] = [("write.parquet.compression-codec", "zstd")];

/// ```
/// # use orch_lake::TableDef;
/// # use iceberg::spec::{PrimitiveType, Transform};
/// TableDef::new()
///     .required("order_id", PrimitiveType::Long)
///     .optional("ordered_at", PrimitiveType::Timestamptz)
///     .key(["order_id"])
///     .partition("ordered_at", Transform::Month);
/// ```
#[derive(Debug, Clone, Default)]
pub struct TableDef {
    fields: Vec<NestedField>,
    key: Vec<String>,
    partition: Vec<(String, Transform)>,
    sort: Vec<String>,
    location: Option<String>,
    properties: HashMap<String, String>,
}

impl TableDef {
    pub fn new() -> Self {
        Self::default()
    }

    /// The columns of batches with this schema. Types that Iceberg does not have become those that hold their values
    /// (`UInt32` is a long, nanoseconds are microseconds).
    pub fn of(schema: &ArrowSchema) -> LakeResult<Self> {
        let schema = arrow_schema_to_schema_auto_assign_ids(&plain_types(schema)?)?;
        let fields = schema.as_struct().fields().iter().map(|field| field.as_ref().clone()).collect();
        Ok(Self { fields, ..Self::default() })
    }

    /// A column that is never null.
    #[must_use]
    pub fn required(self, name: &str, column: impl Into<Type>) -> Self {
        self.field(NestedField::required(0, name, column.into()))
    }

    #[must_use]
    pub fn optional(self, name: &str, column: impl Into<Type>) -> Self {
        self.field(NestedField::optional(0, name, column.into()))
    }

    /// Any column, with its doc and defaults. Its id is given when the table is made.
    #[must_use]
    pub fn field(mut self, field: NestedField) -> Self {
        self.fields.push(field);
        self
    }

    /// The columns that tell rows apart (Iceberg's identifier fields); they become required.
    #[must_use]
    pub fn key<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// One more field of the partition, outermost first.
    #[must_use]
    pub fn partition(mut self, column: &str, transform: Transform) -> Self {
        self.partition.push((column.to_owned(), transform));
        self
    }

    /// In which order rows lie in each file. Readers skip more; writers sort what they hold.
    #[must_use]
    pub fn sorted<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.sort = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Where its files are, if not below the warehouse under its name.
    #[must_use]
    pub fn location(mut self, location: impl Into<String>) -> Self {
        self.location = Some(location.into());
        self
    }

    #[must_use]
    pub fn property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(key.into(), value.into());
        self
    }

    /// What the page of the table draws: a query whose rows have a word or a time, and a number.
    #[must_use]
    pub fn chart(self, sql: &str) -> Self {
        self.property(CHART, sql)
    }

    /// What was done to one of its rows: a query in which `{id}` stands for the value that the row has in column `id`. The sample of the
    /// table leads to it.
    #[must_use]
    pub fn history(self, sql: &str) -> Self {
        self.property(HISTORY, sql)
    }

    pub(crate) fn wanted_location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// The fields in their order; ids are not settled.
    pub fn fields(&self) -> &[NestedField] {
        &self.fields
    }

    /// The evolution that gives an existing table the partition of this definition. `None` if the definition has none.
    pub fn partition_evolution(&self) -> Option<Partition> {
        let fields = self.partition.iter();
        let partition = fields.fold(Partition::none(), |all, (column, transform)| all.by(column, *transform));
        (!self.partition.is_empty()).then_some(partition)
    }

    pub(crate) fn creation(&self, name: &str, location: String) -> LakeResult<TableCreation> {
        let schema = self.schema()?;
        let mut spec = UnboundPartitionSpec::builder().with_spec_id(0);
        for (column, transform) in &self.partition {
            spec = spec.add_partition_field(id_of(&schema, column)?, partition_name(column, *transform), *transform)?;
        }
        let mut order = SortOrder::builder();
        for column in &self.sort {
            order.with_sort_field(SortField {
                source_id: id_of(&schema, column)?,
                transform: Transform::Identity,
                direction: SortDirection::Ascending,
                null_order: NullOrder::First,
            });
        }
        let mut properties: HashMap<_, _> = DEFAULTS.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        properties.extend(self.properties.clone());
        Ok(TableCreation::builder()
            .name(name.to_owned())
            .location(location)
            .sort_order(order.build(&schema)?)
            .schema(schema)
            .partition_spec(spec.build())
            .properties(properties)
            .build())
    }

    fn schema(&self) -> LakeResult<Schema> {
        let mut ids = vec![];
        let mut fields = vec![];
        for (index, field) in self.fields.iter().enumerate() {
            let mut field = field.clone();
            // Nested fields got their ids from arrow; top ones are counted below them.
            field.id = i32::try_from(index).unwrap_or(i32::MAX) + FIRST_ID;
            if self.key.contains(&field.name) {
                field.required = true;
                ids.push(field.id);
            }
            fields.push(Arc::new(field));
        }
        if let Some(missing) = self.key.iter().find(|key| !self.fields.iter().any(|field| field.name == **key)) {
            return Err(no_column(missing, self.fields.iter().map(|field| field.name.as_str())));
        }
        Ok(Schema::builder().with_fields(fields).with_identifier_field_ids(ids).build()?)
    }
}

/// Beyond the ids that arrow's nested fields were given. All are assigned anew when the table is made.
const FIRST_ID: i32 = 1_000_000;

/// As Spark and PyIceberg name the fields of a partition.
pub fn partition_name(column: &str, transform: Transform) -> String {
    match transform {
        Transform::Identity => column.to_owned(),
        Transform::Bucket(_) => format!("{column}_bucket"),
        Transform::Truncate(_) => format!("{column}_trunc"),
        Transform::Void => format!("{column}_null"),
        other => format!("{column}_{other}"),
    }
}

fn id_of(schema: &Schema, column: &str) -> LakeResult<i32> {
    let names = || schema.as_struct().fields().iter().map(|field| field.name.as_str());
    schema.field_id_by_name(column).ok_or_else(|| no_column(column, names()))
}

/// A column that is not there, with those that are.
pub(crate) fn no_column<'a>(column: &str, there: impl Iterator<Item = &'a str>) -> LakeError {
    let there: Vec<_> = there.map(|name| format!("`{name}`")).collect();
    LakeError::input(format!("there is no column `{column}`"), format!("the columns are {}", there.join(", ")))
}
