//! Ways from a task instance to other places: `…/links` and `…/externalLogUrl/{try_number}`. Tasks here name none, and
//! their logs stand nowhere else.

use super::task_instances::one_instance;
use crate::extract::{Names, Query, no_such_instance};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

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
    query.whole_numbers("try_number");
    exists(&app, &names, &mut query).await?;
    Ok(Json(ExtraLinks { extra_links: BTreeMap::new(), total_entries: 0 }))
}

pub(crate) async fn external_log(
    State(app): State<App>,
    names: Names,
    mut query: Query,
) -> Result<Json<ExternalLog>, Refusal> {
    names.number::<i16>("try_number")?;
    exists(&app, &names, &mut query).await?;
    Err(Refusal::bad_request("Task log handler does not support external logs."))
}

async fn exists(app: &App, names: &Names, query: &mut Query) -> Result<(), Refusal> {
    let path = names.task()?;
    let index = query.whole_numbers("map_index").last().copied().unwrap_or(-1);
    query.finish()?;
    let index = i32::try_from(index).map_err(|_| no_such_instance(&path.run, &path.task_id, -1))?;
    one_instance(app, path, index).await?;
    Ok(())
}
