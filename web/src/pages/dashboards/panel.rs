//! Draws a panel from its rows as a figure, a picture with a legend, or a table. Deterministic: the same rows give the
//! same drawing. Each picture also has its numbers in a table.

use crate::pages::sql::results::as_number;
use crate::parts::{self, Chart, ChartType, MOST_POINTS, MOST_SERIES, Map, Meter, Region, Sample, Series};
use askama::filters::HtmlSafe;
use orch_document::dashboard::{Panel, PanelType};
use orch_store::lake_view::{Cell, QueryAnswer, ResultColumn, cell_text, is_time};
use std::fmt;

/// Maximum number of rows in a table. The export has all rows.
const MOST_ROWS: usize = 300;
const CELL_CHARS: usize = 200;
/// Column that contains the outlines of a map.
pub(super) const OUTLINE: &str = "outline";

/// A drawn panel.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    pub(super) figure: Option<Figure>,
    pub(super) picture: Option<Picture>,
    pub(super) legend: Vec<(Picture, String)>,
    /// Bars with text labels, drawn as table rows.
    pub(super) ranks: Vec<Rank>,
    pub(super) table: Table,
    /// True if the panel shows only the table.
    pub(super) is_table: bool,
    /// Why the picture is missing or incomplete.
    pub(super) problem: Option<&'static str>,
    /// True if the query has more rows than a panel reads.
    pub(super) is_cut: bool,
}

/// A value with a comparison to an earlier one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Figure {
    pub(super) value: String,
    pub(super) unit: String,
    pub(super) beside: String,
}

#[derive(Debug, Clone)]
pub(super) enum Picture {
    Chart(Box<Chart>),
    Map(Box<Map>),
    Sample(Sample),
    Shade(parts::Shade),
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Picture::Chart(chart) => chart.fmt(f),
            Picture::Map(map) => map.fmt(f),
            Picture::Sample(sample) => sample.fmt(f),
            Picture::Shade(shade) => shade.fmt(f),
        }
    }
}

impl HtmlSafe for Picture {}

#[derive(Debug)]
pub(super) struct Rank {
    pub(super) word: String,
    pub(super) meter: Meter,
    pub(super) value: String,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    /// Each column with whether it is numeric.
    pub(super) columns: Vec<(String, bool)>,
    pub(super) rows: Vec<Vec<String>>,
    /// Number of rows that are not shown.
    pub(super) left_out: usize,
}

/// Draws a panel. `answer` must have at least one row.
pub(super) fn drawn(panel: &Panel, answer: &QueryAnswer) -> Drawn {
    let mut drawn = Drawn { table: table(answer), is_cut: answer.more, ..Drawn::default() };
    match panel.look {
        PanelType::Figure => drawn.figure = Some(figure(panel, answer)),
        PanelType::Table => drawn.is_table = true,
        PanelType::Map => add_map(&mut drawn, panel, answer),
        PanelType::Lines => add_chart(&mut drawn, ChartType::Line, panel, answer),
        PanelType::Bars => match ranks(panel, answer) {
            Some(ranks) => drawn.ranks = ranks,
            None => add_chart(&mut drawn, ChartType::Bars, panel, answer),
        },
    }
    drawn
}

fn table(answer: &QueryAnswer) -> Table {
    let places: Vec<usize> = (0..answer.columns.len()).filter(|at| answer.columns[*at].name != OUTLINE).collect();
    let row = |row: &Vec<Cell>| places.iter().map(|at| format_cell(&row[*at])).collect();
    Table {
        columns: places.iter().map(|at| (words(&answer.columns[*at].name), answer.columns[*at].is_number)).collect(),
        rows: answer.rows.iter().take(MOST_ROWS).map(row).collect(),
        left_out: answer.rows.len().saturating_sub(MOST_ROWS),
    }
}

/// Returns the label of a column: `total_trips` becomes `total trips`.
fn words(column: &str) -> String {
    column.replace('_', " ")
}

fn format_cell(cell: &Cell) -> String {
    match cell.as_f64().filter(|number| cell.is_f64() && number.is_finite()) {
        Some(number) => parts::exact(number),
        None => parts::short(&cell_text(cell), CELL_CHARS).into_owned(),
    }
}

