//! Percent-encoding like Python's `quote`, `unquote` and `urlencode`, because Airflow is written in Python.

/// Decodes like `unquote`: a `%` without two hex digits is kept. `None` if the result is not UTF-8.
pub(super) fn decode(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let escaped = if byte == b'%' { tail.get(..2).and_then(hex) } else { None };
        bytes.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { &tail[2..] } else { rest };
    }
    String::from_utf8(bytes).ok()
}

/// Decodes a part of a query string, where `+` is a space.
pub(super) fn decode_query(part: &str) -> Option<String> {
    decode(&part.replace('+', " "))
}

pub(super) fn encode(text: &str, into: &mut String) {
    text.bytes().for_each(|byte| put(byte, into));
}

pub(super) fn encode_query(text: &str, into: &mut String) {
    text.bytes().for_each(|byte| if byte == b' ' { into.push('+') } else { put(byte, into) });
}

fn put(byte: u8, into: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        into.push(char::from(byte));
    } else {
        into.push('%');
        into.push(char::from(DIGITS[usize::from(byte >> 4)]));
        into.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}
