//! What functions may build: text and lists grow by their arguments, not by what is read, and what an expression computes
//! is not counted by the memory pool. Constants are even computed while a query is planned.
//!
//! A rule of the analyzer puts each function that can grow into a wrapper, which reckons from the arguments how large the
//! answer will be before it computes it. `||` becomes such a function, too.

mod growth;
mod joined;

use crate::error::inside;
use arrow::array::{Array as _, ArrayRef};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DfResult, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Documentation, Expr, ExprSchemable as _, LogicalPlan, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::optimizer::AnalyzerRule;
use growth::{Growth, reckoned};
use joined::joined;
use orch_store::lake_view::LakeError;
use std::any::Any;
use std::sync::Arc;

/// Of one value.
const MOST_VALUE_BYTES: u64 = 16 << 20;
/// Of all that the functions of one query build of one batch, and of its constants.
pub(crate) const MOST_BATCH_BYTES: u64 = 32 << 20;
/// With more each of them could build next to nothing.
const MOST_CALLS: u64 = 500;
/// A pattern becomes a program of up to 10 MB; of a column each row could have its own.
const PATTERNS: [&str; 6] =
    ["regexp_like", "regexp_match", "regexp_replace", "regexp_count", "regexp_instr", "regexp_matches"];

/// For plans that are computed in so many parts at a time.
#[derive(Debug)]
pub(crate) struct BoundedFunctions {
    pub(crate) threads: usize,
}

impl AnalyzerRule for BoundedFunctions {
    fn name(&self) -> &'static str {
        "bounded_functions"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let calls = calls(&plan)?;
        if calls > MOST_CALLS {
            return Err(refused(format!(
                "the query calls functions that build text or lists {calls} times, at most {MOST_CALLS} are allowed\n\
                 hint: ask for less at once"
            )));
        }
        if calls == 0 {
            return Ok(plan);
        }
        let most = MOST_BATCH_BYTES / calls / self.threads.max(1) as u64;
        Ok(plan.transform_up_with_subqueries(|plan| in_plan(plan, most))?.data)
    }
}

fn refused(text: String) -> datafusion::error::DataFusionError {
    inside(LakeError::TooDear(text))
}

/// How many functions of a plan can grow.
pub(crate) fn calls(plan: &LogicalPlan) -> DfResult<u64> {
    let mut calls = 0;
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expr| {
            expr.apply(|expr| {
                check_window(expr)?;
                calls += u64::from(match expr {
                    Expr::ScalarFunction(call) => Growth::of(call.func.name()).is_some(),
                    Expr::BinaryExpr(binary) => binary.op == Operator::StringConcat,
                    _ => false,
                });
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(calls)
}

fn in_plan(plan: LogicalPlan, most: u64) -> DfResult<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let rewritten = expr.transform_up(|expr| in_expr(expr, &schema, most))?;
        Ok(rewritten.update_data(|expr| name.restore(expr)))
    })?;
    if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
}

fn in_expr(expr: Expr, schema: &DFSchema, most: u64) -> DfResult<Transformed<Expr>> {
    Ok(match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            check_pattern(func.name(), args.get(1))?;
            match Growth::of(func.name()) {
                Some(growth) => Transformed::yes(Bounded { inner: func, growth, most }.call(args)),
                None => Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })),
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right })
            if is_text(&left.get_type(schema)?) && is_text(&right.get_type(schema)?) =>
        {
            let inner = Arc::new(joined());
            Transformed::yes(Bounded { inner, growth: Growth::Sum, most }.call(vec![*left, *right]))
        }
        Expr::BinaryExpr(binary) => {
            use Operator::{RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch};
            if [RegexMatch, RegexIMatch, RegexNotMatch, RegexNotIMatch].contains(&binary.op) {
                check_pattern(PATTERNS[0], Some(&binary.right))?;
            }
            Transformed::no(Expr::BinaryExpr(binary))
        }
        other => Transformed::no(other),
    })
}

