//! The catalog in Postgres. It uses the table layout of JDBC catalogs, so that PyIceberg's `SqlCatalog` and Spark's
//! `jdbc` catalog can read and write the same rows. Functions take a connection, so that a commit can be part of a
//! larger transaction.

mod entries;
mod namespaces;

pub use entries::{EntryType, Renamed};

use super::{Catalog, Located, NewTable, Properties, Swap, Swapped};
use crate::{
    boxed,
    error::{LakeError, LakeResult},
    storage::spellings,
    table::TableName,
};
use async_trait::async_trait;
use sqlx::postgres::{PgConnection, PgPool};
use std::collections::BTreeMap;

/// Placeholder property for a namespace without properties, as written by JDBC catalogs. A namespace exists only if
/// it has rows.
const EXISTS: &str = "exists";

#[derive(Debug, Clone)]
pub struct PgCatalog {
    pool: PgPool,
    name: String,
}

impl PgCatalog {
    /// Creates a catalog. The migrations of orch create its schema `lake`.
    pub fn new(pool: PgPool, name: impl Into<String>) -> Self {
        Self { pool, name: name.into() }
    }

    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Commits by compare-and-swap in the caller's transaction.
    #[boxed]
    pub async fn swap_on(&self, db: &mut PgConnection, swap: &Swap<'_>) -> LakeResult<Swapped> {
        let update = sqlx::query(
            "update lake.iceberg_tables set metadata_location = $1, previous_metadata_location = $2
             where catalog_name = $3 and table_namespace = $4 and table_name = $5 and metadata_location = $2",
        );
        let update = update.bind(swap.next).bind(swap.base).bind(&self.name);
        let done = update.bind(swap.table.namespace()).bind(swap.table.name()).execute(db).await?;
        Ok(if done.rows_affected() == 1 { Swapped::Done(None) } else { Swapped::Moved })
    }

    /// Creates a namespace, or sets properties of an existing one, in the caller's transaction.
    #[boxed]
    pub async fn declare_on(&self, db: &mut PgConnection, namespace: &str, properties: &Properties) -> LakeResult<()> {
        let (mut keys, mut values) = (vec![EXISTS], vec!["true"]);
        for (key, value) in properties {
            keys.push(key);
            values.push(value);
        }
        sqlx::query(
            "insert into lake.iceberg_namespace_properties (catalog_name, namespace, property_key, property_value)
             select $1, $2, key, value from unnest($3::text[], $4::text[]) as given (key, value)
             on conflict (catalog_name, namespace, property_key) do update set property_value = excluded.property_value",
        )
        .bind(&self.name)
        .bind(namespace)
        .bind(keys)
        .bind(values)
        .execute(db)
        .await?;
        Ok(())
    }
}

#[async_trait]
impl Catalog for PgCatalog {
    fn name(&self) -> &str {
        &self.name
    }

    async fn load(&self, table: &TableName) -> LakeResult<Option<Located>> {
        let location = sqlx::query_scalar::<_, String>(
            "select metadata_location from lake.iceberg_tables
             where catalog_name = $1 and table_namespace = $2 and table_name = $3
               and coalesce(iceberg_type, 'TABLE') = 'TABLE'",
        );
        let location = location.bind(&self.name).bind(table.namespace()).bind(table.name());
        Ok(location.fetch_optional(&self.pool).await?.map(Located::at))
    }

    async fn locations(&self, tables: &[TableName]) -> LakeResult<Vec<Option<String>>> {
        let locations = sqlx::query_scalar(
            "select t.metadata_location
             from unnest($2::text[], $3::text[]) with ordinality as asked (namespace, name, place)
             left join lake.iceberg_tables t on t.catalog_name = $1 and t.table_namespace = asked.namespace
               and t.table_name = asked.name and coalesce(t.iceberg_type, 'TABLE') = 'TABLE'
             order by asked.place",
        );
        let namespaces: Vec<&str> = tables.iter().map(TableName::namespace).collect();
        let names: Vec<&str> = tables.iter().map(TableName::name).collect();
        Ok(locations.bind(&self.name).bind(namespaces).bind(names).fetch_all(&self.pool).await?)
    }

