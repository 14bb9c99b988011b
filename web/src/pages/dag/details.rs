//! `/dags/{dag_id}/details`: what it is made of, and when it will run.

use super::{Head, find};
use crate::extract::DagPath;
use crate::pages::{Shell, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_core::plan::{Plan, PlanTask};
use orch_core::schedule::{Bounds, Calendar, DataInterval};
use orch_core::spec::TaskSpec;

#[derive(Template)]
#[template(path = "pages/dag/details.html")]
struct DetailsPage {
    shell: Shell,
    head: Head,
    facts: Vec<(&'static str, String)>,
    upcoming: Vec<(parts::Moment, parts::Ago)>,
    tasks: Vec<TaskLine>,
    schema: Option<String>,
}

struct TaskLine {
    id: String,
    group: String,
    kind: String,
    after: Vec<String>,
    rule: String,
    tries: u32,
    queue: String,
    is_mapped: bool,
    place: String,
    doc: String,
}

const UPCOMING: usize = 8;
const MOST_TASKS: usize = 1_000;

pub(crate) async fn show(State(app): State<App>, shell: Shell, DagPath(dag_id): DagPath) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let found = find(&app, &mut db, &dag_id).await?;
    let (row, plan) = (&found.row, &found.version.plan);
    let spec = &plan.spec;
    let limit = |limit: Option<u32>| limit.map_or("no limit".into(), |limit| limit.to_string());
    let mut facts = vec![
        ("Id", row.dag_id.clone()),
        ("Also called", row.aliases.join(", ")),
        ("Description", row.description.clone()),
        ("Owners", row.owners.join(", ")),
        ("Version", format!("{} of bundle {}", row.version_number, row.bundle)),
        (
            "Written in",
            if row.file.is_empty() { String::new() } else { format!("{}:{}", row.file, spec.location.line) },
        ),
        ("Runs at a time", row.max_active_runs.to_string()),
        ("Tasks of a run at a time", limit(spec.max_active_tasks)),
        ("Run timeout", spec.run_timeout_ms.map_or("none".into(), |ms| parts::duration(millis(ms)))),
        ("Schedule", row.schedule_text.clone()),
        ("Catches up", if spec.catchup { "yes" } else { "no" }.into()),
        ("Begins", spec.start.map(|at| at.format("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default()),
        ("Ends", spec.end.map(|at| at.format("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default()),
        ("Registered", row.registered_at.format("%Y-%m-%d %H:%M:%S UTC").to_string()),
    ];
    facts.retain(|(_, value)| !value.is_empty());
    let now = shell.now;
    // A schedule that cannot be read was refused when the DAG was registered.
    let calendar = Calendar::new(&spec.schedule, spec.timetable).ok().filter(Calendar::is_timed);
    let mut upcoming = Vec::new();
    if let (Some(calendar), Some(next)) = (calendar, row.next_run_after) {
        let interval = row.next_interval_start.zip(row.next_interval_end);
        let last = interval.map_or(DataInterval::exact(next), |(start, end)| DataInterval { start, end });
        let bounds = Bounds { start: spec.start, end: spec.end, catchup: spec.catchup };
        let rest = calendar.upcoming(Some(last), bounds, next).map(|run| run.run_after);
        let times = std::iter::once(next).chain(rest).take(UPCOMING);
        upcoming.extend(times.map(|at| (parts::moment(at, now), parts::ago(at, now))));
    }
    let tasks = spec.tasks.iter().enumerate().take(MOST_TASKS);
    let page = DetailsPage {
        head: Head::new(&found, "details", now),
        facts,
        upcoming,
        tasks: tasks.map(|(place, task)| line(plan, task, plan.task(place as u16))).collect(),
        schema: spec.params_schema.as_ref().map(|schema| format!("{schema:#}")),
        shell,
    };
    html(StatusCode::OK, &page)
}

fn line(plan: &Plan, task: &TaskSpec, planned: &PlanTask) -> TaskLine {
    let place = if task.added.file.is_empty() { &task.defined } else { &task.added };
    TaskLine {
        id: task.task_id.clone(),
        group: task.group_id.clone().unwrap_or_default(),
        kind: task.kind.clone(),
        after: planned.up.iter().map(|edge| plan.task_id(edge.task).to_string()).collect(),
        rule: serde_json::to_value(planned.rule)
            .ok()
            .and_then(|rule| Some(rule.as_str()?.replace('_', " ")))
            .unwrap_or_default(),
        tries: planned.retries + 1,
        queue: planned.queue.clone(),
        is_mapped: planned.map.is_some(),
        place: if place.file.is_empty() { String::new() } else { format!("{}:{}", place.file, place.line) },
        doc: task.doc.lines().next().unwrap_or_default().into(),
    }
}

fn millis(ms: u64) -> chrono::TimeDelta {
    chrono::TimeDelta::milliseconds(i64::try_from(ms).unwrap_or(i64::MAX / 2))
}
