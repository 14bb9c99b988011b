//! Selects and sorts the task instances of a list. Conditions on runs are evaluated by Postgres. Conditions on
//! instances are evaluated in memory, because waiting instances exist only in the ledger of their run.

use crate::api::list::{Columns, Page, Ranges};
use crate::openapi::queries::orders;
use orch_core::plan::Plan;
use orch_spec::state::TaskState;
use orch_store::instance::{InstanceFilter, InstanceRow};
use orch_store::list::Filter::{AnyOf, Pattern, Prefix, Range};
use orch_store::list::{Cell, Column, Condition, Direction, ListColumnType, Search, Test, Values, Words};
use orch_store::run::{RunDetails, by};
use orch_wire::body::{Count, word};
use orch_wire::fields::text;
use orch_wire::timestamp::seconds_between;
use orch_wire::{body, field_type};
use std::cmp::Ordering;

const STATES: Words = Words { noun: "state", words: TaskState::WORDS };
const STATE: Column = Column::words("state", "", STATES).by(&[AnyOf]).about("In one of these states").sorted();
const TASK_ID: Column = Column::text("task_id", "").by(&[AnyOf]).about("One of these tasks").sorted();
const MAP_INDEX: Column = Column::whole("map_index", "").by(&[AnyOf]).about("One of these elements").sorted();
const STARTED: Column = Column::moment("start_date", "").by(&[Range]).sorted();
const ENDED: Column = Column::moment("end_date", "").by(&[Range]).sorted();
const DURATION: Column = Column::number("duration", "").by(&[Range]).sorted();
const GROUP: Column = Column::text("task_group_id", "").by(&[AnyOf]).about("In one of these groups");
const POOL: Column = Column::text("pool", "").by(&[AnyOf]).about("In one of these pools");
const QUEUE: Column = Column::text("queue", "").by(&[AnyOf]).about("Of one of these queues");
const EXECUTOR: Column = Column::absent("executor", ListColumnType::Text).about("orch has no executors: finds nothing");

/// Columns without an SQL expression belong to the instance itself.
pub(crate) const COLUMNS: &[Column] = &[
    // Sorts by run, then by the order of the tasks in the DAG, then by map index.
    Column::whole("id", "").sorted(),
    STATE,
    DURATION,
    STARTED,
    ENDED,
    Column::moment("updated_at", "").by(&[Range]),
    MAP_INDEX,
    Column::whole("rendered_map_index", "").sorted(),
    Column::text("rendered_map_index", "").by(&[Pattern, Prefix]),
    Column::whole("try_number", "").by(&[AnyOf]).about("At one of these tries").sorted(),
    by::LOGICAL_DATE,
    by::RUN_AFTER,
    Column::moment("data_interval_start", "").sorted(),
    Column::moment("data_interval_end", "").sorted(),
    Column::text("operator", "").by(&[AnyOf]).about("Of one of these kinds").sorted(),
    Column::text("operator_name", "").by(&[Pattern, Prefix]),
    Column::text("task_display_name", "").by(&[Pattern, Prefix]).sorted(),
    TASK_ID,
    GROUP,
    POOL,
    Column::text("pool_name", "").by(&[Pattern, Prefix]),
    QUEUE,
    Column::text("queue_name", "").by(&[Pattern, Prefix]),
    EXECUTOR,
    by::DAG_ID.unsorted(),
    by::RUN_ID.unsorted(),
    by::VERSION.called("version_number").about("Of runs of one of these versions"),
];

#[derive(Debug)]
pub(super) struct Choice {
    /// Conditions on the runs.
    pub(super) runs: Vec<Condition>,
    /// Conditions on the instances, with the sort order and the page.
    own: Search,
}

field_type! {
    struct InstanceOrder(String); text; { "type": "string", "enum": orders(COLUMNS) }
}

field_type! {
    struct TaskStateWord(TaskState); |value| word(value, TaskState::WORDS);
    { "type": "string", "enum": TaskState::WORDS }
}

#[derive(Debug)]
struct InstanceRanges;

impl Columns for InstanceRanges {
    const COLUMNS: &[Column] = &[by::RUN_AFTER, by::LOGICAL_DATE, STARTED, ENDED, DURATION];
}

body! {
    pub(crate) struct TaskInstancesBatchBody {
        dag_ids: Option<Vec<String>>,
        dag_run_ids: Option<Vec<String>>,
        task_ids: Option<Vec<String>>,
        state: Option<Vec<Option<TaskStateWord>>>,
        pool: Option<Vec<String>>,
        queue: Option<Vec<String>>,
        executor: Option<Vec<String>>,
        page_offset: Option<Count>,
        page_limit: Option<Count>,
        order_by: Option<InstanceOrder>,
        ..within: Ranges<InstanceRanges>,
    }
}

impl TaskInstancesBatchBody {
    pub(super) fn page(&self) -> Page {
        Page::of_body(self.page_limit, self.page_offset)
    }

    pub(super) fn order(&self) -> impl Iterator<Item = &str> {
        self.order_by.iter().map(|order| &*order.0)
    }

