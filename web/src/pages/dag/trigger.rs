//! `/dags/{dag_id}/trigger`: a form for the params of a run. Errors are shown next to their fields, and typed values
//! are kept, also when the user switches between the form and JSON.

pub(crate) mod fields;

use super::{Head, LoadedDag, find, offering};
use crate::api::presets::{forget, keep, named};
use crate::extract::{Actor, DagPath, Form, Query, no_such_run};
use crate::pages::{Shell, encoded, html, see_other};
use crate::parts::{self, ZonedNow};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use fields::{Field, Input as FieldInput, complain, typed};
use orch_deeds::run::asked_by;
use orch_spec::ids::RunId;
use orch_spec::params::{BadConf, parse_conf};
use orch_spec::schedule::run_type_of;
use orch_spec::state::{RunType, TriggeredBy};
use orch_store::list::Search;
use orch_store::locks::Locks;
use orch_store::preset::{PRESETS, Preset, by};
use orch_store::run::{CreateRun, NewRun, RUNS, create_run, get_run, newest_of_dag};
use orch_store::timing::usual_run;
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

#[derive(Template)]
#[template(path = "pages/dag/trigger.html")]
struct TriggerPage {
    shell: Shell,
    head: Head,
    as_json: bool,
    has_schema: bool,
    fields: Vec<Field>,
    wish: TriggerForm,
    /// Errors that belong to no field.
    problems: Vec<String>,
    command: String,
    tasks: usize,
    usual: Option<String>,
    running: i64,
    most_runs: i32,
    workers: i64,
    offering: String,
    has_no_limit: bool,
    earlier: Vec<Earlier>,
    presets: Vec<(String, String)>,
    like_path: String,
}

/// An earlier run whose conf can be reused.
struct Earlier {
    href: String,
    words: String,
    ago: parts::Ago,
    state: parts::State,
}

/// Typed values other than the params.
#[derive(Debug, Clone, Default)]
struct TriggerForm {
    json: String,
    json_error: Option<String>,
    note: String,
    run_id: String,
    run_id_error: Option<String>,
    logical_date: String,
    /// Logical date that the form offers: the time at which it was opened.
    offered_date: String,
    logical_date_error: Option<String>,
    run_after: String,
    run_after_error: Option<String>,
    /// Earlier run (`like`) or preset that the form is filled in from.
    like: Option<String>,
    preset: Option<String>,
    /// Name of the preset to save the conf under.
    keep_as: String,
    keep_error: Option<String>,
}

/// Maximum length of a note, the same as in Airflow.
pub(crate) const MOST_NOTE_CHARS: usize = 1_000;
/// Maximum number of earlier runs whose conf is offered for reuse, number of runs that are searched for them, and
/// maximum number of characters of a conf.
const MOST_EARLIER: usize = 5;
const LOOKED_THROUGH: i64 = 30;
const MOST_CONF_CHARS: usize = 120;

/// Shows the form. `?like=` fills it in from an earlier run, `?preset=` from a preset and `?conf=` from JSON.
pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    DagPath(dag_id): DagPath,
    query: Query,
) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let found = find(&app, &mut db, &dag_id).await?;
    let offered_date = shell.now.field(shell.now.at);
    let mut wish = TriggerForm { logical_date: offered_date.clone(), offered_date, ..TriggerForm::default() };
    let mut conf = Map::new();
    if let Some(run_id) = query.text("like") {
        let like = get_run(&mut db, &found.row.dag_id, run_id).await?.ok_or_else(|| no_such_run(&dag_id, run_id))?;
        if let Some(Value::Object(of)) = like.conf {
            conf = of;
        }
        wish.like = Some(like.run_id);
        wish.note = like.note.unwrap_or_default();
    }
    if let Some(name) = query.text("preset") {
        if let Value::Object(of) = named(&mut db, &found.row.dag_id, name).await?.conf {
            conf = of;
        }
        wish.preset = Some(name.into());
        wish.keep_as = name.into();
    }
    if let Some(text) = query.text("conf") {
        wish.json = text.into();
        conf = conf_of(&mut wish);
    }
    // A conf with keys that have no field can be edited only as JSON.
    let known = found.version.plan.spec.params_schema.as_ref().and_then(|schema| schema["properties"].as_object());
    let as_json =
        wish.json_error.is_some() || known.is_none_or(|known| conf.keys().any(|name| !known.contains_key(name)));
    page(&mut db, shell, &found, StatusCode::OK, as_json, &conf, wish, &[]).await
}

