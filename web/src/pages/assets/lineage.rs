//! `/assets/lineage`: the lineage of data across all DAGs, with the latest state of each task, stream and asset. The
//! query selects the center and the direction.

pub(in crate::pages) mod map;

use super::fresh;
use crate::extract::Query;
use crate::graph::Flow::Right;
use crate::pages::dag::graph::drawing::{Drawing, DrawnNode, laid_out};
use crate::pages::home::task_href;
use crate::pages::{Shell, encoded, html, streams};
use crate::parts::{self, ZonedNow, dag_href};
use crate::refusal::Refusal;
use crate::state::{App, Inner};
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use map::{Map, Reach, Thing};
use orch_spec::state::TaskState;
use orch_store::asset::{ASSETS, AssetRow, by, flows};
use orch_store::instance::ledgers;
use orch_store::list::Search;
use orch_store::overview::last_runs;
use orch_store::stream::{StreamRow, StreamState, find_streams};
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Template)]
#[template(path = "pages/assets/lineage.html")]
struct LineagePage {
    shell: Shell,
    of: String,
    /// Address of this page with the current selection.
    href: String,
    reach: &'static str,
    drawing: Option<Drawing>,
    /// Number of things in the graph, including a graph that is too large to draw.
    things: usize,
    names: Vec<String>,
    /// Page of the selected thing.
    itself: Option<String>,
}

/// Maximum number of flows recorded by tasks; flows that DAGs declare are always included.
const RECENT: i64 = 5_000;
/// Larger graphs are not drawn because they are unreadable.
const MOST_THINGS: usize = 300;
/// Maximum number of names in the selection list.
const MOST_NAMES: usize = 1_000;
pub(crate) const REACHES: [(&str, Reach); 3] = [("both", Reach::Both), ("up", Reach::Up), ("down", Reach::Down)];

/// Lineage of all known data.
pub(in crate::pages) struct LineageGraph {
    map: Map,
    streams: Vec<StreamRow>,
}

impl LineageGraph {
    pub(in crate::pages) async fn read(db: &mut PgConnection) -> Result<LineageGraph, Refusal> {
        let flows = flows(db, RECENT).await?;
        let streams = find_streams(db, &Search::default()).await?.rows;
        Ok(LineageGraph { map: Map::of(&flows, &streams), streams })
    }

    /// Draws everything within `steps` edges of `uri`. `None` if there is nothing, or too much, to draw.
    pub(in crate::pages) async fn near(
        &self,
        app: &Inner,
        db: &mut PgConnection,
        uri: &str,
        steps: usize,
        now: ZonedNow,
    ) -> Result<Option<Drawing>, Refusal> {
        let here = BTreeSet::from([Thing::data(uri)]);
        draw(app, db, &self.map.around(&here, Reach::Both, steps), &here, &self.streams, now).await
    }
}

/// Returns the address of the lineage of `name`.
pub(in crate::pages) fn href(name: &str) -> String {
    format!("/assets/lineage?of={}", encoded(name))
}

pub(crate) async fn show(State(app): State<App>, shell: Shell, mut query: Query) -> Result<Response, Refusal> {
    let of = query.text("of").unwrap_or_default().trim().to_string();
    let asked = query.text("reach").unwrap_or_default();
    let (word, reach) = REACHES.into_iter().find(|(word, _)| *word == asked).unwrap_or(REACHES[0]);
    query.finish()?;
    let mut db = app.pages().await?;
    let known = LineageGraph::read(&mut db).await?;
    let mut here = known.map.called(&of);
    if here.is_empty() && !of.is_empty() {
        let named = ASSETS.rows(&mut db, &Search::default().and(by::NAME.is(&of)).page(0, 10)).await?;
        here = named.iter().flat_map(|row| known.map.called(&row.uri)).collect();
    }
    let around = if of.is_empty() { None } else { Some(known.map.around(&here, reach, usize::MAX)) };
    let shown = around.as_ref().unwrap_or(&known.map);
    let things = shown.things().len();
    let drawing = draw(&app, &mut db, shown, &here, &known.streams, shell.now).await?;
    let mut names: BTreeSet<String> = known.map.things().iter().map(Thing::name).collect();
    names.extend(known.map.things().iter().filter_map(|thing| match thing {
        Thing::Task(dag_id, _) => Some(dag_id.clone()),
        _ => None,
    }));
    let page = LineagePage {
        itself: match here.first() {
            Some(thing) if here.len() == 1 => page_of(thing, &assets(&mut db, &[thing]).await?),
            Some(Thing::Task(dag_id, _)) => Some(dag_href(dag_id)),
            _ => None,
        },
        names: names.into_iter().take(MOST_NAMES).collect(),
        href: href(&of),
        reach: word,
        drawing,
        things,
        of,
        shell,
    };
    html(StatusCode::OK, &page)
}

/// Returns the assets among `things`, by URI.
async fn assets(db: &mut PgConnection, things: &[&Thing]) -> Result<BTreeMap<String, AssetRow>, Refusal> {
    let uris = things.iter().filter_map(|thing| match thing {
        Thing::Data(uri) => Some(uri.as_str()),
        _ => None,
    });
    let search = Search::default().and(by::URI.any_of(uris));
    Ok(ASSETS.rows(db, &search).await?.into_iter().map(|row| (row.uri.clone(), row)).collect())
}

