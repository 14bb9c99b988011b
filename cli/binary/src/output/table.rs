//! Text tables: with rules for users, without rules for tools.

use super::Style;
use std::fmt::Write as _;

const BETWEEN: &str = " | ";
/// Minimum width to which a column is narrowed to fit a terminal. A longer heading raises the minimum.
const NARROWEST: usize = 6;

/// Handling of cells that are wider than their column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cells {
    /// Their start, followed by `…`.
    Cut,
    /// Completely, in the last column: the terminal wraps the line.
    Whole,
}

/// Formats a table with headings, a double line, and `|` between columns, in the style of Airflow. `room` is the width
/// of the terminal.
pub(super) fn ruled(columns: &[&str], rows: &[Vec<String>], style: Style, room: Option<usize>, cells: Cells) -> String {
    let widths = match (room, cells) {
        (None, _) => widths(columns, rows),
        (Some(room), Cells::Cut) => fit(columns, rows, room),
        (Some(room), Cells::Whole) => rule_fits(widths(columns, rows), room),
    };
    let heading = columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>();
    let mut text = line(&heading, &widths, BETWEEN, |_, padded| style.heading(padded).into_owned());
    let rule: Vec<String> = widths.iter().map(|&width| "=".repeat(width)).collect();
    text.push_str(&rule.join("=+="));
    text.push('\n');
    for row in rows {
        let shown: Vec<String> = match cells {
            Cells::Cut => row.iter().zip(&widths).map(|(cell, &width)| cut(cell, width)).collect(),
            Cells::Whole => row.clone(),
        };
        text.push_str(&line(&shown, &widths, BETWEEN, |column, padded| {
            // The color depends on the state before it is cut.
            if columns[column] == "state" { style.state(&row[column], padded).into_owned() } else { padded.to_owned() }
        }));
    }
    text
}

/// Kind of values in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Prose.
    Words,
    Value,
    /// Ids, which users copy into the next command.
    Id,
}

/// Returns column widths that fit in `room`. The widest columns are narrowed first, columns with words before columns
/// with values. Ids and the first column are never cut: if they do not fit, the terminal wraps the lines.
fn fit(columns: &[&str], rows: &[Vec<String>], room: usize) -> Vec<usize> {
    let mut widths = widths(columns, rows);
    let narrowest: Vec<usize> = columns
        .iter()
        .zip(&widths)
        .map(|(heading, &width)| heading.chars().count().max(NARROWEST).min(width))
        .collect();
    let between = BETWEEN.chars().count() * columns.len().saturating_sub(1);
    for content in [Content::Words, Content::Value] {
        let places: Vec<usize> =
            (1..columns.len()).filter(|&place| content_of(columns[place], rows, place) == content).collect();
        let excess = (widths.iter().sum::<usize>() + between).saturating_sub(room);
        narrow(&mut widths, &narrowest, &places, excess);
    }
    widths
}

fn content_of(heading: &str, rows: &[Vec<String>], place: usize) -> Content {
    if heading == "id" || heading.ends_with("_id") {
        Content::Id
    } else if rows.iter().any(|row| row[place].contains(' ')) {
        Content::Words
    } else {
        Content::Value
    }
}

/// Narrows these columns by `excess` in total, the widest first.
fn narrow(widths: &mut [usize], narrowest: &[usize], places: &[usize], mut excess: usize) {
    while excess > 0 {
        let can = places.iter().copied().filter(|&place| widths[place] > narrowest[place]);
        let Some(widest) = can.max_by_key(|&place| widths[place]) else { return };
        // Narrow to the width of the next widest column in one step, because a cell may be as large as a log.
        let next = places.iter().filter(|&&place| place != widest).map(|&place| widths[place]).max().unwrap_or(0);
        let step = widths[widest].saturating_sub(next.max(narrowest[widest])).clamp(1, excess);
        widths[widest] -= step;
        excess -= step;
    }
}

/// Shortens only the rule under the last column, whose cells are not padded.
fn rule_fits(mut widths: Vec<usize>, room: usize) -> Vec<usize> {
    if let Some((last, others)) = widths.split_last_mut() {
        let before: usize = others.iter().map(|width| width + BETWEEN.len()).sum();
        *last = (*last).min(room.saturating_sub(before).max(NARROWEST));
    }
    widths
}

