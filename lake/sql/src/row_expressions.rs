//! Expressions of SQL over the rows of a batch, one row after the other: no row sees another one, or the clock.

use crate::error::of_query;
use crate::exact::ExactIntegers;
use arrow::array::RecordBatch;
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as DfResult, plan_err};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan, Projection, Volatility};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionConfig;
use orch_lake::plain_types;
use orch_store::lake_view::LakeError;
use std::sync::Arc;

/// Columns that are made of the columns of a batch, and which rows are kept.
#[derive(Debug, Clone)]
pub struct RowExpressions {
    columns: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

impl RowExpressions {
    /// Each column is a name and an expression over the columns of `input`.
    ///
    /// # Errors
    /// What is wrong with one of them, with its name.
    pub fn new(input: &SchemaRef, columns: &[(String, String)], filter: Option<&str>) -> Result<Self, LakeError> {
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
        Ok(RowExpressions { columns: made, filter, schema: Arc::new(schema) })
    }

    /// The columns that come out.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows that are kept, with their new columns, and after them those columns of the batch that `beside` names.
    ///
    /// # Errors
    /// A value cannot be computed.
    pub fn of(&self, rows: &RecordBatch, beside: &[&str]) -> Result<RecordBatch, ArrowError> {
        let external = |error| ArrowError::ExternalError(Box::new(error));
        let kept = match &self.filter {
            Some(filter) => {
                let kept = filter.evaluate(rows).and_then(|value| value.into_array(rows.num_rows()));
                filter_record_batch(rows, arrow::array::AsArray::as_boolean(&kept.map_err(external)?))?
            }
            None => rows.clone(),
        };
        let (mut fields, mut columns) = (self.schema.fields().to_vec(), Vec::new());
        for (expression, field) in self.columns.iter().zip(self.schema.fields()) {
            let value = expression.evaluate(&kept).and_then(|value| value.into_array(kept.num_rows()));
            columns.push(cast(&value.map_err(external)?, field.data_type())?);
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

struct Planner {
    state: SessionState,
    schema: DFSchema,
    rows: Arc<LogicalPlan>,
}

impl Planner {
    fn new(input: &SchemaRef) -> DfResult<Planner> {
        let config = SessionConfig::new().set_bool("datafusion.sql_parser.parse_float_as_decimal", true);
        let builder = SessionStateBuilder::new().with_config(config).with_default_features();
        let state = builder.with_analyzer_rule(Arc::new(ExactIntegers)).build();
        let schema = DFSchema::try_from(input.clone())?;
        let rows = EmptyRelation { produce_one_row: false, schema: Arc::new(schema.clone()) };
        Ok(Planner { state, schema, rows: Arc::new(LogicalPlan::EmptyRelation(rows)) })
    }

    fn expression(&self, sql: &str) -> DfResult<Arc<dyn PhysicalExpr>> {
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
            _ => Ok(TreeNodeRecursion::Continue),
        })?;
        let plan = LogicalPlan::Projection(Projection::try_new(vec![expression], self.rows.clone())?);
        let analyzed = self.state.analyzer().execute_and_check(plan, self.state.config_options(), |_, _| {})?;
        match analyzed {
            LogicalPlan::Projection(Projection { mut expr, .. }) if expr.len() == 1 => {
                self.state.create_physical_expr(expr.remove(0), &self.schema)
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
    fn a_number_that_does_not_fit_is_an_error() {
        let made = of(&[("m", "n + 1")], None).expect("it is right");
        assert!(made.of(&rows(), &[]).is_err(), "the last one does not fit");
        assert!(made.of(&rows().slice(0, 2), &[]).is_ok());
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
