//! Reasons why a task instance does not run, and the messages for them. A reason has the name of Airflow's dependency
//! if Airflow has the same one.

use chrono::{DateTime, SecondsFormat, Utc};
use orch_spec::state::{RunState, TaskState};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    // Reasons from gates: pools, limits and the previous run (`admission`).
    PoolMissing {
        pool: String,
    },
    /// The task needs more slots than the pool has in total, so it can never start.
    PoolTooSmall {
        pool: String,
        slots: i32,
        wants: i32,
    },
    PoolFull {
        pool: String,
        slots: i32,
        taken: i64,
        wants: i32,
    },
    /// A limit has no free slots. `limit` is the name under which its usage is counted.
    LimitFull {
        limit: String,
        name: String,
        key: Option<String>,
        most: i32,
    },
    TaskFull {
        limit: String,
        task: String,
        most: i32,
    },
    RateFull {
        name: String,
        key: Option<String>,
        most: i32,
        per_ms: u64,
        again_at: DateTime<Utc>,
    },
    /// The same task of the previous run has not succeeded or been skipped yet.
    Past {
        run_id: String,
        task_id: String,
        state: TaskState,
    },
    /// In the previous run, a task directly downstream has not succeeded or been skipped yet.
    PastDownstream {
        run_id: String,
        task_id: String,
        state: TaskState,
    },
    /// Nothing blocks the attempt, so the next admission pass starts it.
    Admitted,

    // Reasons that concern the whole run.
    DagPaused {
        dag_id: String,
    },
    RunNotRunning {
        state: RunState,
    },
    /// The run waits until these other runs end.
    RunsActive {
        dag_id: String,
        most: i32,
        runs: Vec<String>,
    },
    RunNotDue {
        run_after: DateTime<Utc>,
    },
    /// The run's state cannot be read, or its next state cannot be written.
    RunParked {
        why: String,
    },

    // Reasons from the structure of the DAG.
    Upstream {
        rule: &'static str,
        of: usize,
        open: Vec<(String, TaskState)>,
    },
    /// The DAG's limit on concurrent tasks is reached.
    TasksActive {
        most: i32,
    },
    /// The task's limit on concurrent elements is reached.
    ElementsActive {
        most: i32,
    },
    Window {
        many: i32,
    },

    // Events that the instance waits for.
    Retry {
        at: DateTime<Utc>,
    },
    Reschedule {
        at: DateTime<Utc>,
    },
    /// The attempt waits until a time, or for a condition that is polled next at `at`.
    Deferred {
        at: Option<DateTime<Utc>>,
        condition: Option<Condition>,
    },
    /// The attempt waits for an answer from the users in `asked`, or from any user who may start runs if `asked` is
    /// empty. `give_up_at` is the deadline for the answer.
    Input {
        subject: String,
        asked: Vec<String>,
        give_up_at: Option<DateTime<Utc>>,
    },

    // Reasons that concern workers.
    NoWorker {
        queue: String,
    },
    NoVersion {
        dag_id: String,
        version: i32,
    },
    WorkersBusy {
        queue: String,
        workers: usize,
    },
}

/// Condition that a deferred attempt waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub kind: String,
    pub looks: i32,
    pub give_up_at: Option<DateTime<Utc>>,
    pub last_error: Option<String>,
}

impl Condition {
    fn text(&self, next: Option<DateTime<Utc>>) -> String {
        let Condition { kind, looks, give_up_at, last_error } = self;
        let times = if *looks == 1 { "once".into() } else { format!("{looks} times") };
        let mut text = format!("It waits for a condition of kind '{kind}', looked at {times}");
        text += &next.map_or_else(String::new, |at| format!(", again at {}", moment(at)));
        text += &give_up_at.map_or_else(String::new, |at| format!(", until {}", moment(at)));
        text += &last_error.as_ref().map_or_else(String::new, |error| format!("; the last look failed: {error}"));
        text + "."
    }
}

