//! Encodes Postgres values as JSON in Debezium's format: times as numbers, decimals as text. Performs no I/O.

use crate::capture::envelope;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BOOL: u32 = 16;
const BYTEA: u32 = 17;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const OID: u32 = 26;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const DATE: u32 = 1_082;
const TIME: u32 = 1_083;
const TIMESTAMP: u32 = 1_114;
const TIMESTAMPTZ: u32 = 1_184;

/// Number of days since 1970 that Debezium writes for an infinite date.
const INFINITE_DATE: i64 = 2_146_033_979;
const DAY_MICROS: i64 = 86_400_000_000;

/// Appends a value as JSON. `text` is the output of the type's output function.
pub(super) fn write(out: &mut Vec<u8>, type_oid: u32, text: &[u8]) {
    let number = match type_oid {
        BOOL => return out.extend_from_slice(if text == b"t" { b"true" } else { b"false" }),
        INT2 | INT4 | INT8 | OID => return out.extend_from_slice(text),
        // NaN and infinity are written as text, because JSON has no such numbers.
        FLOAT4 | FLOAT8 if text.last().is_some_and(u8::is_ascii_digit) => return out.extend_from_slice(text),
        BYTEA => return write_bytes(out, text),
        DATE => infinite(text, INFINITE_DATE, -INFINITE_DATE).or_else(|| date(text).map(|(days, _)| days)),
        TIME => time(text),
        TIMESTAMP => infinite(text, i64::MAX, i64::MIN).or_else(|| timestamp(text)),
        TIMESTAMPTZ => return write_instant(out, text),
        _ => None,
    };
    match number {
        Some(number) => out.extend_from_slice(number.to_string().as_bytes()),
        None => write_text(out, text),
    }
}

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    envelope::write_text(out, &String::from_utf8_lossy(text));
}

fn infinite(text: &[u8], most: i64, least: i64) -> Option<i64> {
    match text {
        b"infinity" => Some(most),
        b"-infinity" => Some(least),
        _ => None,
    }
}

/// Converts hexadecimal text that starts with `\x` to base64.
fn write_bytes(out: &mut Vec<u8>, text: &[u8]) {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits = text.strip_prefix(b"\\x").unwrap_or(text);
    let byte = |two: &[u8]| Some(digit(two[0])? << 4 | digit(*two.get(1)?)?);
    match digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>() {
        Some(bytes) => write_text(out, STANDARD.encode(bytes).as_bytes()),
        None => write_text(out, text),
    }
}

/// Parses a date. Returns the days since 1970 and the text after the date. ` BC` is at the end of the whole text, even
/// after a time.
fn date(text: &[u8]) -> Option<(i64, &[u8])> {
    let (text, is_before_christ) = match text.strip_suffix(b" BC") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (year, rest) = digits(text)?;
    let (month, rest) = digits(rest.strip_prefix(b"-")?)?;
    let (day, rest) = digits(rest.strip_prefix(b"-")?)?;
    // The year before 1 AD is 1 BC.
    let year = if is_before_christ { 1 - year } else { year };
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then(|| (days(year, month, day), rest))
}

/// Returns the days since 1970 in the proleptic Gregorian calendar. The computation starts years in March, so that the
/// leap day is the last day of a year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Parses a time. Returns the microseconds since midnight, or `None` if more text follows.
fn time(text: &[u8]) -> Option<i64> {
    let (hours, rest) = digits(text)?;
    let (minutes, rest) = digits(rest.strip_prefix(b":")?)?;
    let (seconds, rest) = digits(rest.strip_prefix(b":")?)?;
    let micros = match rest.strip_prefix(b".") {
        Some(fraction) if fraction.len() <= 6 => {
            let (value, rest) = digits(fraction)?;
            let missing = u32::try_from(6 - fraction.len()).ok()?;
            rest.is_empty().then(|| value * 10_i64.pow(missing))?
        }
        Some(_) => return None,
        None if rest.is_empty() => 0,
        None => return None,
    };
    Some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros)
}

