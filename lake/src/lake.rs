//! A lake: a catalog of tables, a warehouse where their files are, and what was read of them already.

mod connection;
pub(crate) mod home;
mod owner;

pub use owner::{Adopted, Owner};

use crate::{
    boxed,
    bucket::{self, Bucket},
    catalog::{Catalog, Located, NewTable, PgCatalog, no_table},
    error::{LakeError, LakeResult},
    storage::{Locations, Storages, folder_of_metadata},
    table::cache::Cache,
    table::now,
    table::{Table, TableDef, TableName},
};
use chrono::{DateTime, Utc};
use iceberg::io::{FileIO, FileIOBuilder};
use iceberg::spec::{TableMetadata, TableMetadataBuilder};
use iceberg::{MetadataLocation, Runtime};
use sqlx::postgres::PgPool;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;
use tokio::time::Instant;
use uuid::Uuid;

/// How to reach a lake.
#[derive(Debug, Clone)]
pub struct LakeConfig {
    /// The database whose schema `lake` holds the catalog: the metadata Postgres, so that commits can be part of a task's
    /// completion.
    pub catalog: PgPool,
    /// Under which the tables are known there: PyIceberg and Spark must use the same.
    pub name: String,
    /// Where new tables go: `file:///data/warehouse`, `s3://bucket/warehouse`.
    pub warehouse: String,
    /// How the server of an `s3://` warehouse is reached.
    pub storage: bucket::Options,
}

/// Cheap to clone; clones share what they know.
#[derive(Debug, Clone)]
pub struct Lake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    catalog: Arc<dyn Catalog>,
    io: FileIO,
    storages: Storages,
    warehouse: String,
    cache: Cache,
    runtime: Runtime,
    identity: OnceCell<Option<String>>,
    owner_checked: Mutex<Option<Instant>>,
}

impl Lake {
    /// Opens a lake whose catalog is in Postgres. Nothing is asked yet.
    ///
    /// # Errors
    /// The warehouse is no URL that can be served.
    pub fn open(config: LakeConfig) -> LakeResult<Self> {
        let wrong = match url::Url::parse(&config.warehouse).as_ref().map(url::Url::scheme) {
            Err(_) => Some("is no URL"),
            Ok("file" | "s3" | "s3a" | "s3n") => None,
            Ok(_) => Some("is at a place that is not known here"),
        };
        if let Some(wrong) = wrong {
            let what = format!("the warehouse `{}` {wrong}", config.warehouse);
            return Err(LakeError::input(what, "write `file:///folder` or `s3://bucket/folder`"));
        }
        Self::with_catalog(Arc::new(PgCatalog::new(config.catalog, config.name)), config.storage, &config.warehouse)
    }

    /// A lake with any catalog.
    pub fn with_catalog(catalog: Arc<dyn Catalog>, storage: bucket::Options, warehouse: &str) -> LakeResult<Self> {
        let warehouse = warehouse.trim_end_matches('/').to_owned();
        let runtime = Runtime::try_current()?;
        let storages = Storages::new(storage);
        let io = FileIOBuilder::new(Arc::new(storages.clone())).build();
        let (cache, identity, owner_checked) = (Cache::default(), OnceCell::new(), Mutex::default());
        Ok(Self(Arc::new(Inner { catalog, io, storages, warehouse, cache, runtime, identity, owner_checked })))
    }

    pub fn catalog(&self) -> &Arc<dyn Catalog> {
        &self.0.catalog
    }

    pub fn io(&self) -> &FileIO {
        &self.0.io
    }

    /// The folder at a location, such as the folder of a table. Some catalogs write paths without `file://`.
    pub(crate) fn bucket(&self, location: &str) -> bucket::Result<Bucket> {
        if location.starts_with('/') {
            return Bucket::open(&format!("file://{location}"), self.storage());
        }
        Bucket::open(location, &self.0.storages.options_at(location))
    }

