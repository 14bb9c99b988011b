//! A run of a DAG in memory: real bodies unless faked, scripted failures, no clock, no database.
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

mod elements;
mod rules;

use crate::{Ctx, Dag, Data, MemoryHost, RunFacts, TaskError, TaskState, TryFacts, fatal, skip};
use elements::Element;
use orch_core::ids::{DagId, TaskId};
use orch_core::spec::{TaskSpec, TriggerRule};
use rules::Verdict;
use serde::Serialize;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Looks of a sensor before it counts as failed: the clock stands still here.
const MAX_LOOKS: u32 = 1_000;

/// Built by `dag.test()`.
#[must_use = "it runs with `.run().await`"]
pub struct TestDag<'a> {
    dag: &'a Dag,
    params: Value,
    host: MemoryHost,
    scripted: HashMap<String, Result<Value, TaskError>>,
}

/// What happened.
#[derive(Debug, Default)]
pub struct TestRun {
    tasks: HashMap<String, Instances>,
    /// What a branch or a short circuit left out.
    left_out: HashSet<String>,
    /// Why tasks failed, each as `task: error`.
    pub errors: Vec<String>,
}

#[derive(Debug, Default)]
struct Instances {
    mapped: bool,
    /// One for each element; of a task that is not mapped, or whose map is empty or was never known, the only one.
    of: Vec<Instance>,
}

#[derive(Debug)]
struct Instance {
    state: TaskState,
    output: Option<Value>,
    element: bool,
}

impl<'a> TestDag<'a> {
    pub(crate) fn new(dag: &'a Dag) -> Self {
        let params = Value::Object(serde_json::Map::new());
        TestDag { dag, params, host: MemoryHost::new(), scripted: HashMap::new() }
    }

    /// # Panics
    /// When they are no JSON.
    pub fn params(mut self, params: impl Serialize) -> Self {
        self.params = serde_json::to_value(params).expect("params are JSON");
        self
    }

    /// The connections and variables that tasks find; what they log and push is there afterwards.
    pub fn host(mut self, host: &MemoryHost) -> Self {
        self.host = host.clone();
        self
    }

    /// The task gives this instead of running. It must be what the task's type says; the run tells if not.
    ///
    /// # Panics
    /// When it is no JSON.
    pub fn with(mut self, task_id: &str, output: impl Serialize) -> Self {
        self.scripted.insert(task_id.into(), Ok(serde_json::to_value(output).expect("a fake is JSON")));
        self
    }

    pub fn fail(mut self, task_id: &str) -> Self {
        self.scripted.insert(task_id.into(), Err(fatal("scripted").into()));
        self
    }

    pub fn skip(mut self, task_id: &str) -> Self {
        self.scripted.insert(task_id.into(), Err(skip("scripted").into()));
        self
    }

    /// Tasks run in the order they were added, one after the other; retries and looks of sensors at once.
    ///
    /// # Panics
    /// When the DAG has problems, or a fake is for no task or of the wrong type: the test itself is wrong.
    pub async fn run(self) -> TestRun {
        if let Err(problems) = self.dag.check() {
            panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
        }
        self.check_fakes();
        let mut run = TestRun::default();
        for task in self.dag.tasks() {
            let instances = self.run_task(task, &mut run).await;
            run.tasks.insert(task.task_id.clone(), instances);
        }
        run
    }

    async fn run_task(&self, task: &TaskSpec, run: &mut TestRun) -> Instances {
        let spec = self.dag.spec();
        let mapped = spec.map_of(task).is_some();
        let only = |state| Instances { mapped, of: vec![Instance { state, output: None, element: false }] };
        if run.left_out.contains(&task.task_id) {
            return only(TaskState::Skipped);
        }
        let elements = match run.elements(spec, task, &self.params) {
            Ok(elements) => elements,
            Err(state) => return only(state),
        };
        if elements.is_empty() {
            return only(TaskState::Skipped);
        }
        let mut of = Vec::with_capacity(elements.len());
        for element in elements {
            let (state, output) = match rules::decide(task, &run.upstream_states(spec, task, &element)) {
                Verdict::End(state) => (state, None),
                Verdict::Run if !run.conditions_hold(task, &self.params, &element) => (TaskState::Skipped, None),
                Verdict::Run => self.try_until_done(task, &element, run).await,
            };
            if let Some(output) = &output {
                run.left_out.extend(rules::left_out(spec, task, output));
            }
            of.push(Instance { state, output, element: mapped });
        }
        Instances { mapped, of }
    }