pub(crate) async fn trigger(
    State(app): State<App>,
    shell: Shell,
    actor: Actor,
    DagPath(dag_id): DagPath,
    form: Form,
) -> Result<Response, Refusal> {
    let mut db = app.hot().await?;
    let found = find(&app, &mut db, &dag_id).await?;
    let text = |name: &str| form.text(name).unwrap_or_default().trim().to_string();
    let mut wish = TriggerForm {
        json: form.text("conf").unwrap_or_default().into(),
        note: text("note"),
        run_id: text("run_id"),
        logical_date: text("logical_date"),
        offered_date: text("offered_date"),
        run_after: text("run_after"),
        keep_as: text("keep_as"),
        ..TriggerForm::default()
    };
    let was_json = form.text("as") == Some("json");
    let empty = json!({});
    let schema = found.version.plan.spec.params_schema.as_ref().unwrap_or(&empty);
    let conf = if was_json { conf_of(&mut wish) } else { typed(schema, &form) };
    let ask = form.text("do").unwrap_or("trigger");
    if let Some(name) = form.text("forget") {
        forget(&mut db, &actor, (&found.row.dag_id, name)).await?;
        return Ok(see_other(&format!("{}/trigger", parts::dag_href(&found.row.dag_id))));
    }
    if ask == "keep" && wish.json_error.is_none() {
        let place = (found.row.dag_id.as_str(), wish.keep_as.as_str());
        match keep(&mut db, &actor, place, &Value::Object(conf.clone())).await {
            Ok(()) => {
                let path = parts::dag_href(&found.row.dag_id);
                return Ok(see_other(&format!("{path}/trigger?preset={}", encoded(&wish.keep_as))));
            }
            Err(Refusal::Plain { text, .. }) => wish.keep_error = Some(format!("{text}.")),
            Err(refusal) => return Err(refusal),
        }
        let refused = StatusCode::UNPROCESSABLE_ENTITY;
        return page(&mut db, shell, &found, refused, was_json, &conf, wish, &[]).await;
    }
    if ask != "trigger" {
        // Switches between form and JSON. Invalid JSON must be corrected before the form is shown.
        let as_json = ask == "json" || wish.json_error.is_some();
        return page(&mut db, shell, &found, StatusCode::OK, as_json, &conf, wish, &[]).await;
    }
    let new = new_run(&mut wish, (&found.row.dag_id, shell.now), &actor, &conf);
    let refused = StatusCode::UNPROCESSABLE_ENTITY;
    let Some(new) = new.filter(|_| wish.json_error.is_none()) else {
        return page(&mut db, shell, &found, refused, was_json, &conf, wish, &[]).await;
    };
    match create_run(&mut db, Locks::begin(), &mut app.versions.clone(), &new).await? {
        CreateRun::Created(run) | CreateRun::Same(run) => {
            run.hints().into_iter().for_each(|hint| app.hints.give(hint));
            Ok(see_other(&format!("{}/runs/{}", parts::dag_href(&run.dag_id), encoded(&run.run_id))))
        }
        CreateRun::RunIdTaken | CreateRun::OtherRequest => {
            wish.run_id_error = Some("The DAG has a run of that id already.".into());
            page(&mut db, shell, &found, refused, was_json, &conf, wish, &[]).await
        }
        CreateRun::LogicalDateTaken => {
            wish.logical_date_error = Some("The DAG has a run for that date already.".into());
            page(&mut db, shell, &found, refused, was_json, &conf, wish, &[]).await
        }
        CreateRun::BadConf(bad) => page(&mut db, shell, &found, refused, was_json, &conf, wish, &[bad]).await,
        CreateRun::NoSuchDag => Err(crate::extract::no_such_dag(&dag_id)),
    }
}