/// Formats a number with its unit: currencies before the number, other units after it.
fn with_unit(number: f64, unit: &str) -> String {
    match unit {
        "" => parts::exact(number),
        "$" | "€" | "£" if number < 0.0 => format!("−{unit}{}", parts::exact(-number)),
        "$" | "€" | "£" => format!("{unit}{}", parts::exact(number)),
        unit => format!("{} {unit}", parts::exact(number)),
    }
}

fn number_at(answer: &QueryAnswer, row: &[Cell], at: usize) -> Option<f64> {
    let is_number = answer.columns.get(at)?.is_number;
    row.get(at).and_then(as_number).filter(|_| is_number)
}

fn figure(panel: &Panel, answer: &QueryAnswer) -> Figure {
    let row = answer.rows.first().map_or(&[][..], Vec::as_slice);
    let number = number_at(answer, row, 0);
    let before = number_at(answer, row, 1);
    let is_before = ["$", "€", "£"].contains(&panel.unit.as_str());
    let value = match (number, row.first()) {
        (Some(number), _) if is_before => with_unit(number, &panel.unit),
        (Some(number), _) => parts::exact(number),
        (None, Some(cell)) if !cell.is_null() => format_cell(cell),
        _ => "–".into(),
    };
    let has_unit = number.is_some() && !is_before;
    Figure {
        value,
        unit: if has_unit { panel.unit.clone() } else { String::new() },
        beside: number.zip(before).map_or_else(String::new, |(number, before)| beside(number, before, panel)),
    }
}

/// Returns the comparison with the earlier value, such as `3.2 % more than the day before ($1,200)`.
fn beside(number: f64, before: f64, panel: &Panel) -> String {
    let of = if panel.compare.is_empty() { "before" } else { &panel.compare };
    let was = with_unit(before, &panel.unit);
    if before == 0.0 {
        return format!("{was} {of}");
    }
    let percent = (number - before) / before.abs() * 100.0;
    match parts::exact((percent.abs() * 10.0).round() / 10.0).as_str() {
        "0" => format!("as {of} ({was})"),
        percent_text => format!("{percent_text} % {} than {of} ({was})", if percent > 0.0 { "more" } else { "less" }),
    }
}

fn place(answer: &QueryAnswer, name: Option<&String>) -> Option<usize> {
    answer.columns.iter().position(|column| Some(&column.name) == name)
}

/// Returns the indexes of the numeric columns that are drawn.
fn measures(panel: &Panel, answer: &QueryAnswer) -> Vec<usize> {
    let others = [&panel.series, &panel.lower, &panel.upper].map(|name| place(answer, name.as_ref()));
    let is_one = |at: &usize| answer.columns[*at].is_number && !others.contains(&Some(*at));
    (1..answer.columns.len()).filter(is_one).collect()
}

/// Returns bars with labels too long for a chart. `None` unless there is one measure and no series or time axis.
fn ranks(panel: &Panel, answer: &QueryAnswer) -> Option<Vec<Rank>> {
    let [at] = measures(panel, answer)[..] else { return None };
    if panel.series.is_some() || answer.columns.first().is_none_or(|column: &ResultColumn| is_time(&column.data_type)) {
        return None;
    }
    let numbers: Vec<Option<f64>> = answer.rows.iter().map(|row| number_at(answer, row, at)).collect();
    let most = numbers.iter().flatten().copied().fold(0.0, f64::max);
    let rank = |(row, number): (&Vec<Cell>, &Option<f64>)| Rank {
        word: format_cell(&row[0]),
        meter: parts::share(number.unwrap_or(0.0), most),
        value: number.map_or_else(|| "–".into(), |number| with_unit(number, &panel.unit)),
    };
    Some(answer.rows.iter().zip(&numbers).take(MOST_ROWS).map(rank).collect())
}

