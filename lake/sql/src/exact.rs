//! Makes integer overflow an error, as in Postgres.
//!
//! DataFusion's integer addition, subtraction, multiplication and negation wrap on overflow, both at run time and in
//! constant folding. An analyzer rule replaces these operators by functions that use Arrow's checked kernels. It runs
//! after types are known and before constants are folded. `sum` is replaced too (`exact/sum.rs`).

mod sum;

pub(crate) use sum::exact_sum;

use arrow::array::{ArrayRef, Datum};
use arrow::compute::kernels::numeric::{add, mul, neg, sub};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::common::utils::take_function_args;
use datafusion::common::{DFSchema, Result as DfResult, ScalarValue, internal_err};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable as _, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::physical_expr_common::datum::apply;
use std::any::Any;
use std::fmt::Debug;

#[derive(Debug)]
pub(crate) struct ExactIntegers;

impl AnalyzerRule for ExactIntegers {
    fn name(&self) -> &'static str {
        "exact_integers"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(in_plan)?.data)
    }
}

fn in_plan(plan: LogicalPlan) -> DfResult<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|expr| in_expr(expr, &schema))?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })?;
    if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
}

fn in_expr(expr: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let is_whole = |expr: &Expr| -> DfResult<bool> {
        // The type is not computed again, because in a long chain `get_type` would recompute the types of all nested
        // parts.
        let is_known = matches!(expr, Expr::ScalarFunction(call) if call.func.inner().as_any().is::<Checked>());
        Ok(is_known || expr.get_type(schema)?.is_integer())
    };
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if kernel(op).is_some() && is_whole(&left)? && is_whole(&right)? =>
        {
            Transformed::yes(ScalarUDF::from(Checked::new(Deed::Binary(op))).call(vec![*left, *right]))
        }
        Expr::Negative(inner) if is_whole(&inner)? => {
            Transformed::yes(ScalarUDF::from(Checked::new(Deed::Negate)).call(vec![*inner]))
        }
        other => Transformed::no(other),
    })
}

type Kernel = fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError>;

/// Returns the checked kernel for an operator that wraps on overflow. Division and remainder are checked by default.
fn kernel(op: Operator) -> Option<Kernel> {
    match op {
        Operator::Plus => Some(add),
        Operator::Minus => Some(sub),
        Operator::Multiply => Some(mul),
        _ => None,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Deed {
    Binary(Operator),
    Negate,
}

/// An arithmetic operator as a function that fails on overflow. The result column has the same name as with the
/// operator.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    deed: Deed,
    signature: Signature,
}

impl Checked {
    fn new(deed: Deed) -> Checked {
        let arguments = if deed == Deed::Negate { 1 } else { 2 };
        Checked { deed, signature: Signature::any(arguments, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Checked {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        match self.deed {
            Deed::Binary(Operator::Plus) => "add",
            Deed::Binary(Operator::Minus) => "subtract",
            Deed::Binary(_) => "multiply",
            Deed::Negate => "negate",
        }
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        Ok(match (self.deed, args) {
            (Deed::Binary(op), [left, right]) => format!("{} {op} {}", left.schema_name(), right.schema_name()),
            (_, args) => {
                format!("(- {})", args.iter().map(|arg| arg.schema_name().to_string()).collect::<Vec<_>>().join(", "))
            }
        })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        match types.first() {
            Some(data) => Ok(data.clone()),
            None => internal_err!("`{}` needs an argument", self.name()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Field::new(self.name(), self.return_type(&types)?, nullable).into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        match self.deed {
            Deed::Binary(op) => {
                let [left, right] = take_function_args(self.name(), &args.args)?;
                match kernel(op) {
                    Some(kernel) => apply(left, right, kernel),
                    None => internal_err!("`{op}` has no checked kernel"),
                }
            }
            Deed::Negate => {
                let [value] = take_function_args(self.name(), args.args)?;
                match value {
                    ColumnarValue::Array(array) => Ok(ColumnarValue::Array(neg(array.as_ref())?)),
                    ColumnarValue::Scalar(value) => {
                        let negated = neg(value.to_array()?.as_ref())?;
                        Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&negated, 0)?))
                    }
                }
            }
        }
    }
}
