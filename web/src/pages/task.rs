//! `/dags/{dag_id}/runs/{dag_run_id}/tasks/{task_id}` and `…/{map_index}`: the log, output and attempts of a task
//! instance, and an explanation of its state.

mod around;
mod inputs;
pub(super) mod loaded;
pub(crate) mod log;
pub(crate) mod mark;
mod why;

use super::approvals::answer::AnswerForm;
use super::assets::lines::{EdgeLine, EventLine};
use super::dag::trigger::fields::Input as FieldInput;
use super::home::task_href;
use super::run::{RunHead, find, told};
use super::{Shell, encoded, html, see_other};
use crate::extract::{MappedPath, Query, RunPath, TaskPath, no_such_instance};
use crate::live::mark_of;
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use inputs::Input;
use loaded::LoadedInstance;
use log::{Log, LogItem, View};
use orch_core::plan::PlanTask;
use orch_spec::state::TaskState;
use orch_spec::{Isolation, TaskSpec};
use orch_store::StoreError;
use orch_store::approval::open_question;
use orch_store::asset::{EVENTS, edges_of_task, event_by};
use orch_store::instance::TryRow;
use orch_store::list::Search;
use orch_store::live::{TryKey, look_at_tries};
use orch_store::note::notes_of;
use orch_store::output::{RETURN_VALUE, get as output, mask_sealed};
use orch_store::run::RunDetails;
use serde_json::Value;
use sqlx::PgConnection;
use std::fmt::Write;
use uuid::Uuid;
use why::StateExplanation;

#[derive(Template)]
#[template(path = "pages/task.html")]
struct TaskPage {
    shell: Shell,
    head: RunHead,
    name: String,
    state: &'static str,
    span: Option<String>,
    worker: Option<String>,
    queue: String,
    tries: Vec<TryLink>,
    try_no: Option<i16>,
    /// Address of the event stream with changes and new log lines.
    live: String,
    /// Number of workers that the attempt has lost. The log marks each restart.
    lost: i16,
    log: Option<Log>,
    /// Archive in which an old log was found, or the reason why it cannot be read.
    log_note: Option<String>,
    why: StateExplanation,
    /// Documentation by the task's author.
    doc: Option<parts::Markdown>,
    /// Approval that the task waits for.
    asks: Option<(String, AnswerForm)>,
    output: Option<String>,
    inputs: Vec<Input>,
    kind: String,
    /// Operator configuration of the task, by field.
    config: Vec<(String, String)>,
    /// Asset updates that the instance reported, and data flows that it recorded.
    updates: Vec<EventLine>,
    ways: Vec<EdgeLine>,
    /// Environment of the attempt.
    environment: Vec<(&'static str, parts::Fact)>,
    download: String,
    clear_href: String,
    /// `None` for a mapped task as a whole.
    mark_href: Option<String>,
    /// Note of the instance, and the address that changes it. `None` for a mapped task as a whole.
    note: Option<String>,
    note_href: Option<String>,
    command: String,
    is_open: bool,
    /// Address that stops only this instance; `None` if it cannot be stopped.
    stop_href: Option<String>,
    /// Elements of a mapped task, and their number.
    elements: Option<(parts::Cells, i64)>,
    over_runs: Option<parts::Durations>,
}

struct TryLink {
    number: i16,
    state: parts::State,
    href: String,
}

/// Maximum number of asset updates and of data flows shown.
const MOST_TOUCHED: i64 = 50;
/// Maximum number of bytes of an output that is shown; longer outputs are truncated.
const SHOWN_OUTPUT: usize = 20_000;

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    path: TaskPath,
    query: Query,
) -> Result<Response, Refusal> {
    page(app, shell, path.run, path.task_id.to_string(), -1, query).await
}

pub(crate) async fn show_mapped(
    State(app): State<App>,
    shell: Shell,
    path: MappedPath,
    query: Query,
) -> Result<Response, Refusal> {
    page(app, shell, path.task.run, path.task.task_id.to_string(), path.map_index, query).await
}

/// Returns the asset updates and data flows of an instance.
async fn touched(
    db: &mut PgConnection,
    run: &RunDetails,
    task_id: &str,
    map_index: i32,
    now: parts::ZonedNow,
) -> Result<(Vec<EventLine>, Vec<EdgeLine>), Refusal> {
    let search = Search::default()
        .and(event_by::SOURCE_RUN.is(run.id))
        .and(event_by::SOURCE_TASK_ID.is(task_id))
        .and(event_by::SOURCE_MAP_INDEX.is(map_index))
        .by(event_by::AT.descending());
    let events = EVENTS.rows(db, &search.page(0, MOST_TOUCHED)).await?;
    let mut edges = edges_of_task(db, run.id, Some(task_id), MOST_TOUCHED).await?;
    edges.retain(|edge| edge.map_index == map_index);
    let updates = events.into_iter().map(|event| EventLine::new(event, &[], now)).collect();
    Ok((updates, edges.into_iter().map(|edge| EdgeLine::new(edge, now)).collect()))
}

