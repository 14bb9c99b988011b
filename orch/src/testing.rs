//! Test runs of a DAG in memory. They use the engine's decisions, real or fake task functions, scripted failures and
//! a virtual clock that advances only while tasks wait. No database is needed.
//!
//! ```
//! # use orch::prelude::*;
//! # #[task] async fn extract() -> TaskResult<u64> { Ok(3) }
//! # #[task] async fn load(rows: u64) -> TaskResult<u64> { Ok(rows * 2) }
//! # let dag = dag("sales").build(|d| { d.add(load(d.add(extract()))); });
//! # let rt = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # rt.block_on(async {
//! let run = dag.test().with("extract", 21).run().await;
//! assert_eq!(run.output::<u64>("load"), Some(42));
//!
//! let run = dag.test().fail("extract").run().await;
//! assert_eq!(run.state("load"), orch::TaskState::UpstreamFailed);
//! # });
//! ```

mod answers;
mod inputs;

use crate::{
    Ctx, Dag, Data, Deferral, MemoryHost, OnTimeout, Resumed, RunFacts, TaskError, TaskState, TryFacts, WaitEnd, fatal,
    skip,
};
use answers::scripted;
use chrono::{DateTime, TimeDelta};
use inputs::{Inputs, Outputs, all};
use orch_core::branch;
use orch_core::model::Model;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::retry::{logical_date_key, retry_delay};
use orch_core::transition::Outcome;
use orch_sdk::wait::Wake;
use orch_spec::asset::{AssetEvent, events_of};
use orch_spec::elements::element_count;
use orch_spec::ids::{DagId, TaskId};
use orch_spec::params::with_defaults;
use orch_spec::state::RunState;
use orch_spec::{Source, TaskSpec};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Maximum number of polls of a sensor without a timeout. After that the test fails.
const MAX_LOOKS: u32 = 1_000;
/// Default delay between attempts, as in the engine.
const RETRY_DELAY_MS: u64 = 300_000;
const POLL_MS: u64 = 60_000;

/// A test run that is being configured. Created by `dag.test()`.
#[must_use = "it runs with `.run().await`"]
pub struct TestDag<'a> {
    dag: &'a Dag,
    params: Value,
    host: MemoryHost,
    partition_key: Option<String>,
    scripted: HashMap<String, Script>,
    waits: HashMap<String, WaitEnd>,
}

/// Replacement of a task function.
struct Script {
    /// Number of attempts that fail before `then` applies.
    failing_tries: u32,
    then: Option<Result<Value, TaskError>>,
}

/// The result of a test run.
#[derive(Debug)]
pub struct TestRun {
    model: Model,
    outputs: Outputs,
    tries: HashMap<(TaskIdx, i32), u32>,
    resumed: HashMap<(TaskIdx, i32), Resumed>,
    clock: Duration,
    /// Asset updates by successful tasks, in order.
    pub asset_events: Vec<AssetEvent>,
    /// Errors of failed tasks, each as `task: error`.
    pub errors: Vec<String>,
}

impl<'a> TestDag<'a> {
    pub(crate) fn new(dag: &'a Dag) -> Self {
        let params = Value::Object(serde_json::Map::new());
        TestDag {
            dag,
            params,
            host: MemoryHost::new(),
            partition_key: None,
            scripted: HashMap::new(),
            waits: HashMap::new(),
        }
    }

    /// # Panics
    /// Panics if the params cannot be serialized as JSON.
    pub fn params(mut self, params: impl Serialize) -> Self {
        self.params = serde_json::to_value(params).expect("params are JSON");
        self
    }

    /// Sets the connections and variables of tasks. After the run, the host contains what tasks logged and pushed.
    pub fn host(mut self, host: &MemoryHost) -> Self {
        self.host = host.clone();
        self
    }

    /// Sets the partition key of the run.
    pub fn partition(mut self, key: &str) -> Self {
        self.partition_key = Some(key.into());
        self
    }

    /// Returns `output` instead of running the task. The run panics if it does not match the task's type.
    ///
    /// # Panics
    /// Panics if `output` cannot be serialized as JSON.
    pub fn with(self, task_id: &str, output: impl Serialize) -> Self {
        let output = serde_json::to_value(output).expect("a fake is JSON");
        self.script(task_id, 0, Some(Ok(output)))
    }

