//! `/api/orch/v1/lake/tables`: the tables of the lake, with their snapshots, files and partitions.

use super::list::asked;
use crate::auth::{Caller, Role};
use crate::extract::{Count, Names, Query, query_params};
use crate::queries::for_user;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::{Extension, Json};
use orch_sdk::secret::{MASK, is_sensitive};
use orch_store::lake_view::{
    DataFile, LakeError, LakePage, LakeResult, LakeTable, LakeView, PartitionRow, SnapshotRow, TableId, TableRow,
};
use orch_store::list::Filter::{Is, Pattern, Range};
use orch_store::list::{Cell, Column, ListPage};
use orch_store::narrow;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// Default of `limit`.
const USUAL: i64 = 100;
const MOST: i64 = 1_000;

query_params! {
    pub(crate) struct LakePageParams {
        /// Maximum number of items
        limit: Count<USUAL, MOST>,
        /// Number of items to skip
        offset: Count<0>,
    }
}

query_params! {
    pub(crate) struct SnapshotParams {
        /// Of that snapshot; of the newest without it
        snapshot_id: Vec<i64>,
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TablePage {
    tables: Vec<TableRow>,
    total_entries: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SnapshotPage {
    snapshots: Vec<SnapshotRow>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FilePage {
    files: Vec<DataFile>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PartitionPage {
    partitions: Vec<PartitionRow>,
}

pub(crate) async fn the_table(app: &App, names: &Names) -> Result<(Arc<dyn LakeView>, TableId), Refusal> {
    Ok((app.config.lake.open().await?, TableId::new(names.get("namespace"), names.get("table"))))
}

/// Minimum role to see data values. The same role is required for SQL queries.
pub(crate) const READS_DATA: Role = Role::Op;

/// Returns a table with masked secrets in its properties.
pub(crate) async fn describe(lake: &dyn LakeView, id: TableId) -> Result<LakeTable, Refusal> {
    let mut table = lake.table(id).await?;
    for (name, value) in &mut table.properties {
        if is_sensitive(name) {
            *value = MASK.into();
        }
    }
    Ok(table)
}

/// Removes the minimum and maximum values of columns and keeps the column names.
pub(crate) fn without_values(mut files: Vec<DataFile>) -> Vec<DataFile> {
    for column in files.iter_mut().flat_map(|file| &mut file.columns) {
        (column.least, column.greatest) = (None, None);
    }
    files
}

pub(crate) const NAME: Column = Column::text("name", "").by(&[Is, Pattern]).about("Of that name").sorted();

pub(crate) const COLUMNS: &[Column] = &[
    Column::text("namespace", "").by(&[Is, Pattern]).about("Of that namespace").sorted(),
    NAME,
    Column::whole("rows", "").sorted(),
    Column::whole("bytes", "").sorted(),
    Column::whole("files", "").sorted(),
    Column::whole("delete_files", "").sorted(),
    Column::whole("snapshots", "").sorted(),
    Column::moment("written_at", "").by(&[Range]).sorted(),
];

pub(crate) fn cell<'a>(table: &'a TableRow, column: &Column) -> Cell<'a> {
    let whole = |number: u64| Cell::Whole(i64::try_from(number).unwrap_or(i64::MAX));
    match column.name {
        "namespace" => table.id.namespace.as_str().into(),
        "name" => table.id.name.as_str().into(),
        "rows" => whole(table.totals.rows),
        "bytes" => whole(table.totals.bytes),
        "files" => whole(table.totals.files),
        "delete_files" => whole(table.totals.delete_files),
        "snapshots" => whole(table.snapshots as u64),
        "written_at" => table.last.as_ref().map(|last| last.at).into(),
        _ => Cell::Nothing,
    }
}

/// Returns all tables. Only admins see why a table cannot be read; the reason is also logged.
pub(crate) async fn tables_for(lake: &dyn LakeView, is_admin: bool) -> LakeResult<Vec<TableRow>> {
    let mut tables = lake.tables().await?;
    for table in &mut tables {
        let problem = table.problem.take().map(|problem| for_user(LakeError::Unavailable(problem), is_admin));
        table.problem = problem.map(|problem| problem.to_string());
    }
    Ok(tables)
}

/// Lists tables, by default in the order of the catalog.
pub(crate) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<TablePage>, Refusal> {
    let search = asked(&mut query, COLUMNS)?;
    let all = tables_for(&*app.config.lake.open().await?, caller.role >= Role::Admin).await?;
    let ListPage { rows: tables, total: total_entries } = search.pick(all, cell);
    Ok(Json(TablePage { tables, total_entries }))
}

pub(crate) async fn get(State(app): State<App>, names: Names) -> Result<Json<LakeTable>, Refusal> {
    let (lake, id) = the_table(&app, &names).await?;
    Ok(Json(describe(&*lake, id).await?))
}

pub(crate) async fn snapshots(
    State(app): State<App>,
    names: Names,
    mut query: Query,
) -> Result<Json<SnapshotPage>, Refusal> {
    let page = page(&mut query);
    query.finish()?;
    let (lake, id) = the_table(&app, &names).await?;
    Ok(Json(SnapshotPage { snapshots: lake.snapshots(id, page).await? }))
}

pub(crate) async fn files(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    names: Names,
    mut query: Query,
) -> Result<Json<FilePage>, Refusal> {
    let page = page(&mut query);
    let SnapshotParams { mut snapshot_id } = query.whole()?;
    let (lake, id) = the_table(&app, &names).await?;
    let files = lake.files(id, snapshot_id.pop(), page).await?;
    Ok(Json(FilePage { files: if caller.role >= READS_DATA { files } else { without_values(files) } }))
}

pub(crate) async fn partitions(
    State(app): State<App>,
    names: Names,
    mut query: Query,
) -> Result<Json<PartitionPage>, Refusal> {
    let page = page(&mut query);
    query.finish()?;
    let (lake, id) = the_table(&app, &names).await?;
    Ok(Json(PartitionPage { partitions: lake.partitions(id, page).await? }))
}

fn page(query: &mut Query) -> LakePage {
    let LakePageParams { limit, offset } = query.take();
    LakePage { skip: narrow::size(offset), most: narrow::size(limit) }
}
