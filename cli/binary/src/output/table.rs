//! Columns of text: with rules for people, without for tools.

use super::Style;
use std::fmt::Write as _;

/// Headings, a double line, `|` between columns: the look of Airflow's tables.
pub(super) fn ruled(columns: &[&str], rows: &[Vec<String>], style: Style) -> String {
    let widths = widths(columns, rows);
    let heading = columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>();
    let mut text = line(&heading, &widths, " | ", |_, _, padded| style.heading(padded).into_owned());
    let rule: Vec<String> = widths.iter().map(|&width| "=".repeat(width)).collect();
    text.push_str(&rule.join("=+="));
    text.push('\n');
    for row in rows {
        text.push_str(&line(row, &widths, " | ", |column, cell, padded| {
            if columns[column] == "state" { style.state(cell, padded).into_owned() } else { padded.to_owned() }
        }));
    }
    text
}

/// Headings and rows with two spaces between columns; an empty cell is `-`, so that words can be counted.
pub(super) fn plain(columns: &[&str], rows: &[Vec<String>]) -> String {
    let filled: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { cell.clone() }).collect())
        .collect();
    let widths = widths(columns, &filled);
    let heading = columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>();
    std::iter::once(&heading)
        .chain(&filled)
        .map(|row| line(row, &widths, "  ", |_, _, padded| padded.to_owned()))
        .collect()
}

fn widths(columns: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
    let of_column = |(place, heading): (usize, &&str)| {
        let cells = rows.iter().map(|row| row[place].chars().count());
        cells.chain([heading.chars().count()]).max().unwrap_or(0)
    };
    columns.iter().enumerate().map(of_column).collect()
}

/// `paint` gets the column, the cell and the cell with the spaces behind it.
fn line(cells: &[String], widths: &[usize], between: &str, paint: impl Fn(usize, &str, &str) -> String) -> String {
    let mut text = String::new();
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let is_last = column + 1 == cells.len();
        let padded = if is_last { cell.clone() } else { format!("{cell:width$}") };
        let before = if column == 0 { "" } else { between };
        write!(text, "{before}{}", paint(column, cell, &padded)).expect("writing to a string cannot fail");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Vec<String>> {
        vec![vec!["größe".into(), "success".into()], vec!["b".into(), String::new()]]
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(
            ruled(&["dag_id", "state"], &rows(), Style::Plain),
            "dag_id | state\n=======+========\ngröße  | success\nb      |\n"
        );
        assert_eq!(plain(&["dag_id", "state"], &rows()), "dag_id  state\ngröße   success\nb       -\n");
    }

    #[test]
    fn only_states_and_headings_have_colours() {
        let text = ruled(&["dag_id", "state"], &rows(), Style::Coloured);
        assert!(text.contains("größe  | \x1b[32msuccess\x1b[0m\n"), "{text}");
    }
}
