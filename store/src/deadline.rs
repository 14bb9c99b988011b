//! Deadlines of runs. Their rows are created together with the run. When a deadline is due, a scheduler checks once
//! whether the run is late. If so, the scheduler writes the alerts of the DAG in the same transaction.

mod list;

pub use list::{DEADLINES, DeadlineRow, by, late_runs};

use crate::{
    StoreResult,
    alert::add_alerts,
    boxed,
    run::word,
    version::{Version, Versions},
};
use orch_core::alert::of_deadline;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// Creates the deadlines of a new run. Deadlines that count from a date that the run does not have are left out.
pub(crate) async fn set(db: &mut PgConnection, version: &Version, run: Uuid) -> StoreResult<()> {
    let deadlines = &version.plan.spec.deadlines;
    sqlx::query!(
        "insert into deadline (run, nth, counts_from, after_ms, due_at)
        select r.id, d.nth - 1, d.counts_from, d.after_ms, d.after_ms * interval '1 millisecond'
          + case d.counts_from when 'queued' then r.created_at when 'started' then r.started_at else r.logical_date end
        from dag_run r, unnest($2::text[], $3::bigint[]) with ordinality as d (counts_from, after_ms, nth)
        where r.id = $1 and (d.counts_from <> 'logical_date' or r.logical_date is not null)",
        run,
        &deadlines.iter().map(|d| d.from.to_string()).collect::<Vec<_>>(),
        &deadlines.iter().map(|d| i64::try_from(d.after_ms).unwrap_or(i64::MAX)).collect::<Vec<_>>()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Result of [`ring`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rung {
    /// Number of deadlines that were checked.
    pub looked: usize,
    /// Late runs, each as DAG id and run id.
    pub missed: Vec<(String, String)>,
}

/// Sets the due times of runs that have started, and checks at most `most` deadlines that are due. The caller sends
/// `Hint::Alert` (a wake-up signal).
#[boxed]
pub async fn ring(db: &mut PgConnection, versions: &Versions, most: i64) -> StoreResult<Rung> {
    sqlx::query!(
        "update deadline d set due_at = r.started_at + d.after_ms * interval '1 millisecond' from dag_run r
        where r.id = d.run and d.state = 'open' and d.due_at is null and r.started_at is not null"
    )
    .execute(&mut *db)
    .await?;
    let mut tx = db.begin().await?;
    let due = sqlx::query!(
        r#"select d.run, d.nth, r.dag_id, r.run_id, r.version, r.state::text as "state!",
          coalesce(r.ended_at > d.due_at, true) as "late!"
        from deadline d join dag_run r on r.id = d.run where d.state = 'open' and d.due_at <= now()
        order by d.due_at limit $1 for update of d skip locked"#,
        most
    );
    let due = due.fetch_all(&mut *tx).await?;
    let mut rung = Rung { looked: due.len(), missed: Vec::new() };
    for one in due {
        sqlx::query!(
            "update deadline set state = case when $3 then 'missed' else 'met' end, rung_at = now() where run = $1 and nth = $2",
            one.run,
            one.nth,
            one.late
        )
        .execute(&mut *tx)
        .await?;
        if !one.late {
            continue;
        }
        let version = versions.get(&mut tx, one.version).await?;
        let nth = usize::try_from(one.nth).unwrap_or_default();
        // A run that was moved to another DAG version may have fewer deadlines.
        if let Some(deadline) = version.plan.spec.deadlines.get(nth) {
            let alerts = of_deadline(&one.dag_id, (nth, deadline), one.run, word(&one.state)?);
            add_alerts(&mut tx, Some(one.run), &alerts).await?;
        }
        rung.missed.push((one.dag_id, one.run_id));
    }
    tx.commit().await?;
    Ok(rung)
}