/// Returns the requested attempt, or the last one.
fn chosen<'a>(tries: &'a [TryRow], query: &Query) -> Option<&'a TryRow> {
    let asked = query.text("try").and_then(|number| number.parse::<i64>().ok());
    match asked {
        Some(number) => tries.iter().rfind(|one| i64::from(one.try_no) == number),
        None => tries.last(),
    }
}

async fn page(
    app: App,
    shell: Shell,
    path: RunPath,
    task_id: String,
    map_index: i32,
    mut query: Query,
) -> Result<Response, Refusal> {
    let mut view = View::of(&mut query);
    query.finish()?;
    let mut db = app.pages().await?;
    let run = find(&mut db, &path).await?;
    let head = RunHead::new(&run, shell.now);
    let loaded = LoadedInstance::find(&app, &mut db, &run, (&task_id, map_index)).await?;
    let loaded = loaded.ok_or_else(|| no_such_instance(&path, &task_id, map_index))?;
    let why = loaded.why(&app, &mut db, &run, shell.now).await?;
    let LoadedInstance { ledger, instance, tries, elements } = loaded;
    let plan = ledger.version.plan.clone();
    let (task, mut versions) = (instance.task, app.versions.clone());
    let planned = plan.task(task);
    let chosen = chosen(&tries, &query);
    let href = task_href(&head.href, &task_id, map_index);
    // The mark is read before the log, so the event stream reports changes that happen in between.
    let live =
        live_href(&mut db, (&head.href, &task_id), (run.id, task, map_index), chosen.map(|one| one.attempt)).await?;
    drop(db);
    let log_note = match chosen {
        Some(one) => match app.recalled(run.id, one.attempt).await {
            // The rest of the page is useful without the log.
            Err(StoreError::Archive(error)) => {
                tracing::warn!(%error, run.id = %run.id, "an old log cannot be read from the archive");
                Some("This log is old, and the archive cannot be read at the moment; the server's log says why.".into())
            }
            old => old?.map(|old| old.to_string()),
        },
        None => None,
    };
    let log = match chosen {
        Some(one) => {
            if let Some(place) = log::first_error(&app, run.id, one, &mut view).await? {
                return Ok(see_other(&format!("{href}{place}")));
            }
            Some(log::load(&app, run.id, (one, &plan.spec.tasks[usize::from(task)]), view, shell.now.zone).await?)
        }
        None => None,
    };
    let mut db = app.pages().await?;
    let value = if instance.state == TaskState::Success {
        output(&mut db, run.id, task, map_index, RETURN_VALUE).await?.map(mask_sealed)
    } else {
        None
    };
    // A mapped task as a whole has no inputs; its elements have.
    let inputs = match elements {
        Some(_) => Vec::new(),
        None => inputs::inputs(&mut db, &plan, &run, (task, map_index)).await?,
    };
    let said = match chosen {
        Some(one) => orch_store::progress::of_try(&mut db, run.id, one.attempt).await?,
        None => None,
    };
    let asks = match instance.state {
        TaskState::AwaitingInput => open_question(&mut db, run.id, &task_id, map_index).await?,
        _ => None,
    };
    let alerts = told::alerts(&mut db, &run, Some(&task_id)).await?;
    let (updates, ways) = touched(&mut db, &run, &task_id, map_index, shell.now).await?;
    let name = if map_index >= 0 { format!("{task_id} [{map_index}]") } else { task_id.clone() };
    let link = |one: &TryRow| TryLink {
        number: one.try_no,
        state: parts::mark(one.state.as_str()),
        href: format!("{href}?try={}", one.try_no),
    };
    let try_no = chosen.map(|one| one.try_no);
    let clock = |at| shell.now.written(at, "%H:%M:%S%.3f");
    let span = match (instance.started_at, instance.ended_at) {
        (Some(from), Some(to)) => Some(format!("{} – {}, {}", clock(from), clock(to), parts::duration(to - from))),
        // The time of the end is unknown, so the duration is, too.
        (Some(from), None) if instance.state.is_finished() => {
            Some(format!("started {}", shell.now.written(from, "%H:%M:%S")))
        }
        (Some(from), None) => {
            Some(format!("since {}, {}", shell.now.written(from, "%H:%M:%S"), parts::duration(shell.now - from)))
        }
        _ => None,
    };
    let over_runs = match map_index {
        0.. => None,
        _ => around::over_runs(&app, &mut db, &run.dag_id, &task_id, shell.now).await?,
    };
    let elements = match elements {
        Some(len) => {
            let of = (run.id, head.href.as_str(), task_id.as_str());
            Some((around::elements(&mut db, &mut versions, &ledger, of, shell.now).await?, i64::from(len)))
        }
        None => None,
    };
    let spec = &plan.spec.tasks[usize::from(task)];
    let page = TaskPage {
        log_note,
        lost: chosen.map_or(0, |one| one.lost_no),
        why,
        state: instance.state.as_str(),
        worker: instance.hostname.clone().map(|host| format!("{host}, worker {}", instance.worker.unwrap_or(0))),
        queue: planned.queue.clone(),
        tries: tries.iter().map(link).collect(),
        download: format!(
            "{}/tasks/{}/{map_index}/log{}",
            head.href,
            encoded(&task_id),
            try_no.map(|no| format!("?try={no}")).unwrap_or_default()
        ),
        note: notes_of(&mut db, &[run.id]).await?.of(run.id, &task_id, map_index).map(ToOwned::to_owned),
        note_href: elements.is_none().then(|| format!("{}/tasks/{}/{map_index}", head.href, encoded(&task_id))),
        mark_href: elements.is_none().then(|| format!("{}/tasks/{}/{map_index}/mark", head.href, encoded(&task_id))),
        stop_href: (elements.is_none() && !instance.state.is_finished() && in_flight(instance.state))
            .then(|| format!("{}/tasks/{}/{map_index}/mark?to=failed", head.href, encoded(&task_id))),
        clear_href: format!("{}/clear?task={}&map_index={map_index}", head.href, encoded(&task_id)),
        command: clear_command(&head, &task_id, map_index),
        doc: parts::markdown(&spec.doc),
        asks: asks.map(|row| (row.question.subject.clone(), AnswerForm::new(&row, &shell))),
        inputs,
        kind: spec.kind.clone(),
        config: config_of(spec),
        updates,
        ways,
        environment: environment(&run, planned, chosen, said.map(|said| said.in_words()), alerts),
        output: value.map(|value| shortened(format!("{value:#}"))),
        is_open: !instance.state.is_finished() && !run.state.is_finished(),
        elements,
        over_runs,
        span,
        try_no,
        live: match log.as_ref().and_then(|log| log.at) {
            Some(at) => format!("{live}&at={}", at.text()),
            None => live,
        },
        log,
        name,
        head,
        shell,
    };
    html(StatusCode::OK, &page)
}