    async fn try_until_done(
        &self,
        task: &TaskSpec,
        element: &Element,
        run: &mut TestRun,
    ) -> (TaskState, Option<Value>) {
        let retries = task.options.retries.unwrap_or(0);
        let mut try_number = 1;
        loop {
            let error = match self.attempt(task, element, try_number, run).await {
                Ok(value) => return (TaskState::Success, Some(value)),
                Err(TaskError::Skipped { .. }) => return (TaskState::Skipped, None),
                Err(TaskError::Retryable { .. }) if try_number <= retries => {
                    try_number += 1;
                    continue;
                }
                Err(error) => error,
            };
            run.errors.push(format!("{}: {error}", task.task_id));
            return (TaskState::Failed, None);
        }
    }

    async fn attempt(
        &self,
        task: &TaskSpec,
        element: &Element,
        try_number: u32,
        run: &TestRun,
    ) -> Result<Value, TaskError> {
        if let Some(scripted) = self.scripted.get(&task.task_id) {
            return scripted.clone();
        }
        let body = &self.dag.bodies[&task.task_id];
        let ctx = self.ctx(task, element, try_number);
        for _ in 0..MAX_LOOKS {
            let inputs = task.inputs.iter().map(|input| run.resolve(&input.source, &self.params, element));
            if let Some(value) = body.call(ctx.clone(), inputs.collect()).await? {
                return Ok(value);
            }
        }
        Err(TaskError::fatal(format!("the sensor said \"not yet\" {MAX_LOOKS} times")))
    }

    fn ctx(&self, task: &TaskSpec, element: &Element, try_number: u32) -> Ctx {
        let run = RunFacts {
            dag_id: DagId::new(&self.dag.spec().dag_id).expect("a DAG without problems has an id"),
            conf: Arc::new(self.params.clone()),
            ..RunFacts::test()
        };
        let this_try = TryFacts {
            task_id: TaskId::new(&task.task_id).expect("a DAG without problems has ids"),
            map_index: element.index.map(|index| index as u32),
            try_number,
            max_tries: task.options.retries.unwrap_or(0),
            ..TryFacts::test()
        };
        self.host.ctx_for(run, this_try)
    }

    fn check_fakes(&self) {
        for (task_id, scripted) in &self.scripted {
            let Some(body) = self.dag.bodies.get(task_id) else {
                panic!("the test scripts `{task_id}`, which dag `{}` does not have", self.dag.spec().dag_id);
            };
            if let Some(Err(error)) = scripted.as_ref().ok().map(body.check_output) {
                panic!("the fake output of `{task_id}` has the wrong type: {error}");
            }
        }
    }
}

impl TestRun {
    /// The state of a task; of a mapped task, the worst of its elements.
    ///
    /// # Panics
    /// When the DAG has no such task.
    pub fn state(&self, task_id: &str) -> TaskState {
        let states: Vec<TaskState> = self.instances(task_id).of.iter().map(|instance| instance.state).collect();
        let order = [TaskState::Failed, TaskState::UpstreamFailed, TaskState::Success];
        order.into_iter().find(|state| states.contains(state)).unwrap_or(TaskState::Skipped)
    }

    /// What a task gave; a mapped task gives a `Vec`.
    ///
    /// # Panics
    /// When the DAG has no such task, or its output is no `T`: the test itself is wrong.
    pub fn output<T: Data>(&self, task_id: &str) -> Option<T> {
        let instances = self.instances(task_id);
        let value = if instances.mapped { self.all(task_id) } else { instances.of.first()?.output.clone()? };
        match serde_json::from_value(value) {
            Ok(output) => Some(output),
            Err(error) => panic!("the output of `{task_id}` is no `{}`: {error}", std::any::type_name::<T>()),
        }
    }

    fn instances(&self, task_id: &str) -> &Instances {
        self.tasks.get(task_id).unwrap_or_else(|| panic!("the DAG has no task `{task_id}`"))
    }
}

/// The rule of a task as written, or its role's.
fn rule_of(task: &TaskSpec) -> TriggerRule {
    task.options.trigger_rule.unwrap_or_default()
}
