//! Maps Arrow types to Postgres types.

use arrow::datatypes::{DataType, Field};
use orch_sdk::task::{TaskResult, fatal};

/// Returns the Postgres type of a field, in the notation of `format_type`, so that it can be compared with columns of
/// a table.
pub(crate) fn type_of(field: &Field) -> TaskResult<String> {
    Ok(match field.data_type() {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint".into(),
        DataType::Int32 | DataType::UInt16 => "integer".into(),
        DataType::Int64 | DataType::UInt32 => "bigint".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Decimal128(precision, scale) => format!("numeric({precision},{scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea".into(),
        DataType::Date32 => "date".into(),
        DataType::Time64(_) => "time without time zone".into(),
        DataType::Timestamp(_, None) => "timestamp without time zone".into(),
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone".into(),
        DataType::FixedSizeBinary(16) => "uuid".into(),
        other => {
            return Err(fatal(format!(
                "column `{}` of type `{other}` has no type in Postgres\nhint: cast it to a plain type first",
                field.name()
            )));
        }
    })
}

/// Quotes an identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(crate) fn names(columns: &[String]) -> String {
    columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ")
}
