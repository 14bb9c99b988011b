//! `/palette?q=…`: the entries of the command palette: DAGs and actions on them, tasks, assets, tables, dashboards and
//! pages. The response is an HTML fragment, not a page.

use super::{Shell, encoded, html};
use crate::auth::Role;
use crate::dashboards::list as list_dashboards;
use crate::extract::Query;
use crate::known_names::KnownDag;
use crate::parts::{self, dag_href};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_store::asset::{ASSETS, by as asset_by};
use orch_store::dag::{DAGS, by};
use orch_store::lake_view::TableId;
use orch_store::list::Search;
use orch_store::overview::last_runs;
use sqlx::PgConnection;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "pages/palette.html")]
struct Palette {
    groups: Vec<Group>,
}

struct Group {
    kind: &'static str,
    /// Used as part of the hits' element ids.
    id: &'static str,
    hits: Vec<Hit>,
}

struct Hit {
    /// Shown instead of an icon.
    state: Option<parts::State>,
    icon: &'static str,
    words: String,
    /// Kind or state of the hit.
    note: String,
    href: String,
}

/// Maximum number of hits of each kind.
const MOST_HITS: usize = 8;
/// Number of DAGs whose actions are listed. With more, the actions would hide the DAGs.
const MOST_ACTIONS: usize = 3;
/// Maximum number of search words; further words are ignored.
const MOST_WORDS: usize = 8;
/// Maximum number of matching assets read, from which the best are shown.
const MOST_ASSETS: i64 = 200;
const PAGES: &[(&str, &str, &str)] = &[
    ("home", "Home", "/"),
    ("dag", "All DAGs", "/dags"),
    ("dag", "Failing DAGs", "/dags?state=failing"),
    ("dag", "Paused DAGs", "/dags?state=paused"),
    ("runs", "All runs", "/runs"),
    ("runs", "Running runs", "/runs?state=running"),
    ("runs", "Queued runs", "/runs?state=queued"),
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
    let asked = Asked::new(query.text("q").unwrap_or_default());
    let mut db = app.pages().await?;
    let known: Arc<[KnownDag]> = if asked.is_empty() { Arc::default() } else { app.known_names.dags(&mut db).await? };
    let dags = dags(&mut db, &asked, &known).await?;
    let triggers = if asked.is_empty() || !shell.can_run() { &[][..] } else { &dags[..dags.len().min(MOST_ACTIONS)] };
    let actions = triggers.iter().map(|dag| Hit::new("play", format!("Trigger {}…", dag.words), &dag.href, "/trigger"));
    let actions: Vec<Hit> = actions.collect();
    let (assets, tables) =
        if asked.is_empty() { (Vec::new(), Vec::new()) } else { assets(&app, &mut db, &asked).await? };
    drop(db);
    let dashboards = if asked.is_empty() { Vec::new() } else { dashboards(&app, &shell, &asked).await? };
    let pages = PAGES.iter().filter(|(_, words, _)| asked.is_in(&[&words.to_lowercase()]));
    let pages: Vec<Hit> = pages.map(|&(icon, words, href)| Hit::new(icon, words.into(), href, "")).collect();
    let group = |kind, id, hits| Group { kind, id, hits };
    let groups = [
        group("DAGs", "d", dags),
        group("Actions", "a", actions),
        group("Tasks", "k", tasks(&asked, &known)),
        group("Assets", "s", assets),
        group("Tables", "t", tables),
        group("Dashboards", "b", dashboards),
        group("Pages", "p", pages),
    ];
    let groups = groups.into_iter().filter(|group| !group.hits.is_empty()).collect();
    html(StatusCode::OK, &Palette { groups })
}

impl Hit {
    fn new(icon: &'static str, words: String, href: &str, below: &str) -> Hit {
        Hit { state: None, icon, words, note: String::new(), href: format!("{href}{below}") }
    }

    fn noted(self, note: String) -> Hit {
        Hit { note, ..self }
    }
}

/// Search words. All must match, in any order and case.
struct Asked {
    words: Vec<String>,
    /// All words, normalized by `plain`.
    whole: String,
}

impl Asked {
    fn new(text: &str) -> Asked {
        let text = text.to_lowercase();
        let words: Vec<String> = text.split_whitespace().take(MOST_WORDS).map(String::from).collect();
        Asked { whole: plain(&words.join(" ")), words }
    }

    fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Returns true if each word occurs in one of the texts, which must be in lower case.
    fn is_in(&self, texts: &[&str]) -> bool {
        self.words.iter().all(|word| texts.iter().any(|text| text.contains(word)))
    }

    fn has_word_in(&self, text: &str) -> bool {
        self.words.iter().any(|word| text.contains(word))
    }

    /// Ranks a name, best first: equal to the text, starting with it, starting with a word, containing the words.
    fn rank(&self, name: &str) -> usize {
        let name = plain(name);
        let begins_with_one = || self.words.iter().any(|word| name.starts_with(&plain(word)));
        match name.strip_prefix(&self.whole) {
            Some("") => 0,
            Some(_) => 1,
            None if begins_with_one() => 2,
            None => 3,
        }
    }
}

/// Normalizes a name, so that `Load orders` finds `load_orders`.
fn plain(name: &str) -> String {
    name.to_lowercase().replace(['_', '-', '.', '/'], " ")
}

/// Returns the best hits. Hits of the same rank keep their order.
fn best<T>(found: impl Iterator<Item = (usize, T)>) -> Vec<T> {
    let mut found: Vec<(usize, T)> = found.collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().take(MOST_HITS).map(|(_, hit)| hit).collect()
}

