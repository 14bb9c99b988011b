//! Lists of task instances: of one run, of many runs (`~`), of one mapped task, or selected by a request body.
//!
//! Pages of one run in the order of its DAG are read directly, however large the run is. Any other order, filter or `~`
//! reads up to `MOST_READ` instances of the selected runs and filters them in memory. If more instances may match, the
//! response contains `total_entries_limit`.

use super::choice::{COLUMNS, Choice, Instance, TaskInstancesBatchBody};
use super::{OfRun, TaskInstancePage};
use crate::api::dag_runs::find;
use crate::api::list::{Page, asked, asked_of_page, orders};
use crate::extract::{Dags, Names, Query, RunPath, Runs, Typed, no_such_instance};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_store::instance::{
    InstanceFilter, InstanceRow, RunInstances, count_instances, instances_of_runs, page_of_instances,
};
use orch_store::list::{MOST_LISTED, Search};
use orch_store::narrow;
use orch_store::note::notes_of;
use orch_store::run::{RUNS, RunDetails, by};
use orch_store::version::Version;
use sqlx::PgConnection;
use std::collections::BTreeSet;
use std::sync::Arc;
use uuid::Uuid;

/// Maximum number of instances that are read for one response.
const MOST_READ: usize = 20_000;
/// Number of runs whose instances are read together.
const RUNS_AT_ONCE: i64 = 100;

pub(crate) async fn list(
    State(app): State<App>,
    runs: Runs,
    mut query: Query,
) -> Result<Json<TaskInstancePage>, Refusal> {
    let page = Page::with_cursor(&mut query)?;
    let choice = Choice::new(asked_of_page(&mut query, COLUMNS, page)?);
    let mut found = answer(&app, runs, choice).await?;
    (found.next_cursor, found.previous_cursor) = page.cursors(found.total_entries as i64);
    Ok(Json(found))
}

pub(crate) async fn list_mapped(
    State(app): State<App>,
    names: Names,
    mut query: Query,
) -> Result<Json<TaskInstancePage>, Refusal> {
    let path = names.task()?;
    let choice = Choice::new(asked(&mut query, COLUMNS)?).of_task(&path.task_id);
    {
        let mut db = app.hot().await?;
        let run = find(&mut db, &path.run).await?;
        let version = app.versions.get(&mut db, run.version).await?;
        let task = version.plan.index_of(&path.task_id);
        if task.is_none_or(|task| version.plan.task(task).map.is_none()) {
            return Err(no_such_instance(&path.run, &path.task_id, -1));
        }
    }
    let RunPath { dag_id, run_id } = path.run;
    let runs = Runs { dags: Dags::One(dag_id), run_id: Some(run_id) };
    answer(&app, runs, choice).await.map(Json)
}

pub(crate) async fn batch(
    State(app): State<App>,
    runs: Runs,
    Typed(body): Typed<TaskInstancesBatchBody>,
) -> Result<Json<TaskInstancePage>, Refusal> {
    let (page, order) = (body.page(), orders(body.order(), COLUMNS)?);
    let search = Search { conditions: body.conditions(), order, skip: page.offset, most: page.limit };
    answer(&app, runs, Choice::new(search)).await.map(Json)
}

async fn answer(app: &App, runs: Runs, choice: Choice) -> Result<TaskInstancePage, Refusal> {
    let mut db = app.pages().await?;
    if let (Dags::One(dag_id), Some(run_id)) = (&runs.dags, &runs.run_id) {
        let path = RunPath { dag_id: dag_id.clone(), run_id: run_id.clone() };
        let run = find(&mut db, &path).await?;
        if !choice.runs.is_empty() {
            let conditions = choice.runs.clone();
            let search = Search { conditions, ..Search::default() }.and(by::ID.is(run.id));
            if RUNS.rows(&mut db, &search).await?.is_empty() {
                return Ok(TaskInstancePage::default());
            }
        }
        return match choice.plain() {
            Some(filter) => plain(app, &mut db, &run, &filter, choice.page()).await,
            None => picked(app, &mut db, &[run], &choice).await,
        };
    }
    let mut search = Search { conditions: choice.runs.clone(), ..Search::default() };
    if let Dags::One(dag_id) = runs.dags {
        search = search.and(by::DAG_ID.is(crate::api::dags::find(&mut db, &dag_id).await?.dag_id));
    }
    search = search.and(runs.run_id.map(|run_id| by::RUN_ID.is(run_id.to_string())));
    let found = RUNS.rows(&mut db, &search).await?;
    picked(app, &mut db, &found, &choice).await
}

