//! Tables that one SQL file each builds: the comment at the top describes the table and the rules for its rows, and the
//! statement computes them. Column types are inferred from the statement.
//!
//! ```sql
//! -- One row for each item of an order
//! -- key: order_item_id
//! -- required: order_item_id, order_id, quantity
//! -- expected: order_status
//! -- partition: month(order_date)
//! -- chart: select order_status, count(*) from retail.orders_fact group by 1
//! -- references: customer_id in customer_dim
//! -- quarantine quantity: quantity BETWEEN 1 AND 1000
//! -- warn price: price >= 0
//! SELECT …
//! ```
//!
//! A row without its key, or with the key of another row, fails the task. A row without a `required` value, or for
//! which a `quarantine` rule is false, is quarantined. Everything else is a warning: a missing `expected` value, an
//! unknown reference, a failed `warn` rule. Columns that are not `required` are nullable.

use iceberg::spec::Transform;
use orch::prelude::*;
use orch_lake::TableSpec;
use orch_lake::contract::{Contract, Policy};
use orch_lake::frame::sql::SqlFrames;
use orch_lake::frame::{batches_of, empty_frame};
use orch_lake::table::spec::{Column, Kind};

/// A table and the statement that computes its rows.
#[derive(Debug, Clone)]
pub struct Model {
    pub table: TableSpec,
    pub statement: &'static str,
    pub reads: Vec<&'static str>,
    head: Vec<&'static str>,
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
pub fn models(
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
    let required = list(&head, "required");
    let schema = batches_of(frames.query(statement)?)?.0;
    let columns = schema.fields().iter().map(|field| {
        let kind = Kind::of(field.data_type()).with_context(|| format!("`{}` has an unknown type", field.name()))?;
        let name: &'static str = field.name().clone().leak();
        Ok(Column { name, kind, nullable: !required.contains(&name) })
    });
    let columns = columns.collect::<TaskResult<Vec<Column>>>()?.leak();
    let table = TableSpec::new(namespace, name, list(&head, "key").leak(), columns)
        .doc(head.first().copied().unwrap_or_default());
    let chart = head.iter().find_map(|line| line.strip_prefix("chart: "));
    let table = chart.into_iter().fold(table, TableSpec::chart);
    let partition = list(&head, "partition").first().copied();
    let month = partition.and_then(|of| of.strip_prefix("month(")?.strip_suffix(')'));
    let table = month.map_or(table, |column| table.partition(vec![(column, Transform::Month)].leak()));
    for column in required.iter().chain(table.key).chain(month.as_ref()) {
        ensure!(table.column(column).is_some(), "there is no column `{column}`");
    }
    let reads = known.iter().copied().filter(|table| has_word(statement, table)).collect();
    let model = Model { table, statement, reads, head };
    Ok(model)
}

/// Returns the values of a line such as `-- key: a, b`.
fn list(head: &[&'static str], key: &str) -> Vec<&'static str> {
    let values = head.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    values.map_or_else(Vec::new, |values| values.split(", ").collect())
}

/// Returns true if a statement contains a word outside of comment lines.
pub(crate) fn has_word(statement: &str, word: &str) -> bool {
    let code = statement.lines().filter(|line| !line.trim_start().starts_with("--"));
    let mut words = code.flat_map(|line| line.split(|letter: char| !letter.is_alphanumeric() && letter != '_'));
    words.any(|found| found == word)
}

impl Model {
    /// Returns the contract that the head of the file declares.
    pub fn contract(&self) -> Contract {
        let TableSpec { key, columns, .. } = self.table;
        let required = columns.iter().filter(|column| !column.nullable).map(|column| column.name);
        let (keys, others): (Vec<&str>, Vec<&str>) = required.partition(|name| key.contains(name));
        let rules = |policy: &str| -> Vec<(&str, &str)> {
            self.head.iter().filter_map(|line| line.strip_prefix(policy)?.strip_prefix(' ')?.split_once(": ")).collect()
        };
        let contract = Contract::of(self.table.uri())
            .key(key.iter().copied())
            .schema(&self.table.schema())
            .not_null(keys)
            .unique(key.iter().copied())
            .not_null(others)
            .or(Policy::Quarantine)
            .rules(rules("quarantine"))
            .or(Policy::Quarantine)
            .not_null(list(&self.head, "expected"))
            .or(Policy::Warn)
            .rules(rules("warn"))
            .or(Policy::Warn);
        self.references()
            .fold(contract, |contract, (column, table)| contract.references([column], table).or(Policy::Warn))
    }

    /// Returns the columns that refer to the key of another table, with that table.
    pub fn references(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        list(&self.head, "references").into_iter().filter_map(|reference| reference.split_once(" in "))
    }
}

/// Returns the columns of a table that a statement reads: unqualified names, and names qualified with the name or alias
/// of the table. If the statement uses another name for the table, returns all columns that it names.
pub(crate) fn columns_read(statement: &str, table: &TableSpec) -> Vec<&'static str> {
    let words = statement.split(|letter: char| !letter.is_alphanumeric() && !['_', '.'].contains(&letter));
    let words: Vec<&str> = words.filter(|word| !word.is_empty() && !word.eq_ignore_ascii_case("as")).collect();
    let has_other_name = !words.contains(&table.name);
    let is_alias = |of: &str| has_other_name || words.windows(2).any(|pair| pair == [table.name, of]);
    let is_read = |column: &&str| {
        words.iter().any(|word| match word.rsplit_once('.') {
            None => word == column,
            Some((of, name)) => name == *column && (of == table.name || is_alias(of)),
        })
    };
    table.column_names().filter(is_read).collect()
}
