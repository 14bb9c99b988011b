//! `/lake`: the tables of the lake by namespace, with size and age. Submodules contain the pages of one table.

pub(crate) mod files;
pub(crate) mod lineage;
pub(crate) mod nulls;
pub(crate) mod partitions;
pub(crate) mod picture;
pub(crate) mod sample;
pub(crate) mod snapshots;
pub(crate) mod table;

use super::filters::Filters;
use super::kept::{Listed, listed_by};
use super::turned::Turned;
use super::{Shell, encoded, html, streams};
use crate::api::lake::{COLUMNS, NAME, READS_DATA, cell, describe, tables_for, the_table};
use crate::auth::Role;
use crate::behind;
use crate::extract::{Names, Query};
use crate::parts::{self, Meter, ZonedNow, dag_href};
use crate::queries::{ask_for_page, for_user};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_store::dag::resolve;
use orch_store::lake_view::{
    LakeError, LakePage, LakeTable, LakeView, QueryAnswer, QueryLimits, SnapshotRow, TableId, TableRow,
};
use orch_store::list::Search;
use orch_store::narrow;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

#[derive(Template)]
#[template(path = "pages/lake.html")]
struct LakeIndex {
    shell: Shell,
    /// Why the lake cannot be shown, if it cannot.
    closed: Option<Closed>,
    place: String,
    q: String,
    filters: Filters,
    namespaces: Vec<Namespace>,
    before: Option<String>,
    after: Option<String>,
    /// Totals of all tables, not only those on this page.
    totals: String,
    /// True if the bundle next to this server serves published queries.
    has_published_queries: bool,
}

/// Error of a lake that cannot be read, and a hint.
pub(crate) struct Closed {
    pub(crate) problem: String,
    pub(crate) hint: String,
}

struct Namespace {
    name: String,
    /// Number of matching tables in the namespace, on all pages.
    count: i64,
    lines: Vec<ListedTable>,
}

struct ListedTable {
    name: String,
    href: String,
    rows: String,
    bytes: String,
    files: String,
    meter: Meter,
    updated: Option<parts::Ago>,
    made_by: Option<(String, String)>,
    problem: Option<String>,
}

/// DAGs that maintain tables, if a bundle has them.
const UPKEEP: &str = "lake_upkeep";
const ROLLBACK: &str = "lake_rollback";
/// All DAGs of a bundle that maintain the lake. None of these DAGs is an example.
pub(super) const MAINTENANCE: [&str; 4] = [UPKEEP, ROLLBACK, "lake_merge", "lake_adopt"];

/// Timeout for a query that a page of a table sends.
const TIME: Duration = Duration::from_secs(10);

/// Returns true if the DAG exists and the user may start runs of it.
async fn can_start(app: &App, shell: &Shell, dag_id: &str) -> Result<bool, Refusal> {
    Ok(shell.can_run() && resolve(&mut *app.pages().await?, dag_id).await?.is_some())
}

/// Returns the rows of a query that a page of a table sends to build itself.
async fn ask(app: &App, shell: &Shell, lake: &dyn LakeView, sql: &str, rows: usize) -> Result<QueryAnswer, Refusal> {
    let limits = QueryLimits { rows, time: TIME, ..QueryLimits::default() };
    let answer = ask_for_page(app, lake, sql, limits).await;
    Ok(answer.map_err(|error| for_user(error, shell.can(Role::Admin)))?)
}

/// Returns the address of the trigger form, filled in with `conf`.
fn form_of(dag_id: &str, conf: &Value) -> String {
    format!("{}/trigger?conf={}", dag_href(dag_id), encoded(&conf.to_string()))
}

/// Returns the address of a table's page.
pub(crate) fn href(id: &TableId) -> String {
    format!("/lake/{}/{}", encoded(&id.namespace), encoded(&id.name))
}

pub(crate) async fn show(State(app): State<App>, shell: Shell, query: Query) -> Result<Response, Refusal> {
    let found = async {
        let lake = app.config.lake.open().await?;
        Ok((lake.place().await?, tables_for(&*lake, shell.can(Role::Admin)).await?))
    };
    let (place, tables, closed) = match found.await {
        Ok((place, tables)) => (place, tables, None),
        Err(error) => (String::new(), Vec::new(), Some(closed(error, shell.can(Role::Admin)))),
    };
    let totals = words(&tables);
    let largest = tables.iter().map(|table| table.totals.bytes).max().unwrap_or_default();
    let mut counts: HashMap<String, i64> = HashMap::new();
    let find = async |search: Search| {
        for table in tables.iter().filter(|table| search.fits(*table, cell)) {
            *counts.entry(table.id.namespace.clone()).or_default() += 1;
        }
        Ok(search.pick(tables, cell))
    };
    let Listed { q, filters, rows, total, before, after } =
        listed_by((query, shell.now), ("/lake", COLUMNS), NAME, find).await?;
    let lines = rows.into_iter().map(|table| (table.id.clone(), line(table, largest, shell.now)));
    let page = LakeIndex {
        namespaces: if filters.are_sorted() { together(lines, total) } else { by_namespace(lines, &counts) },
        q,
        filters,
        before,
        after,
        totals,
        has_published_queries: behind::has_queries(&app).await,
        shell,
        closed,
        place,
    };
    html(StatusCode::OK, &page)
}

