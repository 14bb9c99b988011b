//! Previews of task outputs for pages. An output may be large, so only the first characters are loaded.

use super::shown_text;
use crate::{StoreResult, boxed};
use orch_core::plan::TaskIdx;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    pub task: TaskIdx,
    pub map_index: i32,
    /// The first characters of the value as JSON text.
    pub text: String,
    /// Number of characters that the preview lacks, or 0 if the value is stored in parts.
    pub left: i64,
    pub in_parts: bool,
}

/// Returns previews of the outputs of these tasks: at most `most` outputs per task, with at most `chars` characters
/// each. If `map_index` is set, only outputs of that mapped element are returned.
#[boxed]
pub async fn previews(
    db: &mut PgConnection,
    run: Uuid,
    tasks: &[TaskIdx],
    map_index: Option<i32>,
    (most, chars): (i64, i32),
) -> StoreResult<Vec<Preview>> {
    let tasks: Vec<i16> = tasks.iter().map(|task| *task as i16).collect();
    let rows = sqlx::query!(
        r#"select o.task as "task!", o.map_index as "map_index!", o.parts as "parts!",
          coalesce(left(o.value::text, $5), '') as "text!", coalesce(length(o.value::text), 0) as "length!"
        from unnest($2::smallint[]) as w (task), lateral (select task, map_index, parts, value from output
          where output.run = $1 and output.task = w.task and key = 'return_value'
            and ($3::integer is null or map_index in (-1, $3)) order by map_index limit $4) o"#,
        run,
        &tasks,
        map_index,
        most.clamp(0, 100),
        chars.max(0)
    );
    let rows = rows.fetch_all(db).await?.into_iter().map(|row| Preview {
        task: row.task as TaskIdx,
        map_index: row.map_index,
        left: (i64::from(row.length) - row.text.chars().count() as i64).max(0),
        text: shown_text(&row.text),
        in_parts: row.parts > 0,
    });
    Ok(rows.collect())
}
