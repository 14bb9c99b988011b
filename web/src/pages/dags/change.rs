//! `/dags/change?dag=…&dag=…&do=…`: pauses or unpauses several DAGs after a confirmation that lists them.

use crate::api::dags::set_paused;
use crate::extract::{Actor, Form, Query};
use crate::pages::bulk::{BulkLine, BulkPage};
use crate::pages::{Shell, html, local, see_other};
use crate::parts::{self, dag_href};
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_spec::state::RunState;
use orch_store::dag::{DAGS, DagRow, by};
use orch_store::list::Search;
use orch_store::overview::last_runs;
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// Maximum number of DAGs per change: one page of the list.
const MOST_DAGS: usize = 100;

async fn chosen<'a>(db: &mut PgConnection, ids: impl Iterator<Item = &'a str>) -> Result<Vec<DagRow>, Refusal> {
    let ids: Vec<String> = ids.map(Into::into).collect();
    if ids.len() > MOST_DAGS {
        return Err(Refusal::bad_request(format!("at most {MOST_DAGS} DAGs are changed at once")));
    }
    Ok(DAGS.rows(db, &Search::default().and(by::DAG_ID.any_of(ids))).await?)
}

pub(crate) async fn ask(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let dags = chosen(&mut db, query.all("dag")).await?;
    let pauses = query.text("do") != Some("unpause");
    let concerned: Vec<&DagRow> = dags.iter().filter(|dag| dag.is_paused != pauses).collect();
    let back = query.text("back").and_then(local).unwrap_or("/dags").to_string();
    let mut fields: Vec<(&'static str, String)> = concerned.iter().map(|dag| ("dag", dag.dag_id.clone())).collect();
    fields.push(("back", back.clone()));
    let said = parts::counted(concerned.len(), "DAG");
    let (value, title, button, sentence) = if pauses {
        let sentence = "No new run of these DAGs starts until they are switched on. Active runs continue.";
        ("pause", format!("Pause {said}?"), format!("Pause {said}"), sentence)
    } else {
        let sentence = "Queued runs start, and the schedules create runs again.";
        ("unpause", format!("Switch on {said}?"), format!("Switch on {said}"), sentence)
    };
    let ids: Vec<String> = concerned.iter().map(|dag| dag.dag_id.clone()).collect();
    let last: BTreeMap<String, RunState> =
        last_runs(&mut db, &ids, 1).await?.into_iter().map(|run| (run.dag_id, run.state)).collect();
    let lines = concerned.iter().map(|dag| BulkLine {
        state: parts::state(match last.get(&dag.dag_id) {
            _ if dag.is_paused => "paused",
            Some(state) => state.as_str(),
            None => "none",
        }),
        name: dag.dag_id.clone(),
        href: dag_href(&dag.dag_id),
        note: dag.schedule_text.clone(),
    });
    let page = BulkPage {
        list: ("/dags", "DAGs"),
        sentence: if dags.is_empty() {
            "No DAG is chosen: choose some in the list, then what to do with them.".into()
        } else if concerned.is_empty() {
            format!("All of them are {} already.", if pauses { "paused" } else { "on" })
        } else {
            sentence.into()
        },
        lines: lines.collect(),
        options: Vec::new(),
        buttons: if concerned.is_empty() { Vec::new() } else { vec![(value, button, false)] },
        command: concerned.iter().map(|dag| format!("orch dags {value} {}", dag.dag_id)).collect::<Vec<_>>().join("\n"),
        action: "/dags/change",
        title,
        fields,
        back,
        shell,
    };
    html(StatusCode::OK, &page)
}

pub(crate) async fn change(State(app): State<App>, actor: Actor, form: Form) -> Result<Response, Refusal> {
    let pauses = match form.text("do") {
        Some("pause") => true,
        Some("unpause") => false,
        _ => return Err(Refusal::bad_request("DAGs are paused or unpaused")),
    };
    let mut db = app.hot().await?;
    let dags = chosen(&mut db, form.all("dag")).await?;
    let ids: Vec<String> = dags.into_iter().map(|dag| dag.dag_id).collect();
    set_paused(&app, &mut db, &actor, &ids, pauses).await?;
    Ok(see_other(form.text("back").and_then(local).unwrap_or("/dags")))
}
