//! `/lake/{namespace}/{table}/lineage`: the asset of a table and the lineage of its data.

use super::{Head, LoadedTable, find};
use crate::extract::Names;
use crate::pages::assets::lineage::{self, LineageGraph};
use crate::pages::assets::lines::EdgeLine;
use crate::pages::dag::graph::drawing::Drawing;
use crate::pages::{Shell, assets, html};
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_store::asset::{edges_of_asset, find_asset};

#[derive(Template)]
#[template(path = "pages/lake/lineage.html")]
struct LineagePage {
    shell: Shell,
    head: Head,
    uri: String,
    drawing: Option<Drawing>,
    lineage_href: String,
    /// Name and address of the assets that have the table's URI.
    assets: Vec<(String, String)>,
    edges: Vec<EdgeLine>,
}

const MOST_EDGES: i64 = 100;
/// Depth of the picture: tasks that write or read the table, the data they use, and two steps more.
const STEPS: usize = 4;

pub(crate) async fn show(State(app): State<App>, shell: Shell, names: Names) -> Result<Response, Refusal> {
    let LoadedTable { table, head, .. } = find(&app, &names, "lineage", &shell).await?;
    let mut db = app.pages().await?;
    let known = find_asset(&mut db, &table.asset_uri).await?;
    let edges = edges_of_asset(&mut db, &table.asset_uri, MOST_EDGES).await?;
    let drawing = LineageGraph::read(&mut db).await?.near(&app, &mut db, &table.asset_uri, STEPS, shell.now).await?;
    let page = LineagePage {
        drawing,
        lineage_href: lineage::href(&table.asset_uri),
        assets: known.into_iter().map(|row| (row.name, assets::href(row.id))).collect(),
        edges: edges.into_iter().map(|edge| EdgeLine::new(edge, shell.now)).collect(),
        uri: table.asset_uri,
        shell,
        head,
    };
    html(StatusCode::OK, &page)
}
