//! Changes to an asset: run the DAG that produces it, or record an update.

use super::href;
use crate::api::assets::{add_update, find, run_of};
use crate::extract::{Actor, Form, Names};
use crate::pages::{encoded, see_other};
use crate::parts::dag_href;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::response::Response;
use orch_spec::asset::AssetEvent;
use orch_store::asset::NewEvent;
use serde_json::json;

pub(crate) async fn make(State(app): State<App>, actor: Actor, names: Names, _: Form) -> Result<Response, Refusal> {
    let run = run_of(&app, &actor, &names, None).await?;
    Ok(see_other(&format!("{}/runs/{}", dag_href(&run.dag_id), encoded(&run.run_id))))
}

pub(crate) async fn update(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    form: Form,
) -> Result<Response, Refusal> {
    let asset = find(&mut *app.pages().await?, &names).await?;
    let partition_key = form.text("partition").map(str::trim).filter(|key| !key.is_empty()).map(String::from);
    let event = AssetEvent { partition_key, ..AssetEvent::of(&asset.uri) };
    if let Some(problem) = event.problem() {
        return Err(Refusal::bad_request(problem));
    }
    let extra = json!({ "said_by": *actor.name });
    add_update(&app, &actor, &NewEvent { asset: asset.id, partition_key: event.partition_key, extra }).await?;
    Ok(see_other(&href(asset.id)))
}
