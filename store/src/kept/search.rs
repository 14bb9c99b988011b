//! Lists of named things: which of them, in which order, which page.

use super::{Record, Table};
use crate::{StoreResult, boxed, name_pattern::NamePattern};
use serde_json::Value;
use sqlx::QueryBuilder;
use sqlx::postgres::{PgConnection, Postgres};

/// Shown at once at most.
const MOST_LISTED: i64 = 1_000;

/// What is not said does not matter.
#[derive(Debug, Clone)]
pub struct Search {
    pub names: NamePattern,
    /// Columns, each with whether it descends; at last by name.
    pub order: Vec<(&'static str, bool)>,
    pub skip: i64,
    pub most: i64,
}

impl Default for Search {
    fn default() -> Self {
        Search { names: NamePattern::default(), order: Vec::new(), skip: 0, most: MOST_LISTED }
    }
}

impl Search {
    /// A page of them.
    #[boxed]
    pub async fn list(&self, db: &mut PgConnection, table: &'static Table) -> StoreResult<Vec<Record>> {
        let mut query = QueryBuilder::<Postgres>::new("select to_jsonb(r) from (");
        query.push(table.source).push(") r");
        self.push_which(&mut query, table.key);
        query.push(" order by ");
        for (column, descends) in &self.order {
            query.push("r.").push(column);
            query.push(if *descends { " desc nulls last, " } else { " asc nulls last, " });
        }
        query.push("r.").push(table.key).push(" limit ").push_bind(self.most.clamp(0, MOST_LISTED));
        query.push(" offset ").push_bind(self.skip.max(0));
        let rows: Vec<Value> = query.build_query_scalar().fetch_all(db).await?;
        rows.into_iter().map(|row| Record::of(table, row)).collect()
    }

    /// How many there are in all.
    #[boxed]
    pub async fn count(&self, db: &mut PgConnection, table: &'static Table) -> StoreResult<i64> {
        let mut query = QueryBuilder::<Postgres>::new("select count(*) from ");
        query.push(table.name).push(" r");
        self.push_which(&mut query, table.key);
        Ok(query.build_query_scalar().fetch_one(db).await?)
    }

    fn push_which(&self, query: &mut QueryBuilder<Postgres>, key: &'static str) {
        query.push(" where true");
        self.names.push(query, key);
    }
}