fn is_text(data: &DataType) -> bool {
    matches!(data, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn check_pattern(function: &str, pattern: Option<&Expr>) -> DfResult<()> {
    if !PATTERNS.contains(&function) || !pattern.is_some_and(Expr::any_column_refs) {
        return Ok(());
    }
    Err(refused(
        "the pattern of a regular expression must be a constant here\nhint: use `like`, `strpos` or `starts_with`"
            .into(),
    ))
}

/// Each row would hold all rows of its window: of a thousand rows a thousand times all.
fn check_window(expr: &Expr) -> DfResult<()> {
    match expr {
        Expr::WindowFunction(window) if ["string_agg", "array_agg"].contains(&window.fun.name()) => {
            Err(refused(format!("`{}` over a window is refused\nhint: use it with `group by`", window.fun.name())))
        }
        _ => Ok(()),
    }
}

/// A function that does not begin what would become too large.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
    /// Of one answer, for all rows of a batch.
    most: u64,
}

impl Bounded {
    fn call(self, args: Vec<Expr>) -> Expr {
        ScalarUDF::from(self).call(args)
    }

    fn too_large(&self, bytes: u64, most: u64) -> datafusion::error::DataFusionError {
        refused(format!(
            "`{}` would build {bytes} bytes at once, at most {most} are allowed\nhint: shorten its arguments, or ask for \
             fewer rows and columns at once",
            self.inner.name()
        ))
    }

    fn rows_as_they_fit(&self, args: &ScalarFunctionArgs, reckoned: &[u64]) -> DfResult<ColumnarValue> {
        let (mut parts, mut built): (Vec<ArrayRef>, u64) = (Vec::new(), 0);
        let mut from = 0;
        while from < reckoned.len() {
            let (mut to, mut bytes) = (from, 0_u64);
            while to < reckoned.len() && (to == from || bytes.saturating_add(reckoned[to]) <= self.most) {
                bytes = bytes.saturating_add(reckoned[to]);
                to += 1;
            }
            let part = self.inner.invoke_with_args(part_of(args, from, to - from))?.into_array(to - from)?;
            built = built.saturating_add(part.get_array_memory_size() as u64);
            if built > self.most {
                return Err(self.too_large(built, self.most));
            }
            parts.push(part);
            from = to;
        }
        let parts: Vec<&dyn arrow::array::Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&parts)?))
    }
}

fn part_of(args: &ScalarFunctionArgs, from: usize, rows: usize) -> ScalarFunctionArgs {
    let part = |arg: &ColumnarValue| match arg {
        ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(from, rows)),
        scalar @ ColumnarValue::Scalar(_) => scalar.clone(),
    };
    ScalarFunctionArgs { args: args.args.iter().map(part).collect(), number_rows: rows, ..args.clone() }
}

impl ScalarUDFImpl for Bounded {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn schema_name(&self, args: &[Expr]) -> DfResult<String> {
        self.inner.inner().schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_constant { 1 } else { args.number_rows };
        let reckoned = reckoned(self.growth, &args.args, rows)?;
        let most = MOST_VALUE_BYTES.min(self.most);
        if let Some(bytes) = reckoned.iter().find(|bytes| **bytes > most) {
            return Err(self.too_large(*bytes, most));
        }
        let all = reckoned.iter().copied().fold(0, u64::saturating_add);
        if is_constant {
            // It stands in each row.
            let all = all.saturating_mul(args.number_rows as u64);
            return if all > self.most {
                Err(self.too_large(all, self.most))
            } else {
                self.inner.invoke_with_args(args)
            };
        }
        if all <= self.most { self.inner.invoke_with_args(args) } else { self.rows_as_they_fit(&args, &reckoned) }
    }
}

/// The bytes of all constants of a plan. Each is written into every row of a batch.
pub(crate) fn constants(plan: &LogicalPlan) -> DfResult<u64> {
    let mut bytes = 0_u64;
    plan.apply_with_subqueries(|plan| {
        if matches!(plan, LogicalPlan::Values(_)) {
            return Ok(TreeNodeRecursion::Continue);
        }
        plan.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Literal(value, _) = expr {
                    bytes = bytes.saturating_add(own_bytes(value));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(bytes)
}

fn own_bytes(value: &ScalarValue) -> u64 {
    value.size().saturating_sub(size_of::<ScalarValue>()) as u64
}
