//! Definition of a new table: columns, key, partitions, sort order, location and properties.

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

/// Default table properties. zstd has the best compression ratio among the codecs that most readers support. The
/// format version is not set; its default 2 is supported by all readers.
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

    /// Creates a definition from an Arrow schema. A type that Iceberg lacks is replaced by one that can hold its
    /// values: `UInt32` becomes long, nanoseconds become microseconds.
    pub fn of(schema: &ArrowSchema) -> LakeResult<Self> {
        let schema = arrow_schema_to_schema_auto_assign_ids(&plain_types(schema)?)?;
        let fields = schema.as_struct().fields().iter().map(|field| field.as_ref().clone()).collect();
        Ok(Self { fields, ..Self::default() })
    }

    /// Adds a column that cannot be null.
    #[must_use]
    pub fn required(self, name: &str, column: impl Into<Type>) -> Self {
        self.field(NestedField::required(0, name, column.into()))
    }

    #[must_use]
    pub fn optional(self, name: &str, column: impl Into<Type>) -> Self {
        self.field(NestedField::optional(0, name, column.into()))
    }

    /// Adds a column that may have documentation and default values. Its id is assigned when the table is created.
    #[must_use]
    pub fn field(mut self, field: NestedField) -> Self {
        self.fields.push(field);
        self
    }

    /// Sets the key columns (Iceberg's identifier fields) and makes them required.
    #[must_use]
    pub fn key<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a partition field. The outermost field must be added first.
    #[must_use]
    pub fn partition(mut self, column: &str, transform: Transform) -> Self {
        self.partition.push((column.to_owned(), transform));
        self
    }

    /// Sets the sort order of the rows in each file, so that readers can skip more data. Writers sort the rows that
    /// they hold in memory.
    #[must_use]
    pub fn sorted<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.sort = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the folder of the table. Default: a folder below the warehouse with the name of the table.
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

    /// Sets the SQL query of the chart on the table's page. Its result must have a text or time column and a number
    /// column.
    #[must_use]
    pub fn chart(self, sql: &str) -> Self {
        self.property(CHART, sql)
    }

    /// Sets the SQL query that shows the history of one row; `{id}` stands for the value of column `id`. The sample
    /// rows on the table's page link to it.
    #[must_use]
    pub fn history(self, sql: &str) -> Self {
        self.property(HISTORY, sql)
    }

    pub(crate) fn wanted_location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// Returns the columns in order. Their ids are preliminary.
    pub fn fields(&self) -> &[NestedField] {
        &self.fields
    }

    /// Returns the change that gives an existing table the partitioning of this definition. `None` if the definition
    /// is unpartitioned.
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
            // Nested fields already have ids from the Arrow conversion, so ids of top-level columns start above them.
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

/// First id of top-level columns, above the ids that the Arrow conversion assigns to nested fields. All ids are
/// reassigned when the table is created.
const FIRST_ID: i32 = 1_000_000;

/// Returns the default name of a partition field, which is the same in Spark and PyIceberg.
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

/// Returns the error for a missing column. The hint lists the existing columns.
pub(crate) fn no_column<'a>(column: &str, there: impl Iterator<Item = &'a str>) -> LakeError {
    let there: Vec<_> = there.map(|name| format!("`{name}`")).collect();
    LakeError::input(format!("there is no column `{column}`"), format!("the columns are {}", there.join(", ")))
}
