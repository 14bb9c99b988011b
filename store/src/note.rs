//! Notes of users on task instances. A note refers to the task by its id, so it is kept if the run is moved to another
//! DAG version.

use crate::{StoreResult, boxed};
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use uuid::Uuid;

#[derive(Debug, Clone, Default)]
pub struct Notes(HashMap<(Uuid, String), HashMap<i32, String>>);

/// Maximum number of notes that are loaded for one page of task instances.
const MOST_NOTES: i64 = 20_000;

impl Notes {
    pub fn of(&self, run: Uuid, task_id: &str, map_index: i32) -> Option<&str> {
        self.0.get(&(run, task_id.to_string()))?.get(&map_index).map(String::as_str)
    }
}

#[boxed]
pub async fn notes_of(db: &mut PgConnection, runs: &[Uuid]) -> StoreResult<Notes> {
    let rows = sqlx::query!(
        "select run, task_id, map_index, note from instance_note where run = any($1) limit $2",
        runs,
        MOST_NOTES
    );
    let mut notes = Notes::default();
    for row in rows.fetch_all(db).await? {
        notes.0.entry((row.run, row.task_id)).or_default().insert(row.map_index, row.note);
    }
    Ok(notes)
}

/// Sets the same note on several instances of a run. `None` deletes their notes.
#[boxed]
pub async fn set_notes(
    db: &mut PgConnection,
    run: Uuid,
    instances: &[(&str, i32)],
    note: Option<&str>,
) -> StoreResult<()> {
    let (tasks, indices): (Vec<String>, Vec<i32>) =
        instances.iter().map(|(task, index)| (task.to_string(), *index)).unzip();
    sqlx::query!(
        "with named as (select * from unnest($2::text[], $3::integer[]) as n (task_id, map_index)),
        gone as (delete from instance_note i using named n
          where $4::text is null and i.run = $1 and i.task_id = n.task_id and i.map_index = n.map_index)
        insert into instance_note (run, task_id, map_index, note)
        select $1, n.task_id, n.map_index, $4 from named n where $4::text is not null
        on conflict (run, task_id, map_index) do update set note = excluded.note",
        run,
        &tasks,
        &indices,
        note
    )
    .execute(db)
    .await?;
    Ok(())
}
