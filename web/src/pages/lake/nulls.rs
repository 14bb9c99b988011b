//! `/lake/{namespace}/{table}/nulls`: the share of nulls in each column, and how it changed over the snapshots.

use super::{Head, LoadedTable, ask, find};
use crate::extract::Names;
use crate::pages::{Shell, encoded, html};
use crate::parts::{self, Chart, ChartType, MOST_SERIES, Meter, Sample, Series};
use crate::refusal::Refusal;
use crate::state::App;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use orch_store::lake_view::{Cell, TableId, cell_text};
use std::collections::BTreeMap;

#[derive(Template)]
#[template(path = "pages/lake/nulls.html")]
struct NullsPage {
    shell: Shell,
    head: Head,
    snapshots: usize,
    chart: Option<Chart>,
    legend: Vec<(Sample, String)>,
    lines: Vec<ColumnNulls>,
    /// Columns without nulls in all of the snapshots.
    full: Vec<String>,
    sql_href: String,
}

struct ColumnNulls {
    column: String,
    share: String,
    meter: Meter,
    nulls: String,
    rows: String,
    /// Change of the share since the oldest snapshot, in percentage points; `None` if it is negligible.
    change: Option<String>,
}

/// Maximum number of rows read, which is columns times snapshots.
const ROWS: usize = 20_000;
const TITLE: &str = "Nulls in % of the rows";
/// Minimum number of snapshots for a line chart.
const FEW: usize = 3;

pub(crate) async fn show(State(app): State<App>, shell: Shell, names: Names) -> Result<Response, Refusal> {
    let LoadedTable { lake, table, head } = find(&app, &names, "nulls", &shell).await?;
    let of_nulls = TableId::new(&table.id.namespace, format!("{}$nulls", table.id.name));
    let sql = of_nulls.select(None, ROWS);
    let sql_href = format!("/sql?sql={}", encoded(&sql));
    let mut rows = ask(&app, &shell, &*lake, &sql, ROWS).await?.rows;
    rows.reverse();
    let Over { moments, columns } = Over::of(&rows);
    let (some, full): (Vec<_>, Vec<_>) =
        columns.into_iter().partition(|column| column.counts.iter().flatten().any(|(nulls, _)| *nulls > 0));
    let snapshots = moments.len();
    let series = most_changed(&some);
    let page = NullsPage {
        legend: series
            .iter()
            .enumerate()
            .map(|(nth, one)| (Sample::of(ChartType::Line, nth), one.name.clone()))
            .collect(),
        chart: (snapshots >= FEW).then(|| Chart::of_series(ChartType::Line, TITLE.into(), moments, series)).flatten(),
        lines: some.iter().map(Column::line).collect(),
        full: full.into_iter().map(|column| column.name).collect(),
        snapshots,
        sql_href,
        shell,
        head,
    };
    html(StatusCode::OK, &page)
}

/// Null counts of the columns over the snapshots, oldest first.
struct Over {
    moments: Vec<String>,
    columns: Vec<Column>,
}

#[derive(Debug, PartialEq)]
struct Column {
    name: String,
    /// Nulls and rows in each snapshot; `None` if the files have no null counts.
    counts: Vec<Option<(u64, u64)>>,
}

impl Over {
    /// Reads rows of `$nulls`: snapshot, timestamp, column, nulls, rows.
    fn of(rows: &[Vec<Cell>]) -> Over {
        let mut over = Over { moments: Vec::new(), columns: Vec::new() };
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        let mut newest = None;
        for row in rows {
            let [snapshot, at, name, nulls, all] = row.as_slice() else { continue };
            if newest != Some(snapshot) {
                newest = Some(snapshot);
                over.moments.push(cell_text(at).into_owned());
            }
            let place = *places.entry(cell_text(name).into_owned()).or_insert_with_key(|name| {
                over.columns.push(Column { name: name.clone(), counts: Vec::new() });
                over.columns.len() - 1
            });
            let number = |cell: &Cell| cell_text(cell).parse::<u64>().unwrap_or_default();
            let counts = &mut over.columns[place].counts;
            counts.resize(over.moments.len() - 1, None);
            counts.push(Some((number(nulls), number(all))).filter(|(_, rows)| *rows > 0));
        }
        over.columns.reverse();
        over
    }
}

impl Column {
    fn shares(&self) -> impl Iterator<Item = Option<f64>> {
        self.counts.iter().map(|counts| counts.map(|(nulls, rows)| nulls as f64 / rows as f64 * 100.0))
    }

    /// Returns the difference between the largest and the smallest share.
    fn span(&self) -> f64 {
        let shares = || self.shares().flatten();
        shares().fold(0.0, f64::max) - shares().fold(100.0, f64::min)
    }

    fn line(&self) -> ColumnNulls {
        let (nulls, rows) = self.counts.last().copied().flatten().unwrap_or_default();
        let shares: Vec<f64> = self.shares().flatten().collect();
        let change = shares.last().zip(shares.first()).map(|(last, first)| last - first);
        ColumnNulls {
            column: self.name.clone(),
            share: shares.last().map(|share| percent(*share)).unwrap_or_default(),
            meter: parts::meter(nulls, rows),
            nulls: parts::count(nulls),
            rows: parts::count(rows),
            change: change
                .filter(|change| change.abs() >= 0.005)
                .map(|change| format!("{change:+.2}").replace('-', "−")),
        }
    }
}

/// Formats a share in percent. A tiny share is shown as `< 0.01 %`, because rounding would turn it into zero.
fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.01 { "< 0.01 %".into() } else { format!("{share:.2} %") }
}

/// Returns the series of the columns whose share changed most.
fn most_changed(columns: &[Column]) -> Vec<Series> {
    let mut most: Vec<&Column> = columns.iter().collect();
    most.sort_by(|a, b| b.span().total_cmp(&a.span()));
    let series = most.into_iter().take(MOST_SERIES).map(|column| Series {
        name: column.name.clone(),
        values: column.shares().collect(),
        ..Series::default()
    });
    series.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(snapshot: i64, column: &str, nulls: u64, rows: u64) -> Vec<Cell> {
        vec![
            json!(snapshot.to_string()),
            json!(format!("2026-11-2{snapshot}T06:00:00Z")),
            json!(column),
            json!(nulls),
            json!(rows),
        ]
    }

    #[test]
    fn a_column_has_a_share_in_each_snapshot_that_counts_it() {
        let rows = [
            row(1, "note", 0, 0),
            row(1, "id", 0, 10),
            row(2, "note", 1, 20),
            row(2, "id", 0, 20),
            row(3, "note", 20, 80),
            row(3, "id", 0, 80),
        ];
        let Over { moments, columns } = Over::of(&rows);
        assert_eq!(moments.len(), 3);
        let [id, note] = columns.as_slice() else { unreachable!("two columns") };
        assert_eq!(note.counts, [None, Some((1, 20)), Some((20, 80))]);
        assert_eq!(note.shares().collect::<Vec<_>>(), [None, Some(5.0), Some(25.0)]);
        let line = note.line();
        assert_eq!((line.share.as_str(), line.change.as_deref()), ("25.00 %", Some("+20.00")));
        assert_eq!((id.span(), id.line().change), (0.0, None));
        assert!(Over::of(&[vec![json!("CA")]]).columns.is_empty());
    }

    #[test]
    fn few_nulls_are_not_none() {
        assert_eq!([percent(0.0), percent(0.004), percent(100.0)], ["0.00 %", "< 0.01 %", "100.00 %"]);
    }
}
