//! Evaluates SQL expressions on the rows of a batch. The result for a row depends only on this row: expressions have
//! no access to other rows or the clock.
//!
//! The limits are the same as for queries: length and depth (`bounds.rs`), and allocated bytes (`byte_budget.rs`).

#[cfg(test)]
mod random;

use crate::bounds::{MOST_COLUMNS, check_depth};
use crate::byte_budget::{check_bounded, check_bytes, metered, start_batch, take_value, with_bounded_functions};
use crate::error::{inside, of_query};
use crate::exact::ExactIntegers;
use crate::parse::DIALECT;
use crate::view::STACK_BYTES;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, Result as DfResult, plan_datafusion_err, plan_err};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{ColumnarValue, EmptyRelation, Expr, LogicalPlan, Projection, Volatility};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionConfig;
use datafusion::sql::sqlparser::tokenizer::Tokenizer;
use orch_lake::plain_types;
use orch_store::lake_view::{LakeError, MOST_SQL_BYTES};
use std::any::Any;
use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::Arc;

/// Maximum depth of expressions that are evaluated on the caller's stack. Deeper ones get a thread with a large
/// stack.
const SHALLOW: usize = 40;

/// Computed columns and a filter, both evaluated on the rows of a batch.
#[derive(Debug, Clone)]
pub struct RowExpressions {
    columns: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    /// Total size of the constants in the expressions, in bytes. They may be copied into each row.
    constant_bytes: usize,
    is_deep: bool,
}

impl RowExpressions {
    /// Plans the expressions. `columns` contains pairs of a name and a SQL expression over the columns of `input`.
    ///
    /// # Errors
    /// Returns an error that names the column whose expression is invalid.
    pub fn new(input: &SchemaRef, columns: &[(String, String)], filter: Option<&str>) -> Result<Self, LakeError> {
        let bytes: usize = columns.iter().map(|(_, sql)| sql.len()).chain(filter.map(str::len)).sum();
        if bytes > MOST_SQL_BYTES || columns.len() > MOST_COLUMNS {
            return Err(LakeError::Refused(format!(
                "there are {} columns with {bytes} bytes of SQL: at most {MOST_COLUMNS} columns and {MOST_SQL_BYTES} bytes are \
                 possible",
                columns.len()
            )));
        }
        on_deep_stack(|| RowExpressions::plan(input, columns, filter))
            .unwrap_or_else(|_| Err(LakeError::Refused("planning the expressions panicked".into())))
    }

    fn plan(input: &SchemaRef, columns: &[(String, String)], filter: Option<&str>) -> Result<Self, LakeError> {
        start_batch();
        let planner = Planner::new(input).map_err(|error| of_query(&error))?;
        let named = |name: &str, error: LakeError| match error {
            LakeError::Refused(text) => LakeError::Refused(format!("`{name}`: {text}")),
            other => other,
        };
        let (mut made, mut fields) = (Vec::new(), Vec::new());
        for (name, sql) in columns {
            let expression = planner.expression(sql).map_err(|error| named(name, of_query(&error)))?;
            let data = expression.data_type(input).map_err(|error| named(name, of_query(&error)))?;
            fields.push(Field::new(name, data, true));
            made.push(expression);
        }
        let filter = filter.map(|sql| planner.condition(sql)).transpose();
        let filter = filter.map_err(|error| named("where", of_query(&error)))?;
        let schema = plain_types(&Schema::new(fields)).map_err(|error| LakeError::Refused(error.to_string()))?;
        let constant_bytes = planner.constant_bytes.get();
        let is_deep = made.iter().chain(&filter).any(|expression| depth(expression.as_ref()) > SHALLOW);
        Ok(RowExpressions { columns: made, filter, schema: Arc::new(schema), constant_bytes, is_deep })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Evaluates the filter and the expressions. Returns the computed columns of the matching rows, followed by the
    /// input columns named by `beside`.
    ///
    /// # Errors
    /// Returns an error if a value cannot be computed or the values need too much memory. A smaller batch may
    /// succeed.
    ///
    /// # Panics
    /// Panics if a SQL function panics.
    pub fn of(&self, rows: &RecordBatch, beside: &[&str]) -> Result<RecordBatch, ArrowError> {
        if self.is_deep {
            return on_deep_stack(|| self.evaluate(rows, beside)).unwrap_or_else(|panic| resume_unwind(panic));
        }
        self.evaluate(rows, beside)
    }

    fn evaluate(&self, rows: &RecordBatch, beside: &[&str]) -> Result<RecordBatch, ArrowError> {
        start_batch();
        check_bytes((self.constant_bytes as u64).saturating_mul(rows.num_rows() as u64)).map_err(arrow_error)?;
        let kept = match &self.filter {
            Some(filter) => {
                let kept = filter.evaluate(rows).and_then(|value| value.into_array(rows.num_rows()));
                filter_record_batch(rows, arrow::array::AsArray::as_boolean(&kept.map_err(arrow_error)?))?
            }
            None => rows.clone(),
        };
        let (mut fields, mut columns) = (self.schema.fields().to_vec(), Vec::new());
        for (expression, field) in self.columns.iter().zip(self.schema.fields()) {
            let value = expression.evaluate(&kept).and_then(|value| column(value, kept.num_rows()));
            columns.push(cast(&value.map_err(arrow_error)?, field.data_type())?);
        }
        for (field, column) in kept.schema().fields().iter().zip(kept.columns()) {
            if beside.contains(&field.name().as_str()) {
                fields.push(field.clone());
                columns.push(column.clone());
            }
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }
}

fn column(value: ColumnarValue, rows: usize) -> DfResult<ArrayRef> {
    take_value(&value, rows)?;
    value.into_array(rows)
}

fn arrow_error(error: DataFusionError) -> ArrowError {
    match error {
        DataFusionError::ResourcesExhausted(text) => ArrowError::MemoryError(text),
        error => ArrowError::ExternalError(Box::new(error)),
    }
}

fn depth(expression: &dyn PhysicalExpr) -> usize {
    1 + expression.children().into_iter().map(|child| depth(child.as_ref())).max().unwrap_or_default()
}

/// Runs work on a thread whose stack is sufficient for the deepest expression that `check_depth` accepts.
fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Box<dyn Any + Send>> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        thread.map_err(|error| Box::new(error.to_string()) as Box<dyn Any + Send>)?.join()
    })
}

