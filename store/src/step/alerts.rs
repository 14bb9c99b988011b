//! SQL parts of a worker step that write alerts about ended attempts and finished runs. They run in the same statement
//! that records the outcome, so an alert exists if and only if its outcome does, and an outcome that is sent twice
//! creates a single alert. Alerts about mapped elements that are reported together are written to `alert_part`, from
//! which the sender builds one alert.

use super::WorkerStep;
use super::bind::{Values, placed};
use crate::StoreResult;
use orch_core::alert::NewAlert;
use orch_spec::text::{JsonText, Text};

pub(super) const OF_TRIES: [&str; 5] = ["bigint[]", "text[]", "text[]", "text[]", "text[]"];
pub(super) const OF_ELEMENTS: [&str; 6] = ["bigint[]", "text[]", "text[]", "text[]", "text[]", "text[]"];
pub(super) const OF_RUNS: [&str; 5] = ["uuid[]", "text[]", "text[]", "text[]", "text[]"];

const COLUMNS: &str = "key, kind, notifier, facts, dag_id, run, run_id, logical_date";

/// Whether the step contains attempts that ask users a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    Nobody,
    People,
}

fn all_of_tries(step: &WorkerStep) -> impl Iterator<Item = (i64, &NewAlert)> {
    placed(step).flat_map(|(place, end)| end.alerts.iter().map(move |alert| (place, alert)))
}

pub(super) fn of_tries(step: &WorkerStep) -> impl Iterator<Item = (i64, &NewAlert)> {
    all_of_tries(step).filter(|(_, alert)| alert.gather.is_none())
}

/// Returns the alerts about mapped elements that are reported together, each with the index of its attempt.
pub(super) fn of_elements(step: &WorkerStep) -> impl Iterator<Item = (i64, &NewAlert)> {
    all_of_tries(step).filter(|(_, alert)| alert.gather.is_some())
}

/// Adds the part that inserts alerts about attempts. For an attempt that asks users, the database computes the deadline
/// for the answer, so that the alert and the stored question contain the same deadline.
pub(super) fn put_of_tries(rows: &str, asks: Asks, parts: &mut Vec<String>) {
    let facts = match asks {
        Asks::Nobody => "ta.facts::json",
        Asks::People => {
            "coalesce((select jsonb_set(ta.facts::jsonb, '{asked,until}',
                to_jsonb(now() + d.timeout_ms * interval '1 millisecond'))::json
              from d where d.d_place = ta.place and d.timeout_ms is not null), ta.facts::json)"
        }
    };
    parts.push(format!(
        "ta as materialized (select * from {rows} as ta (place, key, kind, notifier, facts)),
        tal as (insert into alert ({COLUMNS})
          select ta.key, ta.kind, ta.notifier::json, {facts}, r.dag_id, r.id, r.run_id, r.logical_date
          from ta join fin on fin.place = ta.place join dag_run r on r.id = fin.run on conflict (key) do nothing)"
    ));
}

pub(super) fn put_of_elements(rows: &str, parts: &mut Vec<String>) {
    parts.push(format!(
        "ea as materialized (select * from {rows} as ea (place, key, kind, notifier, facts, gather)),
        eal as (insert into alert_part ({COLUMNS}, gather, map_index)
          select ea.key, ea.kind, ea.notifier::json, ea.facts::json, r.dag_id, r.id, r.run_id, r.logical_date, ea.gather,
            fin.map_index
          from ea join fin on fin.place = ea.place join dag_run r on r.id = fin.run on conflict (key) do nothing)"
    ));
}

/// Adds the part that inserts alerts about runs that this step advances.
pub(super) fn put_of_runs(rows: &str, parts: &mut Vec<String>) {
    parts.push(format!(
        "ra as materialized (select * from {rows} as ra (run, key, kind, notifier, facts)),
        ral as (insert into alert ({COLUMNS})
          select ra.key, ra.kind, ra.notifier::json, ra.facts::json, r.dag_id, r.id, r.run_id, r.logical_date
          from ra join cas on cas.id = ra.run join dag_run r on r.id = ra.run on conflict (key) do nothing)"
    ));
}

pub(super) fn bind_of_tries(values: &mut Values, step: &WorkerStep) -> StoreResult<()> {
    let rows: Vec<_> = of_tries(step).collect();
    values.column(&rows, |row| row.0)?;
    bind(values, &rows.iter().map(|row| row.1).collect::<Vec<_>>())
}

pub(super) fn bind_of_elements(values: &mut Values, step: &WorkerStep) -> StoreResult<()> {
    let rows: Vec<_> = of_elements(step).collect();
    values.column(&rows, |row| row.0)?;
    bind(values, &rows.iter().map(|row| row.1).collect::<Vec<_>>())?;
    values.column(&rows, |row| row.1.gather.clone().unwrap_or_default())
}

pub(super) fn bind_of_runs(values: &mut Values, step: &WorkerStep) -> StoreResult<()> {
    values.column(&step.alerts, |row| row.0)?;
    bind(values, &step.alerts.iter().map(|row| &row.1).collect::<Vec<_>>())
}

fn bind(values: &mut Values, alerts: &[&NewAlert]) -> StoreResult<()> {
    values.column(alerts, |alert| Text::new(alert.key.as_str()).into_string())?;
    values.column(alerts, |alert| alert.kind.as_str())?;
    values.column(alerts, |alert| json(&alert.notifier))?;
    values.column(alerts, |alert| json(&alert.facts))
}

pub(crate) fn json(of: &impl serde::Serialize) -> String {
    JsonText::new(serde_json::to_string(of).expect("it has string keys only")).into_string()
}