/// Parses a timestamp. Returns the microseconds since 1970.
fn timestamp(text: &[u8]) -> Option<i64> {
    let (days, rest) = date(text)?;
    days.checked_mul(DAY_MICROS)?.checked_add(time(rest.strip_prefix(b" ")?)?)
}

/// Appends an instant in ISO 8601: `2026-11-22 06:00:00.5+00` becomes `2026-11-22T06:00:00.5Z`. Sessions use UTC.
fn write_instant(out: &mut Vec<u8>, text: &[u8]) {
    let (plain, is_before_christ) = match text.strip_suffix(b" BC") {
        Some(plain) => (plain, true),
        None => (text, false),
    };
    let plain = plain.strip_suffix(b"+00").and_then(|plain| std::str::from_utf8(plain).ok()?.split_once(' '));
    match plain {
        Some((date, time)) if is_before_christ => {
            let year = date.split_once('-').and_then(|(year, rest)| Some((year.parse::<i64>().ok()?, rest)));
            let date = year
                .map_or_else(|| date.to_string(), |(year, rest)| format!("{}{:04}-{rest}", sign(1 - year), year - 1));
            write_text(out, format!("{date}T{time}Z").as_bytes());
        }
        Some((date, time)) => write_text(out, format!("{date}T{time}Z").as_bytes()),
        None => write_text(out, text),
    }
}

fn sign(year: i64) -> &'static str {
    if year < 0 { "-" } else { "" }
}

fn digits(text: &[u8]) -> Option<(i64, &[u8])> {
    let many = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(many);
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(type_oid: u32, text: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, type_oid, text.as_bytes());
        let out = String::from_utf8(out).unwrap();
        serde_json::from_str::<serde_json::Value>(&out).unwrap_or_else(|error| panic!("{out}: {error}"));
        out
    }

    /// The expected values are recorded output of Debezium for the same values.
    #[test]
    fn values_are_written_as_debezium_does() {
        for (type_oid, text, expected) in [
            (BOOL, "t", "true"),
            (BOOL, "f", "false"),
            (INT8, "-9223372036854775808", "-9223372036854775808"),
            (FLOAT8, "1e+20", "1e+20"),
            (FLOAT8, "-0", "-0"),
            (FLOAT8, "NaN", "\"NaN\""),
            (FLOAT4, "-Infinity", "\"-Infinity\""),
            (1_700, "12.50", "\"12.50\""),
            (25, "a\"b\n", r#""a\"b\n""#),
            (BYTEA, "\\x00ff10", "\"AP8Q\""),
            (BYTEA, "\\x", "\"\""),
            (DATE, "1970-01-01", "0"),
            (DATE, "2026-11-23", "20780"),
            (DATE, "1969-12-31", "-1"),
            (DATE, "2000-02-29", "11016"),
            (DATE, "0044-03-15 BC", "-735160"),
            (DATE, "infinity", "2146033979"),
            (TIME, "23:59:59.999999", "86399999999"),
            (TIME, "00:00:01.5", "1500000"),
            (TIMESTAMP, "1970-01-02 00:00:00.000001", "86400000001"),
            (TIMESTAMP, "1969-12-31 23:59:59", "-1000000"),
            (TIMESTAMP, "294276-12-31 23:59:59", "\"294276-12-31 23:59:59\""),
            (TIMESTAMP, "-infinity", "-9223372036854775808"),
            (TIMESTAMPTZ, "2026-11-22 06:00:00.5+00", "\"2026-11-22T06:00:00.5Z\""),
            (TIMESTAMPTZ, "0044-03-15 00:00:00+00 BC", "\"-0043-03-15T00:00:00Z\""),
            (TIMESTAMPTZ, "infinity", "\"infinity\""),
            (2_950, "6f1e7a3c-0000-0000-0000-000000000000", "\"6f1e7a3c-0000-0000-0000-000000000000\""),
        ] {
            assert_eq!(json(type_oid, text), expected, "{type_oid} {text}");
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for day in (-800_000..800_000).step_by(97) {
            let date = chrono::DateTime::from_timestamp(day * 86_400, 0).unwrap().date_naive();
            use chrono::Datelike as _;
            assert_eq!(days(date.year().into(), date.month().into(), date.day().into()), day, "{date}");
        }
    }
}
