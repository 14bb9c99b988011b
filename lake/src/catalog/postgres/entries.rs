//! Entries of the catalog: tables and views, whose names must be distinct from each other.

use super::PgCatalog;
use crate::{
    boxed,
    error::{LakeError, LakeResult},
    table::TableName,
};
use sqlx::postgres::PgConnection;

const UNIQUE_VIOLATION: &str = "23505";

/// Type of a catalog entry. JDBC catalogs store null for tables if they were created before views were supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryType {
    Table,
    View,
}

impl EntryType {
    fn as_str(self) -> &'static str {
        match self {
            EntryType::Table => "TABLE",
            EntryType::View => "VIEW",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renamed {
    Done,
    Missing,
    /// The new name is in use.
    Taken,
}

impl PgCatalog {
    /// Returns the type of an entry and the location of its metadata file.
    #[boxed]
    pub async fn entry(&self, name: &TableName) -> LakeResult<Option<(EntryType, String)>> {
        let row: Option<(bool, String)> = sqlx::query_as(
            "select coalesce(iceberg_type, 'TABLE') = 'VIEW', metadata_location from lake.iceberg_tables
             where catalog_name = $1 and table_namespace = $2 and table_name = $3",
        )
        .bind(&self.name)
        .bind(name.namespace())
        .bind(name.name())
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|(is_view, location)| (if is_view { EntryType::View } else { EntryType::Table }, location)))
    }

    /// Adds a table or view. Returns false if the name is in use.
    #[boxed]
    pub async fn add(&self, of: EntryType, name: &TableName, location: &str) -> LakeResult<bool> {
        let mut db = self.pool.acquire().await?;
        self.add_on(&mut db, of, name, location).await
    }

    /// Like [`PgCatalog::add`], in the caller's transaction.
    #[boxed]
    pub async fn add_on(
        &self,
        db: &mut PgConnection,
        of: EntryType,
        name: &TableName,
        location: &str,
    ) -> LakeResult<bool> {
        let insert = sqlx::query(
            "insert into lake.iceberg_tables
                 (catalog_name, table_namespace, table_name, metadata_location, iceberg_type)
             values ($1, $2, $3, $4, $5)
             on conflict do nothing",
        );
        let insert = insert.bind(&self.name).bind(name.namespace()).bind(name.name()).bind(location);
        Ok(insert.bind(of.as_str()).execute(db).await?.rows_affected() == 1)
    }

    /// Removes a table or view from the catalog but keeps its files. Returns false if there is no entry of this type.
    #[boxed]
    pub async fn remove_on(&self, db: &mut PgConnection, of: EntryType, name: &TableName) -> LakeResult<bool> {
        let delete = sqlx::query(
            "delete from lake.iceberg_tables
             where catalog_name = $1 and table_namespace = $2 and table_name = $3
               and coalesce(iceberg_type, 'TABLE') = $4",
        );
        let delete = delete.bind(&self.name).bind(name.namespace()).bind(name.name()).bind(of.as_str());
        Ok(delete.execute(db).await?.rows_affected() == 1)
    }

    #[boxed]
    pub async fn rename_on(
        &self,
        db: &mut PgConnection,
        of: EntryType,
        from: &TableName,
        to: &TableName,
    ) -> LakeResult<Renamed> {
        let update = sqlx::query(
            "update lake.iceberg_tables set table_namespace = $5, table_name = $6
             where catalog_name = $1 and table_namespace = $2 and table_name = $3
               and coalesce(iceberg_type, 'TABLE') = $4",
        );
        let update = update.bind(&self.name).bind(from.namespace()).bind(from.name()).bind(of.as_str());
        match update.bind(to.namespace()).bind(to.name()).execute(db).await {
            Ok(done) if done.rows_affected() == 1 => Ok(Renamed::Done),
            Ok(_) => Ok(Renamed::Missing),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(UNIQUE_VIOLATION) => {
                Ok(Renamed::Taken)
            }
            Err(error) => Err(LakeError::Catalog(error)),
        }
    }

    /// Returns up to `most` names in sorted order, starting after a given name.
    #[boxed]
    pub async fn names_after(
        &self,
        of: EntryType,
        namespace: &str,
        after: &str,
        most: i64,
    ) -> LakeResult<Vec<TableName>> {
        let names: Vec<String> = sqlx::query_scalar(
            "select table_name from lake.iceberg_tables
             where catalog_name = $1 and table_namespace = $2 and coalesce(iceberg_type, 'TABLE') = $3 and table_name > $4
             order by table_name limit $5",
        )
        .bind(&self.name)
        .bind(namespace)
        .bind(of.as_str())
        .bind(after)
        .bind(most)
        .fetch_all(&self.pool)
        .await?;
        names.into_iter().map(|name| TableName::new(namespace, name)).collect()
    }
}
