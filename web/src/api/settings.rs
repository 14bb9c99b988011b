//! `GET /api/v2/config`: the settings of this server, with masked secrets. Also lists that are always empty here but
//! that Airflow's clients request.

use super::list::asked;
use crate::extract::{Actor, Names, Query, query_params};
use crate::openapi::kinds::QueryParamType;
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use orch_deeds::setting::{OF_AIRFLOW, OWN_SECTION, note_read};
use orch_store::list::{Column, Filter, Words};
use orch_wire::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
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

/// orch's section, and the sections of Airflow with options that correspond to settings of orch.
const SECTIONS: &[&str] = &[OWN_SECTION, "core", "database", "api", "logging", "celery"];

query_params! {
    pub(crate) struct ConfigParams {
        /// orch's own section, or one of Airflow with the options that orch has; without it orch's own
        section: Option<String> as QueryParamType::Word(SECTIONS),
    }
}

pub(crate) async fn all(
    State(app): State<App>,
    actor: Actor,
    mut query: Query,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let ConfigParams { section } = query.whole()?;
    let section = section.as_deref().unwrap_or(OWN_SECTION);
    let options = options(&app.config.settings, section);
    if options.is_empty() && section != OWN_SECTION {
        return Err(Refusal::not_found(format!("Section {} not found.", shown(section))));
    }
    let response = answer(&headers, section, options)?;
    note_read(&mut *app.pages().await?, &actor, None).await?;
    Ok(response)
}

pub(crate) async fn one(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (section, option) = (names.get("section"), names.get("option"));
    let Some(found) = options(&app.config.settings, section).into_iter().find(|setting| setting.key == option) else {
        return Err(Refusal::not_found(format!("Option [{}/{}] not found.", shown(section), shown(option))));
    };
    let response = answer(&headers, section, vec![found])?;
    note_read(&mut *app.pages().await?, &actor, Some(option)).await?;
    Ok(response)
}

/// Returns the options of a section under the names that they have in that section.
fn options(settings: &[(String, String)], section: &str) -> Vec<Setting> {
    let setting = |(key, value): &(String, String)| Setting { key: key.clone(), value: value.clone() };
    if section == OWN_SECTION {
        return settings.iter().map(setting).collect();
    }
    let same = OF_AIRFLOW.iter().filter(|(of, ..)| *of == section);
    let option = |(_, name, own): &(&str, &str, &str)| {
        let (_, value) = settings.iter().find(|(key, _)| key == own)?;
        Some(Setting { key: (*name).into(), value: value.clone() })
    };
    same.filter_map(option).collect()
}

/// Returns a name from the request, shortened and escaped for an error message.
fn shown(text: &str) -> String {
    text.chars().take(100).collect::<String>().escape_debug().to_string()
}

fn answer(headers: &HeaderMap, section: &str, options: Vec<Setting>) -> Result<Response, Refusal> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    if accept.contains("text/plain") {
        let mut text = format!("[{section}]\n");
        for Setting { key, value } in options {
            writeln!(text, "{key} = {value}").map_err(|error| Refusal::Broken(error.to_string()))?;
        }
        return Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response());
    }
    if !["application/json", "*/*", "application/*"].iter().any(|kind| accept.contains(kind)) {
        return Err(Refusal::plain(StatusCode::NOT_ACCEPTABLE, "Only application/json or text/plain is supported"));
    }
    Ok(Json(Config { sections: vec![Section { name: section.into(), options }] }).into_response())
}

#[derive(Debug, Serialize, JsonSchema)]
struct DagWarningView {
    dag_id: String,
    /// `asset conflict`, `non-existent pool` or `runtime varying value`.
    warning_type: String,
    message: String,
    timestamp: Timestamp,
    dag_display_name: String,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct DagWarningPage {
    dag_warnings: Vec<DagWarningView>,
    total_entries: i64,
}

/// There are no plugins: code of a user is in the worker's binary.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct PluginPage {
    plugins: Vec<Map<String, Value>>,
    total_entries: i64,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct PluginErrorPage {
    import_errors: Vec<PluginError>,
    total_entries: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct PluginError {
    source: String,
    error: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ProviderView {
    package_name: String,
    description: String,
    version: String,
    documentation_url: Option<String>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct ProviderPage {
    providers: Vec<ProviderView>,
    total_entries: i64,
}

const WARNINGS: Words =
    Words { noun: "warning_type", words: &["asset conflict", "non-existent pool", "runtime varying value"] };
pub(crate) const WARNING_COLUMNS: &[Column] = &[
    Column::text("dag_id", "").by(&[Filter::Is]).about("Of that DAG").sorted(),
    Column::words("warning_type", "", WARNINGS).by(&[Filter::Is]).about("Of that kind").sorted(),
    Column::text("message", "").sorted(),
    Column::moment("timestamp", "").sorted(),
];

fn empty<T: Default>(mut query: Query, columns: &'static [Column]) -> Result<Json<T>, Refusal> {
    asked(&mut query, columns)?;
    Ok(Json(T::default()))
}

pub(crate) async fn dag_warnings(query: Query) -> Result<Json<DagWarningPage>, Refusal> {
    empty(query, WARNING_COLUMNS)
}

pub(crate) async fn plugins(query: Query) -> Result<Json<PluginPage>, Refusal> {
    empty(query, &[])
}

pub(crate) async fn plugin_errors() -> Json<PluginErrorPage> {
    Json(PluginErrorPage::default())
}

pub(crate) async fn providers(query: Query) -> Result<Json<ProviderPage>, Refusal> {
    empty(query, &[])
}