    /// Fails the task without retries.
    pub fn fail(self, task_id: &str) -> Self {
        self.script(task_id, 0, Some(Err(fatal("scripted").into())))
    }

    /// Fails the first `tries` attempts of the task, then runs it normally.
    pub fn fail_first(self, task_id: &str, tries: u32) -> Self {
        self.script(task_id, tries, None)
    }

    pub fn skip(self, task_id: &str) -> Self {
        self.script(task_id, 0, Some(Err(skip("scripted").into())))
    }

    /// Ends the task's wait with this value. By default every wait ends immediately, with null. For a task that asks
    /// a user, the value is the response, `{"chosen_options": […]}`; by default no user responds in time.
    ///
    /// # Panics
    /// Panics if `value` cannot be serialized as JSON.
    pub fn met(mut self, task_id: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("a fake is JSON");
        self.waits.insert(task_id.into(), WaitEnd::Met(value));
        self
    }

    /// Lets the task's wait time out.
    pub fn times_out(mut self, task_id: &str) -> Self {
        self.waits.insert(task_id.into(), WaitEnd::TimedOut(OnTimeout::Fail));
        self
    }

    fn script(mut self, task_id: &str, failing_tries: u32, then: Option<Result<Value, TaskError>>) -> Self {
        self.scripted.insert(task_id.into(), Script { failing_tries, then });
        self
    }

    /// Runs the DAG until it has finished. Ready tasks run in the order of the DAG; retries and sensors wait on the
    /// virtual clock.
    ///
    /// # Panics
    /// Panics if the DAG has problems, or if a fake has an unknown task or the wrong type.
    pub async fn run(mut self) -> TestRun {
        if let Err(problems) = self.dag.check() {
            panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        }
        self.check_fakes();
        if let Some(schema) = &self.dag.spec().params_schema {
            self.params = with_defaults(schema, &self.params);
        }
        let plan = Plan::new(Arc::new(self.dag.spec().clone())).expect("a DAG without problems can be planned");
        let mut run = TestRun {
            model: Model::start(Arc::new(plan)),
            outputs: Outputs::new(),
            tries: HashMap::new(),
            resumed: HashMap::new(),
            clock: Duration::ZERO,
            asset_events: Vec::new(),
            errors: Vec::new(),
        };
        let mut waiting: BTreeMap<(TaskIdx, i32), Wait> = BTreeMap::new();
        while !run.model.run.state.is_finished() {
            for instance in run.model.ready.clone() {
                waiting.entry(instance).or_insert_with(|| Wait { at: run.clock, since: run.clock, looks: 0 });
            }
            let next = waiting.iter().min_by_key(|(instance, wait)| (wait.at, **instance));
            let Some((&instance, _)) = next else { break };
            let wait = waiting.remove(&instance).expect("it was just seen");
            run.clock = run.clock.max(wait.at);
            if let Some(again) = self.attempt(&mut run, instance, wait).await {
                waiting.insert(instance, again);
            }
        }
        run
    }

    /// Runs one attempt or poll. Returns `Some` if another follows.
    async fn attempt(&self, run: &mut TestRun, (task, index): (TaskIdx, i32), wait: Wait) -> Option<Wait> {
        let plan = run.model.plan.clone();
        let spec = &plan.spec.tasks[usize::from(task)];
        let tries = run.tries.entry((task, index)).or_insert(1);
        let try_number = *tries;
        let said_before = self.host.asset_events().len();
        let error = match self.body(run, &plan, spec, (task, index), try_number).await {
            Ok(Some(value)) => match run.given(&plan, (task, index), value) {
                Ok(()) => {
                    let said = self.host.asset_events().split_off(said_before);
                    run.asset_events.extend(events_of(&spec.outlets, &said, self.partition_key.as_deref()));
                    return None;
                }
                Err(error) => error,
            },
            Ok(None) => {
                let waited = run.clock.saturating_sub(wait.since);
                let pause = Duration::from_millis(spec.options.poll_every_ms.unwrap_or(POLL_MS));
                match spec.options.timeout_ms.map(Duration::from_millis) {
                    Some(limit) if waited + pause > limit => {
                        TaskError::fatal(format!("the sensor saw nothing in {limit:?}"))
                    }
                    None if wait.looks >= MAX_LOOKS => {
                        TaskError::fatal(format!("the sensor said \"not yet\" {MAX_LOOKS} times"))
                    }
                    _ => return Some(Wait { at: run.clock + pause, looks: wait.looks + 1, ..wait }),
                }
            }
            Err(TaskError::Deferred { deferral }) => match self.wait(run, spec, (task, index), &deferral, wait) {
                Ok(again) => return Some(again),
                Err(error) => error,
            },
            Err(error) => error,
        };
        run.resumed.remove(&(task, index));
        match error {
            TaskError::Skipped { .. } => run.model.finish(task, index, Outcome::Skipped { skip: Vec::new() }),
            TaskError::Retryable { .. } if try_number <= spec.options.retries.unwrap_or(0) => {
                run.tries.insert((task, index), try_number + 1);
                let at = run.clock + delay(&plan.spec.dag_id, spec, try_number);
                return Some(Wait { at, since: at, looks: 0 });
            }
            error => {
                run.errors.push(format!("{}: {error}", spec.task_id));
                run.model.finish(task, index, Outcome::Failed);
            }
        }
        None
    }

