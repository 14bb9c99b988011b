//! Iceberg tables: read, append, overwrite, upsert, delete, change the schema, maintain. A write creates files and
//! returns a [`Change`]. Committing the change makes the files visible.

mod append;
pub(crate) mod cache;
mod change;
mod commit;
mod definition;
mod delete;
mod equality;
pub mod evolve;
mod filter;
mod keys;
mod locations;
pub mod maintain;
mod merge;
mod name;
mod overwrite;
mod plan;
mod position;
mod read;
mod rewrite;
mod spark;
pub mod spec;
mod step;
mod types;
mod upsert;
mod write;
mod written;

pub(crate) use commit::now;

pub use change::{Change, Committed, File, KEY_PROPERTY, Region};
pub use definition::{TableDef, partition_name};
pub use equality::{MAX_DELETE_KEY_BYTES, read_live};
pub use filter::{Filter, Op, Value};
pub use keys::Keys;
pub use locations::path_properties;
pub use merge::{Merge, MergedShare};
pub use name::TableName;
pub use plan::{LiveFile, Plan, PlannedFile};
pub use read::{At, FilesRead, Scan};
pub use rewrite::RowMode;
pub use spec::TableSpec;
pub use step::CommitStep;
pub use types::plain_types;
pub use write::Options;
pub use written::WrittenFile;

use crate::{
    boxed,
    error::{LakeError, LakeResult},
    lake::Lake,
};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use evolve::is_wider;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{
    MAIN_BRANCH, NestedFieldRef, SchemaRef, SnapshotRef, SnapshotReference, SnapshotRetention, TableMetadata,
    TableMetadataRef,
};
use std::sync::Arc;

/// A table in the state that was current when it was loaded. Later commits of other writers are not visible.
#[derive(Debug, Clone)]
pub struct Table {
    lake: Lake,
    name: TableName,
    location: Arc<str>,
    inner: iceberg::table::Table,
    /// True if this is an older state of the table than the catalog's.
    is_past: bool,
}

impl Table {
    pub(crate) fn new(lake: &Lake, name: &TableName, location: &str, metadata: TableMetadataRef) -> LakeResult<Self> {
        let inner = iceberg::table::Table::builder()
            .file_io(lake.io().clone())
            .identifier(name.ident())
            .metadata(metadata)
            .metadata_location(location)
            .runtime(lake.runtime().clone())
            .build()?;
        Ok(Self { lake: lake.clone(), name: name.clone(), location: location.into(), inner, is_past: false })
    }

    pub fn name(&self) -> &TableName {
        &self.name
    }

    pub fn lake(&self) -> &Lake {
        &self.lake
    }

    /// Returns the table as a type of the `iceberg` crate.
    pub fn iceberg(&self) -> &iceberg::table::Table {
        &self.inner
    }

    /// Returns the table for the scan of the `iceberg` crate. That scan uses the schema of the snapshot, so the
    /// returned table's current snapshot has the current schema. Otherwise columns that were added or renamed since
    /// could not be read.
    pub fn iceberg_now(&self) -> LakeResult<iceberg::table::Table> {
        let (metadata, schema_id) = (self.metadata(), self.metadata().current_schema_id());
        let written = metadata.current_snapshot().filter(|snapshot| snapshot.schema_id() != Some(schema_id));
        let Some(written) = written else { return Ok(self.inner.clone()) };
        let mut json = serde_json::to_value(metadata).map_err(iceberg::Error::from)?;
        let snapshots = json["snapshots"].as_array_mut().into_iter().flatten();
        for snapshot in snapshots.filter(|snapshot| snapshot["snapshot-id"] == written.snapshot_id()) {
            snapshot["schema-id"] = schema_id.into();
        }
        let metadata: TableMetadata = serde_json::from_value(json).map_err(iceberg::Error::from)?;
        Ok(Self::new(&self.lake, &self.name, &self.location, Arc::new(metadata))?.inner)
    }

    pub fn metadata(&self) -> &TableMetadata {
        self.inner.metadata()
    }

    pub fn metadata_ref(&self) -> TableMetadataRef {
        self.inner.metadata_ref()
    }

