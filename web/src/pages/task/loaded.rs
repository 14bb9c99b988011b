//! A task instance with the data that its page and the panel next to the grid show.

use super::why::StateExplanation;
use crate::pages::run::failure::Beyond;
use crate::pages::run::the_ledger;
use crate::parts::ZonedNow;
use crate::refusal::Refusal;
use crate::state::Inner;
use orch_store::instance::{InstanceRow, Ledger, TryRow, get_instance, tries};
use orch_store::run::RunDetails;
use orch_store::why::why as why_not;
use sqlx::PgConnection;

pub(in crate::pages) struct LoadedInstance {
    pub(in crate::pages) ledger: Ledger,
    pub(in crate::pages) instance: InstanceRow,
    pub(in crate::pages) tries: Vec<TryRow>,
    /// Number of elements, for a mapped task as a whole.
    pub(in crate::pages) elements: Option<i32>,
}

impl LoadedInstance {
    /// Returns `None` if the run has no such instance.
    pub(in crate::pages) async fn find(
        app: &Inner,
        db: &mut PgConnection,
        run: &RunDetails,
        (task_id, map_index): (&str, i32),
    ) -> Result<Option<LoadedInstance>, Refusal> {
        let ledger = the_ledger(app, db, run).await?;
        let plan = &ledger.version.plan;
        let Some(task) = plan.index_of(task_id) else { return Ok(None) };
        let elements = ledger.run.len(plan.task(task)).filter(|len| *len > 0 && map_index < 0);
        let found = get_instance(db, &mut app.versions.clone(), run.id, task_id, map_index).await?;
        let instance = match (found, elements) {
            (Some(instance), _) => instance,
            // A mapped task as a whole has no instance row; only its elements have.
            (None, Some(_)) => InstanceRow::untried(run.id, (task, task_id.into(), -1), ledger.run.task(task)),
            (None, None) => return Ok(None),
        };
        let tries = tries(db, run.id, task, map_index).await?;
        Ok(Some(LoadedInstance { ledger, instance, tries, elements }))
    }

    pub(in crate::pages) async fn why(
        &self,
        app: &Inner,
        db: &mut PgConnection,
        run: &RunDetails,
        now: ZonedNow,
    ) -> Result<StateExplanation, Refusal> {
        let LoadedInstance { ledger, instance, tries, .. } = self;
        let beyond = Beyond::of(db, run, instance, tries).await?;
        let blocked = why_not(db, &mut app.versions.clone(), run, instance).await?;
        Ok(StateExplanation::of(ledger, instance, (tries, &beyond), run, now, &blocked))
    }
}
