//! Lists the tags and ids of DAGs.

use crate::list::{Column, Filter, List};
use crate::{StoreResult, boxed};
use sqlx::Row;
use sqlx::postgres::PgConnection;

/// All tags that DAGs use, sorted by name.
pub static TAGS: List<String> = List {
    select: "t.name",
    from: "(select distinct unnest(tags) as name from dag) t",
    joins: &[],
    columns: &[
        Column::text("name", "t.name").sorted(),
        Column::text("tag_name", "t.name").by(&[Filter::Pattern, Filter::Prefix]),
    ],
    key: "t.name",
    order: &[],
    read: |row| Ok(row.try_get(0)?),
};

/// Returns DAG ids that contain the text, ignoring case. Wildcards in the text have no effect.
#[boxed]
pub async fn dag_ids_like(db: &mut PgConnection, text: &str, most: i64) -> StoreResult<Vec<String>> {
    let ids = sqlx::query_scalar!(
        "select dag_id from dag where strpos(lower(dag_id), lower($1)) > 0 order by dag_id limit $2",
        text,
        most
    );
    Ok(ids.fetch_all(db).await?)
}
