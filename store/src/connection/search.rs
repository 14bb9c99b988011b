//! Connections in lists.

use super::ConnectionRow;
use crate::StoreResult;
use crate::name_search::{Column, NameSearch};
use sqlx::QueryBuilder;
use sqlx::postgres::{PgConnection, Postgres};

pub type ConnectionSearch = NameSearch<ConnectionOrder>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionOrder {
    Id,
    Type,
    Description,
    Host,
    Port,
    /// As they were added.
    Age,
}

impl Column for ConnectionOrder {
    fn column(self) -> &'static str {
        match self {
            ConnectionOrder::Id => "conn_id",
            ConnectionOrder::Type => "conn_type",
            ConnectionOrder::Description => "description",
            ConnectionOrder::Host => "host",
            ConnectionOrder::Port => "port",
            ConnectionOrder::Age => "created_at",
        }
    }
}

/// A page of them.
pub async fn search_connections(db: &mut PgConnection, search: &ConnectionSearch) -> StoreResult<Vec<ConnectionRow>> {
    let mut query = QueryBuilder::<Postgres>::new(
        "select conn_id, conn_type, description, host, port, login, schema, password, extra, created_at, updated_at
        from connection",
    );
    search.push_which(&mut query, "conn_id");
    search.push_page(&mut query, "conn_id");
    Ok(query.build_query_as().fetch_all(db).await?)
}

/// How many there are in all.
pub async fn count_connections(db: &mut PgConnection, search: &ConnectionSearch) -> StoreResult<i64> {
    let mut query = QueryBuilder::<Postgres>::new("select count(*) from connection");
    search.push_which(&mut query, "conn_id");
    Ok(query.build_query_scalar().fetch_one(db).await?)
}
