//! `/assets/{asset_id}`: the producers and consumers of an asset, its updates, and the lineage of its data.

use super::lineage::{self, LineageGraph};
use super::lines::{CheckLine, EdgeLine, EventLine};
use super::{fresh, href};
use crate::api::assets::{find, producer};
use crate::extract::Names;
use crate::pages::dag::graph::drawing::Drawing;
use crate::pages::{Shell, html};
use crate::parts::{self, dag_href};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_spec::AssetRef;
use orch_store::asset::{
    AssetRow, CHECKS, EVENTS, aliases_of, check_by, edges_of_asset, event_by, runs_of_events, uses_of,
    what_dag_waits_for,
};
use orch_store::list::{ListPage, Search};

#[derive(Template)]
#[template(path = "pages/assets/asset.html")]
struct AssetPage {
    shell: Shell,
    name: String,
    href: String,
    fresh: Option<bool>,
    updated: Option<parts::Ago>,
    /// Why the asset is stale, if it is.
    stale: Option<(parts::Ago, String)>,
    drawing: Option<Drawing>,
    lineage_href: String,
    waiting: Vec<WaitingDag>,
    events: Vec<EventLine>,
    total: i64,
    edges: Vec<EdgeLine>,
    checks: Vec<CheckLine>,
    facts: Vec<(&'static str, String)>,
    /// True if exactly one DAG produces the asset, so it can be started from here.
    has_one_maker: bool,
}

struct WaitingDag {
    dag_id: String,
    href: String,
    /// Number of updated assets, such as `2 of 3 assets updated`.
    words: String,
}

const MOST_EVENTS: i64 = 50;
const MOST_EDGES: i64 = 50;
/// Maximum number of results of all checks together.
const MOST_CHECKS: i64 = 1_000;
/// Maximum number of waiting DAGs.
const MOST_WAITING: usize = 20;
/// Depth of the lineage picture: tasks that produce or read the asset, and the data that they read or produce.
const STEPS: usize = 2;

pub(crate) async fn show(State(app): State<App>, shell: Shell, names: Names) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let row = find(&mut db, &names).await?;
    let uses = uses_of(&mut db, &[row.id]).await?;
    let aliases = aliases_of(&mut db, &[row.id]).await?;
    let search = Search::default().and(event_by::ASSET.is(row.id)).by(event_by::AT.descending());
    let ListPage { rows: events, total } = EVENTS.find(&mut db, &search.page(0, MOST_EVENTS)).await?;
    let runs = runs_of_events(&mut db, &events.iter().map(|event| event.id).collect::<Vec<_>>()).await?;
    let edges = edges_of_asset(&mut db, &row.uri, MOST_EDGES).await?;
    let search = Search::default().and(check_by::URI.is(&row.uri)).page(0, MOST_CHECKS);
    let checks = CHECKS.rows(&mut db, &search).await?;
    let mut waiting = Vec::new();
    for scheduled in uses.iter().filter(|u| u.role == "schedule").take(MOST_WAITING) {
        let waits = what_dag_waits_for(&mut db, &mut app.versions.clone(), &scheduled.dag_id).await?;
        let words = in_words(&waits);
        waiting.push(WaitingDag { href: dag_href(&scheduled.dag_id), dag_id: scheduled.dag_id.clone(), words });
    }
    let page = AssetPage {
        has_one_maker: producer(&mut db, row.id).await.is_ok(),
        fresh: fresh(&row),
        updated: row.last_event_at.map(|at| parts::ago(at, shell.now)),
        stale: row.stale_since.map(|since| {
            let last = row.last_event_at.map_or_else(
                || "it was never updated".into(),
                |at| format!("the last update was {}", shell.now.written(at, "%-d %b, %H:%M:%S")),
            );
            (parts::ago(since, shell.now), last)
        }),
        drawing: LineageGraph::read(&mut db).await?.near(&app, &mut db, &row.uri, STEPS, shell.now).await?,
        lineage_href: lineage::href(&row.uri),
        events: events.into_iter().map(|event| EventLine::new(event, &runs, shell.now)).collect(),
        edges: edges.into_iter().map(|edge| EdgeLine::new(edge, shell.now)).collect(),
        checks: CheckLine::all(&checks, shell.now),
        facts: facts(&row, &aliases.iter().map(|(_, alias)| alias.name.clone()).collect::<Vec<_>>()),
        href: href(row.id),
        name: row.name,
        total,
        waiting,
        shell,
    };
    html(StatusCode::OK, &page)
}

/// Returns the number of updated assets, such as `2 of 3 assets updated`.
pub(crate) fn in_words(waits: &[orch_core::asset::Waiting]) -> String {
    let updated = waits.iter().filter(|w| w.updated).count();
    let what = if waits.iter().all(|w| matches!(w.of, AssetRef::Asset(_))) { "asset" } else { "asset or alias" };
    match waits.len() {
        1 if updated == 1 => format!("the {what} was updated"),
        1 => format!("waits for 1 {what}"),
        all => format!("{updated} of {all} {}s updated", what.replace(" or alias", "s or aliase")),
    }
}

fn facts(row: &AssetRow, aliases: &[String]) -> Vec<(&'static str, String)> {
    let within = row.fresh_within_ms.map(|ms| parts::duration(chrono::TimeDelta::milliseconds(ms)));
    let extra = row.extra.as_object().filter(|extra| !extra.is_empty()).map(|_| row.extra.to_string());
    let mut facts = vec![
        ("URI", row.uri.clone()),
        ("Group", row.group_name.clone()),
        ("Fresh within", within.unwrap_or_default()),
        ("Aliases", aliases.join(", ")),
        ("Extra", extra.unwrap_or_default()),
    ];
    facts.retain(|(_, value)| !value.is_empty());
    facts
}
