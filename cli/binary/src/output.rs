//! Output of commands. Standard output carries only the result, in the requested format, so that it can be piped.
//! Messages for users go to standard error and have the same text with and without color.

mod line;
mod progress;
mod table;
mod terminal;

pub use crate::style::Style;
pub use line::{readable, readable_fields};
pub use orch_spec::text::counted;
pub use progress::with_progress;

use crate::failure::{Exit, Failure, Outcome};
use chrono::{DateTime, Utc};
use orch_document::yaml;
use orch_spec::schedule::isoformat;
use serde_json::Value;
use std::borrow::Cow;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use table::Cells;

/// Moves the cursor to the start of the line and clears the line.
pub(crate) const CLEAR_LINE: &str = "\r\x1b[K";

/// How lists are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: columns with a heading
    #[default]
    Table,
    /// A list of objects, or one object
    Json,
    /// The same as YAML
    Yaml,
    /// Columns without lines, for `awk` and `cut`
    Plain,
}

/// `-o`, for every command that prints a list.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct FormatFlag {
    /// Format of what is printed
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    pub format: Format,
}

/// Rows with headings. The headings are the keys in JSON and YAML.
#[derive(Debug, Clone)]
pub struct Listing {
    columns: Vec<Cow<'static, str>>,
    rows: Vec<Vec<Value>>,
    /// Message if there are no rows: what to do next.
    empty: String,
    cells: Cells,
}

impl Listing {
    pub fn new<const N: usize>(columns: [&'static str; N], empty: impl Into<String>) -> Listing {
        let columns = columns.map(Cow::Borrowed).to_vec();
        Listing { columns, rows: Vec::new(), empty: empty.into(), cells: Cells::Cut }
    }

    /// Creates a listing whose columns are known only at run time. Each row has a cell for every column.
    pub fn of(columns: Vec<String>, rows: Vec<Vec<Value>>, empty: impl Into<String>) -> Listing {
        let columns = columns.into_iter().map(Cow::Owned).collect();
        Listing { columns, rows, empty: empty.into(), cells: Cells::Cut }
    }

    /// Disables truncation of cells in narrow terminals, for tables that are useless without their complete text.
    #[must_use]
    pub fn whole(self) -> Listing {
        Listing { cells: Cells::Whole, ..self }
    }

    #[must_use]
    pub fn when_empty(self, empty: &str) -> Listing {
        Listing { empty: empty.into(), ..self }
    }

    pub fn add<const N: usize>(&mut self, row: [Value; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.rows.push(row.into());
    }

    /// Selects and orders columns. Fails if a column does not exist.
    pub fn select(&mut self, wanted: &[String]) -> Result<(), Failure> {
        let place = |name: &String| {
            self.columns.iter().position(|column| column == name).ok_or_else(|| {
                Failure::new(format!("there is no column `{name}`"))
                    .hint(format!("columns are {}", self.columns.join(", ")))
            })
        };
        let places = wanted.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        self.columns = places.iter().map(|&place| self.columns[place].clone()).collect();
        for row in &mut self.rows {
            *row = places.iter().map(|&place| row[place].clone()).collect();
        }
        Ok(())
    }

    fn objects(&self) -> Vec<Object<'_>> {
        self.rows.iter().map(|row| Object(self.names().zip(row).collect())).collect()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| &**column)
    }

    fn texts(&self, is_terminal: bool) -> Vec<Vec<String>> {
        self.rows.iter().map(|row| row.iter().map(|value| shown_cell(value, is_terminal)).collect()).collect()
    }

    pub fn print(&self, format: Format) -> Outcome {
        let texts = || self.texts(std::io::stdout().is_terminal());
        match format {
            Format::Table | Format::Plain if self.rows.is_empty() => {
                eprintln!("{}", self.empty);
                Ok(Exit::Done)
            }
            Format::Table => {
                let names = self.names().collect::<Vec<_>>();
                print(&table::ruled(&names, &texts(), Style::of_stdout(), terminal_width(), self.cells))
            }
            Format::Plain => print(&table::plain(&self.names().collect::<Vec<_>>(), &texts())),
            Format::Json => print_json(&self.objects()),
            Format::Yaml => print(&yaml::list(self.objects().iter().map(|object| &object.0[..]))),
        }
    }
}

