//! Tables whose changes are captured, and their publication, as the catalog has them now.

use super::wire::Rows;
use super::{Column, Relation, Source, drop_rows, literal, quoted};
use crate::boxed;
use anyhow::anyhow;
use orch_sdk::task::TaskResult;
use serde::Deserialize;

/// A table as the catalog has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CaughtTable {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    /// What tells its rows apart in updates and deletes: `d` the primary key, `i` an index, `f` all columns, `n` nothing.
    pub identity: char,
    /// Those that are sent, in their order.
    pub columns: Vec<CaughtColumn>,
    pub is_published: bool,
    /// Of the publication: only such rows are sent.
    pub filter: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CaughtColumn {
    pub name: String,
    pub type_oid: u32,
    pub is_key: bool,
}

/// A publication, and what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publication {
    /// Updates or deletes.
    pub sends_old_rows: bool,
}

impl CaughtTable {
    /// As people write it.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Rows have something that tells them apart, so that they can be updated and deleted once the table is published.
    pub fn can_be_changed(&self) -> bool {
        match self.identity {
            'f' => true,
            'n' => false,
            _ => self.columns.iter().any(|column| column.is_key),
        }
    }

    /// As replication would tell of it.
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
        // Partitions are read with their table.
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

    /// # Errors
    /// The account may not: the statement that its owner has to say is in the error.
    #[boxed]
    pub async fn create_publication(&mut self, name: &str, tables: &[CaughtTable]) -> TaskResult<()> {
        // Rows of a partitioned table are told of as its own.
        let sql = "create publication {name} for table {tables} with (publish_via_partition_root = true)";
        self.publish(&sql.replace("{name}", &quoted(name)).replace("{tables}", &names(tables))).await
    }

    /// # Errors
    /// As [`Source::create_publication`].
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

    /// Tables of these names, and those of these numbers: one that was renamed is still there. Names without a table are left out.
    #[boxed]
    pub async fn tables(&mut self, publication: &str, names: &[&str], oids: &[u32]) -> TaskResult<Vec<CaughtTable>> {
        let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
        // No table has the number 0.
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
