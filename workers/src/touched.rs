//! Asset events and lineage that a task function reports. They are buffered, and stored only if the attempt succeeds.

use crate::mask;
use orch_sdk::task::{RunFacts, TaskResult, fatal};
use orch_spec::TaskSpec;
use orch_spec::asset::{AssetEvent, LineageEdge, MAX_EVENTS, edges_of, events_of};
use orch_store::step::Touched;
use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

#[derive(Default)]
pub(crate) struct TouchedAssets {
    said: Mutex<(Vec<AssetEvent>, Vec<LineageEdge>)>,
}

impl TouchedAssets {
    pub(crate) fn event(&self, event: AssetEvent) -> TaskResult<()> {
        // Check again: a child process reports events without the checks of the context.
        event.problem().map_or(Ok(()), |problem| Err(fatal(problem)))?;
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        room(said.0.len())?;
        said.0.push(event);
        Ok(())
    }

    pub(crate) fn edge(&self, edge: LineageEdge) -> TaskResult<()> {
        edge.problem().map_or(Ok(()), |problem| Err(fatal(problem)))?;
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        room(said.1.len())?;
        said.1.push(edge);
        Ok(())
    }

    /// Returns the data to store with a success, or `None` if there is nothing to store, as for most tasks.
    pub(crate) fn touched(&self, task: &TaskSpec, run: &RunFacts) -> Option<Box<Touched>> {
        let said = std::mem::take(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner));
        let mut events = events_of(&task.outlets, &said.0, run.partition_key.as_deref());
        let edges = edges_of(&task.inlets, &task.outlets, &said.1);
        if events.is_empty() && edges.is_empty() {
            return None;
        }
        events.iter_mut().for_each(mask_extra);
        let (dag_id, run_id, task_id) = (run.dag_id.to_string(), run.run_id.to_string(), task.task_id.clone());
        Some(Box::new(Touched { dag_id, run_id, task_id, events, edges }))
    }
}

pub(crate) fn room(said: usize) -> TaskResult<()> {
    if said < MAX_EVENTS {
        return Ok(());
    }
    Err(fatal(format!("a try can tell of {MAX_EVENTS} updates: gather them into fewer events")))
}

/// Masks secrets. Asset events are read by users who may have fewer permissions than the task function.
fn mask_extra(event: &mut AssetEvent) {
    let Some(masker) = mask::masker() else { return };
    if let Cow::Owned(masked) = masker.mask(&event.extra.to_string()) {
        event.extra = serde_json::from_str(&masked).unwrap_or_default();
    }
}
