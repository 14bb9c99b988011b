//! A finished DAG: its structure as data, and the table of its functions.

use crate::graph::Graph;
use crate::notify::{Late, Notify};
use crate::options::{Defaults, whole_ms};
use crate::schedule::IntoSchedule;
use crate::scope::Scope;
use crate::testing::TestDag;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use orch_sdk::task::{Bundle, BundleDag, Condition, Conditions, TaskFn};
use orch_spec::check::{self, Problem};
use orch_spec::schedule::parse_date;
use orch_spec::{Concurrency, DagSpec, Location, Options, Overlap, Schedule, TaskSpec, Timetable, dag_options};
use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc, time::Duration};

/// Starts the definition of a DAG.
#[track_caller]
pub fn dag(dag_id: &str) -> DagBuilder {
    let spec = DagSpec { location: Location::caller(), ..DagSpec::new(dag_id) };
    DagBuilder { spec, start: None, end: None, defaults: Options::default(), conditions: Conditions::default() }
}

#[must_use = "finish the DAG with `.build(|d| …)`"]
pub struct DagBuilder {
    spec: DagSpec,
    /// Dates as written. Their meaning depends on the timezone of the schedule, which may be set later.
    start: Option<String>,
    end: Option<String>,
    defaults: Options,
    conditions: Conditions,
}

/// Generates a setter.
macro_rules! setter {
    ($about:literal, $key:ident: Time, $field:ident: $stored:ty) => {
        #[doc = $about]
        pub fn $key(mut self, time: Duration) -> Self {
            self.spec.$field = Some(whole_ms(time));
            self
        }
    };
    ($about:literal, $key:ident: Name, $field:ident: $stored:ty) => {
        #[doc = $about]
        pub fn $key(mut self, text: impl Into<String>) -> Self {
            self.spec.$field = Some(text.into());
            self
        }
    };
    ($about:literal, $key:ident: Most, $field:ident: $stored:ty) => {
        #[doc = $about]
        pub fn $key(mut self, count: u32) -> Self {
            self.spec.$field = Some(count);
            self
        }
    };
    ($about:literal, $key:ident: Set, $field:ident: $stored:ty) => {
        #[doc = $about]
        pub fn $key(mut self) -> Self {
            self.spec.$field = true;
            self
        }
    };
    ($about:literal, $key:ident: Keys, $field:ident: $stored:ty) => {
        /// Limits the number of concurrent runs for each value of a param. Dots select fields of objects. Can be
        /// called several times.
        pub fn $key(mut self, param: &str, most: u32) -> Self {
            self.spec.$field.push(Concurrency { key: param.into(), most });
            self
        }
    };
    ($about:literal, $key:ident: Paused, $field:ident: $stored:ty) => {
        /// Creates the DAG paused, regardless of the installation's default.
        pub fn paused(mut self) -> Self {
            self.spec.$field = Some(true);
            self
        }

        /// Creates the DAG unpaused, regardless of the installation's default.
        pub fn unpaused(mut self) -> Self {
            self.spec.$field = Some(false);
            self
        }
    };
    ($about:literal, $key:ident: $form:ident, $field:ident: $stored:ty) => {
        #[doc = $about]
        pub fn $key(mut self, value: $stored) -> Self {
            self.spec.$field = value;
            self
        }
    };
}

