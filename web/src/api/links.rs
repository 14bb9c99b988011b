//! Links of a task instance: `…/links` and `…/externalLogUrl/{try_number}`. Tasks have no extra links here, and their
//! logs are not stored in external systems.

use super::task_instances::named;
use crate::extract::path_numbers::TRY_NUMBER;
use crate::extract::{Names, Query, query_params};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

query_params! {
    pub(crate) struct LinksParams {
        /// Of that try
        try_number: Vec<i64>,
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ExtraLinks {
    /// An address by the name of its link.
    extra_links: BTreeMap<String, Option<String>>,
    total_entries: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ExternalLog {
    url: String,
}

pub(crate) async fn extra(State(app): State<App>, names: Names, mut query: Query) -> Result<Json<ExtraLinks>, Refusal> {
    // No attempt has links, so the number is ignored.
    let LinksParams { try_number: _any } = query.take();
    named(&app, &names, &mut query).await?;
    Ok(Json(ExtraLinks { extra_links: BTreeMap::new(), total_entries: 0 }))
}

pub(crate) async fn external_log(
    State(app): State<App>,
    names: Names,
    mut query: Query,
) -> Result<Json<ExternalLog>, Refusal> {
    names.number(TRY_NUMBER)?;
    named(&app, &names, &mut query).await?;
    Err(Refusal::bad_request("Task log handler does not support external logs."))
}
