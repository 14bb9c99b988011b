//! `POST /api/v2/assets/{asset_id}/materialize`: triggers the one DAG that produces an asset.

use super::find;
use crate::api::dag_runs::{DagRunView, NewRunFields, create_of};
use crate::extract::{Actor, JsonBody, Names};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use orch_deeds::run::asked_by;
use orch_spec::ids::DagId;
use orch_spec::state::RunType;
use orch_store::asset::producers_of;
use orch_store::run::RunDetails;
use orch_wire::body;
use orch_wire::timestamp::Timestamp;
use sqlx::PgConnection;

body! {
    pub(crate) struct MaterializeAssetBody {
        logical_date: Option<Timestamp>,
        ..new: NewRunFields,
    }
}

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
    let body = body.unwrap_or_default().read::<MaterializeAssetBody>()?;
    let mut new = body.new.run_of("", body.logical_date)?;
    let dag_id = {
        let mut db = app.pages().await?;
        let asset = find(&mut db, names).await?;
        producer(&mut db, asset.id).await?
    };
    new.dag_id = dag_id.to_string();
    new.run_type = RunType::AssetMaterialization;
    let (run, _) = create_of(app, &dag_id, asked_by(actor, new)).await?;
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
