//! Assets: `/api/v2/assets` as in Airflow, and `/api/orch/v1/assets` with freshness, waiting DAGs and lineage.

mod checks;
mod dependencies;
mod events;
mod extras;
mod materialize;
mod queued;
mod view;

pub(crate) use checks::{CheckPage, list as list_checks, of_uri as checks_of_uri};
pub(crate) use dependencies::{DependencyPage, list as dependencies};
pub(crate) use events::{
    CreateAssetEventsBody, EventPage, EventView, PartitionKey, add_update, create as create_event, list as list_events,
    upstream,
};
pub(crate) use extras::{ExtraPage, ExtraView, LineagePage, get as extra, lineage_of_run, list as list_extra};
pub(crate) use materialize::{MaterializeAssetBody, materialize, producer, run_of};
pub(crate) use queued::{
    QueuedPage, QueuedParams, QueuedView, delete_of_asset, delete_of_dag, delete_one, of_asset, of_dag,
    one as queued_one,
};
pub(crate) use view::{AliasPage, AliasView, AssetPage, AssetView, expression};

use super::list::asked;
use crate::extract::path_numbers::{ASSET_ALIAS_ID, ASSET_ID};
use crate::extract::{Names, Query};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_store::asset::{ALIASES, ASSETS, AssetRow, get_alias, get_asset};
use orch_store::list::ListPage;
use sqlx::PgConnection;

pub(crate) async fn list(State(app): State<App>, mut query: Query) -> Result<Json<AssetPage>, Refusal> {
    let search = asked(&mut query, ASSETS.columns)?;
    let mut db = app.pages().await?;
    let ListPage { rows, total: total_entries } = ASSETS.find(&mut db, &search).await?;
    Ok(Json(AssetPage { assets: view::views(&mut db, rows).await?, total_entries }))
}

pub(crate) async fn get(State(app): State<App>, names: Names) -> Result<Json<AssetView>, Refusal> {
    let mut db = app.pages().await?;
    let asset = find(&mut db, &names).await?;
    let view = view::views(&mut db, vec![asset]).await?.pop();
    view.map(Json).ok_or_else(|| Refusal::Broken("an asset has no view".into()))
}

pub(crate) async fn aliases(State(app): State<App>, mut query: Query) -> Result<Json<AliasPage>, Refusal> {
    let search = asked(&mut query, ALIASES.columns)?;
    let ListPage { rows, total: total_entries } = ALIASES.find(&mut *app.pages().await?, &search).await?;
    Ok(Json(AliasPage { asset_aliases: rows.into_iter().map(AliasView::from).collect(), total_entries }))
}

pub(crate) async fn alias(State(app): State<App>, names: Names) -> Result<Json<AliasView>, Refusal> {
    let text = names.get("asset_alias_id").to_string();
    let missing = || Refusal::not_found(format!("The Asset Alias with ID: `{text}` was not found"));
    let id = names.number(ASSET_ALIAS_ID)?;
    let id = i32::try_from(id).map_err(|_| missing())?;
    let found = get_alias(&mut *app.pages().await?, id).await?;
    found.map(|row| Json(row.into())).ok_or_else(missing)
}

pub(crate) async fn find(db: &mut PgConnection, names: &Names) -> Result<AssetRow, Refusal> {
    let missing = || no_such_asset(names.get("asset_id"));
    let id = names.number(ASSET_ID)?;
    let id = i32::try_from(id).map_err(|_| missing())?;
    get_asset(db, id).await?.ok_or_else(missing)
}

fn no_such_asset(id: impl std::fmt::Display) -> Refusal {
    Refusal::not_found(format!("The Asset with ID: `{id}` was not found"))
}
