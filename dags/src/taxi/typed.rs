//! Columns of a file as the types of the table. Nothing is lost on the way: a value that does not fit is told with its
//! row, and never with what it says.

use super::schema::{Column, TaxiColumnType};
use crate::common::nyc::schema::HUNDREDTHS;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Int32Array, PrimitiveArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int32Type};
use arrow::error::ArrowError;
use std::sync::Arc;

/// Twelve digits.
const MOST_HUNDREDTHS: f64 = 1e12;

/// Why a column cannot be what it should.
#[derive(Debug)]
pub enum Unfit {
    /// The value in this row, counted from 0.
    Row(usize, &'static str),
    Arrow(ArrowError),
}

impl From<ArrowError> for Unfit {
    fn from(error: ArrowError) -> Self {
        Unfit::Arrow(error)
    }
}

/// # Errors
/// A value does not fit.
pub fn typed(values: &ArrayRef, column: &Column) -> Result<ArrayRef, Unfit> {
    let wanted = column.kind.arrow();
    let values = match values.data_type() {
        of if *of == wanted => return Ok(values.clone()),
        DataType::Null => return Ok(new_null_array(&wanted, values.len())),
        DataType::Dictionary(_, of) => cast(values, of)?,
        DataType::Float16 | DataType::Float32 => cast(values, &DataType::Float64)?,
        _ => values.clone(),
    };
    if *values.data_type() == DataType::Float64 {
        let numbers = values.as_primitive::<Float64Type>();
        return match column.kind {
            TaxiColumnType::Int => whole(numbers),
            TaxiColumnType::Amount => hundredths(numbers),
            TaxiColumnType::Time | TaxiColumnType::Text => Ok(cast(&values, &wanted)?),
        };
    }
    // What cannot be said in the other type becomes null.
    let fitted = cast(&values, &wanted)?;
    match first_lost(&values, &fitted, |_| false) {
        None => Ok(fitted),
        Some(row) => Err(Unfit::Row(row, "is too large")),
    }
}

fn whole(numbers: &PrimitiveArray<Float64Type>) -> Result<ArrayRef, Unfit> {
    let fitted: Int32Array = numbers.unary_opt::<_, Int32Type>(|number| {
        (number.fract() == 0.0 && number.abs() <= f64::from(i32::MAX)).then_some(number as i32)
    });
    kept(numbers, fitted, "is no whole number that fits")
}

fn hundredths(numbers: &PrimitiveArray<Float64Type>) -> Result<ArrayRef, Unfit> {
    let fitted: Decimal128Array = numbers.unary_opt::<_, Decimal128Type>(|number| {
        let hundredths = (number * 100.0).round();
        (hundredths.abs() < MOST_HUNDREDTHS).then_some(hundredths as i128)
    });
    kept(numbers, fitted.with_precision_and_scale(HUNDREDTHS.0, HUNDREDTHS.1)?, "is no amount that fits")
}

/// What is no number was never said, as pandas writes it.
fn kept(
    numbers: &PrimitiveArray<Float64Type>,
    fitted: impl Array + 'static,
    problem: &'static str,
) -> Result<ArrayRef, Unfit> {
    let fitted: ArrayRef = Arc::new(fitted);
    match first_lost(numbers, &fitted, |row| numbers.value(row).is_nan()) {
        None => Ok(fitted),
        Some(row) => Err(Unfit::Row(row, problem)),
    }
}

fn first_lost(before: &dyn Array, after: &ArrayRef, may: impl Fn(usize) -> bool) -> Option<usize> {
    if before.null_count() == after.null_count() {
        return None;
    }
    (0..before.len()).find(|row| after.is_null(*row) && before.is_valid(*row) && !may(*row))
}

#[cfg(test)]
mod tests {
    use super::super::schema::COLUMNS;
    use super::*;
    use arrow::array::{Decimal128Array, Float64Array, Int64Array, StringArray, TimestampNanosecondArray};

    fn column(name: &str) -> &'static Column {
        COLUMNS.iter().find(|column| column.name == name).expect("a column")
    }

    fn text(values: &ArrayRef, name: &str) -> String {
        match typed(values, column(name)) {
            Ok(values) => (0..values.len())
                .map(|row| arrow::util::display::array_value_to_string(&values, row).expect("it can be shown"))
                .collect::<Vec<_>>()
                .join(" "),
            Err(Unfit::Row(row, problem)) => format!("{row} {problem}"),
            Err(Unfit::Arrow(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn numbers_become_what_they_say_or_are_told() {
        let doubles = |values: Vec<Option<f64>>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
        for (values, name, expected) in [
            (doubles(vec![Some(1.0), None, Some(f64::NAN), Some(6.0)]), "passenger_count", "1   6"),
            (doubles(vec![Some(1.0), Some(1.5)]), "passenger_count", "1 is no whole number that fits"),
            (doubles(vec![None, Some(3e9)]), "payment_type", "1 is no whole number that fits"),
            (doubles(vec![Some(0.1 + 0.2), Some(-2.5), Some(1e3)]), "fare_amount", "0.30 -2.50 1000.00"),
            (doubles(vec![Some(1e10)]), "fare_amount", "0 is no amount that fits"),
            (doubles(vec![Some(f64::INFINITY)]), "fare_amount", "0 is no amount that fits"),
            (Arc::new(Int64Array::from(vec![7, 265])), "pickup_location_id", "7 265"),
            (Arc::new(Int64Array::from(vec![7, 1 << 40])), "pickup_location_id", "1 is too large"),
            (Arc::new(Int64Array::from(vec![7])), "fare_amount", "7.00"),
            (Arc::new(StringArray::from(vec!["N"])), "store_and_fwd_flag", "N"),
            (Arc::new(TimestampNanosecondArray::from(vec![1_000_000_000])), "pickup_datetime", "1970-01-01T00:00:01"),
            (
                Arc::new(Decimal128Array::from(vec![1_234]).with_precision_and_scale(9, 3).expect("three places")),
                "fare_amount",
                "1.23",
            ),
        ] {
            assert_eq!(text(&values, name), expected, "{name}");
        }
    }
}
