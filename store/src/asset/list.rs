//! Lists of assets and their aliases.

use crate::list::{Column, Filter, List, Search};
use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::postgres::PgConnection;

#[derive(Debug, Clone, PartialEq, FromRow)]
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

/// Columns that users can filter assets by, and additional columns that pages use.
pub mod by {
    use crate::list::Column;
    use crate::list::Filter::{AnyOf, Is, Pattern, Prefix, Switch};

    pub const ID: Column = Column::whole("id", "a.id").sorted();
    pub const NAME: Column = Column::text("name", "a.name").by(&[Is, Pattern, Prefix]).about("Of that name").sorted();
    pub const URI: Column = Column::text("uri", "a.uri").by(&[Is, Pattern, Prefix]).about("With that URI").sorted();
    /// Matches the name or the URI of an asset.
    pub const NAME_OR_URI: Column = Column::text("name", "(a.name ilike any($) or a.uri ilike any($))");
    pub const LAST_EVENT: Column = Column::moment("last_event_at", "a.last_event_at").nullable().sorted();
    pub const STALE: Column =
        Column::flag("stale", "a.stale_since is not null").about("Only stale ones, or only others");
    pub const ONLY_ACTIVE: Column = Column::flag(
        "only_active",
        "exists (select from asset_use u join dag d on d.dag_id = u.dag_id where u.asset = a.id and not d.is_stale)",
    )
    .by(&[Switch(true)])
    .about("Only those that a DAG still names; true if not given");

    pub(super) const ALL: &[Column] = &[
        ID,
        NAME,
        URI,
        Column::moment("created_at", "a.created_at").sorted(),
        Column::moment("updated_at", "a.updated_at").sorted(),
        LAST_EVENT,
        Column::text("dag_ids", "exists (select from asset_use u where u.asset = a.id and u.dag_id = any($))")
            .by(&[AnyOf])
            .about("One of these DAGs names it"),
        ONLY_ACTIVE,
        STALE,
    ];
}

/// Assets, by default ordered by id.
pub static ASSETS: List<AssetRow> = List {
    select: "a.id, a.uri, a.name, a.group_name, a.extra, a.fresh_within_ms, a.fresh_until, a.stale_since, a.last_event,
        a.last_event_at, a.created_at, a.updated_at",
    from: "asset a",
    joins: &[],
    columns: by::ALL,
    key: "a.id",
    order: &[],
    read: |row| Ok(AssetRow::from_row(row)?),
};

#[boxed]
pub async fn get_asset(db: &mut PgConnection, id: i32) -> StoreResult<Option<AssetRow>> {
    ASSETS.first(db, &Search::default().and(by::ID.is(id))).await
}

/// Returns the assets whose URI is `text`. If there are none, returns the assets whose name is `text`.
#[boxed]
pub async fn find_asset(db: &mut PgConnection, text: &str) -> StoreResult<Vec<AssetRow>> {
    for column in [by::URI, by::NAME] {
        let found = ASSETS.rows(db, &Search::default().and(column.is(text)).page(0, 10)).await?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// A use of an asset by a DAG, direct or through an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UseRow {
    pub asset: i32,
    /// How the asset is used: `schedule`, `outlet` or `inlet`.
    pub role: String,
    pub dag_id: String,
    /// The task that uses the asset. Empty if the schedule of the DAG uses it.
    pub task_id: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Returns which DAGs and tasks use these assets, directly or through an alias that resolved to one of the assets.
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

/// Returns DAGs with a task that has this asset as an outlet.
#[boxed]
pub async fn producers_of(db: &mut PgConnection, asset: i32) -> StoreResult<Vec<String>> {
    let dags = sqlx::query_scalar!(
        "select distinct dag_id from asset_use where asset = $1 and role = 'outlet' order by dag_id limit 10",
        asset
    );
    Ok(dags.fetch_all(db).await?)
}

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct AliasRow {
    pub id: i32,
    pub name: String,
    pub group_name: String,
}

/// Aliases of assets, by default ordered by id.
pub static ALIASES: List<AliasRow> = List {
    select: "l.id, l.name, l.group_name",
    from: "asset_alias l",
    joins: &[],
    columns: &[
        Column::whole("id", "l.id").sorted(),
        Column::text("name", "l.name").by(&[Filter::Pattern, Filter::Prefix]).sorted(),
    ],
    key: "l.id",
    order: &[],
    read: |row| Ok(AliasRow::from_row(row)?),
};

#[boxed]
pub async fn get_alias(db: &mut PgConnection, id: i32) -> StoreResult<Option<AliasRow>> {
    let alias = sqlx::query_as!(AliasRow, "select id, name, group_name from asset_alias where id = $1", id);
    Ok(alias.fetch_optional(db).await?)
}

/// Returns the aliases that resolved to these assets.
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

/// A DAG, and an asset or alias that it uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// How the asset is used: `schedule`, `outlet` or `inlet`.
    pub role: String,
    pub dag_id: String,
    /// Name of the asset or alias.
    pub asset: String,
}

/// Returns which DAGs use which assets. Each pair occurs once per role.
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
