//! The name of a run, as Airflow spells it: people, links and scripts know the shape.

use crate::state::RunType;
use chrono::{DateTime, SecondsFormat, Utc};

/// `scheduled__2026-11-20T06:00:00+00:00`. Without a logical date two runs may share an instant: those end in `suffix`,
/// eight random letters and digits chosen by the caller.
pub fn run_id(
    run_type: RunType,
    run_after: DateTime<Utc>,
    logical_date: Option<DateTime<Utc>>,
    suffix: &str,
) -> String {
    let at = isoformat(run_after);
    match logical_date {
        Some(_) => format!("{run_type}__{at}"),
        None => format!("{run_type}__{at}_{suffix}"),
    }
}

/// As Python's `isoformat()`: `+00:00`, microseconds only where there are any.
pub fn isoformat(at: DateTime<Utc>) -> String {
    let precision = if at.timestamp_subsec_micros() == 0 { SecondsFormat::Secs } else { SecondsFormat::Micros };
    at.to_rfc3339_opts(precision, false)
}

/// Type of a run by its name; names that people choose are manual.
pub fn run_type_of(run_id: &str) -> RunType {
    let prefix = run_id.split_once("__").map(|(prefix, _)| prefix);
    prefix.and_then(|prefix| prefix.parse().ok()).unwrap_or(RunType::Manual)
}
