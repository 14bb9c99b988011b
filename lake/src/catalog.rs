//! Where the tables are: for each name the metadata file that is the table now. A commit is one compare-and-swap of that
//! location; everything else about a table is in files that never change.

mod postgres;

pub(crate) use postgres::no_table;

pub use postgres::{EntryType, PgCatalog, Renamed};

use crate::error::LakeResult;
use crate::table::TableName;
use async_trait::async_trait;
use futures::future::try_join_all;
use iceberg::{TableRequirement, TableUpdate};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Names of tables and where their metadata is. Ours is in Postgres; REST, Glue and Hive Metastore fit behind it.
#[async_trait]
pub trait Catalog: Debug + Send + Sync {
    /// Under which its tables are known: one Postgres holds several catalogs.
    fn name(&self) -> &str;

    /// The location of the table's metadata.
    async fn load(&self, table: &TableName) -> LakeResult<Option<String>>;

    /// The same for several tables, in their order.
    async fn locations(&self, tables: &[TableName]) -> LakeResult<Vec<Option<String>>> {
        try_join_all(tables.iter().map(|table| self.load(table))).await
    }

    /// Adds a table whose metadata was written. The namespace need not exist.
    async fn create(&self, table: &TableName, location: &str) -> LakeResult<()>;

    /// Takes the name away, not the files. `false`: there was none.
    async fn drop_table(&self, table: &TableName) -> LakeResult<bool>;

    async fn rename(&self, from: &TableName, to: &TableName) -> LakeResult<()>;

    /// In the order of their names; of one namespace, or of all.
    async fn tables(&self, namespace: Option<&str>) -> LakeResult<Vec<TableName>>;

    /// The table whose files are in this folder. Catalogs that give out the folders need not know.
    async fn table_in(&self, _folder: &str) -> LakeResult<Option<TableName>> {
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

    /// If commits of this catalog can be part of a Postgres transaction.
    fn postgres(&self) -> Option<&PgCatalog> {
        None
    }
}

pub type Properties = BTreeMap<String, String>;

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swapped {
    Done,
    /// The table was not at `base`: somebody was faster, or it is gone.
    Moved,
}
