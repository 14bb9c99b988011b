//! SQL parts of a worker step that write the asset events and lineage of successful attempts. They run in the same
//! statement that records the success, so an event exists if and only if the success does. This holds even if a race is
//! lost, a worker dies or an outcome is sent twice.

use super::bind::{Values, placed};
use super::{Touched, WorkerStep};
use crate::StoreResult;
use orch_spec::asset::{AssetEvent, LineageEdge};
use orch_spec::state::TaskState;
use orch_spec::text::{JsonText, Text};

pub(super) const EVENT_TYPES: [&str; 9] =
    ["bigint[]", "text[]", "text[]", "text[]", "bigint[]", "text[]", "text[]", "text[]", "text[]"];
pub(super) const EDGE_TYPES: [&str; 7] = ["bigint[]", "text[]", "text[]", "bigint[]", "text[]", "text[]", "text[]"];

/// Returns the asset events and lineage of each successful attempt, with the index of the attempt in the bound arrays.
fn touched(step: &WorkerStep) -> impl Iterator<Item = (i64, &Touched)> {
    let success = placed(step).filter(|(_, end)| end.state == TaskState::Success);
    success.filter_map(|(place, end)| Some((place, &**end.touched.as_ref()?)))
}

pub(super) fn events(step: &WorkerStep) -> impl Iterator<Item = (i64, &Touched, &AssetEvent)> {
    touched(step).flat_map(|(place, touched)| touched.events.iter().map(move |event| (place, touched, event)))
}

pub(super) fn edges(step: &WorkerStep) -> impl Iterator<Item = (i64, &Touched, &LineageEdge)> {
    touched(step).flat_map(|(place, touched)| touched.edges.iter().map(move |edge| (place, touched, edge)))
}

/// Adds the part that inserts asset events. An asset that is not registered yet is registered later, when the event is
/// distributed.
pub(super) fn put_events(rows: &str, parts: &mut Vec<String>) {
    parts.push(format!(
        "e as materialized (select * from {rows} with ordinality
            as e (place, uri, alias, partition_key, rows, extra, dag_id, run_id, task_id, nth)),
        evt as (insert into asset_event (asset, uri, alias, partition_key, rows, extra, source_run, source_dag_id,
            source_run_id, source_task_id, source_map_index)
          select (select a.id from asset a where a.uri = e.uri), e.uri, e.alias, e.partition_key, e.rows, e.extra::json,
            fin.run, e.dag_id, e.run_id, e.task_id, fin.map_index
          from e join fin on fin.place = e.place where fin.state = 'success' order by e.nth)"
    ));
}

/// Adds the part that inserts lineage. If a task runs again, its existing lineage rows get the new number of rows.
pub(super) fn put_edges(rows: &str, parts: &mut Vec<String>) {
    parts.push(format!(
        "g as materialized (select * from {rows} as g (place, from_uri, to_uri, rows, dag_id, run_id, task_id)),
        lin as (insert into lineage (run, task_id, map_index, from_uri, to_uri, rows, dag_id, run_id)
          select fin.run, g.task_id, fin.map_index, g.from_uri, g.to_uri, g.rows, g.dag_id, g.run_id
          from g join fin on fin.place = g.place where fin.state = 'success'
          on conflict (run, task_id, map_index, from_uri, to_uri) do update set rows = excluded.rows, at = excluded.at)"
    ));
}

pub(super) fn bind_events(values: &mut Values, step: &WorkerStep) -> StoreResult<()> {
    let rows: Vec<_> = events(step).collect();
    values.column(&rows, |r| r.0)?;
    values.column(&rows, |r| text(&r.2.uri))?;
    values.column(&rows, |r| r.2.alias.as_deref().map(text))?;
    values.column(&rows, |r| r.2.partition_key.as_deref().map(text))?;
    values.column(&rows, |r| whole(r.2.rows))?;
    values.column(&rows, |r| r.2.extra.is_object().then(|| JsonText::of(&r.2.extra).into_string()))?;
    sources(values, &rows.iter().map(|r| r.1).collect::<Vec<_>>())
}

pub(super) fn bind_edges(values: &mut Values, step: &WorkerStep) -> StoreResult<()> {
    let rows: Vec<_> = edges(step).collect();
    values.column(&rows, |r| r.0)?;
    values.column(&rows, |r| text(&r.2.from))?;
    values.column(&rows, |r| text(&r.2.to))?;
    values.column(&rows, |r| whole(r.2.rows))?;
    sources(values, &rows.iter().map(|r| r.1).collect::<Vec<_>>())
}

fn sources(values: &mut Values, of: &[&Touched]) -> StoreResult<()> {
    values.column(of, |t| t.dag_id.clone())?;
    values.column(of, |t| t.run_id.clone())?;
    values.column(of, |t| t.task_id.clone())
}

fn whole(rows: Option<u64>) -> Option<i64> {
    rows.map(|rows| i64::try_from(rows).unwrap_or(i64::MAX))
}

fn text(text: &str) -> String {
    Text::new(text).into_string()
}
