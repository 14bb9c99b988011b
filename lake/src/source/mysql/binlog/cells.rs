//! Decodes row values of MySQL and MariaDB. Values from the binlog and from query results are decoded to the same
//! [`Cell`], so that rows of a snapshot and changes can be compared.

use super::bytes::Bytes;
use super::column::{BinlogType, Column};
use super::event::is_set;
use super::event::{Op, Rows, TableMap};
use crate::source::mysql::numbers::day_of;
use anyhow::{Context as _, anyhow, bail, ensure};
use mysql_async::Value;
use mysql_async::binlog::jsonb;
use mysql_common::io::ParseBuf;
use orch_sdk::task::TaskResult;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use uuid::Uuid;

const DAY_MICROS: i64 = 86_400_000_000;

#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Int(i64),
    UInt(u64),
    Float(f32),
    Double(f64),
    Bool(bool),
    Text(String),
    Bytes(Vec<u8>),
    /// Days since the Unix epoch.
    Date(i32),
    /// A duration or a time of day, in microseconds.
    Time(i64),
    /// A date and time without a time zone, in microseconds since 1970-01-01 00:00.
    Datetime(i64),
    /// A point in time, in microseconds since the Unix epoch (UTC).
    Timestamp(i64),
}

/// The values of a row before and after a change.
pub type Change = (Option<Vec<Cell>>, Option<Vec<Cell>>);

/// Decodes the row changes of a binlog event, in order.
///
/// # Errors
/// Returns an error if a value does not match the type of its column.
pub fn changes(rows: &Rows, table: &TableMap, columns: &[Column]) -> TaskResult<Vec<Change>> {
    let mut data = Bytes(&rows.data);
    let mut changes = Vec::new();
    while !data.0.is_empty() {
        let first = row(&mut data, table, columns, &rows.told[0])?;
        changes.push(match rows.op {
            Op::Insert => (None, Some(first)),
            Op::Delete => (Some(first), None),
            Op::Update => (Some(first), Some(row(&mut data, table, columns, &rows.told[1])?)),
        });
    }
    Ok(changes)
}

fn row(data: &mut Bytes<'_>, table: &TableMap, columns: &[Column], told: &[u8]) -> TaskResult<Vec<Cell>> {
    let many = (0..columns.len()).filter(|place| is_set(told, *place)).count();
    let nulls = data.take(many.div_ceil(8))?.to_vec();
    let mut cells = Vec::with_capacity(many);
    for (place, column) in columns.iter().enumerate() {
        let (kind, meta) = &table.types[place];
        if !is_set(told, place) {
            bail!("column `{}` is not told", column.name);
        }
        let is_null = is_set(&nulls, place);
        let read = if is_null { Ok(Cell::Null) } else { value(data, (*kind, meta), column) };
        cells.push(read.with_context(|| format!("column `{}`", column.name))?);
    }
    Ok(cells)
}

