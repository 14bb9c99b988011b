//! A run and those before and after it, which people mean when they clear or mark over past and future.

use super::RunDetails;
use super::search::{RUNS, by};
use crate::list::{Compare, Search};
use crate::{StoreResult, boxed};
use sqlx::postgres::PgConnection;

/// Which runs of a DAG besides the one that is named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Around {
    /// Those before it, in the order of `run_after`.
    pub past: bool,
    /// Those after it.
    pub future: bool,
}

/// The run first, then the others, the earliest first: at most `most` and one, which says that there are more.
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
    let at_most = (!around.future).then(|| by::RUN_AFTER.compare(Compare::AtMost, run.run_after));
    let at_least = (!around.past).then(|| by::RUN_AFTER.compare(Compare::AtLeast, run.run_after));
    let search = Search::default().and(by::DAG_ID.is(&run.dag_id)).and(at_most).and(at_least);
    let others = RUNS.rows(db, &search.by(by::RUN_AFTER.ascending()).page(0, most + 1)).await?;
    runs.extend(others.into_iter().filter(|other| other.id != run.id));
    Ok(runs)
}
