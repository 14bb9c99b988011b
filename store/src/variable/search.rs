//! Variables in lists.

use super::VariableRow;
use crate::StoreResult;
use crate::name_search::{Column, NameSearch};
use sqlx::QueryBuilder;
use sqlx::postgres::{PgConnection, Postgres};

pub type VariableSearch = NameSearch<VariableOrder>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableOrder {
    Key,
    Description,
    /// As they were added.
    Age,
}

impl Column for VariableOrder {
    fn column(self) -> &'static str {
        match self {
            VariableOrder::Key => "key",
            VariableOrder::Description => "description",
            VariableOrder::Age => "created_at",
        }
    }
}

/// A page of them.
pub async fn search_variables(db: &mut PgConnection, search: &VariableSearch) -> StoreResult<Vec<VariableRow>> {
    let mut query =
        QueryBuilder::<Postgres>::new("select key, value, description, created_at, updated_at from variable");
    search.push_which(&mut query, "key");
    search.push_page(&mut query, "key");
    Ok(query.build_query_as().fetch_all(db).await?)
}

/// How many there are in all.
pub async fn count_variables(db: &mut PgConnection, search: &VariableSearch) -> StoreResult<i64> {
    let mut query = QueryBuilder::<Postgres>::new("select count(*) from variable");
    search.push_which(&mut query, "key");
    Ok(query.build_query_scalar().fetch_one(db).await?)
}