/// The properties of a single object: a line for each in a table, an object in JSON and YAML.
#[derive(Debug, Clone)]
pub struct Record {
    properties: Vec<(&'static str, Value)>,
}

/// Fields in the order in which JSON and YAML write them.
struct Object<'a>(Vec<(&'a str, &'a Value)>);

impl serde::Serialize for Object<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

impl Record {
    pub fn new(properties: impl Into<Vec<(&'static str, Value)>>) -> Record {
        Record { properties: properties.into() }
    }

    pub fn print(&self, format: Format) -> Outcome {
        let is_terminal = std::io::stdout().is_terminal();
        let line = |(name, value): &(&str, Value)| vec![(*name).to_owned(), shown_cell(value, is_terminal)];
        let lines = || self.properties.iter().map(line).collect::<Vec<_>>();
        let object = || Object(self.properties.iter().map(|(name, value)| (*name, value)).collect());
        match format {
            Format::Table => {
                let names = ["property", "value"];
                print(&table::ruled(&names, &lines(), Style::of_stdout(), terminal_width(), Cells::Whole))
            }
            Format::Plain => print(&table::plain(&["property", "value"], &lines())),
            Format::Json => print_json(&object()),
            Format::Yaml => print(&yaml::object(&object().0)),
        }
    }
}

/// Writes to standard output. Control characters except colors are escaped for a terminal. A closed pipe, as with
/// `| head`, is not a failure.
pub fn print(text: &str) -> Outcome {
    if std::io::stdout().is_terminal() { write(&terminal::escape_except_colors(text)) } else { write(text) }
}

pub fn clear_screen() -> Outcome {
    write("\x1b[H\x1b[2J")
}

/// Writes a line to standard error. Control characters except colors are escaped for a terminal. `eprintln!` in this
/// crate and in `orch-cli` calls this function, so that no message can bypass it.
pub fn print_message(line: std::fmt::Arguments<'_>) {
    let (line, mut stderr) = (line.to_string(), std::io::stderr().lock());
    let line = if stderr.is_terminal() { terminal::escape_except_colors(&line) } else { line.into() };
    // An error here means that standard error is closed, so it cannot be reported.
    stderr.write_all(format!("{line}\n").as_bytes()).ok();
}

fn write(text: &str) -> Outcome {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::io("cannot write to standard output")(error))
        }
        _ => Ok(Exit::Done),
    }
}

pub fn print_line(line: &str) -> Outcome {
    print(&format!("{line}\n"))
}

fn print_json(value: &impl serde::Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).expect("JSON values can be written as JSON");
    print_line(&text)
}

/// Returns the number of columns of the terminal. `None` if standard output is not a terminal.
fn terminal_width() -> Option<usize> {
    terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0))
}

/// Returns true if standard error is a terminal, so that progress may be shown.
pub fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// Returns a timestamp as a cell in the format of Airflow, or null.
pub fn moment(at: Option<DateTime<Utc>>) -> Value {
    at.map_or(Value::Null, |at| isoformat(at).into())
}

/// Returns a value as the text of a cell. For a terminal, control characters are escaped before the column widths are
/// measured.
fn shown_cell(value: &Value, is_terminal: bool) -> String {
    let cell = cell(value);
    if is_terminal { terminal::escape(&cell).into_owned() } else { cell }
}

/// Returns a value as the text of a cell: strings without line breaks, and nothing for null.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace(['\n', '\r', '\t'], " "),
        Value::Array(parts) if parts.iter().all(|part| !part.is_array() && !part.is_object()) => {
            parts.iter().map(cell).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_are_one_line_each() {
        assert_eq!(cell(&json!(null)), "");
        assert_eq!(cell(&json!("two\nlines")), "two lines");
        assert_eq!(cell(&json!(["a", 1, true])), "a,1,true");
        assert_eq!(cell(&json!({ "a": [1] })), r#"{"a":[1]}"#);
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let mut listing = Listing::new(["note"], "nothing");
        listing.add([json!("\x1b]0;title\x07 \x1b[31mred")]);
        assert_eq!(listing.texts(true), [["\\x1b]0;title\\x07 \\x1b[31mred"]]);
        assert_eq!(listing.texts(false), [["\x1b]0;title\x07 \x1b[31mred"]]);
    }

    #[test]
    fn columns_can_be_chosen_by_name() {
        let mut listing = Listing::new(["a", "b"], "nothing");
        listing.add([json!(1), json!(2)]);
        listing.select(&["b".into()]).expect("there is a b");
        assert_eq!(serde_json::to_value(listing.objects()).expect("JSON"), json!([{ "b": 2 }]));
        assert!(listing.select(&["a".into()]).is_err());
    }
}
