//! `GET /api/v2/config`: what this server was told, secrets masked; and lists that are empty here but that Airflow's
//! clients ask for: a DAG that cannot be read stops its worker at the start, so there are no import errors to keep.

use super::pages::Page;
use crate::extract::{Names, Query};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write as _;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Config {
    sections: Vec<Section>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Section {
    name: String,
    options: Vec<Setting>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Setting {
    key: String,
    value: String,
}

/// The one section: orch's settings have no others.
const SECTION: &str = "orch";

pub(crate) async fn all(State(app): State<App>, query: Query, headers: HeaderMap) -> Result<Response, Refusal> {
    if let Some(section) = query.text("section").filter(|section| *section != SECTION) {
        let section: String = section.chars().take(100).collect();
        return Err(Refusal::not_found(format!("Section {} not found.", section.escape_debug())));
    }
    answer(&headers, app.config.settings.clone())
}

pub(crate) async fn one(State(app): State<App>, names: Names, headers: HeaderMap) -> Result<Response, Refusal> {
    let (section, option) = (names.get("section"), names.get("option"));
    let found = app.config.settings.iter().find(|(key, _)| key == option && section == SECTION).cloned();
    match found {
        Some(setting) => answer(&headers, vec![setting]),
        None => {
            let shown = |text: &str| text.chars().take(100).collect::<String>().escape_debug().to_string();
            let text = format!("Option [{}/{}] not found.", shown(section), shown(option));
            Err(Refusal::not_found(text))
        }
    }
}

fn answer(headers: &HeaderMap, settings: Vec<(String, String)>) -> Result<Response, Refusal> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    if accept.contains("text/plain") {
        let mut text = format!("[{SECTION}]\n");
        for (key, value) in settings {
            writeln!(text, "{key} = {value}").map_err(|error| Refusal::Broken(error.to_string()))?;
        }
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response());
    }
    if !["application/json", "*/*", "application/*"].iter().any(|kind| accept.contains(kind)) {
        return Err(Refusal::plain(StatusCode::NOT_ACCEPTABLE, "Only application/json or text/plain is supported"));
    }
    let options = settings.into_iter().map(|(key, value)| Setting { key, value }).collect();
    Ok(Json(Config { sections: vec![Section { name: SECTION.into(), options }] }).into_response())
}

fn empty(mut query: Query, name: &'static str) -> Result<Json<Value>, Refusal> {
    Page::of(&mut query);
    query.finish()?;
    Ok(Json(json!({ name: [], "total_entries": 0 })))
}

pub(crate) async fn import_errors(query: Query) -> Result<Json<Value>, Refusal> {
    empty(query, "import_errors")
}

pub(crate) async fn import_error(names: Names) -> Result<Json<Value>, Refusal> {
    let id: i64 = names.number("import_error_id")?;
    Err(Refusal::not_found(format!("The ImportError with import_error_id: `{id}` was not found")))
}

pub(crate) async fn dag_warnings(query: Query) -> Result<Json<Value>, Refusal> {
    empty(query, "dag_warnings")
}

pub(crate) async fn plugins(query: Query) -> Result<Json<Value>, Refusal> {
    empty(query, "plugins")
}

pub(crate) async fn plugin_errors(query: Query) -> Result<Json<Value>, Refusal> {
    empty(query, "import_errors")
}

pub(crate) async fn providers(query: Query) -> Result<Json<Value>, Refusal> {
    empty(query, "providers")
}
