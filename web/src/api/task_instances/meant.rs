//! Determines the task instances that a change applies to: in one run or also in earlier and later ones, with upstream
//! and downstream tasks.

use super::{find_instance, rows_of};
use crate::api::dag_runs::find;
use crate::extract::{RunPath, TaskPath, no_such_instance};
use crate::refusal::Refusal;
use crate::state::App;
use orch_core::plan::{Plan, TaskIdx};
use orch_core::select::relatives;
use orch_spec::ids::TaskId;
use orch_spec::state::TaskState;
use orch_store::instance::ledger;
use orch_store::narrow;
use orch_store::run::{Around, RunDetails, runs_around};
use sqlx::PgConnection;
use std::collections::BTreeSet;

/// Maximum number of instances per request. Each one is applied to its run's ledger while the run is locked.
const MOST_MARKED: usize = 1_000;
/// Maximum number of runs before and after the one in the path.
const MOST_RUNS: i64 = 100;

/// A change of task instances: a state, a note, or both.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the fields are Airflow's")]
pub(crate) struct TaskInstancePatch {
    /// The new state. `None` keeps the current state.
    pub(crate) state: Option<TaskState>,
    pub(crate) note: Option<Note>,
    pub(crate) upstream: bool,
    pub(crate) downstream: bool,
    pub(crate) future: bool,
    pub(crate) past: bool,
}

/// The new note. `None` removes the note.
#[derive(Debug, Clone)]
pub(crate) struct Note(pub(crate) Option<String>);

#[derive(Debug, Clone)]
pub(super) enum Target {
    /// A task, or one of its mapped elements.
    Task(TaskId, Option<i32>),
    /// All tasks of a group and of its subgroups.
    Group(String),
}

/// A run with its selected instances.
pub(crate) type InstancesOfRun = (RunDetails, Vec<(TaskIdx, i32)>);

impl TaskInstancePatch {
    /// Returns whether the change has no effect on an instance with this state.
    fn is_met(&self, state: TaskState) -> bool {
        self.note.is_none() && self.state.is_none_or(|wished| wished == state)
    }
}

/// Returns the instances to change, by run.
pub(super) async fn meant(
    app: &App,
    db: &mut PgConnection,
    (path, target): (&RunPath, &Target),
    wish: &TaskInstancePatch,
) -> Result<Vec<InstancesOfRun>, Refusal> {
    if let Target::Task(task_id, Some(index)) = target {
        // Only checks that the instance exists.
        find_instance(app, db, TaskPath { run: path.clone(), task_id: task_id.clone() }, *index).await?;
    }
    let run = find(db, path).await?;
    let around = Around { past: wish.past, future: wish.future };
    let runs = runs_around(db, &run, around, MOST_RUNS).await?;
    if runs.len() as i64 > MOST_RUNS {
        return Err(Refusal::bad_request(format!("more than {MOST_RUNS} runs are meant: mark them one by one")));
    }
    let (mut meant, mut count) = (Vec::new(), 0);
    for run in runs {
        let instances = in_run(app, db, &run, (path, target), wish).await?;
        count += instances.len();
        if count > MOST_MARKED {
            let text = format!("more than {MOST_MARKED} task instances are meant: mark fewer at once");
            return Err(Refusal::bad_request(text));
        }
        if !instances.is_empty() {
            meant.push((run, instances));
        }
    }
    Ok(meant)
}

/// Returns the instances of a run that the change would affect.
async fn in_run(
    app: &App,
    db: &mut PgConnection,
    run: &RunDetails,
    (path, target): (&RunPath, &Target),
    wish: &TaskInstancePatch,
) -> Result<Vec<(TaskIdx, i32)>, Refusal> {
    let mut versions = app.versions.clone();
    let gone = || crate::extract::no_such_run(&run.dag_id, &run.run_id);
    let ledger = ledger(db, &mut versions, run.id).await?.ok_or_else(gone)?;
    let plan = &ledger.version.plan;
    let seeds = seeds(plan, target);
    if seeds.is_empty() {
        // Another run may use a version without this task.
        return if *path.run_id == *run.run_id { Err(missing(path, target)) } else { Ok(Vec::new()) };
    }
    let elements = |task: TaskIdx| match ledger.run.len(plan.task(task)).filter(|&len| len > 0) {
        None => (-1, 0),
        Some(len) => (0, len),
    };
    let only = match target {
        Target::Task(_, index) => *index,
        Target::Group(_) => None,
    };
    let mut wanted = Vec::new();
    for other in related(plan, &seeds, wish) {
        let (from, to) = elements(other);
        match only {
            Some(index) if seeds.contains(&other) => {
                wanted.extend((from..to).contains(&index).then_some((other, index)));
            }
            _ => wanted.extend((from..to).map(|index| (other, index)).take(MOST_MARKED + 1)),
        }
    }
    if wanted.len() > MOST_MARKED {
        return Ok(wanted);
    }
    let rows = rows_of(app, db, run, plan, &wanted).await?;
    Ok(rows.into_iter().filter(|row| !wish.is_met(row.state)).map(|row| (row.task, row.map_index)).collect())
}

fn seeds(plan: &Plan, target: &Target) -> Vec<TaskIdx> {
    match target {
        Target::Task(task_id, _) => plan.index_of(task_id).into_iter().collect(),
        Target::Group(group) => {
            let is_in =
                |id: &str| id.strip_prefix(group.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            let tasks = plan.spec.tasks.iter().enumerate();
            let found = tasks.filter(|(_, task)| task.group_id.as_deref().is_some_and(is_in));
            found.map(|(place, _)| narrow::task(place)).collect()
        }
    }
}

fn missing(path: &RunPath, target: &Target) -> Refusal {
    match target {
        Target::Task(task_id, index) => no_such_instance(path, task_id, index.unwrap_or(-1)),
        Target::Group(group) => {
            let group = group.chars().take(250).collect::<String>().escape_debug().to_string();
            Refusal::not_found(format!("Task group '{group}' not found in Dag '{}'", path.dag_id))
        }
    }
}

/// Returns the given tasks with the requested upstream and downstream tasks, in the order of the DAG.
fn related(plan: &Plan, seeds: &[TaskIdx], wish: &TaskInstancePatch) -> BTreeSet<TaskIdx> {
    let mut found = relatives(plan, seeds, wish.upstream, wish.downstream);
    found.extend(seeds);
    found
}
