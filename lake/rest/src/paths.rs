//! Checks the file paths that clients send. Every path must be in the warehouse and in a folder of the table.
//! Exception: an admin may name a table location or a metadata file elsewhere, which is recorded in the audit log.

use crate::refusal::{Refusal, RestResult};
use iceberg::TableUpdate;
use iceberg::spec::{TableMetadata, ViewMetadata};
use orch_lake::table::path_properties;
use orch_lake::{Locations, Table};

/// Checks the file paths in one request.
pub(crate) struct PathCheck<'a> {
    pub(crate) warehouse: &'a str,
    pub(crate) is_admin: bool,
    /// Paths outside the warehouse that an admin has named. They are recorded in the audit log.
    pub(crate) outside: Vec<String>,
}

impl PathCheck<'_> {
    fn refusal(&self, path: &str, folders: &str) -> Refusal {
        let warehouse = self.warehouse;
        Refusal::forbidden(format!(
            "`{path}` is outside of {folders} `{warehouse}`; only the role `admin` registers files there"
        ))
    }

    /// Checks a table location or the path of a metadata file.
    pub(crate) fn place(&mut self, path: &str) -> RestResult<()> {
        if Locations::new([self.warehouse]).admits(path) {
            return Ok(());
        }
        if !self.is_admin {
            return Err(self.refusal(path, "the warehouse"));
        }
        self.outside.push(path.to_owned());
        Ok(())
    }

    /// Checks that a file or folder is in one of the table's folders. This is required for all roles.
    fn own(&self, path: &str, folders: &Locations) -> RestResult<()> {
        if folders.admits_folder(path) {
            return Ok(());
        }
        let warehouse = self.warehouse;
        Err(Refusal::forbidden(format!(
            "`{path}` is outside of the folders of the table in the warehouse `{warehouse}`"
        )))
    }

    /// Checks the metadata of a new table, including its location.
    pub(crate) fn new_table(&mut self, metadata: &TableMetadata) -> RestResult<()> {
        self.place(metadata.location())?;
        let folders = Locations::new([metadata.location()]);
        path_properties(metadata.properties()).try_for_each(|path| self.own(path, &folders))?;
        named(metadata).try_for_each(|path| self.own(path, &folders))
    }

    /// Checks the metadata of a view. `known` contains the folders in which the view's files may already be.
    pub(crate) fn view(&mut self, metadata: &ViewMetadata, known: &Locations) -> RestResult<()> {
        if !known.admits_folder(metadata.location()) {
            self.place(metadata.location())?;
        }
        let folders = known.clone().and(metadata.location());
        let mut properties = path_properties(metadata.properties());
        properties.try_for_each(|path| if folders.admits_folder(path) { Ok(()) } else { self.place(path) })
    }

    /// Checks all paths in the metadata of a registered table.
    pub(crate) fn registered(&mut self, table: &Table) -> RestResult<()> {
        let (metadata, own) = (table.metadata(), table.own_locations());
        self.place(metadata.location())?;
        let log = metadata.metadata_log().iter().map(|log| log.metadata_file.as_str());
        for path in log.chain(path_properties(metadata.properties())).chain(named(metadata)) {
            if !own.admits_folder(path) {
                if !self.is_admin {
                    return Err(self.refusal(path, "the folders of the table in the warehouse"));
                }
                self.outside.push(path.to_owned());
            }
        }
        Ok(())
    }

    /// Checks the paths in a commit to a table.
    pub(crate) fn commit(&mut self, table: &Table, updates: &[TableUpdate]) -> RestResult<()> {
        let mut folders = table.own_locations();
        for location in locations(updates).filter(|location| *location != table.metadata().location()) {
            self.place(location)?;
            folders = folders.and(location);
        }
        updates.iter().try_for_each(|update| match update {
            TableUpdate::AddSnapshot { snapshot } => self.own(snapshot.manifest_list(), &folders),
            TableUpdate::SetStatistics { statistics } => self.own(&statistics.statistics_path, &folders),
            TableUpdate::SetPartitionStatistics { partition_statistics } => {
                self.own(&partition_statistics.statistics_path, &folders)
            }
            TableUpdate::SetProperties { updates } => {
                path_properties(updates).try_for_each(|path| self.own(path, &folders))
            }
            _ => Ok(()),
        })
    }
}

pub(crate) fn locations(updates: &[TableUpdate]) -> impl Iterator<Item = &str> {
    updates.iter().filter_map(|update| match update {
        TableUpdate::SetLocation { location } => Some(location.as_str()),
        _ => None,
    })
}

/// Returns the paths of the manifest lists and statistics files in the metadata of a table.
fn named(metadata: &TableMetadata) -> impl Iterator<Item = &str> {
    let lists = metadata.snapshots().map(|snapshot| snapshot.manifest_list());
    let statistics = metadata.statistics_iter().map(|file| file.statistics_path.as_str());
    let of_partitions = metadata.partition_statistics_iter().map(|file| file.statistics_path.as_str());
    lists.chain(statistics).chain(of_partitions)
}
