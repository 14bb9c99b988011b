//! Tables that are made by one SQL file each. The comment at the top of the file says what the table is, the statement makes
//! its rows. Types follow from the statement.
//!
//! ```sql
//! -- Orders and revenue of each day
//! -- key: date
//! -- required: date, total_orders, total_revenue
//! SELECT …
//! ```
//!
//! `partition: month(order_date)` may follow. Columns that are not `required` are nullable.

use iceberg::spec::Transform;
use orch::prelude::*;
use orch_lake::TableSpec;
use orch_lake::frame::sql::SqlFrames;
use orch_lake::frame::{batches_of, empty_frame};
use orch_lake::table::spec::{Column, Kind};

/// A table and the statement that makes its rows.
#[derive(Debug, Clone)]
pub struct Model {
    pub table: TableSpec,
    pub statement: &'static str,
    /// The tables that the statement reads.
    pub reads: Vec<&'static str>,
}

/// Pairs each name with the text of `sql/NAME.sql`.
macro_rules! sql_files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("sql/", $name, ".sql")))),+]
    };
}
pub(crate) use sql_files;

/// Reads SQL files in order: a statement may read the input tables, and the tables of the files before it.
///
/// Names and columns are leaked, so call it once per process and keep the result in a `static`.
///
/// # Errors
/// Returns an error that names the file if a statement does not fit its inputs, or a comment names an unknown column.
pub(crate) fn models(
    namespace: &'static str,
    inputs: &[TableSpec],
    files: &'static [(&'static str, &'static str)],
) -> TaskResult<Vec<Model>> {
    let (mut frames, mut known, mut models) = (SqlFrames::default(), Vec::new(), Vec::new());
    for table in inputs {
        frames.set(table.name, empty_frame(&table.schema())?);
        known.push(table.name);
    }
    for (name, text) in files {
        let model = model(namespace, (name, text), &known, &mut frames).with_context(|| format!("`sql/{name}.sql`"))?;
        frames.set(name, empty_frame(&model.table.schema())?);
        known.push(name);
        models.push(model);
    }
    Ok(models)
}

fn model(
    namespace: &'static str,
    (name, text): (&'static str, &'static str),
    known: &[&'static str],
    frames: &mut SqlFrames,
) -> TaskResult<Model> {
    let head: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("-- ")).collect();
    let statement = text.lines().skip(head.len()).collect::<Vec<_>>().join("\n").leak();
    let value = |key: &str| head.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    let names = |key: &str| value(key).map_or_else(Vec::new, |list| list.split(", ").collect());
    let required = names("required");
    let schema = batches_of(frames.query(statement)?)?.0;
    let columns = schema.fields().iter().map(|field| {
        let kind = Kind::of(field.data_type()).with_context(|| format!("`{}` has an unknown type", field.name()))?;
        let name: &'static str = field.name().clone().leak();
        Ok(Column { name, kind, nullable: !required.contains(&name) })
    });
    let columns = columns.collect::<TaskResult<Vec<Column>>>()?.leak();
    let table =
        TableSpec::new(namespace, name, names("key").leak(), columns).doc(head.first().copied().unwrap_or_default());
    let month = value("partition").and_then(|of| of.strip_prefix("month(")?.strip_suffix(')'));
    let table = month.map_or(table, |column| table.partition(vec![(column, Transform::Month)].leak()));
    for column in required.iter().chain(table.key).chain(month.as_ref()) {
        ensure!(table.column(column).is_some(), "there is no column `{column}`");
    }
    let words: Vec<&str> = statement.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
    let reads = known.iter().copied().filter(|table| words.contains(table)).collect();
    Ok(Model { table, statement, reads })
}

impl Model {
    /// The columns of a table whose names appear in one of the statements: all that has to be read of it.
    pub(crate) fn columns_read(models: &[Model], table: &TableSpec) -> Vec<&'static str> {
        let is_word = |statement: &str, name: &str| {
            statement.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| word == name)
        };
        let is_read = |name: &&str| models.iter().any(|model| is_word(model.statement, name));
        table.column_names().filter(is_read).collect()
    }
}
