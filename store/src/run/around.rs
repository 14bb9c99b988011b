//! The runs before and after a run, for a clear or a mark that includes the past or the future.

use super::RunDetails;
use super::search::{RUNS, by};
use crate::list::{Column, Compare, Search};
use crate::{StoreResult, boxed};
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

/// Selects other runs of the DAG by their position relative to the given run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Around {
    /// The earlier runs, in the order of [`place_in_time`].
    pub past: bool,
    /// The later runs.
    pub future: bool,
}

/// The date that orders a run among the others, with its column: the logical date, or `run_after` of a run without one.
/// In Airflow, too, a run that is triggered today for an earlier date is an earlier run.
pub fn place_in_time(run: &RunDetails) -> (Column, DateTime<Utc>) {
    match run.logical_date {
        Some(date) => (by::LOGICAL_DATE, date),
        None => (by::RUN_AFTER, run.run_after),
    }
}

/// Returns the run first, then the others, the earliest first. A result of more than `most` runs means that there are
/// even more.
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