struct Planner {
    state: SessionState,
    schema: DFSchema,
    rows: Arc<LogicalPlan>,
    constant_bytes: Cell<usize>,
}

impl Planner {
    fn new(input: &SchemaRef) -> DfResult<Planner> {
        let config = SessionConfig::new().set_bool("datafusion.sql_parser.parse_float_as_decimal", true);
        let builder = SessionStateBuilder::new().with_config(config).with_default_features();
        let state = builder.with_analyzer_rule(Arc::new(ExactIntegers)).build();
        let schema = DFSchema::try_from(input.clone())?;
        let rows = EmptyRelation { produce_one_row: false, schema: Arc::new(schema.clone()) };
        Ok(Planner { state, schema, rows: Arc::new(LogicalPlan::EmptyRelation(rows)), constant_bytes: Cell::new(0) })
    }

    fn expression(&self, sql: &str) -> DfResult<Arc<dyn PhysicalExpr>> {
        let tokens = Tokenizer::new(&DIALECT, sql).tokenize().map_err(|error| plan_datafusion_err!("{error}"))?;
        check_depth(&tokens).map_err(inside)?;
        let expression = self.state.create_logical_expr(sql, &self.schema)?;
        expression.apply(|part| match part {
            Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
                plan_err!(
                    "`{}` gives another value each time, but a record that is read again must give the same row",
                    call.name()
                )
            }
            Expr::AggregateFunction(_) | Expr::WindowFunction(_) => {
                plan_err!("an expression sees one row; `windows` add up several")
            }
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_) => {
                plan_err!("an expression sees one row and no table")
            }
            Expr::Literal(value, _) => {
                self.constant_bytes.set(self.constant_bytes.get() + value.size());
                Ok(TreeNodeRecursion::Continue)
            }
            part => check_bounded(part).map(|()| TreeNodeRecursion::Continue),
        })?;
        let plan = LogicalPlan::Projection(Projection::try_new(vec![expression], self.rows.clone())?);
        let analyzed = self.state.analyzer().execute_and_check(plan, self.state.config_options(), |_, _| {})?;
        match analyzed {
            LogicalPlan::Projection(Projection { mut expr, .. }) if expr.len() == 1 => {
                let expr = with_bounded_functions(expr.remove(0))?;
                metered(self.state.create_physical_expr(expr, &self.schema)?, self.schema.as_arrow())
            }
            _ => plan_err!("it is no expression"),
        }
    }

    fn condition(&self, sql: &str) -> DfResult<Arc<dyn PhysicalExpr>> {
        let condition = self.expression(sql)?;
        match condition.data_type(self.schema.as_arrow())? {
            DataType::Boolean => Ok(condition),
            other => plan_err!("a condition is true or false, and this one is {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray as _, Float64Array, Int64Array, StringArray};
    use arrow::datatypes::{Float64Type, Int64Type};

    fn rows() -> RecordBatch {
        let field = |name, of| Field::new(name, of, true);
        let schema = Schema::new(vec![
            field("city", DataType::Utf8),
            field("Temp", DataType::Float64),
            field("n", DataType::Int64),
        ]);
        let cities = StringArray::from(vec![Some("London"), None, Some("Paris")]);
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(cities),
            Arc::new(Float64Array::from(vec![10.0, 20.0, 30.0])),
            Arc::new(Int64Array::from(vec![1, 2, i64::MAX])),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).expect("a batch")
    }

    fn of(columns: &[(&str, &str)], filter: Option<&str>) -> Result<RowExpressions, String> {
        let columns: Vec<_> = columns.iter().map(|(name, sql)| ((*name).to_owned(), (*sql).to_owned())).collect();
        RowExpressions::new(&rows().schema(), &columns, filter).map_err(|error| error.to_string())
    }

    #[test]
    fn rows_get_new_columns_and_some_are_left_out() {
        let made = of(&[("where_it_is", "upper(city)"), ("f", "\"Temp\" * 9 / 5 + 32.5")], Some("city is not null"));
        let made = made.expect("it is right").of(&rows(), &["n"]).expect("it is computed");
        assert_eq!(made.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["LONDON", "PARIS"]);
        assert_eq!(made.column(1).as_primitive::<Float64Type>().values(), &[50.5, 86.5]);
        assert_eq!(made.column(2).as_primitive::<Int64Type>().values(), &[1, i64::MAX]);
    }

    #[test]
    fn nulls_are_replaced() {
        for sql in
            ["coalesce(city, null, 'none')", "nvl(city, 'none')", "ifnull(city, 'none')", "nvl2(city, city, 'none')"]
        {
            let made = of(&[("x", sql)], None).expect(sql).of(&rows(), &[]).expect(sql);
            assert!(made.column(0).as_string::<i32>().iter().flatten().any(|text| text == "none"), "{sql}");
        }
    }

    #[test]
    fn a_number_that_does_not_fit_is_an_error() {
        let made = of(&[("m", "n + 1")], None).expect("it is right");
        assert!(made.of(&rows(), &[]).is_err(), "the last one does not fit");
        assert!(made.of(&rows().slice(0, 2), &[]).is_ok());
    }

    fn refused(sql: &str) -> String {
        of(&[("x", sql)], None).expect_err(sql)
    }

    #[test]
    fn expressions_have_the_depth_and_the_length_of_queries() {
        for next in [" + n", " || 'a'", " or n = 1", " is null"] {
            let told = refused(&format!("n{}", next.repeat(3_000)));
            assert!(told.contains("`x`: ") && told.contains("more than 400 operators"), "{next}: {told}");
        }
        let told = of(&[("x", "n")], Some(&format!("n = 0{}", " or n = 0".repeat(3_000)))).expect_err("too deep");
        assert!(told.contains("`where`: ") && told.contains("more than 400 operators"), "{told}");
        assert!(refused(&format!("'{}'", "a".repeat(MOST_SQL_BYTES))).contains("bytes of SQL"));
        let wide: Vec<(String, String)> = (0..=MOST_COLUMNS).map(|at| (format!("c{at}"), "n".into())).collect();
        assert!(RowExpressions::new(&rows().schema(), &wide, None).is_err());
    }

    /// The stacks of stream threads have 2 MB, so deep expressions must be evaluated elsewhere.
    #[test]
    fn the_deepest_expression_is_planned_and_evaluated_on_a_small_stack() {
        let small = std::thread::Builder::new().stack_size(512 << 10);
        let thread = small.spawn(|| {
            let (sum, text) = (format!("1{}", "+ 1".repeat(390)), format!("city{}", " || 'a'".repeat(390)));
            let made = of(&[("sum", &sum), ("text", &text)], None).expect("it is planned");
            let made = made.of(&rows(), &[]).expect("it is computed");
            assert_eq!(made.column(0).as_primitive::<Int64Type>().value(0), 391);
            assert_eq!(made.column(1).as_string::<i32>().value(0).len(), 396);
        });
        thread.expect("a thread starts").join().expect("the stack is large enough");
    }

    #[test]
    fn expressions_build_a_bounded_number_of_bytes() {
        for sql in [
            "lpad(city, 2000000000)",
            "rpad(city, cast(n as bigint) * 1000000000, 'x')",
            "repeat(city, 100000000)",
            "length(repeat('a', 2000000000))",
            "city || repeat('ab', 60000000)",
            "case when n = 1 then repeat('ab', 50000000) else city end",
            "replace(repeat(city, 100000), '', repeat('a', 10000))",
            "regexp_replace(repeat(city, 100000), 'o', repeat('a', 10000), 'g')",
            "array_to_string([repeat(city, 100000), city], repeat('a', 100000))",
            "city in (repeat('a', 2000000000))",
            "coalesce(city, repeat('a', 2000000000))",
        ] {
            let error = match of(&[("x", sql)], None) {
                Ok(made) => made.of(&rows().slice(0, 1), &[]).expect_err(sql).to_string(),
                Err(refused) => refused,
            };
            assert!(error.contains("more than 128 MB"), "{sql}: {error}");
        }
        let made = of(&[("x", "lpad(city, 100, 'x')"), ("y", "concat(city, 'a', city)")], None).expect("it is right");
        let made = made.of(&rows(), &[]).expect("it is computed");
        assert_eq!(made.column(0).as_string::<i32>().value(0).len(), 100);
        assert_eq!(made.column(1).as_string::<i32>().value(0), "LondonaLondon");
    }

    /// A batch that exceeds the memory budget can be evaluated in smaller batches.
    #[test]
    fn fewer_rows_fit_where_all_do_not() {
        let made = of(&[("x", "rpad(city, 12000000, 'x')")], None).expect("it is right");
        let all = arrow::compute::concat_batches(&rows().schema(), &vec![rows(); 2]).expect("a batch");
        assert!(made.of(&all, &[]).is_err());
        assert_eq!(made.of(&all.slice(0, 1), &[]).expect("one fits").column(0).len(), 1);
    }

    #[test]
    fn functions_without_a_bound_are_refused() {
        for (sql, said) in [
            ("range(0, n)", "list of any length"),
            ("generate_series(0, n)", "list of any length"),
            ("array_repeat(city, n)", "list of any length"),
            ("list_resize([city], n)", "list of any length"),
            ("regexp_like(city, city)", "has to be a constant"),
            ("city ~ city", "has to be a constant"),
            ("arrow_cast(null, 'FixedSizeBinary(1000000000)')", "can have any length"),
        ] {
            let told = refused(sql);
            assert!(told.contains(said), "{sql}: {told}");
        }
        assert!(of(&[("x", "regexp_like(city, '^L')"), ("y", "regexp_replace(city, 'o', '0')")], None).is_ok());
    }

    /// Fails when a new function is not in this list. If its result can be larger than its arguments, also add it to
    /// `multiplied` or `OF_ANY_LENGTH`.
    #[test]
    fn all_functions_are_known() {
        const KNOWN: &str = "abs acos acosh array_any_value array_append array_concat array_dims array_distance array_distinct \
            array_element array_except array_has array_has_all array_has_any array_intersect array_length array_max \
            array_min array_ndims array_pop_back array_pop_front array_position array_positions array_prepend array_remove \
            array_remove_all array_remove_n array_repeat array_replace array_replace_all array_replace_n array_resize \
            array_reverse array_slice array_sort array_to_string array_union arrays_zip arrow_cast arrow_metadata \
            arrow_typeof ascii asin asinh atan atan2 atanh bit_length btrim cardinality cbrt ceil character_length chr \
            coalesce concat concat_ws contains cos cosh cot current_date current_time date_bin date_part date_trunc decode \
            degrees digest empty encode ends_with exp factorial find_in_set flatten floor from_unixtime gcd \
            generate_series get_field greatest initcap isnan iszero lcm least left levenshtein ln log log10 log2 lower \
            lpad ltrim make_array make_date make_time map map_entries map_extract map_keys map_values md5 named_struct \
            nanvl now nullif nvl nvl2 octet_length overlay pi power radians random range regexp_count regexp_instr \
            regexp_like regexp_match regexp_replace repeat replace reverse right round rpad rtrim sha224 sha256 sha384 \
            sha512 signum sin sinh split_part sqrt starts_with string_to_array strpos struct substr substr_index tan tanh \
            to_char to_date to_hex to_local_time to_time to_timestamp to_timestamp_micros to_timestamp_millis \
            to_timestamp_nanos to_timestamp_seconds to_unixtime translate trunc union_extract union_tag upper uuid version";
        let planner = Planner::new(&rows().schema()).expect("a planner");
        let mut names: Vec<&str> = planner.state.scalar_functions().values().map(|function| function.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.join(" "), KNOWN);
    }

    #[test]
    fn what_is_no_function_of_the_row_is_refused_by_name() {
        for (sql, said) in [
            ("cty", "`x`: "),
            ("sum(n)", "sees one row"),
            ("now()", "another value each time"),
            ("(select max(a) from b.c)", "`x`: "),
            ("n +", "`x`: "),
            ("interval '1 day'", "Iceberg does not have"),
        ] {
            let told = of(&[("x", sql)], None).expect_err(sql);
            assert!(told.contains(said), "{sql}: {told}");
        }
        let told = of(&[("x", "n")], Some("n + 1")).expect_err("no condition");
        assert!(told.contains("`where`: a condition is true or false"), "{told}");
    }
}
