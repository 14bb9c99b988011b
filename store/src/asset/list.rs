//! Assets and aliases as people look for them.

use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::QueryBuilder;
use sqlx::postgres::{PgConnection, Postgres};

/// The most rows in one answer.
const MOST_LISTED: i64 = 1_000;

#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct AssetRow {
    pub id: i32,
    pub uri: String,
    pub name: String,
    pub group_name: String,
    pub extra: Value,
    pub fresh_within_ms: Option<i64>,
    pub fresh_until: Option<DateTime<Utc>>,
    pub stale_since: Option<DateTime<Utc>>,
    pub last_event: Option<i64>,
    pub last_event_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Which assets; what is not said does not matter.
#[derive(Debug, Clone, Default)]
pub struct AssetFilter {
    /// One of these is in its name, in any case.
    pub name_contains: Option<Vec<String>>,
    pub name_starts: Option<Vec<String>>,
    pub uri_contains: Option<Vec<String>>,
    pub uri_starts: Option<Vec<String>>,
    /// One of these DAGs names it.
    pub dag_ids: Vec<String>,
    /// Some DAG that is still offered names it.
    pub only_active: bool,
    pub stale: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssetOrder {
    Id,
    Name,
    Uri,
    CreatedAt,
    UpdatedAt,
    LastEvent,
}

const ASSET: &str =
    "select a.id, a.uri, a.name, a.group_name, a.extra, a.fresh_within_ms, a.fresh_until, a.stale_since,
    a.last_event, a.last_event_at, a.created_at, a.updated_at from asset a";

/// A page of them; `true` descends.
#[boxed]
pub async fn list_assets(
    db: &mut PgConnection,
    filter: &AssetFilter,
    order: &[(AssetOrder, bool)],
    (skip, most): (i64, i64),
) -> StoreResult<Vec<AssetRow>> {
    let mut query = QueryBuilder::<Postgres>::new(ASSET);
    filter.push(&mut query);
    query.push(" order by ");
    for (order, descends) in order {
        query.push(order.column()).push(if *descends { " desc nulls last, " } else { " asc nulls last, " });
    }
    query.push("a.id limit ").push_bind(most.clamp(0, MOST_LISTED)).push(" offset ").push_bind(skip.max(0));
    Ok(query.build_query_as().fetch_all(db).await?)
}

/// How many there are in all.
#[boxed]
pub async fn count_assets(db: &mut PgConnection, filter: &AssetFilter) -> StoreResult<i64> {
    let mut query = QueryBuilder::<Postgres>::new("select count(*) from asset a");
    filter.push(&mut query);
    Ok(query.build_query_scalar().fetch_one(db).await?)
}

#[boxed]
pub async fn get_asset(db: &mut PgConnection, id: i32) -> StoreResult<Option<AssetRow>> {
    let mut query = QueryBuilder::<Postgres>::new(ASSET);
    query.push(" where a.id = ").push_bind(id);
    Ok(query.build_query_as().fetch_optional(db).await?)
}

/// By its URI, else by its name: all that are called so.
#[boxed]
pub async fn find_asset(db: &mut PgConnection, text: &str) -> StoreResult<Vec<AssetRow>> {
    for column in ["uri", "name"] {
        let mut query = QueryBuilder::<Postgres>::new(ASSET);
        query.push(" where a.").push(column).push(" = ").push_bind(text).push(" order by a.id limit 10");
        let found: Vec<AssetRow> = query.build_query_as().fetch_all(&mut *db).await?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

impl AssetFilter {
    fn push(&self, query: &mut QueryBuilder<Postgres>) {
        query.push(" where true");
        contains(query, "a.name", self.name_contains.as_deref());
        starts(query, "a.name", self.name_starts.as_deref());
        contains(query, "a.uri", self.uri_contains.as_deref());
        starts(query, "a.uri", self.uri_starts.as_deref());
        if !self.dag_ids.is_empty() {
            query.push(" and exists (select from asset_use u where u.asset = a.id and u.dag_id = any(");
            query.push_bind(self.dag_ids.clone()).push("))");
        }
        if self.only_active {
            query.push(
                " and exists (select from asset_use u join dag d on d.dag_id = u.dag_id
                where u.asset = a.id and not d.is_stale)",
            );
        }
        if let Some(stale) = self.stale {
            query.push(" and (a.stale_since is not null) = ").push_bind(stale);
        }
    }
}

/// `%` and `_` of a pattern are any text and any character, as in Airflow.
pub(super) fn contains(query: &mut QueryBuilder<Postgres>, column: &str, parts: Option<&[String]>) {
    if let Some(parts) = parts {
        let patterns: Vec<String> = parts.iter().map(|part| format!("%{}%", part.replace('\\', "\\\\"))).collect();
        query.push(" and ").push(column).push(" ilike any(").push_bind(patterns).push(")");
    }
}

pub(super) fn starts(query: &mut QueryBuilder<Postgres>, column: &str, parts: Option<&[String]>) {
    if let Some(parts) = parts {
        let literal = |text: &String| text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_") + "%";
        let patterns: Vec<String> = parts.iter().map(literal).collect();
        query.push(" and ").push(column).push(" like any(").push_bind(patterns).push(")");
    }
}

impl AssetOrder {
    const fn column(self) -> &'static str {
        match self {
            AssetOrder::Id => "a.id",
            AssetOrder::Name => "a.name",
            AssetOrder::Uri => "a.uri",
            AssetOrder::CreatedAt => "a.created_at",
            AssetOrder::UpdatedAt => "a.updated_at",
            AssetOrder::LastEvent => "a.last_event_at",
        }
    }
}

/// Where a DAG names an asset, or an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseRow {
    pub asset: i32,
    /// `schedule`, `outlet`, `inlet`.
    pub role: String,
    pub dag_id: String,
    /// Empty: the schedule.
    pub task_id: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Where DAGs name these assets, themselves or by an alias that stood for them.
#[boxed]
pub async fn uses_of(db: &mut PgConnection, assets: &[i32]) -> StoreResult<Vec<UseRow>> {
    let uses = sqlx::query_as!(
        UseRow,
        r#"select distinct on (asset, role, dag_id, task_id) asset as "asset!", role as "role!", dag_id as "dag_id!",
          task_id as "task_id!", created_at as "created_at!", updated_at as "updated_at!"
        from (select asset, role, dag_id, task_id, created_at, updated_at from asset_use where asset = any($1)
          union all select l.asset, u.role, u.dag_id, u.task_id, u.created_at, u.updated_at
          from asset_alias_asset l join asset_use u on u.alias = l.alias where l.asset = any($1)) u
        order by asset, role, dag_id, task_id"#,
        assets
    );
    Ok(uses.fetch_all(db).await?)
}

/// DAGs of which a task has this asset as an outlet.
#[boxed]
pub async fn producers_of(db: &mut PgConnection, asset: i32) -> StoreResult<Vec<String>> {
    let dags = sqlx::query_scalar!(
        "select distinct dag_id from asset_use where asset = $1 and role = 'outlet' order by dag_id limit 10",
        asset
    );
    Ok(dags.fetch_all(db).await?)
}

#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct AliasRow {
    pub id: i32,
    pub name: String,
    pub group_name: String,
}

