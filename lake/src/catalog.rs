//! Catalogs map the name of a table to its current metadata file. A commit is a compare-and-swap of that location;
//! everything else about a table is in immutable files.

mod postgres;
mod rest;

pub(crate) use postgres::no_table;

pub use postgres::{EntryType, PgCatalog, Renamed};
pub use rest::RestCatalog;

use crate::bucket;
use crate::error::LakeResult;
use crate::table::TableName;
use async_trait::async_trait;
use futures::future::try_join_all;
use iceberg::spec::TableMetadata;
use iceberg::{TableRequirement, TableUpdate};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// A catalog of tables. Orch's own catalog is in Postgres; external ones use REST.
#[async_trait]
pub trait Catalog: Debug + Send + Sync {
    /// Returns the name of the catalog. One Postgres database can hold several catalogs.
    fn name(&self) -> &str;

    /// Returns true if the catalog writes table metadata itself and decides its location. Otherwise the metadata is
    /// written before the catalog is called.
    fn writes_metadata(&self) -> bool {
        false
    }

    async fn load(&self, table: &TableName) -> LakeResult<Option<Located>>;

    /// Returns the metadata locations of several tables, in the order of the tables.
    async fn locations(&self, tables: &[TableName]) -> LakeResult<Vec<Option<String>>> {
        let location = async |table| Ok(self.load(table).await?.map(|found| found.location));
        try_join_all(tables.iter().map(location)).await
    }

    /// Adds a table. The namespace need not exist.
    async fn create(&self, new: &NewTable<'_>) -> LakeResult<Located>;

    /// Removes the name but not the files. Returns false if the table does not exist.
    async fn drop_table(&self, table: &TableName) -> LakeResult<bool>;

    async fn rename(&self, from: &TableName, to: &TableName) -> LakeResult<()>;

    /// Lists the tables of one namespace or of all, sorted by name.
    async fn tables(&self, namespace: Option<&str>) -> LakeResult<Vec<TableName>>;

    /// Returns another table whose metadata is below the folder. Catalogs that assign the folders themselves return
    /// `None`.
    async fn other_table_in(&self, _folder: &str, _table: &TableName) -> LakeResult<Option<TableName>> {
        Ok(None)
    }

    /// Returns the declared namespaces and those that contain tables, with their properties.
    async fn namespaces(&self) -> LakeResult<BTreeMap<String, Properties>>;

    /// Creates a namespace, or sets properties of an existing one.
    async fn declare(&self, namespace: &str, properties: &Properties) -> LakeResult<()>;

    /// Removes the declaration of a namespace. Fails if the namespace is not empty.
    async fn drop_namespace(&self, namespace: &str) -> LakeResult<bool>;

    /// Moves the table from `base` to `next`, if it is still at `base` (compare-and-swap).
    ///
    /// # Errors
    /// After an error it is unknown whether the swap was done; load the table to find out.
    async fn swap(&self, swap: &Swap<'_>) -> LakeResult<Swapped>;

    /// Returns the catalog if it supports commits of several tables over HTTP.
    async fn transactions(&self) -> LakeResult<Option<&RestCatalog>> {
        Ok(None)
    }

    /// Identifies the catalog among all that may write to a warehouse. `None` if its server decides who writes.
    async fn identity(&self) -> LakeResult<Option<String>> {
        Ok(None)
    }

    /// Returns the catalog if its commits can be part of a Postgres transaction.
    fn postgres(&self) -> Option<&PgCatalog> {
        None
    }
}

pub type Properties = BTreeMap<String, String>;

/// A table as returned by its catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Location of the metadata file.
    pub location: String,
    /// `None` if the catalog does not return metadata; then it is in the file at `location`.
    pub metadata: Option<Box<TableMetadata>>,
    /// Storage credentials that the catalog vends for the files of the table.
    pub keys: Vec<LentKeys>,
}

/// Storage credentials for the files whose locations begin with `prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LentKeys {
    pub prefix: String,
    pub options: bucket::Options,
    /// Expiry in milliseconds since the Unix epoch; `None` if unknown.
    pub end_at: Option<i64>,
}

impl Located {
    pub fn at(location: impl Into<String>) -> Located {
        Located { location: location.into(), metadata: None, keys: Vec::new() }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct NewTable<'a> {
    pub table: &'a TableName,
    pub metadata: &'a TableMetadata,
    /// Location of the metadata file, for a catalog that does not write it.
    pub location: &'a str,
    /// Folder for the files of the table; `None` for the default location.
    pub folder: Option<&'a str>,
}

/// One commit for any kind of catalog: catalogs that store a location use `next`, those that write the metadata
/// themselves (REST) use the updates.
#[derive(Debug, Clone, Copy)]
pub struct Swap<'a> {
    pub table: &'a TableName,
    pub base: &'a str,
    pub next: &'a str,
    pub requirements: &'a [TableRequirement],
    pub updates: &'a [TableUpdate],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swapped {
    /// Contains the new state of the table if the catalog writes the metadata itself; otherwise the table is at `next`.
    Done(Option<Located>),
    /// The table was not at `base`: another writer committed first, or the table was dropped.
    Moved,
}
