//! Converts Arrow columns to JSON cells. Values that a JSON number cannot represent exactly become strings.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use orch_store::lake_view::{Cell, Chunk, ResultColumn};
use serde_json::{Map, Number, Value};
use std::fmt::Write as _;

pub(crate) fn columns(schema: &Schema) -> Vec<ResultColumn> {
    let column = |field: &Field| ResultColumn {
        name: field.name().clone(),
        data_type: name_of(field.data_type()),
        is_number: field.data_type().is_numeric(),
    };
    schema.fields().iter().map(|field| column(field)).collect()
}

/// Returns the SQL name of an Arrow type.
pub(crate) fn name_of(data: &DataType) -> String {
    match data {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => "int".into(),
        DataType::Int64 => "bigint".into(),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => "int unsigned".into(),
        DataType::UInt64 => "bigint unsigned".into(),
        DataType::Float16 | DataType::Float32 => "real".into(),
        DataType::Float64 => "double".into(),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => format!("decimal({p}, {s})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "varchar".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "varbinary".into()
        }
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::Time32(_) | DataType::Time64(_) => "time".into(),
        DataType::Timestamp(_, None) => "timestamp".into(),
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone".into(),
        DataType::Interval(_) | DataType::Duration(_) => "interval".into(),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            format!("array({})", name_of(item.data_type()))
        }
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| format!("{} {}", field.name(), name_of(field.data_type())));
            format!("row({})", fields.collect::<Vec<_>>().join(", "))
        }
        DataType::Dictionary(_, value) => name_of(value),
        DataType::Null => "null".into(),
        other => other.to_string().to_lowercase(),
    }
}

pub(crate) fn rows(batch: &RecordBatch) -> Result<Chunk, ArrowError> {
    let columns = batch.columns().iter().map(|column| cells(column.as_ref())).collect::<Result<Vec<_>, _>>()?;
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    Ok((0..batch.num_rows()).map(|_| columns.iter_mut().filter_map(Iterator::next).collect()).collect())
}

macro_rules! numbers {
    ($array:expr, $type:ty) => {
        $array.as_primitive::<$type>().iter().map(|number| number.map_or(Value::Null, Value::from)).collect()
    };
}

fn cells(array: &dyn Array) -> Result<Vec<Cell>, ArrowError> {
    Ok(match array.data_type() {
        DataType::Null => vec![Value::Null; array.len()],
        DataType::Boolean => array.as_boolean().iter().map(|truth| truth.map_or(Value::Null, Value::from)).collect(),
        DataType::Int8 => numbers!(array, Int8Type),
        DataType::Int16 => numbers!(array, Int16Type),
        DataType::Int32 => numbers!(array, Int32Type),
        DataType::Int64 => numbers!(array, Int64Type),
        DataType::UInt8 => numbers!(array, UInt8Type),
        DataType::UInt16 => numbers!(array, UInt16Type),
        DataType::UInt32 => numbers!(array, UInt32Type),
        DataType::UInt64 => numbers!(array, UInt64Type),
        // The number is converted through its decimal text. A direct cast of 0.1 to a double would show more digits.
        DataType::Float32 => array
            .as_primitive::<Float32Type>()
            .iter()
            .map(|number| number.map_or(Value::Null, |number| float(number.to_string().parse().unwrap_or(f64::NAN))))
            .collect(),
        DataType::Float64 => {
            array.as_primitive::<Float64Type>().iter().map(|number| number.map_or(Value::Null, float)).collect()
        }
        DataType::Utf8 => array.as_string::<i32>().iter().map(text).collect(),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().map(text).collect(),
        DataType::Utf8View => array.as_string_view().iter().map(text).collect(),
        DataType::Binary => array.as_binary::<i32>().iter().map(hexadecimal).collect(),
        DataType::LargeBinary => array.as_binary::<i64>().iter().map(hexadecimal).collect(),
        DataType::BinaryView => array.as_binary_view().iter().map(hexadecimal).collect(),
        DataType::FixedSizeBinary(_) => array.as_fixed_size_binary().iter().map(hexadecimal).collect(),
        DataType::List(_) => lists(array.as_list::<i32>().iter())?,
        DataType::LargeList(_) => lists(array.as_list::<i64>().iter())?,
        DataType::FixedSizeList(..) => lists(array.as_fixed_size_list().iter())?,
        DataType::Struct(fields) => {
            let inner = array.as_struct();
            let columns = inner.columns().iter().map(|column| cells(column.as_ref())).collect::<Result<Vec<_>, _>>()?;
            let object = |row: usize| {
                let fields =
                    fields.iter().zip(&columns).map(|(field, cells)| (field.name().clone(), cells[row].clone()));
                Value::Object(fields.collect::<Map<_, _>>())
            };
            (0..array.len()).map(|row| if array.is_null(row) { Value::Null } else { object(row) }).collect()
        }
        _ => written(array)?,
    })
}

