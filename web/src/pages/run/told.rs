//! By when a run was to be over, and who was told of it.

use crate::pages::encoded;
use crate::parts::{self, Fact, ZonedNow};
use crate::refusal::Refusal;
use orch_core::deadline::Standing;
use orch_store::alert::alerts_of_run;
use orch_store::deadline::{DEADLINES, DeadlineRow, by};
use orch_store::list::Search;
use orch_store::run::RunDetails;
use sqlx::PgConnection;

/// A DAG has no more deadlines.
const MOST: i64 = 100;

/// A deadline, as a line.
pub(crate) struct DeadlineLine {
    pub(crate) sign: parts::State,
    /// `1 h after it started`.
    pub(crate) words: String,
    pub(crate) at: Option<parts::Moment>,
    pub(crate) standing: String,
    /// Of a run that is not over.
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

/// By how much a run is late that is not over, and for which deadline.
pub(super) fn late(of: &[DeadlineLine]) -> Option<(String, String)> {
    of.iter().find_map(|line| Some((line.late_by.clone()?, line.words.clone())))
}

/// How many alerts there are of a run, or of a task of it, as the way to them.
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
