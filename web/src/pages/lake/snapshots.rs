//! `/lake/{namespace}/{table}/snapshots`: the snapshots of a table, newest first, with the run that wrote each.

use super::{Head, LoadedTable, ROLLBACK, can_start, find, form_of, turned, writer_of};
use crate::extract::{Names, Query};
use crate::pages::{Shell, encoded, html};
use crate::parts::{self, Chart, ChartType, ZonedNow};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_store::lake_view::{SnapshotRow, TableTotals};
use serde_json::json;

#[derive(Template)]
#[template(path = "pages/lake/snapshots.html")]
struct SnapshotsPage {
    shell: Shell,
    head: Head,
    snapshots: Vec<SnapshotLine>,
    /// Growth of the table over the snapshots of this page: a title and a chart each.
    growth: Vec<(&'static str, Chart)>,
    before: Option<String>,
    after: Option<String>,
}

pub(crate) struct SnapshotLine {
    pub(crate) id: i64,
    pub(crate) at: parts::Moment,
    pub(crate) operation: String,
    pub(crate) is_current: bool,
    pub(crate) refs: Vec<String>,
    pub(crate) made_by: Option<(String, String)>,
    pub(crate) program: String,
    /// Added and deleted rows, such as `+3,322,604 −12`.
    pub(crate) rows: String,
    pub(crate) files: String,
    pub(crate) total: String,
    pub(crate) sql: String,
    /// Address of the form that rolls the table back to this snapshot.
    pub(crate) back: Option<String>,
}

const OF_A_PAGE: i64 = 50;
/// Minimum number of snapshots for a line chart.
const FEW: usize = 4;

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    names: Names,
    mut query: Query,
) -> Result<Response, Refusal> {
    let (turned, place) = turned(&mut query, OF_A_PAGE)?;
    let LoadedTable { lake, table, head } = find(&app, &names, "snapshots", &shell).await?;
    let mut rows = lake.snapshots(table.id.clone(), place).await?;
    let (before, after) = turned.cut(&mut rows, |page| format!("{}/snapshots?page={page}", head.href));
    let growth = growth(&rows, shell.now);
    let can_roll_back = can_start(&app, &shell, ROLLBACK).await?;
    let snapshots = rows.into_iter().map(|row| {
        let sql = format!("/sql?sql={}", encoded(&table.id.select(Some(row.id), 100)));
        let form = || form_of(ROLLBACK, &json!({ "table": table.id.to_string(), "snapshot_id": row.id }));
        let back = (can_roll_back && !row.is_current).then(form);
        SnapshotLine { sql, back, ..line(row, shell.now) }
    });
    let page = SnapshotsPage { snapshots: snapshots.collect(), growth, shell, head, before, after };
    html(StatusCode::OK, &page)
}

/// Returns no chart if there are fewer than `FEW` snapshots, because the list shows those as well.
fn growth(newest_first: &[SnapshotRow], now: ZonedNow) -> Vec<(&'static str, Chart)> {
    if newest_first.len() < FEW {
        return Vec::new();
    }
    let drawn = |title: &'static str, of: fn(&TableTotals) -> u64| {
        let points = newest_first.iter().rev();
        let points = points.map(|row| (now.written(row.at, "%Y-%m-%d %H:%M:%S"), Some(of(&row.totals) as f64)));
        Some((title, Chart::new(ChartType::Line, title.into(), points.collect())?))
    };
    let files = |totals: &TableTotals| totals.files + totals.delete_files;
    let bytes = drawn("Bytes of data", |totals| totals.bytes);
    [drawn("Rows", |totals| totals.rows), bytes, drawn("Files", files)].into_iter().flatten().collect()
}

pub(super) fn line(row: SnapshotRow, now: ZonedNow) -> SnapshotLine {
    SnapshotLine {
        id: row.id,
        at: parts::moment(row.at, now),
        made_by: writer_of(&row),
        program: row.program.unwrap_or_else(|| "another program".into()),
        is_current: row.is_current,
        rows: changed(row.added_rows, row.removed_rows),
        files: changed(row.added_files, row.removed_files),
        total: parts::count(row.totals.rows),
        operation: row.operation,
        refs: row.refs,
        sql: String::new(),
        back: None,
    }
}

fn changed(added: u64, removed: u64) -> String {
    match (added, removed) {
        (0, 0) => "0".into(),
        (added, 0) => format!("+{}", parts::count(added)),
        (0, removed) => format!("−{}", parts::count(removed)),
        (added, removed) => format!("+{} −{}", parts::count(added), parts::count(removed)),
    }
}