/// A page of aliases, by id or by name.
#[boxed]
pub async fn list_aliases(
    db: &mut PgConnection,
    filter: &AssetFilter,
    (by_name, descends): (bool, bool),
    (skip, most): (i64, i64),
) -> StoreResult<Vec<AliasRow>> {
    let mut query = QueryBuilder::<Postgres>::new("select l.id, l.name, l.group_name from asset_alias l where true");
    contains(&mut query, "l.name", filter.name_contains.as_deref());
    starts(&mut query, "l.name", filter.name_starts.as_deref());
    query.push(if by_name { " order by l.name" } else { " order by l.id" });
    query.push(if descends { " desc" } else { " asc" });
    query.push(" limit ").push_bind(most.clamp(0, MOST_LISTED)).push(" offset ").push_bind(skip.max(0));
    Ok(query.build_query_as().fetch_all(db).await?)
}

#[boxed]
pub async fn count_aliases(db: &mut PgConnection, filter: &AssetFilter) -> StoreResult<i64> {
    let mut query = QueryBuilder::<Postgres>::new("select count(*) from asset_alias l where true");
    contains(&mut query, "l.name", filter.name_contains.as_deref());
    starts(&mut query, "l.name", filter.name_starts.as_deref());
    Ok(query.build_query_scalar().fetch_one(db).await?)
}

#[boxed]
pub async fn get_alias(db: &mut PgConnection, id: i32) -> StoreResult<Option<AliasRow>> {
    let alias = sqlx::query_as!(AliasRow, "select id, name, group_name from asset_alias where id = $1", id);
    Ok(alias.fetch_optional(db).await?)
}

/// The aliases that stood for these assets.
#[boxed]
pub async fn aliases_of(db: &mut PgConnection, assets: &[i32]) -> StoreResult<Vec<(i32, AliasRow)>> {
    let rows = sqlx::query!(
        "select s.asset, l.id, l.name, l.group_name from asset_alias_asset s join asset_alias l on l.id = s.alias
        where s.asset = any($1) order by s.asset, l.id",
        assets
    );
    let alias = |id, name, group_name| AliasRow { id, name, group_name };
    Ok(rows.fetch_all(db).await?.into_iter().map(|r| (r.asset, alias(r.id, r.name, r.group_name))).collect())
}

/// A DAG and an asset, or an alias, that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// `schedule`, `outlet`, `inlet`.
    pub role: String,
    pub dag_id: String,
    /// What people call it.
    pub asset: String,
}

/// Which DAGs depend on which assets, each pair once for each role.
#[boxed]
pub async fn dependencies(db: &mut PgConnection, most: i64) -> StoreResult<Vec<Dependency>> {
    let found = sqlx::query_as!(
        Dependency,
        r#"select distinct u.role, u.dag_id, coalesce(a.name, 'alias ' || l.name) as "asset!" from asset_use u
        join dag d on d.dag_id = u.dag_id left join asset a on a.id = u.asset left join asset_alias l on l.id = u.alias
        where not d.is_stale order by u.dag_id, u.role, 3 limit $1"#,
        most
    );
    Ok(found.fetch_all(db).await?)
}
