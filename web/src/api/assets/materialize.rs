//! `POST /api/v2/assets/{asset_id}/materialize`: runs the one DAG that produces an asset.

use super::find;
use crate::api::dag_runs::{DagRunView, create_of, read_new};
use crate::extract::{Actor, Fields, JsonBody, Names};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_spec::ids::DagId;
use orch_spec::state::RunType;
use orch_store::asset::producers_of;
use orch_store::run::RunDetails;
use serde_json::Map;
use sqlx::PgConnection;

pub(crate) async fn materialize(
    State(app): State<App>,
    actor: Actor,
    names: Names,
    body: Option<JsonBody>,
) -> Result<Json<DagRunView>, Refusal> {
    Ok(Json(run_of(&app, &actor, &names, body).await?.into()))
}

pub(crate) async fn run_of(
    app: &App,
    actor: &Actor,
    names: &Names,
    body: Option<JsonBody>,
) -> Result<RunDetails, Refusal> {
    let fields = body.map_or_else(|| Fields::new(Map::new()), JsonBody::fields);
    let mut new = read_new("", fields, Fields::moment)?;
    let dag_id = {
        let mut db = app.pages().await?;
        let asset = find(&mut db, names).await?;
        producer(&mut db, asset.id).await?
    };
    new.dag_id = dag_id.to_string();
    new.run_type = RunType::AssetMaterialization;
    new.user = Some(actor.name.to_string());
    new.deed = Some(actor.extra());
    let (run, _) = create_of(app, &dag_id, new).await?;
    Ok(run)
}

pub(crate) async fn producer(db: &mut PgConnection, asset: i32) -> Result<DagId, Refusal> {
    let producers = producers_of(db, asset).await?;
    match producers.as_slice() {
        [] => Err(Refusal::not_found(format!("No Dag materializes asset with ID: {asset}"))),
        [one] => DagId::new(one).map_err(|error| Refusal::Broken(error.to_string())),
        _ => {
            let text = format!("More than one Dag materializes asset with ID: {asset}");
            Err(Refusal::plain(StatusCode::CONFLICT, text))
        }
    }
}
