//! `GET /openapi.json`: this API as a program reads it.

use crate::routes::description;
use crate::state::App;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::sync::OnceLock;

/// It follows from the code alone.
static TEXT: OnceLock<String> = OnceLock::new();

pub(crate) async fn openapi(State(app): State<App>) -> Response {
    let text = TEXT.get_or_init(|| description(&app).to_string());
    ([(header::CONTENT_TYPE, "application/json")], text.as_str()).into_response()
}
