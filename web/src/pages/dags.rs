//! `/dags`: all DAGs with their last runs. Filters and page number are in the query.

pub(crate) mod change;

use super::filters::Filters;
use super::{Shell, encoded, html, see_other};
use crate::api::dags::set_paused as set_paused_of;
use crate::extract::{Actor, DagPath, Form, Query, no_such_dag};
use crate::parts::{self, Bars, ZonedNow, dag_href};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_spec::state::RunState;
use orch_store::dag::{DAGS, DagRow, add_favorite, by, favorites, remove_favorite, resolve};
use orch_store::list::{ListPage, Search};
use orch_store::overview::{RunMark, failing, last_runs, running_runs, successes_with_failed_tasks};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use uuid::Uuid;

#[derive(Template)]
#[template(path = "pages/dags.html")]
struct DagsPage {
    shell: Shell,
    q: String,
    state: &'static str,
    /// The filters without the state, to append to `/dags?`.
    rest: String,
    filters: Filters,
    all: i64,
    failing: usize,
    running: usize,
    favorites: usize,
    lines: Vec<ListedDag>,
    first: i64,
    last: i64,
    total: i64,
    back: Option<String>,
    on: Option<String>,
}

struct ListedDag {
    dag_id: String,
    href: String,
    is_paused: bool,
    is_stale: bool,
    is_favorite: bool,
    description: String,
    tags: Vec<(String, String)>,
    bars: Bars,
    latest: Option<Latest>,
    next: Option<parts::Moment>,
    schedule: String,
    owners: String,
}

impl ListedDag {
    fn star(&self) -> &'static str {
        if self.is_favorite { "star-on" } else { "star" }
    }
}

pub(super) struct Latest {
    state: parts::State,
    href: String,
    ago: Option<parts::Ago>,
    took: Option<String>,
}

pub(crate) const STATES: [&str; 5] = ["all", "favorites", "failing", "running", "paused"];
/// The page never shows stale DAGs, which no worker has any more.
pub(crate) const OWN: &[&str] = &["exclude_stale"];
const OF_A_PAGE: i64 = 50;
const HISTORY: usize = 25;
const MOST_OF_A_STATE: i64 = 1_000;

pub(crate) async fn show(State(app): State<App>, shell: Shell, mut query: Query) -> Result<Response, Refusal> {
    let page = query.count("page", 1).clamp(1, 100_000);
    let q = query.text("q").unwrap_or_default().trim().to_string();
    let asked = query.text("state").unwrap_or("all");
    let state = STATES.into_iter().find(|state| *state == asked).unwrap_or("all");
    let skip = (page - 1) * OF_A_PAGE;
    let (asked, filters) = Filters::read(query, DAGS.columns, OWN, shell.now)?;
    let search = search(asked, &q).and(by::LIVE.holds()).page(skip, OF_A_PAGE);
    let mut db = app.pages().await?;
    let (failed, running) = (failing(&mut db, MOST_OF_A_STATE).await?, running_runs(&mut db, MOST_OF_A_STATE).await?);
    let running: BTreeSet<String> = running.into_iter().map(|run| run.dag_id).collect();
    let (failing, running_count) = (failed.len(), running.len());
    let liked: BTreeSet<String> = match &shell.user {
        Some(user) => favorites(&mut db, &user.name, MOST_OF_A_STATE).await?.into_iter().collect(),
        None => BTreeSet::new(),
    };
    let of_state = match state {
        "favorites" => Some(by::DAG_ID.any_of(liked.iter().cloned())),
        "failing" => Some(by::DAG_ID.any_of(failed.into_iter().map(|run| run.dag_id))),
        "running" => Some(by::DAG_ID.any_of(running)),
        "paused" => Some(by::PAUSED.is_so(true)),
        _ => None,
    };
    let ListPage { rows, total } = DAGS.find(&mut db, &search.and(of_state)).await?;
    let ids: Vec<String> = rows.iter().map(|row| row.dag_id.clone()).collect();
    let history = last_runs(&mut db, &ids, HISTORY as i64).await?;
    let mut by_dag: BTreeMap<&str, Vec<RunMark>> = BTreeMap::new();
    history.iter().for_each(|run| by_dag.entry(&run.dag_id).or_default().push(run.clone()));
    let successes: Vec<Uuid> = history.iter().filter(|run| run.state == RunState::Success).map(|run| run.id).collect();
    let partly_failed = successes_with_failed_tasks(&mut db, &successes).await?;
    let shown = rows.len() as i64;
    let lines = rows.into_iter().map(|row| {
        let runs = by_dag.remove(row.dag_id.as_str()).unwrap_or_default();
        let is_favorite = liked.contains(&row.dag_id);
        ListedDag { is_favorite, ..line(row, &runs, &partly_failed, shell.now) }
    });
    let rest = filters.rest(&["state"]);
    let turned = |page: i64| format!("/dags?state={state}{rest}&page={page}");
    let page = DagsPage {
        lines: lines.collect(),
        first: if shown == 0 { 0 } else { skip + 1 },
        last: skip + shown,
        total,
        back: (page > 1).then(|| turned(page - 1)),
        on: (skip + shown < total).then(|| turned(page + 1)),
        all: shell.pulse.map_or(total, |pulse| pulse.dags),
        failing,
        running: running_count,
        favorites: liked.len(),
        q,
        state,
        rest,
        filters,
        shell,
    };
    html(StatusCode::OK, &page)
}

