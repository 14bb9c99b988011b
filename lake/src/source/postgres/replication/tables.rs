//! Reads the definitions of the captured tables from the Postgres catalog, and manages their publication.

use super::wire::Rows;
use super::{Column, Relation, Source, drop_rows, literal, quoted};
use crate::boxed;
use anyhow::anyhow;
use orch_sdk::task::TaskResult;
use serde::Deserialize;

/// A table definition from the Postgres catalog.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CaughtTable {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    /// Replica identity of the table: `d` for the primary key, `i` for an index, `f` for all columns, `n` for none.
    pub identity: char,
    /// The columns that the publication includes, in order.
    pub columns: Vec<CaughtColumn>,
    pub is_published: bool,
    /// SQL condition that selects the published rows. `None` if all rows are published.
    pub filter: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CaughtColumn {
    pub name: String,
    pub type_oid: u32,
    pub is_key: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publication {
    /// True if the publication includes updates or deletes, which need the old row.
    pub sends_old_rows: bool,
}

impl CaughtTable {
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Returns true if the table has a replica identity. Without one, Postgres rejects updates and deletes once the
    /// table is published.
    pub fn can_be_changed(&self) -> bool {
        match self.identity {
            'f' => true,
            'n' => false,
            _ => self.columns.iter().any(|column| column.is_key),
        }
    }

    /// Returns the relation message that replication would send for this table.
    pub fn relation(&self) -> Relation {
        let column = |column: &CaughtColumn| Column {
            name: column.name.clone(),
            type_oid: column.type_oid,
            is_key: column.is_key,
        };
        Relation {
            id: self.oid,
            schema: self.schema.clone(),
            name: self.name.clone(),
            identity: u8::try_from(self.identity).unwrap_or(b'd'),
            columns: self.columns.iter().map(column).collect(),
        }
    }

    pub(super) fn copy(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| quoted(&column.name)).collect();
        let filter = self.filter.as_ref().map_or_else(String::new, |filter| format!(" where {filter}"));
        // `select` includes the rows of partitions; `copy` of a partitioned table would not.
        format!(
            "copy (select {} from {}.{}{filter}) to stdout",
            columns.join(", "),
            quoted(&self.schema),
            quoted(&self.name)
        )
    }
}

impl Source {
    #[boxed]
    pub async fn publication(&mut self, name: &str) -> TaskResult<Option<Publication>> {
        let sql = format!("select pubupdate or pubdelete from pg_publication where pubname = {}", literal(name));
        let found = self.asks.ask(&sql).await?;
        Ok(found.first().map(|row| Publication { sends_old_rows: row.first() == Some(&Some("t".into())) }))
    }

    /// Creates a publication of these tables.
    ///
    /// # Errors
    /// Returns an error if the account lacks the privilege. Its message contains a statement that the owner can run.
    #[boxed]
    pub async fn create_publication(&mut self, name: &str, tables: &[CaughtTable]) -> TaskResult<()> {
        // With this option, changes in partitions are published as changes of the partitioned table.
        let sql = "create publication {name} for table {tables} with (publish_via_partition_root = true)";
        self.publish(&sql.replace("{name}", &quoted(name)).replace("{tables}", &names(tables))).await
    }

    /// Adds tables to a publication.
    ///
    /// # Errors
    /// Returns the same errors as [`Source::create_publication`].
    #[boxed]
    pub async fn add_to_publication(&mut self, name: &str, tables: &[CaughtTable]) -> TaskResult<()> {
        self.publish(&format!("alter publication {} add table {}", quoted(name), names(tables))).await
    }

    async fn publish(&mut self, sql: &str) -> TaskResult<()> {
        let done = self.asks.ask(sql).await;
        done.map(drop_rows).map_err(|error| {
            anyhow!(
                "the tables are not published, and the account of the connection cannot do it: {error}\n\
                 hint: let the owner of the tables run `{sql}`; it is looked for again by itself"
            )
        })
    }

    /// Returns tables by name or by OID. The OID also finds tables that were renamed. Names without a table are
    /// omitted.
    #[boxed]
    pub async fn tables(&mut self, publication: &str, names: &[&str], oids: &[u32]) -> TaskResult<Vec<CaughtTable>> {
        let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
        // No table has OID 0. It is added so that the SQL list is never empty.
        let oids: Vec<String> = [0].iter().chain(oids).map(u32::to_string).collect();
        let sql = format!(
            "with wanted as (
                select c.oid, n.nspname, c.relname, c.relreplident from pg_class c join pg_namespace n on n.oid = c.relnamespace
                where c.relkind in ('r', 'p') and (n.nspname || '.' || c.relname = any (array[{}]::text[]) or c.oid in ({}))
            ),
            -- Columns and filters of a publication came with Postgres 15: an older one has no such fields.
            published as (
                select (to_jsonb(p)->>'schemaname') as schema, (to_jsonb(p)->>'tablename') as name, to_jsonb(p)->'attnames' as columns,
                    to_jsonb(p)->>'rowfilter' as filter
                from pg_publication_tables p where pubname = {}
            )
            select json_build_object('oid', w.oid::bigint, 'schema', w.nspname, 'name', w.relname, 'identity', w.relreplident,
                'is_published', p.name is not null, 'filter', p.filter, 'columns', coalesce((
                    select json_agg(json_build_object('name', a.attname, 'type_oid', a.atttypid::bigint,
                        'is_key', k.indexrelid is not null) order by a.attnum)
                    from pg_attribute a left join pg_index k on k.indrelid = w.oid and a.attnum = any (k.indkey)
                        and case when w.relreplident = 'i' then k.indisreplident else k.indisprimary end
                    where a.attrelid = w.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
                        and (p.columns is null or p.columns ? a.attname::text)), '[]'))
            from wanted w left join published p on p.schema = w.nspname and p.name = w.relname order by w.nspname, w.relname",
            names.join(", "),
            oids.join(", "),
            literal(publication)
        );
        parse(self.asks.ask(&sql).await?)
    }
}

fn names(tables: &[CaughtTable]) -> String {
    let names: Vec<String> =
        tables.iter().map(|table| format!("{}.{}", quoted(&table.schema), quoted(&table.name))).collect();
    names.join(", ")
}

fn parse(rows: Rows) -> TaskResult<Vec<CaughtTable>> {
    rows.into_iter()
        .flatten()
        .flatten()
        .map(|table| serde_json::from_str(&table).map_err(|error| anyhow!("the catalog of the source: {error}")))
        .collect()
}
