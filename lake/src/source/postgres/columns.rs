//! Builds the SQL casts with which the server converts columns to types declared elsewhere.

use crate::load::quoted;
use arrow::datatypes::{DataType, Field, TimeUnit};
use orch_sdk::task::{TaskResult, fatal};

/// Returns the SQL expression that selects a field. `has` is the column's type on the server, or `None` if the table
/// lacks the column; the expression is then null.
///
/// # Errors
/// Returns a fatal error if the server cannot convert the column to the declared type.
pub(super) fn expression(field: &Field, has: Option<&str>) -> TaskResult<String> {
    let (name, wanted) = (quoted(field.name()), field.data_type());
    let Some(to) = name_of(wanted) else {
        return Err(fatal(format!("column `{}` cannot be read from Postgres as `{wanted}`", field.name())));
    };
    let Some(has) = has else { return Ok(format!("null::{to} as {name}")) };
    let is_instant = has.starts_with("timestamp") && has.ends_with("with time zone");
    let is_time = is_instant || has == "date" || has.starts_with("timestamp");
    let in_utc = format!("{name} at time zone 'UTC'");
    let value = match wanted {
        DataType::Timestamp(_, Some(_)) if !is_instant => format!("{name}::timestamp at time zone 'UTC'"),
        DataType::Timestamp(_, None) | DataType::Date32 if is_instant => format!("({in_utc})::{to}"),
        DataType::Utf8 if is_instant => format!("replace(({in_utc})::text, ' ', 'T') || 'Z'"),
        // The column is not cast, because a cast from `character` to text would strip trailing blanks.
        DataType::Utf8 if has.starts_with("character(") => name.clone(),
        DataType::Utf8 if has == "bytea" => format!(r"translate(encode({name}, 'base64'), E'\n', '')"),
        DataType::Utf8 if is_time || has.starts_with("time") => {
            return Err(fatal(format!(
                "column `{}` is `{has}` at the server, whose changes are told as a number, and is declared as a text",
                field.name()
            )));
        }
        // Arrow decimals do not support NaN, so it becomes null.
        DataType::Decimal128(..) if has.starts_with("numeric") => format!("nullif({name}::{to}, 'NaN')"),
        _ => format!("{name}::{to}"),
    };
    // Arrow timestamps do not support infinity, so it becomes null.
    let value = if is_time { format!("case when isfinite({name}) then {value} end") } else { value };
    Ok(format!("{value} as {name}"))
}

/// Returns the Postgres type name for an Arrow type.
fn name_of(wanted: &DataType) -> Option<String> {
    Some(match wanted {
        DataType::Boolean => "boolean".into(),
        DataType::Int16 => "smallint".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Decimal128(precision, scale) => format!("numeric({precision},{scale})"),
        DataType::Utf8 => "text".into(),
        DataType::Binary => "bytea".into(),
        DataType::Date32 => "date".into(),
        DataType::Time64(TimeUnit::Microsecond) => "time".into(),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "timestamp".into(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamptz".into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expression_or_error(wanted: DataType, has: &str) -> String {
        expression(&Field::new("x", wanted, true), Some(has)).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn the_server_makes_the_declared_types() {
        let at = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        for (wanted, has, expected) in [
            (DataType::Int64, "integer", "\"x\"::bigint as \"x\""),
            (DataType::Decimal128(10, 2), "numeric", "nullif(\"x\"::numeric(10,2), 'NaN') as \"x\""),
            (DataType::Decimal128(10, 0), "bigint", "\"x\"::numeric(10,0) as \"x\""),
            (
                at(Some("+00:00")),
                "timestamp(3) with time zone",
                "case when isfinite(\"x\") then \"x\"::timestamptz end as \"x\"",
            ),
            (
                at(Some("+00:00")),
                "timestamp without time zone",
                "case when isfinite(\"x\") then \"x\"::timestamp at time zone 'UTC' end as \"x\"",
            ),
            (DataType::Date32, "date", "case when isfinite(\"x\") then \"x\"::date end as \"x\""),
            (DataType::Utf8, "uuid", "\"x\"::text as \"x\""),
            (DataType::Utf8, "character(5)", "\"x\" as \"x\""),
        ] {
            assert_eq!(expression_or_error(wanted, has), expected);
        }
        assert!(expression_or_error(DataType::Utf8, "date").contains("is declared as a text"));
        assert!(expression_or_error(DataType::Int8, "integer").contains("cannot be read from Postgres as `Int8`"));
        let missing = expression(&Field::new("x", DataType::Boolean, true), None).unwrap();
        assert_eq!(missing, "null::boolean as \"x\"");
    }
}
