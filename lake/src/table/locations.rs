//! Determines the folders in which files of a table may be read, written and deleted.

use super::Table;
use crate::error::{LakeError, LakeResult};
use crate::storage::{Locations, folder_of_metadata};

impl Table {
    /// Returns the folders in which files of the table may be read. They include the whole warehouse, because its
    /// tables may share files.
    pub fn locations(&self) -> Locations {
        self.lake().locations_of(self.metadata_location())
    }

    /// Returns the folders in which files of the table may be written and deleted: the table's location and the
    /// folders of its metadata files. Folders outside [`Table::locations`] are excluded.
    pub fn own_locations(&self) -> Locations {
        let all = self.locations();
        if all == Locations::all() {
            return all;
        }
        let (metadata, warehouse) = (self.metadata(), Locations::new([self.lake().warehouse()]));
        let log = metadata.metadata_log().iter().map(|log| log.metadata_file.as_str());
        // Excludes the warehouse itself. Otherwise, a table whose metadata file is at the top of the warehouse could
        // delete the files of all other tables.
        let is_whole = |folder: &str| warehouse.admits_folder(folder) && !warehouse.admits(folder);
        let earlier = log.chain([self.metadata_location()]).map(folder_of_metadata).filter(|folder| !is_whole(folder));
        let mut own: Vec<&str> =
            earlier.chain([metadata.location()]).filter(|folder| all.admits_folder(folder)).collect();
        own.dedup();
        Locations::new(own)
    }

    /// Checks that the files are in folders where files of the table may be read.
    ///
    /// # Errors
    /// Returns an error if one of the files is not.
    pub fn check_read<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> LakeResult<()> {
        let locations = self.locations();
        self.none_outside(paths.into_iter().find(|path| !locations.admits(path)))
    }

    /// Checks the location of the table.
    ///
    /// # Errors
    /// Returns an error if the location is outside the warehouse, unless the table's metadata file is outside as
    /// well.
    pub(crate) fn check_location(&self) -> LakeResult<()> {
        let location = self.metadata().location();
        self.none_outside(Some(location).filter(|location| !self.own_locations().admits_folder(location)))
    }

    /// Checks all folders to which files of the table are written.
    ///
    /// # Errors
    /// Returns an error if [`Table::check_location`] fails, or a property such as `write.data.path` names a folder
    /// that does not belong to the table.
    pub(crate) fn check_written(&self) -> LakeResult<()> {
        self.check_location()?;
        let own = self.own_locations();
        self.none_outside(path_properties(self.metadata().properties()).find(|path| !own.admits_folder(path)))
    }

    fn none_outside(&self, path: Option<&str>) -> LakeResult<()> {
        let Some(path) = path else { return Ok(()) };
        let (table, warehouse) = (self.name(), self.lake().warehouse());
        let what =
            format!("table `{table}` names `{path}`, which is outside of its folders in the warehouse `{warehouse}`");
        Err(LakeError::input(
            what,
            "move the files into the location of the table, or let an admin register it where it is",
        ))
    }
}

/// Returns the folders that are set by properties such as `write.data.path`.
pub fn path_properties<'a>(
    properties: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> impl Iterator<Item = &'a str> {
    let is_path = |key: &str| key.starts_with("write.") && key.rsplit('.').next() == Some("path");
    properties.into_iter().filter(move |(key, _)| is_path(key)).map(|(_, path)| path.as_str())
}