async fn dags(db: &mut PgConnection, asked: &Asked, known: &[KnownDag]) -> Result<Vec<Hit>, Refusal> {
    let rows = if asked.is_empty() {
        DAGS.rows(db, &Search::default().and(by::LIVE.holds()).page(0, MOST_HITS as i64)).await?
    } else {
        let ids = best(known.iter().filter_map(|dag| Some((rank_of_dag(asked, dag)?, &dag.dag_id))));
        let ids: Vec<String> = ids.into_iter().cloned().collect();
        let mut rows = DAGS.rows(db, &Search::default().and(by::DAG_ID.any_of(ids.clone()))).await?;
        rows.sort_by_key(|row| ids.iter().position(|id| *id == row.dag_id));
        rows
    };
    let ids: Vec<String> = rows.iter().map(|row| row.dag_id.clone()).collect();
    let runs = last_runs(db, &ids, 1).await?;
    let hits = rows.iter().map(|row| {
        let last = runs.iter().find(|run| run.dag_id == row.dag_id);
        let (state, note) = match last {
            _ if row.is_paused => ("paused", "paused".to_string()),
            None => ("no_status", "never ran".into()),
            Some(run) => (run.state.as_str(), parts::words(run.state.as_str())),
        };
        let hit = Hit::new("dag", row.dag_id.clone(), &dag_href(&row.dag_id), "").noted(note);
        Hit { state: Some(parts::bare(state)), ..hit }
    });
    Ok(hits.collect())
}

/// Ranks a DAG by its id and aliases. `None` if it does not match.
fn rank_of_dag(asked: &Asked, dag: &KnownDag) -> Option<usize> {
    let names: Vec<String> = [&dag.dag_id].into_iter().chain(&dag.aliases).map(|name| name.to_lowercase()).collect();
    let texts: Vec<&str> = names.iter().map(String::as_str).collect();
    if asked.is_in(&texts) { names.iter().map(|name| asked.rank(name)).min() } else { None }
}

/// Finds tasks. A word must match the task id itself, or the name of a DAG would find all of its tasks.
fn tasks(asked: &Asked, known: &[KnownDag]) -> Vec<Hit> {
    let found = known.iter().flat_map(|dag| {
        let of = dag.dag_id.to_lowercase();
        let all = dag.task_ids.to_lowercase();
        // This check of all task ids at once skips most DAGs without a check of each task.
        let may_have = asked.has_word_in(&all) && asked.is_in(&[&of, &all]);
        let ids = if may_have { &*dag.task_ids } else { "" };
        ids.lines().filter_map(move |id| {
            let own = id.to_lowercase();
            let fits = asked.has_word_in(&own) && asked.is_in(&[&own, &of]);
            fits.then(|| (asked.rank(id), (&dag.dag_id, id)))
        })
    });
    let hits = best(found).into_iter().map(|(dag_id, id)| {
        let below = format!("/graph?task={}", encoded(id));
        Hit::new("gear", id.into(), &dag_href(dag_id), &below).noted(format!("task of {dag_id}"))
    });
    hits.collect()
}

/// Finds assets by name or URI, and the lake tables that belong to them.
async fn assets(app: &App, db: &mut PgConnection, asked: &Asked) -> Result<(Vec<Hit>, Vec<Hit>), Refusal> {
    let search = asked.words.iter().fold(Search::default(), |all, word| all.and(asset_by::NAME_OR_URI.has(word)));
    let rows = ASSETS.rows(db, &search.by(asset_by::NAME.ascending()).page(0, MOST_ASSETS)).await?;
    let has_lake = app.config.lake.is_there();
    let tables = rows.iter().filter(|_| has_lake).filter_map(|row| TableId::of_asset(&row.uri));
    let tables = best(tables.map(|id| (asked.rank(&id.name).min(asked.rank(&id.to_string())), id)));
    let tables = tables
        .into_iter()
        .map(|id| Hit::new("lake", id.to_string(), &super::lake::href(&id), "").noted("table".into()));
    let tables: Vec<Hit> = tables.collect();
    let assets = best(rows.into_iter().map(|row| (asked.rank(&row.name), row))).into_iter();
    let assets = assets.map(|row| {
        let note = if row.stale_since.is_some() { "stale asset" } else { "asset" };
        Hit::new("asset", row.name, &super::assets::href(row.id), "").noted(note.into())
    });
    Ok((assets.collect(), tables))
}

/// Finds dashboards by title or name, among those that the user may read.
async fn dashboards(app: &App, shell: &Shell, asked: &Asked) -> Result<Vec<Hit>, Refusal> {
    let role = shell.user.as_ref().map_or(Role::Viewer, |user| user.role);
    let all = list_dashboards(app, role).await?.into_iter().map(|shown| shown.dashboard);
    let found = all.filter(|one| asked.is_in(&[&one.title.to_lowercase(), &one.name.to_lowercase()]));
    let hits = best(found.map(|one| (asked.rank(&one.title).min(asked.rank(&one.name)), one))).into_iter();
    let hits =
        hits.map(|one| Hit::new("chart", one.title, &super::dashboards::href(&one.name), "").noted("dashboard".into()));
    Ok(hits.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_name_comes_before_its_beginning_and_that_before_the_rest() {
        let asked = Asked::new("  Load ORDERS ");
        let names = ["orders_to_load", "reload_orders", "load_orders_again", "load_orders", "first_load_of_orders"];
        let found = names.into_iter().filter(|name| asked.is_in(&[name])).map(|name| (asked.rank(name), name));
        let expected = ["load_orders", "load_orders_again", "orders_to_load", "reload_orders", "first_load_of_orders"];
        assert_eq!(best(found), expected);
        assert!(!asked.is_in(&["load_customers", "customers"]) && asked.is_in(&["load", "orders"]));
        assert!(Asked::new(" ").is_empty() && Asked::new("").is_in(&["anything"]));
    }
}