    /// How the server of the files is reached, if they are in a bucket.
    pub fn storage(&self) -> &bucket::Options {
        self.0.storages.options()
    }

    pub fn warehouse(&self) -> &str {
        &self.0.warehouse
    }

    /// The folders in which the table with this metadata file may have files: the warehouse, and, if its metadata file is
    /// elsewhere, the folder of that. Only tasks and admins can put it elsewhere. The metadata itself is not trusted: its writer
    /// may be allowed to write to the warehouse only.
    pub fn locations_of(&self, metadata_file: &str) -> Locations {
        if self.0.catalog.postgres().is_none() {
            return Locations::all();
        }
        let warehouse = Locations::new([self.warehouse()]);
        if warehouse.admits(metadata_file) { warehouse } else { warehouse.and(folder_of_metadata(metadata_file)) }
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.0.cache
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    /// The identity of the catalog, queried once. `None` for catalogs over HTTP.
    async fn catalog_identity(&self) -> LakeResult<Option<String>> {
        self.0.identity.get_or_try_init(|| self.0.catalog.identity()).await.cloned()
    }

    fn was_owner_checked(&self) -> bool {
        let checked = *self.0.owner_checked.lock().unwrap_or_else(PoisonError::into_inner);
        checked.is_some_and(|at| at.elapsed() < owner::CHECKED_FOR)
    }

    fn set_owner_checked(&self) {
        *self.0.owner_checked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// The time of the catalog's database. Of a catalog over HTTP, which has no clock for its clients, that of this process.
    #[boxed]
    pub async fn now(&self) -> LakeResult<DateTime<Utc>> {
        let Some(catalog) = self.0.catalog.postgres() else { return Ok(now()) };
        Ok(sqlx::query_scalar("select now()").fetch_one(catalog.pool()).await?)
    }

    /// The table as it is now.
    ///
    /// # Errors
    /// `LakeError::NoTable` if it is not there.
    #[boxed]
    pub async fn table(&self, name: &TableName) -> LakeResult<Table> {
        match self.find(name).await? {
            Some(table) => Ok(table),
            None => Err(no_table(name, self.0.catalog.name())),
        }
    }

    /// The table as it is now, if it is there.
    #[boxed]
    pub async fn find(&self, name: &TableName) -> LakeResult<Option<Table>> {
        match self.0.catalog.load(name).await? {
            Some(found) => Ok(Some(self.located(name, found).await?)),
            None => Ok(None),
        }
    }

    pub(crate) async fn located(&self, name: &TableName, found: Located) -> LakeResult<Table> {
        let Located { location, metadata, keys } = found;
        for keys in keys {
            self.0.storages.lend(keys)?;
        }
        let metadata = match metadata {
            Some(metadata) => self.0.cache.keep_metadata(&location, *metadata),
            None => self.0.cache.metadata(&self.0.io, &location).await?,
        };
        Table::new(self, name, &location, metadata)
    }

    /// The table as one metadata file has it.
    #[boxed]
    pub async fn table_at(&self, name: &TableName, location: &str) -> LakeResult<Table> {
        self.located(name, Located::at(location)).await
    }

    /// Makes a new, empty table.
    ///
    /// # Errors
    /// `LakeError::TableExists`; or the definition contradicts itself.
    #[boxed]
    pub async fn create(&self, name: &TableName, definition: &TableDef) -> LakeResult<Table> {
        let (catalog, folder) = (self.catalog(), definition.wanted_location());
        let home = if catalog.writes_metadata() { None } else { Some(self.folder_for(name, folder).await?) };
        let creation = definition.creation(name.name(), home.unwrap_or_default())?;
        let metadata = TableMetadataBuilder::from_table_creation(creation)?.build()?.metadata;
        if catalog.writes_metadata() {
            let made = catalog.create(&NewTable { table: name, metadata: &metadata, location: "", folder }).await?;
            return self.located(name, made).await;
        }
        let location = self.write_new(metadata.clone()).await?;
        match catalog.create(&NewTable { table: name, metadata: &metadata, location: &location, folder }).await {
            Ok(made) => self.located(name, made).await,
            Err(error) => {
                if let LakeError::TableExists { .. } = error {
                    self.0.io.delete(&location).await?;
                }
                Err(error)
            }
        }
    }

    /// Writes the metadata of a new table, and says where they are. No name leads to them yet.
    #[boxed]
    pub async fn write_new(&self, metadata: TableMetadata) -> LakeResult<String> {
        let location = MetadataLocation::new_with_metadata(metadata.location(), &metadata);
        self.write_metadata(&metadata, &location).await?;
        let location = location.to_string();
        self.0.cache.keep_metadata(&location, metadata);
        Ok(location)
    }

    /// Where tables of a namespace are, unless they are said to be elsewhere.
    pub fn namespace_folder(&self, namespace: &str) -> String {
        format!("{}/{}", self.0.warehouse, namespace.replace('.', "/"))
    }

    /// Returns the folder of a new table, which no other table of the catalog has. A renamed table keeps its folder, so its
    /// old name may get another one.
    ///
    /// # Errors
    /// The warehouse belongs to another catalog, or the wanted folder to another table.
    #[boxed]
    pub async fn folder_for(&self, name: &TableName, wanted: Option<&str>) -> LakeResult<String> {
        self.check_owner().await?;
        let usual = format!("{}/{}", self.namespace_folder(name.namespace()), name.name());
        let folder = wanted.map_or(usual, |wanted| wanted.trim_end_matches('/').to_owned());
        match self.0.catalog.other_table_in(&folder, name).await? {
            Some(other) if wanted.is_some() => {
                let what = format!("the files of table `{other}` are in `{folder}`");
                Err(LakeError::input(what, format!("give `{name}` another location")))
            }
            Some(_) => Ok(format!("{folder}-{}", Uuid::new_v4().simple())),
            None => Ok(folder),
        }
    }

    /// The table, made if it is not there.
    ///
    /// # Errors
    /// It is there and lacks a column of the definition, or has it with another type.
    #[boxed]
    pub async fn ensure(&self, name: &TableName, definition: &TableDef) -> LakeResult<Table> {
        let table = match self.find(name).await? {
            Some(table) => table,
            None => match self.create(name, definition).await {
                // Somebody was faster.
                Err(LakeError::TableExists { .. }) => self.table(name).await?,
                made => return made,
            },
        };
        table.check_columns(definition)?;
        Ok(table)
    }

    /// All tables, in the order of their names; of one namespace, or of all.
    #[boxed]
    pub async fn tables(&self, namespace: Option<&str>) -> LakeResult<Vec<TableName>> {
        self.0.catalog.tables(namespace).await
    }

    /// Takes the table out of the catalog and leaves its files. `false`: there was none.
    #[boxed]
    pub async fn drop(&self, name: &TableName) -> LakeResult<bool> {
        self.0.catalog.drop_table(name).await
    }

    /// Removes the table from the catalog and deletes its files as [`Lake::delete_files`] does. Returns `false` if the table does
    /// not exist.
    ///
    /// # Errors
    /// The warehouse belongs to another catalog; then nothing is deleted.
    #[boxed]
    pub async fn purge(&self, name: &TableName) -> LakeResult<bool> {
        let Some(table) = self.find(name).await? else { return Ok(false) };
        self.check_owner().await?;
        let dropped = self.0.catalog.drop_table(name).await?;
        self.delete_files(&table).await?;
        Ok(dropped)
    }

    #[boxed]
    pub async fn rename(&self, from: &TableName, to: &TableName) -> LakeResult<()> {
        self.0.catalog.rename(from, to).await
    }

    pub(crate) async fn write_metadata(&self, metadata: &TableMetadata, location: &MetadataLocation) -> LakeResult<()> {
        Ok(metadata.write_to(&self.0.io, location).await?)
    }
}
