//! `GET /openapi.json`: the OpenAPI description of this API.

use crate::openapi::description;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::sync::OnceLock;

/// Computed once, because it depends on the code only.
static TEXT: OnceLock<String> = OnceLock::new();

pub(crate) async fn openapi() -> Response {
    let text = TEXT.get_or_init(|| description().to_string());
    ([(header::CONTENT_TYPE, "application/json")], text.as_str()).into_response()
}