fn value(data: &mut Bytes<'_>, (kind, meta): (u8, &[u8]), column: &Column) -> TaskResult<Cell> {
    Ok(match kind {
        1 => integer(data, 1, &column.kind)?,
        2 => integer(data, 2, &column.kind)?,
        9 => integer(data, 3, &column.kind)?,
        3 => integer(data, 4, &column.kind)?,
        8 => integer(data, 8, &column.kind)?,
        4 => Cell::Float(f32::from_le_bytes(data.take(4)?.try_into()?)),
        5 => Cell::Double(f64::from_le_bytes(data.take(8)?.try_into()?)),
        246 => Cell::Text(decimal(data, meta[0].into(), meta[1].into())?),
        13 => match data.u8()? {
            0 => Cell::Int(0),
            year => Cell::Int(1_900 + i64::from(year)),
        },
        10 | 14 => {
            let packed = data.number(3)?;
            day_of((packed >> 9) as u16, (packed >> 5 & 15) as u8, (packed & 31) as u8).map_or(Cell::Null, Cell::Date)
        }
        11 => {
            let packed = sign_extended(data.number(3)?, 3);
            let (hours, minutes, seconds) = (packed / 10_000, packed / 100 % 100, packed % 100);
            Cell::Time(((hours * 60 + minutes) * 60 + seconds) * 1_000_000)
        }
        12 => {
            let packed = data.number(8)?;
            let (day, time) = (packed / 1_000_000, packed % 1_000_000);
            let day = day_of((day / 10_000) as u16, (day / 100 % 100) as u8, (day % 100) as u8);
            datetime(day, (time / 10_000, time / 100 % 100, time % 100), 0)
        }
        7 => timestamp(data.number(4)?, 0),
        17 => {
            let seconds = data.big(4)?;
            timestamp(seconds, fraction(data, meta[0])?)
        }
        18 => {
            // Removes the offset that MySQL adds so that the stored bytes sort like the values.
            let packed = data.big(5)?.wrapping_sub(0x80_0000_0000);
            let (day, time) = (packed >> 17, packed & 0x1_ffff);
            let (year, month) = ((day >> 5) / 13, (day >> 5) % 13);
            let micros = fraction(data, meta[0])?;
            let day = day_of(year as u16, month as u8, (day & 31) as u8);
            datetime(day, (time >> 12, time >> 6 & 63, time & 63), micros)
        }
        19 => time(data, meta[0])?,
        16 => {
            let bits = usize::from(meta[1]) * 8 + usize::from(meta[0]);
            bit(data.take(bits.div_ceil(8))?, &column.kind)
        }
        247 | 248 => word(data.number(meta[1].into())?, &column.kind)?,
        // Type code 254 is a fixed-length string or a MariaDB type stored like one. Its metadata can also mark it as
        // an enum or set.
        254 => match meta[0] {
            247 | 248 => word(data.number(meta[1].into())?, &column.kind)?,
            _ => {
                let longest = usize::from(meta[1]) | (usize::from(meta[0] & 0x30 ^ 0x30) << 4);
                let many = data.number(if longest < 256 { 1 } else { 2 })? as usize;
                text(data.take(many)?, &column.kind)?
            }
        },
        15 | 141 | 253 => {
            let longest = u16::from_le_bytes([meta[0], meta[1]]);
            let many = data.number(if longest < 256 { 1 } else { 2 })? as usize;
            text(data.take(many)?, &column.kind)?
        }
        140 | 242 | 249..=252 | 255 => {
            let many = data.number(meta[0].into())? as usize;
            text(data.take(many)?, &column.kind)?
        }
        245 => {
            let many = data.number(meta[0].into())? as usize;
            json(data.take(many)?)?
        }
        other => bail!("type {other} is not known"),
    })
}

fn integer(data: &mut Bytes<'_>, bytes: usize, kind: &BinlogType) -> TaskResult<Cell> {
    let number = data.number(bytes)?;
    Ok(match kind {
        BinlogType::Number { is_unsigned: true } => Cell::UInt(number),
        _ => Cell::Int(sign_extended(number, bytes)),
    })
}

fn sign_extended(number: u64, bytes: usize) -> i64 {
    let unused = 64 - 8 * bytes as u32;
    (number << unused).cast_signed() >> unused
}

