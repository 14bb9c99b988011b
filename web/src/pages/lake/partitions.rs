//! `/lake/{namespace}/{table}/partitions`: the size of each partition, as bars.

use super::{Head, LoadedTable, find, turned};
use crate::extract::{Names, Query};
use crate::pages::{Shell, html};
use crate::parts::{self, Chart, ChartType, Meter};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

#[derive(Template)]
#[template(path = "pages/lake/partitions.html")]
struct PartitionsPage {
    shell: Shell,
    head: Head,
    chart: Option<Chart>,
    lines: Vec<ListedPartition>,
    before: Option<String>,
    after: Option<String>,
}

struct ListedPartition {
    partition: String,
    rows: String,
    meter: Meter,
    files: u64,
    deletes: u64,
    bytes: String,
    average: String,
}

const OF_A_PAGE: i64 = 200;

pub(crate) async fn show(
    State(app): State<App>,
    shell: Shell,
    names: Names,
    mut query: Query,
) -> Result<Response, Refusal> {
    let (turned, place) = turned(&mut query, OF_A_PAGE)?;
    let LoadedTable { lake, table, head } = find(&app, &names, "partitions", &shell).await?;
    let mut rows = lake.partitions(table.id.clone(), place).await?;
    let (before, after) = turned.cut(&mut rows, |page| format!("{}/partitions?page={page}", head.href));
    let most = rows.iter().map(|row| row.totals.rows).max().unwrap_or_default();
    let points = rows.iter().map(|row| (row.partition.clone(), Some(row.totals.rows as f64))).collect();
    let chart =
        (rows.len() > 1).then(|| Chart::new(ChartType::Bars, "Rows of each partition".into(), points)).flatten();
    let lines = rows.into_iter().map(|row| ListedPartition {
        rows: parts::count(row.totals.rows),
        meter: parts::meter(row.totals.rows, most),
        files: row.totals.files,
        deletes: row.totals.delete_files,
        bytes: parts::bytes(row.totals.bytes),
        average: parts::bytes(row.totals.bytes / row.totals.files.max(1)),
        partition: if row.partition.is_empty() { "(not partitioned)".into() } else { row.partition },
    });
    let page = PartitionsPage { lines: lines.collect(), chart, shell, head, before, after };
    html(StatusCode::OK, &page)
}