    /// Schedules a deferred task: at its time if it waits for one. Every other condition is met immediately.
    fn wait(
        &self,
        run: &mut TestRun,
        spec: &TaskSpec,
        instance: (TaskIdx, i32),
        deferral: &Deferral,
        wait: Wait,
    ) -> Result<Wait, TaskError> {
        if wait.looks >= MAX_LOOKS {
            return Err(TaskError::fatal(format!("it was deferred {MAX_LOOKS} times")));
        }
        let scripted = scripted(deferral, self.waits.get(&spec.task_id), run.clock)?;
        let limit = deferral.timeout_ms.map(Duration::from_millis);
        let wall = DateTime::UNIX_EPOCH + TimeDelta::from_std(run.clock).unwrap_or_default();
        let pause = match orch_sdk::wait::wake(&deferral.until, wall).map_err(TaskError::fatal)? {
            Some(Wake::InMs(ms)) => Duration::from_millis(ms),
            // The virtual clock starts in 1970, so waits for a timestamp end immediately.
            Some(Wake::At(_)) | None => Duration::ZERO,
        };
        let late = matches!(scripted, WaitEnd::TimedOut(_)) || limit.is_some_and(|limit| limit < pause);
        let (end, pause) =
            if late { (WaitEnd::TimedOut(deferral.on_timeout), limit.unwrap_or(pause)) } else { (scripted, pause) };
        match end {
            WaitEnd::TimedOut(OnTimeout::Fail) => Err(TaskError::fatal("what it waited for was not there in time")),
            WaitEnd::TimedOut(OnTimeout::Skip) => Err(TaskError::skipped("what it waited for was not there in time")),
            end => {
                run.resumed.insert(instance, Resumed { end, carried: deferral.carried.clone() });
                Ok(Wait { at: run.clock + pause, looks: wait.looks + 1, ..wait })
            }
        }
    }

    async fn body(
        &self,
        run: &TestRun,
        plan: &Plan,
        spec: &TaskSpec,
        (task, index): (TaskIdx, i32),
        try_number: u32,
    ) -> Result<Option<Value>, TaskError> {
        match self.scripted.get(&spec.task_id) {
            Some(script) if try_number <= script.failing_tries => {
                return Err(TaskError::Retryable { causes: vec!["scripted".into()] });
            }
            Some(Script { then: Some(scripted), .. }) => return scripted.clone().map(Some),
            _ => {}
        }
        let inputs = Inputs {
            plan,
            params: &self.params,
            outputs: &run.outputs,
            len: &|task| run.model.run.len(plan.task(task)).unwrap_or(0),
            task,
            index,
        };
        let on_element = spec.when.iter().filter(|c| matches!(c.source, Source::Element { .. }));
        for condition in on_element {
            if !condition.equals.contains(&inputs.value(&condition.source)) {
                return Err(skip("its condition is not met").into());
            }
        }
        let values = spec.inputs.iter().map(|input| inputs.value(&input.source)).collect();
        self.dag.bodies[&spec.task_id].call(self.ctx(run, spec, (task, index), try_number), values).await
    }

