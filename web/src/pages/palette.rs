//! `/palette?q=…`: what the command palette lists: DAGs, what one may do with them, and pages. A fragment, not a page.

use super::{Shell, html};
use crate::extract::Query;
use crate::parts::{self, dag_href};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_store::dag::{DAGS, by};
use orch_store::list::Search;
use orch_store::overview::last_runs;

#[derive(Template)]
#[template(path = "pages/palette.html")]
struct Palette {
    dags: Vec<Dag>,
    actions: Vec<PaletteItem>,
    pages: Vec<PaletteItem>,
}

struct Dag {
    name: String,
    href: String,
    state: parts::State,
    words: String,
}

struct PaletteItem {
    icon: &'static str,
    words: String,
    href: String,
}

const MOST_DAGS: i64 = 8;
/// Of the first DAGs only: with many the actions would hide them.
const MOST_ACTIONS: usize = 3;
const PAGES: &[(&str, &str, &str)] = &[
    ("home", "Home", "/"),
    ("dag", "All DAGs", "/dags"),
    ("dag", "Failing DAGs", "/dags?state=failing"),
    ("dag", "Paused DAGs", "/dags?state=paused"),
    ("runs", "All runs", "/runs"),
    ("runs", "Running runs", "/runs?state=running"),
    ("group", "Pools", "/pools"),
    ("asset", "Assets", "/assets"),
    ("asset", "Stale assets", "/assets?state=stale"),
    ("dag", "Lineage", "/assets/lineage"),
    ("check", "Quality", "/quality"),
    ("clock", "Monitoring", "/monitoring"),
    ("lake", "Lake", "/lake"),
    ("chart", "Dashboards", "/dashboards"),
    ("code", "SQL", "/sql"),
    ("runs", "Topics", "/topics"),
    ("stream", "Streams", "/streams"),
    ("db", "Connections", "/connections"),
    ("key", "Variables", "/variables"),
    ("gear", "Workers", "/workers"),
    ("hand", "Alerts", "/alerts"),
    ("user", "Approvals", "/approvals"),
    ("file", "Audit log", "/audit"),
    ("user", "Account", "/account"),
];

pub(crate) async fn show(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let q = query.text("q").unwrap_or_default().trim().to_lowercase();
    let search = Search::default().and(by::LIVE.holds()).and((!q.is_empty()).then(|| by::NAME.has(&q)));
    let mut db = app.pages().await?;
    let rows = DAGS.rows(&mut db, &search.page(0, MOST_DAGS)).await?;
    let ids: Vec<String> = rows.iter().map(|row| row.dag_id.clone()).collect();
    let runs = last_runs(&mut db, &ids, 1).await?;
    let dags = rows.iter().map(|row| {
        let last = runs.iter().find(|run| run.dag_id == row.dag_id);
        let (state, words) = match last {
            _ if row.is_paused => ("paused", "paused".to_string()),
            None => ("no_status", "never ran".into()),
            Some(run) => (run.state.as_str(), parts::words(run.state.as_str())),
        };
        Dag { name: row.dag_id.clone(), href: dag_href(&row.dag_id), state: parts::bare(state), words }
    });
    let named = if q.is_empty() || !shell.can_run() { &[][..] } else { &ids[..ids.len().min(MOST_ACTIONS)] };
    let actions = named.iter().map(|id| PaletteItem {
        icon: "play",
        words: format!("Trigger {id}…"),
        href: format!("{}/trigger", dag_href(id)),
    });
    let pages = PAGES.iter().filter(|(_, words, _)| words.to_lowercase().contains(&q));
    let pages = pages.map(|&(icon, words, href)| PaletteItem { icon, words: words.into(), href: href.into() });
    let page = Palette { dags: dags.collect(), actions: actions.collect(), pages: pages.collect() };
    html(StatusCode::OK, &page)
}