/// Returns a page of one run in the order of the DAG.
async fn plain(
    app: &App,
    db: &mut PgConnection,
    run: &RunDetails,
    filter: &InstanceFilter,
    (skip, most): (i64, i64),
) -> Result<TaskInstancePage, Refusal> {
    let mut versions = app.versions.clone();
    let part = (narrow::size(skip), narrow::size(most));
    let found = page_of_instances(db, &mut versions, run.id, filter, part).await?;
    let found = found.ok_or_else(|| Refusal::Broken(format!("run `{}` is gone", run.id)))?;
    let notes = notes_of(db, &[run.id]).await?;
    let of_run = OfRun { run, plan: &found.version.plan, notes: &notes };
    let task_instances = found.instances.into_iter().map(|row| of_run.instance(row)).collect();
    let total_entries_limit = found.is_limited.then_some(found.total as i64);
    Ok(TaskInstancePage {
        task_instances,
        total_entries: found.total,
        total_entries_limit,
        ..TaskInstancePage::default()
    })
}

/// Returns a page of the instances of several runs, in any order.
async fn picked(
    app: &App,
    db: &mut PgConnection,
    runs: &[RunDetails],
    choice: &Choice,
) -> Result<TaskInstancePage, Refusal> {
    let mut versions = app.versions.clone();
    let (mut read, mut more) = (0, runs.len() as i64 == MOST_LISTED);
    let mut found: Vec<(&RunDetails, Arc<Version>, InstanceRow)> = Vec::new();
    for some in runs.chunks(narrow::size(RUNS_AT_ONCE)) {
        let ids: Vec<Uuid> = some.iter().map(|run| run.id).collect();
        let count = count_instances(db, &mut versions, &ids).await?;
        if read + count > MOST_READ {
            if runs.len() == 1 {
                let text =
                    format!("a run of more than {MOST_READ} task instances is listed in the order of its dag only");
                return Err(Refusal::bad_request(text));
            }
            more = true;
            break;
        }
        read += count;
        for RunInstances { run, version, instances } in instances_of_runs(db, &mut versions, &ids).await? {
            let Some(run) = some.iter().find(|known| known.id == run) else { continue };
            for row in instances {
                let instance = Instance { run, plan: &version.plan, row };
                if choice.fits(&instance) {
                    found.push((run, version.clone(), instance.row));
                }
            }
        }
    }
    let mut found: Vec<_> =
        found.iter().map(|(run, version, row)| Instance { run, plan: &version.plan, row: row.clone() }).collect();
    if !choice.is_in_natural_order() {
        found.sort_by(|one, other| choice.compare(one, other));
    }
    let total_entries = found.len();
    let (skip, most) = choice.page();
    let shown: Vec<_> = found.into_iter().skip(narrow::size(skip)).take(narrow::size(most)).collect();
    let of: Vec<Uuid> = shown.iter().map(|one| one.run.id).collect::<BTreeSet<_>>().into_iter().collect();
    let notes = notes_of(db, &of).await?;
    let view = |Instance { run, plan, row }: Instance<'_>| OfRun { run, plan, notes: &notes }.instance(row);
    let task_instances = shown.into_iter().map(view).collect();
    let total_entries_limit = more.then_some(total_entries as i64);
    Ok(TaskInstancePage { task_instances, total_entries, total_entries_limit, ..TaskInstancePage::default() })
}
