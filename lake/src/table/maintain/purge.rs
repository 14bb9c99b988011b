//! Deletes the files of dropped tables. Clients write the metadata and manifests, which may therefore contain any
//! path. A file is deleted only if it is in a folder of the table.

use super::reach;
use crate::boxed;
use crate::error::LakeResult;
use crate::lake::Lake;
use crate::table::Table;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use std::collections::BTreeSet;

/// Maximum number of files deleted concurrently.
const DELETED_AT_ONCE: usize = 8;

impl Lake {
    /// Deletes all files of a dropped table, including those of expired snapshots. Files outside the table's folders
    /// are kept. Data files are kept if the table property `gc.enabled` is false.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read or deleted. Other files may already have been deleted.
    #[boxed]
    pub async fn delete_files(&self, table: &Table) -> LakeResult<()> {
        let paths = files(table).await?;
        if table.check_location().is_ok() {
            self.purge_expired(table).await?;
        }
        self.delete_own_files(table, paths).await?;
        Ok(())
    }

    /// Deletes the files that are in folders of the table, and returns their number. Logs a warning for files
    /// outside.
    pub(super) async fn delete_own_files(
        &self,
        table: &Table,
        paths: impl IntoIterator<Item = String>,
    ) -> LakeResult<u64> {
        let own = table.own_locations();
        let (inside, outside): (Vec<String>, Vec<String>) = paths.into_iter().partition(|path| own.admits(path));
        if let Some(first) = outside.first() {
            let count = outside.len();
            tracing::warn!(table = %table.name(), count, first, "files outside of the table's folders are not deleted");
        }
        let deleted = inside.len() as u64;
        let delete = stream::iter(inside).map(|path| async move { self.delete_file(&path).await });
        delete.buffer_unordered(DELETED_AT_ONCE).try_collect::<()>().await?;
        Ok(deleted)
    }
}

/// Returns the files that the metadata and manifests of a table reference. Does not read manifests outside the
/// warehouse.
async fn files(table: &Table) -> LakeResult<BTreeSet<String>> {
    let (inner, metadata, readable) = (table.iceberg(), table.metadata(), table.locations());
    let mut files: BTreeSet<String> = metadata.metadata_log().iter().map(|log| log.metadata_file.clone()).collect();
    files.insert(table.metadata_location().to_owned());
    files.extend(reach::statistics(metadata).map(|(_, path)| path));
    files.extend(metadata.snapshots().map(|snapshot| snapshot.manifest_list().to_owned()));
    let lists = metadata.snapshots().filter(|snapshot| readable.admits(snapshot.manifest_list()));
    let manifests = reach::manifests(inner, lists).await?;
    files.extend(manifests.keys().cloned());
    if metadata.table_properties()?.gc_enabled {
        let manifests = manifests.into_values().filter(|manifest| readable.admits(&manifest.manifest_path));
        let mut content = reach::content(inner, manifests.collect());
        while let Some(paths) = content.try_next().await? {
            files.extend(paths);
        }
    }
    Ok(files)
}
