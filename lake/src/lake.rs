//! A lake consists of a catalog of tables, a warehouse that stores their files, and a cache of metadata.

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

#[derive(Debug, Clone)]
pub struct LakeConfig {
    /// Database whose schema `lake` holds the catalog. This is the metadata Postgres, so that commits can be part of a
    /// task's completion.
    pub catalog: PgPool,
    /// Name of the catalog. Other clients, such as PyIceberg and Spark, must be configured with the same name.
    pub name: String,
    /// Base location of new tables, such as `file:///data/warehouse` or `s3://bucket/warehouse`.
    pub warehouse: String,
    /// Options for the server of an `s3://` warehouse.
    pub storage: bucket::Options,
}

/// A handle to a lake. Clones are cheap and share the cache.
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
    /// Opens a lake whose catalog is in Postgres. Sends no requests yet.
    ///
    /// # Errors
    /// The warehouse is not a supported URL.
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

    /// Opens the storage folder at a location. Accepts paths without `file://`, because some catalogs omit it.
    pub(crate) fn bucket(&self, location: &str) -> bucket::Result<Bucket> {
        if location.starts_with('/') {
            return Bucket::open(&format!("file://{location}"), self.storage());
        }
        Bucket::open(location, &self.0.storages.options_at(location))
    }

    /// Returns the storage options for table files in a bucket.
    pub fn storage(&self) -> &bucket::Options {
        self.0.storages.options()
    }

    pub fn warehouse(&self) -> &str {
        &self.0.warehouse
    }

    /// Returns the folders that may contain files of the table with this metadata file: the warehouse and, if the
    /// metadata file is outside the warehouse, its folder. Only tasks and admins can place a metadata file outside.
    /// The paths inside the metadata are not trusted, because their author may only have write access to the
    /// warehouse.
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

    /// Returns the identity of the catalog, which is queried once and cached. `None` for REST catalogs.
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

    /// Returns the current time of the catalog's database. REST catalogs offer no clock, so for them it is the local
    /// time.
    #[boxed]
    pub async fn now(&self) -> LakeResult<DateTime<Utc>> {
        let Some(catalog) = self.0.catalog.postgres() else { return Ok(now()) };
        Ok(sqlx::query_scalar("select now()").fetch_one(catalog.pool()).await?)
    }

    /// Loads the current state of a table.
    ///
    /// # Errors
    /// Returns `LakeError::NoTable` if it does not exist.
    #[boxed]
    pub async fn table(&self, name: &TableName) -> LakeResult<Table> {
        match self.find(name).await? {
            Some(table) => Ok(table),
            None => Err(no_table(name, self.0.catalog.name())),
        }
    }

    /// Loads the current state of a table, or returns `None` if it does not exist.
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

    /// Loads the table from a specific metadata file.
    #[boxed]
    pub async fn table_at(&self, name: &TableName, location: &str) -> LakeResult<Table> {
        self.located(name, Located::at(location)).await
    }

    /// Creates an empty table.
    ///
    /// # Errors
    /// Returns `LakeError::TableExists`, or an error if the definition is inconsistent.
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

    /// Writes the metadata file of a new table and returns its location. The table is not registered in the catalog
    /// yet.
    #[boxed]
    pub async fn write_new(&self, metadata: TableMetadata) -> LakeResult<String> {
        let location = MetadataLocation::new_with_metadata(metadata.location(), &metadata);
        self.write_metadata(&metadata, &location).await?;
        let location = location.to_string();
        self.0.cache.keep_metadata(&location, metadata);
        Ok(location)
    }

    /// Returns the default folder for the tables of a namespace.
    pub fn namespace_folder(&self, namespace: &str) -> String {
        format!("{}/{}", self.0.warehouse, namespace.replace('.', "/"))
    }

    /// Returns an unused folder for a new table. A renamed table keeps its folder, so a new table with the old name
    /// may get a different folder.
    ///
    /// # Errors
    /// Returns an error if the warehouse belongs to another catalog or another table already uses the folder
    /// `wanted`.
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

    /// Returns the table, creating it if it does not exist.
    ///
    /// # Errors
    /// Returns an error if the existing table lacks a column of the definition or has it with another type.
    #[boxed]
    pub async fn ensure(&self, name: &TableName, definition: &TableDef) -> LakeResult<Table> {
        let table = match self.find(name).await? {
            Some(table) => table,
            None => match self.create(name, definition).await {
                // Another process has created the table in the meantime.
                Err(LakeError::TableExists { .. }) => self.table(name).await?,
                made => return made,
            },
        };
        table.check_columns(definition)?;
        Ok(table)
    }

    /// Lists the tables of the given namespace, sorted by name. `None` lists the tables of all namespaces.
    #[boxed]
    pub async fn tables(&self, namespace: Option<&str>) -> LakeResult<Vec<TableName>> {
        self.0.catalog.tables(namespace).await
    }

    /// Removes the table from the catalog without deleting its files. Returns false if the table does not exist.
    #[boxed]
    pub async fn drop(&self, name: &TableName) -> LakeResult<bool> {
        self.0.catalog.drop_table(name).await
    }

    /// Removes the table from the catalog and deletes its files with [`Lake::delete_files`]. Returns `false` if the
    /// table does not exist.
    ///
    /// # Errors
    /// Returns an error, without deleting anything, if the warehouse belongs to another catalog.
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