/// Decodes a binary decimal. Each group of nine decimal digits takes four bytes; the first and the last group can be
/// shorter.
fn decimal(data: &mut Bytes<'_>, precision: usize, scale: usize) -> TaskResult<String> {
    const BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
    let whole = precision.checked_sub(scale).context("a decimal with more digits than it has")?;
    let size = whole / 9 * 4 + BYTES[whole % 9] + scale / 9 * 4 + BYTES[scale % 9];
    let mut bytes = data.take(size)?.to_vec();
    let is_negative = bytes.first().is_some_and(|first| first & 0x80 == 0);
    if let Some(first) = bytes.first_mut() {
        *first ^= 0x80;
    }
    if is_negative {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let mut bytes = Bytes(&bytes);
    let mut digits = String::with_capacity(precision + 2);
    let mut group = |many: usize, digits: &mut String| -> TaskResult<()> {
        if many > 0 {
            let number = bytes.big(BYTES[many])?;
            write!(digits, "{number:0many$}")?;
        }
        Ok(())
    };
    group(whole % 9, &mut digits)?;
    for _ in 0..whole / 9 {
        group(9, &mut digits)?;
    }
    let kept = digits.trim_start_matches('0');
    let mut number = if kept.is_empty() { "0".to_string() } else { kept.to_string() };
    if scale > 0 {
        let mut part = String::with_capacity(scale);
        for _ in 0..scale / 9 {
            group(9, &mut part)?;
        }
        group(scale % 9, &mut part)?;
        number = format!("{number}.{part}");
    }
    Ok(if is_negative { format!("-{number}") } else { number })
}

/// Reads fractional seconds and returns them as microseconds. Their size depends on the precision of the column.
fn fraction(data: &mut Bytes<'_>, digits: u8) -> TaskResult<u64> {
    Ok(match digits {
        0 => 0,
        1 | 2 => data.big(1)? * 10_000,
        3 | 4 => data.big(2)? * 100,
        _ => data.big(3)?,
    })
}

/// Returns a timestamp. The zero timestamp becomes null, because MySQL stores zero dates that way.
fn timestamp(seconds: u64, micros: u64) -> Cell {
    match seconds {
        0 => Cell::Null,
        _ => Cell::Timestamp((seconds * 1_000_000 + micros).cast_signed()),
    }
}

fn datetime(day: Option<i32>, (hours, minutes, seconds): (u64, u64, u64), micros: u64) -> Cell {
    let time = (((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros).cast_signed();
    day.map_or(Cell::Null, |day| Cell::Datetime(i64::from(day) * DAY_MICROS + time))
}

/// Decodes a `time` value: 24 bits with hours, minutes and seconds, followed by the fraction. For negative times, the
/// whole number is stored as its complement.
fn time(data: &mut Bytes<'_>, digits: u8) -> TaskResult<Cell> {
    let bytes = [0, 1, 1, 2, 2, 3, 3].get(usize::from(digits)).copied().context("a fraction")?;
    let packed = data.big(3 + bytes)?.cast_signed() - (0x80_0000_i64 << (8 * bytes));
    let (is_negative, packed) = (packed < 0, packed.unsigned_abs());
    let (time, part) = (packed >> (8 * bytes), packed & ((1 << (8 * bytes)) - 1));
    let micros = part * [1, 10_000, 100, 1][bytes];
    let seconds = ((time >> 12 & 1_023) * 60 + (time >> 6 & 63)) * 60 + (time & 63);
    let whole = (seconds * 1_000_000 + micros).cast_signed();
    Ok(Cell::Time(if is_negative { -whole } else { whole }))
}

/// Decodes `bit(1)` as a boolean, and longer bit fields as little-endian bytes, as Debezium does.
fn bit(bytes: &[u8], kind: &BinlogType) -> Cell {
    match kind {
        BinlogType::Bit { width: 1 } => Cell::Bool(bytes.last().is_some_and(|byte| byte & 1 == 1)),
        _ => Cell::Bytes(bytes.iter().rev().copied().collect()),
    }
}

fn word(number: u64, kind: &BinlogType) -> TaskResult<Cell> {
    let missing = || anyhow!("it has a word that the column does not have any more");
    match kind {
        // Index 0 means that the stored value is not a member of the enum.
        BinlogType::Enum(_) if number == 0 => Ok(Cell::Text(String::new())),
        BinlogType::Enum(words) => words.get(number as usize - 1).cloned().map(Cell::Text).ok_or_else(missing),
        BinlogType::Set(words) => {
            let is_known = words.len() >= 64 || number >> words.len() == 0;
            ensure!(is_known, missing());
            let found = words.iter().enumerate().filter(|(place, _)| number & (1 << place) != 0);
            Ok(Cell::Text(found.map(|(_, word)| word.as_str()).collect::<Vec<_>>().join(",")))
        }
        _ => bail!("it has a value of an enum or a set, and the column has another type"),
    }
}

fn text(bytes: &[u8], kind: &BinlogType) -> TaskResult<Cell> {
    Ok(match kind {
        BinlogType::Text(charset) => Cell::Text(charset.decode(bytes)?),
        // MySQL omits trailing zero bytes of `binary(n)` in the binlog, so they are restored.
        BinlogType::Bytes { width } => {
            let mut bytes = bytes.to_vec();
            bytes.resize(bytes.len().max(*width), 0);
            Cell::Bytes(bytes)
        }
        BinlogType::Inet4 => Cell::Text(Ipv4Addr::from(fixed::<4>(bytes)?).to_string()),
        BinlogType::Inet6 => Cell::Text(Ipv6Addr::from(fixed::<16>(bytes)?).to_string()),
        BinlogType::Uuid => Cell::Text(uuid(fixed(bytes)?)),
        _ => bail!("it has letters or bytes, and the column is of another type"),
    })
}

fn fixed<const N: usize>(bytes: &[u8]) -> TaskResult<[u8; N]> {
    let mut fixed = [0; N];
    ensure!(bytes.len() <= N, "it is too long");
    fixed[..bytes.len()].copy_from_slice(bytes);
    Ok(fixed)
}

/// Restores the byte order of a UUID. MariaDB stores UUIDs of versions below 6 with their fields reversed, so that
/// the slowest-changing field is first in sort order.
fn uuid(kept: [u8; 16]) -> String {
    if kept[6] & 0x80 == 0 || !(1..0x60).contains(&kept[8]) {
        return Uuid::from_bytes(kept).to_string();
    }
    let order: [usize; 16] = [12, 13, 14, 15, 10, 11, 8, 9, 6, 7, 0, 1, 2, 3, 4, 5];
    Uuid::from_bytes(order.map(|place| kept[place])).to_string()
}

/// Converts MySQL's binary JSON to the text form that JSON columns have in a snapshot.
fn json(bytes: &[u8]) -> TaskResult<Cell> {
    let value: jsonb::Value<'_> = ParseBuf(bytes).parse(())?;
    Ok(Cell::Text(serde_json::Value::from(value.parse()?).to_string()))
}

/// Converts a value from the binary protocol of queries. The session must use UTC and UTF-8.
///
/// # Errors
/// Returns an error if the value does not match the type of the column.
pub(super) fn of_query(value: Value, column: &Column) -> TaskResult<Cell> {
    let cell = match (value, &column.kind) {
        (Value::NULL, _) => Some(Cell::Null),
        (Value::Int(number), BinlogType::Number { is_unsigned: true }) => u64::try_from(number).ok().map(Cell::UInt),
        (Value::Int(number), _) => Some(Cell::Int(number)),
        (Value::UInt(number), BinlogType::Number { is_unsigned: true }) => Some(Cell::UInt(number)),
        (Value::UInt(number), _) => i64::try_from(number).ok().map(Cell::Int),
        (Value::Float(number), _) => Some(Cell::Float(number)),
        (Value::Double(number), _) => Some(Cell::Double(number)),
        (Value::Date(year, month, day, ..), BinlogType::Date) => {
            Some(day_of(year, month, day).map_or(Cell::Null, Cell::Date))
        }
        (Value::Date(year, month, day, hours, minutes, seconds, micros), kind) => {
            let at = datetime(day_of(year, month, day), (hours.into(), minutes.into(), seconds.into()), micros.into());
            Some(match (at, kind) {
                (Cell::Datetime(at), BinlogType::Timestamp) => Cell::Timestamp(at),
                (at, _) => at,
            })
        }
        (Value::Time(is_negative, days, hours, minutes, seconds, micros), _) => {
            let hours = i64::from(days) * 24 + i64::from(hours);
            let whole = ((hours * 60 + i64::from(minutes)) * 60 + i64::from(seconds)) * 1_000_000 + i64::from(micros);
            Some(Cell::Time(if is_negative { -whole } else { whole }))
        }
        (Value::Bytes(bytes), BinlogType::Bit { .. }) => Some(bit(&bytes, &column.kind)),
        (Value::Bytes(bytes), BinlogType::Bytes { .. }) => Some(Cell::Bytes(bytes)),
        (Value::Bytes(bytes), BinlogType::Json) => {
            let value: serde_json::Value = serde_json::from_slice(&bytes)?;
            Some(Cell::Text(value.to_string()))
        }
        (Value::Bytes(bytes), _) => String::from_utf8(bytes).ok().map(Cell::Text),
    };
    cell.with_context(|| format!("column `{}` has a value that is not of its type", column.name))
}