impl Reason {
    /// Returns a short name of the reason. It is Airflow's name if Airflow has the same dependency.
    pub fn name(&self) -> &'static str {
        match self {
            Reason::PoolMissing { .. } | Reason::PoolTooSmall { .. } | Reason::PoolFull { .. } => {
                "Pool Slots Available"
            }
            Reason::LimitFull { .. } => "Limit",
            Reason::TaskFull { .. } | Reason::ElementsActive { .. } => "Task Concurrency",
            Reason::RateFull { .. } => "Rate",
            Reason::Past { .. } | Reason::PastDownstream { .. } => "Previous Dagrun State",
            Reason::Admitted => "Admission",
            Reason::DagPaused { .. } => "Dag Not Paused",
            Reason::RunNotRunning { .. }
            | Reason::RunsActive { .. }
            | Reason::RunNotDue { .. }
            | Reason::RunParked { .. } => "Dagrun Running",
            Reason::Upstream { .. } => "Trigger Rule",
            Reason::TasksActive { .. } => "Task Instance Slots Available",
            Reason::Window { .. } => "Map Window",
            Reason::Retry { .. } => "Not In Retry Period",
            Reason::Reschedule { .. } | Reason::Deferred { .. } => "Ready To Reschedule",
            Reason::Input { .. } => "Input",
            Reason::NoWorker { .. } | Reason::NoVersion { .. } | Reason::WorkersBusy { .. } => "Worker",
        }
    }

    /// Returns the reason as a sentence for users.
    pub fn words(&self) -> String {
        match self {
            Reason::PoolMissing { pool } => {
                format!("Pool '{pool}' does not exist; make it with `orch pools set {pool} <slots> <description>`.")
            }
            Reason::PoolTooSmall { pool, slots, wants } => {
                format!("It wants {wants} slots of pool '{pool}', which has {slots} in all.")
            }
            Reason::PoolFull { pool, slots, taken, wants } => {
                let open = (i64::from(*slots) - taken).max(0);
                format!("Pool '{pool}' has {open} of {slots} slots open, and it wants {wants}.")
            }
            Reason::LimitFull { name, key, most, .. } => {
                format!("Limit '{name}'{} lets {most} in at a time, and they are in.", of_key(key.as_ref()))
            }
            Reason::TaskFull { task, most, .. } => format!("{most} of task '{task}' may run at a time, over all runs."),
            Reason::RateFull { name, key, most, per_ms, again_at } => format!(
                "Limit '{name}'{} lets {most} begin in {}; the next one may at {}.",
                of_key(key.as_ref()),
                time(*per_ms),
                moment(*again_at)
            ),
            Reason::Past { run_id, task_id, state } => format!(
                "depends_on_past is true for this task, but '{task_id}' of the run before ('{run_id}') is {}.",
                state_words(*state)
            ),
            Reason::PastDownstream { run_id, task_id, state } => format!(
                "wait_for_downstream is true for this task, but '{task_id}' of the run before ('{run_id}') is {}.",
                state_words(*state)
            ),
            Reason::Admitted => "Nothing holds it back: it is let in with the next look.".into(),
            Reason::DagPaused { dag_id } => format!("Task's DAG '{dag_id}' is paused."),
            Reason::RunNotRunning { state } => {
                format!("Task instance's dagrun was not in the 'running' state but in the state '{state}'.")
            }
            Reason::RunsActive { dag_id, most, runs } => {
                format!("DAG '{dag_id}' has max_active_runs {most}, and these runs are active: {}.", runs.join(", "))
            }
            Reason::RunNotDue { run_after } => format!("The run may begin at {}.", moment(*run_after)),
            Reason::RunParked { why } => format!("The run is parked because it cannot be moved on: {why}."),
            Reason::Upstream { rule, of, open } => {
                let names: Vec<String> =
                    open.iter().map(|(task, state)| format!("{task} ({})", state_words(*state))).collect();
                format!(
                    "Task's trigger rule '{rule}' is not met yet: {} of {of} upstream tasks are not over: {}.",
                    open.len(),
                    if names.is_empty() { "they are just being counted".into() } else { names.join(", ") }
                )
            }
            Reason::TasksActive { most } => {
                format!("The DAG lets {most} tasks of a run run at a time (max_active_tasks).")
            }
            Reason::ElementsActive { most } => {
                format!("The task lets {most} of its elements run at a time (max_active).")
            }
            Reason::Window { many } => {
                format!("{many} elements of its map are in flight; the next follow as these end.")
            }
            Reason::Retry { at } => format!("Task is not ready for retry yet: the next try begins at {}.", moment(*at)),
            Reason::Reschedule { at } => format!("Task is waiting for its next look, at {}.", moment(*at)),
            Reason::Deferred { at, condition: Some(condition) } => condition.text(*at),
            Reason::Deferred { at: Some(at), condition: None } => format!("It is deferred until {}.", moment(*at)),
            Reason::Deferred { at: None, condition: None } => "It is deferred.".into(),
            Reason::Input { subject, asked, give_up_at } => {
                let of = if asked.is_empty() { String::new() } else { format!(" of {}", asked.join(" or ")) };
                let until = give_up_at.map_or_else(String::new, |at| format!(", until {}", moment(at)));
                format!("It waits for an answer{of} to '{subject}'{until}.")
            }
            Reason::NoWorker { queue } => format!("No living worker serves the queue '{queue}'."),
            Reason::NoVersion { dag_id, version } => {
                format!("No living worker has version {version} of dag '{dag_id}'.")
            }
            Reason::WorkersBusy { queue, workers } => format!("All {workers} workers of queue '{queue}' are busy."),
        }
    }

    /// Returns the time at which the instance is no longer blocked by this reason, if the time is known in advance.
    pub fn again_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Reason::RateFull { again_at: at, .. } | Reason::Retry { at } | Reason::Reschedule { at } => Some(*at),
            Reason::RunNotDue { run_after } => Some(*run_after),
            Reason::Deferred { at, .. } => *at,
            _ => None,
        }
    }

    /// Returns the name of the pool or limit whose slots are in use by other attempts.
    pub fn limit(&self) -> Option<String> {
        match self {
            Reason::PoolFull { pool, .. } => Some(crate::gates::pool_limit(pool)),
            Reason::LimitFull { limit, .. } | Reason::TaskFull { limit, .. } => Some(limit.clone()),
            _ => None,
        }
    }

    /// Returns true if slots in the pool or limit will become free without a user's action. Later attempts must then
    /// wait behind this one.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Reason::PoolFull { .. } | Reason::LimitFull { .. } | Reason::TaskFull { .. })
    }
}

fn of_key(key: Option<&String>) -> String {
    key.map(|key| format!(" for '{key}'")).unwrap_or_default()
}

fn state_words(state: TaskState) -> &'static str {
    if state == TaskState::None { "without a state" } else { state.as_str() }
}

fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn time(ms: u64) -> String {
    match ms {
        ms if ms % 3_600_000 == 0 => format!("{} h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}
