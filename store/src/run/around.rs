//! Finds the runs before and after a run, for clears and marks that include past or future runs.

use super::RunDetails;
use super::search::{RUNS, by};
use crate::list::{Column, Compare, Search};
use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

/// Which runs of the DAG to select besides the given run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Around {
    /// If true, earlier runs are selected (see [`place_in_time`]).
    pub past: bool,
    /// If true, later runs are selected (see [`place_in_time`]).
    pub future: bool,
}

/// Returns the date by which runs of a DAG are ordered, with its column: the logical date, or `run_after` if the run
/// has no logical date. A run that is triggered today for an earlier date is therefore an earlier run, as in Airflow.
pub fn place_in_time(run: &RunDetails) -> (Column, DateTime<Utc>) {
    match run.logical_date {
        Some(date) => (by::LOGICAL_DATE, date),
        None => (by::RUN_AFTER, run.run_after),
    }
}

/// Returns the given run first, and then the selected runs from earliest to latest. If more than `most` runs are
/// returned, the selection was cut off.
#[boxed]
pub async fn runs_around(
    db: &mut PgConnection,
    run: &RunDetails,
    around: Around,
    most: i64,
) -> StoreResult<Vec<RunDetails>> {
    let mut runs = vec![run.clone()];
    if !around.past && !around.future {
        return Ok(runs);
    }
    let (column, date) = place_in_time(run);
    let at_most = (!around.future).then(|| column.compare(Compare::AtMost, date));
    let at_least = (!around.past).then(|| column.compare(Compare::AtLeast, date));
    let search = Search::default().and(by::DAG_ID.is(&run.dag_id)).and(at_most).and(at_least);
    let others = RUNS.rows(db, &search.by(column.ascending()).page(0, most + 1)).await?;
    runs.extend(others.into_iter().filter(|other| other.id != run.id));
    Ok(runs)
}