    /// Returns the location of the metadata file from which the table was loaded.
    pub fn metadata_location(&self) -> &str {
        &self.location
    }

    pub fn schema(&self) -> &SchemaRef {
        self.metadata().current_schema()
    }

    /// Returns the current schema as an Arrow schema with field ids.
    pub fn arrow_schema(&self) -> LakeResult<ArrowSchemaRef> {
        Ok(Arc::new(schema_to_arrow_schema(self.schema())?))
    }

    /// Returns the snapshot that readers use by default.
    pub fn current_snapshot(&self) -> Option<&SnapshotRef> {
        self.metadata().current_snapshot()
    }

    /// Returns the names of the key columns (Iceberg's identifier fields).
    pub fn key(&self) -> Vec<String> {
        let schema = self.schema();
        let mut ids: Vec<_> = schema.identifier_field_ids().collect();
        ids.sort_unstable();
        ids.iter().filter_map(|id| schema.name_by_field_id(*id)).map(str::to_owned).collect()
    }

    pub fn property(&self, key: &str) -> Option<&str> {
        self.metadata().properties().get(key).map(String::as_str)
    }

    /// Loads the current state of the table from the catalog.
    #[boxed]
    pub async fn refresh(&self) -> LakeResult<Table> {
        self.lake.table(&self.name).await
    }

    /// Returns the table at a snapshot, with the current schema. `None` selects the empty state before the first
    /// snapshot. A change that is based on the result is committed onto the current state.
    ///
    /// # Errors
    /// Returns an error if the snapshot has expired.
    pub fn as_of(&self, snapshot_id: Option<i64>) -> LakeResult<Table> {
        if self.current_snapshot().map(|snapshot| snapshot.snapshot_id()) == snapshot_id {
            return Ok(self.clone());
        }
        let builder = self.metadata().clone().into_builder(Some(self.location.to_string()));
        let builder = match snapshot_id {
            Some(snapshot_id) => {
                self.snapshot_at(&At::Snapshot(snapshot_id))?;
                let retention = SnapshotRetention::Branch {
                    min_snapshots_to_keep: None,
                    max_snapshot_age_ms: None,
                    max_ref_age_ms: None,
                };
                builder.set_ref(MAIN_BRANCH, SnapshotReference { snapshot_id, retention })?
            }
            None => builder.remove_ref(MAIN_BRANCH),
        };
        let then = Table::new(&self.lake, &self.name, &self.location, Arc::new(builder.build()?.metadata))?;
        Ok(Table { is_past: true, ..then })
    }

    /// Returns a function that checks whether rows can be stored in the table. It fails for a null in a required
    /// column or a value that does not fit its column. It reads no files.
    pub fn row_check(&self) -> LakeResult<impl Fn(&RecordBatch) -> LakeResult<()> + use<>> {
        let schema = self.arrow_schema()?;
        Ok(move |rows: &RecordBatch| types::conform(rows, &schema).map(drop))
    }

    /// Checks that the table has the columns of the definition, with the same or wider types.
    pub(crate) fn check_columns(&self, definition: &TableDef) -> LakeResult<()> {
        for wanted in definition.fields() {
            let Some(there) = self.schema().field_by_name(&wanted.name) else {
                let what = format!("table `{}` has no column `{}`", self.name, wanted.name);
                let is_new = |name: &str| definition.fields().iter().all(|field| field.name != name);
                let same_type = |field: &&NestedFieldRef| field.field_type == wanted.field_type && is_new(&field.name);
                let hint = match self.schema().as_struct().fields().iter().find(same_type) {
                    Some(other) => {
                        format!("if it was renamed to `{}`, rename it back or change the definition", other.name)
                    }
                    None => "add it, or write to another table".into(),
                };
                return Err(LakeError::input(what, hint));
            };
            if wanted.field_type.is_primitive() && !is_wider(&wanted.field_type, &there.field_type) {
                let (name, column) = (&self.name, &wanted.name);
                let what =
                    format!("column `{column}` of table `{name}` is {}, not {}", there.field_type, wanted.field_type);
                return Err(LakeError::input(what, "change the definition, or the type of the column"));
            }
        }
        Ok(())
    }
}
