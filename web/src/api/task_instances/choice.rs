//! Which task instances a list means, and in which order.

use crate::api::dag_runs::{COMPARES, TIMES};
use crate::api::pages::{pattern, prefix_pattern};
use crate::extract::{Fields, Query};
use crate::refusal::Refusal;
use chrono::{DateTime, Utc};
use orch_core::plan::Plan;
use orch_spec::state::TaskState;
use orch_store::instance::InstanceRow;
use orch_store::run::{Compare, RunCondition, RunDetails, RunText, RunTime};
use orch_wire::Problem;
use orch_wire::fields::text;
use orch_wire::timestamp::seconds_between;
use serde_json::Value;
use std::cmp::Ordering;

/// What is not said does not matter.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// About the runs they belong to.
    pub(super) runs: Vec<RunCondition>,
    pub(super) task_ids: Option<Vec<String>>,
    pub(super) map_indexes: Vec<i64>,
    /// Contains, begins with: in lower case.
    names: Vec<(Named, Vec<String>, bool)>,
    groups: Vec<String>,
    started: Vec<(Compare, DateTime<Utc>)>,
    ended: Vec<(Compare, DateTime<Utc>)>,
    duration: Vec<(Compare, f64)>,
    tries: Vec<i64>,
    pools: Vec<String>,
    queues: Vec<String>,
    operators: Vec<String>,
    /// What instances here do not have.
    never: bool,
}

/// What a pattern may be about.
#[derive(Debug, Clone, Copy)]
enum Named {
    Task,
    Pool,
    Queue,
    Operator,
    Element,
}

const NAMES: [(&str, Named); 5] = [
    ("task_display_name", Named::Task),
    ("pool_name", Named::Pool),
    ("queue_name", Named::Queue),
    ("operator_name", Named::Operator),
    ("rendered_map_index", Named::Element),
];
const BY_RUN: [(&str, RunText); 2] = [("dag_id", RunText::DagId), ("run_id", RunText::RunId)];

impl Choice {
    pub(super) fn of_query(query: &mut Query) -> Result<Choice, Refusal> {
        let mut choice = Choice { map_indexes: query.whole_numbers("map_index"), ..Choice::default() };
        choice.tries = query.whole_numbers("try_number");
        let versions = query.whole_numbers("version_number");
        if !versions.is_empty() {
            let numbers = versions.into_iter().filter_map(|number| i32::try_from(number).ok()).collect();
            choice.runs.push(RunCondition::Versions(numbers));
        }
        for (name, time) in TIMES {
            for (suffix, compare) in COMPARES {
                let at = query.moment(&format!("{name}_{suffix}"));
                choice.time(time, compare, at);
            }
        }
        for (suffix, compare) in COMPARES {
            choice.duration.extend(query.number(&format!("duration_{suffix}")).map(|seconds| (compare, seconds)));
        }
        query.finish()?;
        for (name, text) in BY_RUN {
            let parts = pattern(query, &format!("{name}_pattern"));
            choice.runs.extend(parts.map(|parts| RunCondition::Contains(text, parts)));
            let starts = prefix_pattern(query, &format!("{name}_prefix_pattern"));
            choice.runs.extend(starts.map(|starts| RunCondition::StartsWith(text, starts)));
        }
        let lower = |parts: Vec<String>| parts.iter().map(|part| part.trim_matches('%').to_lowercase()).collect();
        for (name, named) in NAMES {
            let parts = pattern(query, &format!("{name}_pattern"));
            choice.names.extend(parts.map(|parts| (named, lower(parts), false)));
            let starts = prefix_pattern(query, &format!("{name}_prefix_pattern"));
            choice.names.extend(starts.map(|parts| (named, lower(parts), true)));
        }
        let all = |name| query.all(name).map(String::from).collect::<Vec<_>>();
        choice.task_ids = Some(all("task_id")).filter(|ids| !ids.is_empty());
        choice.groups = all("task_group_id");
        choice.pools = all("pool");
        choice.queues = all("queue");
        choice.operators = all("operator");
        choice.never = query.all("executor").next().is_some();
        Ok(choice)
    }

