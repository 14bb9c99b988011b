//! SQL part of a worker step that writes the questions of attempts that wait for users. It runs in the same statement
//! that records the wait, so a question exists if and only if its wait does.

use super::bind::{Values, placed};
use super::{Request, WorkerStep};
use crate::StoreResult;
use orch_spec::text::JsonText;

pub(super) const TYPES: [&str; 3] = ["bigint[]", "text[]", "text[]"];

pub(super) fn of(step: &WorkerStep) -> impl Iterator<Item = (i64, &Request)> {
    placed(step).filter_map(|(place, end)| Some((place, end.next.as_ref()?.wait.as_ref()?.asks.as_ref()?)))
}

/// Adds the part that inserts the questions. A second question of the same attempt replaces the first one.
pub(super) fn put(rows: &str, parts: &mut Vec<String>) {
    parts.push(format!(
        "ask as materialized (select * from {rows} as ask (ask_place, task_id, fallback)),
        asked as (insert into approval (attempt, run, task_id, map_index, try_no, question, fallback, give_up_at)
          select nxt.attempt, nxt.run, ask.task_id, nxt.map_index, nxt.try_no, d.config::json, ask.fallback::json,
            now() + d.timeout_ms * interval '1 millisecond'
          from ask join nxt on nxt.place = ask.ask_place join d on d.d_place = ask.ask_place
          on conflict (attempt) do update set question = excluded.question, fallback = excluded.fallback, asked_at = now(),
            give_up_at = excluded.give_up_at, ended_at = null, given = null, given_by = null, timed_out = false)"
    ));
}

pub(super) fn bind(values: &mut Values, step: &WorkerStep) -> StoreResult<()> {
    let rows: Vec<_> = of(step).collect();
    values.column(&rows, |row| row.0)?;
    values.column(&rows, |row| row.1.task_id.clone())?;
    values.column(&rows, |row| row.1.fallback.clone().map(JsonText::into_string))
}