    fn ctx(&self, run: &TestRun, task: &TaskSpec, instance: (TaskIdx, i32), try_number: u32) -> Ctx {
        let resumed = run.resumed.get(&instance).cloned();
        let run = RunFacts {
            dag_id: DagId::new(&self.dag.spec().dag_id).expect("a DAG without problems has an id"),
            conf: Arc::new(self.params.clone()),
            partition_key: self.partition_key.clone(),
            ..RunFacts::test()
        };
        let this_try = TryFacts {
            task_id: TaskId::new(&task.task_id).expect("a DAG without problems has ids"),
            map_index: u32::try_from(instance.1).ok(),
            try_number,
            resumed,
            max_tries: task.options.retries.unwrap_or(0),
            ..TryFacts::test()
        };
        self.host.ctx_for(run, this_try)
    }

    fn check_fakes(&self) {
        for (task_id, script) in &self.scripted {
            let Some(body) = self.dag.bodies.get(task_id) else {
                panic!("the test scripts `{task_id}`, which dag `{}` does not have", self.dag.spec().dag_id);
            };
            if let Some(Ok(Err(error))) = script.then.as_ref().map(|then| then.as_ref().map(body.check_output)) {
                panic!("the fake output of `{task_id}` has the wrong type: {error}");
            }
        }
    }
}

/// An attempt or poll that is scheduled.
#[derive(Clone, Copy)]
struct Wait {
    at: Duration,
    /// The time of the first poll.
    since: Duration,
    looks: u32,
}

fn delay(dag_id: &str, task: &TaskSpec, try_number: u32) -> Duration {
    let o = &task.options;
    let (base, backoff) = (o.retry_delay_ms.unwrap_or(RETRY_DELAY_MS), o.retry_backoff.unwrap_or(0.0));
    let run_key = logical_date_key(None);
    retry_delay(base, backoff, o.max_retry_delay_ms, dag_id, &task.task_id, &run_key, try_number)
}

impl TestRun {
    pub fn outcome(&self) -> RunState {
        self.model.run.state
    }

    /// Returns the time that passed on the virtual clock. Only waits of retries and sensors take time.
    pub fn took(&self) -> Duration {
        self.clock
    }

    /// Returns the state of a task. For a mapped task, the worst state of its elements.
    ///
    /// # Panics
    /// Panics if the DAG has no such task.
    pub fn state(&self, task_id: &str) -> TaskState {
        self.model.run.task(self.find(task_id))
    }

    /// Returns the number of attempts of a task. For a mapped task, the attempts of its first element.
    ///
    /// # Panics
    /// Panics if the DAG has no such task.
    pub fn tries(&self, task_id: &str) -> u32 {
        let task = self.find(task_id);
        [-1, 0].into_iter().find_map(|index| self.tries.get(&(task, index)).copied()).unwrap_or(0)
    }

    /// Returns the output of a task. For a mapped task, `T` is a `Vec`.
    ///
    /// # Panics
    /// Panics if the DAG has no such task, or if its output is not a `T`.
    pub fn output<T: Data>(&self, task_id: &str) -> Option<T> {
        let task = self.find(task_id);
        let planned = self.model.plan.task(task);
        let value = if planned.map.is_some() {
            all(&self.outputs, task, self.model.run.len(planned).unwrap_or(0))
        } else {
            self.outputs.get(&(task, -1))?.clone()
        };
        match serde_json::from_value(value) {
            Ok(output) => Some(output),
            Err(error) => panic!("the output of `{task_id}` is no `{}`: {error}", std::any::type_name::<T>()),
        }
    }

    fn given(&mut self, plan: &Plan, (task, index): (TaskIdx, i32), value: Value) -> Result<(), TaskError> {
        let skip = branch::skips(plan, task, index, &value).map_err(TaskError::fatal)?;
        let list_len = element_count(&value).map(|len| len as i32).filter(|_| plan.list_slots.contains_key(&task));
        self.outputs.insert((task, index), value);
        self.model.finish(task, index, Outcome::Success { list_len, skip });
        Ok(())
    }

    fn find(&self, task_id: &str) -> TaskIdx {
        self.model.plan.index_of(task_id).unwrap_or_else(|| panic!("the DAG has no task `{task_id}`"))
    }
}
