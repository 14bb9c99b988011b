//! Checks the previous runs of a DAG, for tasks with `depends_on_past` or `wait_for_downstream`.

use crate::StoreResult;
use crate::version::{Version, Versions};
use orch_core::admission::past::{Before, past};
use orch_core::gates::PastDependency;
use orch_core::plan::TaskIdx;
use orch_core::run::{LEDGER_FORMAT, Run};
use orch_core::why::Reason;
use sqlx::postgres::PgConnection;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskAwaitingPast {
    pub(crate) run: Uuid,
    pub(crate) task: i16,
    pub(crate) version: i32,
    pub(crate) gate: PastDependency,
}

/// The run that precedes another run of the same DAG.
struct Earlier {
    version: Arc<Version>,
    run_id: String,
    logical_date: Option<chrono::DateTime<chrono::Utc>>,
    run: Run,
}

/// Returns the reasons why tasks must wait for previous runs, by run and task. Tasks that may start have no entry.
pub(crate) async fn reasons(
    db: &mut PgConnection,
    versions: &Versions,
    wanted: &[TaskAwaitingPast],
) -> StoreResult<HashMap<(Uuid, i16), Reason>> {
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let mut own: HashMap<Uuid, Arc<Version>> = HashMap::new();
    for one in wanted {
        if let Entry::Vacant(run) = own.entry(one.run) {
            run.insert(versions.get(db, one.version).await?);
        }
    }
    let (runs, catchup): (Vec<Uuid>, Vec<bool>) = own.iter().map(|(run, v)| (*run, v.plan.spec.catchup)).unzip();
    let rows = sqlx::query_file!("queries/admission/before.sql", &runs, &catchup).fetch_all(&mut *db).await?;
    let mut before = HashMap::new();
    for row in rows {
        let run = Run { state: crate::run::word(&row.state)?, ledger: row.ledger, counters: row.counters };
        let version = versions.get(db, row.version).await?;
        if let Err(why) = run.check(LEDGER_FORMAT, &version.plan) {
            tracing::error!(before = %row.run, run = row.run_id, why, "the run before cannot be read: nothing waits for it");
            continue;
        }
        before.insert(row.run, Earlier { version, run_id: row.run_id, logical_date: row.logical_date, run });
    }
    let mut found = HashMap::new();
    for one in wanted {
        let earlier = before.get(&one.run).map(|e| Before {
            run_id: &e.run_id,
            logical_date: e.logical_date,
            plan: &e.version.plan,
            run: &e.run,
        });
        if let Some(reason) = past(one.gate, &own[&one.run].plan, one.task as TaskIdx, earlier) {
            found.insert((one.run, one.task), reason);
        }
    }
    Ok(found)
}
