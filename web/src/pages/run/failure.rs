//! Why a run or a task failed: the error of an attempt, the number of failed elements, or the user who ended it.

use super::RunHead;
use crate::pages::home::task_href;
use crate::parts;
use crate::refusal::Refusal;
use crate::state::Inner;
use orch_core::plan::{PlanTask, TaskIdx};
use orch_core::run::Run;
use orch_spec::state::{RunState, TaskState};
use orch_store::StoreResult;
use orch_store::audit::{AuditRow, endings};
use orch_store::instance::{ElementFailure, InstanceRow, Ledger, TryRow, first_element_failure};
use orch_store::narrow;
use orch_store::overview::first_failures;
use orch_store::run::RunDetails;
use sqlx::PgConnection;

/// Message at the top of a failed run's page.
pub(in crate::pages) struct Failure {
    /// Short message, such as `load failed.`
    pub(in crate::pages) title: String,
    pub(in crate::pages) words: String,
    /// Address of the failed task or element.
    pub(in crate::pages) href: Option<String>,
}

impl Failure {
    pub(in crate::pages) async fn of(
        app: &Inner,
        db: &mut PgConnection,
        run: &RunDetails,
        head: &RunHead,
        ledger: &Ledger,
    ) -> Result<Option<Failure>, Refusal> {
        if run.state != RunState::Failed {
            return Ok(None);
        }
        let named = [(run.dag_id.clone(), run.run_id.clone())];
        let Some(why) = first_failures(db, &named).await?.into_iter().next() else {
            let deed = endings(db, &named, None).await?.pop();
            return Ok(Some(Failure { title: "The run failed.".into(), words: ended_by(deed.as_ref()), href: None }));
        };
        let version = app.versions.get(db, why.version).await?;
        let Some(planned) = version.plan.tasks.get(why.task as usize) else { return Ok(None) };
        let task_id = version.plan.task_id(why.task as u16);
        let elements = elements_failed(&ledger.run, planned).filter(|_| why.map_index >= 0);
        Ok(Some(Failure {
            title: match elements {
                Some(elements) => format!("{task_id} failed: {elements}."),
                None => format!("{task_id} failed."),
            },
            words: if why.map_index < 0 { in_words(&why.causes) } else { of_element(why.map_index, &why.causes) },
            href: Some(task_href(&head.href, task_id, why.map_index)),
        }))
    }
}

/// Failed tasks of a run that succeeded.
pub(in crate::pages) struct PartlyFailed {
    pub(in crate::pages) count: usize,
    /// Names and addresses of the first tasks in the order of the DAG, at most `MAX_NAMED`.
    pub(in crate::pages) tasks: Vec<(String, String)>,
}

/// Maximum number of failed tasks that are named.
const MAX_NAMED: usize = 8;

impl PartlyFailed {
    /// Returns `None` if the run did not succeed, or no task failed.
    pub(in crate::pages) fn of(ledger: &Ledger, run_href: &str) -> Option<PartlyFailed> {
        if ledger.run.state != RunState::Success {
            return None;
        }
        let plan = &ledger.version.plan;
        let tasks = (0..narrow::task(plan.tasks.len())).filter(|task| ledger.run.task(*task) == TaskState::Failed);
        let tasks: Vec<TaskIdx> = tasks.collect();
        let named = tasks.iter().take(MAX_NAMED).map(|task| {
            let task_id = plan.task_id(*task);
            (task_id.to_string(), task_href(run_href, task_id, -1))
        });
        (!tasks.is_empty()).then(|| PartlyFailed { count: tasks.len(), tasks: named.collect() })
    }

    /// Returns a title such as `2 tasks failed`.
    pub(in crate::pages) fn title(&self) -> String {
        format!("{} failed", parts::counted(self.count, "task"))
    }

    /// Returns the number of failed tasks that are not named.
    pub(in crate::pages) fn more(&self) -> usize {
        self.count - self.tasks.len()
    }

    /// Returns the names as text, such as `load, store and 3 more`.
    pub(in crate::pages) fn names(&self) -> String {
        let names: Vec<&str> = self.tasks.iter().map(|(name, _)| name.as_str()).collect();
        match self.more() {
            0 => names.join(", "),
            more => format!("{} and {more} more", names.join(", ")),
        }
    }
}

fn of_element(map_index: i32, causes: &[String]) -> String {
    format!("The first error, of element {map_index}: {}", in_words(causes))
}

/// Joins the causes of an error, outermost first.
pub(crate) fn in_words(causes: &[String]) -> String {
    causes.join(": ")
}

/// Returns the number of failed elements of a mapped task, such as `2 of 3 elements`.
pub(crate) fn elements_failed(run: &Run, planned: &PlanTask) -> Option<String> {
    let len = run.len(planned).filter(|len| *len > 0)?;
    let counts = run.element_counts(planned)?;
    let failed: i32 = counts.iter().filter(|(state, _)| *state == TaskState::Failed).map(|(_, count)| count).sum();
    Some(format!("{failed} of {len} {}", if len == 1 { "element" } else { "elements" }))
}

/// Returns who ended a run or an instance that did not fail by itself.
pub(crate) fn ended_by(deed: Option<&AuditRow>) -> String {
    let Some(deed) = deed else {
        return "It was ended from outside, and the audit log does not name who did it.".into();
    };
    let actor = &deed.actor;
    match (deed.event.as_str(), &deed.task_id) {
        ("time_out_dag_run", _) => "The run ran out of time.".into(),
        ("cancel_dag_run", _) => "The run was stopped: a newer run took its place.".into(),
        ("cancel_run", _) => format!("{actor} stopped the run."),
        ("mark_task_instance", Some(task)) => {
            let element = deed.map_index.map(|index| format!(" [{index}]")).unwrap_or_default();
            format!("{actor} marked {task}{element} as failed.")
        }
        _ => format!("{actor} marked the run as failed."),
    }
}

/// Reasons for a failed instance that its attempts do not contain.
#[derive(Debug, Default)]
pub(crate) struct Beyond {
    /// First error of an element, for a mapped task as a whole.
    pub(crate) element: Option<ElementFailure>,
    /// User who ended the instance, if none of its attempts failed.
    pub(crate) ending: Option<String>,
}

impl Beyond {
    pub(crate) async fn of(
        db: &mut PgConnection,
        run: &RunDetails,
        instance: &InstanceRow,
        tries: &[TryRow],
    ) -> StoreResult<Beyond> {
        if instance.state != TaskState::Failed || tries.last().is_some_and(|last| last.failure.is_some()) {
            return Ok(Beyond::default());
        }
        let element = match instance.map_index {
            -1 => first_element_failure(db, run.id, instance.task).await?,
            _ => None,
        };
        if element.is_some() {
            return Ok(Beyond { element, ending: None });
        }
        let named = [(run.dag_id.clone(), run.run_id.clone())];
        let deed = endings(db, &named, Some(&instance.task_id)).await?.pop();
        Ok(Beyond { element: None, ending: Some(ended_by(deed.as_ref())) })
    }

    /// Returns the first error of an element, or why the map could not be expanded.
    pub(crate) fn first_error(&self) -> Option<String> {
        let failed = self.element.as_ref()?;
        let is_element = failed.map_index >= 0;
        Some(if is_element { of_element(failed.map_index, &failed.causes) } else { in_words(&failed.causes) })
    }
}