/// Returns the page of a thing; `None` for data that is not a registered asset.
fn page_of(thing: &Thing, assets: &BTreeMap<String, AssetRow>) -> Option<String> {
    match thing {
        Thing::Task(dag_id, _) | Thing::Dag(dag_id) => Some(dag_href(dag_id)),
        Thing::Stream(name) => Some(streams::href(name)),
        Thing::Data(uri) => assets.get(uri).map(|row| super::href(row.id)),
    }
}

async fn draw(
    app: &Inner,
    db: &mut PgConnection,
    map: &Map,
    here: &BTreeSet<Thing>,
    rows: &[StreamRow],
    now: ZonedNow,
) -> Result<Option<Drawing>, Refusal> {
    if map.things().is_empty() || map.things().len() > MOST_THINGS {
        return Ok(None);
    }
    let things: Vec<&Thing> = map.in_order();
    let assets = assets(db, &things).await?;
    let tasks = last_tasks(app, db, &things).await?;
    let mut shown = Vec::new();
    for thing in &things {
        // A selected thing links to its page; any other thing links to its own lineage.
        let page = if here.contains(*thing) { page_of(thing, &assets) } else { None };
        let (state, detail, page) = match thing {
            Thing::Data(uri) => of_data(uri, assets.get(uri), now, page),
            Thing::Stream(name) => of_stream(rows.iter().find(|row| row.name == *name), page),
            Thing::Dag(_) => (None, "DAG".to_string(), page),
            Thing::Task(dag_id, task_id) => match tasks.get(&(dag_id.as_str(), task_id.as_str())) {
                Some((state, run_href)) => {
                    let page = page.map(|_| task_href(run_href, task_id, -1));
                    (Some(*state), parts::short(dag_id, MOST_DETAIL).into_owned(), page)
                }
                None => (None, parts::short(dag_id, MOST_DETAIL).into_owned(), page),
            },
        };
        shown.push(DrawnNode { state, detail, href: page.unwrap_or_else(|| href(&thing.name())) });
    }
    let details = things.iter().zip(&shown).map(|(thing, shown)| (*thing, shown.detail.clone())).collect();
    let chosen = things.iter().position(|thing| here.len() == 1 && here.contains(*thing));
    let graph = map.graph(&details);
    let Some((graph, layout)) = laid_out(move || Some(graph), Right).await? else { return Ok(None) };
    Ok(Some(Drawing { name: "Lineage", graph, layout, nodes: shown, zoom: Some(100), chosen, folds: Vec::new() }))
}

const MOST_DETAIL: usize = 36;

/// Returns the state of each task in the last run of its DAG, with the address of that run.
async fn last_tasks<'a>(
    app: &Inner,
    db: &mut PgConnection,
    things: &[&'a Thing],
) -> Result<BTreeMap<(&'a str, &'a str), (TaskState, String)>, Refusal> {
    let mut of_dags: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for thing in things {
        if let Thing::Task(dag_id, task_id) = thing {
            of_dags.entry(dag_id).or_default().push(task_id);
        }
    }
    let dag_ids: Vec<String> = of_dags.keys().map(ToString::to_string).collect();
    let runs = last_runs(db, &dag_ids, 1).await?;
    let ids: Vec<_> = runs.iter().map(|run| run.id).collect();
    let mut states = BTreeMap::new();
    for (id, ledger) in ledgers(db, &mut app.versions.clone(), &ids).await? {
        let Some(run) = runs.iter().find(|run| run.id == id) else { continue };
        let Some((dag_id, tasks)) = of_dags.get_key_value(run.dag_id.as_str()) else { continue };
        let run_href = format!("{}/runs/{}", dag_href(dag_id), encoded(&run.run_id));
        for task_id in tasks {
            if let Some(task) = ledger.version.plan.index_of(task_id) {
                states.insert((*dag_id, *task_id), (ledger.run.task(task), run_href.clone()));
            }
        }
    }
    Ok(states)
}

fn of_data(
    uri: &str,
    row: Option<&AssetRow>,
    now: ZonedNow,
    page: Option<String>,
) -> (Option<TaskState>, String, Option<String>) {
    let kind = match uri.split_once("://").map_or("", |(scheme, _)| scheme) {
        "lake" => "table of the lake",
        "postgres" => "table in Postgres",
        "mysql" => "table in MySQL",
        "kafka" => "topic",
        "bucket" | "s3" | "s3a" | "gs" => "objects",
        "file" | "sample" => "files",
        "http" | "https" => "service",
        _ => "asset",
    };
    let since = |at| parts::duration(now - at);
    let (state, detail) = match row {
        Some(row) if row.stale_since.is_some() => {
            (Some(TaskState::Failed), row.stale_since.map_or_else(String::new, |at| format!("stale for {}", since(at))))
        }
        Some(row) => {
            let updated = row.last_event_at.map_or_else(|| kind.into(), |at| format!("{kind}, {} ago", since(at)));
            (fresh(row).map(|_| TaskState::Success), updated)
        }
        None => (None, kind.into()),
    };
    (state, detail, page)
}

fn of_stream(row: Option<&StreamRow>, page: Option<String>) -> (Option<TaskState>, String, Option<String>) {
    let state = row.map(StreamRow::state);
    let icon = match state {
        Some(StreamState::Running) => Some(TaskState::Running),
        Some(StreamState::Failed) => Some(TaskState::Failed),
        _ => None,
    };
    (icon, state.map_or_else(|| "stream".into(), |state| format!("stream, {}", state.name())), page)
}
