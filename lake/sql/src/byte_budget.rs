//! Limits the memory that SQL expressions may allocate while they evaluate one batch.
//!
//! Functions such as `lpad` and `repeat` can build huge values from small arguments. Each function in an expression
//! is wrapped in [`Bounded`], and other nodes with values of variable size in [`Metered`]. Both charge the size of
//! their results to a thread-local budget. A function is called only if the remaining budget covers its arguments
//! and, for functions that multiply the size of their arguments, its result.

use crate::sizes::row_bytes;
use arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, is_not_null};
use arrow::datatypes::{DataType, FieldRef, Int64Type, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::{DataFusionError, Result as DfResult, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::expressions::{Column, Literal};
use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Maximum number of bytes that expressions may build during one batch.
pub(crate) const MAX_BATCH_BYTES: u64 = 128 << 20;

/// Functions that can build a list of arbitrary length from numbers.
const OF_ANY_LENGTH: [&str; 4] = ["array_repeat", "array_resize", "generate_series", "range"];

/// Maximum number of bytes in a UTF-8 character.
const CHAR_BYTES: u64 = 4;
/// Maximum number of bytes in the text form of a list item, per byte of the item.
const TEXT_BYTES: u64 = 6;
/// Number of bytes that `row_bytes` adds to the length of each text value.
const OFFSET_BYTES: u64 = 4;
/// Maximum growth when a text is converted to upper or lower case, as output bytes per input byte.
const CASE_BYTES: u64 = 3;
/// Maximum number of output bytes of a formatted time per byte of the format string: `%+` expands to 38 bytes.
const FORMAT_BYTES: u64 = 20;

thread_local! {
    /// Remaining budget in bytes for the batch that this thread is evaluating.
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

/// Resets the budget of this thread for a new batch.
pub(crate) fn start_batch() {
    LEFT.set(MAX_BATCH_BYTES);
}

/// Charges bytes to the budget. Returns an error if it is exhausted.
pub(crate) fn take_bytes(bytes: u64) -> DfResult<()> {
    check_bytes(bytes)?;
    LEFT.set(LEFT.get() - bytes);
    Ok(())
}

/// Returns an error if the remaining budget does not cover these bytes.
pub(crate) fn check_bytes(bytes: u64) -> DfResult<()> {
    if bytes <= LEFT.get() {
        return Ok(());
    }
    let text = format!("the expressions build more than {} MB from one batch of records", MAX_BATCH_BYTES >> 20);
    Err(DataFusionError::ResourcesExhausted(text))
}

/// Charges the size of a value to the budget. A scalar is charged once per row because it may be expanded to a
/// column.
pub(crate) fn take_value(value: &ColumnarValue, rows: usize) -> DfResult<()> {
    let bytes = sizes(value, rows)?.iter().sum();
    #[cfg(test)]
    measured::add_value(MAX_BATCH_BYTES - LEFT.get() + bytes);
    take_bytes(bytes)
}

/// Returns the size of a value in bytes for each row. Assumes at least one row, because scalars are computed even for
/// an empty batch.
fn sizes(value: &ColumnarValue, rows: usize) -> DfResult<Vec<u64>> {
    Ok(match value {
        ColumnarValue::Array(array) => row_bytes(array.as_ref()),
        ColumnarValue::Scalar(scalar) => {
            let bytes = row_bytes(scalar.to_array()?.as_ref()).first().copied().unwrap_or_default();
            vec![bytes; rows.max(1)]
        }
    })
}

fn varies(data: &DataType) -> bool {
    !data.is_primitive() && !matches!(data, DataType::Boolean | DataType::Null)
}

/// Rejects functions whose memory use the budget cannot limit: lists of arbitrary length, and regular expressions
/// that differ by row, because each one is compiled and cached.
pub(crate) fn check_bounded(part: &Expr) -> DfResult<()> {
    let is_pattern = |pattern: Option<&Expr>| pattern.is_none_or(|pattern| matches!(pattern, Expr::Literal(..)));
    match part {
        Expr::ScalarFunction(call) if OF_ANY_LENGTH.contains(&call.name()) => {
            plan_err!("`{}` builds a list of any length, which an expression over records may not", call.name())
        }
        Expr::ScalarFunction(call) if call.name().starts_with("regexp_") && !is_pattern(call.args.get(1)) => {
            plan_err!("the pattern of `{}` has to be a constant", call.name())
        }
        Expr::BinaryExpr(of) if is_match(of.op) && !is_pattern(Some(&of.right)) => {
            plan_err!("the pattern of `{}` has to be a constant", of.op)
        }
        Expr::SimilarTo(of) if !is_pattern(Some(&of.pattern)) => {
            plan_err!("the pattern of `similar to` has to be a constant")
        }
        _ => Ok(()),
    }
}

fn is_match(op: Operator) -> bool {
    use Operator::{RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch};
    matches!(op, RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch)
}

/// Wraps each function of an expression in [`Bounded`].
pub(crate) fn with_bounded_functions(expr: Expr) -> DfResult<Expr> {
    let bounded = expr.transform_up(|part| {
        Ok(match part {
            Expr::ScalarFunction(mut call) => {
                call.func = Arc::new(ScalarUDF::from(Bounded(call.func)));
                Transformed::yes(Expr::ScalarFunction(call))
            }
            other => Transformed::no(other),
        })
    });
    Ok(bounded?.data)
}

/// A function that is called only if the remaining budget covers its result.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded(Arc<ScalarUDF>);

impl ScalarUDFImpl for Bounded {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        self.0.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        self.0.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        self.0.coerce_types(types)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        if !varies(call.return_field.data_type()) {
            let replaced = null_replaced(self.name(), &call.args, call.number_rows)?;
            return replaced.map_or_else(|| self.0.invoke_with_args(call), Ok);
        }
        let rows = call.number_rows;
        let arguments = call.args.iter().map(|argument| sizes(argument, rows)).collect::<DfResult<Vec<_>>>()?;
        let argument_bytes = arguments.iter().flatten().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
        #[cfg(test)]
        measured::add_arguments(argument_bytes);
        check_bytes(argument_bytes)?;
        if let Some(value) = null_replaced(self.name(), &call.args, rows)? {
            take_value(&value, rows)?;
            return Ok(value);
        }
        check_bytes(multiplied(self.name(), &call.args, &arguments, rows)?)?;
        let value = self.0.invoke_with_args(call)?;
        take_value(&value, rows)?;
        Ok(value)
    }
}

/// Evaluates functions that replace nulls, such as `coalesce`. Returns `None` for other functions. DataFusion's
/// optimizer would rewrite them to a `case` that contains each argument twice, which doubles the size of nested calls
/// at each level.
fn null_replaced(name: &str, args: &[ColumnarValue], rows: usize) -> DfResult<Option<ColumnarValue>> {
    if !["coalesce", "nvl", "nvl2"].contains(&name) {
        return Ok(None);
    }
    let arrays = args.iter().map(|value| value.to_array(rows)).collect::<DfResult<Vec<_>>>()?;
    let value = match (name, arrays.as_slice()) {
        ("nvl2", [tested, known, missing]) => zip(&is_not_null(tested)?, known, missing)?,
        (_, [first, others @ ..]) => {
            let replaced = |value: ArrayRef, next: &ArrayRef| zip(&is_not_null(&value)?, &value, next);
            others.iter().try_fold(first.clone(), replaced)?
        }
        (_, []) => return plan_err!("`{name}` has no arguments"),
    };
    Ok(Some(ColumnarValue::Array(value)))
}

/// Returns the maximum result size in bytes for functions that multiply the size of their arguments. Returns 0 for
/// other functions, whose results are about as large as their arguments. `sizes` holds the size of each argument by
/// row.
fn multiplied(name: &str, args: &[ColumnarValue], sizes: &[Vec<u64>], rows: usize) -> DfResult<u64> {
    let rows = rows.max(1);
    let size = |nth: usize, row: usize| sizes.get(nth).and_then(|sizes| sizes.get(row)).copied().unwrap_or_default();
    let sum = |of_row: &dyn Fn(usize) -> u64| (0..rows).map(of_row).fold(0, u64::saturating_add);
    Ok(match name {
        "lpad" | "rpad" => {
            let lengths = counts(args.get(1), rows)?;
            sum(&|row| lengths[row].saturating_mul(CHAR_BYTES))
        }
        "repeat" => {
            let times = counts(args.get(1), rows)?;
            sum(&|row| times[row].saturating_mul(size(0, row)))
        }
        "replace" => sum(&|row| {
            let found = size(0, row) / size(1, row).saturating_sub(OFFSET_BYTES).max(1) + 1;
            found.saturating_mul(size(2, row))
        }),
        // The replacement can refer to capture groups, so each match may insert the whole text once per reference.
        "regexp_replace" => sum(&|row| (size(0, row) + 1).saturating_mul(2 * size(2, row))),
        "regexp_match" => sum(&|row| size(0, row).saturating_mul(1 + size(1, row) / 2)),
        // A character can be replaced by a grapheme cluster, a sequence of unlimited length that is displayed as one
        // character.
        "translate" => sum(&|row| size(0, row).saturating_mul(size(2, row))),
        "lower" | "upper" | "initcap" => sum(&|row| size(0, row).saturating_mul(CASE_BYTES)),
        "concat_ws" => sum(&|row| {
            let parts = (1..args.len()).map(|nth| size(nth, row)).fold(0, u64::saturating_add);
            parts.saturating_add(size(0, row).saturating_mul(args.len() as u64))
        }),
        "encode" => sum(&|row| size(0, row).saturating_mul(2)),
        "string_to_array" => sum(&|row| size(0, row).saturating_mul(1 + OFFSET_BYTES)),
        "to_char" => sum(&|row| size(1, row).saturating_mul(FORMAT_BYTES)),
        "array_to_string" => sum(&|row| size(0, row).saturating_mul(TEXT_BYTES + size(1, row) + size(2, row))),
        "array_replace" | "array_replace_n" | "array_replace_all" => {
            sum(&|row| (size(0, row) + 1).saturating_mul(size(2, row)))
        }
        _ => 0,
    })
}

/// Returns a count per row. Null and negative numbers become 0.
fn counts(value: Option<&ColumnarValue>, rows: usize) -> DfResult<Vec<u64>> {
    let Some(value) = value else { return Ok(vec![0; rows]) };
    let numbers = cast(&value.to_array(rows)?, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>().iter();
    let mut numbers: Vec<u64> = numbers.map(|number| u64::try_from(number.unwrap_or(0)).unwrap_or(0)).collect();
    numbers.resize(rows, 0);
    Ok(numbers)
}

/// Wraps nodes that are not functions but build values of variable size, such as `||` and `case`, in [`Metered`].
pub(crate) fn metered(expr: Arc<dyn PhysicalExpr>, input: &Schema) -> DfResult<Arc<dyn PhysicalExpr>> {
    let metered = expr.transform_up(|part| {
        let any = part.as_any();
        if any.is::<Column>() || any.is::<Literal>() {
            return Ok(Transformed::no(part));
        }
        let data = part.data_type(input)?;
        if data.to_string().contains("FixedSize") {
            return plan_err!(
                "a value of the type {data} can have any length, which an expression over records may not build"
            );
        }
        let is_metered = varies(&data) && !any.is::<ScalarFunctionExpr>();
        Ok(if is_metered { Transformed::yes(Arc::new(Metered(part)) as _) } else { Transformed::no(part) })
    });
    Ok(metered?.data)
}

/// An expression node whose values are charged to the budget.
#[derive(Debug)]
struct Metered(Arc<dyn PhysicalExpr>);

impl PartialEq for Metered {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq(&other.0)
    }
}

impl Eq for Metered {}

impl Hash for Metered {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PhysicalExpr for Metered {
    fn as_any(&self) -> &dyn Any {
        self
    }

    // All of these methods are forwarded. The default implementations call each other, which doubles the work at each
    // level of nesting.
    fn data_type(&self, input: &Schema) -> DfResult<DataType> {
        self.0.data_type(input)
    }

    fn nullable(&self, input: &Schema) -> DfResult<bool> {
        self.0.nullable(input)
    }

    fn return_field(&self, input: &Schema) -> DfResult<FieldRef> {
        self.0.return_field(input)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DfResult<ColumnarValue> {
        let value = self.0.evaluate(batch)?;
        #[cfg(test)]
        measured::add_arguments(measured::bytes_of_children(self.0.as_ref(), batch));
        take_value(&value, batch.num_rows())?;
        Ok(value)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.0]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> DfResult<Arc<dyn PhysicalExpr>> {
        Ok(children.pop().map_or_else(|| self.clone() as _, |part| Arc::new(Metered(part)) as _))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_sql(f)
    }
}

/// Measures the bytes that expressions build on this thread, for tests.
#[cfg(test)]
pub(crate) mod measured {
    use super::{Arc, Cell, DfResult, LEFT, MAX_BATCH_BYTES, PhysicalExpr, RecordBatch, sizes};

    thread_local! {
        /// Total bytes of all values, and the largest total argument size of a single node. `None` while no
        /// measurement is active.
        static PEAK: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
    }

    pub(super) fn add_value(bytes: u64) {
        PEAK.set(PEAK.get().map(|(values, arguments)| (values.max(bytes), arguments)));
    }

    pub(super) fn add_arguments(bytes: u64) {
        PEAK.set(PEAK.get().map(|(values, arguments)| (values, arguments.max(bytes))));
    }

    /// Evaluates the children of a node again with a full budget and returns their size. Children that a `case` would
    /// skip may exceed the budget. Returns 0 unless a test measures, because repeated evaluation doubles the work at
    /// each level.
    pub(super) fn bytes_of_children(part: &dyn PhysicalExpr, batch: &RecordBatch) -> u64 {
        let peak = PEAK.get();
        if peak.is_none() {
            return 0;
        }
        let left = LEFT.replace(MAX_BATCH_BYTES);
        let bytes = |child: &Arc<dyn PhysicalExpr>| {
            DfResult::Ok(sizes(&child.evaluate(batch)?, batch.num_rows())?.iter().sum::<u64>())
        };
        let bytes = part.children().into_iter().map(bytes).sum::<DfResult<u64>>().unwrap_or(MAX_BATCH_BYTES);
        LEFT.set(left);
        PEAK.set(peak);
        bytes
    }

    /// Returns the measured peak and starts a new measurement.
    pub(crate) fn take() -> (u64, u64) {
        PEAK.replace(Some((0, 0))).unwrap_or_default()
    }
}