fn add_chart(drawn: &mut Drawn, look: ChartType, panel: &Panel, answer: &QueryAnswer) {
    let (words, series) = match place(answer, panel.series.as_ref()) {
        Some(by) => series_by(panel, answer, by),
        None => series_of_columns(panel, answer),
    };
    if series.len() > 1 || series.iter().any(|one| !one.band.is_empty()) {
        let name =
            |one: &Series| if one.band.is_empty() { one.name.clone() } else { format!("{}, with its band", one.name) };
        let samples = series.iter().take(MOST_SERIES).enumerate();
        drawn.legend = samples.map(|(nth, one)| (Picture::Sample(Sample::of(look, nth)), name(one))).collect();
    }
    drawn.problem = match (words.len() > MOST_POINTS, series.len() > MOST_SERIES) {
        (true, _) => Some("There are more than 400 points: the first are drawn, and the table has more."),
        (_, true) => Some("There are more than six series: the first are drawn, and the table has all."),
        _ => None,
    };
    let title = if panel.unit.is_empty() { panel.title.clone() } else { format!("{}, {}", panel.title, panel.unit) };
    match Chart::of_series(look, title, words, series) {
        Some(chart) => drawn.picture = Some(Picture::Chart(Box::new(chart))),
        None => drawn.problem = Some("There are no numbers to draw."),
    }
}

fn series_of_columns(panel: &Panel, answer: &QueryAnswer) -> (Vec<String>, Vec<Series>) {
    let words = answer.rows.iter().map(|row| cell_text(&row[0]).into_owned()).collect();
    let series = |at: usize| Series {
        name: self::words(&answer.columns[at].name),
        values: answer.rows.iter().map(|row| number_at(answer, row, at)).collect(),
        band: Vec::new(),
    };
    let mut all: Vec<Series> = measures(panel, answer).into_iter().map(series).collect();
    if let (Some(lower), Some(upper), Some(last)) =
        (place(answer, panel.lower.as_ref()), place(answer, panel.upper.as_ref()), all.last_mut())
    {
        let band = |row: &Vec<Cell>| number_at(answer, row, lower).zip(number_at(answer, row, upper));
        last.band = answer.rows.iter().map(band).collect();
    }
    (words, all)
}

/// Returns one series per value of the column `by`, each over all labels of the first column.
fn series_by(panel: &Panel, answer: &QueryAnswer, by: usize) -> (Vec<String>, Vec<Series>) {
    let Some(at) = measures(panel, answer).into_iter().next() else { return (Vec::new(), Vec::new()) };
    let mut words: Vec<String> = Vec::new();
    let mut all: Vec<Series> = Vec::new();
    for row in &answer.rows {
        let (word, name) = (cell_text(&row[0]), cell_text(&row[by]));
        let place = words.iter().rposition(|known| *known == word).unwrap_or_else(|| {
            words.push(word.into_owned());
            words.len() - 1
        });
        let series = match all.iter().position(|one| one.name == name) {
            Some(known) => &mut all[known],
            None => {
                all.push(Series { name: name.into_owned(), ..Series::default() });
                let last = all.len() - 1;
                &mut all[last]
            }
        };
        series.values.resize(place.max(series.values.len().saturating_sub(1)) + 1, None);
        series.values[place] = number_at(answer, row, at);
    }
    all.iter_mut().for_each(|series| series.values.resize(words.len(), None));
    (words, all)
}

fn add_map(drawn: &mut Drawn, panel: &Panel, answer: &QueryAnswer) {
    let outline = place(answer, Some(&OUTLINE.to_owned()));
    let number = measures(panel, answer).pop();
    let (Some(outline), Some(number)) = (outline, number) else {
        drawn.problem = Some("A map needs a column `outline` and a number.");
        return;
    };
    let name = usize::from(answer.columns.len() > 3 && outline != 1);
    let region =
        |row: &Vec<Cell>| Region::new(format_cell(&row[name]), number_at(answer, row, number), row[outline].as_str()?);
    match Map::new(panel.title.clone(), answer.rows.iter().filter_map(region).collect()) {
        Some(map) => {
            drawn.legend = map.legend().into_iter().map(|(shade, words)| (Picture::Shade(shade), words)).collect();
            drawn.picture = Some(Picture::Map(Box::new(map)));
        }
        None => drawn.problem = Some("No row has an outline that can be drawn."),
    }
}

#[cfg(test)]
mod tests;
