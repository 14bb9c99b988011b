//! Presets: named sets of DAG params that users store for later runs.

use crate::list::List;
use crate::{
    StoreResult, boxed,
    locks::{Dags, Locks},
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use sqlx::FromRow;
use sqlx::postgres::PgConnection;

/// Maximum number of presets per DAG.
pub const MOST_PRESETS: i64 = 200;
pub const MOST_NAME_CHARS: usize = 100;

#[derive(Debug, Clone, PartialEq, FromRow, Deserialize)]
pub struct Preset {
    pub name: String,
    pub conf: Value,
    pub created_by: Option<String>,
    pub updated_at: DateTime<Utc>,
}

/// Returns the reason why `name` is not a valid preset name, or `None` if it is valid.
pub fn wrong_name(name: &str) -> Option<&'static str> {
    let long = name.chars().count() > MOST_NAME_CHARS;
    let odd = name.trim() != name || name.is_empty() || name.chars().any(char::is_control);
    match (long, odd) {
        (true, _) => Some("the name of a preset has at most 100 characters"),
        (_, true) => Some("the name of a preset is text without spaces around it"),
        _ => None,
    }
}

/// Columns of presets. Users may filter or sort by the columns in `ALL`. A list contains the presets of a single DAG.
pub mod by {
    use crate::list::Column;
    use crate::list::Filter::{Is, Pattern, Prefix, Range};

    pub const DAG_ID: Column = Column::text("dag_id", "dag_id");
    pub const NAME: Column = Column::text("name", "name").by(&[Pattern, Prefix]).sorted();

    pub(super) const ALL: &[Column] = &[
        NAME,
        Column::text("created_by", "created_by").by(&[Is]).about("Of that person").nullable().sorted(),
        Column::moment("updated_at", "updated_at").by(&[Range]).sorted(),
    ];
}

/// The list of a DAG's presets, sorted by name by default.
pub static PRESETS: List<Preset> = List {
    select: "name, conf, created_by, updated_at",
    from: "param_preset",
    joins: &[],
    columns: by::ALL,
    key: "name",
    order: &[],
    read: |row| Ok(Preset::from_row(row)?),
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepPreset {
    Kept,
    NoSuchDag,
    /// The preset was not stored, because the DAG already has the maximum number of presets.
    TooMany,
}

/// Stores a preset. An existing preset of the DAG with the same name is replaced.
#[boxed]
pub async fn keep_preset(
    db: &mut PgConnection,
    _locks: &Locks<Dags>,
    (dag_id, name): (&str, &str),
    conf: &Value,
    user: &str,
) -> StoreResult<KeepPreset> {
    // Lock the DAG, so that two concurrent calls cannot exceed the maximum number of presets.
    let dag = sqlx::query_scalar!("select dag_id from dag where dag_id = $1 for no key update", dag_id);
    if dag.fetch_optional(&mut *db).await?.is_none() {
        return Ok(KeepPreset::NoSuchDag);
    }
    let kept = sqlx::query!(
        "insert into param_preset as p (dag_id, name, conf, created_by)
        select $1, $2, $3::text::json, $4
        where exists (select from param_preset where dag_id = $1 and name = $2)
          or (select count(*) from param_preset where dag_id = $1) < $5
        on conflict (dag_id, name) do update set conf = excluded.conf, updated_at = now()",
        dag_id,
        name,
        conf.to_string(),
        user,
        MOST_PRESETS
    );
    Ok(if kept.execute(db).await?.rows_affected() > 0 { KeepPreset::Kept } else { KeepPreset::TooMany })
}

/// Deletes a preset. Returns false if it does not exist.
#[boxed]
pub async fn delete_preset(db: &mut PgConnection, dag_id: &str, name: &str) -> StoreResult<bool> {
    let gone = sqlx::query!("delete from param_preset where dag_id = $1 and name = $2", dag_id, name);
    Ok(gone.execute(db).await?.rows_affected() > 0)
}
