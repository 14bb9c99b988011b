//! Lists of task instances: of one run, of many (`~`), of one mapped task, or asked for in a body.
//!
//! One run in the order of its DAG is read page by page, however large it is. Any other order, filter or `~` reads the
//! instances of the runs that are meant, as many as `MOST_READ`, and picks among them: the answer then says in
//! `total_entries_limit` that there may be more.

use super::choice::{Choice, Order};
use super::{OfRun, TaskInstancePage, states};
use crate::api::dag_runs::find;
use crate::api::pages::{Page, orders, orders_of};
use crate::extract::{Dags, JsonBody, Names, Query, RunPath, Runs, no_such_instance};
use crate::refusal::Refusal;
use crate::state::App;
use axum::Json;
use axum::extract::State;
use orch_store::instance::{
    InstanceFilter, InstanceRow, RunInstances, count_instances, instances_of_runs, page_of_instances,
};
use orch_store::narrow;
use orch_store::note::notes_of;
use orch_store::run::{Direction, RunCondition, RunDetails, RunOrder, RunSearch, search_runs};
use sqlx::PgConnection;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Instances that are read for one answer.
const MOST_READ: usize = 20_000;
/// Runs that are read at once.
const RUNS_AT_ONCE: i64 = 100;
/// Airflow's default of the batch.
const USUAL: i64 = 100;

pub(crate) async fn list(
    State(app): State<App>,
    runs: Runs,
    mut query: Query,
) -> Result<Json<TaskInstancePage>, Refusal> {
    let page = Page::with_cursor(&mut query)?;
    let choice = Choice::of_query(&mut query)?;
    let states = states(&query)?;
    let order = orders(&query, Order::named)?;
    let mut found = answer(&app, runs, (choice, states, order), page).await?;
    (found.next_cursor, found.previous_cursor) = page.cursors(found.total_entries as i64);
    Ok(Json(found))
}

/// The elements of a mapped task.
pub(crate) async fn list_mapped(
    State(app): State<App>,
    names: Names,
    mut query: Query,
) -> Result<Json<TaskInstancePage>, Refusal> {
    let path = names.task()?;
    let page = Page::of(&mut query);
    let mut choice = Choice::of_query(&mut query)?;
    choice.task_ids = Some(vec![path.task_id.to_string()]);
    let states = states(&query)?;
    let order = orders(&query, Order::named)?;
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
    answer(&app, runs, (choice, states, order), page).await.map(Json)
}

pub(crate) async fn batch(
    State(app): State<App>,
    runs: Runs,
    body: JsonBody,
) -> Result<Json<TaskInstancePage>, Refusal> {
    let mut fields = body.fields();
    let page = Page::new(fields.count("page_limit", USUAL), fields.count("page_offset", 0));
    let ordered = fields.text("order_by");
    let (choice, states) = Choice::of_fields(&mut fields);
    fields.finish()?;
    let order = orders_of(ordered.iter().map(String::as_str), Order::named)?;
    answer(&app, runs, (choice, states, order), page).await.map(Json)
}

type Wanted = (Choice, Vec<orch_spec::state::TaskState>, Vec<(Order, bool)>);

async fn answer(app: &App, runs: Runs, wanted: Wanted, page: Page) -> Result<TaskInstancePage, Refusal> {
    let (choice, states, order) = wanted;
    let mut db = app.pages().await?;
    let natural = order.iter().all(|(order, descends)| *order == Order::Natural && !descends);
    if let (Dags::One(dag_id), Some(run_id)) = (&runs.dags, &runs.run_id) {
        let path = RunPath { dag_id: dag_id.clone(), run_id: run_id.clone() };
        let run = find(&mut db, &path).await?;
        if natural && choice.is_plain() {
            return plain(app, &mut db, &run, choice, states, page).await;
        }
        return picked(app, &mut db, &[run], &choice, &states, &order, page).await;
    }
    let mut conditions = choice.runs.clone();
    match runs.dags {
        Dags::All => {}
        Dags::One(dag_id) => {
            conditions.push(RunCondition::Dags(vec![crate::api::dags::find(&mut db, &dag_id).await?.dag_id]));
        }
    }
    conditions.extend(runs.run_id.map(|run_id| RunCondition::Runs(vec![run_id.to_string()])));
    let search = RunSearch {
        conditions,
        order: vec![(RunOrder::Id, Direction::Ascending)],
        most: orch_store::run::MOST_RUNS,
        skip: 0,
    };
    let found = search_runs(&mut db, &search).await?;
    picked(app, &mut db, &found, &choice, &states, &order, page).await
}

/// Of one run, in the order of the DAG.
async fn plain(
    app: &App,
    db: &mut PgConnection,
    run: &RunDetails,
    choice: Choice,
    states: Vec<orch_spec::state::TaskState>,
    page: Page,
) -> Result<TaskInstancePage, Refusal> {
    let filter = InstanceFilter {
        states,
        task_ids: choice.task_ids,
        map_index: choice.map_indexes.last().map(|&index| i32::try_from(index).unwrap_or(i32::MAX)),
        after: None,
    };
    let mut versions = app.versions.clone();
    let part = (narrow::size(page.offset), narrow::size(page.limit));
    let found = page_of_instances(db, &mut versions, run.id, &filter, part).await?;
    let found = found.ok_or_else(|| Refusal::Broken(format!("run `{}` is gone", run.id)))?;
    let notes = notes_of(db, &[run.id]).await?;
    let of_run = OfRun { run, plan: &found.version.plan, notes: &notes };
    let task_instances = found.instances.into_iter().map(|row| of_run.instance(row)).collect();
    Ok(TaskInstancePage { task_instances, total_entries: found.total, ..TaskInstancePage::default() })
}

/// Of these runs, in any order.
async fn picked(
    app: &App,
    db: &mut PgConnection,
    runs: &[RunDetails],
    choice: &Choice,
    states: &[orch_spec::state::TaskState],
    order: &[(Order, bool)],
    page: Page,
) -> Result<TaskInstancePage, Refusal> {
    let mut versions = app.versions.clone();
    let (mut read, mut more) = (0, runs.len() as i64 == orch_store::run::MOST_RUNS);
    let mut found: Vec<(&RunDetails, InstanceRow)> = Vec::new();
    let mut plans = std::collections::HashMap::new();
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
            plans.insert(run.id, version.plan.clone());
            let fits = |row: &InstanceRow| {
                (states.is_empty() || states.contains(&row.state)) && choice.fits(&version.plan, row)
            };
            found.extend(instances.into_iter().filter(fits).map(|row| (run, row)));
        }
    }
    if order.iter().any(|(order, _)| *order != Order::Natural) || order.first().is_some_and(|(_, descends)| *descends) {
        found.sort_by(|a, b| Order::compare(order, a, b));
    }
    let total_entries = found.len();
    let rows: Vec<_> = found.into_iter().skip(narrow::size(page.offset)).take(narrow::size(page.limit)).collect();
    let of: Vec<Uuid> = rows.iter().map(|(run, _)| run.id).collect::<BTreeSet<_>>().into_iter().collect();
    let notes = notes_of(db, &of).await?;
    let view =
        |(run, row): (&RunDetails, InstanceRow)| OfRun { run, plan: &plans[&run.id], notes: &notes }.instance(row);
    let task_instances = rows.into_iter().map(view).collect();
    let total_entries_limit = more.then_some(total_entries as i64);
    Ok(TaskInstancePage { task_instances, total_entries, total_entries_limit, ..TaskInstancePage::default() })
}
