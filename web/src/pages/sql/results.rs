//! Query results as a table, and two of their columns as a chart.

use super::SqlForm;
use crate::pages::encoded;
use crate::parts::{self, Chart, ChartType};
use orch_store::lake_view::{Cell, LakeTable, QueryAnswer, ResultColumn, cell_text};
use serde_json::Value;

/// Maximum number of characters of a value in a table; the download has all of them.
const CELL_CHARS: usize = 300;

pub(crate) struct Results {
    pub(crate) columns: Vec<ResultColumn>,
    pub(crate) rows: Vec<Row>,
    pub(crate) chart: Option<Chart>,
    /// Why there is no chart although one was requested.
    pub(crate) no_chart: Option<String>,
    /// Summary, such as `12 rows in 38 ms, 1 of 31 files (2.1 MB)`.
    pub(crate) words: String,
    pub(crate) more: bool,
}

pub(crate) struct Row {
    pub(crate) cells: Vec<ResultCell>,
    /// Address of the SQL console with the query for the row's history.
    pub(crate) history_href: Option<String>,
}

pub(crate) struct ResultCell {
    pub(crate) text: String,
    pub(crate) is_null: bool,
    pub(crate) is_number: bool,
}

impl Results {
    pub(crate) fn new(answer: QueryAnswer) -> Results {
        Results::with_chart(answer, &SqlForm::default())
    }

    /// Builds the results with the chart that the form requests.
    pub(crate) fn with_chart(answer: QueryAnswer, wish: &SqlForm) -> Results {
        let (chart, no_chart) = match draw(&answer, wish) {
            Ok(chart) => (chart, None),
            Err(why) => (None, Some(why)),
        };
        let seen = &answer.seen;
        let files = if seen.of_files == 0 {
            String::new()
        } else {
            format!(", {} of {} ({})", seen.files, parts::counted(seen.of_files, "file"), parts::bytes(seen.bytes))
        };
        let rows = parts::counted(parts::count(answer.rows.len() as u64), "row");
        let words = format!("{rows} in {:.0} ms{files}", answer.duration_ms);
        let columns = answer.columns;
        let shown = |(cell, column): (&Cell, &ResultColumn)| ResultCell {
            text: parts::short(&cell_text(cell), CELL_CHARS).into_owned(),
            is_null: cell.is_null(),
            is_number: column.is_number,
        };
        let rows = answer
            .rows
            .iter()
            .map(|row| Row { cells: row.iter().zip(&columns).map(shown).collect(), history_href: None });
        Results { rows: rows.collect(), columns, chart, no_chart, words, more: answer.more }
    }

    /// Builds the results for rows of a table, with links to their history if the table provides a query for it.
    pub(crate) fn of_table(answer: QueryAnswer, table: &LakeTable) -> Results {
        let histories = answer.rows.iter().map(|row| table.history_of(row, &answer.columns)).collect::<Vec<_>>();
        let mut results = Results::new(answer);
        for (row, sql) in results.rows.iter_mut().zip(histories) {
            row.history_href = sql.map(|sql| format!("/sql?sql={}", encoded(&sql)));
        }
        results
    }

    pub(crate) fn has_histories(&self) -> bool {
        self.rows.iter().any(|row| row.history_href.is_some())
    }
}

/// Draws the requested chart. Returns the reason if it cannot be drawn.
pub(crate) fn draw(answer: &QueryAnswer, wish: &SqlForm) -> Result<Option<Chart>, String> {
    let look = match wish.chart.as_str() {
        "bar" => ChartType::Bars,
        "line" => ChartType::Line,
        _ => return Ok(None),
    };
    let place = |name: &str| answer.columns.iter().position(|column| column.name == name);
    let number = |except: Option<usize>| {
        let numbers = answer.columns.iter().enumerate().filter(|(_, column)| column.is_number).map(|(place, _)| place);
        numbers.clone().find(|place| Some(*place) != except).or_else(|| numbers.clone().next())
    };
    let x = place(&wish.x).or_else(|| answer.columns.iter().position(|column| !column.is_number)).unwrap_or(0);
    let y = place(&wish.y).or_else(|| number(Some(x)));
    let y = y.filter(|y| answer.columns.get(*y).is_some_and(|column| column.is_number));
    let Some(y) = y else { return Err("A picture needs a column of numbers.".into()) };
    let title = format!("{} by {}", answer.columns[y].name, answer.columns[x].name);
    let points = answer.rows.iter().map(|row| (cell_text(&row[x]).into_owned(), as_number(&row[y]))).collect();
    Chart::new(look, title, points).map(Some).ok_or_else(|| "There are no numbers to draw.".into())
}

/// Returns the number in a cell. Decimals are stored as text.
pub(crate) fn as_number(cell: &Cell) -> Option<f64> {
    match cell {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_store::lake_view::ScanProgress;
    use serde_json::json;

    fn answer() -> QueryAnswer {
        let column = |name: &str, is_number| ResultColumn { name: name.into(), data_type: "x".into(), is_number };
        QueryAnswer {
            columns: vec![column("id", true), column("state", false), column("total", true)],
            rows: vec![vec![json!(1), json!("CA"), json!("12.50")], vec![json!(2), Value::Null, Value::Null]],
            more: false,
            duration_ms: 12.4,
            seen: ScanProgress { files: 1, of_files: 31, bytes: 2_100_000 },
        }
    }

    #[test]
    fn a_picture_takes_the_columns_that_are_named_or_those_that_fit() {
        for (chart, x, y, drawn) in [
            ("", "", "", Ok(None)),
            ("bar", "", "", Ok(Some("id by state"))),
            ("line", "id", "", Ok(Some("total by id"))),
            ("bar", "state", "total", Ok(Some("total by state"))),
            ("bar", "id", "state", Err("A picture needs a column of numbers.")),
        ] {
            let wish = SqlForm { chart: chart.into(), x: x.into(), y: y.into(), ..SqlForm::default() };
            let found = draw(&answer(), &wish).map(|chart| chart.map(|chart| chart.to_string()));
            match drawn {
                Ok(title) => {
                    let found = found.unwrap_or_else(|why| panic!("{chart} {x} {y}: {why}"));
                    assert_eq!(found.is_some(), title.is_some(), "{chart} {x} {y}");
                    let said = format!("aria-label=\"{}\"", title.unwrap_or_default());
                    assert!(found.is_none_or(|svg| svg.contains(&said)), "{chart} {x} {y}");
                }
                Err(why) => assert_eq!(found, Err(why.into()), "{chart} {x} {y}"),
            }
        }
        assert_eq!(Results::new(answer()).words, "2 rows in 12 ms, 1 of 31 files (2.1 MB)");
    }
}