/// Parses the typed JSON. If it is invalid, the error is stored in `json_error`.
fn conf_of(wish: &mut TriggerForm) -> Map<String, Value> {
    if wish.json.trim().is_empty() {
        return Map::new();
    }
    match parse_conf(&wish.json) {
        Ok(Value::Object(conf)) => conf,
        Ok(_) => Map::new(),
        Err(bad) => {
            wish.json_error = Some(format!("{bad}; {}.", bad.hint()));
            Map::new()
        }
    }
}

impl TriggerForm {
    /// Returns true if the user left the offered logical date unchanged. The run then gets the time at which it is
    /// triggered, so that the same form can be sent more than once.
    fn has_offered_date(&self) -> bool {
        !self.offered_date.is_empty() && self.logical_date == self.offered_date
    }
}

fn new_run(
    wish: &mut TriggerForm,
    (dag_id, now): (&str, ZonedNow),
    actor: &Actor,
    conf: &Map<String, Value>,
) -> Option<NewRun> {
    let mut new = asked_by(actor, NewRun::manual(dag_id, TriggeredBy::Ui));
    new.note = Some(wish.note.chars().take(MOST_NOTE_CHARS).collect::<String>()).filter(|note| !note.is_empty());
    new.conf = (!conf.is_empty()).then(|| Value::Object(conf.clone()));
    if !wish.run_id.is_empty() {
        match RunId::new(wish.run_id.as_str()) {
            Ok(id) if run_type_of(&id) == RunType::Manual => new.run_id = Some(id),
            Ok(id) => wish.run_id_error = Some(format!("Such names are for {} runs.", run_type_of(&id))),
            Err(bad) => wish.run_id_error = Some(format!("{bad}.")),
        }
    }
    let moment = |text: &str, error: &mut Option<String>| {
        let read = now.typed(text).map(|at| at.first);
        if read.is_none() && !text.is_empty() {
            *error = Some("This is no moment: write it like 2026-11-20T06:00.".into());
        }
        read
    };
    let is_offered = wish.has_offered_date();
    new.logical_date =
        moment(&wish.logical_date, &mut wish.logical_date_error).map(|at| if is_offered { now.at } else { at });
    new.run_after = moment(&wish.run_after, &mut wish.run_after_error);
    let errors = [&wish.run_id_error, &wish.logical_date_error, &wish.run_after_error];
    errors.iter().all(|error| error.is_none()).then_some(new)
}

#[expect(clippy::too_many_arguments, reason = "each is another thing that was typed or found")]
async fn page(
    db: &mut PgConnection,
    shell: Shell,
    found: &LoadedDag,
    status: StatusCode,
    as_json: bool,
    conf: &Map<String, Value>,
    mut wish: TriggerForm,
    bad: &[BadConf],
) -> Result<Response, Refusal> {
    let spec = &found.version.plan.spec;
    let schema = spec.params_schema.as_ref();
    let mut fields = schema.map(|schema| fields::fields(schema, conf)).unwrap_or_default();
    let mut problems = Vec::new();
    for bad in bad {
        match bad {
            BadConf::Params(wrong) if !as_json => problems.extend(complain(&mut fields, wrong)),
            other => wish.json_error = Some(format!("{other}; {}.", other.hint())),
        }
    }
    if !as_json && let Some(error) = wish.json_error.take() {
        problems.push(error);
    }
    if as_json && wish.json_error.is_none() {
        wish.json = if conf.is_empty() { String::new() } else { format!("{:#}", Value::Object(conf.clone())) };
    }
    let usual = usual_run(db, &found.row.dag_id).await?;
    let page = TriggerPage {
        head: Head::new(found, "trigger", shell.now),
        has_schema: !fields.is_empty(),
        command: command((&found.row.dag_id, shell.now), conf, &wish),
        tasks: spec.tasks.len(),
        usual: usual.map(parts::duration),
        running: found.places.running,
        most_runs: found.row.max_active_runs,
        workers: found.places.workers,
        offering: offering(found.places.workers),
        like_path: encoded(wish.like.as_deref().unwrap_or_default()),
        earlier: earlier(db, found, &shell).await?,
        presets: presets(db, &found.row.dag_id).await?,
        has_no_limit: found.places.running < i64::from(found.row.max_active_runs),
        shell,
        as_json,
        fields,
        wish,
        problems,
    };
    html(status, &page)
}