pub(crate) fn closed(error: LakeError, is_admin: bool) -> Closed {
    let text = for_user(error, is_admin).to_string();
    let (problem, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
    Closed { problem: problem.into(), hint: hint.into() }
}

fn words(tables: &[TableRow]) -> String {
    let sum = |of: fn(&TableRow) -> u64| tables.iter().map(of).sum::<u64>();
    let (rows, bytes) = (sum(|table| table.totals.rows), sum(|table| table.totals.bytes));
    let (tables, rows) = (parts::counted(tables.len(), "table"), parts::counted(parts::count(rows), "row"));
    format!("{tables}, {rows} in {}", parts::bytes(bytes))
}

fn by_namespace(lines: impl Iterator<Item = (TableId, ListedTable)>, counts: &HashMap<String, i64>) -> Vec<Namespace> {
    let mut namespaces: Vec<Namespace> = Vec::new();
    for (id, line) in lines {
        match namespaces.last_mut().filter(|last| last.name == id.namespace) {
            Some(last) => last.lines.push(line),
            None => namespaces.push(Namespace {
                count: counts.get(&id.namespace).copied().unwrap_or_default(),
                name: id.namespace,
                lines: vec![line],
            }),
        }
    }
    namespaces
}

/// Returns the rows as one group, because a requested sort order ignores namespaces.
fn together(lines: impl Iterator<Item = (TableId, ListedTable)>, count: i64) -> Vec<Namespace> {
    let lines: Vec<ListedTable> = lines.map(|(id, line)| ListedTable { name: id.to_string(), ..line }).collect();
    if lines.is_empty() { Vec::new() } else { vec![Namespace { name: "all namespaces".into(), count, lines }] }
}

fn line(table: TableRow, largest: u64, now: ZonedNow) -> ListedTable {
    ListedTable {
        href: href(&table.id),
        rows: parts::count(table.totals.rows),
        bytes: parts::bytes(table.totals.bytes),
        files: parts::count(table.totals.files + table.totals.delete_files),
        meter: parts::meter(table.totals.bytes, largest),
        updated: table.last.as_ref().map(|last| parts::ago(last.at, now)),
        made_by: table.last.as_ref().and_then(writer_of),
        problem: table.problem,
        name: table.id.name,
    }
}

/// Returns the task or stream that wrote a snapshot, and its address.
pub(super) fn writer_of(snapshot: &SnapshotRow) -> Option<(String, String)> {
    let Some(by) = &snapshot.made_by else {
        let stream = snapshot.summary.get("orch.stream")?;
        return Some((format!("stream {stream}"), streams::href(stream)));
    };
    let href = format!("{}/runs/{}", dag_href(&by.dag_id), encoded(&by.run_id));
    let words = by.task_id.as_ref().map_or_else(|| by.dag_id.clone(), |task_id| format!("{}.{task_id}", by.dag_id));
    Some((words, href))
}

/// Header above every page of a table.
pub(crate) struct Head {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) href: String,
    pub(crate) sql_href: String,
    pub(crate) upkeep_href: Option<String>,
    pub(crate) tab: &'static str,
    pub(crate) format: String,
    pub(crate) rows: String,
    pub(crate) size: String,
    pub(crate) partitioned_by: String,
    pub(crate) updated: Option<parts::Ago>,
    pub(crate) snapshots: usize,
    pub(crate) files: String,
}

impl Head {
    fn new(table: &LakeTable, tab: &'static str, now: ZonedNow) -> Head {
        let by = table.partitioned_by.iter().map(|part| match part.transform.as_str() {
            "identity" => part.column.clone(),
            transform => format!("{transform}({})", part.column),
        });
        let files = table.totals.files + table.totals.delete_files;
        let sql = table.id.select(None, 100);
        Head {
            name: table.id.to_string(),
            namespace: table.id.namespace.clone(),
            href: href(&table.id),
            sql_href: format!("/sql?sql={}", encoded(&sql)),
            upkeep_href: None,
            tab,
            format: format!("Iceberg v{}", table.format_version),
            rows: parts::counted(parts::count(table.totals.rows), "row"),
            size: format!("{} in {}", parts::bytes(table.totals.bytes), parts::counted(parts::count(files), "file")),
            partitioned_by: by.collect::<Vec<_>>().join(", "),
            updated: table.last.as_ref().map(|last| parts::ago(last.at, now)),
            snapshots: table.snapshots,
            files: parts::count(files),
        }
    }
}

/// A table with its header, for one of its pages.
struct LoadedTable {
    lake: Arc<dyn LakeView>,
    table: LakeTable,
    head: Head,
}

async fn find(app: &App, names: &Names, tab: &'static str, shell: &Shell) -> Result<LoadedTable, Refusal> {
    let (lake, id) = the_table(app, names).await?;
    let table = describe(&*lake, id).await?;
    let form = || form_of(UPKEEP, &json!({ "tables": [table.id.to_string()] }));
    let upkeep_href = can_start(app, shell, UPKEEP).await?.then(form);
    Ok(LoadedTable { head: Head { upkeep_href, ..Head::new(&table, tab, shell.now) }, lake, table })
}

/// Returns the requested page of a list of lake objects.
fn turned(query: &mut Query, of_a_page: i64) -> Result<(Turned, LakePage), Refusal> {
    let turned = Turned::to(query, of_a_page);
    query.finish()?;
    Ok((turned, LakePage { skip: narrow::size(turned.skip()), most: narrow::size(turned.most()) }))
}
