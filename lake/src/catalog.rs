//! Where the tables are: for each name the metadata file that is the table now. A commit is one compare-and-swap of that
//! location; everything else about a table is in files that never change.

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

/// Names of tables and where their metadata is. Ours is in Postgres; those of others answer by REST.
#[async_trait]
pub trait Catalog: Debug + Send + Sync {
    /// Under which its tables are known: one Postgres holds several catalogs.
    fn name(&self) -> &str;

    /// It writes the metadata of tables itself, and says where they are. Else they are written before it is told of them.
    fn writes_metadata(&self) -> bool {
        false
    }

    async fn load(&self, table: &TableName) -> LakeResult<Option<Located>>;

    /// Where the metadata of several tables are, in the order of the tables.
    async fn locations(&self, tables: &[TableName]) -> LakeResult<Vec<Option<String>>> {
        let location = async |table| Ok(self.load(table).await?.map(|found| found.location));
        try_join_all(tables.iter().map(location)).await
    }

    /// Adds a table. The namespace need not exist.
    async fn create(&self, new: &NewTable<'_>) -> LakeResult<Located>;

    /// Takes the name away, not the files. `false`: there was none.
    async fn drop_table(&self, table: &TableName) -> LakeResult<bool>;

    async fn rename(&self, from: &TableName, to: &TableName) -> LakeResult<()>;

    /// In the order of their names; of one namespace, or of all.
    async fn tables(&self, namespace: Option<&str>) -> LakeResult<Vec<TableName>>;

    /// Another table than this one whose metadata is below the folder. Catalogs that assign the folders themselves return `None`.
    async fn other_table_in(&self, _folder: &str, _table: &TableName) -> LakeResult<Option<TableName>> {
        Ok(None)
    }

    /// Declared ones and those that tables are in, with their properties.
    async fn namespaces(&self) -> LakeResult<BTreeMap<String, Properties>>;

    /// Declares a namespace, or sets properties of one that is there.
    async fn declare(&self, namespace: &str, properties: &Properties) -> LakeResult<()>;

    /// Takes the declaration of a namespace away. Only an empty one goes.
    async fn drop_namespace(&self, namespace: &str) -> LakeResult<bool>;

    /// Moves the table from `base` to `next`, if it is still at `base`.
    ///
    /// # Errors
    /// An error says nothing about whether it was done: ask again where the table is.
    async fn swap(&self, swap: &Swap<'_>) -> LakeResult<Swapped>;

    /// If it takes changes of several tables in one commit over HTTP.
    async fn transactions(&self) -> LakeResult<Option<&RestCatalog>> {
        Ok(None)
    }

    /// Identifies the catalog among all that may write to a warehouse. `None` if its server decides who writes.
    async fn identity(&self) -> LakeResult<Option<String>> {
        Ok(None)
    }

    /// If commits of this catalog can be part of a Postgres transaction.
    fn postgres(&self) -> Option<&PgCatalog> {
        None
    }
}

pub type Properties = BTreeMap<String, String>;

/// A table as its catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Of its metadata.
    pub location: String,
    /// From a catalog that tells them; else they are in the file at `location`.
    pub metadata: Option<Box<TableMetadata>>,
    /// How its files are reached, where the catalog gives keys for them.
    pub keys: Vec<LentKeys>,
}

/// Keys of the storage for the files whose locations begin with `prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LentKeys {
    pub prefix: String,
    pub options: bucket::Options,
    /// In milliseconds; `None`: the catalog does not say when they end.
    pub end_at: Option<i64>,
}

impl Located {
    pub fn at(location: impl Into<String>) -> Located {
        Located { location: location.into(), metadata: None, keys: Vec::new() }
    }
}

/// A table to be added.
#[derive(Debug, Clone, Copy)]
pub struct NewTable<'a> {
    pub table: &'a TableName,
    pub metadata: &'a TableMetadata,
    /// Where they were written, for a catalog that does not write them itself.
    pub location: &'a str,
    /// Where the files of the table have to be, if not where they usually are.
    pub folder: Option<&'a str>,
}

/// One commit, as every kind of catalog needs it: those that keep a location take `next`, those that write the metadata
/// themselves (REST) take the updates.
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
    /// With the table as it is now, from a catalog that writes the metadata itself; else it is at `next`.
    Done(Option<Located>),
    /// The table was not at `base`: somebody was faster, or it is gone.
    Moved,
}
