//! Catalogs map table names to the locations of current metadata files. A commit is a compare-and-swap of that
//! location; all other information about a table is in immutable files.

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
    /// Returns the name of this catalog. One Postgres database can hold several catalogs.
    fn name(&self) -> &str;

    /// Returns true if the catalog server writes table metadata itself and chooses its location. If false, the client
    /// writes the metadata file before it calls the catalog.
    fn writes_metadata(&self) -> bool {
        false
    }

    async fn load(&self, table: &TableName) -> LakeResult<Option<Located>>;

    /// Returns the locations of the current metadata files of several tables, in the order of `tables`.
    async fn locations(&self, tables: &[TableName]) -> LakeResult<Vec<Option<String>>> {
        let location = async |table| Ok(self.load(table).await?.map(|found| found.location));
        try_join_all(tables.iter().map(location)).await
    }

    /// Registers a new table. Its namespace need not exist.
    async fn create(&self, new: &NewTable<'_>) -> LakeResult<Located>;

    /// Removes the table from the catalog but keeps its files. Returns false if the table does not exist.
    async fn drop_table(&self, table: &TableName) -> LakeResult<bool>;

    async fn rename(&self, from: &TableName, to: &TableName) -> LakeResult<()>;

    /// Lists the tables of the given namespace, sorted by name. `None` lists the tables of all namespaces.
    async fn tables(&self, namespace: Option<&str>) -> LakeResult<Vec<TableName>>;

    /// Returns another table whose metadata is below the given folder, if there is one. Catalogs that assign the
    /// table folders themselves return `None`.
    async fn other_table_in(&self, _folder: &str, _table: &TableName) -> LakeResult<Option<TableName>> {
        Ok(None)
    }

    /// Returns all namespaces, with their properties. A namespace exists if it was declared or contains tables.
    async fn namespaces(&self) -> LakeResult<BTreeMap<String, Properties>>;

    /// Creates a namespace, or sets properties of an existing one.
    async fn declare(&self, namespace: &str, properties: &Properties) -> LakeResult<()>;

    /// Removes the declaration of a namespace. Fails if the namespace is not empty.
    async fn drop_namespace(&self, namespace: &str) -> LakeResult<bool>;

    /// Commits by compare-and-swap: changes the metadata location of the table from `base` to `next` if it is still
    /// `base`.
    ///
    /// # Errors
    /// After an error it is unknown whether the commit took effect. Reload the table to find out.
    async fn swap(&self, swap: &Swap<'_>) -> LakeResult<Swapped>;

    /// Returns the REST catalog if it supports atomic commits to several tables.
    async fn transactions(&self) -> LakeResult<Option<&RestCatalog>> {
        Ok(None)
    }

    /// Returns an identifier that distinguishes this catalog from others that may write to the same warehouse. `None`
    /// for REST catalogs, whose server decides who may write.
    async fn identity(&self) -> LakeResult<Option<String>> {
        Ok(None)
    }

    /// Returns the Postgres catalog if commits can be part of a Postgres transaction.
    fn postgres(&self) -> Option<&PgCatalog> {
        None
    }
}

pub type Properties = BTreeMap<String, String>;

/// A table as loaded from its catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Location of the metadata file.
    pub location: String,
    /// Table metadata from the catalog's response. `None` if the catalog does not return it; the metadata must then
    /// be read from the file at `location`.
    pub metadata: Option<Box<TableMetadata>>,
    /// Storage credentials that the catalog issued for the files of the table.
    pub keys: Vec<LentKeys>,
}

/// Storage credentials for files whose location starts with `prefix`.
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
    /// Location of the metadata file. Ignored by catalogs that write it themselves.
    pub location: &'a str,
    /// Folder for the table's files. `None` selects the default location.
    pub folder: Option<&'a str>,
}

/// A commit in a form that all kinds of catalogs accept. Catalogs that store a metadata location use `next`. REST
/// catalogs, which write the metadata themselves, use the updates.
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
    /// The commit succeeded. Contains the new table state if the catalog writes the metadata itself; otherwise the
    /// new state is at `next`.
    Done(Option<Located>),
    /// The commit lost the race: the metadata location was not `base`, because another writer committed first or the
    /// table was dropped.
    Moved,
}
