//! Resolves names that users type: DAGs by id or alias, runs by id or date, tasks by id. Failures for unknown names
//! suggest a similar name.

use crate::{boxed, failure::Failure, output::counted};
use chrono::{DateTime, Utc};
use orch_sdk::task::{Bundle, BundleDag};
use orch_spec::DagSpec;
use orch_spec::ids::{DagId, RunId, TaskId};
use orch_spec::names::closest;
use orch_store::dag;
use orch_store::list::{Compare, Search};
use orch_store::run::{RUNS, RunDetails, by, get_run, newest_of_dag};
use sqlx::PgConnection;
use std::fmt;

/// Number of runs whose names are compared with a mistyped one.
pub const RECENT_RUNS: i64 = 200;

/// Resolves an id or alias of a DAG to its id.
#[boxed]
pub async fn dag_id(db: &mut PgConnection, name: &str) -> Result<String, Failure> {
    DagId::new(name)?;
    match dag::resolve(db, name).await? {
        Some(id) => Ok(id),
        None => Err(unknown_dag(db, name).await?),
    }
}

async fn unknown_dag(db: &mut PgConnection, name: &str) -> Result<Failure, Failure> {
    Ok(no_such_dag(name, dag::did_you_mean(db, name).await?.first().map(String::as_str)))
}

/// Returns the failure for an unknown DAG. `near` is a similar name.
pub fn no_such_dag(name: &str, near: Option<&str>) -> Failure {
    let hint = match near {
        Some(near) => format!("did you mean `{near}`? list all with `orch dags list`"),
        None => "list all with `orch dags list`; a worker registers its dags when it starts".into(),
    };
    Failure::new(format!("dag `{name}` is not registered")).hint(hint)
}

/// Returns a run by its id or its logical date.
#[boxed]
pub async fn run(db: &mut PgConnection, dag_id: &str, name: &str) -> Result<RunDetails, Failure> {
    let date = parse_moment(name);
    if date.is_none() {
        RunId::new(name)?;
    }
    if let Some(found) = get_run(db, dag_id, name).await? {
        return Ok(found);
    }
    if let Some(date) = date {
        let on_date = Compare::ON.map(|compare| by::LOGICAL_DATE.compare(compare, date));
        let search = on_date.into_iter().fold(newest_of_dag(dag_id, 1), Search::and);
        if let Some(found) = RUNS.first(db, &search).await? {
            return Ok(found);
        }
    }
    let recent = RUNS.rows(db, &newest_of_dag(dag_id, RECENT_RUNS)).await?;
    Err(no_such_run(dag_id, name, &recent))
}

/// Returns the failure for an unknown run. The hint suggests a similar name of `recent`.
pub fn no_such_run(dag_id: &str, name: &str, recent: &[RunDetails]) -> Failure {
    let hint = match closest(name, recent.iter().map(|run| run.run_id.as_str())) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("list its runs with `orch dags list-runs {dag_id}`"),
    };
    Failure::new(format!("dag `{dag_id}` has no run `{name}`")).hint(hint)
}

/// Returns the only run of `found`. Fails if several DAGs have a run of this name, or none has.
pub fn the_only_run(name: &str, mut found: Vec<RunDetails>) -> Result<RunDetails, Failure> {
    match (found.pop(), found.as_slice()) {
        (Some(only), []) => Ok(only),
        (Some(first), others) => {
            let dags: Vec<&str> = others.iter().map(|run| run.dag_id.as_str()).chain([first.dag_id.as_str()]).collect();
            Err(Failure::new(format!("several dags have a run `{name}`: {}", dags.join(", ")))
                .hint(format!("name the dag too: `{} {name}`", first.dag_id)))
        }
        (None, _) => Err(Failure::new(format!("there is no run `{name}`")).hint("list runs with `orch runs list`")),
    }
}

pub fn run_id_taken(dag_id: &str, run_id: &str) -> Failure {
    Failure::new(format!("dag `{dag_id}` has a run `{run_id}` already"))
        .hint("choose another `--run-id`, or leave it out")
}

pub fn date_taken(dag_id: &str, date: &str) -> Failure {
    Failure::new(format!("dag `{dag_id}` has a run for `{date}` already"))
        .hint("choose another `--logical-date`, or leave it out")
}

/// Which element of a mapped task.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct MapIndexFlag {
    /// The element of a mapped task, from 0
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub map_index: Option<i32>,
}

