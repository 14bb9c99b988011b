//! `||` of text as a function: nothing with anything is nothing.

use arrow::array::{ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::compute::kernels::concat_elements::concat_elements_utf8;
use arrow::datatypes::DataType;
use datafusion::common::utils::take_function_args;
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::any::Any;

pub(crate) fn joined() -> ScalarUDF {
    ScalarUDF::from(Joined { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Joined {
    signature: Signature,
}

impl ScalarUDFImpl for Joined {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        "||"
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(args.iter().map(|arg| arg.schema_name().to_string()).collect::<Vec<_>>().join(" || "))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// As the operator answers.
    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        let is_any = |data: &DataType| types.contains(data);
        let wide = [DataType::Utf8View, DataType::LargeUtf8].into_iter().find(is_any);
        Ok(wide.unwrap_or(DataType::Utf8))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let answer = args.return_field.data_type().clone();
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let [left, right] = take_function_args(self.name(), args.args)?;
        let text = |side: ColumnarValue| -> DfResult<ArrayRef> { Ok(cast(&side.into_array(rows)?, &DataType::Utf8)?) };
        let whole = concat_elements_utf8::<i32>(text(left)?.as_string(), text(right)?.as_string())?;
        let whole = cast(&whole, &answer)?;
        Ok(if is_constant {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&whole, 0)?)
        } else {
            ColumnarValue::Array(whole)
        })
    }
}
