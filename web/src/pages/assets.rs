//! `/assets`: all assets (data that tasks update and that triggers DAGs), with their freshness.

pub(crate) mod asset;
pub(crate) mod change;
pub(crate) mod lineage;
pub(crate) mod lines;

use super::filters::Filters;
use super::turned::Turned;
use super::{Shell, html};
use crate::extract::Query;
use crate::parts;
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_store::asset::{ASSETS, AssetRow, UseRow, by, uses_of};
use orch_store::list::Column;

#[derive(Template)]
#[template(path = "pages/assets.html")]
struct AssetsPage {
    shell: Shell,
    q: String,
    stale: bool,
    /// The other filters, to append to an address after `state`.
    rest: String,
    filters: Filters,
    lines: Vec<ListedAsset>,
    before: Option<String>,
    after: Option<String>,
}

struct ListedAsset {
    name: String,
    /// `None` if it equals the name.
    uri: Option<String>,
    href: String,
    fresh: Option<bool>,
    updated: Option<parts::Ago>,
    /// DAGs that produce the asset, and DAGs that wait for it.
    made_by: Vec<String>,
    waited_by: Vec<String>,
}

/// The page also shows assets that no DAG refers to any more.
pub(crate) const OWN: &[&str] = &["only_active"];
const OF_A_PAGE: i64 = 100;

pub(crate) fn href(asset: i32) -> String {
    format!("/assets/{asset}")
}

/// Returns true if the asset is fresh. `None` if it has no freshness limit, or has never been updated.
fn fresh(row: &AssetRow) -> Option<bool> {
    let is_known = row.stale_since.is_some() || row.last_event_at.is_some();
    row.fresh_within_ms.filter(|_| is_known).map(|_| row.stale_since.is_none())
}

pub(crate) async fn show(State(app): State<App>, shell: Shell, mut query: Query) -> Result<Response, Refusal> {
    let turned = Turned::to(&mut query, OF_A_PAGE);
    let q = query.text("q").unwrap_or_default().trim().to_string();
    let stale = query.text("state") == Some("stale");
    let (asked, filters) = Filters::read(query, ASSETS.columns, OWN, shell.now)?;
    let named = |column: Column| {
        let search = asked.clone().and((!q.is_empty()).then(|| column.contains([&q])));
        let search = search.and(stale.then(|| by::STALE.is_so(true))).by(by::NAME.ascending());
        search.page(turned.skip(), turned.most())
    };
    let mut db = app.pages().await?;
    let mut rows = ASSETS.rows(&mut db, &named(by::URI)).await?;
    if rows.is_empty() && !q.is_empty() {
        rows = ASSETS.rows(&mut db, &named(by::NAME)).await?;
    }
    let (before, after) = turned.cut(&mut rows, |page| format!("/assets?page={page}{}", filters.rest(&[])));
    let uses = uses_of(&mut db, &rows.iter().map(|row| row.id).collect::<Vec<_>>()).await?;
    let page = AssetsPage {
        lines: rows.into_iter().map(|row| line(row, &uses, &shell)).collect(),
        before,
        after,
        shell,
        q,
        stale,
        rest: filters.rest(&["state"]),
        filters,
    };
    html(StatusCode::OK, &page)
}

fn line(row: AssetRow, uses: &[UseRow], shell: &Shell) -> ListedAsset {
    let dags = |role: &str| {
        let mut dags: Vec<String> =
            uses.iter().filter(|u| u.asset == row.id && u.role == role).map(|u| u.dag_id.clone()).collect();
        dags.dedup();
        dags
    };
    ListedAsset {
        fresh: fresh(&row),
        updated: row.last_event_at.map(|at| parts::ago(at, shell.now)),
        made_by: dags("outlet"),
        waited_by: dags("schedule"),
        href: href(row.id),
        uri: (row.uri != row.name).then_some(row.uri),
        name: row.name,
    }
}
