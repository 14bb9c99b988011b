//! An attempt to run, as the main loop creates it, and the completion steps that its task function registers. The
//! modules `body`, `host` and `child` import this module; it imports none of them.

use crate::offer::Offer;
use orch_sdk::task::{RunFacts, TaskResult, fatal};
use orch_spec::ids::{DagId, RunId};
use orch_store::completion::{self, CompletionStep};
use orch_store::step::Claimed;
use serde_json::Value;
use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// The properties of a run that its task functions can read.
#[derive(Debug, Clone)]
pub(crate) struct RunView {
    pub(crate) facts: Arc<RunFacts>,
    pub(crate) params: Arc<Value>,
}

impl RunView {
    pub(crate) fn new(
        run: uuid::Uuid,
        offer: &Offer,
        clear_number: i16,
        facts: &orch_store::step::RunFacts,
    ) -> Result<Self, String> {
        let conf: Value = match &facts.conf {
            Some(text) => serde_json::from_str(text).map_err(|e| format!("the conf of run `{run}`: {e}"))?,
            None => Value::Object(serde_json::Map::new()),
        };
        let conf = Arc::new(conf);
        let params = match &offer.version.plan.spec.params_schema {
            Some(schema) => Arc::new(orch_spec::params::with_defaults(schema, &conf)),
            None => conf.clone(),
        };
        let facts = RunFacts {
            dag_id: DagId::new(&facts.dag_id).map_err(|e| e.to_string())?,
            run_id: RunId::new(&facts.run_id).map_err(|e| e.to_string())?,
            run_key: run,
            version: offer.version.number.to_string(),
            logical_date: facts.logical_date,
            data_interval_start: facts.interval_start,
            data_interval_end: facts.interval_end,
            run_after: facts.run_after,
            run_type: facts.run_type,
            triggered_by: None,
            clear_number: u32::try_from(clear_number).unwrap_or(0),
            conf,
            partition_key: facts.partition_key.clone(),
        };
        Ok(RunView { facts: Arc::new(facts), params })
    }
}

pub(crate) struct Job {
    pub(crate) claimed: Claimed,
    pub(crate) offer: Arc<Offer>,
    pub(crate) run: Arc<RunView>,
    pub(crate) cancel: CancellationToken,
}

/// Maximum number of completion steps per attempt. Together, they have five seconds.
const MOST_STEPS: usize = 100;

type Steps = Vec<Box<dyn CompletionStep>>;

#[derive(Default)]
pub(crate) struct CompletionSteps(Mutex<Steps>);

impl CompletionSteps {
    pub(crate) fn leave(&self, left: Box<dyn Any + Send>) -> TaskResult<()> {
        let step = completion::as_step(left)?;
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.len() == MOST_STEPS {
            return Err(fatal(format!("a try can leave {MOST_STEPS} steps for its end: let one do more")));
        }
        steps.push(step);
        Ok(())
    }

    pub(crate) fn take(&self) -> Steps {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
