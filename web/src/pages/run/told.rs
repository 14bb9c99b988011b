//! Deadlines of a run, and the alerts that were sent for it.

use crate::pages::encoded;
use crate::parts::{self, Fact, ZonedNow};
use crate::refusal::Refusal;
use orch_core::deadline::Standing;
use orch_store::alert::alerts_of_run;
use orch_store::deadline::{DEADLINES, DeadlineRow, by};
use orch_store::list::Search;
use orch_store::run::RunDetails;
use sqlx::PgConnection;

/// Maximum number of deadlines of a DAG.
const MOST: i64 = 100;

pub(crate) struct DeadlineLine {
    pub(crate) sign: parts::State,
    /// Definition, such as `1 h after it started`.
    pub(crate) words: String,
    pub(crate) at: Option<parts::Moment>,
    pub(crate) standing: String,
    /// Delay of an unfinished run that has missed the deadline.
    late_by: Option<String>,
}

pub(super) async fn deadlines(
    db: &mut PgConnection,
    run: &RunDetails,
    now: ZonedNow,
) -> Result<Vec<DeadlineLine>, Refusal> {
    let rows = DEADLINES.rows(db, &Search::default().and(by::RUN.is(run.id)).page(0, MOST)).await?;
    Ok(rows.into_iter().map(|row| line(&row, now)).collect())
}

fn line(row: &DeadlineRow, now: ZonedNow) -> DeadlineLine {
    let standing = row.standing();
    let by = standing.by().map(parts::duration).unwrap_or_default();
    let (sign, said) = match standing {
        Standing::NoTimeYet => ("none", "counts from its start".into()),
        Standing::Left(_) => ("running", format!("{by} left")),
        Standing::Kept(Some(_)) => ("success", format!("kept, {by} before")),
        Standing::Kept(None) => ("success", "kept, before it was cleared".into()),
        Standing::Missed(_) if row.ended_at.is_none() => ("failed", format!("missed, late by {by}")),
        Standing::Missed(_) => ("failed", format!("missed by {by}")),
    };
    DeadlineLine {
        sign: parts::mark(sign),
        words: row.words(),
        at: row.due_at.map(|at| parts::moment(at, now)),
        standing: said,
        late_by: (matches!(standing, Standing::Missed(_)) && row.ended_at.is_none()).then_some(by),
    }
}

/// Returns how late an unfinished run is, and for which deadline. `None` if it is not late.
pub(super) fn late(of: &[DeadlineLine]) -> Option<(String, String)> {
    of.iter().find_map(|line| Some((line.late_by.clone()?, line.words.clone())))
}

/// Returns the number of alerts of a run, or of one of its tasks, as a link to the list of alerts.
pub(crate) async fn alerts(
    db: &mut PgConnection,
    run: &RunDetails,
    task_id: Option<&str>,
) -> Result<Option<Fact>, Refusal> {
    let (all, not_taken) = alerts_of_run(db, run.id, task_id).await?;
    let task = task_id.map(|task| format!("&task={}", encoded(task))).unwrap_or_default();
    let href = format!("/alerts?dag={}&run={}{task}", encoded(&run.dag_id), encoded(&run.run_id));
    let words = match (all, not_taken) {
        (0, _) => return Ok(None),
        (all, 0) => format!("{all} sent"),
        (all, open) if all == open => format!("{all}, not delivered yet"),
        (all, open) => format!("{all}, {open} of them not delivered yet"),
    };
    Ok(Some(Fact::Link { words, href }))
}