fn text(text: Option<&str>) -> Cell {
    text.map_or(Value::Null, Value::from)
}

/// NaN and infinities become strings, because JSON numbers cannot represent them.
fn float(number: f64) -> Cell {
    Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
}

fn hexadecimal(bytes: Option<&[u8]>) -> Cell {
    bytes.map_or(Value::Null, |bytes| {
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            write!(text, "{byte:02x}").expect("a string takes all");
        }
        Value::String(text)
    })
}

fn lists(lists: impl Iterator<Item = Option<arrow::array::ArrayRef>>) -> Result<Vec<Cell>, ArrowError> {
    let list = |items: Option<arrow::array::ArrayRef>| match items {
        Some(items) => Ok(Value::Array(cells(items.as_ref())?)),
        None => Ok(Value::Null),
    };
    lists.map(list).collect()
}

/// Formats decimals, dates, times, intervals and maps as Arrow does. Timestamps have a space between date and time,
/// as in SQL.
fn written(array: &dyn Array) -> Result<Vec<Cell>, ArrowError> {
    let options = FormatOptions::new()
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"));
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let cell = |row: usize| {
        if array.is_null(row) { Ok(Value::Null) } else { formatter.value(row).try_to_string().map(Value::String) }
    };
    (0..array.len()).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        ArrayRef, BinaryArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int64Array, ListArray,
        StringArray, TimestampMicrosecondArray,
    };
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn values_stay_exact_and_null_stays_null() {
        let decimal = Decimal128Array::from(vec![Some(12_345), None]).with_precision_and_scale(9, 2).expect("it fits");
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
        let cases: Vec<(ArrayRef, &str, Value)> = vec![
            (Arc::new(Int64Array::from(vec![Some(i64::MAX), None])), "bigint", json!([i64::MAX, null])),
            (Arc::new(Float64Array::from(vec![Some(0.1), Some(f64::NAN)])), "double", json!([0.1, "NaN"])),
            (Arc::new(Float32Array::from(vec![Some(0.1), None])), "real", json!([0.1, null])),
            (Arc::new(decimal), "decimal(9, 2)", json!(["123.45", null])),
            (Arc::new(Date32Array::from(vec![Some(16_000), None])), "date", json!(["2013-10-22", null])),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![Some(1_500_000), None])),
                "timestamp",
                json!(["1970-01-01 00:00:01.500", null]),
            ),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None]).with_timezone("+00:00")),
                "timestamp with time zone",
                json!(["1970-01-01 00:00:00+00:00", null]),
            ),
            (Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), None])), "varbinary", json!(["00ff", null])),
            (Arc::new(StringArray::from(vec![Some("<b>"), Some("")])), "varchar", json!(["<b>", ""])),
            (Arc::new(list), "array(int)", json!([[1, null], null])),
        ];
        for (array, name, expected) in cases {
            assert_eq!(name_of(array.data_type()), name);
            assert_eq!(Value::Array(cells(array.as_ref()).expect("they can be written")), expected, "{name}");
        }
    }
}