    async fn create(&self, new: &NewTable<'_>) -> LakeResult<Located> {
        if self.add(EntryType::Table, new.table, new.location).await? {
            return Ok(Located::at(new.location));
        }
        Err(LakeError::TableExists { table: new.table.clone() })
    }

    async fn drop_table(&self, table: &TableName) -> LakeResult<bool> {
        let mut db = self.pool.acquire().await?;
        self.remove_on(&mut db, EntryType::Table, table).await
    }

    async fn rename(&self, from: &TableName, to: &TableName) -> LakeResult<()> {
        let mut db = self.pool.acquire().await?;
        match self.rename_on(&mut db, EntryType::Table, from, to).await? {
            Renamed::Done => Ok(()),
            Renamed::Missing => Err(no_table(from, &self.name)),
            Renamed::Taken => Err(LakeError::TableExists { table: to.clone() }),
        }
    }

    async fn tables(&self, namespace: Option<&str>) -> LakeResult<Vec<TableName>> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "select table_namespace, table_name from lake.iceberg_tables
             where catalog_name = $1 and coalesce(iceberg_type, 'TABLE') = 'TABLE'
               and ($2::text is null or table_namespace = $2)
             order by table_namespace, table_name",
        )
        .bind(&self.name)
        .bind(namespace)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|(namespace, name)| TableName::new(namespace, name)).collect()
    }

    async fn other_table_in(&self, folder: &str, table: &TableName) -> LakeResult<Option<TableName>> {
        let row: Option<(String, String)> = sqlx::query_as(
            "select table_namespace, table_name from lake.iceberg_tables
             where exists (select from unnest($1::text[]) as spelled (folder) where starts_with(metadata_location, folder))
               and (table_namespace, table_name) <> ($2, $3) limit 1",
        )
        .bind(spellings(&format!("{folder}/")))
        .bind(table.namespace())
        .bind(table.name())
        .fetch_optional(&self.pool)
        .await?;
        row.map(|(namespace, name)| TableName::new(namespace, name)).transpose()
    }

    async fn namespaces(&self) -> LakeResult<BTreeMap<String, Properties>> {
        let rows: Vec<(String, Option<String>, Option<String>)> = sqlx::query_as(
            "select namespace, property_key, property_value from lake.iceberg_namespace_properties
             where catalog_name = $1
             union
             select table_namespace, null, null from lake.iceberg_tables where catalog_name = $1",
        )
        .bind(&self.name)
        .fetch_all(&self.pool)
        .await?;
        let mut namespaces: BTreeMap<String, Properties> = BTreeMap::new();
        for (namespace, key, value) in rows {
            let properties = namespaces.entry(namespace).or_default();
            if let Some(key) = key.filter(|key| key != EXISTS) {
                properties.insert(key, value.unwrap_or_default());
            }
        }
        Ok(namespaces)
    }

    async fn declare(&self, namespace: &str, properties: &Properties) -> LakeResult<()> {
        let mut db = self.pool.acquire().await?;
        self.declare_on(&mut db, namespace, properties).await
    }

    async fn drop_namespace(&self, namespace: &str) -> LakeResult<bool> {
        if self.has_entries(namespace).await? {
            let what = format!("namespace `{namespace}` is not empty");
            return Err(LakeError::input(what, "drop its tables and views first"));
        }
        let mut db = self.pool.acquire().await?;
        self.drop_namespace_on(&mut db, namespace).await
    }

    async fn swap(&self, swap: &Swap<'_>) -> LakeResult<Swapped> {
        let mut db = self.pool.acquire().await?;
        self.swap_on(&mut db, swap).await
    }

    async fn identity(&self) -> LakeResult<Option<String>> {
        // Identifies the database by server and OID. A database that was restored elsewhere counts as another
        // catalog.
        let database: String = sqlx::query_scalar(
            "select concat(system_identifier, '/', d.oid) from pg_control_system(), pg_database d
             where d.datname = current_database()",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Some(format!("{database}/{}", self.name)))
    }

    fn postgres(&self) -> Option<&PgCatalog> {
        Some(self)
    }
}

pub(crate) fn no_table(table: &TableName, lake: &str) -> LakeError {
    LakeError::NoTable {
        table: table.clone(),
        lake: lake.to_owned(),
        hint: "run what makes it, or create it with `lake.create`".to_owned(),
    }
}
