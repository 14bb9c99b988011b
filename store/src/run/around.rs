//! A run and those before and after it, which people mean when they clear or mark over past and future.

use super::RunDetails;
use super::search::{Compare, Direction, RunCondition, RunOrder, RunSearch, RunTime, search_runs};
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
    let mut conditions = vec![RunCondition::Dags(vec![run.dag_id.clone()])];
    if !around.future {
        conditions.push(RunCondition::Time(RunTime::RunAfter, Compare::AtMost, run.run_after));
    }
    if !around.past {
        conditions.push(RunCondition::Time(RunTime::RunAfter, Compare::AtLeast, run.run_after));
    }
    let order = vec![(RunOrder::Time(RunTime::RunAfter), Direction::Ascending)];
    let others = search_runs(db, &RunSearch { conditions, order, most: most + 1, skip: 0 }).await?;
    runs.extend(others.into_iter().filter(|other| other.id != run.id));
    Ok(runs)
}
