//! Derives a predicate from the conditions of a query, to skip files and row groups. The predicate may match more
//! rows than the conditions but never fewer, because the conditions are evaluated again for each row.

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Like, Operator};
use iceberg::expr::{Predicate, Reference};
use iceberg::spec::{Datum, PrimitiveType};

/// Returns a predicate that holds for every row that satisfies all conditions.
pub(crate) fn implied_by_all(conditions: &[Expr], schema: &Schema) -> Option<Predicate> {
    conditions.iter().filter_map(|condition| implied(condition, schema)).reduce(Predicate::and)
}

fn implied(condition: &Expr, schema: &Schema) -> Option<Predicate> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            [implied(left, schema), implied(right, schema)].into_iter().flatten().reduce(Predicate::and)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some(implied(left, schema)?.or(implied(right, schema)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            compared(left, *op, right, schema).or_else(|| compared(right, op.swap()?, left, schema))
        }
        Expr::Column(_) => Some(column(condition)?.equal_to(Datum::bool(true))),
        Expr::Not(inner) => Some(column(inner)?.equal_to(Datum::bool(false))),
        Expr::IsNull(inner) => Some(column(inner)?.is_null()),
        Expr::IsNotNull(inner) => Some(column(inner)?.is_not_null()),
        Expr::InList(list) => {
            let values = list.list.iter().map(|value| datum(&list.expr, value, schema)).collect::<Option<Vec<_>>>()?;
            let of = column(&list.expr)?;
            Some(if list.negated { of.is_not_in(values) } else { of.is_in(values) })
        }
        Expr::Like(Like { negated: false, expr, pattern, escape_char: None, case_insensitive: false }) => {
            let Expr::Literal(pattern, _) = pattern.as_ref() else { return None };
            let prefix = pattern.try_as_str()??.strip_suffix('%')?;
            let is_plain = !prefix.is_empty() && !prefix.contains(['%', '_', '\\']);
            Some(column(expr).filter(|_| is_plain)?.starts_with(Datum::string(prefix)))
        }
        _ => None,
    }
}

fn column(expr: &Expr) -> Option<Reference> {
    match expr {
        Expr::Column(column) => Some(Reference::new(column.name())),
        _ => None,
    }
}

fn compared(left: &Expr, op: Operator, right: &Expr, schema: &Schema) -> Option<Predicate> {
    let (column, value) = (column(left)?, datum(left, right, schema)?);
    let is_float = matches!(value.data_type(), PrimitiveType::Float | PrimitiveType::Double);
    Some(match op {
        Operator::Eq => column.equal_to(value),
        Operator::Lt => column.less_than(value),
        Operator::LtEq => column.less_than_or_equal_to(value),
        // In SQL, NaN is greater than all numbers. The bounds of a file do not include NaN, so they cannot be used
        // for floats.
        _ if is_float => return None,
        Operator::NotEq => column.not_equal_to(value),
        Operator::Gt => column.greater_than(value),
        Operator::GtEq => column.greater_than_or_equal_to(value),
        _ => return None,
    })
}

/// Returns the value of a literal if it has the type of the column. With a different type, the predicate could not be
/// bound to the table.
fn datum(column: &Expr, literal: &Expr, schema: &Schema) -> Option<Datum> {
    let (Expr::Column(column), Expr::Literal(value, _)) = (column, literal) else { return None };
    let data = schema.field_with_name(column.name()).ok()?.data_type();
    if let Some(text) = value.try_as_str() {
        let is_text = matches!(data, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        return text.filter(|_| is_text).map(Datum::string);
    }
    if *data != value.data_type() {
        return None;
    }
    match value {
        ScalarValue::Boolean(value) => value.map(Datum::bool),
        ScalarValue::Int32(value) => value.map(Datum::int),
        ScalarValue::Int64(value) => value.map(Datum::long),
        ScalarValue::Float32(value) => value.filter(|value| !value.is_nan()).map(Datum::float),
        ScalarValue::Float64(value) => value.filter(|value| !value.is_nan()).map(Datum::double),
        ScalarValue::Date32(value) => value.map(Datum::date),
        ScalarValue::TimestampMicrosecond(value, zone) => {
            debug_assert!(matches!(data, DataType::Timestamp(TimeUnit::Microsecond, _)));
            value.map(if zone.is_some() { Datum::timestamptz_micros } else { Datum::timestamp_micros })
        }
        ScalarValue::Decimal128(Some(value), precision, scale) => {
            let data = PrimitiveType::Decimal { precision: u32::from(*precision), scale: u32::try_from(*scale).ok()? };
            Datum::try_from_bytes(&value.to_be_bytes(), data).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::utils::split_conjunction;
    use datafusion::prelude::SessionContext;

    fn implied_predicate(sql: &str) -> String {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("name", DataType::Utf8, true),
            Field::new("ratio", DataType::Float64, true),
            Field::new("is_new", DataType::Boolean, true),
            Field::new("day", DataType::Date32, true),
            Field::new("amount", DataType::Decimal128(10, 2), true),
        ]);
        let named = DFSchema::try_from(schema.clone()).expect("names are different");
        let expr = SessionContext::new().parse_sql_expr(sql, &named).expect("an expression");
        let conditions: Vec<Expr> = split_conjunction(&expr).into_iter().cloned().collect();
        implied_by_all(&conditions, &schema).map_or_else(|| "-".into(), |told| told.to_string())
    }

    #[test]
    fn what_holds_for_all_rows_of_an_answer_chooses_files() {
        for (sql, expected) in [
            ("id = 7", "id = 7"),
            ("7 > id", "id < 7"),
            ("id >= 7 and name = 'a'", "(id >= 7) AND (name = \"a\")"),
            ("id = 7 or id = 8", "(id = 7) OR (id = 8)"),
            ("id in (1, 2)", "id IN (1, 2)"),
            ("name is null", "name IS NULL"),
            ("name like 'ab%'", "name STARTS WITH \"ab\""),
            ("is_new", "is_new = true"),
            ("not is_new", "is_new = false"),
            ("ratio < 0.5e0", "ratio < 0.5"),
            // The predicate omits a condition that it cannot express, so it matches more rows.
            ("id = 7 and length(name) = 3", "id = 7"),
        ] {
            assert_eq!(implied_predicate(sql), expected, "{sql}");
        }
        for sql in [
            "length(name) = 3",
            "id = 7 or length(name) = 3",
            // No predicate can be derived. Omitting the second part under `not` would exclude matching rows.
            "not (id = 7 and length(name) = 3)",
            "name like '%b'",
            "name like 'a_%'",
            "name not like 'ab%'",
            // No predicate can be derived, because NaN is greater than all numbers.
            "ratio > 0.5e0",
            "ratio <> 0.5e0",
            "cast(ratio as bigint) = 1",
            "id = null",
        ] {
            assert_eq!(implied_predicate(sql), "-", "{sql}");
        }
    }
}