    pub(super) fn conditions(self) -> Vec<Condition> {
        let mut found = self.within.conditions;
        for (column, texts) in [
            (by::DAG_ID, self.dag_ids),
            (by::RUN_ID, self.dag_run_ids),
            (TASK_ID, self.task_ids),
            (POOL, self.pool),
            (QUEUE, self.queue),
        ] {
            found.extend(texts.map(|texts| column.any_of(texts)));
        }
        let state = |word: Option<TaskStateWord>| word.map_or(TaskState::None, |word| word.0).as_str();
        let states = self.state.filter(|states| !states.is_empty());
        found.extend(states.map(|states| STATE.any_of(states.into_iter().map(state))));
        let executors = self.executor.filter(|executors| !executors.is_empty());
        found.extend(executors.map(|_| EXECUTOR.never()));
        found
    }
}

impl Choice {
    pub(super) fn new(mut search: Search) -> Choice {
        let (own, runs) = search.conditions.into_iter().partition(|one| one.column.sql.is_empty() || is_never(one));
        search.conditions = own;
        Choice { runs, own: search }
    }

    pub(super) fn of_task(mut self, task_id: &str) -> Choice {
        self.own = self.own.and(TASK_ID.is(task_id));
        self
    }

    pub(super) fn page(&self) -> (i64, i64) {
        (self.own.skip, self.own.most)
    }

    /// Returns whether the order is the default: by run, by task in the order of the DAG, and by map index.
    pub(super) fn is_in_natural_order(&self) -> bool {
        self.own.order.iter().all(|order| order.column.name == "id" && order.direction == Direction::Ascending)
    }

    /// Returns the filter of one run's page, or `None` if such a page does not support all conditions or orders.
    /// Conditions on the run are left to the caller.
    pub(super) fn plain(&self) -> Option<InstanceFilter> {
        let mut filter = InstanceFilter::default();
        for condition in &self.own.conditions {
            match (condition.column.name, &condition.test) {
                ("state", Test::AnyOf(Values::Texts(words))) => {
                    filter.states = words.iter().filter_map(|word| word.parse().ok()).collect();
                }
                ("task_id", Test::AnyOf(Values::Texts(ids))) if filter.task_ids.is_none() => {
                    filter.task_ids = Some(ids.clone());
                }
                ("map_index", Test::AnyOf(Values::Wholes(indexes))) if indexes.len() == 1 => {
                    filter.map_index = Some(i32::try_from(indexes[0]).unwrap_or(i32::MAX));
                }
                _ => return None,
            }
        }
        self.is_in_natural_order().then_some(filter)
    }

    pub(super) fn fits(&self, instance: &Instance<'_>) -> bool {
        self.own.conditions.iter().all(|condition| match (condition.column.name, &condition.test) {
            ("task_group_id", Test::AnyOf(Values::Texts(groups))) => groups.iter().any(|group| instance.is_in(group)),
            _ => condition.test.fits(&instance.cell(&condition.column)),
        })
    }

    pub(super) fn compare(&self, one: &Instance<'_>, other: &Instance<'_>) -> Ordering {
        let natural = one.place().cmp(&other.place());
        let is_turned = self
            .own
            .order
            .first()
            .is_some_and(|order| order.column.name == "id" && order.direction == Direction::Descending);
        let natural = if is_turned { natural.reverse() } else { natural };
        self.own.compare(one, other, Instance::cell).then(natural)
    }
}

fn is_never(condition: &Condition) -> bool {
    condition.test == Test::Never
}

pub(super) struct Instance<'a> {
    pub(super) run: &'a RunDetails,
    pub(super) plan: &'a Plan,
    pub(super) row: InstanceRow,
}

impl Instance<'_> {
    fn place(&self) -> (uuid::Uuid, orch_core::plan::TaskIdx, i32) {
        (self.run.id, self.row.task, self.row.map_index)
    }

    /// Returns whether the task is in this group or in a group below it.
    fn is_in(&self, group: &str) -> bool {
        let spec = &self.plan.spec.tasks[usize::from(self.row.task)];
        let below = spec.group_id.as_deref().and_then(|id| id.strip_prefix(group));
        below.is_some_and(|below| below.is_empty() || below.starts_with('.'))
    }

    fn cell(&self, column: &Column) -> Cell<'_> {
        let Instance { run, plan, row } = self;
        let spec = &plan.spec.tasks[usize::from(row.task)];
        match (column.name, column.kind) {
            ("state", _) => row.state.as_str().into(),
            ("duration", _) => seconds_between(row.started_at, row.ended_at).into(),
            ("start_date", _) => row.started_at.into(),
            ("end_date" | "updated_at", _) => row.ended_at.into(),
            ("rendered_map_index", ListColumnType::Text) => {
                (row.map_index >= 0).then(|| row.map_index.to_string()).into()
            }
            ("map_index" | "rendered_map_index", _) => i64::from(row.map_index).into(),
            ("try_number", _) => i64::from(row.try_no).into(),
            ("logical_date", _) => run.logical_date.into(),
            ("run_after", _) => run.run_after.into(),
            ("data_interval_start", _) => run.interval_start.into(),
            ("data_interval_end", _) => run.interval_end.into(),
            ("operator" | "operator_name", _) => spec.kind.as_str().into(),
            ("task_display_name" | "task_id", _) => row.task_id.as_str().into(),
            ("pool" | "pool_name", _) => spec.options.pool.as_deref().unwrap_or("default_pool").into(),
            ("queue" | "queue_name", _) => plan.task(row.task).queue.as_str().into(),
            _ => Cell::Nothing,
        }
    }
}
