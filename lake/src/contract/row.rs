//! Checks of single rows: finds the rows that violate a rule, and describes them.

use super::facts::{Facts, Stats};
use super::keys::KeySet;
use super::rule::{Rule, range};
use super::sample::{value, values};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, Scalar, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::boolean::or_kleene;
use arrow::compute::kernels::cmp::{gt, lt};
use arrow::compute::{CastOptions, cast, cast_with_options, is_null};
use arrow::datatypes::{DataType, Float64Type};
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;

/// Reason why a batch cannot be checked: a column is missing, or has another type.
pub(super) type Unfit = String;

/// Returns the rows that violate the rule, or the reason why the batch cannot be checked. `seen` contains the keys
/// that a uniqueness check has seen so far. `asked` marks the rows that are not quarantined yet.
pub(super) fn bad_rows(
    rule: &Rule,
    batch: &RecordBatch,
    facts: &Facts,
    seen: &mut Option<KeySet>,
    asked: &BooleanArray,
) -> Result<Result<BooleanArray, Unfit>, ArrowError> {
    let bad = match rule {
        Rule::NotNull { column } => match columns(batch, [column]) {
            Ok(found) => Ok(is_null(&found[0])?),
            Err(unfit) => Err(unfit),
        },
        Rule::Range { column, least, most } => match columns(batch, [column]) {
            Ok(found) => out_of_range(column, &found[0], least.as_deref(), most.as_deref())?,
            Err(unfit) => Err(unfit),
        },
        Rule::Unique { columns: names } => match columns(batch, names) {
            Ok(found) => Ok(seen.get_or_insert_with(|| KeySet::for_columns(&found)).repeated(&found, asked)?),
            Err(unfit) => Err(unfit),
        },
        Rule::References { columns: names, table } => match (columns(batch, names), facts.keys.get(table)) {
            (Ok(found), Some(keys)) => Ok(keys.unknown(&found)?),
            (Ok(_), None) => Err(format!("the keys of {table} are not known")),
            (Err(unfit), _) => Err(unfit),
        },
        Rule::Outliers { column, method } => match (columns(batch, [column]), facts.history.get(column)) {
            (Ok(_), None) => Ok(none_of(batch.num_rows())),
            (Ok(found), Some(history)) => {
                if found[0].data_type().is_numeric() {
                    let (least, most) = method.bounds(history);
                    let numbers = cast(&found[0], &DataType::Float64)?;
                    let numbers = numbers.as_primitive::<Float64Type>();
                    let far = numbers.iter().map(|number| number.is_some_and(|n| !(least..=most).contains(&n)));
                    Ok(far.collect::<Vec<bool>>().into())
                } else {
                    Err(format!("{column} is {}, not a number", found[0].data_type()))
                }
            }
            (Err(unfit), _) => Err(unfit),
        },
        Rule::Expression { .. }
        | Rule::Schema { .. }
        | Rule::Fresh { .. }
        | Rule::Continuous { .. }
        | Rule::RowsChange { .. } => Ok(none_of(batch.num_rows())),
    };
    Ok(bad.map(without_nulls))
}

/// Returns the message for a row that violates the rule.
pub(super) fn in_words(rule: &Rule, batch: &RecordBatch, row: usize, facts: &Facts) -> String {
    match rule {
        Rule::NotNull { column } => format!("{column} is null"),
        Rule::Range { column, least, most } => {
            format!("{column} is {}, not {}", value(batch, column, row), range(least.as_deref(), most.as_deref()))
        }
        Rule::Unique { columns } => format!("{} came before", values(batch, columns, row)),
        Rule::References { columns, table } => format!("{} is not in {table}", values(batch, columns, row)),
        Rule::Outliers { column, .. } => {
            let usual = facts.history.get(column).map(|Stats { mean, .. }| format!(", usual is {mean:.2}"));
            format!("{column} is {}{}", value(batch, column, row), usual.unwrap_or_default())
        }
        Rule::Expression { .. }
        | Rule::Schema { .. }
        | Rule::Fresh { .. }
        | Rule::Continuous { .. }
        | Rule::RowsChange { .. } => rule.name(),
    }
}

pub(super) fn columns<C: AsRef<str>>(
    batch: &RecordBatch,
    names: impl IntoIterator<Item = C>,
) -> Result<Vec<ArrayRef>, Unfit> {
    let named = names.into_iter().map(|name| {
        let name = name.as_ref();
        batch.column_by_name(name).cloned().ok_or_else(|| format!("there is no column {name}"))
    });
    named.collect()
}

/// Returns the rows outside a range. Values are compared in the type of the column. NaN is outside every range.
fn out_of_range(
    name: &str,
    column: &ArrayRef,
    least: Option<&str>,
    most: Option<&str>,
) -> Result<Result<BooleanArray, Unfit>, ArrowError> {
    let comparable = column.data_type().is_numeric() || column.data_type().is_temporal();
    if !comparable {
        return Ok(Err(format!("{name} is {}, neither a number nor a time", column.data_type())));
    }
    let mut bad = none_of(column.len());
    for (bound, below) in [(least, true), (most, false)] {
        let Some(bound) = bound else { continue };
        let Some(bound) = scalar(bound, column.data_type()) else {
            return Ok(Err(format!("the bound {bound} cannot be read as {}", column.data_type())));
        };
        let beyond = if below { lt(column, &bound)? } else { gt(column, &bound)? };
        bad = or_kleene(&bad, &beyond)?;
    }
    if matches!(column.data_type(), DataType::Float16 | DataType::Float32 | DataType::Float64) {
        let numbers = cast(column, &DataType::Float64)?;
        let nan = numbers.as_primitive::<Float64Type>().iter().map(|number| number.is_some_and(f64::is_nan));
        bad = or_kleene(&bad, &nan.collect::<Vec<bool>>().into())?;
    }
    Ok(Ok(bad))
}

fn scalar(text: &str, of: &DataType) -> Option<Scalar<ArrayRef>> {
    let text = StringArray::from(vec![text]);
    let strict = CastOptions { safe: false, format_options: FormatOptions::default() };
    let read = cast_with_options(&text, of, &strict).ok()?;
    read.is_valid(0).then(|| Scalar::new(read))
}

fn none_of(rows: usize) -> BooleanArray {
    BooleanArray::new(BooleanBuffer::new_unset(rows), None)
}

/// Rows with an unknown result pass, because nulls are checked by `not_null`.
fn without_nulls(bad: BooleanArray) -> BooleanArray {
    match bad.nulls() {
        Some(nulls) => BooleanArray::new(bad.values() & nulls.inner(), None),
        None => bad,
    }
}