/// Applies a search text: `tag:…` and `owner:…` filter by tag and owner, and the rest matches a part of the name.
fn search(mut search: Search, q: &str) -> Search {
    let (mut owners, mut name) = (Vec::new(), Vec::new());
    for word in q.split_whitespace() {
        match word.split_once(':') {
            Some(("tag", tag)) if !tag.is_empty() => search = search.and(by::TAGS.is(tag)),
            Some(("owner", owner)) if !owner.is_empty() => owners.push(owner),
            _ => name.push(word),
        }
    }
    let owned = (!owners.is_empty()).then(|| by::OWNERS.any_of(owners));
    search.and(owned).and((!name.is_empty()).then(|| by::NAME.has(name.join(" "))))
}

fn line(row: DagRow, runs: &[RunMark], partly_failed: &HashSet<Uuid>, now: ZonedNow) -> ListedDag {
    let tags = row.tags.into_iter().map(|tag| {
        let href = format!("/dags?q=tag:{}", encoded(&tag));
        (tag, href)
    });
    ListedDag {
        href: dag_href(&row.dag_id),
        is_paused: row.is_paused,
        is_stale: row.is_stale,
        is_favorite: false,
        description: row.description,
        tags: tags.collect(),
        bars: Bars::new(&row.dag_id, runs, partly_failed, now, HISTORY),
        latest: latest(runs, now),
        next: row.next_run_after.filter(|_| !row.is_paused).map(|at| parts::moment(at, now)),
        schedule: if row.is_paused { "paused".into() } else { row.schedule_text },
        owners: row.owners.join(", "),
        dag_id: row.dag_id,
    }
}

pub(super) fn latest(runs: &[RunMark], now: ZonedNow) -> Option<Latest> {
    let run = runs.first()?;
    Some(Latest {
        state: parts::state(run.state.as_str()),
        href: format!("{}/runs/{}", dag_href(&run.dag_id), encoded(&run.run_id)),
        ago: run.ended_at.or((run.state == RunState::Queued).then_some(run.created_at)).map(|at| parts::ago(at, now)),
        took: run.active_time(now.at).map(parts::duration),
    })
}

/// `POST /dags/{dag_id}/paused`: sets `paused` to `true` or `false` and redirects to the page with the form.
pub(crate) async fn set_paused(
    State(app): State<App>,
    actor: Actor,
    DagPath(dag_id): DagPath,
    form: Form,
) -> Result<Response, Refusal> {
    let paused = match form.text("paused") {
        Some("true") => true,
        Some("false") => false,
        _ => return Err(Refusal::bad_request("`paused` is `true` or `false`")),
    };
    let mut db = app.hot().await?;
    let dag_id = resolve(&mut db, &dag_id).await?.ok_or_else(|| no_such_dag(&dag_id))?;
    set_paused_of(&app, &mut db, &actor, &[dag_id], paused).await?;
    Ok(see_other(form.text("back").unwrap_or("/dags")))
}

/// `POST /dags/{dag_id}/favorite`: sets `favorite` to `true` or `false` for the current user.
pub(crate) async fn set_favorite(
    State(app): State<App>,
    actor: Actor,
    DagPath(dag_id): DagPath,
    form: Form,
) -> Result<Response, Refusal> {
    let mut db = app.pages().await?;
    let dag_id = resolve(&mut db, &dag_id).await?.ok_or_else(|| no_such_dag(&dag_id))?;
    match form.text("favorite") {
        Some("true") => add_favorite(&mut db, &actor.name, &dag_id).await?,
        Some("false") => remove_favorite(&mut db, &actor.name, &dag_id).await?,
        _ => return Err(Refusal::bad_request("`favorite` is `true` or `false`")),
    };
    Ok(see_other(form.text("back").unwrap_or("/dags")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_search_are_tags_owners_or_a_part_of_the_name() {
        let asked = search(Search::default(), "tag:retail or owner:ada tag:gold ders tag:").parameters();
        let asked: Vec<(&str, &str)> = asked.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let named = ("dag_id_pattern", "or ders tag:");
        assert_eq!(asked, [("tags", "retail"), ("tags", "gold"), ("owners", "ada"), named]);
        assert!(search(Search::default(), "").conditions.is_empty());
    }
}
