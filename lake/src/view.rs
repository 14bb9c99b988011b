//! Iceberg views: versioned SQL statements that are registered in the catalog. External engines create and read them.
//! Metadata files of views are written in the same way as those of tables.

use crate::{
    boxed,
    catalog::{EntryType, PgCatalog, Swap, Swapped},
    error::LakeResult,
    lake::Lake,
    table::TableName,
};
use bytes::Bytes;
use iceberg::ViewUpdate;
use iceberg::spec::{ViewMetadata, ViewMetadataBuilder};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// View property with the folder for metadata files. Default: `metadata` in the folder of the view.
const METADATA_PATH: &str = "write.metadata.path";

/// A view in the state that was current when it was loaded.
#[derive(Debug, Clone)]
pub struct View {
    pub name: TableName,
    pub location: String,
    pub metadata: ViewMetadata,
}

impl View {
    /// Reads a view from its metadata file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or does not contain view metadata.
    #[boxed]
    pub async fn read(lake: &Lake, name: &TableName, location: &str) -> LakeResult<View> {
        let text = lake.io().new_input(location)?.read().await?;
        let metadata = serde_json::from_slice(&text).map_err(iceberg::Error::from)?;
        Ok(View { name: name.clone(), location: location.to_owned(), metadata })
    }

    /// Writes the metadata file of a new view. The view is not registered in the catalog yet.
    #[boxed]
    pub async fn write(lake: &Lake, name: &TableName, metadata: ViewMetadata) -> LakeResult<View> {
        let own = || format!("{}/metadata", metadata.location().trim_end_matches('/'));
        let folder = metadata.properties().get(METADATA_PATH).cloned().unwrap_or_else(own);
        let version = metadata.versions().len();
        let location = format!("{}/{version:05}-{}.metadata.json", folder.trim_end_matches('/'), Uuid::new_v4());
        let view = View { name: name.clone(), location, metadata };
        let text = view.json()?.to_string();
        lake.io().new_output(&view.location)?.write(Bytes::from(text)).await?;
        Ok(view)
    }

    /// Returns the metadata as JSON for clients. Versions are in the order of their creation.
    pub fn json(&self) -> LakeResult<Value> {
        let mut json = serde_json::to_value(&self.metadata).map_err(iceberg::Error::from)?;
        if let Some(versions) = json["versions"].as_array_mut() {
            versions.sort_by_key(|version| version["version-id"].as_i64());
        }
        Ok(json)
    }

    /// Registers the view in the catalog, in the caller's transaction. Returns false if the name is in use.
    #[boxed]
    pub async fn add_on(&self, db: &mut PgConnection, catalog: &PgCatalog) -> LakeResult<bool> {
        catalog.add_on(db, EntryType::View, &self.name, &self.location).await
    }

    /// Returns the view's metadata after applying these updates. Writes nothing.
    ///
    /// # Errors
    /// Returns an error if the updates contradict the view.
    pub fn changed(&self, updates: Vec<ViewUpdate>) -> LakeResult<ViewMetadata> {
        let builder = updates.into_iter().try_fold(self.metadata.clone().into_builder(), apply)?;
        Ok(builder.build()?.metadata)
    }

    /// Replaces the view by its next version, in the caller's transaction. The metadata file of `next` must already
    /// be written. Returns false if another writer committed first.
    #[boxed]
    pub async fn swap_on(&self, db: &mut PgConnection, catalog: &PgCatalog, next: &View) -> LakeResult<bool> {
        let swap =
            Swap { table: &self.name, base: &self.location, next: &next.location, requirements: &[], updates: &[] };
        Ok(matches!(catalog.swap_on(db, &swap).await?, Swapped::Done(_)))
    }
}

fn apply(builder: ViewMetadataBuilder, update: ViewUpdate) -> iceberg::Result<ViewMetadataBuilder> {
    match update {
        ViewUpdate::AssignUuid { uuid } => Ok(builder.assign_uuid(uuid)),
        ViewUpdate::UpgradeFormatVersion { format_version } => builder.upgrade_format_version(format_version),
        ViewUpdate::AddSchema { schema, .. } => Ok(builder.add_schema(schema)),
        ViewUpdate::SetLocation { location } => Ok(builder.set_location(location)),
        ViewUpdate::SetProperties { updates } => builder.set_properties(updates),
        ViewUpdate::RemoveProperties { removals } => Ok(builder.remove_properties(&removals)),
        ViewUpdate::AddViewVersion { view_version } => builder.add_version(view_version),
        ViewUpdate::SetCurrentViewVersion { view_version_id } => builder.set_current_version_id(view_version_id),
    }
}