/// Returns the text, cut to `width` characters with `…` if it is longer.
pub(super) fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    cell.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Formats headings and rows with two spaces between columns. An empty cell is `-`, so that `awk` can count fields.
pub(super) fn plain(columns: &[&str], rows: &[Vec<String>]) -> String {
    let filled: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { cell.clone() }).collect())
        .collect();
    let widths = widths(columns, &filled);
    let heading = columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>();
    std::iter::once(&heading)
        .chain(&filled)
        .map(|row| line(row, &widths, "  ", |_, padded| padded.to_owned()))
        .collect()
}

fn widths(columns: &[&str], rows: &[Vec<String>]) -> Vec<usize> {
    let of_column = |(place, heading): (usize, &&str)| {
        let cells = rows.iter().map(|row| row[place].chars().count());
        cells.chain([heading.chars().count()]).max().unwrap_or(0)
    };
    columns.iter().enumerate().map(of_column).collect()
}

/// Formats a row. `paint` gets the column and the padded cell.
fn line(cells: &[String], widths: &[usize], between: &str, paint: impl Fn(usize, &str) -> String) -> String {
    let mut text = String::new();
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let is_last = column + 1 == cells.len();
        let padded = if is_last { cell.clone() } else { format!("{cell:width$}") };
        let before = if column == 0 { "" } else { between };
        write!(text, "{before}{}", paint(column, &padded)).expect("writing to a string cannot fail");
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
            ruled(&["dag_id", "state"], &rows(), Style::Plain, None, Cells::Cut),
            "dag_id | state\n=======+========\ngröße  | success\nb      |\n"
        );
        assert_eq!(plain(&["dag_id", "state"], &rows()), "dag_id  state\ngröße   success\nb       -\n");
    }

    #[test]
    fn only_states_and_headings_have_colours() {
        let text = ruled(&["dag_id", "state"], &rows(), Style::Coloured, None, Cells::Cut);
        assert!(text.contains("größe  | \x1b[32msuccess\x1b[0m\n"), "{text}");
    }

    fn texts(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|&cell| cell.into()).collect()).collect()
    }

    #[test]
    fn a_table_fits_its_terminal() {
        let rows = texts(&[&["sales", "a long description", "upstream_failed"], &["b", "größer als sonst", "success"]]);
        let columns = ["dag_id", "description", "state"];
        let drawn = |room| ruled(&columns, &rows, Style::Plain, Some(room), Cells::Cut);
        assert_eq!(drawn(200), ruled(&columns, &rows, Style::Plain, None, Cells::Cut), "there is room");
        let fitting = drawn(40);
        assert_eq!(
            fitting,
            "dag_id | description   | state\n=======+===============+================\n\
             sales  | a long descr… | upstream_failed\nb      | größer als s… | success\n"
        );
        assert!(fitting.lines().all(|line| line.chars().count() <= 40), "{fitting}");
        let painted = ruled(&columns, &rows, Style::Coloured, Some(32), Cells::Cut);
        assert!(painted.contains("upstream…") && painted.contains("\x1b[33m"), "{painted}");
    }

    #[test]
    fn words_go_before_values_and_ids_stay_whole() {
        let columns = ["dag_id", "run_id", "note", "file"];
        let cells = ["the_first_column", "manual__2026_of_it", "words that are read", "folder/file_of_it.rs"];
        let rows = texts(&[&cells]);
        let widths = |room: usize| fit(&columns, &rows, room);
        assert_eq!(widths(82), [16, 18, 19, 20]);
        assert_eq!(widths(72), [16, 18, 9, 20]);
        assert_eq!(widths(60), [16, 18, 6, 11]);
        assert_eq!(widths(20), [16, 18, 6, 6], "it does not fit anyhow");
    }

    #[test]
    fn the_widest_of_several_goes_first_whatever_its_size() {
        let rows = vec![vec!["a".into(), "x y".repeat(1_000_000), "x y".repeat(5), "x y".repeat(6)]];
        assert_eq!(fit(&["id", "b", "c", "d"], &rows, 60), [2, 17, 15, 17]);
        assert_eq!(fit(&["id", "b", "c", "d"], &rows, 41), [2, 10, 10, 10]);
        assert!(fit(&[], &[], 10).is_empty());
    }

    #[test]
    fn text_that_is_shown_whole_has_a_rule_that_fits() {
        let rows = texts(&[&["description", "words that are longer than the terminal"]]);
        assert_eq!(
            ruled(&["property", "value"], &rows, Style::Plain, Some(24), Cells::Whole),
            "property    | value\n============+===========\ndescription | words that are longer than the terminal\n"
        );
    }
}
