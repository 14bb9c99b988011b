//! Lists of DAGs, a page at a time.

use super::{DagRow, dag_rows};
use crate::{StoreResult, boxed};
use sqlx::postgres::PgConnection;

/// Which DAGs; what is not said does not matter.
#[derive(Debug, Clone, Default)]
pub struct DagFilter {
    /// These, by id.
    pub ids: Option<Vec<String>>,
    /// A part of the id or of an alias, in any case.
    pub name_part: Option<String>,
    /// One of these tags, or all of them.
    pub tags: Vec<String>,
    pub all_tags: bool,
    /// One of these owners.
    pub owners: Vec<String>,
    pub paused: Option<bool>,
    pub stale: Option<bool>,
    /// Go on after this id.
    pub after: Option<String>,
    /// Leave out that many.
    pub skip: i64,
}

/// The most DAGs in one answer.
pub const MOST_DAGS: i64 = 1_000;

/// By id.
#[boxed]
pub async fn list_dags(db: &mut PgConnection, filter: &DagFilter, most: i64) -> StoreResult<Vec<DagRow>> {
    let part = filter.name_part.as_deref().map(list_pattern);
    let rows = dag_rows!(
        "where ($1::text[] is null or d.dag_id = any($1)) and ($2::text is null or d.dag_id ilike $2
            or exists (select from unnest(d.aliases) as a (name) where a.name ilike $2))
          and ($3::text[] = '{}' or case when $4::boolean then d.tags @> $3 else d.tags && $3 end)
          and ($5::text[] = '{}' or d.owners && $5) and ($6::boolean is null or d.is_paused = $6)
          and ($7::boolean is null or d.is_stale = $7) and ($8::text is null or d.dag_id > $8)
        order by d.dag_id limit $9 offset $10",
        filter.ids.as_deref(),
        part,
        &filter.tags,
        filter.all_tags,
        &filter.owners,
        filter.paused,
        filter.stale,
        filter.after,
        most.clamp(0, MOST_DAGS),
        filter.skip.max(0)
    );
    Ok(rows.fetch_all(db).await?)
}

/// How many there are in all, wherever the page begins.
#[boxed]
pub async fn count_dags(db: &mut PgConnection, filter: &DagFilter) -> StoreResult<i64> {
    let part = filter.name_part.as_deref().map(list_pattern);
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from dag d
        where ($1::text[] is null or d.dag_id = any($1)) and ($2::text is null or d.dag_id ilike $2
            or exists (select from unnest(d.aliases) as a (name) where a.name ilike $2))
          and ($3::text[] = '{}' or case when $4::boolean then d.tags @> $3 else d.tags && $3 end)
          and ($5::text[] = '{}' or d.owners && $5) and ($6::boolean is null or d.is_paused = $6)
          and ($7::boolean is null or d.is_stale = $7)"#,
        filter.ids.as_deref(),
        part,
        &filter.tags,
        filter.all_tags,
        &filter.owners,
        filter.paused,
        filter.stale
    );
    Ok(count.fetch_one(db).await?)
}

/// All tags in use.
#[boxed]
pub async fn tags(db: &mut PgConnection) -> StoreResult<Vec<String>> {
    let tags = sqlx::query_scalar!(r#"select distinct unnest(tags) as "tag!" from dag order by 1 limit $1"#, MOST_DAGS);
    Ok(tags.fetch_all(db).await?)
}

/// `part` anywhere; what it says is meant literally.
fn list_pattern(part: &str) -> String {
    let literal = part.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{literal}%")
}

/// Ids that hold this text, in any case; nothing in it stands for something else.
#[boxed]
pub async fn dag_ids_like(db: &mut PgConnection, text: &str, most: i64) -> StoreResult<Vec<String>> {
    let ids = sqlx::query_scalar!(
        "select dag_id from dag where strpos(lower(dag_id), lower($1)) > 0 order by dag_id limit $2",
        text,
        most
    );
    Ok(ids.fetch_all(db).await?)
}
