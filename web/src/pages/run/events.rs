//! `GET …/events`: server-sent events that notify a page of changes. The page then fetches itself again, so live
//! content is rendered by the same template as the rest. Log lines are sent in the events.

use super::{find, the_ledger};
use crate::auth::Caller;
use crate::extract::{DagPath, MappedPath, Query, RunPath, no_such_dag, no_such_instance};
use crate::live::{At, Watched, answer, mark_of, mark_of_all};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use orch_store::dag::resolve;
use orch_store::live::{TryKey, look_at_dags, look_at_streams, look_at_tries};
use orch_store::overview::how_far;
use uuid::Uuid;

/// `…/runs/{dag_run_id}/events?mark=…`: changes of a run.
pub(crate) async fn follow(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    path: RunPath,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (run, mark) = {
        let mut db = app.hot().await?;
        let run = find(&mut db, &path).await?.id;
        (run, how_far(&mut db, run).await?.map_or(0, |(rev, _)| i64::from(rev)))
    };
    answer(app, (&caller.name, headers), Watched::Run(run), mark, (read_page_mark(&query), None))
}

/// `…/tasks/{task_id}/{map_index}/events?attempt=…&mark=…&at=…`: an instance, and the log of one attempt.
pub(crate) async fn follow_try(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    path: MappedPath,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let attempt = match query.text("attempt") {
        None => None,
        Some(text) => Some(Uuid::parse_str(text).map_err(|_| Refusal::bad_request("`attempt` is a uuid"))?),
    };
    let at = match query.text("at") {
        None => None,
        Some(text) => Some(At::parse(text).ok_or_else(|| Refusal::bad_request("`at` is a place in a log"))?),
    };
    let MappedPath { task, map_index } = path;
    let (key, mark) = {
        let mut db = app.hot().await?;
        let run = find(&mut db, &task.run).await?;
        let ledger = the_ledger(&app, &mut db, &run).await?;
        let missing = || no_such_instance(&task.run, &task.task_id, map_index);
        let index = ledger.version.plan.index_of(&task.task_id).ok_or_else(missing)?;
        let key = TryKey { run: run.id, task: index.cast_signed(), map_index, attempt };
        let looks = look_at_tries(&mut db, &[key]).await?;
        (key, looks.first().map_or(0, |look| mark_of(key, look)))
    };
    answer(app, (&caller.name, headers), Watched::Try(key), mark, (read_page_mark(&query), at))
}

/// `/events`: changes of the list of runs and of the DAGs. `/events?of=streams`: progress of streams.
pub(crate) async fn follow_all(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if query.text("of") == Some("streams") {
        let mark = look_at_streams(&mut *app.pages().await?).await?;
        return answer(app, (&caller.name, headers), Watched::Streams, mark, (read_page_mark(&query), None));
    }
    let mark = mark_of_all(&app, &mut *app.pages().await?).await?;
    answer(app, (&caller.name, headers), Watched::All, mark, (read_page_mark(&query), None))
}

/// `/dags/{dag_id}/events`: changes of a DAG's runs and their tasks.
pub(crate) async fn follow_dag(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    DagPath(dag_id): DagPath,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let look = {
        let mut db = app.hot().await?;
        let named = resolve(&mut db, &dag_id).await?.unwrap_or_else(|| dag_id.to_string());
        look_at_dags(&mut db, &[named.into()]).await?.pop().ok_or_else(|| no_such_dag(&dag_id))?
    };
    answer(app, (&caller.name, headers), Watched::Dag(look.dag_id.into()), look.mark, (read_page_mark(&query), None))
}

/// Returns the mark of the state that the requesting page shows.
pub(crate) fn read_page_mark(query: &Query) -> Option<i64> {
    query.text("mark").and_then(|mark| mark.parse().ok())
}