    /// Airflow's `TaskInstancesBatchBody`.
    pub(super) fn of_fields(fields: &mut Fields) -> (Choice, Vec<TaskState>) {
        let mut choice = Choice::default();
        choice.runs.extend(fields.texts("dag_ids").map(RunCondition::Dags));
        choice.runs.extend(fields.texts("dag_run_ids").map(RunCondition::Runs));
        choice.task_ids = fields.texts("task_ids");
        let states = fields.list("state", state).unwrap_or_default();
        for (name, time) in TIMES.into_iter().filter(|(name, _)| *name != "updated_at") {
            for (suffix, compare) in COMPARES {
                let at = fields.moment(&format!("{name}_{suffix}"));
                choice.time(time, compare, at);
            }
        }
        for (suffix, compare) in COMPARES {
            choice.duration.extend(fields.number(&format!("duration_{suffix}")).map(|seconds| (compare, seconds)));
        }
        choice.pools = fields.texts("pool").unwrap_or_default();
        choice.queues = fields.texts("queue").unwrap_or_default();
        choice.never = fields.texts("executor").is_some_and(|executors| !executors.is_empty());
        (choice, states)
    }

    fn time(&mut self, time: RunTime, compare: Compare, at: Option<DateTime<Utc>>) {
        let Some(at) = at else { return };
        match time {
            RunTime::Started => self.started.push((compare, at)),
            RunTime::Ended | RunTime::Updated => self.ended.push((compare, at)),
            RunTime::RunAfter | RunTime::LogicalDate => self.runs.push(RunCondition::Time(time, compare, at)),
        }
    }

    /// Only what a page of one run can be read by.
    pub(super) fn is_plain(&self) -> bool {
        self.runs.is_empty()
            && self.names.is_empty()
            && self.started.is_empty()
            && self.ended.is_empty()
            && self.duration.is_empty()
            && [&self.groups, &self.pools, &self.queues, &self.operators].into_iter().all(Vec::is_empty)
            && self.tries.is_empty()
            && self.map_indexes.len() < 2
            && !self.never
    }

    pub(super) fn fits(&self, plan: &Plan, row: &InstanceRow) -> bool {
        let (spec, planned) = (&plan.spec.tasks[usize::from(row.task)], plan.task(row.task));
        let one_of = |words: &[String], word: &str| words.is_empty() || words.iter().any(|known| known == word);
        let at = |tests: &[(Compare, DateTime<Utc>)], at: Option<DateTime<Utc>>| {
            tests.iter().all(|(compare, limit)| at.is_some_and(|at| compares(*compare, at.cmp(limit))))
        };
        let pool = spec.options.pool.as_deref().unwrap_or("default_pool");
        let named = |(named, parts, begins): &(Named, Vec<String>, bool)| {
            let name = match named {
                Named::Task => row.task_id.to_lowercase(),
                Named::Pool => pool.to_lowercase(),
                Named::Queue => planned.queue.to_lowercase(),
                Named::Operator => spec.kind.to_lowercase(),
                Named::Element if row.map_index < 0 => return false,
                Named::Element => row.map_index.to_string(),
            };
            parts.iter().any(|part| if *begins { name.starts_with(part) } else { name.contains(part) })
        };
        let seconds = seconds_between(row.started_at, row.ended_at);
        let in_group = |group: &String| {
            let rest = spec.group_id.as_deref().and_then(|id| id.strip_prefix(group.as_str()));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        !self.never
            && self.task_ids.as_ref().is_none_or(|ids| ids.contains(&row.task_id))
            && (self.map_indexes.is_empty() || self.map_indexes.contains(&i64::from(row.map_index)))
            && (self.tries.is_empty() || self.tries.contains(&i64::from(row.try_no)))
            && self.names.iter().all(named)
            && (self.groups.is_empty() || self.groups.iter().any(in_group))
            && at(&self.started, row.started_at)
            && at(&self.ended, row.ended_at)
            && self.duration.iter().all(|(compare, limit)| {
                seconds.and_then(|s| s.partial_cmp(limit)).is_some_and(|ordering| compares(*compare, ordering))
            })
            && one_of(&self.pools, pool)
            && one_of(&self.queues, &planned.queue)
            && one_of(&self.operators, &spec.kind)
    }
}

fn compares(compare: Compare, ordering: Ordering) -> bool {
    match compare {
        Compare::AtLeast => ordering.is_ge(),
        Compare::Above => ordering.is_gt(),
        Compare::AtMost => ordering.is_le(),
        Compare::Below => ordering.is_lt(),
    }
}

fn state(value: &Value) -> Result<TaskState, Problem> {
    if value.is_null() {
        return Ok(TaskState::None);
    }
    text(value)?.parse().map_err(|error: orch_spec::state::UnknownWord| {
        Problem::new("enum", format!("Input should be one of {}", error.known.join(", "))).with_input(value)
    })
}

/// By what instances are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// By run, then as the DAG has them, then by element.
    Natural,
    State,
    Duration,
    Started,
    Ended,
    MapIndex,
    TryNumber,
    LogicalDate,
    RunAfter,
    IntervalStart,
    IntervalEnd,
    Operator,
    TaskId,
}

