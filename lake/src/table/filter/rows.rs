//! Evaluates a filter on the rows of a batch.

use super::{Bound, Column, Op};
use crate::error::{LakeError, LakeResult};
use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, RecordBatch, Scalar, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::compute::kernels::boolean::{and_kleene, is_not_null, is_null, not, or_kleene};
use arrow::compute::kernels::cmp;
use arrow::compute::{cast, prep_null_mask_filter};
use iceberg::spec::{Datum, PrimitiveLiteral};
use std::sync::Arc;

impl Bound {
    /// Returns true or false for each row of a batch. If the result is unknown because of a null, returns false. The
    /// batch must have the column names of the table.
    pub(crate) fn rows(&self, batch: &RecordBatch) -> LakeResult<BooleanArray> {
        let truth = self.truth(batch)?;
        Ok(if truth.null_count() > 0 { prep_null_mask_filter(&truth) } else { truth })
    }

    /// Evaluates the filter in three-valued logic, as in SQL.
    fn truth(&self, batch: &RecordBatch) -> LakeResult<BooleanArray> {
        let fold = |filters: &[Bound], empty: bool, join: fn(&BooleanArray, &BooleanArray) -> Joined| {
            let constant = BooleanArray::from(vec![empty; batch.num_rows()]);
            filters.iter().try_fold(constant, |so_far, filter| LakeResult::Ok(join(&so_far, &filter.truth(batch)?)?))
        };
        Ok(match self {
            Bound::And(filters) => fold(filters, true, and_kleene)?,
            Bound::Or(filters) => fold(filters, false, or_kleene)?,
            Bound::Null(column) => is_null(column_of(batch, column)?)?,
            Bound::NotNull(column) => is_not_null(column_of(batch, column)?)?,
            Bound::Compare { column, op, value } => compare(column_of(batch, column)?, *op, value)?,
            Bound::In { column, values, negated } => {
                let column = column_of(batch, column)?;
                let mut found = compare_none(column);
                for value in values {
                    found = or_kleene(&found, &compare(column, Op::Eq, value)?)?;
                }
                if *negated { not(&found)? } else { found }
            }
        })
    }
}

type Joined = Result<BooleanArray, arrow::error::ArrowError>;

/// Returns false for each row, or unknown if the column is null in the row.
fn compare_none(column: &ArrayRef) -> BooleanArray {
    let nulls = column.logical_nulls();
    BooleanArray::new(vec![false; column.len()].into(), nulls)
}

fn column_of<'a>(batch: &'a RecordBatch, column: &Column) -> LakeResult<&'a ArrayRef> {
    batch.column_by_name(&column.name).ok_or_else(|| {
        let what = format!("the rows have no column `{}`, by which they are to be filtered", column.name);
        LakeError::input(what, "write rows that have it")
    })
}

fn compare(column: &ArrayRef, op: Op, value: &Datum) -> LakeResult<BooleanArray> {
    let scalar = scalar(value)?;
    let scalar = if scalar.data_type() == column.data_type() { scalar } else { cast(&scalar, column.data_type())? };
    let scalar = Scalar::new(scalar);
    Ok(match op {
        Op::Eq => cmp::eq(column, &scalar),
        Op::NotEq => cmp::neq(column, &scalar),
        Op::Lt => cmp::lt(column, &scalar),
        Op::LtEq => cmp::lt_eq(column, &scalar),
        Op::Gt => cmp::gt(column, &scalar),
        Op::GtEq => cmp::gt_eq(column, &scalar),
    }?)
}

/// Returns the value as an array with one element, whose type can be cast to the type of the compared column.
fn scalar(value: &Datum) -> LakeResult<ArrayRef> {
    use iceberg::spec::PrimitiveType as T;
    Ok(match (value.data_type(), value.literal()) {
        (_, PrimitiveLiteral::Boolean(value)) => Arc::new(BooleanArray::from(vec![*value])),
        (T::Date, PrimitiveLiteral::Int(value)) => Arc::new(Date32Array::from(vec![*value])),
        (_, PrimitiveLiteral::Int(value)) => Arc::new(Int32Array::from(vec![*value])),
        (T::Time, PrimitiveLiteral::Long(value)) => Arc::new(Time64MicrosecondArray::from(vec![*value])),
        (T::Timestamp, PrimitiveLiteral::Long(value)) => Arc::new(TimestampMicrosecondArray::from(vec![*value])),
        (T::Timestamptz, PrimitiveLiteral::Long(value)) => {
            Arc::new(TimestampMicrosecondArray::from(vec![*value]).with_timezone("+00:00"))
        }
        (_, PrimitiveLiteral::Long(value)) => Arc::new(Int64Array::from(vec![*value])),
        (_, PrimitiveLiteral::Float(value)) => Arc::new(Float32Array::from(vec![value.into_inner()])),
        (_, PrimitiveLiteral::Double(value)) => Arc::new(Float64Array::from(vec![value.into_inner()])),
        (_, PrimitiveLiteral::String(value)) => Arc::new(StringArray::from(vec![value.as_str()])),
        (_, PrimitiveLiteral::Binary(value)) => Arc::new(BinaryArray::from(vec![value.as_slice()])),
        (_, PrimitiveLiteral::UInt128(value)) => Arc::new(BinaryArray::from(vec![value.to_be_bytes().as_slice()])),
        (T::Decimal { precision, scale }, PrimitiveLiteral::Int128(value)) => {
            let (precision, scale) = (*precision as u8, *scale as i8);
            Arc::new(Decimal128Array::from(vec![*value]).with_precision_and_scale(precision, scale)?)
        }
        _ => return Err(LakeError::input(format!("{value} cannot be compared"), "compare with another value")),
    })
}
