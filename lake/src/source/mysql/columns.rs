//! Maps the column types of a MySQL result to Arrow types, and collects the values in column builders.

use super::numbers::{day_of, parsed, power, rounded};
use super::{MysqlSource, as_text};
use crate::source::builder::Builder;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::{Column, Row, Value};
use orch_sdk::task::{TaskResult, fatal};
use std::sync::Arc;

/// Arrow type for amounts of money that the server stores as floats.
const MONEY: DataType = DataType::Decimal128(12, 2);
/// MySQL's charset id for binary data.
const BINARY_CHARSET: u16 = 63;
/// Maximum precision of Arrow's `Decimal128`.
const MOST_DIGITS: u32 = 38;
const DAY_MICROS: i64 = 86_400_000_000;

/// The schema and column builders of a batch.
pub(super) struct Columns {
    schema: SchemaRef,
    builders: Vec<Builder>,
    rows: usize,
}

impl Columns {
    pub(super) fn of(given: &[Column], read: &MysqlSource) -> TaskResult<Columns> {
        for name in read.casts.keys() {
            if !given.iter().any(|column| column.name_str() == name.as_str()) {
                return Err(fatal(format!("there is no column `{name}` to be read as another type")));
            }
        }
        let fields: Vec<Field> = given.iter().map(|column| field(column, read)).collect();
        let builders = fields.iter().map(|field| builder(field, read.batch_rows)).collect::<TaskResult<_>>()?;
        Ok(Columns { schema: Arc::new(Schema::new(fields)), builders, rows: 0 })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    pub(super) fn push(&mut self, row: &Row, number: u64) -> TaskResult<()> {
        for (at, builder) in self.builders.iter_mut().enumerate() {
            let value = row.as_ref(at).unwrap_or(&Value::NULL);
            if let Err(problem) = push(builder, value) {
                let name = self.schema.field(at).name();
                return Err(fatal(format!("column `{name}`, row {number}: {problem}")));
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Returns the rows pushed since the last call as a batch.
    pub(super) fn finish(&mut self) -> TaskResult<RecordBatch> {
        let columns = self.builders.iter_mut().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

fn field(column: &Column, read: &MysqlSource) -> Field {
    let name = column.name_str();
    let own = type_of(column);
    let kept = match read.casts.get(name.as_ref()) {
        Some(cast) => cast.clone(),
        None if read.is_money && matches!(own, DataType::Float32 | DataType::Float64) => MONEY,
        None => own,
    };
    // A `not null` column can contain zero dates (`0000-00-00`). They are read as null, so the column is nullable.
    let has_zero_dates = matches!(kept, DataType::Date32 | DataType::Timestamp(..));
    Field::new(name, kept, has_zero_dates || !column.flags().contains(ColumnFlags::NOT_NULL_FLAG))
}

fn type_of(column: &Column) -> DataType {
    let unsigned = column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
    match column.column_type() {
        ColumnType::MYSQL_TYPE_TINY
        | ColumnType::MYSQL_TYPE_SHORT
        | ColumnType::MYSQL_TYPE_INT24
        | ColumnType::MYSQL_TYPE_YEAR => DataType::Int32,
        ColumnType::MYSQL_TYPE_LONG if unsigned => DataType::Int64,
        ColumnType::MYSQL_TYPE_LONG => DataType::Int32,
        ColumnType::MYSQL_TYPE_LONGLONG if unsigned => DataType::Decimal128(20, 0),
        ColumnType::MYSQL_TYPE_LONGLONG => DataType::Int64,
        ColumnType::MYSQL_TYPE_FLOAT => DataType::Float32,
        ColumnType::MYSQL_TYPE_DOUBLE => DataType::Float64,
        ColumnType::MYSQL_TYPE_DECIMAL | ColumnType::MYSQL_TYPE_NEWDECIMAL => decimal(column, unsigned),
        ColumnType::MYSQL_TYPE_DATE | ColumnType::MYSQL_TYPE_NEWDATE => DataType::Date32,
        ColumnType::MYSQL_TYPE_DATETIME | ColumnType::MYSQL_TYPE_DATETIME2 => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        ColumnType::MYSQL_TYPE_TIMESTAMP | ColumnType::MYSQL_TYPE_TIMESTAMP2 => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
        }
        ColumnType::MYSQL_TYPE_BIT | ColumnType::MYSQL_TYPE_GEOMETRY => DataType::Binary,
        // Strings, enums, sets and JSON are read as text. So is `time`, because its values can exceed a day.
        ColumnType::MYSQL_TYPE_VARCHAR
        | ColumnType::MYSQL_TYPE_VAR_STRING
        | ColumnType::MYSQL_TYPE_STRING
        | ColumnType::MYSQL_TYPE_TINY_BLOB
        | ColumnType::MYSQL_TYPE_MEDIUM_BLOB
        | ColumnType::MYSQL_TYPE_LONG_BLOB
        | ColumnType::MYSQL_TYPE_BLOB
            if column.character_set() == BINARY_CHARSET =>
        {
            DataType::Binary
        }
        _ => DataType::Utf8,
    }
}

/// Returns the decimal type of a column. Its precision is derived from the display length that the server sends,
/// which includes the digits, a sign unless unsigned, and a decimal point.
fn decimal(column: &Column, unsigned: bool) -> DataType {
    let scale = u32::from(column.decimals());
    let digits = column.column_length().saturating_sub(u32::from(!unsigned)).saturating_sub(u32::from(scale > 0));
    match (u8::try_from(digits.max(1)), i8::try_from(scale)) {
        (Ok(precision), Ok(scale)) if digits <= MOST_DIGITS => DataType::Decimal128(precision, scale),
        _ => DataType::Utf8,
    }
}

fn builder(field: &Field, rows: usize) -> TaskResult<Builder> {
    let is_sent = |builder: &Builder| {
        !matches!(builder, Builder::Bool(_) | Builder::Int16(_) | Builder::Uuid(_) | Builder::Time(_))
    };
    Builder::of(field.data_type(), rows).filter(is_sent).ok_or_else(|| {
        let hint =
            "hint: int32, int64, float32, float64, decimal128, utf8, binary, date32 and timestamp(µs) can be read";
        fatal(format!("column `{}` cannot be read as `{}`\n{hint}", field.name(), field.data_type()))
    })
}

fn push(builder: &mut Builder, value: &Value) -> Result<(), String> {
    let wrong = |as_what: &str| format!("{} is not a {as_what}", describe_value(value));
    match (builder, value) {
        (Builder::Int32(into), Value::Int(v)) => {
            into.append_value(i32::try_from(*v).map_err(|_| wrong("number of 32 bits"))?);
        }
        (Builder::Int32(into), Value::UInt(v)) => {
            into.append_value(i32::try_from(*v).map_err(|_| wrong("number of 32 bits"))?);
        }
        (Builder::Int64(into), Value::Int(v)) => into.append_value(*v),
        (Builder::Int64(into), Value::UInt(v)) => {
            into.append_value(i64::try_from(*v).map_err(|_| wrong("number of 64 bits"))?);
        }
        (Builder::Float32(into), Value::Float(v)) => into.append_value(*v),
        (Builder::Float64(into), Value::Float(v)) => into.append_value(f64::from(*v)),
        (Builder::Float64(into), Value::Double(v)) => into.append_value(*v),
        (Builder::Decimal { into, precision, scale }, value) if *value != Value::NULL => {
            let found = match value {
                Value::Float(v) => rounded(f64::from(*v), *scale),
                Value::Double(v) => rounded(*v, *scale),
                Value::Int(v) => i128::from(*v).checked_mul(power(*scale)),
                Value::UInt(v) => i128::from(*v).checked_mul(power(*scale)),
                Value::Bytes(text) => parsed(text, *scale),
                _ => None,
            };
            let limit = 10_i128.pow(u32::from(*precision));
            let fits = found.filter(|found| found.abs() < limit);
            into.append_value(fits.ok_or_else(|| wrong(&format!("decimal({precision}, {scale})")))?);
        }
        (Builder::Text(into), Value::Bytes(bytes)) => {
            into.append_value(std::str::from_utf8(bytes).map_err(|_| "its bytes are not valid UTF-8".to_string())?);
        }
        (Builder::Text(into), Value::Time(..) | Value::Int(_) | Value::UInt(_) | Value::Date(..)) => {
            into.append_value(as_text(value));
        }
        (Builder::Bytes(into), Value::Bytes(bytes)) => into.append_value(bytes),
        (Builder::Date(into), Value::Date(year, month, day, ..)) => {
            into.append_option(day_of(*year, *month, *day));
        }
        (Builder::Moment(into), Value::Date(year, month, day, hour, minute, second, micros)) => {
            let seconds = (i64::from(*hour) * 60 + i64::from(*minute)) * 60 + i64::from(*second);
            let time = seconds * 1_000_000 + i64::from(*micros);
            into.append_option(day_of(*year, *month, *day).map(|day| i64::from(day) * DAY_MICROS + time));
        }
        (into, Value::NULL) => into.append_null(),
        _ => return Err(wrong("value of the type of its column")),
    }
    Ok(())
}

/// Describes a value for an error message. Numbers and dates are included. Texts never are, because they may contain
/// personal data.
fn describe_value(value: &Value) -> String {
    match value {
        Value::Bytes(_) => "what it holds".into(),
        Value::Date(year, month, day, ..) => format!("`{year:04}-{month:02}-{day:02}`"),
        other => format!("`{}`", other.as_sql(true)),
    }
}