impl Order {
    pub(super) fn named(name: &str) -> Option<Order> {
        Some(match name {
            "id" => Order::Natural,
            "state" => Order::State,
            "duration" => Order::Duration,
            "start_date" => Order::Started,
            "end_date" => Order::Ended,
            "map_index" | "rendered_map_index" => Order::MapIndex,
            "try_number" => Order::TryNumber,
            "logical_date" => Order::LogicalDate,
            "run_after" => Order::RunAfter,
            "data_interval_start" => Order::IntervalStart,
            "data_interval_end" => Order::IntervalEnd,
            "operator" => Order::Operator,
            "task_display_name" | "task_id" => Order::TaskId,
            _ => return None,
        })
    }

    /// What has no value comes last either way.
    pub(super) fn compare(
        orders: &[(Order, bool)],
        a: &(&RunDetails, InstanceRow),
        b: &(&RunDetails, InstanceRow),
    ) -> Ordering {
        let natural = (a.0.id, a.1.task, a.1.map_index).cmp(&(b.0.id, b.1.task, b.1.map_index));
        let by = |&(order, descends): &(Order, bool)| {
            let turned = |ordering: Ordering| if descends { ordering.reverse() } else { ordering };
            let times = |a: Option<DateTime<Utc>>, b: Option<DateTime<Utc>>| last(a, b, |a, b| turned(a.cmp(&b)));
            match order {
                Order::Natural => turned(natural),
                Order::State => turned(a.1.state.as_str().cmp(b.1.state.as_str())),
                Order::Duration => {
                    let length = |row: &InstanceRow| seconds_between(row.started_at, row.ended_at);
                    last(length(&a.1), length(&b.1), |a, b| turned(a.total_cmp(&b)))
                }
                Order::Started => times(a.1.started_at, b.1.started_at),
                Order::Ended => times(a.1.ended_at, b.1.ended_at),
                Order::MapIndex => turned(a.1.map_index.cmp(&b.1.map_index)),
                Order::TryNumber => turned(a.1.try_no.cmp(&b.1.try_no)),
                Order::LogicalDate => times(a.0.logical_date, b.0.logical_date),
                Order::RunAfter => times(Some(a.0.run_after), Some(b.0.run_after)),
                Order::IntervalStart => times(a.0.interval_start, b.0.interval_start),
                Order::IntervalEnd => times(a.0.interval_end, b.0.interval_end),
                // Kinds stand in the structure; tasks of one kind are told apart by their names.
                Order::Operator | Order::TaskId => turned(a.1.task_id.cmp(&b.1.task_id)),
            }
        };
        orders.iter().map(by).find(|ordering| ordering.is_ne()).unwrap_or(natural)
    }
}

fn last<T>(a: Option<T>, b: Option<T>, compare: impl Fn(T, T) -> Ordering) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => compare(a, b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}
