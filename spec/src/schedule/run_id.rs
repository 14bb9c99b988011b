//! Names of runs in Airflow's format, which users, links and scripts rely on.

use crate::state::RunType;
use chrono::{DateTime, SecondsFormat, Utc};

/// Returns a name such as `scheduled__2026-11-20T06:00:00+00:00`. Runs without a logical date can share a time, so
/// their names end in `suffix`, eight random letters and digits that the caller chooses.
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

/// Formats a time like Python's `isoformat()`: with `+00:00`, and with microseconds only if they are not zero.
pub fn isoformat(at: DateTime<Utc>) -> String {
    let precision = if at.timestamp_subsec_micros() == 0 { SecondsFormat::Secs } else { SecondsFormat::Micros };
    at.to_rfc3339_opts(precision, false)
}

/// Returns the type of a run by its name. Names that users choose are manual.
pub fn run_type_of(run_id: &str) -> RunType {
    let prefix = run_id.split_once("__").map(|(prefix, _)| prefix);
    prefix.and_then(|prefix| prefix.parse().ok()).unwrap_or(RunType::Manual)
}