/// Returns the command that clears the instance. A negative map index stands for the whole task.
fn clear_command(head: &RunHead, task_id: &str, map_index: i32) -> String {
    let element = if map_index >= 0 { format!(" --map-index {map_index}") } else { String::new() };
    let regex = task_id.replace('.', r"\.");
    format!("orch tasks clear {} -t '^{regex}$'{element} --run-id '{}'", head.dag_id, head.run_id)
}

/// Returns the configuration by field: scripts and statements as they were written, other values as JSON.
fn config_of(task: &TaskSpec) -> Vec<(String, String)> {
    let Value::Object(fields) = &task.config else { return Vec::new() };
    let written = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => format!("{other:#}"),
    };
    fields.iter().map(|(name, value)| (name.clone(), shortened(written(value)))).collect()
}

/// Returns true if an unfinished instance in this state is queued, running or waiting.
fn in_flight(state: TaskState) -> bool {
    !matches!(state, TaskState::None | TaskState::Scheduled)
}

fn environment(
    run: &RunDetails,
    planned: &PlanTask,
    one: Option<&TryRow>,
    progress: Option<String>,
    alerts: Option<parts::Fact>,
) -> Vec<(&'static str, parts::Fact)> {
    let isolation = match planned.isolation {
        Isolation::InProcess => "in the worker",
        Isolation::Process => "a process of its own",
    };
    let mut facts = vec![
        ("Queue", planned.queue.clone()),
        ("Runs in", isolation.into()),
        ("Version", format!("{} of bundle {}", run.version_number, run.bundle)),
    ];
    facts.extend(progress.map(|words| ("Progress", words)));
    if let Some(one) = one {
        let number = one.worker.map(|worker| format!("worker {worker}"));
        let host = one.hostname.clone().map(|host| format!(" on {host}"));
        facts.push(("Worker", number.map(|number| number + host.as_deref().unwrap_or_default()).unwrap_or_default()));
        facts.push(("Try", format!("{} of {}", one.try_no, one.max_tries + 1)));
        facts.push(("Lost workers", if one.lost_no > 0 { one.lost_no.to_string() } else { String::new() }));
        facts.push(("Attempt", one.attempt.to_string()));
    }
    facts.retain(|(_, value)| !value.is_empty());
    let mut facts: Vec<_> = facts.into_iter().map(|(name, value)| (name, parts::Fact::from(value))).collect();
    facts.extend(alerts.map(|alerts| ("Alerts", alerts)));
    facts
}

/// Returns the address of an instance's event stream, with the mark of the state that the page shows.
async fn live_href(
    db: &mut PgConnection,
    (run_href, task_id): (&str, &str),
    (run, task, map_index): (Uuid, u16, i32),
    attempt: Option<Uuid>,
) -> Result<String, Refusal> {
    let key = TryKey { run, task: task.cast_signed(), map_index, attempt };
    let mark = look_at_tries(db, &[key]).await?.first().map_or(0, |look| mark_of(key, look));
    let attempt = attempt.map(|attempt| format!("&attempt={attempt}")).unwrap_or_default();
    Ok(format!("{run_href}/tasks/{}/{map_index}/events?mark={mark}{attempt}", encoded(task_id)))
}

fn shortened(mut text: String) -> String {
    if text.len() > SHOWN_OUTPUT {
        let end = (0..=SHOWN_OUTPUT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        let left = text.len() - end;
        text.truncate(end);
        write!(text, "\n… and {left} bytes more").expect("a string takes all");
    }
    text
}