/// Returns the names of the presets, each with the address of the form that is filled in from it.
async fn presets(db: &mut PgConnection, dag_id: &str) -> Result<Vec<(String, String)>, Refusal> {
    let link = |preset: Preset| {
        let href = format!("{}/trigger?preset={}", parts::dag_href(dag_id), encoded(&preset.name));
        (preset.name, href)
    };
    let presets = PRESETS.rows(db, &Search::default().and(by::DAG_ID.is(dag_id))).await?;
    Ok(presets.into_iter().map(link).collect())
}

/// Returns the last runs that have a conf. Runs with the same conf are listed once.
async fn earlier(db: &mut PgConnection, found: &LoadedDag, shell: &Shell) -> Result<Vec<Earlier>, Refusal> {
    let runs = RUNS.rows(db, &newest_of_dag(&found.row.dag_id, LOOKED_THROUGH)).await?;
    let mut seen = Vec::new();
    let mut earlier = Vec::new();
    for run in runs {
        let Some(conf) = run.conf.filter(|conf| conf.as_object().is_some_and(|conf| !conf.is_empty())) else {
            continue;
        };
        let text = conf.to_string();
        if earlier.len() == MOST_EARLIER || seen.contains(&text) {
            continue;
        }
        let words = parts::short(&text, MOST_CONF_CHARS).into_owned();
        earlier.push(Earlier {
            href: format!("{}/trigger?like={}", parts::dag_href(&run.dag_id), encoded(&run.run_id)),
            ago: parts::ago(run.created_at, shell.now),
            state: parts::mark(run.state.as_str()),
            words,
        });
        seen.push(text);
    }
    Ok(earlier)
}

/// Returns the equivalent shell command.
fn command((dag_id, now): (&str, ZonedNow), conf: &Map<String, Value>, wish: &TriggerForm) -> String {
    let mut words = vec![format!("orch dags trigger {dag_id}")];
    let mut add = |option: &str, value: &str| words.push(format!("{option} {}", quoted(value)));
    if !conf.is_empty() {
        add("--conf", &Value::Object(conf.clone()).to_string());
    }
    if !wish.run_id.is_empty() {
        add("--run-id", &wish.run_id);
    }
    let date = (!wish.has_offered_date()).then_some(&wish.logical_date);
    for (option, text) in [("--logical-date", date), ("--run-after", Some(&wish.run_after))] {
        if let Some(typed) = text.and_then(|text| now.typed(text)) {
            add(option, &typed.first.format("%Y-%m-%dT%H:%M:%SZ").to_string());
        }
    }
    words.join(" \\\n  ")
}

/// Quotes a text as a single shell word.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    #[test]
    fn a_command_is_one_whatever_was_typed() {
        let conf = json!({ "who": "it's $(me)" });
        let (logical_date, run_after) = ("2026-11-20T06:00".into(), "2026-11-21 22:00".into());
        let wish = TriggerForm { run_id: "r".into(), logical_date, run_after, ..TriggerForm::default() };
        let expected = "orch dags trigger d \\\n  --conf '{\"who\":\"it'\\''s $(me)\"}' \\\n  --run-id 'r' \\\n  \
            --logical-date '2026-11-20T06:00:00Z' \\\n  --run-after '2026-11-21T22:00:00Z'";
        let now = ZonedNow::utc(DateTime::UNIX_EPOCH);
        assert_eq!(command(("d", now), conf.as_object().unwrap(), &wish), expected);
        let offered = "2026-11-20T06:00:07";
        let wish = TriggerForm { logical_date: offered.into(), offered_date: offered.into(), ..TriggerForm::default() };
        assert_eq!(command(("d", now), &Map::new(), &wish), "orch dags trigger d");
    }
}
