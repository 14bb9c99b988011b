//! Formats cells of query results as text, for tables on web pages and for exported files.

use super::{Cell, ResultColumn};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Formats a cell for display. Null becomes an empty string, and lists and objects become JSON.
pub fn cell_text(cell: &Cell) -> Cow<'_, str> {
    match cell {
        Value::Null => "".into(),
        Value::String(text) => text.into(),
        other => other.to_string().into(),
    }
}

/// Returns one line of CSV (RFC 4180) with its line ending. Null is an empty field, and an empty string is `""`.
pub fn csv_line<'a>(cells: impl IntoIterator<Item = &'a Cell>) -> String {
    let mut line = String::new();
    for (place, cell) in cells.into_iter().enumerate() {
        if place > 0 {
            line.push(',');
        }
        let text = cell_text(cell);
        let odd = text.contains([',', '"', '\n', '\r']) || text.starts_with(' ') || text.ends_with(' ');
        if odd || (text.is_empty() && !cell.is_null()) {
            line.push('"');
            line.push_str(&text.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(&text);
        }
    }
    line.push_str("\r\n");
    line
}

/// Prefixes every text that a spreadsheet would execute as a formula with an apostrophe, which prevents CSV injection.
pub fn escape_formulas(row: &mut [Cell]) {
    for cell in row {
        if let Value::String(text) = cell
            && text.starts_with(['=', '+', '-', '@', '\t', '\r'])
        {
            text.insert(0, '\'');
        }
    }
}

/// Returns the header line of a CSV file, with the names of the columns.
pub fn csv_head(columns: &[ResultColumn]) -> String {
    let names: Vec<Cell> = columns.iter().map(|column| Value::String(column.name.clone())).collect();
    csv_line(&names)
}

/// Converts a row to a JSON object whose keys are the column names.
pub fn row_object(columns: &[ResultColumn], row: Vec<Cell>) -> Value {
    Value::Object(columns.iter().map(|column| column.name.clone()).zip(row).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_that_a_spreadsheet_would_run_are_escaped_and_numbers_are_not() {
        let mut row = vec![json!("=1+1"), json!("@x"), json!("-2"), json!(-2), json!("a=b"), json!("\tx"), Value::Null];
        escape_formulas(&mut row);
        assert_eq!(
            row,
            [json!("'=1+1"), json!("'@x"), json!("'-2"), json!(-2), json!("a=b"), json!("'\tx"), Value::Null]
        );
    }

    #[test]
    fn a_line_of_csv_can_be_read_again_and_tells_null_from_empty() {
        for (cells, line) in [
            (vec![json!(1), json!("a"), Value::Null, json!("")], "1,a,,\"\"\r\n"),
            (
                vec![json!("a,b"), json!("say \"x\""), json!("two\nlines"), json!(" x")],
                "\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",\" x\"\r\n",
            ),
            (vec![json!([1, 2]), json!({ "k": "v" }), json!(true)], "\"[1,2]\",\"{\"\"k\"\":\"\"v\"\"}\",true\r\n"),
        ] {
            assert_eq!(csv_line(&cells), line);
        }
    }
}
