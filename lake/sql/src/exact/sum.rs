//! A `sum` that fails on overflow, where DataFusion's would wrap. It adds in a wider type and checks the result at
//! the end.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature,
};
use std::any::Any;
use std::sync::Arc;

pub(crate) fn exact_sum() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(ExactSum { usual: sum_udaf() }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactSum {
    usual: Arc<AggregateUDF>,
}

/// Returns the type in which values are added. It can hold the sum of 10¹⁰ maximum values of `bigint` or decimal
/// type.
fn wide(narrow: &DataType) -> Option<DataType> {
    match narrow {
        DataType::Int64 | DataType::UInt64 => Some(DataType::Decimal128(38, 0)),
        // The result type of a decimal sum has ten more digits than its argument, but at most 38. Overflow is only
        // possible with 38.
        DataType::Decimal128(38, scale) => Some(DataType::Decimal256(76, *scale)),
        _ => None,
    }
}

fn of_type(field: &FieldRef, data: DataType) -> FieldRef {
    Field::new(field.name(), data, field.is_nullable()).into()
}

fn cast(array: &ArrayRef, to: &DataType) -> DfResult<ArrayRef> {
    Ok(cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })?)
}

fn cast_all(arrays: &[ArrayRef], to: &DataType) -> DfResult<Vec<ArrayRef>> {
    arrays.iter().map(|array| cast(array, to)).collect()
}

impl AggregateUDFImpl for ExactSum {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        self.usual.name()
    }

    fn signature(&self) -> &Signature {
        self.usual.signature()
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        self.usual.return_type(types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        let narrow = args.return_type().clone();
        let Some(wide) = wide(&narrow) else { return self.usual.accumulator(args) };
        let args = AccumulatorArgs { return_field: of_type(&args.return_field, wide.clone()), ..args };
        Ok(Box::new(Wide { inner: self.usual.accumulator(args)?, wide, narrow }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        let return_field = match wide(args.return_type()) {
            Some(wide) => of_type(&args.return_field, wide),
            None => args.return_field.clone(),
        };
        self.usual.state_fields(StateFieldsArgs { return_field, ..args })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.usual.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn GroupsAccumulator>> {
        let narrow = args.return_type().clone();
        let Some(wide) = wide(&narrow) else { return self.usual.create_groups_accumulator(args) };
        let args = AccumulatorArgs { return_field: of_type(&args.return_field, wide.clone()), ..args };
        Ok(Box::new(WideGroups { inner: self.usual.create_groups_accumulator(args)?, wide, narrow }))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        let narrow = args.return_type().clone();
        let Some(wide) = wide(&narrow) else { return self.usual.create_sliding_accumulator(args) };
        let args = AccumulatorArgs { return_field: of_type(&args.return_field, wide.clone()), ..args };
        Ok(Box::new(Wide { inner: self.usual.create_sliding_accumulator(args)?, wide, narrow }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.usual.documentation()
    }

    fn set_monotonicity(&self, data: &DataType) -> SetMonotonicity {
        self.usual.inner().set_monotonicity(data)
    }
}

#[derive(Debug)]
struct Wide {
    inner: Box<dyn Accumulator>,
    wide: DataType,
    narrow: DataType,
}

impl Accumulator for Wide {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.inner.update_batch(&cast_all(values, &self.wide)?)
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let sum = self.inner.evaluate()?;
        ScalarValue::try_from_array(&cast(&sum.to_array()?, &self.narrow)?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.inner.retract_batch(&cast_all(values, &self.wide)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

struct WideGroups {
    inner: Box<dyn GroupsAccumulator>,
    wide: DataType,
    narrow: DataType,
}

impl GroupsAccumulator for WideGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        count: usize,
    ) -> DfResult<()> {
        self.inner.update_batch(&cast_all(values, &self.wide)?, groups, filter, count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> DfResult<ArrayRef> {
        cast(&self.inner.evaluate(emit_to)?, &self.narrow)
    }

    fn state(&mut self, emit_to: EmitTo) -> DfResult<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        count: usize,
    ) -> DfResult<()> {
        self.inner.merge_batch(values, groups, filter, count)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> DfResult<Vec<ArrayRef>> {
        self.inner.convert_to_state(&cast_all(values, &self.wide)?, filter)
    }

    fn supports_convert_to_state(&self) -> bool {
        self.inner.supports_convert_to_state()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}