/// Returns the failure for a task with this number of elements in the run. A negative index means that none was given.
pub fn no_such_element(task_id: &str, elements: i32, index: i32) -> Failure {
    match elements {
        0 => Failure::new(format!("task `{task_id}` is not mapped in this run")).hint("leave `--map-index` out"),
        _ if index < 0 => {
            let elements = counted(elements, "element");
            Failure::new(format!("task `{task_id}` is mapped: it has {elements} in this run"))
                .hint("name one with `--map-index 0`")
        }
        _ => Failure::new(format!("task `{task_id}` has no element {index}"))
            .hint(format!("its elements are 0 to {}", elements - 1)),
    }
}

/// Returns the index of a task in its DAG.
pub fn task(spec: &DagSpec, task_id: &str) -> Result<usize, Failure> {
    TaskId::new(task_id)?;
    let place = spec.tasks.iter().position(|task| task.task_id == task_id);
    place.ok_or_else(|| no_such_task(&spec.dag_id, task_id, spec.tasks.iter().map(|task| task.task_id.as_str())))
}

pub fn no_such_task<'a>(dag_id: &str, task_id: &str, known: impl Iterator<Item = &'a str>) -> Failure {
    let hint = match closest(task_id, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("list its tasks with `orch tasks list {dag_id}`"),
    };
    Failure::new(format!("dag `{dag_id}` has no task `{task_id}`")).hint(hint)
}

/// Returns a DAG of this binary by its id or an alias.
pub fn local_dag<'a>(bundle: &'a Bundle, name: &str) -> Result<&'a BundleDag, Failure> {
    let by_alias = || bundle.dags().find(|dag| dag.spec.aliases.iter().any(|alias| alias == name));
    bundle.dag(name).or_else(by_alias).ok_or_else(|| {
        let hint = match closest(name, bundle.dags().map(|dag| dag.spec.dag_id.as_str())) {
            Some(near) => format!("did you mean `{near}`? list all with `orch dags list --local`"),
            None => "list all with `orch dags list --local`".into(),
        };
        Failure::new(format!("this binary has no dag `{name}`")).hint(hint)
    })
}

/// Parses a timestamp. Without a zone it is UTC; without a time it is midnight.
pub fn parse_moment(text: &str) -> Option<DateTime<Utc>> {
    let zoned = DateTime::parse_from_rfc3339(text).map(|at| at.to_utc());
    let naive = || {
        let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
        forms.iter().find_map(|form| chrono::NaiveDateTime::parse_from_str(text, form).ok())
    };
    let midnight = || text.parse::<chrono::NaiveDate>().ok()?.and_hms_opt(0, 0, 0);
    zoned.ok().or_else(|| naive().or_else(midnight).map(|at| at.and_utc()))
}

/// A date of a flag: a whole day, or a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenDate {
    /// A date without a time.
    Day(chrono::NaiveDate),
    At(DateTime<Utc>),
}

impl fmt::Display for WrittenDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WrittenDate::Day(day) => write!(f, "{day}"),
            WrittenDate::At(at) => f.write_str(&at.to_rfc3339()),
        }
    }
}

pub fn date(text: &str) -> Result<WrittenDate, String> {
    match text.parse() {
        Ok(day) => Ok(WrittenDate::Day(day)),
        Err(_) => moment(text).map(WrittenDate::At),
    }
}

/// Parses a timestamp of a flag.
pub fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    parse_moment(text).ok_or_else(|| {
        "not a date: write `2026-01-31`, `2026-01-31T06:30` or `2026-01-31T06:30:00+01:00` (UTC without an offset)"
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_utc_unless_they_say_otherwise() {
        for (text, expected) in [
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("2026-01-31T06:30", "2026-01-31T06:30:00Z"),
            ("2026-01-31 06:30:01.5", "2026-01-31T06:30:01.5Z"),
            ("2026-01-31T06:30:00+01:00", "2026-01-31T05:30:00Z"),
            ("2026-01-31T06:30:00Z", "2026-01-31T06:30:00Z"),
        ] {
            assert_eq!(parse_moment(text), Some(expected.parse().expect("a moment")), "{text}");
        }
        for text in ["", "tomorrow", "2026-02-30", "2026-01-31T25:00", "manual__2026-01-31T06:30:00+00:00"] {
            assert_eq!(parse_moment(text), None, "{text}");
        }
    }
}