macro_rules! setters {
    ($(#[doc = $about:literal] #[serde($($_:tt)*)] $key:ident: $form:ident, $field:ident: $stored:ty;)+) => {
        impl DagBuilder {
            $(setter!($about, $key: $form, $field: $stored);)+
        }
    };
}
dag_options!(setters);

impl DagBuilder {
    pub fn describe(mut self, text: &str) -> Self {
        self.spec.description = text.into();
        self
    }

    /// Sets when runs are created: `cron("0 2 * * *").tz("Europe/Berlin")`, `"@daily"`, `every(mins(5))`, `once()`,
    /// `continuous()` or `on_assets([…])`. Default: only manual runs.
    pub fn schedule(mut self, schedule: impl IntoSchedule) -> Self {
        self.spec.schedule = schedule.into_schedule();
        self
    }

    /// Gives each run the interval from the previous tick to its own, with the start as logical date, like
    /// Airflow 2.
    pub fn data_interval(mut self) -> Self {
        self.spec.timetable = Timetable::DataInterval;
        self
    }

    /// Sets the earliest date of runs: `2025-01-01`, `2025-01-01T06:30` or `2025-01-01T06:30:00+01:00`. Without an
    /// offset it uses the timezone of the schedule, or UTC if the schedule has none.
    pub fn start(mut self, date: &str) -> Self {
        self.start = Some(date.into());
        self
    }

    /// Sets the latest date of runs, in the format of `start`.
    pub fn end(mut self, date: &str) -> Self {
        self.end = Some(date.into());
        self
    }

    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.spec.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    pub fn owners(mut self, owners: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.spec.owners = owners.into_iter().map(Into::into).collect();
        self
    }

    /// Adds another name for the DAG in the CLI, API and UI, for example its former name.
    pub fn alias(mut self, name: &str) -> Self {
        self.spec.aliases.push(name.into());
        self
    }

    /// Sends a notification when a run succeeds.
    pub fn on_success(mut self, whom: Notify) -> Self {
        self.spec.callbacks.on_success.push(whom.spec);
        self
    }

    /// Sends a notification when a run fails.
    pub fn on_failure(mut self, whom: Notify) -> Self {
        self.spec.callbacks.on_failure.push(whom.spec);
        self
    }

    /// Sends a notification when an asset that the DAG's tasks update is stale.
    pub fn on_stale(mut self, whom: Notify) -> Self {
        self.spec.callbacks.on_stale.push(whom.spec);
        self
    }

    /// Sends a notification when a check of one of the DAG's tasks fails or quarantines rows.
    pub fn on_failed_check(mut self, whom: Notify) -> Self {
        self.spec.callbacks.on_failed_check.push(whom.spec);
        self
    }

    /// Marks a run as late and sends notifications if it has not finished by this deadline. Can be called several
    /// times.
    pub fn deadline(mut self, late: Late) -> Self {
        self.spec.deadlines.push(late.spec);
        self
    }

    /// Adds a custom condition that tasks of this DAG can wait for. Workers that have this DAG poll it.
    pub fn condition(mut self, condition: impl Condition + 'static) -> Self {
        self.conditions = self.conditions.with(Arc::new(condition));
        self
    }

    /// Sets default options for all tasks.
    pub fn defaults(mut self, defaults: Defaults) -> Self {
        self.defaults = defaults.options;
        self
    }

    /// Builds the DAG. The closure runs once, immediately, and only describes the tasks.
    pub fn build(mut self, describe: impl for<'d> FnOnce(&Scope<'d>)) -> Dag {
        let mut problems = self.resolve_dates();
        let graph = Rc::new(RefCell::new(Graph::new(&self.spec.dag_id)));
        describe(&Scope::root(graph.clone(), self.defaults));
        let graph = graph.take();
        let mut spec = self.spec;
        spec.params_schema = graph.params.map(|(_, schema)| schema);
        (spec.tasks, spec.groups) = (graph.tasks, graph.groups);
        problems.extend(graph.problems);
        problems.extend(check::problems(&spec));
        Dag { spec: Arc::new(spec), bodies: graph.bodies, conditions: self.conditions, problems }
    }

    fn resolve_dates(&mut self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let zone = match self.spec.schedule.time() {
            Schedule::Cron { timezone, .. } => timezone.parse().unwrap_or(Tz::UTC), // the check reports an invalid one
            _ => Tz::UTC,
        };
        let mut resolve = |name: &str, text: Option<&String>| -> Option<DateTime<Utc>> {
            let text = text?;
            let date = parse_date(text, zone);
            if date.is_none() {
                problems.push(Problem {
                    dag_id: self.spec.dag_id.clone(),
                    task_id: None,
                    message: format!("{name} `{text}` is not a date"),
                    hint: "write `2025-01-01`, `2025-01-01T06:30` or `2025-01-01T06:30:00+01:00`".into(),
                    at: Some(self.spec.location.clone()),
                });
            }
            date
        };
        let (start, end) = (resolve("start", self.start.as_ref()), resolve("end", self.end.as_ref()));
        (self.spec.start, self.spec.end) = (start, end);
        problems
    }
}

/// A DAG and its functions. It may have problems.
pub struct Dag {
    pub(crate) spec: Arc<DagSpec>,
    pub(crate) bodies: HashMap<String, TaskFn>,
    pub(crate) conditions: Conditions,
    pub(crate) problems: Vec<Problem>,
}

impl Dag {
    /// Returns the structure of the DAG.
    pub fn spec(&self) -> &DagSpec {
        &self.spec
    }

    /// Returns the tasks in a topological order.
    pub fn tasks(&self) -> &[TaskSpec] {
        &self.spec.tasks
    }

    /// # Errors
    /// Returns all problems of this DAG.
    pub fn check(&self) -> Result<(), &[Problem]> {
        if self.problems.is_empty() { Ok(()) } else { Err(&self.problems) }
    }

    /// Creates a test run in memory, in this process, without a database.
    pub fn test(&self) -> TestDag<'_> {
        TestDag::new(self)
    }

    /// Converts the DAG for a worker.
    ///
    /// # Errors
    /// Returns all problems of this DAG.
    pub fn into_bundle_dag(self) -> Result<BundleDag, Vec<Problem>> {
        if self.problems.is_empty() {
            Ok(BundleDag { spec: self.spec, bodies: self.bodies, conditions: self.conditions })
        } else {
            Err(self.problems)
        }
    }
}

/// Bundles DAGs for a worker.
///
/// # Errors
/// Returns the problems of all DAGs.
pub fn bundle(name: &str, dags: impl IntoIterator<Item = Dag>) -> Result<Bundle, Vec<Problem>> {
    let (mut problems, mut found) = (Vec::new(), Vec::new());
    for dag in dags {
        // Includes invalid DAGs, so that duplicate ids are found.
        found.push(BundleDag { spec: dag.spec, bodies: dag.bodies, conditions: dag.conditions });
        problems.extend(dag.problems);
    }
    match Bundle::new(name, found) {
        Ok(bundle) if problems.is_empty() => Ok(bundle),
        Ok(_) => Err(problems),
        Err(more) => {
            // `Bundle::new` and `check` may report the same problem.
            let new: Vec<Problem> = more.into_iter().filter(|problem| !problems.contains(problem)).collect();
            problems.extend(new);
            Err(problems)
        }
    }
}
