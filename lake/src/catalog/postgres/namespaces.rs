//! Reads and changes the properties of a single namespace.

use super::{EXISTS, PgCatalog};
use crate::{boxed, catalog::Properties, error::LakeResult};
use sqlx::postgres::PgConnection;

impl PgCatalog {
    /// Returns the properties of a namespace. `None` if it was neither declared nor contains tables.
    #[boxed]
    pub async fn namespace(&self, namespace: &str) -> LakeResult<Option<Properties>> {
        let rows: Vec<(Option<String>, Option<String>)> = sqlx::query_as(
            "select property_key, property_value from lake.iceberg_namespace_properties
             where catalog_name = $1 and namespace = $2
             union all
             (select null, null from lake.iceberg_tables where catalog_name = $1 and table_namespace = $2 limit 1)",
        )
        .bind(&self.name)
        .bind(namespace)
        .fetch_all(&self.pool)
        .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let given = rows.into_iter().filter_map(|(key, value)| Some((key?, value.unwrap_or_default())));
        Ok(Some(given.filter(|(key, _)| key != EXISTS).collect()))
    }

    /// Returns true if the namespace contains tables or views.
    #[boxed]
    pub async fn has_entries(&self, namespace: &str) -> LakeResult<bool> {
        let found = sqlx::query_scalar(
            "select exists (select from lake.iceberg_tables where catalog_name = $1 and table_namespace = $2)",
        );
        Ok(found.bind(&self.name).bind(namespace).fetch_one(&self.pool).await?)
    }

    /// Sets and removes properties of a namespace in the caller's transaction. Returns the removed keys.
    #[boxed]
    pub async fn change_namespace_on(
        &self,
        db: &mut PgConnection,
        namespace: &str,
        set: &Properties,
        remove: &[String],
    ) -> LakeResult<Vec<String>> {
        self.declare_on(db, namespace, set).await?;
        let removed = sqlx::query_scalar(
            "delete from lake.iceberg_namespace_properties
             where catalog_name = $1 and namespace = $2 and property_key = any($3) and property_key <> $4
             returning property_key",
        );
        Ok(removed.bind(&self.name).bind(namespace).bind(remove).bind(EXISTS).fetch_all(db).await?)
    }

    /// Removes the declaration of a namespace in the caller's transaction. Returns false if the namespace was not
    /// declared.
    #[boxed]
    pub async fn drop_namespace_on(&self, db: &mut PgConnection, namespace: &str) -> LakeResult<bool> {
        let delete =
            sqlx::query("delete from lake.iceberg_namespace_properties where catalog_name = $1 and namespace = $2");
        Ok(delete.bind(&self.name).bind(namespace).execute(db).await?.rows_affected() > 0)
    }
}
